# SPDX-License-Identifier: Apache-2.0
"""The message checks: every payload that comes in, in whatever test, goes through all of them.

A check is pure: it looks at the message, at its raw tree and at the circumstances, and says what it
saw that its rule forbids.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, TypeAlias

from conformance.knowledge import Look
from conformance.outcome import Finding
from conformance.well_known import REPORTS, SIGNALS
from oadr import Message, wire_name
from oadr.codec import Element, clark
from oadr.event import CreatedEvent, DistributeEvent, Event, Signal
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.registration import (
    CanceledPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    Report,
    UpdatedReport,
    UpdateReport,
)
from oadr.vocabulary import EventStatus, ProfileName, TransportName

Says = Iterator[str]
_Body: TypeAlias = Callable[[Any, Look, Element], Says]

XSI: Final = "{http://www.w3.org/2001/XMLSchema-instance}"
ZERO: Final = timedelta(0)
DRIFT: Final = timedelta(minutes=5)
"""How far a createdDateTime may be from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at in every message of its kinds."""

    name: str
    rule: int
    wanted: str
    kinds: tuple[type, ...]
    """Empty: every message."""
    body: _Body


CHECKS: Final[list[Check]] = []


def check(rule: int, wanted: str, *kinds: type) -> Callable[[_Body], _Body]:
    """Enter a check of `rule` for messages of these kinds (none named: all)."""

    def enter(body: _Body) -> _Body:
        CHECKS.append(
            Check(
                name=body.__name__,
                rule=rule,
                wanted=wanted,
                kinds=kinds,
                body=body,
            )
        )
        return body

    return enter


def examine(message: Message, look: Look, root: Element) -> tuple[Finding, ...]:
    """Every finding in one message; `root` is its oadrPayload as it came."""
    name = wire_name(type(message))
    return tuple(
        Finding(rule=one.rule, seen=seen, wanted=one.wanted, message=name)
        for one in CHECKS
        if not one.kinds or isinstance(message, one.kinds)
        for seen in one.body(message, look, root)
    )


# --- every message -------------------------------------------------------------------------------


@check(45, "no xsi:schemaLocation anywhere")
def no_schema_location(_message: Message, _look: Look, root: Element) -> Says:
    for element in root.iter():
        for name in ("schemaLocation", "noNamespaceSchemaLocation"):
            if element.get(XSI + name) is not None:
                yield f"{_local(element)} has the attribute xsi:{name}"


@check(509, "schemaVersion 2.0b on the message")
def schema_version(_message: Message, _look: Look, root: Element) -> Says:
    body = root[-1][0]
    version = body.get(clark("ei:schemaVersion"))
    if version != "2.0b":
        yield f"{_local(body)} has schemaVersion {version!r}"


_TIMES: Final = (
    clark("xcal:date-time"),
    *(clark(f"ei:{name}") for name in ("createdDateTime", "modificationDateTime")),
)
_DURATIONS: Final = tuple(
    clark(name)
    for name in ("xcal:duration", "xcal:startafter", "oadr:oadrMinPeriod", "oadr:oadrMaxPeriod")
)


@check(1, "instants that end in Z, and durations without decimals")
def times_in_utc(_message: Message, _look: Look, root: Element) -> Says:
    for element in root.iter(*_TIMES):
        text = (element.text or "").strip()
        if text and not text.endswith("Z"):
            yield f"{_local(element)} {text}"
    for element in root.iter(*_DURATIONS):
        text = (element.text or "").strip()
        if re.search(r"[.,]", text):
            yield f"{_local(element)} {text}"


@check(512, "the one vtnID, in the same letters, in every message")
def the_vtn_is_itself(message: Message, look: Look, _root: Element) -> Says:
    vtn_id = getattr(message, "vtn_id", None)
    if vtn_id is not None and look.vtn_id and vtn_id != look.vtn_id:
        yield f"vtnID {vtn_id!r} instead of {look.vtn_id!r}"


@check(21, "the venID that was agreed at registration")
def the_ven_is_itself(message: Message, look: Look, _root: Element) -> Says:
    ven_id = getattr(message, "ven_id", None)
    if isinstance(message, CreatedPartyRegistration) and isinstance(
        look.request, CreatePartyRegistration
    ):
        return  # the IDs are being given right now
    if ven_id and look.ven_id and ven_id != look.ven_id:
        yield f"venID {ven_id!r} instead of {look.ven_id!r}"


@check(508, "the venID in every message of a VEN")
def ven_names_itself(message: Message, look: Look, _root: Element) -> Says:
    if look.from_vtn or isinstance(message, QueryRegistration | CreatePartyRegistration):
        return
    if hasattr(message, "ven_id") and not message.ven_id:
        yield "no venID"


_REPORT_ECHOES: Final[Mapping[type, tuple[type, ...]]] = {
    RegisteredReport: (RegisterReport,),
    CreatedReport: (CreateReport,),
    UpdatedReport: (UpdateReport,),
    CanceledReport: (CancelReport,),
}


@check(207, "the requestID of the request in its answer", CreatedOpt, CanceledOpt)
def opt_request_echoed(message: Any, look: Look, _root: Element) -> Says:
    if isinstance(look.request, CreateOpt | CancelOpt):
        yield from _echo(message, look.request)


@check(303, "the requestID of the request in its answer", *_REPORT_ECHOES)
def report_request_echoed(message: Any, look: Look, _root: Element) -> Says:
    if isinstance(look.request, _REPORT_ECHOES[type(message)]):
        yield from _echo(message, look.request)


@check(
    403,
    "the requestID of the request in its answer",
    CreatedPartyRegistration,
    CanceledPartyRegistration,
)
def registration_request_echoed(message: Any, look: Look, _root: Element) -> Says:
    if hasattr(look.request, "request_id"):
        yield from _echo(message, look.request)


def _echo(answer: Any, request: Any) -> Says:
    if answer.response.request_id != request.request_id:
        yield f"requestID {answer.response.request_id!r} answers {request.request_id!r}"


# --- registration --------------------------------------------------------------------------------


@check(403, "profile 2.0b with simpleHttp, and a poll frequency for pull", CreatedPartyRegistration)
def vtn_lists_what_it_speaks(message: CreatedPartyRegistration, look: Look, _r: Element) -> Says:
    if not message.response.ok:
        return
    spoken = {
        transport for p in message.profiles if p.name is ProfileName.B for transport in p.transports
    }
    if TransportName.SIMPLE_HTTP not in spoken:
        yield "no 2.0b over simpleHttp among the profiles"
    pulls = isinstance(look.request, CreatePartyRegistration) and look.request.http_pull_model
    if pulls and message.poll_interval is None:
        yield "no oadrRequestedOadrPollFreq"


@check(
    402,
    "oadrHttpPullModel with simpleHttp, an address with push, both IDs or none",
    CreatePartyRegistration,
)
def ven_says_how_it_speaks(message: CreatePartyRegistration, look: Look, _root: Element) -> Says:
    if message.transport is TransportName.SIMPLE_HTTP and message.http_pull_model is None:
        yield "simpleHttp without oadrHttpPullModel"
    address = message.transport_address
    if message.http_pull_model is False and not (address or "").startswith("http"):
        yield f"push with the address {address!r}"
    if message.http_pull_model and address is not None and "://" not in address:
        yield f"pull with the address {address!r}"
    if message.registration_id and not message.ven_id:
        yield "a registrationID without a venID"
    if message.registration_id and look.registration_id not in ("", message.registration_id):
        yield f"registrationID {message.registration_id!r} instead of {look.registration_id!r}"


# --- events --------------------------------------------------------------------------------------


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
    yield from _doubles([event.event_id for event in message.events], "eventID")


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
            yield f"{found} intervals of {_local(event_signal)} have one"


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
        yield from _uids([interval.uid for interval in signal.intervals], event.event_id)


@check(101, "uid 0, 1, 2 ... in the intervals of a baseline", DistributeEvent)
def baseline_uids_count(message: DistributeEvent, _look: Look, _root: Element) -> Says:
    for event in message.events:
        if event.baseline is not None:
            yield from _uids([one.uid for one in event.baseline.intervals], event.event_id)


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
        yield from _doubles([signal.signal_id for signal in event.signals], "signalID")


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
    yield from _only_devices(root, "ei:eiEventSignal", "ei:eiTarget")


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


# --- reports: metadata ---------------------------------------------------------------------------


@check(308, "each reportSpecifierID once, and each rID once in its report", RegisterReport)
def specifiers_unique(message: RegisterReport, _look: Look, _root: Element) -> Says:
    yield from _doubles([one.report_specifier_id for one in message.reports], "reportSpecifierID")
    for report in message.reports:
        yield from _doubles([one.r_id for one in report.descriptions], "rID")


@check(
    305,
    "descriptions, but neither intervals nor dtstart nor eiReportID in metadata",
    RegisterReport,
)
def metadata_describes(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if not report.descriptions:
            yield f"{report.report_specifier_id} describes nothing"
        for what, there in (
            ("intervals", report.intervals),
            ("a dtstart", report.starts_at),
            ("an eiReportID", report.report_id),
        ):
            if there is not None:
                yield f"{report.report_specifier_id} has {what}"


@check(311, "reportRequestID 0 in metadata", RegisterReport)
def metadata_request_id(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if report.report_request_id != "0":
            yield f"{report.report_specifier_id} has {report.report_request_id!r}"


@check(
    312, "a duration (the buffer) in metadata, not shorter than a sampling period", RegisterReport
)
def metadata_duration(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if report.duration is None:
            yield f"{report.report_specifier_id} has none"
            continue
        for one in report.descriptions:
            if one.sampling_rate and one.sampling_rate.max_period > report.duration > ZERO:
                yield f"maxPeriod of {one.r_id} is longer than the {report.duration} of its report"


@check(
    333,
    "oadrSamplingRate for each point of telemetry, minPeriod not above maxPeriod",
    RegisterReport,
)
def telemetry_has_a_rate(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        for one in report.descriptions:
            rate = one.sampling_rate
            if rate is None and "TELEMETRY" in (report.report_name or ""):
                yield f"{one.r_id} has none"
            if rate is not None and rate.min_period > rate.max_period:
                yield f"minPeriod above maxPeriod at {one.r_id}"


@check(307, "only endDeviceAsset in reportSubject", RegisterReport)
def subject_is_a_device_class(_message: RegisterReport, _look: Look, root: Element) -> Says:
    yield from _only_devices(root, "oadr:oadrReportDescription", "ei:reportSubject")


@check(
    331,
    "the names, types, units and reading types of the well-known reports, after METADATA_",
    RegisterReport,
)
def well_known_reports(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        name = report.report_name or ""
        if name.startswith("x-"):
            continue
        if not name.startswith("METADATA_"):
            yield f"metadata named {name!r}"
            continue
        known = REPORTS.get(name.removeprefix("METADATA_"))
        for one in report.descriptions if known else ():
            assert known is not None
            unit = one.unit.kind if one.unit is not None else ""
            if one.report_type not in known.report_types:
                yield f"reportType {one.report_type} of {one.r_id} in {name}"
            elif known.units and unit not in known.units:
                yield f"unit {unit or 'none'} of {one.r_id} in {name}"
            elif one.reading_type not in known.reading_types:
                yield f"readingType {one.reading_type} of {one.r_id} in {name}"


# --- reports: requests ---------------------------------------------------------------------------


@check(322, "each reportRequestID once", CreateReport, RegisteredReport)
def report_requests_unique(message: Any, look: Look, _root: Element) -> Says:
    ids = [one.report_request_id for one in message.requests]
    yield from _doubles(ids, "reportRequestID")
    for one in message.requests:
        before = look.requested.get(one.report_request_id)
        if before is not None and before != one:
            yield f"{one.report_request_id} stands for another request already"


@check(338, "readingType x-notApplicable in a report request", CreateReport, RegisteredReport)
def requests_leave_the_reading_type(message: Any, _look: Look, _root: Element) -> Says:
    for one in message.requests:
        for payload in one.payloads:
            if payload.reading_type != "x-notApplicable":
                yield f"readingType {payload.reading_type!r} for {payload.r_id}"


@check(
    324,
    "a reportInterval in a periodic request and in one for history",
    CreateReport,
    RegisteredReport,
)
def periodic_has_an_interval(message: Any, look: Look, _root: Element) -> Says:
    for one in message.requests:
        offer = look.offered.get(one.report_specifier_id)
        history = offer is not None and "HISTORY" in (offer.report_name or "")
        metadata = one.report_specifier_id == "METADATA"
        if one.interval is None and (history or one.report_back) and not metadata:
            yield f"{one.report_request_id} has none"


@check(
    321,
    "no tolerance, notification, ramp-up, recovery or itemBase in a report request",
    CreateReport,
    RegisteredReport,
)
def requests_are_plain(_message: Any, _look: Look, root: Element) -> Says:
    for interval in root.iter(clark("ei:reportInterval")):
        for name in ("xcal:tolerance", "ei:x-eiNotification", "ei:x-eiRampUp", "ei:x-eiRecovery"):
            if next(interval.iter(clark(name)), None) is not None:
                yield f"{name} in a reportInterval"
    for payload in root.iter(clark("ei:specifierPayload")):
        extra = [_local(child) for child in payload if child.tag not in _SPECIFIER]
        if extra:
            yield f"{', '.join(extra)} in a specifierPayload"


_SPECIFIER: Final = (clark("ei:rID"), clark("ei:readingType"))


@check(304, "a reportSpecifierID and rIDs of the metadata", CreateReport, RegisteredReport)
def requests_name_what_is_offered(message: Any, look: Look, _root: Element) -> Says:
    for one in message.requests:
        if one.report_specifier_id == "METADATA" or not look.offered:
            continue
        offer = look.offered.get(one.report_specifier_id)
        if offer is None:
            yield f"reportSpecifierID {one.report_specifier_id!r}"
            continue
        known = {point.r_id for point in offer.descriptions}
        for payload in one.payloads:
            if payload.r_id not in known:
                yield f"rID {payload.r_id!r} of {one.report_specifier_id}"


@check(308, "rID 0 where metadata is asked for", CreateReport, RegisteredReport)
def metadata_asked_for_by_zero(message: Any, _look: Look, _root: Element) -> Says:
    for one in message.requests:
        if one.report_specifier_id == "METADATA":
            for payload in one.payloads:
                if payload.r_id != "0":
                    yield f"rID {payload.r_id!r}"


@check(
    317,
    "a granularity within the sampling limits and not above the reportBackDuration",
    CreateReport,
    RegisteredReport,
)
def granularity_possible(message: Any, look: Look, _root: Element) -> Says:
    for one in message.requests:
        if one.report_back and one.granularity > one.report_back:
            yield f"granularity {one.granularity} above reportBackDuration {one.report_back}"
        offer = look.offered.get(one.report_specifier_id)
        asked = {payload.r_id for payload in one.payloads}
        for point in offer.descriptions if offer is not None and one.granularity else ():
            rate = point.sampling_rate
            if point.r_id not in asked or rate is None:
                continue
            if not rate.min_period <= one.granularity <= rate.max_period:
                yield f"granularity {one.granularity} of {point.r_id}"


# --- reports: values -----------------------------------------------------------------------------


@check(313, "dtstart, intervals and reportName in a data report, and no description", UpdateReport)
def values_are_framed(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        for what, there in (
            ("dtstart", report.starts_at is not None),
            ("intervals", report.intervals is not None),
            ("reportName", bool(report.report_name)),
        ):
            if not there:
                yield f"{report.report_request_id} has no {what}"
        if report.descriptions:
            yield f"{report.report_request_id} has descriptions"


@check(331, "a reportName without METADATA_ in a data report", UpdateReport)
def data_is_not_metadata(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if (report.report_name or "").startswith("METADATA_"):
            yield f"{report.report_name} in {report.report_request_id}"


@check(304, "the reportRequestID, reportSpecifierID and rIDs of a request in force", UpdateReport)
def values_were_asked_for(message: UpdateReport, look: Look, _root: Element) -> Says:
    for report in message.reports:
        request = look.requested.get(report.report_request_id)
        if request is None:
            yield f"reportRequestID {report.report_request_id!r}"
            continue
        if report.report_specifier_id != request.report_specifier_id:
            yield f"reportSpecifierID {report.report_specifier_id!r}"
        known = {payload.r_id for payload in request.payloads}
        for r_id in _r_ids(report) - known:
            yield f"rID {r_id!r}"


@check(300, "every point that was asked for", UpdateReport)
def all_points_reported(message: UpdateReport, look: Look, _root: Element) -> Says:
    for report in message.reports:
        request = look.requested.get(report.report_request_id)
        if request is not None and report.intervals is not None:
            for r_id in {payload.r_id for payload in request.payloads} - _r_ids(report):
                yield f"{r_id} is not in {report.report_request_id}"


@check(
    314,
    "dtstart in all intervals or none, ascending, the first one that of the report",
    UpdateReport,
)
def intervals_ascend(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        starts = report.intervals.starts_at if report.intervals is not None else ()
        if not starts:
            continue
        present = [at for at in starts if at is not None]
        if len(present) != len(starts):
            yield f"{len(present)} of {len(starts)} intervals have a dtstart"
        elif any(one >= other for one, other in pairwise(present)):
            yield "dtstarts that do not ascend"
        elif report.starts_at is not None and report.starts_at != present[0]:
            yield f"dtstart {report.starts_at:%H:%M:%S}, first interval {present[0]:%H:%M:%S}"


@check(316, "uid 0, 1, 2 ... where intervals have no dtstart", UpdateReport)
def uids_without_starts(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        found = report.intervals
        if found is not None and not found.starts_at:
            yield from _uids(list(found.uids) or [None] * found.count, report.report_request_id)


@check(
    315,
    "durations in all intervals or none, and a report that is as long as they reach",
    UpdateReport,
)
def durations_all_or_none(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        found = report.intervals
        if found is None or not found.durations:
            continue
        lengths = [length for length in found.durations if length is not None]
        if len(lengths) != found.count:
            yield f"{len(lengths)} of {found.count} intervals have a duration"
        elif report.duration is not None and report.duration < _reach(report, lengths):
            yield f"the report is {report.duration} long, its intervals {_reach(report, lengths)}"


@check(342, "no duration of a report with a single point in time", UpdateReport)
def no_duration_for_points(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        found = report.intervals
        if (
            found is not None
            and found.durations
            and found.starts_at == ()
            and report.starts_at is None
        ):
            yield f"{report.report_request_id} has durations but no start"


@check(334, "the same parts of oadrLoadControlState in all intervals", UpdateReport)
def same_control_states(message: UpdateReport, _look: Look, _root: Element) -> Says:
    parts = ("capacity", "level_offset", "percent_offset", "set_point")
    for report in message.reports:
        for column in report.intervals.columns if report.intervals is not None else ():
            kinds = {
                tuple(part for part in parts if getattr(value, part) is not None)
                for value in column.values
                if value is not None and not isinstance(value, float)
            }
            if len(kinds) > 1:
                yield f"{len(kinds)} different sets at {column.r_id}"


@check(512, "createdDateTime within five minutes of now", RegisterReport, UpdateReport, CreateOpt)
def created_about_now(message: Any, look: Look, _root: Element) -> Says:
    for at in (
        [message.created_at]
        if isinstance(message, CreateOpt)
        else [report.created_at for report in message.reports]
    ):
        if abs(at - look.now) > DRIFT:
            yield f"createdDateTime {at.isoformat()}"


@check(328, "reportRequestIDs in force in a piggybacked cancel", UpdatedReport)
def piggyback_cancels_what_runs(message: UpdatedReport, look: Look, _root: Element) -> Says:
    if message.cancel is not None:
        for one in message.cancel.report_request_ids:
            if look.requested and one not in look.requested:
                yield f"reportRequestID {one!r}"


# --- opts ----------------------------------------------------------------------------------------


@check(204, "an optID", CreateOpt)
def opt_has_an_id(message: CreateOpt, _look: Look, _root: Element) -> Says:
    if not message.opt_id.strip():
        yield "an empty optID"


@check(204, "the optID of the request in the answer", CreatedOpt)
def opt_id_confirmed(message: CreatedOpt, look: Look, _root: Element) -> Says:
    if isinstance(look.request, CreateOpt) and message.opt_id != look.request.opt_id:
        yield f"optID {message.opt_id!r} answers {look.request.opt_id!r}"


@check(206, "a schedule, or an event without schedule and market context", CreateOpt)
def schedule_or_event(message: CreateOpt, _look: Look, _root: Element) -> Says:
    if message.event is None and not message.schedule:
        yield "neither a schedule nor an event"
    if message.event is not None and (message.schedule or message.market_context):
        yield "an event together with a schedule or a market context"


@check(200, "no tolerance, notification, ramp-up or recovery in a schedule", CreateOpt)
def schedule_is_plain(_message: CreateOpt, _look: Look, root: Element) -> Says:
    for available in root.iter(clark("xcal:available")):
        for name in ("xcal:tolerance", "ei:x-eiNotification", "ei:x-eiRampUp", "ei:x-eiRecovery"):
            if next(available.iter(clark(name)), None) is not None:
                yield name


@check(209, "only endDeviceAsset in oadrDeviceClass", CreateOpt)
def device_class_is_one(_message: CreateOpt, _look: Look, root: Element) -> Says:
    for target in root.iter(clark("oadr:oadrDeviceClass")):
        for child in target:
            if child.tag != clark("power:endDeviceAsset"):
                yield _local(child)


# --- HTTP ----------------------------------------------------------------------------------------


def examine_headers(headers: Mapping[str, str], *, request: bool, body: bytes) -> list[Finding]:
    """What is wrong with the HTTP headers of a message (rule 53); names in any case."""
    low = {name.lower(): value for name, value in headers.items()}
    findings = []

    def say(seen: str, wanted: str) -> None:
        findings.append(Finding(rule=53, seen=seen, wanted=wanted, message="HTTP"))

    if request and not low.get("host"):
        say("no Host header", "Host")
    if low.get("transfer-encoding"):
        say(f"Transfer-Encoding: {low['transfer-encoding']}", "a body that is not chunked")
    elif "content-length" not in low:
        say("no Content-Length header", "Content-Length")
    kind = low.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/xml":
        say(f"Content-Type: {low.get('content-type', 'none')}", "Content-Type: application/xml")
    return findings


# --- what the checks share -----------------------------------------------------------------------


def normal(uri: str) -> str:
    """A market context as it is compared (rule 512): scheme and host in small letters."""
    scheme, separator, rest = uri.strip().partition("://")
    host, slash, path = rest.partition("/")
    if not separator:
        return uri.strip()
    return f"{scheme.lower()}://{host.lower()}{slash}{path}".rstrip("/")


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


def _uids(uids: list[str | None], where: str) -> Says:
    if [uid.strip() if uid is not None else None for uid in uids] != [
        str(number) for number in range(len(uids))
    ]:
        yield f"{where}: uids {', '.join(str(uid) for uid in uids[:5])}"


def _doubles(ids: list[str], what: str) -> Says:
    for one in sorted({one for one in ids if ids.count(one) > 1}):
        yield f"{what} {one!r} {ids.count(one)} times"


def _r_ids(report: Report) -> set[str]:
    return {column.r_id for column in report.intervals.columns} if report.intervals else set()


def _reach(report: Report, lengths: list[timedelta]) -> timedelta:
    starts = [at for at in report.intervals.starts_at if at] if report.intervals else []
    if starts and len(starts) == len(lengths):
        return starts[-1] + lengths[-1] - starts[0]
    return sum(lengths, ZERO)


def _only_devices(root: Element, holder: str, target: str) -> Says:
    for element in root.iter(clark(holder)):
        for aimed in element.findall(clark(target)):
            for child in aimed:
                if child.tag != clark("power:endDeviceAsset"):
                    yield f"{_local(child)} in {_local(element)}"


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
