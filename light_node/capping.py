# SPDX-License-Identifier: Apache-2.0
"""Which steps of the plan are caps for the grid's sake, and what takes their place in silence."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from doorway import get_logger
from light_node.failsafe import (
    Cap,
    CapState,
    Stated,
    advanced,
    begun,
    heard,
    held_w,
    holds_failsafe,
    next_change,
    stated,
)
from light_node.local import CapWord, Limit, Step
from light_node.setpoint import step_at
from light_node.settings import GridCapTable

log = get_logger()

FAILSAFE_EVENT = "grid-cap-failsafe"


class GridCap:
    """The site's cap. Without a [grid_cap] table every event is voluntary.

    The plan goes by the wall clock, silence and failsafe by one that nobody sets: a Pi whose clock
    jumps by days when the net is back has not been silent, or under its failsafe cap, for days.
    """

    def __init__(
        self,
        table: GridCapTable | None,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._now = now
        self._monotonic = monotonic
        self._begun_at, self._begun_s = now(), monotonic()
        self._held_from = self._begun_at
        """By the wall clock: the start of the failsafe cap as a step."""
        self._cap: Cap | None = None if table is None else begun(self._steady())

    @property
    def state(self) -> CapWord:
        """Where the cap stands."""
        return "" if self._cap is None else self._cap.state.value

    @property
    def market_contexts(self) -> tuple[str, ...]:
        return () if self._table is None else self._table.market_contexts

    def is_cap(self, step: Step) -> bool:
        """Whether the step is a cap: nobody at the building overrides it."""
        return step.event_id == FAILSAFE_EVENT or step.market_context in self.market_contexts

    def hear(self) -> None:
        """The utility has given a sign of life."""
        if self._cap is not None:
            self._turn(heard(self._advance(self._cap), self._steady()))

    def take(self, steps: Sequence[Step]) -> None:
        """A plan has come: it states a cap, or that there is none."""
        if self._cap is None:
            return
        statement = self._stated(steps, self._now())
        self._turn(stated(self._advance(self._cap), statement, self._steady()))

    def steps(self, planned: Sequence[Step]) -> tuple[Step, ...]:
        """What is to be held of the plan now, or the failsafe cap in its place."""
        if self._cap is None or self._table is None:
            return tuple(planned)
        now = self._now()
        cap = self._advance(self._cap)
        if not holds_failsafe(cap):
            # The plan's own schedule goes on: a cap that begins or ends by it was stated before.
            cap = stated(cap, self._stated(planned, now), self._steady())
        self._turn(cap)
        if not holds_failsafe(cap):
            return tuple(step for step in planned if not self._is_negative(step))
        watts = held_w(cap, self._table)
        self._held_from = min(self._held_from, now)
        return (
            Step(
                event_id=FAILSAFE_EVENT,
                modification_number=0,
                priority=1,
                starts_at=self._held_from,
                ends_at=None,
                target=Limit(max_watts=watts),
                signal_name="x-failsafe",
                signal_type="setpoint",
                unit="W",
                value=self._table.failsafe_max_w,
                market_context=self._table.market_contexts[0],
            ),
        )

    def next_change(self) -> datetime | None:
        if self._cap is None or self._table is None:
            return None
        at = next_change(self._cap, self._table)
        return None if at is None else self._now() + (at - self._steady())

    def _stated(self, steps: Sequence[Step], now: datetime) -> Stated:
        own = [step for step in steps if self.is_cap(step) and not self._is_negative(step)]
        step = step_at(own, now)
        if step is None:
            return Stated(watts=None)
        # How high a change or a share is depends on the load; that it is a cap is what counts here.
        watts = step.target.max_watts if isinstance(step.target, Limit) else None
        return Stated(watts=watts or 0.0)

    def _is_negative(self, step: Step) -> bool:
        """A cap below 0 W is refused; feeding in is asked for by voluntary events."""
        if not self.is_cap(step) or not isinstance(step.target, Limit):
            return False
        return step.target.max_watts is not None and step.target.max_watts < 0

    def _advance(self, cap: Cap) -> Cap:
        assert self._table is not None
        return advanced(cap, self._steady(), self._table)

    def _steady(self) -> datetime:
        return self._begun_at + timedelta(seconds=self._monotonic() - self._begun_s)

    def _turn(self, cap: Cap) -> None:
        if self._cap is not None and cap.state is not self._cap.state:
            level = log.warning if cap.state is CapState.FAILSAFE else log.info
            level("grid_cap", state=cap.state.value, was=self._cap.state.value)
            self._held_from = self._now()
        self._cap = cap
