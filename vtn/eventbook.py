# SPDX-License-Identifier: Apache-2.0
"""The event book: what an event is at an instant, what may be done to it, who is told of it when.

             near from here      starts_at                 ends_at        over_at
    far  ────────┬──────────────────┬─────────────────────────┬──────────────┬───▶
                 │◀──── ramp-up ───▶│◀──────── active ───────▶│◀─ tolerance ▶│
                 near (rule 13)     active                    completed      not listed any more
                                                              (rule 66)

Pure: `now` is an argument. Numbers in brackets are those of the OpenADR 2.0b conformance rules.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import oadr
from oadr.event import Baseline, DistributeEvent, Event, Signal, SignalInterval
from oadr.target import Target
from oadr.vocabulary import DeviceClass, EventStatus, ResponseRequired, SignalName, SignalType
from vtn.errors import InvalidEvent

GRACE = timedelta(minutes=1)
"""A start this long ago is still "now": between the order and its arrival time goes by."""
CANCEL_ATTEMPTS = 10
"""Hand-outs of a cancellation that nobody answers, before it is given up (rule 52)."""
SILENT_ATTEMPTS = 3
"""Hand-outs of what wants no answer, where it cannot be known that the VEN got it."""

_ZERO = timedelta(0)
_LONGEST = timedelta(days=3660)
_LAST_YEAR = 9000
_STATUS_ORDER = {
    EventStatus.ACTIVE: 0,
    EventStatus.NEAR: 1,
    EventStatus.FAR: 1,
    EventStatus.COMPLETED: 2,
    EventStatus.CANCELLED: 3,
}

# --- an event at an instant ----------------------------------------------------------------------


def status_at(event: Event, now: datetime) -> EventStatus:
    """far, near, active, completed by the clock; cancelled stays cancelled (rule 13)."""
    if event.status is EventStatus.CANCELLED:
        return EventStatus.CANCELLED
    ends_at = event.ends_at
    if ends_at is not None and now >= ends_at:
        return EventStatus.COMPLETED
    if now >= event.starts_at:
        return EventStatus.ACTIVE
    if event.ramp_up and now >= event.starts_at - event.ramp_up:
        return EventStatus.NEAR
    return EventStatus.FAR


def over_at(event: Event) -> datetime | None:
    """From when the event is not listed any more (exclusive, rules 18 and 66); None: open-ended."""
    ends_at = event.ends_at
    return None if ends_at is None else ends_at + (event.start_after or _ZERO)


def interval_at(event: Event, signal: Signal, now: datetime) -> SignalInterval | None:
    """The interval of a signal that holds at `now`; None outside the active period."""
    starts_at = event.starts_at
    if now < starts_at:
        return None
    for interval in signal.intervals:
        if not interval.duration:
            return interval
        starts_at += interval.duration
        if now < starts_at:
            return interval
    return None


def current_value(event: Event, signal: Signal, now: datetime) -> float | None:
    """0 for SIMPLE while not active (14); else the running interval's (29), or undefined (110)."""
    interval = (
        interval_at(event, signal, now) if status_at(event, now) is EventStatus.ACTIVE else None
    )
    if interval is not None:
        return interval.value
    return 0.0 if _is_simple(signal) else None


def as_of(event: Event, now: datetime) -> Event:
    """The event with its status and current values at `now`, freshly dated (rules 14, 29, 115)."""
    return dataclasses.replace(
        event,
        status=status_at(event, now),
        created_at=now,
        signals=tuple(
            dataclasses.replace(signal, current_value=current_value(event, signal, now))
            for signal in event.signals
        ),
    )


def changes_at(event: Event, now: datetime) -> datetime | None:
    """The next instant, after `now`, at which `as_of` or the listing of an event may be another.

    None: never again, unless it is modified.
    """
    marks = [event.starts_at - (event.ramp_up or _ZERO), event.starts_at]
    marks += [one for one in (event.ends_at, over_at(event)) if one is not None]
    for signal in event.signals:
        at = event.starts_at
        for interval in signal.intervals:
            at += interval.duration or _ZERO
            marks.append(at)
    return min((at for at in marks if at > now), default=None)


