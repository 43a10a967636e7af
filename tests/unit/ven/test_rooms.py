"""Registration, polling, outbox and event desk together, against a VTN in memory."""

import asyncio
import contextlib
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from light_node.local import OverrideState
from oadr.event import CreatedEvent, RequestEvent
from oadr.opt import CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
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
    UpdatedReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.vocabulary import OptType, ProfileName
from tests.unit.ven.makers import START, distribute, event, known
from tests.unit.ven.requests import usage_request
from ven.errors import (
    Declined,
    NotRegistered,
    RegistrationEnded,
    Stumbled,
    TurnedAway,
    UnknownEvent,
    Unusable,
)
from ven.reporting import ReportsUnknown


def refused(code):
    return Response(response=EiResponse(response_code=code, description="no"))


# --- registration ----------------------------------------


async def test_a_ven_registers_by_itself_and_keeps_its_ids(make_ven):
    ven = make_ven(registered=False)
    registration = await ven.registrar.ensure()

    assert (
        registration.registration_id,
        registration.ven_id,
        registration.vtn_id,
        registration.poll_interval_s,
        registration.metadata_sent,
    ) == ("reg-1", "ven", "vtn", 10.0, False)
    assert [QueryRegistration, CreatePartyRegistration] == [type(m) for _, m in ven.vtn.received]
    (asked,) = ven.vtn.of(CreatePartyRegistration)
    assert (  # rule 402
        asked.registration_id,
        asked.ven_id,
        asked.transport_address,
        asked.http_pull_model,
    ) == (None, None, None, True)
    assert registration == await ven.registrar.ensure()
    assert len(ven.vtn.received) == 2


async def test_a_ven_the_operator_has_not_added_yet_asks_again(make_ven):
    ven = make_ven(registered=False)
    refusals = iter([refused("463"), refused("463")])
    ven.vtn.script[CreatePartyRegistration] = lambda _: next(refusals, None)
    pauses = []

    async def wait(seen, *, at_most_s=None):
        pauses.append(at_most_s)
        assert "fingerprint AA:BB" in ven.registrar.trouble
        ven.clock.advance(at_most_s)

    ven.registrar._wish.wait = wait
    await ven.registrar.ensure()

    assert pauses == [75.0, 75.0]
    assert ven.registrar.trouble == ""


async def test_a_vtn_that_speaks_only_2_0a_is_not_registered_with(make_ven):
    ven = make_ven(registered=False)
    ven.vtn.script[QueryRegistration] = lambda _: ven.vtn.created(
        EiResponse(), known=False, profiles=(ProfileName.A,)
    )
    ven.registrar._wish.wait = _stop
    with contextlib.suppress(asyncio.CancelledError):
        await ven.registrar.ensure()

    assert "does not offer OpenADR 2.0b" in ven.registrar.trouble
    assert ven.vtn.of(CreatePartyRegistration) == []


async def _stop(seen, *, at_most_s=None):
    raise asyncio.CancelledError


async def test_a_withdrawn_ven_stays_out_until_it_is_wished_back(make_ven):
    ven = make_ven(registered=False)
    ven.state.withdraw(withdrawn=True)
    waiting = asyncio.create_task(ven.registrar.ensure())
    for _ in range(5):
        await asyncio.sleep(0)
    assert ven.vtn.received == []
    ven.registrar.wish()

    assert (await waiting).ven_id == "ven"


async def test_registering_again_sends_both_ids_and_keeps_the_reports(ven):  # test N1_0065
    await ven.registrar.again()

    (asked,) = ven.vtn.of(CreatePartyRegistration)
    assert (asked.registration_id, asked.ven_id) == ("reg-1", "ven")
    assert ven.state.registration().metadata_sent


async def test_ids_the_vtn_does_not_know_any_more_are_given_up(ven):
    ven.vtn.script[CreatePartyRegistration] = lambda _: refused("452")
    with pytest.raises(NotRegistered):
        await ven.registrar.again()


async def test_a_cancel_by_the_vtn_erases_everything(ven):  # rule 407, test N1_0040
    ven.state.put_event(known())
    ven.vtn.queue.append(CancelPartyRegistration(request_id="c", registration_id="reg-1"))
    with pytest.raises(RegistrationEnded):
        await ven.poller.poll()

    (answer,) = ven.vtn.of(CanceledPartyRegistration)
    assert (
        answer.response.response_code,
        answer.response.request_id,
        answer.registration_id,
    ) == ("200", "c", "reg-1")
    assert (ven.state.registration(), ven.state.events()) == (None, {})


