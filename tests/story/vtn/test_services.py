"""What VENs and the VTN say to each other, message by message, on both databases."""

import dataclasses
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

import oadr
from oadr.event import CreatedEvent, DistributeEvent, RequestEvent
from oadr.opt import (
    Availability,
    CanceledOpt,
    CancelOpt,
    CreatedOpt,
    CreateOpt,
    QualifiedEvent,
)
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
    RequestReregistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    ReportInterval,
    ReportRequest,
    SpecifierPayload,
)
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType, ResponseRequired, ServiceName
from tests.story.vtn.utility import (
    CONTEXT,
    draft,
    metadata,
    point,
    sha,
    simple,
    usage,
    values,
)
from vtn.errors import StoreUnavailable
from vtn.records import RequestState

REGISTER, EVENT, REPORT, OPT, POLL = (
    ServiceName.REGISTER_PARTY,
    ServiceName.EVENT,
    ServiceName.REPORT,
    ServiceName.OPT,
    ServiceName.POLL,
)


# --- registration --------------------------------------------------------------------------------


async def test_a_query_before_registration_lists_profiles_and_no_ids(house):
    """Rules 403 and 404."""
    ven = await house.let_in()

    reply = await ven.say(REGISTER, QueryRegistration(request_id="q"), CreatedPartyRegistration)

    assert reply.response.response_code == "200"
    assert reply.response.request_id == "q"
    assert (reply.ven_id, reply.registration_id) == (None, None)
    assert [profile.name for profile in reply.profiles] == ["2.0b"]
    assert timedelta(seconds=10) == reply.poll_interval


async def test_a_query_after_registration_gives_the_ids(house):
    """Rule 404."""
    ven = await house.registered()

    reply = await ven.say(REGISTER, QueryRegistration(request_id="q"), CreatedPartyRegistration)

    assert ("0042", ven.registration_id) == (reply.ven_id, reply.registration_id)


async def test_the_first_poll_after_registration_brings_our_metadata(house):
    """Rules 301, 309, 405 and 502; test N1_0020."""
    ven = await house.let_in()
    await ven.register()

    first = await ven.poll(RegisterReport)

    assert first.reports == ()
    assert (await ven.poll()).response.response_code == "200"


async def test_a_registration_may_be_made_without_the_ven_id(house):
    """Rule 402."""
    ven = await house.let_in()

    reply = await ven.say(
        REGISTER, CreatePartyRegistration(request_id="r"), CreatedPartyRegistration
    )

    assert reply.ven_id == "0042"


async def test_registering_again_with_the_ids_keeps_them_and_everything_else(house):
    """Rules 402 and 403; test N1_0065."""
    ven = await house.registered()
    await ven.offer()
    before = ven.registration_id

    again = await ven.register(registration_id=before)

    assert before == again.registration_id
    assert len((await house.desk.reports("0042")).offers) == 1
    await ven.poll(Response)


async def test_registering_anew_without_the_ids_forgets_reports_and_asks_for_them_again(house):
    """Rules 405 and 406; test N1_0060."""
    ven = await house.registered()
    await ven.offer()
    before = ven.registration_id

    await ven.register()

    assert before != ven.registration_id
    reports = await house.desk.reports("0042")
    assert reports.offers == ()
    assert {RequestState.CANCELLED} == {one.state for one in reports.requests}
    await ven.poll(RegisterReport)


async def test_a_registration_id_of_nobody_is_refused(house):
    """Rule 400."""
    ven = await house.registered()

    again = await ven.say(
        REGISTER,
        CreatePartyRegistration(request_id="r", ven_id="0042", registration_id="other"),
        CreatedPartyRegistration,
    )
    cancel = await ven.say(
        REGISTER,
        CancelPartyRegistration(request_id="c", registration_id="other"),
        CanceledPartyRegistration,
    )

    assert [again.response.response_code, cancel.response.response_code] == ["452", "452"]
    assert (await house.desk.ven("0042")).registered


async def test_a_ven_cancels_its_registration_and_gets_no_service_any_more(house):
    """Rules 401, 407 and 517; test N1_0030."""
    ven = await house.registered()

    reply = await ven.say(
        REGISTER,
        CancelPartyRegistration(request_id="c", registration_id=ven.registration_id),
        CanceledPartyRegistration,
    )

    assert reply.response.ok
    assert (await ven.poll()).response.response_code == "463"