def in_order(events: Iterable[Event], now: datetime) -> list[Event]:
    """Active by priority, then start; pending by start; then what is over (rules 3 and 15)."""

    def rank(event: Event) -> tuple[int, float, datetime, str]:
        status = _STATUS_ORDER[status_at(event, now)]
        priority = (event.priority or float("inf")) if status == 0 else 0.0
        return status, priority, event.starts_at, event.event_id

    return sorted(events, key=rank)


def overlap(one: Event, other: Event) -> bool:
    """Whether two active periods, each with its tolerance, share an instant (rule 18)."""
    one_over, other_over = over_at(one), over_at(other)
    return (one_over is None or other.starts_at < one_over) and (
        other_over is None or one.starts_at < other_over
    )


def normal_context(uri: str) -> str:
    """A market context in its normal form: scheme and host know no case (rule 512)."""
    text = uri.strip()
    parts = urlsplit(text)
    if not parts.netloc:
        return text
    return urlunsplit(
        (parts.scheme.lower(), parts.netloc.lower(), parts.path or "/", parts.query, parts.fragment)
    ).removesuffix("/")


# --- what may be done ----------------------------------------------------------------------------


def drafted(draft: Event, *, event_id: str, now: datetime) -> Event:
    """A draft as the first modification of an event (rule 4). Raises InvalidEvent."""
    event = _finished(draft, event_id=event_id, number=0, now=now)
    if event.starts_at < now - GRACE:
        raise InvalidEvent(
            f"The event would have started at {event.starts_at:%Y-%m-%d %H:%M:%SZ}, in the past; "
            "give a start from now on."
        )
    _refuse_over(event, now)
    return event


def modified(current: Event, draft: Event, *, now: datetime) -> Event:
    """A draft as the next modification of `current`; the past may not change (rules 5 and 20).

    Raises InvalidEvent.
    """
    _refuse_closed(current, now, "modified")
    event = _finished(
        draft, event_id=current.event_id, number=current.modification_number + 1, now=now
    )
    _refuse_over(event, now)
    began = current.starts_at <= now
    if not began or event.starts_at >= now:
        if event.starts_at < now - GRACE:
            raise InvalidEvent("An event cannot be moved into the past; give a start from now on.")
    elif event.starts_at != current.starts_at:
        raise InvalidEvent(
            "The event is active: its start may be moved into the future or stay, "
            "but not lie elsewhere in the past (rule 20)."
        )
    elif _past(event, now) != _past(current, now):
        raise InvalidEvent(
            "The event is active: what its signals asked until now may not change (rule 20)."
        )
    return dataclasses.replace(event, modified_at=now)


def cancelled(current: Event, *, now: datetime) -> Event:
    """The cancellation of an event, itself a modification (rules 5 and 10). Raises InvalidEvent."""
    _refuse_closed(current, now, "cancelled")
    return dataclasses.replace(
        current,
        status=EventStatus.CANCELLED,
        modification_number=current.modification_number + 1,
        modified_at=now,
        created_at=now,
    )


def ended_early(current: Event, *, now: datetime) -> Event:
    """A draft of an active event that ends a second from now; what was asked stays asked.

    Raises InvalidEvent where it is not active.
    """
    status = status_at(current, now)
    if status is not EventStatus.ACTIVE:
        raise InvalidEvent(
            f"The event {current.event_id} is {status.value}; only an active one can end early."
        )
    length = timedelta(seconds=int((now - current.starts_at).total_seconds()) + 1)
    return dataclasses.replace(
        current,
        duration=length,
        signals=tuple(
            dataclasses.replace(one, intervals=_cut(one.intervals, length))
            for one in current.signals
        ),
        modification_reason="ended early",
    )


def _cut(intervals: Sequence[SignalInterval], length: timedelta) -> tuple[SignalInterval, ...]:
    """The part of them within `length`."""
    kept: list[SignalInterval] = []
    left = length
    for interval in intervals:
        if left <= _ZERO:
            break
        taken = min(interval.duration, left) if interval.duration else left
        kept.append(dataclasses.replace(interval, duration=taken))
        left -= taken
    return tuple(kept)


def _refuse_closed(current: Event, now: datetime, act: str) -> None:
    status = status_at(current, now)
    if status in (EventStatus.CANCELLED, EventStatus.COMPLETED):
        raise InvalidEvent(
            f"The event {current.event_id} is {status.value} and cannot be {act} any more."
        )