async def test_a_cancel_of_another_registration_is_452(ven):  # rule 400, test N1_0070
    ven.vtn.queue.append(CancelPartyRegistration(request_id="c", registration_id="reg-9"))
    assert await ven.poller.poll()

    (answer,) = ven.vtn.of(CanceledPartyRegistration)
    assert answer.response.response_code == "452"
    assert ven.state.registration() is not None


async def test_a_person_takes_the_ven_out(ven):  # test N1_0030
    await ven.registrar.cancel()

    (asked,) = ven.vtn.of(CancelPartyRegistration)
    assert (asked.registration_id, asked.ven_id) == ("reg-1", "ven")
    assert ven.state.registration() is None
    assert ven.state.is_withdrawn


# --- introduction and polling ----------------------------------------


async def test_after_registering_metadata_goes_before_events(make_ven):  # rules 309 and 405
    ven = make_ven(registered=False)
    await ven.registrar.ensure()
    ven.vtn.received.clear()
    ven.vtn.events = (event(),)
    await ven.poller.introduce()
    await ven.outbox.drain()

    assert [RegisterReport, RequestEvent, CreatedEvent] == [type(m) for _, m in ven.vtn.received]
    assert ven.state.registration().metadata_sent


async def test_a_restart_asks_for_events_but_answers_none_twice(ven):
    ven.vtn.events = (event("old"), event("new"))
    ven.state.put_event(known(event("old"), answered=0))
    await ven.poller.introduce()
    await ven.outbox.drain()

    assert ven.vtn.of(RegisterReport) == []
    (answer,) = ven.vtn.of(CreatedEvent)
    assert [response.event_id for response in answer.event_responses] == ["new"]


async def test_reports_that_have_changed_since_are_offered_anew(make_ven):
    ven = make_ven(reports={"meter": [{"id": "pv"}]})
    was = ven.state.registration()
    ven.state.set_registration(replace(was, offered="of an older ven.toml"))
    await ven.poller.introduce()

    (offered,) = ven.vtn.of(RegisterReport)
    assert offered.reports[-1].report_specifier_id == "pv.usage"
    assert ven.state.registration() == was
    await ven.poller.introduce()
    assert len(ven.vtn.of(RegisterReport)) == 1


async def test_a_bare_response_means_no_events_and_cancels_none(ven):  # probe 3
    ven.state.put_event(known())
    ven.vtn.script[RequestEvent] = lambda _: Response(response=EiResponse())
    await ven.poller.introduce()

    assert ven.state.events()["e"].holds


async def test_polls_go_on_at_once_until_nothing_waits(ven):  # rule 500
    ven.vtn.queue = [distribute(event()), RegisterReport(request_id="r")]
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        raise asyncio.CancelledError

    ven.poller._sleep = sleep
    with contextlib.suppress(asyncio.CancelledError):
        await ven.poller.run()

    assert len(ven.vtn.of(Poll)) == 3
    assert slept == [10.0]  # the VTN's interval


async def test_a_vtn_that_never_has_enough_is_asked_at_the_usual_pace(ven):
    ven.vtn.script[Poll] = lambda _: RegisterReport(request_id="r")

    async def sleep(seconds):
        raise asyncio.CancelledError

    ven.poller._sleep = sleep
    with contextlib.suppress(asyncio.CancelledError):
        await ven.poller.run()

    assert len(ven.vtn.of(Poll)) == 100


async def test_the_sites_own_interval_goes_first(make_ven):
    ven = make_ven(polling={"interval_s": 0.25, "jitter": 0.0})

    assert ven.poller._pause_s() == 0.25


@pytest.mark.parametrize("code", ["452", "463"])
async def test_a_poll_that_is_unknown_to_the_vtn_ends_the_registration(ven, code):
    ven.vtn.script[Poll] = lambda _: refused(code)
    with pytest.raises(NotRegistered):
        await ven.poller.poll()


@pytest.mark.parametrize(
    "fault",
    [
        TurnedAway("HTTP 404", http_status=404),
        Unusable("?", response_code="459", message="oadrCreateReport", request_id=""),
    ],
)
async def test_a_poll_that_is_turned_away_is_tried_again_but_not_soon(ven, fault):
    def turn_away(_):
        raise fault

    ven.vtn.script[Poll] = turn_away
    pauses = []
    for _ in range(8):
        before = ven.clock.now()
        assert await ven.poller.poll()
        pauses.append((ven.clock.now() - before).total_seconds())

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 45.0, 45.0]