async def test_the_operator_cancels_a_registration_until_the_ven_confirms(house):
    """Rules 401 and 407; test N1_0040."""
    ven = await house.registered()
    await house.desk.cancel_registration("0042", by="anna")

    asked = await ven.poll(CancelPartyRegistration)
    assert ven.registration_id == asked.registration_id
    house.clock.advance(11)
    assert asked == await ven.poll(CancelPartyRegistration)
    await ven.say(
        REGISTER,
        CanceledPartyRegistration(
            response=EiResponse(request_id=asked.request_id),
            registration_id=asked.registration_id,
            ven_id="0042",
        ),
        Response,
    )

    assert not (await house.desk.ven("0042")).registered
    assert (await ven.poll()).response.response_code == "463"


async def test_a_requested_re_registration_is_asked_for_until_it_happens(house):
    """Rule 401; test N1_0050."""
    ven = await house.registered()
    await house.desk.request_reregistration("0042", by="anna")

    await ven.poll(RequestReregistration)
    await ven.say(REGISTER, Response(response=EiResponse(), ven_id="0042"), Response)
    house.clock.advance(11)
    await ven.poll(RequestReregistration)
    await ven.register(registration_id=ven.registration_id)
    house.clock.advance(11)

    await ven.poll(Response)


async def test_what_is_not_served_is_refused_at_registration(house):
    """Rules 33 and 402."""
    ven = await house.let_in()

    replies = [
        await ven.register(profile=oadr.vocabulary.ProfileName.A),
        await ven.register(transport=oadr.vocabulary.TransportName.XMPP),
        await ven.register(http_pull_model=False),  # push, but where to? (rule 402)
        await ven.register(http_pull_model=False, transport_address="http://ven.example"),
        await ven.register(http_pull_model=False, transport_address="https://ven.example:x"),
        await ven.register(http_pull_model=False, transport_address="https://a:b@ven.example"),
        await ven.register(transport_address="https://ven.example"),  # pull or push?
    ]

    assert [reply.response.response_code for reply in replies] == ["459"] * 7
    assert not (await house.desk.ven("0042")).registered


# --- identity ------------------------------------------------------------------------------------


async def test_a_certificate_of_nobody_gets_463_in_the_fitting_reply(house):
    """Rule 517."""
    ven = await house.registered()
    ven.certificate = sha(99)

    assert (await ven.poll()).response.response_code == "463"
    asked = await ven.say(EVENT, RequestEvent(request_id="r", ven_id="0042"), DistributeEvent)
    assert asked.response.response_code == "463"
    assert (await ven.offer()).response.response_code == "463"
    created = await ven.register()
    assert created.response.response_code == "463"


async def test_another_ven_id_or_another_case_gets_452(house):
    """Rules 21, 304, 400, 500, 512 and 517."""
    await house.registered("abc")
    ven = await house.registered("Xy")

    for wrong in ("abc", "xY", "nobody"):
        ven.ven_id = wrong
        assert (await ven.poll()).response.response_code == "452"


async def test_an_unregistered_ven_gets_no_normal_service(house):
    """Rule 517; test N1_0080."""
    ven = await house.let_in()

    assert (await ven.poll()).response.response_code == "463"
    assert (await ven.offer()).response.response_code == "463"


async def test_a_revoked_ven_is_nobody_at_once_and_after_a_restart(house):
    ven = await house.registered()

    await house.desk.revoke_ven("0042", by="anna")

    assert (await ven.poll()).response.response_code == "463"
    await house.restart()
    assert (await ven.poll()).response.response_code == "463"


async def test_an_update_without_ven_id_counts_for_the_certificate(house):
    one, other = await house.registered("one"), await house.registered("other")
    asked = (await one.offer()).requests[0].report_request_id
    now = house.clock.now()

    stolen = await other.update(values(asked, now, (1.0,)))
    own = await one.update(values(asked, now, (2.0,)))

    assert [stolen.response.response_code, own.response.response_code] == ["452", "200"]
    assert await house.desk.points("other") == []
    series = await house.desk.measurements("one", "P", now, now + timedelta(hours=1))
    assert list(series.values) == [2.0]


async def test_a_message_of_another_service_is_not_found(house):
    """Rules 23, 51 and 501."""
    ven = await house.registered()

    answer = await ven.post(EVENT, oadr.build(Poll(ven_id="0042")))

    assert answer.status == 404


# --- events --------------------------------------------------------------------------------------


async def test_a_request_without_events_gets_an_empty_distribution(house):
    """Rules 40, 41 and 50; test E1_1010."""
    ven = await house.registered()

    reply = await ven.say(EVENT, RequestEvent(request_id="r", ven_id="0042"), DistributeEvent)

    assert (reply.events, reply.response.request_id) == ((), "r")
    assert reply.vtn_id == "VTN-1"
    assert reply.request_id