def _refuse_over(event: Event, now: datetime) -> None:
    if event.ends_at is not None and event.ends_at <= now:
        raise InvalidEvent("The event would be over already; give it a later end.")


def _past(event: Event, now: datetime) -> list[tuple[str, list[tuple[datetime, float]]]]:
    """What each signal asked before `now`: where its value changes, and to what."""
    lines = []
    for signal in event.signals:
        starts_at, steps = event.starts_at, list[tuple[datetime, float]]()
        for interval in signal.intervals:
            if starts_at < now and (not steps or steps[-1][1] != interval.value):
                steps.append((starts_at, interval.value))
            starts_at += interval.duration or _ZERO
        lines.append((f"{signal.signal_name} {signal.signal_type.value} {signal.unit}", steps))
    return sorted(lines)


def _finished(draft: Event, *, event_id: str, number: int, now: datetime) -> Event:
    """A checked draft with everything the VTN sets itself."""
    _check(draft)
    _check_calendar(draft)
    ids = [signal.signal_id for signal in draft.signals]
    free_ids = (text for index in range(len(ids) * 2) if (text := f"signal-{index}") not in ids)
    event = dataclasses.replace(
        draft,
        event_id=event_id,
        modification_number=number,
        modified_at=None,
        created_at=now,
        status=EventStatus.FAR,
        market_context=normal_context(draft.market_context),
        notification=draft.notification or _ZERO,
        signals=tuple(
            dataclasses.replace(
                signal,
                signal_id=signal.signal_id or next(free_ids),
                intervals=_counted(signal.intervals),
                current_value=None,
            )
            for signal in draft.signals
        ),
        baseline=draft.baseline and _counted_baseline(draft.baseline),
    )
    try:
        oadr.build(DistributeEvent(request_id="0", vtn_id="0", events=(event,)))
    except oadr.Unbuildable as error:  # found out now, or no VEN could be told of anything
        raise InvalidEvent(f"The event cannot be sent: {error}") from error
    return event


def _counted(intervals: Sequence[SignalInterval]) -> tuple[SignalInterval, ...]:
    """Intervals with their uids 0, 1, 2 ... (rules 2 and 101)."""
    return tuple(
        dataclasses.replace(interval, uid=str(uid)) for uid, interval in enumerate(intervals)
    )


def _counted_baseline(baseline: Baseline) -> Baseline:
    return dataclasses.replace(baseline, intervals=_counted(baseline.intervals))


def _check(draft: Event) -> None:
    if not draft.market_context.strip():
        raise InvalidEvent("An event needs a market context; name one.")
    if draft.starts_at.microsecond:
        raise InvalidEvent("An event starts at a whole second (rule 1).")
    lengths = {
        "duration": draft.duration,
        "startafter": draft.start_after,
        "notification": draft.notification,
        "ramp-up": draft.ramp_up,
        "recovery": draft.recovery,
    }
    for name, length in lengths.items():
        if length is not None and (length < _ZERO or length.microseconds):
            raise InvalidEvent(f"The {name} must be whole seconds, and not negative (rule 1).")
    if draft.priority is not None and draft.priority < 0:
        raise InvalidEvent("The priority is 1 (highest) and up, or 0 for none (rule 3).")
    if not draft.signals:
        raise InvalidEvent("An event needs a signal: what is asked of the VEN?")
    ids = [signal.signal_id for signal in draft.signals if signal.signal_id]
    if len(set(ids)) != len(ids):
        raise InvalidEvent("Each signal of an event needs a signalID of its own (rule 107).")
    for signal in draft.signals:
        _check_intervals(f"signal {signal.signal_name}", signal.intervals, draft.duration)
        _check_kind(signal)
        _check_signal_target(signal)
    if draft.baseline is not None:
        _check_intervals("baseline", draft.baseline.intervals, draft.baseline.duration)


def _check_calendar(draft: Event) -> None:
    """Nothing may reach beyond the years that can be reckoned with."""
    if draft.starts_at.utcoffset() is None:
        raise InvalidEvent("The start needs a time zone; end it in Z for UTC.")
    lengths = (draft.duration, draft.start_after, draft.notification, draft.ramp_up, draft.recovery)
    if draft.starts_at.year > _LAST_YEAR or any(one > _LONGEST for one in lengths if one):
        raise InvalidEvent(
            f"Nothing may last longer than {_LONGEST.days} days or start after {_LAST_YEAR}; "
            "an event without an end has the duration zero (rule 47)."
        )


