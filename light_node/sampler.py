# SPDX-License-Identifier: Apache-2.0
"""The sampler: at each tick one row per meter, a reading or a gap that says why.

One task per bus, so that buses do not wait for one another. On a shared bus the site's meter goes
first, and a breaker keeps a dead neighbour from using up the others' time: after two silences in
a row it is left out and tried again after 8, 16, 32, then 64 s. A meter alone on its bus takes no
one's time and is tried at each tick; so it is back one tick after its line is.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from doorway import get_logger
from light_node.errors import MeterFault, MeterSilent
from light_node.grid import Grid, Tick, ticks
from light_node.quality import Judge, Quality, is_usable, to_text
from light_node.reading import Reading

log = get_logger()

BUDGET_SHARE = 0.8
"""Share of an interval within which all meters of a bus are read: 3.2 of 4 s."""
LATE_SHARE = 0.25
SLOW_EVERY = 15
_SILENCES_UNTIL_OPEN = 2
_PAUSES_S = (8.0, 16.0, 32.0, 64.0)


class Source(Protocol):
    """One meter that can be read."""

    async def read(self, *, slow: bool, budget_s: float) -> dict[str, float]:
        """SI values by point name within `budget_s` seconds; raises MeterFault."""


@dataclass(slots=True)
class Breaker:
    """Whether a meter is asked at all; `now` is any clock that only runs on, in seconds."""

    silences: int = 0
    _pauses: Iterator[float] = field(default_factory=lambda: iter(()))
    _closed_until: float = 0.0

    def allows(self, now: float) -> bool:
        return self.silences < _SILENCES_UNTIL_OPEN or now >= self._closed_until

    def after_answer(self) -> None:
        self.silences = 0

    def after_silence(self, now: float) -> None:
        self.silences += 1
        if self.silences == _SILENCES_UNTIL_OPEN:
            self._pauses = itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1]))
        if self.silences >= _SILENCES_UNTIL_OPEN:
            self._closed_until = now + next(self._pauses)


@dataclass(slots=True, kw_only=True)
class SampledMeter:
    """A meter with what is remembered about it between two ticks."""

    id: str
    source: Source
    judge: Judge
    breaker: Breaker = field(default_factory=Breaker)
    complaint: str = ""


class BusSampler:
    """Samples the meters of one bus, in their order."""

    def __init__(
        self,
        meters: Sequence[SampledMeter],
        *,
        grid: Grid,
        monotonic: Callable[[], float],
        next_seq: Callable[[], int],
        accept: Callable[[Reading], None],
        all_points: Callable[[], bool],
        is_clock_sure: Callable[[], bool] = lambda: True,
    ) -> None:
        """`accept` takes each row at once; `all_points` says whether slow points are due too;
        `is_clock_sure` whether the clock is known to be right.
        """
        self._meters = meters
        self._grid = grid
        self._monotonic = monotonic
        self._next_seq = next_seq
        self._accept = accept
        self._all_points = all_points
        self._is_clock_sure = is_clock_sure
        self.last_tick_at = monotonic()
        """When the last tick was executed (monotonic), whether or not a meter answered."""

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Sample for ever."""
        async for tick in ticks(self._grid, sleep=sleep):
            self.last_tick_at = self._monotonic()
            await self.sample(tick)

    async def sample(self, tick: Tick) -> None:
        """Execute one tick: one row per meter, and one more for each missed tick."""
        if tick.stepped_s:
            log.warning("clock_was_set", by_s=round(tick.stepped_s, 3), k=tick.k)
        for k in tick.missed:
            for meter in self._meters:
                self._accept(self._row(meter, k, quality=Quality.MISSED))
        until = self._monotonic() + BUDGET_SHARE * self._grid.interval_s - self._grid.late_s(tick)
        alone = len(self._meters) == 1
        for meter in self._meters:
            if not alone and not meter.breaker.allows(self._monotonic()):
                self._accept(self._row(meter, tick.k, quality=Quality.COMM))
                continue
            self._accept(await self._read(meter, tick, until))

    async def _read(self, meter: SampledMeter, tick: Tick, until: float) -> Reading:
        start_error_s = self._grid.late_s(tick)
        quality = Quality.CLOCK_STEP if tick.stepped_s else Quality.GOOD
        if not self._is_clock_sure():
            quality |= Quality.CLOCK_UNSYNC
        if start_error_s > LATE_SHARE * self._grid.interval_s:
            quality |= Quality.LATE
        started = self._monotonic()
        slow = tick.k % SLOW_EVERY == 0 or self._all_points()
        try:
            raw = await meter.source.read(slow=slow, budget_s=until - started)
        except MeterFault as fault:
            if isinstance(fault, MeterSilent):
                meter.breaker.after_silence(self._monotonic())
            self._tell(meter, str(fault))
            return self._row(
                meter,
                tick.k,
                quality=quality | Quality.COMM,
                start_error_s=start_error_s,
                took_s=self._monotonic() - started,
            )
        took_s = self._monotonic() - started
        meter.breaker.after_answer()
        values, judged = meter.judge.judge(raw)
        if "active_power" not in values:
            judged |= Quality.IMPLAUSIBLE
        self._tell(meter, "" if is_usable(judged) else f"what it says is {to_text(judged)}.")
        return self._row(
            meter,
            tick.k,
            quality=quality | judged,
            values=values,
            start_error_s=start_error_s,
            took_s=took_s,
        )

    def _row(
        self,
        meter: SampledMeter,
        k: int,
        *,
        quality: Quality,
        values: Mapping[str, float] | None = None,
        start_error_s: float = 0.0,
        took_s: float = 0.0,
    ) -> Reading:
        return Reading(
            meter=meter.id,
            seq=self._next_seq(),
            k=k,
            starts_at=k * self._grid.interval_s,
            quality=quality,
            values=values or {},
            start_error_s=start_error_s,
            took_s=took_s,
        )

    def _tell(self, meter: SampledMeter, complaint: str) -> None:
        """Log when a meter falls silent and when it is back, not at each tick."""
        if complaint and not meter.complaint:
            log.warning("meter_gives_no_reading", meter=meter.id, why=complaint)
        elif meter.complaint and not complaint:
            log.info("meter_is_back", meter=meter.id)
        meter.complaint = complaint