async def test_an_event_is_polled_until_it_is_answered(house):
    """Rules 16, 50, 500 and 502."""
    ven = await house.registered()
    record = await house.publish()

    first = await ven.poll(DistributeEvent)
    await ven.poll(Response)
    house.clock.advance(11)
    second = await ven.poll(DistributeEvent)
    assert [record.event.event_id] == [one.event_id for one in second.events]
    assert first.request_id != second.request_id
    assert (await ven.answer(second.events[0])).ok
    house.clock.advance(11)

    await ven.poll(Response)
    answer = (await house.desk.event(record.event.event_id)).answers["0042"]
    assert (answer.opt_type, answer.modification_number) == (OptType.OPT_IN, 0)


async def test_an_event_survives_a_restart_of_the_vtn_between_poll_and_answer(house):
    ven = await house.registered()
    await house.publish()
    event = (await ven.poll(DistributeEvent)).events[0]

    await house.restart()

    assert (await ven.answer(event)).ok
    await ven.poll(Response)


async def test_distributed_events_keep_the_rules_of_form(house):
    """Rules 2, 4, 40, 41, 63, 100, 101, 102, 103, 105 and 115."""
    ven = await house.registered()
    await house.publish()
    house.clock.advance(5)
    await house.publish(
        starts_at=house.clock.now() + timedelta(hours=1), duration=timedelta(minutes=5)
    )
    house.clock.advance(5)

    reply = await ven.poll(DistributeEvent)

    assert len(reply.events) == 2
    assert {house.clock.now()} == {event.created_at for event in reply.events}  # rule 115
    for event in reply.events:
        assert event.notification is not None  # rule 105
        signal = event.signals[0]
        assert [interval.starts_at for interval in signal.intervals] == [None]  # rule 103
        assert [interval.uid for interval in signal.intervals] == ["0"]  # rule 2
        assert len(event.target.ven_ids) <= 1  # rule 63


async def test_active_events_come_by_priority_and_reply_limit_takes_the_first(house):
    """Rules 3, 15 and 27."""
    ven = await house.registered()
    now = house.clock.now()
    await house.desk.add_market_context("http://utility.example/other", "Other", by="anna")
    hour = timedelta(hours=1)
    for name, start, priority, context in (
        ("second", 0, 2, CONTEXT),
        ("first", 60, 1, "http://utility.example/other"),
        ("pending", 7200, 0, CONTEXT),
    ):
        await house.publish(
            event_id=name,
            starts_at=now + timedelta(seconds=start),
            duration=hour,
            priority=priority,
            market_context=context,
        )
    house.clock.advance(120)

    every = await ven.say(EVENT, RequestEvent(request_id="r", ven_id="0042"), DistributeEvent)
    limited = await ven.say(
        EVENT, RequestEvent(request_id="r", ven_id="0042", reply_limit=1), DistributeEvent
    )

    assert [event.event_id for event in every.events] == ["first", "second", "pending"]
    assert [event.event_id for event in limited.events] == ["first"]


async def test_an_active_simple_event_shows_its_current_value(house):
    """Rules 14 and 29."""
    ven = await house.registered()
    await house.publish(signals=simple(1))

    pending = (await ven.poll(DistributeEvent)).events[0]
    house.clock.advance(11 * 60)
    active = (await ven.poll(DistributeEvent)).events[0]

    assert (pending.status, pending.signals[0].current_value) == (EventStatus.FAR, 0.0)
    assert (active.status, active.signals[0].current_value) == (EventStatus.ACTIVE, 1.0)


async def test_a_wrong_modification_gets_450_and_an_unknown_event_452(house):
    """Rules 21, 33 and 48."""
    ven = await house.registered()
    stranger = draft(house.clock.now(), event_id="nowhere")
    assert (await ven.answer(stranger)).response_code == "452"
    event = (await house.publish()).event

    assert (await ven.answer(event, number=3)).response_code == "450"
    assert (await house.desk.event(event.event_id)).answers == {}


async def test_good_answers_count_beside_bad_ones(house):
    """Rule 25: each eventResponse by itself."""
    ven = await house.registered()
    event = (await house.publish()).event
    message = CreatedEvent(
        response=EiResponse(),
        event_responses=tuple(
            oadr.event.EventResponse(
                request_id="d", event_id=name, modification_number=0, opt_type=OptType.OPT_IN
            )
            for name in ("nowhere", event.event_id)
        ),
        ven_id="0042",
    )

    reply = await ven.say(EVENT, message, Response)

    assert reply.response.response_code == "452"
    assert list((await house.desk.event(event.event_id)).answers) == ["0042"]


