# SPDX-License-Identifier: Apache-2.0
"""Known events -> the light node's plan: the steps to hold, and notices for the EMS.

One event with a ramp-up and a recovery:

    ramps_at      starts_at                      ends_at       recovered_at
        [== ramp ====)[===== the signal's steps =====)[= back to 0 =)

Where events overlap, the one of better rank (known.rank) is held; within one event a signal that
asks for something goes before one that does not, and SIMPLE before or after the others as the site
wants. A price or level 0 never displaces what another event asks for.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from light_node.local import (
    Delta,
    Keep,
    Limit,
    NodeEventStatus,
    Notice,
    NoticeValue,
    Share,
    Step,
    Target,
)
from oadr.event import Signal
from oadr.vocabulary import EventStatus
from ven.config import SiteSettings
from ven.errors import SignalFault
from ven.known import KnownEvent, rank
from ven.setpoints import is_simple, target_of
from ven.timeline import Claim, line

_STATUS: dict[EventStatus, NodeEventStatus] = {
    EventStatus.FAR: "far",
    EventStatus.NEAR: "near",
    EventStatus.ACTIVE: "active",
    EventStatus.COMPLETED: "completed",
    EventStatus.CANCELLED: "cancelled",
}

Interval = tuple[datetime, datetime | None, float]


def steps(known: Iterable[KnownEvent], site: SiteSettings) -> tuple[Step, ...]:
    """The plan, ascending; at any instant at most one step asks for something.

    Events that are opted out of or cannot be acted on have no steps.
    """
    claims: list[Claim[Step]] = []
    for each in known:
        if each.holds:
            claims.extend(line(list(_claims(each, site))))
    resting = [claim for claim in claims if isinstance(claim.what.target, Keep)]
    asking = [claim for claim in claims if not isinstance(claim.what.target, Keep)]
    planned = [
        replace(claim.what, starts_at=claim.starts_at, ends_at=claim.ends_at)
        for claim in (*resting, *line(asking))
    ]
    return tuple(sorted(planned, key=lambda step: (step.starts_at, step.event_id)))


def notices(known: Iterable[KnownEvent], site: SiteSettings, now: datetime) -> tuple[Notice, ...]:
    """Each signal of each event in plain terms, opted in or not; prices travel this way."""
    return tuple(
        Notice(
            event_id=each.event_id,
            modification_number=each.event.modification_number,
            status=_STATUS[each.status(now)],
            starts_at=each.starts_at,
            ends_at=each.ends_at,
            signal_name=signal.signal_name,
            signal_type=signal.signal_type.value,
            unit=unit_text(signal),
            opt=each.opt.value,
            comment=each.event.vtn_comment or "",
            test=each.event.is_test,
            values=tuple(
                NoticeValue(starts_at=start, ends_at=end, value=value)
                for start, end, value in _intervals(each, signal)
            ),
        )
        for each in sorted(known, key=rank)
        if each.response_code == "200"
        for signal in each.event.signals
        if _is_understood(signal, site)
    )


def value_at(known: KnownEvent, signal: Signal, now: datetime) -> float | None:
    """The signal's value now or, before the event, its first; None when it is over."""
    for _, end, value in _intervals(known, signal):
        if end is None or now < end:
            return value
    return None


def is_moving(planned: Iterable[Step], now: datetime, *, settle: timedelta) -> bool:
    """Whether the plan asks for something now, or did up to `settle` ago."""
    return any(
        step.starts_at <= now and (step.ends_at is None or now < step.ends_at + settle)
        for step in planned
        if not isinstance(step.target, Keep)
    )


def step_at(planned: Iterable[Step], now: datetime) -> Step | None:
    """The step that asks for something now, or None."""
    return next(
        (
            step
            for step in planned
            if not isinstance(step.target, Keep)
            and step.starts_at <= now
            and (step.ends_at is None or now < step.ends_at)
        ),
        None,
    )


