# SPDX-License-Identifier: Apache-2.0
"""The feed of changes, one for each process, for as long as anybody listens.

What was done is read from the audit, where every act stands with its number, whichever process did
it: so a browser that was cut off goes on after the last number it saw, at any worker. That readings
may have come is taken from who was heard of, which all processes tell each other (vtn.following):
no report is slower for being watched.

    act in one process ──commit──▶ audit ──every LOOK_S──▶ feed of each process ──▶ browsers
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from doorway import get_logger
from vtn.errors import StoreUnavailable, TooOften
from vtn.live.changes import Change, change_of
from vtn.services.office import Office
from vtn.store import audit, events

log = get_logger()

LOOK_S: Final = 0.4
HEARD_S: Final = 1.0
"""At most so often it is told that readings may have come."""
SETTLED: Final = timedelta(seconds=0.25)
"""Who was heard of so long ago has what it said stored."""
AGAIN: Final = 50
"""Audit lines looked at again: on PostgreSQL a lower number may be committed after a higher."""
MOST_MISSED: Final = 500
"""Who has missed more reloads the page."""
MOST_STREAMS: Final = 200
NEW_EVENTS: Final = timedelta(seconds=5)
"""So often it is looked up which events there are, and for whom."""
_MOST_WAITING: Final = 200
_EVENT: Final = "event:"


class Stream:
    """What one browser listens to."""

    def __init__(self, topics: Collection[str]) -> None:
        self.topics = frozenset(topics)
        self._waiting: deque[Change] = deque()
        self._bell = asyncio.Event()
        self.overrun = False
        """It did not keep up: the page must be loaded anew."""

    def put(self, change: Change) -> None:
        if not self.topics & change.topics:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.overrun = True
        else:
            self._waiting.append(change)
        self._bell.set()

    def wake(self) -> None:
        self._bell.set()

    async def next(self, *, within_s: float) -> list[Change]:
        """What has come; empty where nothing did."""
        if not self._waiting and not self.overrun:
            try:
                await asyncio.wait_for(self._bell.wait(), within_s)
            except TimeoutError:
                return []
        self._bell.clear()
        found = list(self._waiting)
        self._waiting.clear()
        return found


class Feed:
    """Tells every stream what has changed; looks at nothing while there is none."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._streams: set[Stream] = set()
        self._someone = asyncio.Event()
        self._last = 0
        self._seen: deque[int] = deque(maxlen=4 * AGAIN)
        self._heard_until: datetime | None = None
        self._clock_at: datetime | None = None
        self._turns: dict[str, tuple[datetime, ...]] = {}
        self._turns_at: datetime | None = None
        self._events_at: datetime | None = None
        self._events_wanted: set[str] = set()
        self._ven_events: dict[str, list[str]] = {}
        self.closed = False
        """The VTN stops: every stream ends."""

    async def run(self) -> None:
        """For ever; a database that is away is waited for."""
        while True:
            if not self._streams:
                self._someone.clear()
                await self._someone.wait()
            try:
                await self._look()
            except StoreUnavailable as fault:
                log.warning("live pages wait for the database", reason=str(fault))
                await asyncio.sleep(1)
            except Exception:
                log.exception("live pages miss a change")
                await asyncio.sleep(1)
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Let every stream end; browsers come again."""
        self.closed = True
        for stream in self._streams:
            stream.wake()

    @asynccontextmanager
    async def stream(self, topics: Collection[str]) -> AsyncIterator[Stream]:
        """Listen while the block runs. Raises TooOften where too many do already."""
        if len(self._streams) >= MOST_STREAMS:
            raise TooOften("Too many pages are open at this VTN; close some.")
        if not self._streams:  # nobody has looked for a while
            self._last = await self._newest()
            self._seen.clear()
            self._heard_until = self._clock_at = self._turns_at = None
        stream = Stream(topics)
        self._streams.add(stream)
        self._someone.set()
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    @property
    def last(self) -> int:
        """The number of the last audit line that was told."""
        return self._last

    async def missed(self, after: int, topics: Collection[str]) -> list[Change] | None:
        """What was done after this number; None where it is too much to tell."""
        async with self._office.store.read() as connection:
            lines = await audit.after(connection, after, limit=MOST_MISSED + 1)
        if len(lines) > MOST_MISSED:
            return None
        wanted = frozenset(topics)
        return [one for one in map(change_of, lines) if wanted & one.topics]

    # --- inside ----------------------------------------------------------------------------------

    async def _newest(self) -> int:
        async with self._office.store.read() as connection:
            lines = await audit.lines(connection, limit=1)
        return lines[0].number if lines else 0

    async def _look(self) -> None:
        async with self._office.store.read() as connection:
            lines = await audit.after(connection, max(0, self._last - AGAIN), limit=MOST_MISSED)
        first = not self._seen
        for line in lines:
            known = line.number in self._seen or (first and line.number <= self._last)
            if line.number not in self._seen:
                self._seen.append(line.number)
            self._last = max(self._last, line.number)
            if not known:
                self._tell(change_of(line))
                if line.subject.startswith(_EVENT):
                    self._turns_at = None
        await self._look_at_the_clock()
        await self._look_who_was_heard_of()

    async def _look_at_the_clock(self) -> None:
        """Events begin and end by themselves."""
        now = self._office.now()
        since, self._clock_at = self._clock_at or now, now
        if self._turns_at is None or now - self._turns_at > NEW_EVENTS:
            async with self._office.store.read() as connection:
                fresh = await events.turns(connection, since)
            self._turns, self._turns_at = fresh, now
        for event_id, instants in self._turns.items():
            if any(since < one <= now for one in instants):
                topics = frozenset({"now", "events", f"{_EVENT}{event_id}"})
                self._tell(Change(number=self._last, topics=topics, act="", at=now))

    async def _look_who_was_heard_of(self) -> None:
        until = self._office.now() - SETTLED
        since = self._heard_until
        if since is not None and (until - since).total_seconds() < HEARD_S:
            return
        self._heard_until = until
        if since is None:
            return
        heard = [
            entry.ven.ven_id
            for entry in self._office.directory.entries()
            if entry.last_contact_at is not None and since < entry.last_contact_at <= until
        ]
        if not heard:
            return
        of_ven = await self._events_of()
        topics = {"now", "nodes", *(f"node:{ven_id}" for ven_id in heard)}
        topics.update(f"event:{one}" for ven_id in heard for one in of_ven.get(ven_id, ()))
        self._tell(
            Change(number=self._last, topics=frozenset(topics), act="", at=self._office.now())
        )

    async def _events_of(self) -> dict[str, list[str]]:
        """The events that each VEN is in and somebody looks at, looked up every few seconds."""
        now = self._office.now()
        wanted = {
            topic.removeprefix(_EVENT)
            for stream in self._streams
            for topic in stream.topics
            if topic.startswith(_EVENT)
        }
        is_old = self._events_at is None or now - self._events_at > NEW_EVENTS
        if is_old or wanted != self._events_wanted:
            self._ven_events = {}
            if wanted:
                async with self._office.store.read() as connection:
                    self._ven_events = await events.live_targets(connection, now, wanted)
            self._events_at, self._events_wanted = now, wanted
        return self._ven_events

    def _tell(self, change: Change) -> None:
        for stream in self._streams:
            stream.put(change)