async def test_a_failed_ei_response_makes_the_event_responses_count_for_nothing(house):
    """Rule 25."""
    ven = await house.registered()
    event = (await house.publish()).event
    message = CreatedEvent(
        response=EiResponse(response_code="459"),
        event_responses=(
            oadr.event.EventResponse(
                request_id="d",
                event_id=event.event_id,
                modification_number=0,
                opt_type=OptType.OPT_IN,
            ),
        ),
        ven_id="0042",
    )

    await ven.say(EVENT, message, Response)

    assert (await house.desk.event(event.event_id)).answers == {}


async def test_a_later_opt_out_replaces_the_opt_in(house):
    """Rules 16 and 17."""
    ven = await house.registered()
    event = (await house.publish()).event
    await ven.answer(event)

    assert (await ven.answer(event, OptType.OPT_OUT)).ok

    answers = (await house.desk.event(event.event_id)).answers
    assert answers["0042"].opt_type == OptType.OPT_OUT


async def test_a_modification_and_a_cancellation_are_told_and_answered_anew(house):
    """Rules 5, 10, 50, 52 and 115."""
    ven = await house.registered()
    event = (await house.publish()).event
    await ven.answer((await ven.poll(DistributeEvent)).events[0])

    longer = draft(house.clock.now(), duration=timedelta(minutes=15))
    await house.desk.modify_event(event.event_id, longer, by="anna")
    modified = (await ven.poll(DistributeEvent)).events[0]
    assert (1, timedelta(minutes=15)) == (modified.modification_number, modified.duration)
    assert (await ven.answer(event)).response_code == "450"
    await ven.answer(modified)
    await ven.poll(Response)
    await house.desk.cancel_event(event.event_id, by="anna")
    cancelled = (await ven.poll(DistributeEvent)).events[0]
    assert (cancelled.modification_number, cancelled.status) == (2, EventStatus.CANCELLED)
    await ven.answer(cancelled)

    reply = await ven.say(EVENT, RequestEvent(request_id="r", ven_id="0042"), DistributeEvent)
    assert reply.events == ()
    history = (await house.desk.event(event.event_id)).history
    assert [one.modification_number for one in history] == [0, 1, 2]


async def test_a_cancellation_nobody_answers_is_given_up_after_some_attempts(house):
    """Rule 52."""
    ven = await house.registered()
    event = (await house.publish(duration=timedelta(hours=5))).event
    await house.desk.cancel_event(event.event_id, by="anna")

    for _ in range(10):
        assert len((await ven.poll(DistributeEvent)).events) == 1
        house.clock.advance(11)

    await ven.poll(Response)


async def test_an_event_that_wants_no_answer_is_told_once_on_a_kept_connection(house):
    """Rules 50 and 502."""
    ven = await house.registered()
    await house.publish(response_required=ResponseRequired.NEVER)

    assert len((await ven.poll(DistributeEvent)).events) == 1
    await ven.poll(Response)
    house.clock.advance(60)

    await ven.poll(Response)


async def test_an_event_that_wants_no_answer_is_told_again_when_the_connection_broke(house):
    ven = await house.registered()
    await house.publish(response_required=ResponseRequired.NEVER)
    await ven.poll(DistributeEvent)

    ven.connection = 2
    house.clock.advance(11)

    await ven.poll(DistributeEvent)
    await ven.poll(Response)
    house.clock.advance(60)
    await ven.poll(Response)


@pytest.mark.parametrize("asks", [False, True])
async def test_an_event_that_wants_no_answer_is_told_after_a_commit_that_failed(
    house, monkeypatch, asks
):
    """The 503 carried no event, so the next poll confirms none."""
    ven = await house.registered()
    await house.publish(response_required=ResponseRequired.NEVER)
    write = house.store.write

    @asynccontextmanager
    async def failing():
        async with write() as connection:
            yield connection
            raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(house.store, "write", failing)
    said = RequestEvent(request_id="e", ven_id="0042") if asks else Poll(ven_id="0042")
    service = ServiceName.EVENT if asks else ServiceName.POLL
    assert (await ven.post(service, oadr.build(said))).status == 503
    monkeypatch.setattr(house.store, "write", write)

    assert len((await ven.poll(DistributeEvent)).events) == 1
    await ven.poll(Response)


