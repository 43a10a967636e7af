# SPDX-License-Identifier: Apache-2.0
"""What the VEN knows of one event: the event, its own random offset, and its decision."""

import math
from datetime import datetime, timedelta
from typing import Literal

from doorway.values import value
from oadr.event import Event
from oadr.vocabulary import EventStatus, OptType

Decider = Literal["policy", "person", "override", "rules"]
"""Who chose the opt: the [opt] settings, a person by `ven opt`, an override at the building, or the
standard's rules (an event that cannot be acted on)."""


@value
class KnownEvent:
    """One event in its newest valid modification."""

    event: Event
    offset: timedelta
    """Drawn once within startafter and kept over modifications (rule 30); whole seconds."""
    opt: OptType
    decided_by: Decider
    reason: str
    """One sentence for people."""
    response_code: str = "200"
    request_id: str
    """Of the oadrDistributeEvent that brought it; also for later answers (rule 42)."""
    seen_at: datetime
    """When this VEN first heard of it."""
    ends_early_at: datetime | None = None
    """Set by a cancellation: the moment from which it no longer holds (rule 65)."""
    answered: int = -1
    """The newest modification whose answer the VTN has acknowledged."""
    reported: bool = False
    """Whether the final curtailment has been acknowledged, or there is none to report."""
    out_resources: tuple[str, ...] = ()
    """The resources a person has opted out of it while others take part (rule 206)."""
    qualified: bool = False
    """Whether the VTN was told an opt by oadrCreateOpt, which then counts (rule 206)."""

    @property
    def event_id(self) -> str:
        return self.event.event_id

    @property
    def starts_at(self) -> datetime:
        return self.event.starts_at + self.offset

    @property
    def planned_end_at(self) -> datetime | None:
        """The randomised end (rule 30); None while open-ended."""
        return self.starts_at + self.event.duration if self.event.duration else None

    @property
    def ends_at(self) -> datetime | None:
        """When it stops holding, exclusive; None while open-ended."""
        ends = [at for at in (self.planned_end_at, self.ends_early_at) if at is not None]
        return min(ends) if ends else None

    @property
    def ramps_at(self) -> datetime:
        """When the load begins to move: the start less the ramp-up."""
        return self.starts_at - (self.event.ramp_up or timedelta(0))

    @property
    def recovered_at(self) -> datetime | None:
        """The end plus the recovery; None while open-ended."""
        end = self.ends_at
        return end + (self.event.recovery or timedelta(0)) if end is not None else None

    @property
    def holds(self) -> bool:
        """Whether the site takes part and the event can be acted on."""
        return self.opt is OptType.OPT_IN and self.response_code == "200"

    def is_over(self, now: datetime) -> bool:
        end = self.ends_at
        return end is not None and now >= end

    def status(self, now: datetime) -> EventStatus:
        """By the VEN's own clock and offset (rules 13 and 114)."""
        if self.ends_early_at is not None and now >= self.ends_early_at:
            return EventStatus.CANCELLED
        if self.is_over(now):
            return EventStatus.COMPLETED
        if now >= self.starts_at:
            return EventStatus.ACTIVE
        return EventStatus.NEAR if now >= self.ramps_at < self.starts_at else EventStatus.FAR

    def next_change_at(self, now: datetime) -> datetime | None:
        """The next instant at which `status` changes; None if it never does by itself."""
        instants = (self.ramps_at, self.starts_at, self.ends_at, self.recovered_at)
        return min((at for at in instants if at is not None and at > now), default=None)


def rank(known: KnownEvent) -> tuple[float, datetime, str]:
    """Order of precedence, the first wins: priority 1, 2 ... 0 (rule 3), then the earlier start."""
    return (known.event.priority or math.inf, known.starts_at, known.event_id)
