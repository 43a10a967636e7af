# SPDX-License-Identifier: Apache-2.0
"""What an operator says, in words and JSON, becomes the draft of an OpenADR event.

An order is what a person types or a control system posts:

>>> import msgspec
>>> from datetime import UTC, datetime
>>> order = msgspec.json.decode(
...     b'{"start": "now+10m", "duration": "1h", "vens": ["hq"], "signals": '
...     b'[{"name": "LOAD_DISPATCH", "type": "delta", "unit": "kW", "value": -200}]}',
...     type=EventOrder,
... )
>>> event = draft(order, now=datetime(2030, 1, 9, 14, tzinfo=UTC), market_context="http://mc")
>>> event.starts_at.isoformat(), event.signals[0].intervals[0].value
('2030-01-09T14:10:00+00:00', -200.0)

Here it is checked that times, durations and units are what they say; the event book checks the
rules of the standard on the draft.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

import oadr
from oadr.event import Baseline, DistributeEvent, Event, Signal, SignalInterval
from oadr.report import ReportInterval, ReportRequest, SpecifierPayload
from oadr.target import Target
from oadr.vocabulary import EventStatus, ResponseRequired, SignalType
from vtn.errors import InvalidEvent, InvalidReportRequest
from vtn.quantities import MEASURES, measure, scaled
from vtn.spoken_times import duration, instant, not_endless, not_far, span, whole_second

MOST: Final = 1e12
"""No value is larger than this: a terawatt is more than any VEN has."""


class IntervalOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a signal or a baseline."""

    duration: str
    """`5m`, `1h30m`, `PT5M`; `open` in the last one: until cancelled."""
    value: float


class SignalOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked: one value for the whole event, or one per interval."""

    name: str
    """LOAD_DISPATCH, SIMPLE, ELECTRICITY_PRICE ..."""
    type: str
    """delta, setpoint, level, price, multiplier ..."""
    unit: str = ""
    """kW, MW, W, kWh, EUR/kWh, %, level ..."""
    value: float | None = None
    intervals: tuple[IntervalOrder, ...] = ()
    id: str = ""
    """The signalID; made from the position where nothing is said."""
    device_classes: tuple[str, ...] = ()
    """Only devices of these classes (rule 111)."""


class BaselineOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the utility expects without the event."""

    name: str = "baseline"
    start: str = ""
    """As an event's start; the event's own where nothing is said."""
    unit: str = ""
    intervals: tuple[IntervalOrder, ...]
    resources: tuple[str, ...] = ()


class EventOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new event. Durations are written `5m`, `1h30m` or `PT5M`; empty text says nothing."""

    signals: tuple[SignalOrder, ...]
    start: str = "now"
    """`now`, `now+10m`, `+30s`, or ISO 8601 with its zone."""
    duration: str = ""
    """May be left out where a signal has intervals; `open`: until cancelled."""
    vens: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    everyone: bool = False
    """Must be said when no VEN, group or resource is named: nobody calls on all by an omission."""
    market_context: str = ""
    """May be left out where the VTN knows exactly one."""
    notification: str = ""
    """How long before the start the VENs should know."""
    ramp_up: str = ""
    recovery: str = ""
    start_within: str = ""
    """Each VEN starts at a random moment within this after the start (startafter, rule 30)."""
    priority: int = 0
    """1 is the highest; 0 the lowest (rule 3)."""
    test: bool = False
    response: Literal["always", "never"] = "always"
    comment: str = ""
    baseline: BaselineOrder | None = None
    event_id: str = ""
    """Made by the VTN where nothing is said."""


class EventChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A modification: what is given replaces what was; everything else stays."""

    expected_modification: int | None = None
    """The modificationNumber the operator looked at; refused when the event has moved on."""
    reason: str = ""
    """Goes to the VENs as modificationReason."""
    signals: tuple[SignalOrder, ...] | None = None
    start: str | None = None
    duration: str | None = None
    notification: str | None = None
    ramp_up: str | None = None
    recovery: str | None = None
    start_within: str | None = None
    priority: int | None = None
    test: bool | None = None
    response: Literal["always", "never"] | None = None
    comment: str | None = None
    baseline: BaselineOrder | None = None


class ReportOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report to ask of a VEN."""

    specifier: str
    """A reportSpecifierID the VEN offers; METADATA asks for what it offers (rule 327)."""
    points: tuple[str, ...] = ()
    """The rIDs."""
    granularity: str = "0s"
    """How fine; `0s`: on change."""
    back: str = "0s"
    """How often it is sent; `0s`: once, now (rule 324)."""
    start: str = "now"
    duration: str = "open"


def draft(order: EventOrder, *, now: datetime, market_context: str = "") -> Event:
    """The event an order describes, as version 0 with status `none`; `event_id` may be empty.

    `market_context` stands in where the order names none. Raises InvalidEvent.
    """
    starts_at = instant(order.start, now=now)
    stated = duration(order.duration, what="duration") if order.duration else None
    signals, length = _signals(order.signals, stated)
    named = order.market_context or market_context
    if not named:
        raise InvalidEvent("Say which market context the event belongs to (market_context).")
    if not (order.vens or order.groups or order.resources or order.everyone):
        raise InvalidEvent(
            "The event names nobody: name VENs, groups or resources, or say that it is for "
            "everyone (--everyone)."
        )
    if order.everyone and (order.vens or order.groups or order.resources):
        raise InvalidEvent("The event is for everyone or for those named; say one of the two.")
    event = Event(
        event_id=order.event_id,
        priority=_priority(order.priority),
        market_context=named,
        created_at=whole_second(now),
        status=EventStatus.NONE,
        test_event="true" if order.test else None,
        vtn_comment=order.comment or None,
        starts_at=starts_at,
        duration=length,
        start_after=span(order.start_within, "start_within"),
        notification=span(order.notification, "notification") or timedelta(0),
        ramp_up=span(order.ramp_up, "ramp_up"),
        recovery=span(order.recovery, "recovery"),
        signals=signals,
        baseline=_baseline(order.baseline, starts_at=starts_at, now=now),
        target=Target(ven_ids=order.vens, group_ids=order.groups, resource_ids=order.resources),
        response_required=ResponseRequired(order.response),
    )
    return _sendable(event)


def changed(event: Event, change: EventChange, *, now: datetime) -> Event:
    """`event` with the change applied; numbers and dates of the modification are the book's.

    With a new duration the last interval of each signal gives way. One new value for a signal
    that runs (same ID) holds from now on. Raises InvalidEvent.
    """
    starts_at = event.starts_at if change.start is None else instant(change.start, now=now)
    stated = duration(change.duration, what="duration") if change.duration else None
    if change.signals is not None:
        # Without intervals of its own a new signal fills the event as it is.
        alone = not any(signal.intervals for signal in change.signals)
        signals, length = _signals(
            change.signals, event.duration if stated is None and alone else stated
        )
        if change.start is None:
            elapsed = instant("now", now=now) - starts_at
            signals = tuple(_from_now_on(event, each, length, elapsed) for each in signals)
    elif stated is not None:
        signals, length = tuple(_retimed(each, stated) for each in event.signals), stated
    else:
        signals, length = event.signals, event.duration

    def kept(text: str | None, what: str, before: timedelta | None) -> timedelta | None:
        return before if text is None else span(text, what)

    event = replace(
        event,
        starts_at=starts_at,
        duration=length,
        signals=signals,
        start_after=kept(change.start_within, "start_within", event.start_after),
        notification=kept(change.notification, "notification", event.notification) or timedelta(0),
        ramp_up=kept(change.ramp_up, "ramp_up", event.ramp_up),
        recovery=kept(change.recovery, "recovery", event.recovery),
        priority=event.priority if change.priority is None else _priority(change.priority),
        test_event=event.test_event
        if change.test is None
        else ("true" if change.test else "false"),
        response_required=event.response_required
        if change.response is None
        else ResponseRequired(change.response),
        vtn_comment=event.vtn_comment if change.comment is None else change.comment or None,
        modification_reason=change.reason or None,
        baseline=event.baseline
        if change.baseline is None
        else _baseline(change.baseline, starts_at=starts_at, now=now),
    )
    return _sendable(event)


def _sendable(event: Event) -> Event:
    """The event, once it is known that it can be said on the wire. Raises InvalidEvent."""
    message = DistributeEvent(request_id="0", vtn_id="0", events=(event,))
    try:
        oadr.parse(oadr.build(message))
    except oadr.OadrError as error:
        raise InvalidEvent(f"The event cannot be sent as it is: {error}") from error
    return event


def report_request(order: ReportOrder, *, now: datetime) -> ReportRequest:
    """The request an order describes, still without its reportRequestID. Raises Invalid."""
    metadata = order.specifier == "METADATA"
    points = ("0",) if metadata else order.points  # rule 308
    if not points:
        raise InvalidReportRequest(
            f"points: name at least one point (rID) of the report '{order.specifier}'."
        )
    back = span(order.back, "back") or timedelta(0)
    return ReportRequest(
        report_request_id="",
        report_specifier_id=order.specifier,
        granularity=span(order.granularity, "granularity") or timedelta(0),
        report_back=back,
        interval=ReportInterval(
            starts_at=not_far(instant(order.start, now=now, past=True), now=now),
            duration=duration(order.duration, what="duration"),
        )
        if back or not metadata
        else None,
        payloads=tuple(SpecifierPayload(r_id=point) for point in points),
    )


def _priority(number: int) -> int:
    if not 0 <= number < 2**32:
        raise InvalidEvent(f"priority: {number} is not 0 (lowest), 1 (highest), 2, 3 ...")
    return number


# --- signals -------------------------------------------------------------------------------------


def _signals(
    orders: Sequence[SignalOrder], stated: timedelta | None
) -> tuple[tuple[Signal, ...], timedelta]:
    """The signals, and how long the event is: as stated, or as their intervals add up."""
    if not orders:
        raise InvalidEvent("The event has no signal; give at least one.")
    lengths = [
        sum((duration(part.duration, what="interval") for part in order.intervals), timedelta(0))
        for order in orders
        if order.intervals and not _open_ended(order.intervals)
    ]
    if stated is None:
        if not lengths and not any(order.intervals for order in orders):
            raise InvalidEvent("How long is the event? Give a duration like 30m, or open.")
        stated = not_endless(lengths[0], what="interval") if lengths else timedelta(0)
    signals = tuple(_signal(order, number, stated) for number, order in enumerate(orders))
    return signals, stated


def _open_ended(intervals: Sequence[IntervalOrder]) -> bool:
    *before, last = (duration(part.duration, what="interval") for part in intervals)
    if not all(before):
        raise InvalidEvent("interval: only the last one can be open or empty; give durations.")
    return not last


def _signal(order: SignalOrder, number: int, length: timedelta) -> Signal:
    kind = _kind(order.name, order.type)
    unit = scaled(order.name, kind, order.unit)
    if (order.value is None) == (not order.intervals):
        raise InvalidEvent(
            f"{order.name}: give one value for the whole event, or intervals with a value each."
        )
    steps = (
        [(length, order.value)]
        if order.value is not None
        else [(duration(part.duration, what="interval"), part.value) for part in order.intervals]
    )
    return Signal(
        signal_name=order.name,
        signal_type=kind,
        signal_id=order.id or f"signal-{number + 1}",
        unit=unit.unit,
        intervals=_intervals(steps, unit.factor),
        target=Target(end_device_assets=order.device_classes) if order.device_classes else None,
    )


def _kind(name: str, text: str) -> SignalType:
    known = MEASURES.get(name)
    if known is None and not name.startswith("x-"):
        near = difflib.get_close_matches(name.upper(), MEASURES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(MEASURES)}."
        raise InvalidEvent(f"signal: there is no signal '{name}'; {hint}")
    kinds = list(known or SignalType)
    if text not in kinds:
        raise InvalidEvent(f"{name} has no type '{text}'; it can be {' or '.join(kinds)}.")
    return SignalType(text)


def _intervals(
    steps: Sequence[tuple[timedelta, float]], factor: float
) -> tuple[SignalInterval, ...]:
    for _, value in steps:
        if not abs(value) <= MOST:  # NaN is not, either
            raise InvalidEvent(f"value: {value} is not a number that can be meant.")
    return tuple(
        SignalInterval(duration=length, uid=str(uid), value=value * factor)
        for uid, (length, value) in enumerate(steps)
    )


def _retimed(signal: Signal, length: timedelta) -> Signal:
    """The signal over another length (zero: open): what came before stays, the last step gives."""
    steps: list[SignalInterval] = []
    before = used = timedelta(0)
    for step in signal.intervals:
        if length and used >= length:
            break
        steps.append(step)
        before, used = used, used + (step.duration or timedelta(0))
    steps[-1] = replace(steps[-1], duration=length - before if length else timedelta(0))
    return replace(signal, intervals=tuple(steps))


def _from_now_on(before: Event, signal: Signal, length: timedelta, elapsed: timedelta) -> Signal:
    """A new value for a running signal holds from now on: what was asked stays asked (rule 20)."""
    old = next((each for each in before.signals if each.signal_id == signal.signal_id), None)
    if old is None or len(signal.intervals) > 1 or not timedelta(0) < elapsed:
        return signal
    if length and elapsed >= length:
        return signal
    rest = replace(signal.intervals[0], duration=length - elapsed if length else length)
    steps = (*_retimed(old, elapsed).intervals, rest)
    return replace(
        signal,
        intervals=tuple(replace(step, uid=str(uid)) for uid, step in enumerate(steps)),
    )


def _baseline(
    order: BaselineOrder | None, *, starts_at: datetime, now: datetime
) -> Baseline | None:
    if order is None:
        return None
    unit = measure(order.unit)
    if unit is None or unit.unit is None:
        raise InvalidEvent("baseline: say its unit, like kW.")
    steps = [(duration(part.duration, what="baseline"), part.value) for part in order.intervals]
    if order.start:
        starts_at = not_far(instant(order.start, now=now, past=True), now=now, what="baseline")
    if not steps or not all(length for length, _ in steps):
        raise InvalidEvent("baseline: give at least one interval, each with a duration like 15m.")
    return Baseline(
        baseline_id=order.name,
        baseline_name=order.name,
        # A baseline may lie in the past: yesterday's is what the standard's own example sends.
        starts_at=starts_at,
        duration=not_endless(sum((length for length, _ in steps), timedelta(0)), what="baseline"),
        intervals=_intervals(steps, unit.factor),
        resource_ids=order.resources,
        unit=unit.unit,
    )