async def test_a_tolerant_event_stays_listed_until_its_tolerance_is_over(house):
    """Rule 66."""
    ven = await house.registered()
    await house.publish(start_after=timedelta(minutes=5))
    ask = RequestEvent(request_id="r", ven_id="0042")

    house.clock.advance(15 * 60 + 1)
    just_ended = await ven.say(EVENT, ask, DistributeEvent)
    house.clock.advance(5 * 60)
    over = await ven.say(EVENT, ask, DistributeEvent)

    assert [event.status for event in just_ended.events] == [EventStatus.COMPLETED]
    assert over.events == ()


async def test_an_event_is_for_its_targets_only(house):
    """Rule 63."""
    one, other = await house.registered("one"), await house.registered("other", resources=("r9",))
    await house.publish(target=Target(resource_ids=("r9",)))

    await one.poll(Response)
    event = (await other.poll(DistributeEvent)).events[0]

    assert Target(resource_ids=("r9",)) == event.target


async def test_a_ven_dropped_by_a_modification_sees_the_event_cancelled(house):
    """Rules 10 and 50."""
    one, other = await house.registered("one"), await house.registered("other")
    event = (await house.publish()).event
    for ven in (one, other):
        await ven.answer((await ven.poll(DistributeEvent)).events[0])

    narrower = draft(house.clock.now(), target=Target(ven_ids=("one",)))
    record = await house.desk.modify_event(event.event_id, narrower, by="anna")

    assert record.ven_ids == ("one",)
    kept = (await one.poll(DistributeEvent)).events[0]
    dropped = (await other.poll(DistributeEvent)).events[0]
    assert kept.status == EventStatus.FAR
    assert (dropped.status, dropped.modification_number) == (EventStatus.CANCELLED, 1)
    await other.answer(dropped)
    await other.poll(Response)


async def test_event_and_report_request_queue_up_and_both_are_answered(house):
    """Rule 500; test G1_4015."""
    ven = await house.registered()
    await ven.offer(metadata("METADATA_HISTORY_USAGE", "history", point("H")))
    await house.publish()
    request = ReportRequest(
        report_request_id="",
        report_specifier_id="history",
        granularity=timedelta(0),
        report_back=timedelta(0),
        interval=ReportInterval(starts_at=house.clock.now(), duration=timedelta(0)),
        payloads=(SpecifierPayload(r_id="H"),),
    )
    await house.desk.request_report("0042", request, by="anna")

    event = (await ven.poll(DistributeEvent)).events[0]
    asked = await ven.poll(CreateReport)
    await ven.poll(Response)
    await ven.answer(event)
    await ven.say(
        REPORT,
        CreatedReport(response=EiResponse(request_id=asked.request_id), ven_id="0042"),
        Response,
    )
    house.clock.advance(60)

    await ven.poll(Response)


# --- reports -------------------------------------------------------------------------------------


async def test_telemetry_is_asked_for_at_its_finest_when_it_is_offered(house):
    """Rules 300, 317, 321, 322, 324, 325, 338 and 344."""
    ven = await house.registered()

    reply = await ven.offer(
        usage(),
        metadata("METADATA_HISTORY_USAGE", "history", point("H")),
        metadata(
            "x-METADATA_CURTAILMENT",
            "curtailment",
            point("B", "baseline", period_s=60),
            point("D", "deviation", period_s=60),
        ),
    )

    asked = {one.report_specifier_id: one for one in reply.requests}
    assert {"usage", "curtailment"} == asked.keys()
    assert timedelta(seconds=4) == asked["usage"].granularity
    assert timedelta(seconds=60) == asked["usage"].report_back
    assert timedelta(0) == asked["usage"].interval.duration
    assert {"x-notApplicable"} == {one.reading_type for one in asked["usage"].payloads}
    assert [one.r_id for one in asked["curtailment"].payloads] == ["B", "D"]
    names = {one.report_name for one in (await house.desk.reports("0042")).requests}
    assert {"TELEMETRY_USAGE", "x-CURTAILMENT"} == names


async def test_a_piggybacked_request_that_is_not_confirmed_is_asked_again(house):
    ven = await house.registered()
    asked = (await ven.offer()).requests

    await ven.poll(Response)
    house.clock.advance(11)
    again = await ven.poll(CreateReport)
    assert asked == again.requests
    await ven.say(
        REPORT,
        CreatedReport(
            response=EiResponse(request_id="something else"),
            pending_report_request_ids=(asked[0].report_request_id,),
            ven_id="0042",
        ),
        Response,
    )
    house.clock.advance(60)

    await ven.poll(Response)
    states = [one.state for one in (await house.desk.reports("0042")).requests]
    assert states == [RequestState.ACTIVE]


