# SPDX-License-Identifier: Apache-2.0
"""What an event may say of itself at an instant."""

from datetime import datetime, timedelta
from typing import Final

from oadr.event import Event, Signal
from oadr.vocabulary import EventStatus

ZERO: Final = timedelta(0)


def statuses(event: Event, at: datetime) -> set[EventStatus]:
    """What the event may say of itself at an instant (rules 13, 30 and 66)."""
    ends_at = event.ends_at
    if at < event.starts_at:
        ramp = event.ramp_up or ZERO
        near = bool(ramp) and at >= event.starts_at - ramp
        return {EventStatus.NEAR if near else EventStatus.FAR}
    if ends_at is None or at < ends_at:
        return {EventStatus.ACTIVE}
    if at < ends_at + (event.start_after or ZERO):
        return {EventStatus.ACTIVE, EventStatus.COMPLETED}
    return {EventStatus.COMPLETED}


def value_at(event: Event, signal: Signal, at: datetime) -> float | None:
    """The payload of the interval that holds `at`; None outside."""
    begins = event.starts_at
    if at < begins:
        return None
    for interval in signal.intervals:
        if not interval.duration:
            return interval.value
        begins += interval.duration
        if at < begins:
            return interval.value
    return None


def occupied_until(event: Event) -> datetime | None:
    """The end of what the event takes up, its random start included; None while open-ended."""
    ends_at = event.ends_at
    return None if ends_at is None else ends_at + (event.start_after or ZERO)
