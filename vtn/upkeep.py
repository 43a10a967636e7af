# SPDX-License-Identifier: Apache-2.0
"""What the VTN does by itself for years: rolls samples up, and deletes what is old enough.

    now ─ samples_days ──────────────── samples ──────────────── block over ── 5 min ── now
    rollups alone │ samples and rollups                                    │ samples alone
    (samples near events stay: event_days)

One process does this at a time. It works in slices so small that a report waits for none of them
longer than for another report: reading and reckoning hold no lock, writing takes some milliseconds,
and after each slice there is a pause. A crash between any two statements leaves a state from which
it goes on: what is due stands in the database (vtn.store.rollups).
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final

from doorway import get_logger
from vtn.blocks import BLOCK_S, unpack
from vtn.config import RetentionSettings
from vtn.errors import StoreUnavailable
from vtn.rollups import Rollup, rolled
from vtn.store import Store, rollups
from vtn.store.rollups import Key, Span

log = get_logger()

SETTLED_S: Final = 300.0
"""A block is rolled up so long after its end: by then all of it has come, where nothing is amiss.

What comes later has it rolled up again."""
LOOK_S: Final = 60.0
"""How often it is looked whether anything is due."""
PRUNE_S: Final = 6 * 3600.0
"""How often old values are looked for, and how long the clock must have gone steadily before:
a clock that was set wrong would have what it calls old deleted, before anybody could mend it."""
JUMP_S: Final = 600.0
"""A wall clock that leaves the monotonic one by more was set; by less, it was disciplined."""
PAUSE_S: Final = 0.01
"""After each slice."""
SLICE: Final = 16
"""Blocks in one slice."""
LEAST_SLICE: Final = 4
"""On a disk so full that not even deleting finds room, with less it may."""


class Upkeep:
    """`run` goes on for ever and may be cancelled at any time."""

    def __init__(
        self,
        store: Store,
        settings: RetentionSettings,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._slice = SLICE

    async def run(self) -> None:
        """Look for what is due every LOOK_S, and for what is old every PRUNE_S."""
        waits_since_s = self._monotonic()
        offset_s = self._offset_s()
        while True:
            await self._sleep(LOOK_S)
            if abs(self._offset_s() - offset_s) > JUMP_S:
                offset_s, waits_since_s = self._offset_s(), self._monotonic()
                log.warning("the clock was set: nothing old is deleted for 6 hours")
            try:
                await self.roll_up()
                if self._monotonic() - waits_since_s >= PRUNE_S:
                    deleted = await self.prune()
                    offset_s, waits_since_s = self._offset_s(), self._monotonic()
                    if deleted:
                        log.info("old samples deleted", blocks=deleted)
                self._slice = min(SLICE, self._slice * 2)
            except StoreUnavailable as error:
                self._slice = max(LEAST_SLICE, self._slice // 2)
                log.warning("upkeep waits", reason=str(error))

    async def roll_up(self) -> int:
        """Roll up every block that is due and over; how many rollups were written."""
        written = 0
        after: Key | None = None
        until = self._now().timestamp() - SETTLED_S
        while True:
            async with self._store.read() as connection:
                found = await rollups.due(connection, until=until, after=after, limit=self._slice)
            if not found:
                return written
            after = found[-1][0]
            reckoned = await asyncio.to_thread(_reckoned, found)
            if reckoned:
                async with self._store.write() as connection:
                    written += await rollups.put(connection, reckoned)
            await self._sleep(PAUSE_S)

    async def prune(self) -> int:
        """Delete what is older than the settings say; how many blocks of samples were deleted."""
        deleted = 0
        async for slice_ in self._expired():
            async with self._store.write() as connection:
                await rollups.expire(connection, slice_)
            deleted += len(slice_)
            await self._sleep(PAUSE_S)
        await self._prune_rollups()
        await self._prune_audit()
        before = self._before(self._settings.samples_days)
        if before is not None:
            async with self._store.write() as connection:
                await rollups.expire_rest(connection, ended_before=before)
        return deleted

    async def _expired(self) -> AsyncIterator[list[Key]]:
        """Blocks that may go, slice by slice. What was never rolled up is entered for it."""
        before = self._before(self._settings.samples_days)
        if before is None:
            return
        async with self._store.read() as connection:
            series = await rollups.series(connection)
        waiting: list[Key] = []
        for ven_id, numbers in groupby(series, key=itemgetter(1)):
            kept = await self._event_spans(ven_id)
            for number, _ in numbers:
                async for slice_ in self._old_blocks(number, before.timestamp(), kept):
                    waiting += slice_
                    while len(waiting) >= self._slice:
                        yield waiting[: self._slice]
                        del waiting[: self._slice]
        if waiting:
            yield waiting

    async def _old_blocks(
        self, number: int, before: float, kept: Sequence[Span]
    ) -> AsyncIterator[list[Key]]:
        after: int | None = None
        while True:
            async with self._store.read() as connection:
                found = await rollups.old_blocks(
                    connection, number, before=before, after=after, limit=self._slice
                )
            if not found:
                return
            after = found[-1][0]
            old = [(start, may_go) for start, may_go in found if not _is_within(start, kept)]
            unrolled = [(number, start) for start, may_go in old if not may_go]
            if unrolled:
                async with self._store.write() as connection:
                    await rollups.enter(connection, unrolled)
                await self._sleep(PAUSE_S)
            yield [(number, start) for start, may_go in old if may_go]

    async def _event_spans(self, ven_id: str) -> list[Span]:
        margin = timedelta(hours=self._settings.event_margin_h)
        since = self._before(self._settings.event_days)
        async with self._store.read() as connection:
            return await rollups.event_spans(connection, ven_id, since=since, margin=margin)

    async def _prune_rollups(self) -> None:
        before = self._before(self._settings.rollup_days)
        if before is None:
            return
        async with self._store.read() as connection:
            series = await rollups.series(connection)
        for number, _ in series:
            while True:
                async with self._store.read() as connection:
                    found = await rollups.old_rollups(
                        connection, number, before=before.timestamp(), limit=self._slice
                    )
                if not found:
                    break
                async with self._store.write() as connection:
                    await rollups.expire_rollups(connection, number, found)
                await self._sleep(PAUSE_S)

    async def _prune_audit(self) -> None:
        before = self._before(self._settings.audit_days)
        while before is not None:
            async with self._store.write() as connection:
                found = await rollups.expire_audit(connection, before=before, limit=self._slice)
                if not found:
                    await rollups.expire_days(connection, before=before.date())
            if not found:
                return
            await self._sleep(PAUSE_S)

    def _offset_s(self) -> float:
        """What the wall clock is ahead of the monotonic one: constant, unless it is set."""
        return self._now().timestamp() - self._monotonic()

    def _before(self, days: int) -> datetime | None:
        """What is older than this goes; None: nothing does."""
        return self._now() - timedelta(days=days) if days else None


def _reckoned(found: Sequence[tuple[Key, bytes]]) -> dict[Key, tuple[bytes, Rollup]]:
    reckoned = {}
    for key, packed in found:
        try:
            reckoned[key] = packed, rolled(unpack(packed))
        except (ValueError, IndexError, struct.error) as error:  # written by another VTN
            log.warning("a block is unreadable", series=key[0], starts_at=key[1], why=str(error))
    return reckoned


def _is_within(start: int, spans: Sequence[Span]) -> bool:
    """Whether a block has any second in common with these."""
    return any(start < until and start + BLOCK_S > from_ for from_, until in spans)