async def test_values_are_stored_once_and_a_later_value_replaces_an_earlier(house):
    """Rule 346."""
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    now = house.clock.now()

    for numbers in ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0), (1.0, 2.5)):
        reply = await ven.update(values(asked, now, numbers))
        assert (reply.response.response_code, reply.response.request_id) == ("200", "u")
    await house.restart()

    series = await house.desk.measurements("0042", "P", now, now + timedelta(hours=1))
    assert list(series.values) == [1.0, 2.5, 3.0]
    start = now.timestamp()
    assert [start, start + 4, start + 8] == list(series.starts_at)


async def test_values_are_kept_in_base_units(house):
    ven = await house.registered()
    kilo = oadr.units.power(oadr.vocabulary.ScaleCode.KILO)
    asked = await ven.offer(metadata("METADATA_TELEMETRY_USAGE", "usage", point("P", unit=kilo)))
    now = house.clock.now()

    await ven.update(values(asked.requests[0].report_request_id, now, (41.5,)))

    series = await house.desk.measurements("0042", "P", now, now + timedelta(hours=1))
    assert list(series.values) == [41_500.0]
    assert series.point.unit == "W"


async def test_unknown_ids_in_an_update_store_nothing_at_all(house):
    """Rule 304."""
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    now = house.clock.now()
    good = values(asked, now, (1.0,))

    for wrong in (
        values("nothing", now, (1.0,)),
        values(asked, now, (1.0,), r_id="Q"),
        values(asked, now, (1.0,), specifier="other"),
    ):
        assert (await ven.update(good, wrong)).response.response_code == "452"

    assert await house.desk.points("0042") == []


async def test_a_status_becomes_series_of_its_own(house):
    """Rule 331: oadrPayloadResourceStatus."""
    ven = await house.registered()
    status = metadata(
        "METADATA_TELEMETRY_STATUS", "status", point("S", "x-resourceStatus", period_s=60)
    )
    asked = (await ven.offer(status)).requests[0].report_request_id
    now = house.clock.now()
    report = values(asked, now, (1.0,), specifier="status", r_id="S")
    said = oadr.columns.ResourceStatus(
        online=True,
        manual_override=False,
        set_point=oadr.columns.LoadControl(current=12.5),
    )
    column = oadr.columns.Column(r_id="S", values=(said,))
    report = dataclasses.replace(
        report, intervals=dataclasses.replace(report.intervals, columns=(column,))
    )

    assert (await ven.update(report)).response.ok

    later = now + timedelta(hours=1)
    found = {
        facet: list((await house.desk.measurements("0042", "S", now, later, facet=facet)).values)
        for facet in ("online", "manualOverride", "setPoint.current")
    }
    assert found == {"online": [1.0], "manualOverride": [0.0], "setPoint.current": [12.5]}


async def test_new_metadata_cancels_what_was_asked(house):
    """Rule 306; test R1_3170."""
    ven = await house.registered()
    old = (await ven.offer()).requests[0].report_request_id

    new = (await ven.offer()).requests[0].report_request_id

    assert old != new
    late = await ven.update(values(old, house.clock.now(), (1.0,)))
    assert late.response.response_code == "452"
    states = {
        one.request.report_request_id: one.state
        for one in (await house.desk.reports("0042")).requests
    }
    assert {old: RequestState.CANCELLED, new: RequestState.ASKED} == states


async def test_a_cancellation_rides_along_with_the_next_update(house):
    """Rule 328; test R1_3060."""
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    await house.desk.cancel_report("0042", asked, by="anna")

    reply = await ven.update(values(asked, house.clock.now(), (1.0,)))

    assert (asked,) == reply.cancel.report_request_ids
    await ven.say(
        REPORT,
        CanceledReport(response=EiResponse(request_id=reply.cancel.request_id), ven_id="0042"),
        Response,
    )
    states = [one.state for one in (await house.desk.reports("0042")).requests]
    assert states == [RequestState.CANCELLED]
    late = await ven.update(values(asked, house.clock.now(), (1.0,)))
    assert late.response.response_code == "452"


async def test_a_one_shot_report_is_completed_by_its_update(house):
    """Rule 324."""
    ven = await house.registered()
    await ven.offer(metadata("METADATA_HISTORY_USAGE", "history", point("H")))
    request = ReportRequest(
        report_request_id="one-shot",
        report_specifier_id="history",
        granularity=timedelta(0),
        report_back=timedelta(0),
        interval=ReportInterval(starts_at=house.clock.now(), duration=timedelta(0)),
        payloads=(SpecifierPayload(r_id="H"),),
    )
    await house.desk.request_report("0042", request, by="anna")
    await ven.poll(CreateReport)

    report = values("one-shot", house.clock.now(), (1.0, 2.0), r_id="H", specifier="history")
    assert (await ven.update(report)).response.ok
    assert (await ven.update(report)).response.ok  # its answer may have been lost

    states = [one.state for one in (await house.desk.reports("0042")).requests]
    assert states == [RequestState.COMPLETED]


