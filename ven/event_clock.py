# SPDX-License-Identifier: Apache-2.0
"""The clock that events go by: the machine's own, or the VTN's where ours is not known to be right.

An event is at the VTN's hour. Where our clock is a guess (a Pi after a power cut, before the net
has set it) the VTN's answers say what time it is, and the plan is moved to where the node's clock,
which is ours, believes those hours to be. Readings keep the instants that they were given.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from light_node.local import Curtailment, Notice, Step

STEADY_S = 5.0
"""What the VTN's answers tell is taken anew only where it differs by more."""

Plan = tuple[tuple[Step, ...], tuple[Notice, ...]]


class EventClock:
    """Our clock, put right."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        is_sure: Callable[[], bool],
        vtn_ahead_s: Callable[[], float | None],
    ) -> None:
        """`is_sure`: whether `now` is known to be right; `vtn_ahead_s`: the VTN's minus ours."""
        self._now = now
        self._is_sure = is_sure
        self._vtn_ahead_s = vtn_ahead_s
        self._ahead_s = 0.0

    @property
    def is_sure(self) -> bool:
        """Whether our own clock is believed."""
        return self._is_sure()

    @property
    def ahead(self) -> timedelta:
        """How far the hours of events are ahead of our clock."""
        told_s = 0.0 if self._is_sure() else (self._vtn_ahead_s() or 0.0)
        if not told_s or abs(told_s - self._ahead_s) > STEADY_S:
            self._ahead_s = told_s
        return timedelta(seconds=self._ahead_s)

    def now(self) -> datetime:
        """The instant by which events begin and end."""
        return self._now() + self.ahead

    def on_our_clock(self, plan: Plan) -> Plan:
        """A plan by the hours of events -> by our clock, as the light node has it."""
        ahead = self.ahead
        if not ahead:
            return plan
        steps, notices = plan
        return (
            tuple(
                replace(
                    step, starts_at=step.starts_at - ahead, ends_at=_moved(step.ends_at, -ahead)
                )
                for step in steps
            ),
            tuple(
                replace(
                    notice,
                    starts_at=notice.starts_at - ahead,
                    ends_at=_moved(notice.ends_at, -ahead),
                    values=tuple(
                        replace(
                            value,
                            starts_at=value.starts_at - ahead,
                            ends_at=_moved(value.ends_at, -ahead),
                        )
                        for value in notice.values
                    ),
                )
                for notice in notices
            ),
        )

    def off_our_clock(self, found: Curtailment) -> Curtailment:
        """What an event has brought, by our clock -> by the hours of events."""
        ahead = self.ahead
        if not ahead:
            return found
        seconds = ahead.total_seconds()
        return replace(
            found,
            starts_at=found.starts_at + ahead,
            ends_at=_moved(found.ends_at, ahead),
            baseline=[(at + seconds, watts) for at, watts in found.baseline],
            delivered=[(at + seconds, watts) for at, watts in found.delivered],
        )


class StepWatch:
    """Notices that a clock was set: then what was done by it may have to be looked at again."""

    def __init__(self, *, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        """`monotonic`: seconds, of a clock that nobody sets."""
        self._now = now
        self._monotonic = monotonic
        self._offset_s = self._offset()

    def has_stepped(self) -> bool:
        """Whether the clock was set, by more than STEADY_S, since this was asked last."""
        before, self._offset_s = self._offset_s, self._offset()
        return abs(self._offset_s - before) > STEADY_S

    def _offset(self) -> float:
        return self._now().timestamp() - self._monotonic()


def _moved(at: datetime | None, by: timedelta) -> datetime | None:
    return at + by if at is not None else None
