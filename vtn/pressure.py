# SPDX-License-Identifier: Apache-2.0
"""How far this process is behind, and so what it should turn away (pure but for its ticks).

Two queues make a VTN slow: callbacks wait for the event loop (seen as the lag of a tick), and
requests wait for the database (seen as the age of the oldest one under way). Beyond a bound new
work is turned away by 503, which costs a tenth of a report; below it, everything is taken again at
once, for both are measured at the moment of asking. A poll is asked for last: answering an idle one
costs no more than turning it away.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from vtn.counts import SECONDS, Histogram

TICK_S: Final = 0.1
LAG_S: Final = 0.5
"""So late a tick, and no work but polls is taken."""
LAG_POLLS_S: Final = 1.5
"""So late, and polls are turned away, too: VENs that honour Retry-After come less often."""
OLDEST_S: Final = 2.0
"""So old the oldest request under way, and no work but polls is taken: the database is behind."""
MOST_UNDER_WAY: Final = 256
"""Requests whose body has been read and whose answer is not made."""
RETRY_AFTER_S: Final = (5, 15)
"""Drawn from these, so that those that were turned away do not come back together."""
SOON_S: Final = 1
"""Where there is no overload, but the database is away: saying no costs little, and a VEN that
waited long would be late when it is back."""


class Pressure:
    """One for each process; `run` must run for the lag to be known."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._draw = draw
        self._due = float("inf")
        self._tickets = itertools.count()
        self._since: dict[int, float] = {}  # in the order in which they came
        self.lags = Histogram(SECONDS)
        """How late each tick was."""

    async def run(self) -> None:
        """Tick until cancelled."""
        try:
            while True:
                self._due = self._monotonic() + TICK_S
                await self._sleep(TICK_S)
                self.lags.observe(self.lag_s)
        finally:
            self._due = float("inf")

    @property
    def lag_s(self) -> float:
        """How late the tick is that is due now; 0 where none is late, or none ticks."""
        return max(0.0, self._monotonic() - self._due)

    @property
    def under_way(self) -> int:
        """Requests under way."""
        return len(self._since)

    @property
    def oldest_s(self) -> float:
        """For how long the oldest request under way has been so."""
        first = next(iter(self._since.values()), None)
        return 0.0 if first is None else self._monotonic() - first

    def enter(self) -> int:
        """A request is under way from now on; `leave` it by this ticket."""
        ticket = next(self._tickets)
        self._since[ticket] = self._monotonic()
        return ticket

    def leave(self, ticket: int) -> None:
        del self._since[ticket]

    def refusal(self, *, is_poll: bool) -> str | None:
        """Why a new request should be turned away now; None where it should be taken."""
        lag_s = self.lag_s
        if lag_s > (LAG_POLLS_S if is_poll else LAG_S):
            return "lag"
        if is_poll:
            return None
        if len(self._since) >= MOST_UNDER_WAY:
            return "under way"
        return "database" if self.oldest_s > OLDEST_S else None

    def retry_after_s(self) -> int:
        """When who is turned away should come again: soon where it is not for overload."""
        if self.refusal(is_poll=False) is None:
            return SOON_S
        least, most = RETRY_AFTER_S
        return least + int(self._draw() * (most - least + 1))
