# SPDX-License-Identifier: Apache-2.0
"""Checks of EiEvent."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from conformance.checks.check import (
    DRIFT,
    ZERO,
    Says,
    check,
    doubles,
    local,
    only_devices,
    uids_count,
)
from conformance.event_times import occupied_until, statuses, value_at
from conformance.knowledge import Look, normal
from conformance.well_known import SIGNALS
from oadr.codec import Element, clark
from oadr.event import CreatedEvent, DistributeEvent, Event, Signal
from oadr.vocabulary import EventStatus


@check(41, "a requestID at the top", DistributeEvent)
def distribute_has_request_id(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    if not message.request_id.strip():
        yield "an empty requestID"


@check(40, "an eiResponse when it answers a poll or a request", DistributeEvent)
def distribute_has_response(message: DistributeEvent, look: Look, _root: Element) -> Says:
    if look.request is not None and message.response is None:
        yield "no eiResponse"


@check(70, "each eventID once", DistributeEvent)
def event_ids_unique(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    yield from doubles([event.event_id for event in message.events], "eventID")


@check(512, "a market context the two parties have agreed on", DistributeEvent)
def market_context_known(message: DistributeEvent, look: Look, _root: Element) -> Says:
    for event in message.events:
        if look.market_contexts and normal(event.market_context) not in look.market_contexts:
            yield f"market context {event.market_context!r} of {event.event_id}"


@check(63, "at most one venID in a target", DistributeEvent)
def one_ven_targeted(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event in message.events:
        if len(event.target.ven_ids) > 1:
            yield f"{len(event.target.ven_ids)} venIDs in the target of {event.event_id}"


@check(22, "a target that this VEN is in", DistributeEvent)
def this_ven_targeted(message: DistributeEvent, look: Look, _root: Element) -> Says:
    for event in message.events:
        ven_ids = event.target.ven_ids
        if ven_ids and look.ven_id and look.ven_id not in ven_ids:
            yield f"{event.event_id} is for {', '.join(ven_ids)}"


@check(
    115, "one createdDateTime for all events of a payload, and not in the future", DistributeEvent
)
def created_together(message: DistributeEvent, look: Look, _root: Element) -> Says:
    created = sorted({event.created_at for event in message.events})
    if len(created) > 1:
        yield "createdDateTimes " + ", ".join(f"{at:%H:%M:%S}" for at in created)
    if created and created[-1] > look.now + DRIFT:
        yield f"createdDateTime {created[-1].isoformat()}"


@check(13, "far, then near from the ramp-up on, then active from start to end", DistributeEvent)
def status_by_the_clock(message: DistributeEvent, look: Look, _root: Element) -> Says:
    for event in message.events:
        allowed = statuses(event, look.now - look.slack) | statuses(event, look.now + look.slack)
        if event.status not in allowed | {EventStatus.CANCELLED}:
            wanted = " or ".join(sorted(allowed))
            yield f"{event.event_id} is {event.status}, by the clock it is {wanted}"


@check(14, "currentValue 0 of SIMPLE while the event is not active", DistributeEvent)
def simple_is_zero_while_inactive(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event, signal in _signals(message):
        if _simple(signal) and event.status is not EventStatus.ACTIVE and signal.current_value:
            yield f"currentValue {signal.current_value:g} while {event.event_id} is {event.status}"


@check(29, "the payload of the interval of now as currentValue while active", DistributeEvent)
def current_value_is_current(message: DistributeEvent, look: Look, _root: Element) -> Says:
    for event, signal in _signals(message):
        if event.status is not EventStatus.ACTIVE or signal.current_value is None:
            continue
        fitting = {
            value
            for at in (look.now - look.slack, look.now, look.now + look.slack)
            if (value := value_at(event, signal, at)) is not None
        }
        if fitting and not any(abs(signal.current_value - value) < 1e-6 for value in fitting):
            wanted = " or ".join(f"{value:g}" for value in sorted(fitting))
            yield f"currentValue {signal.current_value:g} of {event.event_id}; now is {wanted}"


@check(
    15,
    "active events first, by priority then start; the pending ones after them, by start",
    DistributeEvent,
)
def ordered(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    live = [
        event
        for event in message.events
        if event.status in (EventStatus.ACTIVE, EventStatus.FAR, EventStatus.NEAR)
    ]
    for earlier, later in pairwise(live):
        if _rank(earlier) > _rank(later):
            yield f"{_brief(earlier)} stands before {_brief(later)}"


@check(18, "no two events of one market context at the same time", DistributeEvent)
def no_overlap(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    live = [
        event
        for event in message.events
        if event.status not in (EventStatus.CANCELLED, EventStatus.COMPLETED)
    ]
    for index, one in enumerate(live):
        for other in live[index + 1 :]:
            same = normal(one.market_context) == normal(other.market_context)
            if same and _overlap(one, other) and not _disjoint(one, other):
                yield f"{one.event_id} and {other.event_id} overlap"


@check(50, "every event that is far, near or active, in each payload", DistributeEvent)
def all_events_present(message: DistributeEvent, look: Look, _root: Element) -> Says:
    listed = {event.event_id for event in message.events}
    limit = getattr(look.request, "reply_limit", None)
    if limit is not None and len(listed) >= limit:
        return
    for event in look.events.values():
        over = occupied_until(event)
        alive = event.status is not EventStatus.CANCELLED and (
            over is None or over > look.now + look.slack
        )
        if alive and event.event_id not in listed:
            yield f"{event.event_id} is missing though it is not over"


@check(5, "modificationNumber one higher after a change, and the same without", DistributeEvent)
def modifications_counted(message: DistributeEvent, look: Look, _root: Element) -> Says:
    for event in message.events:
        before = look.events.get(event.event_id)
        if before is None:
            continue
        step = event.modification_number - before.modification_number
        changed = _substance(before) != _substance(event)
        if step < 0:
            yield f"{event.event_id} went back from {before.modification_number}"
        elif changed and not step:
            yield f"{event.event_id} changed, modificationNumber stayed {event.modification_number}"
        elif step and not changed:
            yield f"{event.event_id} went to {event.modification_number} unchanged"


@check(103, "no dtstart in the intervals of signals and baselines", DistributeEvent)
def no_start_in_intervals(_message: DistributeEvent, _look: Look, root: Element) -> Says:
    for event_signal in root.iter(clark("ei:eiEventSignal"), clark("ei:eiEventBaseline")):
        found = sum(
            interval.find(clark("xcal:dtstart")) is not None
            for interval in event_signal.iter(clark("ei:interval"))
        )
        if found:
            yield f"{found} intervals of {local(event_signal)} have one"


@check(100, "exactly one signalPayload with a payloadFloat in each interval", DistributeEvent)
def one_float_per_interval(_message: DistributeEvent, _look: Look, root: Element) -> Says:
    for interval in root.iter(clark("ei:interval")):
        payloads = interval.findall(clark("ei:signalPayload"))
        floats = [one for one in payloads if one.find(clark("ei:payloadFloat")) is not None]
        if len(payloads) != 1 or len(floats) != 1:
            yield f"{len(payloads)} payloads, {len(floats)} of them payloadFloat"


@check(2, "uid 0, 1, 2 ... in the intervals of a signal", DistributeEvent)
def signal_uids_count(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event, signal in _signals(message):
        yield from uids_count([interval.uid for interval in signal.intervals], event.event_id)


@check(101, "uid 0, 1, 2 ... in the intervals of a baseline", DistributeEvent)
def baseline_uids_count(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event in message.events:
        if event.baseline is not None:
            yield from uids_count([one.uid for one in event.baseline.intervals], event.event_id)


@check(8, "interval durations that add up to the active period", DistributeEvent)
def durations_fill_the_event(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event, signal in _signals(message):
        yield from _sums(event.event_id, [one.duration for one in signal.intervals], event.duration)


@check(
    102, "a duration in each interval; those of a baseline add up to its duration", DistributeEvent
)
def durations_present(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event in message.events:
        for signal in event.signals:
            if any(one.duration is None for one in signal.intervals):
                yield f"an interval of {signal.signal_id} of {event.event_id} has none"
        if event.baseline is not None:
            lengths = [one.duration for one in event.baseline.intervals]
            if None in lengths:
                yield f"an interval of the baseline of {event.event_id} has none"
            else:
                yield from _sums(event.event_id, lengths, event.baseline.duration)


@check(107, "each signalID once in an event", DistributeEvent)
def signal_ids_unique(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event in message.events:
        yield from doubles([signal.signal_id for signal in event.signals], "signalID")


@check(105, "x-eiNotification in every event", DistributeEvent)
def notification_present(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event in message.events:
        if event.notification is None:
            yield f"{event.event_id} has none"


@check(9, "levels 0, 1, 2 or 3 in SIMPLE", DistributeEvent)
def simple_levels(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event, signal in _signals(message):
        if _simple(signal):
            for value in {one.value for one in signal.intervals} - {0, 1, 2, 3}:
                yield f"level {value:g} in {event.event_id}"


@check(116, "signalType level for SIMPLE", DistributeEvent)
def simple_is_a_level(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event, signal in _signals(message):
        if _simple(signal) and signal.signal_type != "level":
            yield f"SIMPLE of type {signal.signal_type} in {event.event_id}"


@check(104, "the types, units and values of the table of well-known signals", DistributeEvent)
def well_known_signals(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event, signal in _signals(message):
        if signal.signal_name.startswith("x-"):
            continue
        known = SIGNALS.get(signal.signal_name, {}).get(signal.signal_type)
        unit = signal.unit.kind if signal.unit is not None else ""
        if known is None:
            yield f"{signal.signal_name} of type {signal.signal_type} in {event.event_id}"
        elif unit not in known.units:
            wanted = " or ".join(filter(None, known.units)) or "no unit"
            yield f"{signal.signal_name}/{signal.signal_type} in {unit or 'no unit'}, not {wanted}"
        elif known.least is not None and known.most is not None:
            for one in signal.intervals:
                if not known.least <= one.value <= known.most:
                    yield f"{signal.signal_name}/{signal.signal_type} {one.value:g}"


@check(111, "only endDeviceAsset in the target of a signal", DistributeEvent)
def signals_aim_at_device_classes(_message: DistributeEvent, _look: Look, root: Element) -> Says:
    yield from only_devices(root, "ei:eiEventSignal", "ei:eiTarget")


@check(
    42,
    "the requestID of the oadrDistributeEvent in each eventResponse, none in the eiResponse",
    CreatedEvent,
)
def event_answers_carry_the_request_id(message: CreatedEvent, look: Look, _root: Element) -> Says:
    if message.response.request_id:
        yield f"requestID {message.response.request_id!r} in the eiResponse"
    for answer in message.event_responses:
        if look.distribute_request_ids and answer.request_id not in look.distribute_request_ids:
            yield f"requestID {answer.request_id!r}, which no oadrDistributeEvent had"


@check(35, "eventResponses, unless the eiResponse is an error", CreatedEvent)
def event_answers_present(message: CreatedEvent, _look: Look, _root: Element) -> Says:
    if message.response.ok and not message.event_responses:
        yield "neither an error nor an eventResponse"


@check(21, "answers to events that were distributed", CreatedEvent)
def answered_events_known(message: CreatedEvent, look: Look, _root: Element) -> Says:
    for answer in message.event_responses:
        if look.events and answer.event_id not in look.events:
            yield f"an answer to {answer.event_id}, which was never sent"


def _overlap(one: Event, other: Event) -> bool:
    first, second = sorted((one, other), key=lambda event: event.starts_at)
    ends_at = occupied_until(first)
    return ends_at is None or second.starts_at < ends_at


def _disjoint(one: Event, other: Event) -> bool:
    """Whether two events are for different resources of the VEN."""
    mine, yours = set(one.target.resource_ids), set(other.target.resource_ids)
    return bool(mine and yours) and not mine & yours


def _substance(event: Event) -> Event:
    """The event without what may change while its modificationNumber stays (rule 5)."""
    return replace(
        event,
        created_at=datetime(1970, 1, 1, tzinfo=UTC),
        status=EventStatus.CANCELLED if event.status is EventStatus.CANCELLED else EventStatus.NONE,
        modification_number=0,
        modified_at=None,
        modification_reason=None,
        signals=tuple(replace(signal, current_value=None) for signal in event.signals),
    )


def _rank(event: Event) -> tuple[bool, float, datetime]:
    active = event.status is EventStatus.ACTIVE
    priority = (event.priority or float("inf")) if active else 0.0
    return (not active, priority, event.starts_at)


def _brief(event: Event) -> str:
    return f"{event.event_id} ({event.status}, priority {event.priority or 0})"


def _simple(signal: Signal) -> bool:
    return signal.signal_name.upper() == "SIMPLE"


def _signals(message: DistributeEvent) -> Iterator[tuple[Event, Signal]]:
    for event in message.events:
        for signal in event.signals:
            yield event, signal


def _sums(event_id: str, lengths: list[timedelta | None], whole: timedelta) -> Says:
    if None in lengths:
        return  # rule 102 says so
    found = sum((length for length in lengths if length is not None), ZERO)
    open_ended = not lengths[-1] or not whole
    if open_ended:
        if bool(lengths[-1]) != bool(whole):
            yield f"{event_id}: one of active period and last interval is open-ended"
    elif found != whole:
        yield f"{event_id}: intervals of {found} in a period of {whole}"