def _check_intervals(what: str, intervals: Sequence[SignalInterval], duration: timedelta) -> None:
    """Rules 8, 47, 100, 102, 103."""
    if not intervals:
        raise InvalidEvent(f"The {what} has no interval (rule 100).")
    for index, interval in enumerate(intervals):
        length = interval.duration
        if interval.starts_at is not None:
            raise InvalidEvent(
                f"The {what}: intervals follow one another and have no start of their own "
                "(rule 103)."
            )
        if length is None or length < _ZERO or length.microseconds:
            raise InvalidEvent(f"The {what}: each interval needs a duration (rule 102).")
        open_ended = not duration and index == len(intervals) - 1
        if bool(length) is open_ended:
            raise InvalidEvent(
                f"The {what}: only the last interval of an open-ended event has no end (rule 47)."
            )
    total = sum((interval.duration or _ZERO for interval in intervals), _ZERO)
    if duration and total != duration:
        raise InvalidEvent(
            f"The intervals of the {what} last {total} together, but its period {duration}; "
            "make them equal (rule 102)."
        )


def _check_signal_target(signal: Signal) -> None:
    """Device classes only (rule 111)."""
    if not signal.target:
        return
    if not only_device_classes(signal.target):
        raise InvalidEvent(
            f"The signal {signal.signal_name} aims at something else than device classes; "
            "put VENs, groups and resources into the event's target (rule 111)."
        )
    strange = strange_device_class(signal.target)
    if strange is not None:
        raise InvalidEvent(
            f"The signal {signal.signal_name} aims at '{strange}'; the device classes are "
            f"{', '.join(DeviceClass)}, or begin with x- (rule 111)."
        )


def only_device_classes(target: Target) -> bool:
    return target == Target(end_device_assets=target.end_device_assets)


def strange_device_class(target: Target) -> str | None:
    """A device class that is neither the standard's nor an own one (rules 111 and 209)."""
    known = set(DeviceClass)
    return next(
        (one for one in target.end_device_assets if one not in known and one[:2] != "x-"), None
    )


# --- Table 1: the well-known signals -------------------------------------------------------------

_POWERS = ("power:powerReal", "power:powerApparent", "power:powerReactive")
_ENERGIES = ("power:energyReal", "power:energyApparent", "power:energyReactive")
_PER_KWH = ("oadr:currencyPerKWh",)
_PER_KW = ("oadr:currencyPerKW",)
_Units = tuple[str, ...]
_T = SignalType
_TABLE: dict[str, dict[SignalType, _Units]] = {
    SignalName.SIMPLE: {_T.LEVEL: ()},
    SignalName.ELECTRICITY_PRICE: {
        _T.PRICE: _PER_KWH,
        _T.PRICE_RELATIVE: _PER_KWH,
        _T.PRICE_MULTIPLIER: (),
    },
    SignalName.ENERGY_PRICE: {
        _T.PRICE: _PER_KWH,
        _T.PRICE_RELATIVE: _PER_KWH,
        _T.PRICE_MULTIPLIER: (),
    },
    SignalName.DEMAND_CHARGE: {
        _T.PRICE: _PER_KW,
        _T.PRICE_RELATIVE: _PER_KW,
        _T.PRICE_MULTIPLIER: (),
    },
    SignalName.BID_PRICE: {_T.PRICE: (*_PER_KWH, *_PER_KW, "oadr:currency")},
    SignalName.BID_LOAD: {_T.SETPOINT: _POWERS},
    SignalName.BID_ENERGY: {_T.SETPOINT: _ENERGIES},
    SignalName.CHARGE_STATE: {_T.SETPOINT: _ENERGIES, _T.DELTA: _ENERGIES, _T.MULTIPLIER: ()},
    SignalName.LOAD_DISPATCH: {
        _T.SETPOINT: _POWERS,
        _T.DELTA: _POWERS,
        _T.MULTIPLIER: (),
        _T.LEVEL: (),
    },
    SignalName.LOAD_CONTROL: {
        _T.LOAD_CONTROL_CAPACITY: (),
        _T.LOAD_CONTROL_LEVEL_OFFSET: (),
        _T.LOAD_CONTROL_SETPOINT: ("*",),
        _T.LOAD_CONTROL_PERCENT_OFFSET: (),
    },
}
_RANGES: dict[tuple[str, SignalType], tuple[float, float]] = {
    (SignalName.LOAD_DISPATCH, _T.LEVEL): (-10, 10),
    (SignalName.LOAD_CONTROL, _T.LOAD_CONTROL_CAPACITY): (0, 1),
}


