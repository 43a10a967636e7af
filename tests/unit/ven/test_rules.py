"""The numbered rules about a VEN that the other files do not name.

Of those about both sides these are the VTN's alone, because this VEN asks for no reports and makes
no events: 100 to 108, 110, 111, 321, 322, 338. Rule 201 leaves to the programme what [opt] decides.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

import oadr
from light_node.local import Limit
from oadr import units
from oadr.event import CreatedEvent, RequestEvent
from oadr.opt import Availability, CreateOpt
from oadr.poll import Poll
from oadr.registration import CreatePartyRegistration, QueryRegistration
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisterReport,
    UpdatedReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.vocabulary import EventStatus, OptType, SignalType
from tests.unit.ven.makers import (
    START,
    distribute,
    event,
    known,
    price,
    settings,
    signal,
    simple,
    site,
)
from tests.unit.ven.requests import report_request, status_request, usage_request
from ven import offers, plan
from ven.credentials import push_context, tls_context
from ven.errors import UnknownOpt
from ven.setpoints import check_signals

HOUR = timedelta(hours=1)


@pytest.fixture
async def spoken(make_ven):
    """Every kind of message this VEN sends, each as it went out."""
    ven = make_ven(registered=False, site={"resource_id": "roof", "rated_w": 1000})
    ven.vtn.events = (event(),)
    ven.vtn.requests = (usage_request(),)
    await ven.registrar.ensure()
    await ven.poller.introduce()
    await ven.poller.poll()
    for request in (usage_request("u2", back_s=0), status_request("s2", back_s=0)):
        await ven.force(request).round()
    history = report_request("h", "history", ("history-power",), granularity_s=0, back_s=0)
    await ven.force(history).round()
    ven.schedules.put(
        OptType.OPT_OUT,
        [Availability(starts_at=START, duration=HOUR)],
        device_classes=["Thermostat"],
        opt_id="night",
    )
    ven.schedules.cancel("night")
    ven.desk.opt("e", OptType.OPT_OUT, resource_ids=["roof"])
    cancel = CancelReport(request_id="c", report_request_ids=("u",))
    ven.vtn.queue.append(cancel)
    await ven.poller.poll()
    await ven.registrar.cancel()
    found = [message for _, message in ven.vtn.received]
    assert len({type(message) for message in found}) == 12
    return found


def of(kind, messages):
    return [message for message in messages if isinstance(message, kind)]


async def test_every_message_has_a_schema_version_and_no_schema_location(spoken):  # rules 45, 509
    for message in spoken:
        body = oadr.build(message)
        assert b"schemaLocation" not in body
        assert b'schemaVersion="2.0b"' in body
        oadr.checked(body)


async def test_every_message_names_the_ven_but_those_before_it_has_a_name(spoken):  # rule 508
    for message in spoken:
        if not isinstance(message, QueryRegistration | CreatePartyRegistration):
            assert message.ven_id == "ven", message


async def test_instants_end_in_z_and_durations_have_no_decimals(spoken):  # rule 1
    for message in spoken:
        body = oadr.build(message).decode()
        assert "+00:00" not in body
        for part in body.split("<xcal:duration>")[1:]:
            assert "." not in part.partition("<")[0]
        for part in body.split("<xcal:date-time>")[1:]:
            assert part.partition("<")[0].endswith("Z")


async def test_event_responses_are_there_unless_the_whole_was_refused(spoken, ven):  # rule 35
    for message in of(CreatedEvent, spoken):
        assert message.response.ok == bool(message.event_responses)
    ven.desk.take(distribute(event(), vtn_id="VTN"))
    (refusal,) = (answer.message for answer in ven.state.answers())
    assert (refusal.response.ok, refusal.event_responses) == (False, ())


async def test_it_polls_unless_it_is_pushed_to(spoken):  # rules 37, 402, 501
    (registration,) = of(CreatePartyRegistration, spoken)
    assert registration.http_pull_model is True
    assert registration.transport_address is None
    assert of(Poll, spoken)


async def test_a_schedule_has_no_tolerance_ramp_or_notification(spoken):  # rules 200, 202, 209
    schedule, qualified = of(CreateOpt, spoken)
    body = oadr.build(schedule)
    for name in (b"tolerance", b"x-eiRampUp", b"x-eiRecovery", b"x-eiNotification"):
        assert name not in body
    assert schedule.target.ven_ids == ("ven",)
    fields = schedule.device_class.__slots__
    assert [n for n in fields if getattr(schedule.device_class, n)] == ["end_device_assets"]
    assert (qualified.schedule, qualified.market_context) == ((), None)  # rule 206


async def test_metadata_says_where_points_are_and_no_more(spoken):  # rules 302, 305, 307, 311, 339
    metadata = of(RegisterReport, spoken)[0]
    assert metadata.report_request_id is None
    for report in metadata.reports:
        assert (report.report_request_id, report.starts_at) == ("0", None)
        assert (report.intervals, report.report_id) == (None, None)
        for each in report.descriptions:
            assert each.subject is None
            assert each.data_source.resource_ids == ("roof",)
            assert isinstance(each.r_id, str)  # rule 330


async def test_reports_of_values_cover_their_intervals(spoken):  # rules 313 to 316, 341, 342
    for message in of(UpdateReport, spoken):
        for report in message.reports:
            starts = report.intervals.starts_at
            lengths = report.intervals.durations
            assert report.starts_at == starts[0] == min(starts)
            assert list(starts) == sorted(starts)
            assert len(lengths) in (0, len(starts))
            last = lengths[-1] if lengths else timedelta(0)
            assert report.duration == starts[-1] + last - starts[0]
            assert (report.descriptions, report.report_id) == ((), None)
            assert report.report_name
            for column in report.intervals.columns:
                assert column.accuracy == ()  # rule 319: nothing in other units


@pytest.mark.parametrize(
    ("text", "is_test"), [("false", False), (None, False), ("true", True), ("rehearsal", True)]
)
def test_any_test_event_text_but_false_moves_nothing(text, is_test):  # rule 6
    steps = plan.steps([known(event(test_event=text))], site())
    assert {step.test for step in steps} == {is_test}
    assert all(isinstance(step.target, plan.Keep) for step in steps) is is_test


def test_of_two_adjacent_events_the_second_has_the_instant_between(ven):  # rule 18
    second = event("f", starts_at=START + HOUR, signals=(signal(-7.0, lengths_s=[3600]),))
    planned = plan.steps([known(), known(second)], site())
    assert plan.step_at(planned, START + HOUR).event_id == "f"
    assert plan.step_at(planned, START + HOUR - timedelta(seconds=1)).event_id == "e"


def test_each_interval_is_held_with_its_own_value_for_its_own_time():  # rule 32
    setpoints = signal(60.0, 40.0, kind=SignalType.SETPOINT, lengths_s=[600, 3000])
    steps = plan.steps([known(event(signals=(setpoints,)))], site())
    assert [(step.target, step.ends_at - step.starts_at) for step in steps] == [
        (Limit(max_watts=60_000), timedelta(minutes=10)),
        (Limit(max_watts=40_000), timedelta(minutes=50)),
    ]


async def test_equal_request_ids_are_no_reason_to_ignore_anything(ven):  # rule 43
    ven.desk.take(distribute(event(), request_id="same"))
    ven.desk.take(distribute(event(), event("f"), request_id="same"))
    assert sorted(ven.state.events()) == ["e", "f"]
    for name in ("a", "b"):
        ven.reporting.take_requests(
            CreateReport(request_id="same", requests=(usage_request(name),))
        )
    assert sorted(ven.state.requests()) == ["a", "b"]


def test_an_empty_optional_element_is_as_good_as_none(ven):  # rules 22 and 46
    body = oadr.build(distribute(event(vtn_comment="x")))
    empty = body.replace(b"<ei:vtnComment>x</ei:vtnComment>", b"<ei:vtnComment/>")
    assert empty != body
    ven.desk.take(oadr.parse(empty))
    assert ven.state.events()["e"].holds


def test_an_event_without_a_duration_runs_until_it_is_cancelled(ven):  # rule 47
    endless = event(starts_at=ven.clock.now(), length_s=0)
    ven.desk.take(distribute(endless))
    ven.clock.advance(30 * 86_400)
    ven.desk.forget_over()
    assert plan.step_at(ven.desk.steps(), ven.clock.now()).event_id == "e"
    ven.desk.take(distribute(replace(endless, status=EventStatus.CANCELLED, modification_number=1)))
    ven.clock.advance(1)
    assert plan.step_at(ven.desk.steps(), ven.clock.now()) is None


def test_the_status_is_by_the_vens_own_clock(ven):  # rule 114
    ven.desk.take(distribute(event(status=EventStatus.FAR, ramp_up=timedelta(minutes=10))))
    instants = (START - HOUR, START - timedelta(minutes=5), START, START + HOUR)
    seen = [ven.state.events()["e"].status(at).value for at in instants]
    assert seen == ["far", "near", "active", "completed"]


async def test_an_opt_of_one_event_is_not_cancelled(ven):  # rule 211
    ven.desk.take(distribute(event()))
    ven.desk.opt("e", OptType.OPT_OUT, resource_ids=["building-1"])
    (opt,) = (a.message for a in ven.state.answers() if isinstance(a.message, CreateOpt))
    with pytest.raises(UnknownOpt):
        ven.schedules.cancel(opt.opt_id)


async def test_a_cancel_that_rides_on_an_acknowledgement_is_obeyed(ven):  # rules 328, 335, R1_3060
    ven.vtn.script[UpdateReport] = lambda message: UpdatedReport(
        response=EiResponse(request_id=message.request_id),
        cancel=CancelReport(request_id="c", report_request_ids=("u",)),
    )
    request = usage_request()
    await ven.serve(ven.force(request), seconds=4000, request=request)
    ven.clock.advance(600)
    assert len(ven.vtn.of(UpdateReport)) == 1
    await ven.outbox.drain()
    (answer,) = ven.vtn.of(CanceledReport)
    assert (answer.response.response_code, answer.response.request_id) == ("200", "c")


@pytest.mark.parametrize("names", [("no",), ("u", "no")])
def test_a_cancel_of_what_nobody_asked_for_is_452(ven, names):  # rule 336
    ven.force(usage_request())
    answer = ven.reporting.take_cancel(CancelReport(request_id="c", report_request_ids=names))
    assert answer.response.response_code == "452"
    assert answer.response.request_id == "c"  # rule 303
    assert answer.pending_report_request_ids == (() if "u" in names else ("u",))


def test_a_point_is_asked_for_by_its_text(ven):  # rule 330
    answer = ven.reporting.take_requests(
        CreateReport(request_id="q", requests=(usage_request(rids=("001",)),))
    )
    assert isinstance(answer, CreatedReport)
    assert answer.response.response_code == "452"


async def test_the_vtns_own_report_id_is_ignored(ven):  # rule 339
    offered = replace(offers.metadata(ven.settings.reports, "x", START)[0], report_id="77")
    message = RegisterReport(request_id="m", reports=(offered,), ven_id="ven")
    assert ven.reception.take(message).response.ok


@pytest.mark.parametrize(
    "understood",
    [
        simple(1),
        price(0.31),
        signal(40.0, kind=SignalType.SETPOINT, unit=units.power()),
    ],
)
def test_the_signals_every_ven_must_know_are_known(understood):  # rules 104, 116, 510
    check_signals(event(signals=(understood,)), site())


def test_the_reports_every_ven_must_have_are_offered():  # rules 343, 510
    reports = settings().reports
    found = {each.report_name: each for each in offers.metadata(reports, "roof", START)}
    for name in ("METADATA_TELEMETRY_STATUS", "METADATA_TELEMETRY_USAGE", "METADATA_HISTORY_USAGE"):
        assert found[name].descriptions[0].data_source.resource_ids == ("roof",)
    rate = found["METADATA_TELEMETRY_USAGE"].descriptions[0].sampling_rate
    assert found["METADATA_TELEMETRY_USAGE"].duration / rate.min_period >= 100


@pytest.mark.parametrize("rsa", [False, True])
def test_the_ven_may_have_an_ecc_or_an_rsa_certificate(authority, rsa):  # rules 67 and 68
    issued = authority.ven(f"rules-{'rsa' if rsa else 'ecc'}", rsa=rsa)
    here = settings(
        ven={"cert": str(issued.certificate), "key": str(issued.key)},
        vtn={"ca": str(authority.vtn_trust)},
    )
    for context in (tls_context(here), push_context(here)):
        suites = {cipher["name"] for cipher in context.get_ciphers()}
        assert {"ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"} <= suites


async def test_the_events_are_asked_for_without_a_limit(spoken):  # rule 27 is the VTN's to honour
    assert of(RequestEvent, spoken)[0].reply_limit is None
