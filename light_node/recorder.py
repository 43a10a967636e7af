# SPDX-License-Identifier: Apache-2.0
"""The recorder: takes readings from the samplers, commits them in time, hands out what is there."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from doorway import get_logger
from light_node.disk import Disk
from light_node.errors import RingFault
from light_node.quality import Quality, is_usable
from light_node.reading import Reading
from light_node.ring import Columns, Ring

log = get_logger()

MOST_WAITING = 5400
"""Readings kept in memory while the disk refuses: six hours of one meter; then the oldest go."""


@dataclass(slots=True)
class LastSeen:
    """One meter as last seen."""

    last: Reading | None = None
    last_good: Reading | None = None

    @property
    def online(self) -> bool:
        return self.last is not None and not self.last.quality & (Quality.COMM | Quality.MISSED)

    @property
    def usable(self) -> bool:
        return self.last is not None and is_usable(self.last.quality)


class Recorder:
    """Between the samplers, which must not wait, and the ring, which may take its time."""

    def __init__(
        self,
        ring: Ring,
        disk: Disk,
        *,
        meters: tuple[str, ...],
        commit_s: float,
        is_pressing: Callable[[], bool],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        """`is_pressing` says whether each reading is to be committed at once; `changed` is
        called when a meter or the disk falls out, is not to be believed, or comes back.
        """
        self._ring = ring
        self._disk = disk
        self._commit_s = commit_s
        self._is_pressing = is_pressing
        self._now = now
        self._monotonic = monotonic
        self._changed = changed
        self._waiting: list[Reading] = []
        self._oldest_at = 0.0
        self._due = asyncio.Event()
        self._committed = asyncio.Event()
        self._committing = asyncio.Lock()
        self._refused = ""
        self.seen = {meter: LastSeen() for meter in meters}
        self.recorded_until: dict[str, float] = {}
        """By meter: the `starts_at` of its newest reading on disk."""

    def accept(self, reading: Reading) -> None:
        """Take one reading; never waits."""
        seen = self.seen[reading.meter]
        was = seen.online, seen.usable
        seen.last = reading
        if reading.watts is not None and is_usable(reading.quality):
            seen.last_good = reading
        if not self._waiting:
            self._oldest_at = self._monotonic()
        self._waiting.append(reading)
        if self._is_pressing() or self._monotonic() - self._oldest_at >= self._commit_s:
            self._due.set()
        if (seen.online, seen.usable) != was:
            self._changed()

    def hurry(self) -> None:
        """Commit what is waiting now: an event has come near."""
        self._due.set()

    async def run(self) -> None:
        """Commit when it is time, for ever; a disk that refuses is tried again at each reading."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.commit()
            except RingFault as fault:
                log.error("readings_wait_in_memory", why=str(fault), waiting=len(self._waiting))  # noqa: TRY400 - the sentence says it all
                await self._let_go()

    async def _let_go(self) -> None:
        """Forget the oldest of what has waited for too long."""
        async with self._committing:
            lost = max(0, len(self._waiting) - MOST_WAITING)
            if lost:
                del self._waiting[:lost]
                log.error("readings_lost", count=lost, why="no disk took them for hours")

    @property
    def trouble(self) -> str:
        """What is wrong with the disk, in one sentence; "" when nothing is."""
        if self._refused:
            return f"{len(self._waiting)} readings wait in memory: {self._refused}"
        if self._ring.is_full:
            return "The disk is full; the oldest readings that were delivered give way to new ones."
        return ""

    async def commit(self) -> None:
        """Put all that is waiting on the disk. Raises RingFault, and then keeps it waiting."""
        async with self._committing:
            batch = tuple(self._waiting)
            if not batch:
                return
            had_trouble = bool(self.trouble)
            try:
                await self._disk.run(self._ring.commit, batch, now=self._now())
                self._refused = ""
            except RingFault as fault:
                self._refused = str(fault)
                raise
            finally:
                if bool(self.trouble) != had_trouble:
                    self._changed()
            del self._waiting[: len(batch)]
            self._oldest_at = self._monotonic()
            self.recorded_until |= {reading.meter: reading.starts_at for reading in batch}
        done, self._committed = self._committed, asyncio.Event()
        done.set()

    async def readings(self, meter: str, *, after: int, limit: int, wait_s: float) -> Columns:
        """Rows on disk with an id above `after`; waits up to `wait_s` for the first."""
        until = self._monotonic() + wait_s
        while True:
            committed = self._committed
            columns = await self._disk.run(self._ring.readings, meter, after=after, limit=limit)
            left_s = until - self._monotonic()
            if columns.ids or left_s <= 0:
                return columns
            try:
                async with asyncio.timeout(left_s):
                    await committed.wait()
            except TimeoutError:
                return columns