def _is_simple(signal: Signal) -> bool:
    return signal.signal_name in (SignalName.SIMPLE, SignalName.SIMPLE_LOWER)


def _check_kind(signal: Signal) -> None:
    """Name, type, unit and values go together (rules 9, 104, 116); x- signals are their own law."""
    name = SignalName.SIMPLE if _is_simple(signal) else signal.signal_name
    types = _TABLE.get(name)
    if types is None:
        if not name.startswith("x-"):
            raise InvalidEvent(
                f"There is no signal '{name}'; the standard has {', '.join(_TABLE)} (rule 104)."
            )
        return
    units = types.get(signal.signal_type)
    if units is None:
        raise InvalidEvent(
            f"The signal {name} has no type '{signal.signal_type.value}'; "
            f"it has {', '.join(kind.value for kind in types)} (rule 104)."
        )
    _check_unit(signal, units)
    values = [interval.value for interval in signal.intervals]
    if name == SignalName.SIMPLE and any(value not in (0, 1, 2, 3) for value in values):
        raise InvalidEvent("The levels of a SIMPLE signal are 0, 1, 2 and 3 (rule 9).")
    low, high = _RANGES.get((name, signal.signal_type), (float("-inf"), float("inf")))
    if any(not low <= value <= high for value in values):
        raise InvalidEvent(
            f"The values of {name} {signal.signal_type.value} lie between {low:g} and {high:g} "
            "(rule 104)."
        )


def _check_unit(signal: Signal, units: _Units) -> None:
    what = f"{signal.signal_name} {signal.signal_type.value}"
    kind = signal.unit.kind if signal.unit is not None else None
    if units == ("*",) or (kind is None and not units):
        return
    if not units:
        raise InvalidEvent(f"{what} has no unit; leave '{kind}' out (rule 104).")
    if kind not in units:
        names = " or ".join(unit.partition(":")[2] for unit in units)
        raise InvalidEvent(f"{what} is given in {names}, not in {kind or 'no unit'} (rule 104).")


# --- who is told of it, and when -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One event at one VEN: what it should know, and what is known to have reached it."""

    event: Event
    """As last modified, with the target for this VEN; CANCELLED where withdrawn from it."""
    handed_modification: int | None = None
    handed_at: datetime | None = None
    attempts: int = 0
    acknowledged_modification: int | None = None

    @property
    def settled(self) -> bool:
        """Whether the VEN has answered (or surely received) the current modification."""
        return self.acknowledged_modification == self.event.modification_number

    @property
    def handed(self) -> bool:
        """Whether the current modification was handed out at all."""
        return self.handed_modification == self.event.modification_number


def is_listed(booking: Booking, now: datetime) -> bool:
    """Whether the VEN is told of the event at `now` (rules 50, 52, 66)."""
    over = over_at(booking.event)
    if over is not None and now >= over:
        return False
    if booking.event.status is not EventStatus.CANCELLED:
        return True
    most = SILENT_ATTEMPTS if _is_silent(booking) else CANCEL_ATTEMPTS
    return not booking.settled and not (booking.handed and booking.attempts >= most)


def listing(bookings: Iterable[Booking], now: datetime, *, limit: int | None = None) -> list[Event]:
    """What a VEN is told at `now`: in order, at most `limit` (rules 15, 27, 50), as of now."""
    events = in_order((one.event for one in bookings if is_listed(one, now)), now)
    return [as_of(event, now) for event in events[: limit or None]]


def due_at(booking: Booking, now: datetime, *, resend_after: timedelta) -> datetime | None:
    """From when the VEN should be told of the event without asking; None: it need not be."""
    if booking.settled or not is_listed(booking, now):
        return None
    if not booking.handed or booking.handed_at is None:
        return now
    if _is_silent(booking) and booking.attempts >= SILENT_ATTEMPTS:
        return None
    return booking.handed_at + resend_after


def _is_silent(booking: Booking) -> bool:
    return booking.event.response_required is ResponseRequired.NEVER