async def test_metadata_is_asked_for_and_answered_under_its_id(house):
    """Rules 304, 308, 311 and 327."""
    ven = await house.registered()
    request = ReportRequest(
        report_request_id="",
        report_specifier_id="METADATA",
        granularity=timedelta(0),
        report_back=timedelta(0),
        payloads=(SpecifierPayload(r_id="0"),),
    )
    record = await house.desk.request_report("0042", request, by="anna")
    name = record.request.report_request_id
    await ven.poll(CreateReport)

    def answer(report_request_id):
        return ven.say(
            REPORT,
            RegisterReport(
                request_id="m",
                reports=(usage(),),
                ven_id="0042",
                report_request_id=report_request_id,
            ),
            RegisteredReport,
        )

    assert (await answer("other")).response.response_code == "452"
    assert (await answer(name)).response.ok
    states = {
        one.request.report_request_id: one.state
        for one in (await house.desk.reports("0042")).requests
    }
    assert states[name] == RequestState.COMPLETED


async def test_a_ven_may_ask_for_our_metadata_and_for_nothing_else(house):
    """Rules 301, 304, 327 and 329."""
    ven = await house.registered()

    def ask(specifier):
        request = ReportRequest(
            report_request_id="mine",
            report_specifier_id=specifier,
            granularity=timedelta(0),
            report_back=timedelta(0),
            interval=ReportInterval(starts_at=house.clock.now(), duration=timedelta(0)),
            payloads=(SpecifierPayload(r_id="0"),),
        )
        message = CreateReport(request_id="c", requests=(request,), ven_id="0042")
        return ven.say(REPORT, message, CreatedReport)

    assert (await ask("TELEMETRY_USAGE")).response.response_code == "452"
    assert (await ask("METADATA")).pending_report_request_ids == ("mine",)
    assert (await ven.poll(RegisterReport)).report_request_id == "mine"


async def test_cancelling_what_was_never_asked_of_us_is_refused(house):
    """Rule 336."""
    ven = await house.registered()
    message = CancelReport(request_id="c", report_request_ids=("other",), ven_id="0042")

    reply = await ven.say(REPORT, message, CanceledReport)

    assert reply.response.response_code == "452"


# --- opts ----------------------------------------------------------------------------------------


def schedule(house, opt_id="o1", **changes) -> CreateOpt:
    now = house.clock.now()
    given = {
        "opt_id": opt_id,
        "opt_type": OptType.OPT_OUT,
        "opt_reason": "x-schedule",
        "ven_id": "0042",
        "schedule": (Availability(starts_at=now, duration=timedelta(hours=2)),),
        "created_at": now,
        "request_id": "opt",
    }
    return CreateOpt(**{**given, **changes})


async def test_a_schedule_is_kept_and_cancelled_by_its_id(house):
    """Rules 204, 207 and 208."""
    ven = await house.registered()
    for resource in ("r1", "r2"):
        message = schedule(house, target=Target(resource_ids=(resource,)))
        reply = await ven.say(OPT, message, CreatedOpt)
        assert (reply.opt_id, reply.response.request_id) == ("o1", "opt")
    assert {"r1", "r2"} == {one.scope for one in await house.desk.opts("0042")}

    cancel = CancelOpt(request_id="c", opt_id="o1", ven_id="0042")
    assert (await ven.say(OPT, cancel, CanceledOpt)).response.ok

    assert await house.desk.opts("0042") == []
    unknown = CancelOpt(request_id="c", opt_id="o2", ven_id="0042")
    assert (await ven.say(OPT, unknown, CanceledOpt)).response.response_code == "452"


async def test_a_new_schedule_replaces_the_old_one_of_its_scope_and_type_only(house):
    """Rule 203."""
    ven = await house.registered()
    for opt_id, changes in (
        ("a", {"target": Target(resource_ids=("r1", "r2"))}),
        ("b", {"target": Target(resource_ids=("r1",))}),
        ("c", {"target": Target(resource_ids=("r1",)), "opt_type": OptType.OPT_IN}),
        ("d", {"market_context": CONTEXT}),
    ):
        await ven.say(OPT, schedule(house, opt_id, **changes), CreatedOpt)

    live = {(one.opt.opt_id, one.scope) for one in await house.desk.opts("0042")}

    assert {("a", "r2"), ("b", "r1"), ("c", "r1"), ("d", "")} == live
    cancel = CancelOpt(request_id="c", opt_id="a", ven_id="0042")
    assert (await ven.say(OPT, cancel, CanceledOpt)).response.ok