def _claims(known: KnownEvent, site: SiteSettings) -> Iterator[Claim[Step]]:
    first: Step | None = None
    final: Step | None = None
    for index, signal in enumerate(known.event.signals):
        try:
            held = [
                (start, end, value, target_of(signal, value, site))
                for start, end, value in _intervals(known, signal)
            ]
        except SignalFault:
            continue  # another signal of the event is understood: check_signals saw to it
        for start, end, value, meant in held:
            idle = known.event.is_test and not site.act_on_tests
            target = Keep() if idle else meant
            asks = not isinstance(target, Keep)
            step = _step(known, signal, (start, end, value), target)
            first = first or (step if asks and start == known.starts_at else None)
            final = step if asks and end is not None and end == known.ends_at else final
            preferred = is_simple(signal) is site.prefer_simple
            yield Claim(
                starts_at=start,
                ends_at=end,
                rank=(0, *rank(known), not asks, not preferred, index),
                what=step,
            )
    if first is not None and known.ramps_at < known.starts_at:
        yield _ramp(known, first, site)
    if final is not None and known.event.recovery:
        yield _recovery(known, final, site)


def _ramp(known: KnownEvent, first: Step, site: SiteSettings) -> Claim[Step]:
    ends_at = min(known.starts_at, known.ends_at or known.starts_at)
    return Claim(
        starts_at=known.ramps_at,
        ends_at=max(ends_at, known.ramps_at),
        rank=(0, *rank(known), 0, 0, -1),
        what=replace(
            first,
            part="ramp_up",
            ramp_w_per_s=_rate(first.target, known.event.ramp_up, site),
        ),
    )


def _recovery(known: KnownEvent, final: Step, site: SiteSettings) -> Claim[Step]:
    assert known.ends_at is not None
    return Claim(
        starts_at=known.ends_at,
        ends_at=known.recovered_at,
        # Coming back gently gives way to whatever any event asks for.
        rank=(1, *rank(known), 0, 0, -2),
        what=replace(
            final,
            part="recovery",
            target=Delta(watts=0.0),
            ramp_w_per_s=_rate(final.target, known.event.recovery, site),
        ),
    )


def _rate(target: Target, length: timedelta | None, site: SiteSettings) -> float | None:
    """W/s that brings the target about in `length`; None where the site does not say enough."""
    seconds = length.total_seconds() if length else 0.0
    match target:
        case Delta(watts=watts):
            span: float | None = abs(watts)
        case Limit(max_watts=most) if most is not None and site.rated_w is not None:
            span = site.rated_w - most
        case Share(of_baseline=share) if site.rated_w is not None:
            span = abs(1 - share) * site.rated_w
        case _:
            span = None
    return span / seconds if span is not None and span > 0 and seconds else None


def _intervals(known: KnownEvent, signal: Signal) -> Iterator[Interval]:
    """The signal's intervals with the VEN's own offset, cut at the event's end."""
    start = known.starts_at
    event_end = known.ends_at
    last = len(signal.intervals) - 1
    for index, interval in enumerate(signal.intervals):
        # The last one lasts to the end of the event, which a cancellation may have brought forward.
        end = event_end if index == last or not interval.duration else start + interval.duration
        if end is not None and event_end is not None:
            end = min(end, event_end)
        if end is None or start < end:
            yield start, end, interval.value
        if end is None or (event_end is not None and end >= event_end):
            return
        start = end


def _step(known: KnownEvent, signal: Signal, interval: Interval, target: Target) -> Step:
    start, end, value = interval
    event = known.event
    return Step(
        event_id=event.event_id,
        modification_number=event.modification_number,
        priority=event.priority or 0,
        starts_at=start,
        ends_at=end,
        target=target,
        signal_name=signal.signal_name,
        signal_type=signal.signal_type.value,
        unit=unit_text(signal),
        value=value,
        market_context=event.market_context,
        test=event.is_test,
    )


def unit_text(signal: Signal) -> str:
    """The unit in plain letters: kW, EUR/kWh ...; empty where the signal has none."""
    unit = signal.unit
    if unit is None:
        return ""
    per = {
        "oadr:currencyPerKWh": "/kWh",
        "oadr:currencyPerKW": "/kW",
        "oadr:currencyPerThm": "/thm",
    }
    scale = "" if unit.scale.value == "none" else unit.scale.value
    return f"{scale}{unit.symbol}{per.get(unit.kind, '')}"


def _is_understood(signal: Signal, site: SiteSettings) -> bool:
    try:
        target_of(signal, signal.intervals[0].value, site)
    except SignalFault:
        return False
    return True