async def test_events_that_cannot_be_read_are_answered_as_a_whole(ven):  # rule 33
    def garbled(_):
        raise Unusable("NaN", response_code="459", message="oadrDistributeEvent", request_id="d-9")

    ven.vtn.script[Poll] = garbled
    before = ven.clock.now()
    assert await ven.poller.poll()

    assert ven.clock.now() - before >= timedelta(seconds=1)  # it may come again and again
    (answer,) = ven.vtn.of(CreatedEvent)
    assert (
        answer.response.response_code,
        answer.response.request_id,
        answer.event_responses,
    ) == ("459", "", ())  # rule 42


async def test_a_vtn_id_in_another_case_is_refused(ven):  # rule 512, test E1_1080
    ven.state.put_event(known())
    ven.vtn.queue.append(distribute(vtn_id="VTN"))
    await ven.poller.poll()

    (answer,) = ven.vtn.of(CreatedEvent)
    assert (answer.response.response_code, answer.response.request_id) == ("452", "")
    assert ven.state.events()["e"].holds


async def test_the_vtn_may_ask_for_a_new_registration(ven):  # test N1_0050
    ven.vtn.queue.append(RequestReregistration(ven_id="ven"))
    assert not await ven.poller.poll()  # the next one waits its time

    names = [type(m) for _, m in ven.vtn.received]
    assert [Poll, Response, CreatePartyRegistration] == names


async def test_a_message_nobody_expects_harms_nothing(ven):
    ven.vtn.queue.append(RequestEvent(request_id="r", ven_id="ven"))

    assert await ven.poller.poll()


# --- answers that must arrive ----------------------------------------


async def test_an_answer_outlives_a_vtn_that_is_away(ven):
    ven.vtn.queue.append(distribute(event()))
    away = ven.clock.now() + timedelta(seconds=1)
    ven.vtn.is_down = lambda: away > ven.clock.now() and not ven.vtn.queue
    await ven.poller.poll()

    assert len(ven.vtn.of(CreatedEvent)) == 1
    assert ven.state.events()["e"].answered == 0
    assert ven.state.answers() == ()


async def test_an_answer_that_is_refused_is_not_sent_for_ever(ven):
    ven.vtn.script[CreatedEvent] = lambda _: refused("452")
    ven.vtn.queue.append(distribute(event()))
    await ven.poller.poll()

    assert len(ven.vtn.of(CreatedEvent)) == 1
    assert ven.state.answers() == ()


@pytest.mark.parametrize(("stumbles", "arrives"), [(3, True), (99, False)])
async def test_a_vtn_that_fails_at_an_answer_gets_it_again_for_a_minute(ven, stumbles, arrives):
    failures = iter(range(stumbles))

    def stumble(_):
        if next(failures, None) is not None:
            raise Stumbled("HTTP 500", http_status=500)

    ven.vtn.script[CreatedEvent] = stumble
    ven.vtn.queue.append(distribute(event()))
    await ven.poller.poll()

    assert ven.state.answers() == ()
    assert arrives == (ven.state.events()["e"].answered == 0)
    assert ven.line.is_up  # nothing else has to wait for it


async def test_an_answer_to_a_vtn_that_knows_the_ven_no_more_ends_the_registration(ven):
    ven.vtn.script[CreatedEvent] = lambda _: refused("463")
    ven.vtn.queue.append(distribute(event()))
    with pytest.raises(NotRegistered):
        await ven.poller.poll()


# --- the event desk ----------------------------------------


def test_an_unregistered_ven_takes_no_events(make_ven):  # rule 405
    ven = make_ven(registered=False)
    ven.desk.take(distribute(event()))

    assert (ven.state.events(), ven.state.answers()) == ({}, ())


def test_a_list_that_came_with_an_error_cancels_nothing(ven):
    ven.state.put_event(known())
    failed = replace(distribute(), response=EiResponse(response_code="459"))
    ven.desk.take(failed)

    assert ven.state.events()["e"].holds


def test_a_person_opts_out_and_in_again(ven):
    ven.state.put_event(known(answered=0))
    assert OptType.OPT_OUT is ven.desk.opt("e", OptType.OPT_OUT, reason="Drill.").opt
    assert (ven.desk.steps(), ven.desk.plan()[0]) == ((), ())
    ven.desk.opt("e", OptType.OPT_IN)

    out, back = (answer.message.event_responses[0] for answer in ven.state.answers())
    assert (out.opt_type, out.description) == (OptType.OPT_OUT, "Drill.")
    assert OptType.OPT_IN is back.opt_type
    assert ven.desk.steps()


