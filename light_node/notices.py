# SPDX-License-Identifier: Apache-2.0
"""Event notices for the EMS: what is on, in plain terms, by the node's own clock."""

from collections.abc import Iterable
from datetime import datetime

from ems_bridge.messages import EventNotice
from light_node.local import NodeEventStatus, Notice

_ORDER: tuple[NodeEventStatus, ...] = ("completed", "cancelled", "far", "near", "active")


def notice_at(notice: Notice, now: datetime) -> EventNotice:
    """What to tell of one event at `now`; `value` is that of the interval now running."""
    running = next(
        (
            interval.value
            for interval in notice.values
            if interval.starts_at <= now and (interval.ends_at is None or now < interval.ends_at)
        ),
        None,
    )
    status = _status(notice, now)
    ends_at = notice.ends_at
    remaining_s = None
    if status == "active" and ends_at is not None:
        remaining_s = (ends_at - now).total_seconds()
    return EventNotice(
        event_id=notice.event_id,
        modification_number=notice.modification_number,
        status=status,
        signal_name=notice.signal_name,
        signal_type=notice.signal_type,
        unit=notice.unit,
        value=running,
        starts_at=notice.starts_at,
        ends_at=ends_at,
        remaining_s=remaining_s,
        opt=notice.opt,
        test=notice.test,
        comment=notice.comment,
        at=now,
    )


def nothing_at(now: datetime) -> EventNotice:
    """There is no event."""
    return EventNotice(
        event_id="",
        modification_number=0,
        status="none",
        signal_name="",
        signal_type="",
        unit="",
        value=None,
        starts_at=None,
        ends_at=None,
        remaining_s=None,
        opt="",
        test=False,
        comment="",
        at=now,
    )


def notices_at(notices: Iterable[Notice], now: datetime) -> list[EventNotice]:
    """All notices, the most pressing last: that one stays on the retained topic.

    Most pressing is the active event that began last, then the one that begins next.
    """
    told = [notice_at(notice, now) for notice in notices]

    def pressing(notice: EventNotice) -> tuple[int, float, str]:
        assert notice.starts_at is not None
        assert notice.status != "none"
        starts_in_s = (notice.starts_at - now).total_seconds()
        ahead = notice.status in {"far", "near"}
        return (
            _ORDER.index(notice.status),
            -starts_in_s if ahead else starts_in_s,
            notice.signal_name,
        )

    return sorted(told, key=pressing) or [nothing_at(now)]


def next_change(notices: Iterable[Notice], now: datetime) -> datetime | None:
    """When the clock alone next changes a status or a value."""
    moments = [
        at
        for notice in notices
        for at in (
            notice.starts_at,
            notice.ends_at,
            *(interval.starts_at for interval in notice.values),
        )
        if at is not None and at > now
    ]
    return min(moments, default=None)


def _status(notice: Notice, now: datetime) -> NodeEventStatus:
    if notice.status in {"cancelled", "completed"}:
        return notice.status
    if notice.ends_at is not None and now >= notice.ends_at:
        return "completed"
    if now >= notice.starts_at:
        return "active"
    return "near" if notice.status == "active" else notice.status