async def test_an_opt_for_one_resource_of_an_event_overrules_the_created_event(house):
    """Rule 206; tests E1_1060 and E1_1065."""
    ven = await house.registered()
    event = (await house.publish(target=Target(resource_ids=("r1", "r2")))).event
    opt = schedule(
        house,
        schedule=(),
        event=QualifiedEvent(event_id=event.event_id, modification_number=0),
        target=Target(resource_ids=("r2",)),
    )

    assert (await ven.say(OPT, opt, CreatedOpt)).response.ok
    await ven.answer(event)

    answer = (await house.desk.event(event.event_id)).answers["0042"]
    assert (answer.opt_type, answer.resources) == (OptType.OPT_IN, {"r2": OptType.OPT_OUT})
    cancel = CancelOpt(request_id="c", opt_id="o1", ven_id="0042")
    assert (await ven.say(OPT, cancel, CanceledOpt)).response.response_code == "451"


async def test_opts_that_cannot_be_are_refused(house):
    """Rules 33, 206, 207, 208 and 211."""
    ven = await house.registered()
    event = (await house.publish(target=Target(resource_ids=("r1",)))).event
    qualified = QualifiedEvent(event_id=event.event_id, modification_number=0)
    expected = {
        "459": [
            schedule(house, event=qualified),
            schedule(house, event=qualified, schedule=(), market_context=CONTEXT),
            schedule(house, schedule=()),
        ],
        "452": [
            schedule(house, target=Target(ven_ids=("other",))),
            schedule(house, ven_id="other"),
            schedule(house, schedule=(), event=QualifiedEvent(event_id="x", modification_number=0)),
        ],
        "450": [
            schedule(
                house,
                schedule=(),
                event=QualifiedEvent(event_id=event.event_id, modification_number=7),
            )
        ],
        "462": [
            schedule(house, schedule=(), event=qualified, target=Target(resource_ids=("r1", "r2")))
        ],
    }

    for code, messages in expected.items():
        for message in messages:
            reply = await ven.say(OPT, message, CreatedOpt)
            assert code == reply.response.response_code
    assert await house.desk.opts("0042", ended=True) == []


async def test_opts_take_so_much_room_and_no_more(house):
    """Each resource has a copy of the whole opt: 3,000 of them took 150 MB and 14 s."""
    ven = await house.registered()

    async def say(opt_id, **changes):
        reply = await ven.say(OPT, schedule(house, opt_id, **changes), CreatedOpt)
        return reply.response.response_code

    thousands = Target(resource_ids=tuple(f"resource-{number}" for number in range(3000)))
    assert await say("a", target=thousands) == "469"
    assert await house.desk.opts("0042", ended=True) == []

    long = {"opt_reason": "x-" + "y" * 900_000}
    contexts = {name: {**long, "market_context": f"http://{name}"} for name in "bcd"}
    assert [await say(name, **contexts[name]) for name in "bcd"] == ["200", "200", "469"]
    assert [one.opt.opt_id for one in await house.desk.opts("0042")] == ["c", "b"]
    assert await say("c", **contexts["c"]) == "200"  # in place of the one before
    cancel = CancelOpt(request_id="c", opt_id="b", ven_id="0042")
    assert (await ven.say(OPT, cancel, CanceledOpt)).response.ok
    assert await say("d", **contexts["d"]) == "200"
    assert all(len(line.detail) <= 1000 for line in await house.desk.audit())


# --- audit ---------------------------------------------------------------------------------------


async def test_what_was_accepted_and_every_act_stand_in_the_audit(house):
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    event = (await house.publish()).event
    await ven.answer(event)
    await ven.update(values(asked, house.clock.now(), (1.0, 2.0)))
    await ven.update(values("nothing", house.clock.now(), (1.0,)))

    lines = await house.desk.audit(limit=100)

    assert [(line.actor, line.act) for line in reversed(lines)] == [
        ("operator:anna", "add market context"),
        ("operator:anna", "add VEN"),
        ("ven:0042", "register"),
        ("ven:0042", "take our metadata"),
        ("ven:0042", "offer reports"),
        ("operator:anna", "publish event"),
        ("ven:0042", "optIn"),
    ]
    about = await house.desk.audit(subject=f"event:{event.event_id}")
    assert [line.act for line in about] == ["optIn", "publish event"]