@pytest.mark.parametrize(
    ("event_id", "sentence"),
    [
        ("nothing", "There is no event 'nothing'"),
        ("over", "There is no event 'over'"),
        ("odd", "Event 'odd' cannot be acted on: Because."),
    ],
)
def test_there_is_nothing_to_decide_about_what_is_not_there(ven, event_id, sentence):
    ven.state.put_event(known(event("over", starts_at=ven.clock.now() - timedelta(hours=2))))
    ven.state.put_event(known(event("odd"), response_code="460"))
    with pytest.raises(UnknownEvent, match=sentence):
        ven.desk.opt(event_id, OptType.OPT_OUT)


def test_what_people_write_cannot_break_the_wire(ven):
    ven.clock.advance(3700)
    ven.state.put_event(known())
    ven.override = OverrideState(active=True, reason="lift\x00\nstuck \ud800" + "!" * 999)
    ven.desk.mind_override()

    (answer,) = ven.state.answers()
    description = answer.message.event_responses[0].description
    assert description.startswith("Overridden at the building: lift stuck !!!")
    assert len(description) < 250


def test_an_override_opts_out_of_what_runs_and_only_once(ven):
    ven.clock.advance(3700)
    ven.state.put_event(known(event(), answered=0))
    ven.state.put_event(known(event("later", starts_at=START + timedelta(hours=9)), answered=0))
    ven.override = OverrideState(active=True, reason="lift", source="ems")
    ven.desk.mind_override()
    ven.desk.mind_override()

    (answer,) = ven.state.answers()
    (response,) = answer.message.event_responses
    assert (response.event_id, response.opt_type) == ("e", OptType.OPT_OUT)
    assert [step.event_id for step in ven.desk.steps()] == ["later"]


def test_where_the_site_wants_it_the_change_of_mind_goes_by_create_opt(make_ven):  # rule 206
    ven = make_ven(opt={"by": "createOpt"})
    ven.state.put_event(known())
    ven.desk.opt("e", OptType.OPT_OUT)

    (answer,) = ven.state.answers()
    assert isinstance(answer.message, CreateOpt)
    assert (answer.message.event.event_id, answer.message.event.modification_number) == ("e", 0)
    assert answer.message.schedule == ()


def test_events_that_are_over_are_kept_until_they_are_reported(ven):
    ven.state.put_event(known())
    ven.clock.advance(3 * 3600)
    ven.desk.forget_over()
    assert list(ven.state.events()) == ["e"]
    ven.desk.close("e")
    ven.desk.forget_over()
    assert ven.state.events() == {}


def test_events_nobody_asks_the_curtailment_of_are_forgotten_in_a_day(ven):
    ven.state.put_event(known())
    ven.clock.advance(2 * 3600 + 24 * 3600)
    ven.desk.forget_over()

    assert ven.state.events() == {}


def test_an_event_opted_out_of_is_forgotten_when_it_is_over(ven):
    ven.state.put_event(known(opt=OptType.OPT_OUT))
    ven.clock.advance(7300)
    ven.desk.forget_over()

    assert ven.state.events() == {}


def test_the_desk_knows_when_something_changes_by_itself(ven):
    ven.state.put_event(known(event(ramp_up=timedelta(minutes=5))))
    seen = []
    while (at := ven.desk.next_change_at()) is not None:
        seen.append((at - START).total_seconds())
        ven.clock.advance((at - ven.clock.now()).total_seconds())

    assert seen == [-300.0, 0.0, 3600.0, 3660.0]


# --- reports ----------------------------------------


async def test_requests_that_ride_on_the_registration_are_answered(ven):  # test R1_3050
    ven.vtn.requests = (usage_request(),)
    await ven.reporting.register()
    await ven.outbox.drain()

    (answer,) = ven.vtn.of(CreatedReport)
    assert (answer.response.response_code, answer.pending_report_request_ids) == ("200", ("u",))
    assert list(ven.state.requests()) == ["u"]


async def test_metadata_cancels_the_requests_before_it(ven):  # rule 306, test R1_3170
    ven.vtn.queue.append(CreateReport(request_id="q", requests=(usage_request("old"),)))
    await ven.poller.poll()
    await ven.reporting.register()
    ven.vtn.queue.append(CancelReport(request_id="x", report_request_ids=("old",)))
    await ven.poller.poll()

    assert ven.state.requests() == {}
    assert ven.vtn.of(CanceledReport)[0].response.response_code == "452"


