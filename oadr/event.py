# SPDX-License-Identifier: Apache-2.0
"""EiEvent: what is asked of a VEN, when, and how it answers."""

from datetime import datetime, timedelta

from doorway.values import value
from oadr.codec import EMPTY, RESPONSE_CODE, URI, Word, at, many, maybe, some
from oadr.messages import message
from oadr.response import EiResponse
from oadr.target import Target
from oadr.units import UNIT, Unit
from oadr.vocabulary import EventStatus, OptType, ResponseRequired, SignalName, SignalType


@value
class SignalInterval:
    """One step of a signal or a baseline; zero duration is open-ended (rule 47)."""

    starts_at: datetime | None = maybe("xcal:dtstart/xcal:date-time")
    """Never sent in signals (rule 103); read because others send it."""
    duration: timedelta | None = maybe("xcal:duration/xcal:duration")
    uid: str | None = maybe("xcal:uid/xcal:text")
    """Counts 0, 1, 2 ... (rules 2 and 101)."""
    value: float = at("ei:signalPayload/ei:payloadFloat/ei:value")


@value
class Signal:
    """What is asked: a level, a set-point, a price ... over consecutive intervals."""

    intervals: tuple[SignalInterval, ...] = some("strm:intervals/ei:interval")
    """Their durations add up to the active period (rules 8 and 102)."""
    target: Target | None = maybe("ei:eiTarget")
    """Device classes only (rule 111)."""
    signal_name: str = at("ei:signalName", Word(SignalName))
    signal_type: SignalType = at("ei:signalType")
    signal_id: str = at("ei:signalID")
    unit: Unit | None = maybe("emix:itemBase", UNIT)
    current_value: float | None = maybe("ei:currentValue/ei:payloadFloat/ei:value")


@value
class Baseline:
    """What the VTN expects without the event."""

    starts_at: datetime = at("xcal:dtstart/xcal:date-time")
    duration: timedelta = at("xcal:duration/xcal:duration")
    intervals: tuple[SignalInterval, ...] = some("strm:intervals/ei:interval")
    baseline_id: str = at("ei:baselineID")
    resource_ids: tuple[str, ...] = many("ei:resourceID")
    baseline_name: str = at("ei:baselineName")
    unit: Unit | None = maybe("emix:itemBase", UNIT)


@value
class Event:
    """One oadrEvent: the eiEvent and whether an answer to it is wanted."""

    event_id: str = at("ei:eiEvent/ei:eventDescriptor/ei:eventID")
    modification_number: int = at("ei:eiEvent/ei:eventDescriptor/ei:modificationNumber", default=0)
    modified_at: datetime | None = maybe("ei:eiEvent/ei:eventDescriptor/ei:modificationDateTime")
    modification_reason: str | None = maybe("ei:eiEvent/ei:eventDescriptor/ei:modificationReason")
    priority: int | None = maybe("ei:eiEvent/ei:eventDescriptor/ei:priority")
    """1 is the highest; 0 or nothing the lowest (rule 3)."""
    market_context: str = at(
        "ei:eiEvent/ei:eventDescriptor/ei:eiMarketContext/emix:marketContext", URI
    )
    created_at: datetime = at("ei:eiEvent/ei:eventDescriptor/ei:createdDateTime")
    status: EventStatus = at("ei:eiEvent/ei:eventDescriptor/ei:eventStatus")
    test_event: str | None = maybe("ei:eiEvent/ei:eventDescriptor/ei:testEvent")
    """Any text but "false" makes it a test (rule 6): see `is_test`."""
    vtn_comment: str | None = maybe("ei:eiEvent/ei:eventDescriptor/ei:vtnComment")
    starts_at: datetime = at(
        "ei:eiEvent/ei:eiActivePeriod/xcal:properties/xcal:dtstart/xcal:date-time"
    )
    duration: timedelta = at(
        "ei:eiEvent/ei:eiActivePeriod/xcal:properties/xcal:duration/xcal:duration"
    )
    """Zero is open-ended, until cancelled (rule 47)."""
    start_after: timedelta | None = maybe(
        "ei:eiEvent/ei:eiActivePeriod/xcal:properties/xcal:tolerance/xcal:tolerate/xcal:startafter"
    )
    """The VEN starts at a random moment within this (rule 30)."""
    notification: timedelta | None = maybe(
        "ei:eiEvent/ei:eiActivePeriod/xcal:properties/ei:x-eiNotification/xcal:duration"
    )
    """Always sent (rule 105)."""
    ramp_up: timedelta | None = maybe(
        "ei:eiEvent/ei:eiActivePeriod/xcal:properties/ei:x-eiRampUp/xcal:duration"
    )
    recovery: timedelta | None = maybe(
        "ei:eiEvent/ei:eiActivePeriod/xcal:properties/ei:x-eiRecovery/xcal:duration"
    )
    components: None = at("ei:eiEvent/ei:eiActivePeriod/xcal:components!", EMPTY, default=None)
    """Required by the schema and always empty."""
    signals: tuple[Signal, ...] = some("ei:eiEvent/ei:eiEventSignals/ei:eiEventSignal")
    baseline: Baseline | None = maybe("ei:eiEvent/ei:eiEventSignals/ei:eiEventBaseline")
    target: Target = at("ei:eiEvent/ei:eiTarget", default=Target())
    response_required: ResponseRequired = at(
        "oadr:oadrResponseRequired", default=ResponseRequired.ALWAYS
    )

    @property
    def ends_at(self) -> datetime | None:
        """The end of the active period (exclusive, rule 18); None while open-ended."""
        return self.starts_at + self.duration if self.duration else None

    @property
    def is_test(self) -> bool:
        return self.test_event is not None and self.test_event != "false"


@message("oadr:oadrRequestEvent")
@value
class RequestEvent:
    """A VEN asks for all its events (rule 23)."""

    request_id: str = at("pyld:eiRequestEvent/pyld:requestID")
    ven_id: str = at("pyld:eiRequestEvent/ei:venID")
    reply_limit: int | None = maybe("pyld:eiRequestEvent/pyld:replyLimit")


@message("oadr:oadrDistributeEvent")
@value
class DistributeEvent:
    """All events a VEN should know (rule 50): what is not in it is no more (rule 61)."""

    response: EiResponse | None = maybe("ei:eiResponse")
    request_id: str = at("pyld:requestID")
    vtn_id: str = at("ei:vtnID")
    events: tuple[Event, ...] = many("oadr:oadrEvent")


@value
class EventResponse:
    """The answer to one event in one modification."""

    response_code: str = at("ei:responseCode", RESPONSE_CODE, default="200")
    description: str | None = maybe("ei:responseDescription")
    request_id: str = at("pyld:requestID")
    """That of the oadrDistributeEvent (rule 42)."""
    event_id: str = at("ei:qualifiedEventID/ei:eventID")
    modification_number: int = at("ei:qualifiedEventID/ei:modificationNumber")
    opt_type: OptType = at("ei:optType")


@message("oadr:oadrCreatedEvent")
@value
class CreatedEvent:
    """A VEN opts in or out of events."""

    response: EiResponse = at("pyld:eiCreatedEvent/ei:eiResponse")
    event_responses: tuple[EventResponse, ...] = many(
        "pyld:eiCreatedEvent/ei:eventResponses/ei:eventResponse"
    )
    ven_id: str = at("pyld:eiCreatedEvent/ei:venID")
