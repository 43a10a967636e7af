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
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

import msgspec

from oadr.event import Baseline, Event, Signal, SignalInterval
from oadr.moments import read_duration
from oadr.report import ReportInterval, ReportRequest, SpecifierPayload
from oadr.target import Target
from oadr.units import PowerAttributes, Unit, energy, power, price_per_kwh
from oadr.vocabulary import EventStatus, ResponseRequired, ScaleCode, SignalName, SignalType
from vtn.errors import InvalidEvent, InvalidReportRequest

START_MARGIN: Final = timedelta(seconds=1)
"""`now` means the next whole second plus this, so that "now" is not the past once it is stored."""


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
    return Event(
        event_id=order.event_id,
        priority=_priority(order.priority),
        market_context=named,
        created_at=_whole_second(now),
        status=EventStatus.NONE,
        test_event="true" if order.test else None,
        vtn_comment=order.comment or None,
        starts_at=starts_at,
        duration=length,
        start_after=_span(order.start_within, "start_within"),
        notification=_span(order.notification, "notification") or timedelta(0),
        ramp_up=_span(order.ramp_up, "ramp_up"),
        recovery=_span(order.recovery, "recovery"),
        signals=signals,
        baseline=_baseline(order.baseline, starts_at=starts_at, now=now),
        target=Target(ven_ids=order.vens, group_ids=order.groups, resource_ids=order.resources),
        response_required=ResponseRequired(order.response),
    )