async def test_of_several_requests_all_or_none_are_taken(ven):
    bad = replace(usage_request("bad"), report_specifier_id="nonsense")
    ven.vtn.queue.append(CreateReport(request_id="q", requests=(usage_request(), bad)))
    await ven.poller.poll()

    (answer,) = ven.vtn.of(CreatedReport)
    assert (answer.response.response_code, answer.pending_report_request_ids) == ("452", ())
    assert ven.state.requests() == {}


@pytest.mark.parametrize("request_", [usage_request(), replace(usage_request(), interval=None)])
async def test_a_request_sent_again_goes_on_and_does_not_begin_anew(ven, request_):
    again = CreateReport(request_id="q", requests=(request_,))
    ven.vtn.queue = [again]
    await ven.poller.poll()
    ven.state.put_request(replace(ven.state.requests()["u"], sent=7))
    ven.clock.advance(10)
    ven.vtn.queue = [again]
    await ven.poller.poll()

    assert ven.state.requests()["u"].sent == 7


async def test_a_cancel_names_what_is_still_to_come(ven):  # rules 329 and 345, test R1_3040
    both = (usage_request("a"), usage_request("b"))
    ven.vtn.queue = [
        CreateReport(request_id="q", requests=both),
        CancelReport(request_id="x", report_request_ids=("a",)),
        CancelReport(request_id="y", report_request_ids=("b",), report_to_follow=True),
    ]
    for _ in range(3):
        await ven.poller.poll()
    first, second = ven.vtn.of(CanceledReport)

    assert (
        first.response.response_code,
        first.response.request_id,
        first.pending_report_request_ids,
    ) == ("200", "x", ("b",))
    assert second.response.response_code == "200"
    assert ven.state.requests()["b"].ending


async def test_the_vtns_metadata_is_answered(ven):  # rule 301, probe 1
    ven.vtn.queue.append(RegisterReport(request_id="r"))
    await ven.poller.poll()

    (answer,) = ven.vtn.of(RegisteredReport)
    assert (
        answer.response.response_code,
        answer.response.request_id,
        answer.requests,
    ) == ("200", "r", ())


async def test_a_request_the_vtn_has_forgotten_is_told_apart(ven):
    ven.vtn.script[UpdateReport] = lambda _: UpdatedReport(response=EiResponse(response_code="452"))
    request = usage_request(back_s=0)
    with pytest.raises(ReportsUnknown):
        await ven.force(request).round()
    ven.vtn.script[UpdateReport] = lambda _: UpdatedReport(response=EiResponse(response_code="459"))
    with pytest.raises(Declined) as fault:
        await ven.force(request).round()
    assert not isinstance(fault.value, ReportsUnknown)


async def test_each_request_in_force_has_its_reporter(ven):
    rounds = []

    class Reporter:
        def __init__(self, request):
            self.name = request.report_request_id

        async def round(self):
            rounds.append(self.name)
            await asyncio.sleep(0)

    running = asyncio.create_task(ven.reporting.run(Reporter))
    ven.reporting.take_requests(CreateReport(request_id="q", requests=(usage_request("a"),)))
    await _until(lambda: "a" in rounds)
    ven.reporting.take_requests(CreateReport(request_id="q", requests=(usage_request("b"),)))
    await _until(lambda: "b" in rounds)
    ven.reporting.take_cancel(CancelReport(request_id="x", report_request_ids=("a",)))
    await _turns(20)
    rounds.clear()
    await _turns(20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert {"b"} == set(rounds)


async def test_requests_the_vtn_forgets_again_and_again_are_not_registered_without_a_pause(ven):
    ven.vtn.requests = (usage_request(),)
    at = []
    ven.vtn.script[RegisterReport] = lambda _: at.append(ven.clock.now())

    class Reporter:
        def __init__(self, request):
            pass

        async def round(self):
            ven.clock.advance(1)
            await asyncio.sleep(0)
            raise ReportsUnknown("gone", response_code="452")

    running = asyncio.create_task(ven.reporting.run(Reporter))
    ven.reporting.take_requests(CreateReport(request_id="q", requests=(usage_request(),)))
    await _until(lambda: len(at) >= 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert all(after - before >= timedelta(seconds=60) for before, after in itertools.pairwise(at))


async def _turns(number):
    for _ in range(number):
        await asyncio.sleep(0)


async def _until(holds):
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("did not come true")
