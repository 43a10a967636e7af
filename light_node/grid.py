# SPDX-License-Identifier: Apache-2.0
"""The grid: wall-aligned ticks without drift, and what a set clock does to them.

Tick k is due at wall time k * interval. Waiting is done on the monotonic clock, which nobody sets;
the offset between the two is read anew at each tick, so slow corrections (NTP) are followed and a
jump of more than half a second is told as a step.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

STEP_S = 0.5
_AT_ONCE_S = 1e-6  # finer than epoch seconds can be told apart in a float
_WAKE_EARLY_S = 0.05
# The kernel may wake a sleeper late by 0.1 % of its sleep (4 ms at 4 s). So the long sleep ends
# early, and a short one, with hardly any slack, finds the instant.


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One instant of the grid."""

    k: int
    starts_at: float
    """k * interval: epoch seconds UTC."""
    missed: range
    """Ticks between the last one and this one at which nothing was done: the node stood still."""
    stepped_s: float
    """By how much the wall clock was set since the last tick; 0.0 if it was not."""


class Grid:
    """Works out ticks from two clocks; waits for nothing itself."""

    def __init__(
        self, interval_s: float, *, now: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        """`now` gives epoch seconds, `monotonic` any clock that only runs on."""
        self._interval_s = interval_s
        self._now = now
        self._monotonic = monotonic
        self._offset_s = now() - monotonic()
        self._next = math.floor(now() / interval_s) + 1
        self._first_missed = self._next
        self._stepped_s = 0.0

    @property
    def interval_s(self) -> float:
        return self._interval_s

    def wait_s(self) -> float:
        """Seconds until the next tick; 0.0 or less when it is due."""
        self._anchor()
        return self._next * self._interval_s - (self._monotonic() + self._offset_s)

    def take(self) -> Tick:
        """The tick that is due now, with those that were missed before it."""
        self._anchor()
        wall = self._monotonic() + self._offset_s
        # A sleeper may be woken a microsecond early: that is still the tick it slept for.
        due = max(self._next, math.floor(wall / self._interval_s + 1e-6))
        tick = Tick(
            k=due,
            starts_at=due * self._interval_s,
            missed=range(self._first_missed, due),
            stepped_s=self._stepped_s,
        )
        self._next = self._first_missed = due + 1
        self._stepped_s = 0.0
        return tick

    def late_s(self, tick: Tick) -> float:
        """How long ago `tick` was due."""
        return self._monotonic() + self._offset_s - tick.starts_at

    def _anchor(self) -> None:
        offset_s = self._now() - self._monotonic()
        moved_s = offset_s - self._offset_s
        self._offset_s = offset_s
        if abs(moved_s) > STEP_S:
            # The ticks jumped over were never lived through, so they are not missed; after a
            # backward step some come a second time.
            self._stepped_s += moved_s
            wall = self._monotonic() + offset_s
            self._next = self._first_missed = math.floor(wall / self._interval_s) + 1


async def ticks(
    grid: Grid, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncGenerator[Tick]:
    """Yield each tick when it is due, for ever; a slow consumer sees `missed`."""
    while True:
        while (wait_s := grid.wait_s()) > _AT_ONCE_S:
            # Never longer than one interval: a step of the clock is seen within one.
            long_s = min(wait_s, grid.interval_s)
            await sleep(long_s - _WAKE_EARLY_S if long_s > 2 * _WAKE_EARLY_S else long_s)
        yield grid.take()