def changed(event: Event, change: EventChange, *, now: datetime) -> Event:
    """`event` with the change applied; numbers and dates of the modification are the book's.

    A new duration stretches signals of one interval; signals of several must be given anew.
    Raises InvalidEvent.
    """
    starts_at = event.starts_at if change.start is None else instant(change.start, now=now)
    stated = duration(change.duration, what="duration") if change.duration else None
    if change.signals is not None:
        # Without intervals of its own a new signal fills the event as it is.
        alone = not any(signal.intervals for signal in change.signals)
        signals, length = _signals(
            change.signals, event.duration if stated is None and alone else stated
        )
    elif stated is not None:
        signals, length = _stretched(event.signals, stated), stated
    else:
        signals, length = event.signals, event.duration

    def span(text: str | None, what: str, before: timedelta | None) -> timedelta | None:
        return before if text is None else _span(text, what)

    return replace(
        event,
        starts_at=starts_at,
        duration=length,
        signals=signals,
        start_after=span(change.start_within, "start_within", event.start_after),
        notification=span(change.notification, "notification", event.notification) or timedelta(0),
        ramp_up=span(change.ramp_up, "ramp_up", event.ramp_up),
        recovery=span(change.recovery, "recovery", event.recovery),
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


def report_request(order: ReportOrder, *, now: datetime) -> ReportRequest:
    """The request an order describes, still without its reportRequestID. Raises Invalid."""
    metadata = order.specifier == "METADATA"
    points = ("0",) if metadata else order.points  # rule 308
    if not points:
        raise InvalidReportRequest(
            f"points: name at least one point (rID) of the report '{order.specifier}'."
        )
    back = _span(order.back, "back") or timedelta(0)
    return ReportRequest(
        report_request_id="",
        report_specifier_id=order.specifier,
        granularity=_span(order.granularity, "granularity") or timedelta(0),
        report_back=back,
        interval=ReportInterval(
            starts_at=instant(order.start, now=now, past=True),
            duration=duration(order.duration, what="duration"),
        )
        if back or not metadata
        else None,
        payloads=tuple(SpecifierPayload(r_id=point) for point in points),
    )


# --- times ---------------------------------------------------------------------------------------

_LENGTH = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?")
_RELATIVE = re.compile(r"(?:now)?\s*(?P<sign>[+-])\s*(?P<away>[^\s+-]\S*)")
OPEN: Final = ("open", "until-cancelled")
_LONGEST: Final = timedelta(days=366)


def duration(text: str, *, what: str) -> timedelta:
    """`5m`, `1h30m`, `90s`, `1d`, `PT5M` -> that long; `open` -> zero, the standard's open end.

    Whole seconds, at most 366 days. `what` names the field in the refusal. Raises InvalidEvent.
    """
    text = text.strip()
    if text in OPEN:
        return timedelta(0)
    length: timedelta | None = None
    if (match := _LENGTH.fullmatch(text)) and text:
        days, hours, minutes, seconds = (int((part or "0")[:10]) for part in match.groups())
        length = timedelta(seconds=((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    elif text[:1] == "P":
        try:
            length = read_duration(text)
        except ValueError:
            length = None
    if length is None:
        raise InvalidEvent(f"{what}: '{text}' is not a duration; write it like 5m, 1h30m or PT5M.")
    if length > _LONGEST:
        raise InvalidEvent(f"{what}: '{text}' is longer than a year; that is hardly meant.")
    return length


def instant(text: str, *, now: datetime, past: bool = False, what: str = "start") -> datetime:
    """`now`, `now+10m`, `+30s`, `2030-01-09T15:00+01:00` -> aware UTC, whole seconds.

    With `past` also `now-1h`. Raises InvalidEvent for what cannot be read, has no zone, or (unless
    `past`) is over.
    """
    text = text.strip()
    soon = _whole_second(now) if past else _whole_second(now + timedelta(seconds=1)) + START_MARGIN
    if text == "now":
        return soon
    if relative := _RELATIVE.fullmatch(text):
        away = duration(relative["away"], what=what)
        if relative["sign"] == "+":
            return max(soon, _whole_second(now) + away)
        if past:
            return _whole_second(now) - away
        raise InvalidEvent(f"{what}: '{text}' is in the past; give a time to come.")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(
            f"{what}: '{text}' is not a time; write now, now+10m or 2030-01-09T14:00:00Z."
        ) from None
    if at.tzinfo is None:
        raise InvalidEvent(
            f"{what}: '{text}' does not say its time zone; add Z for UTC or an offset like +01:00."
        )
    try:
        at = _whole_second(at.astimezone(UTC))
    except OverflowError:
        raise InvalidEvent(f"{what}: '{text}' is outside the calendar.") from None
    if not past and at < _whole_second(now):
        raise InvalidEvent(
            f"{what}: {at:%Y-%m-%dT%H:%M:%SZ} is in the past (it is {now:%H:%M:%S} UTC); "
            "give a time to come."
        )
    return at


def _whole_second(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def _span(text: str, what: str) -> timedelta | None:
    if not text:
        return None
    if text.strip() in OPEN:
        raise InvalidEvent(f"{what}: cannot be open-ended; give a duration like 5m.")
    return duration(text, what=what)


def _priority(number: int) -> int:
    if not 0 <= number < 2**32:
        raise InvalidEvent(f"priority: {number} is not 0 (lowest), 1 (highest), 2, 3 ...")
    return number


# --- signals -------------------------------------------------------------------------------------


class Dimension(StrEnum):
    """What a number measures."""

    POWER = "a power: give W, kW or MW"
    ENERGY = "an energy: give Wh, kWh or MWh"
    PRICE_PER_ENERGY = "a price of energy: give a currency per kWh, like EUR/kWh"
    PRICE_PER_POWER = "a price of power: give a currency per kW, like EUR/kW"
    LEVEL = "a level: leave the unit out, or give level"
    FACTOR = "a factor: leave the unit out, or give %"
    PERCENT = "a percentage: leave the unit out, or give %"
    ANY = "whatever its unit says"


_PRICE: Final = {
    SignalType.PRICE: Dimension.PRICE_PER_ENERGY,
    SignalType.PRICE_RELATIVE: Dimension.PRICE_PER_ENERGY,
    SignalType.PRICE_MULTIPLIER: Dimension.FACTOR,
}
_MEASURES: Final[Mapping[str, Mapping[SignalType, Dimension]]] = {
    SignalName.SIMPLE: {SignalType.LEVEL: Dimension.LEVEL},
    SignalName.ELECTRICITY_PRICE: _PRICE,
    SignalName.ENERGY_PRICE: _PRICE,
    SignalName.DEMAND_CHARGE: {
        SignalType.PRICE: Dimension.PRICE_PER_POWER,
        SignalType.PRICE_RELATIVE: Dimension.PRICE_PER_POWER,
        SignalType.PRICE_MULTIPLIER: Dimension.FACTOR,
    },
    SignalName.BID_PRICE: {SignalType.PRICE: Dimension.PRICE_PER_ENERGY},
    SignalName.BID_LOAD: {SignalType.SETPOINT: Dimension.POWER},
    SignalName.BID_ENERGY: {SignalType.SETPOINT: Dimension.ENERGY},
    SignalName.CHARGE_STATE: {
        SignalType.SETPOINT: Dimension.ENERGY,
        SignalType.DELTA: Dimension.ENERGY,
        SignalType.MULTIPLIER: Dimension.FACTOR,
    },
    SignalName.LOAD_DISPATCH: {
        SignalType.SETPOINT: Dimension.POWER,
        SignalType.DELTA: Dimension.POWER,
        SignalType.MULTIPLIER: Dimension.FACTOR,
        SignalType.LEVEL: Dimension.LEVEL,
    },
    SignalName.LOAD_CONTROL: {
        SignalType.LOAD_CONTROL_CAPACITY: Dimension.FACTOR,
        SignalType.LOAD_CONTROL_LEVEL_OFFSET: Dimension.LEVEL,
        SignalType.LOAD_CONTROL_SETPOINT: Dimension.ANY,
        SignalType.LOAD_CONTROL_PERCENT_OFFSET: Dimension.PERCENT,
    },
}
"""Table 1 (rule 104): what the number of each signal and type measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """A unit as an operator writes it: what it measures, how it goes on the wire."""

    dimension: Dimension
    unit: Unit | None = None
    factor: float = 1.0


def _reactive(scale: ScaleCode) -> Unit:
    return Unit(
        kind="power:powerReactive",
        symbol="VAR",
        description="ReactivePower",
        scale=scale,
        attributes=PowerAttributes(),
    )


def _apparent(scale: ScaleCode) -> Unit:
    return Unit(
        kind="power:powerApparent",
        symbol="VA",
        description="ApparentPower",
        scale=scale,
        attributes=PowerAttributes(),
    )


_SCALES: Final = {
    "": ScaleCode.NONE,
    "k": ScaleCode.KILO,
    "M": ScaleCode.MEGA,
    "G": ScaleCode.GIGA,
}
_UNITS: Final[Mapping[str, _Measure]] = {
    f"{prefix}{symbol}": _Measure(dimension=dimension, unit=make(scale))
    for prefix, scale in _SCALES.items()
    for symbol, dimension, make in (
        ("W", Dimension.POWER, power),
        ("VA", Dimension.POWER, _apparent),
        ("var", Dimension.POWER, _reactive),
        ("Wh", Dimension.ENERGY, energy),
    )
} | {
    "%": _Measure(dimension=Dimension.PERCENT),
    "level": _Measure(dimension=Dimension.LEVEL),
    "factor": _Measure(dimension=Dimension.FACTOR),
}
_CURRENCY: Final = re.compile(r"([A-Z]{3})/(kWh|kW)")


def unit_name(unit: Unit | None) -> str:
    """A unit of the wire as an operator writes it: `kW`, `EUR/kWh`; "" for none."""
    if unit is None:
        return ""
    if unit.kind == "oadr:currencyPerKWh":
        return f"{unit.symbol}/kWh"
    if unit.kind == "oadr:currencyPerKW":
        return f"{unit.symbol}/kW"
    scale = "" if unit.scale is ScaleCode.NONE else unit.scale.value
    return scale + {"VAR": "var", "VARh": "varh", "J/s": "W"}.get(unit.symbol, unit.symbol)


def _measure(text: str) -> _Measure | None:
    """The unit an operator wrote, or None where nothing was written. Raises InvalidEvent."""
    if not text:
        return None
    if known := _UNITS.get(text):
        return known
    if price := _CURRENCY.fullmatch(text):
        currency, per = price.groups()
        per_kwh = price_per_kwh(currency)
        if per == "kWh":
            return _Measure(dimension=Dimension.PRICE_PER_ENERGY, unit=per_kwh)
        return _Measure(
            dimension=Dimension.PRICE_PER_POWER,
            unit=replace(per_kwh, kind="oadr:currencyPerKW", description="currencyPerKW"),
        )
    folded = {name.casefold(): name for name in (*_UNITS, "EUR/kWh", "EUR/kW")}
    near = difflib.get_close_matches(text.casefold(), folded, n=1)
    hint = f"did you mean '{folded[near[0]]}'?" if near else "known are W, kWh, EUR/kWh, %, level."
    raise InvalidEvent(f"unit: there is no unit '{text}' here; {hint}")


def _scaled(name: str, kind: SignalType, unit: str) -> _Measure:
    """The unit of a signal on the wire and the factor of its values. Raises InvalidEvent."""
    wanted = _MEASURES[name][kind] if name in _MEASURES else Dimension.ANY
    given = _measure(unit)
    if wanted is Dimension.ANY:
        return given or _Measure(dimension=Dimension.ANY)
    sentence = f"{name} {kind} is {wanted}"
    bare = wanted in (Dimension.LEVEL, Dimension.FACTOR, Dimension.PERCENT)
    if given is None:
        if bare:
            return _Measure(dimension=wanted)
        raise InvalidEvent(f"{sentence}; the unit is missing.")
    if given.dimension is wanted:
        return given
    if wanted is Dimension.FACTOR and given.dimension is Dimension.PERCENT:
        return _Measure(dimension=wanted, factor=0.01)
    raise InvalidEvent(f"{sentence}, not {unit}.")


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
        stated = lengths[0] if lengths else timedelta(0)
    signals = tuple(_signal(order, number, stated) for number, order in enumerate(orders))
    return signals, stated


def _open_ended(intervals: Sequence[IntervalOrder]) -> bool:
    *before, last = (duration(part.duration, what="interval") for part in intervals)
    if not all(before):
        raise InvalidEvent("interval: only the last one can be open or empty; give durations.")
    return not last


def _signal(order: SignalOrder, number: int, length: timedelta) -> Signal:
    kind = _kind(order.name, order.type)
    measure = _scaled(order.name, kind, order.unit)
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
        unit=measure.unit,
        intervals=_intervals(steps, measure.factor),
        target=Target(end_device_assets=order.device_classes) if order.device_classes else None,
    )


def _kind(name: str, text: str) -> SignalType:
    known = _MEASURES.get(name)
    if known is None and not name.startswith("x-"):
        near = difflib.get_close_matches(name.upper(), _MEASURES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(_MEASURES)}."
        raise InvalidEvent(f"signal: there is no signal '{name}'; {hint}")
    kinds = list(known or SignalType)
    if text not in kinds:
        raise InvalidEvent(f"{name} has no type '{text}'; it can be {' or '.join(kinds)}.")
    return SignalType(text)


def _intervals(
    steps: Sequence[tuple[timedelta, float]], factor: float
) -> tuple[SignalInterval, ...]:
    for _, value in steps:
        if not math.isfinite(value):
            raise InvalidEvent(f"value: {value} is not a number that can be sent.")
    return tuple(
        SignalInterval(duration=length, uid=str(uid), value=value * factor)
        for uid, (length, value) in enumerate(steps)
    )


def _stretched(signals: Sequence[Signal], length: timedelta) -> tuple[Signal, ...]:
    for signal in signals:
        if len(signal.intervals) > 1:
            raise InvalidEvent(
                f"{signal.signal_name} has {len(signal.intervals)} intervals; "
                "give its signals anew together with the new duration."
            )
    return tuple(
        replace(signal, intervals=(replace(signal.intervals[0], duration=length),))
        for signal in signals
    )


def _baseline(
    order: BaselineOrder | None, *, starts_at: datetime, now: datetime
) -> Baseline | None:
    if order is None:
        return None
    measure = _measure(order.unit)
    if measure is None or measure.unit is None:
        raise InvalidEvent("baseline: say its unit, like kW.")
    steps = [(duration(part.duration, what="baseline"), part.value) for part in order.intervals]
    if not steps or not all(length for length, _ in steps):
        raise InvalidEvent("baseline: give at least one interval, each with a duration like 15m.")
    return Baseline(
        baseline_id=order.name,
        baseline_name=order.name,
        # A baseline may lie in the past: yesterday's is what the standard's own example sends.
        starts_at=instant(order.start, now=now, past=True) if order.start else starts_at,
        duration=sum((length for length, _ in steps), timedelta(0)),
        intervals=_intervals(steps, measure.factor),
        resource_ids=order.resources,
        unit=measure.unit,
    )
