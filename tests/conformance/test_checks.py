"""Each message check: silent on a good message, and loud on one that breaks its rule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import drafts
from conformance.checks import CHECKS, examine, examine_headers
from conformance.event_times import statuses, value_at
from conformance.knowledge import Look, normal
from conformance.rules import RULES
from oadr import EiResponse, build, parse
from oadr.event import CreatedEvent, DistributeEvent, EventResponse, RequestEvent
from oadr.opt import Availability, CanceledOpt, CancelOpt, CreatedOpt, CreateOpt, QualifiedEvent
from oadr.payload import tree
from oadr.poll import Poll
from oadr.registration import CreatedPartyRegistration, CreatePartyRegistration, Profile
from oadr.report import (
    CancelReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    SpecifierPayload,
    UpdatedReport,
    UpdateReport,
)
from oadr.target import Target
from oadr.units import energy
from oadr.vocabulary import EventStatus, OptType, ProfileName, SignalType, TransportName

XSI = "http://www.w3.org/2001/XMLSchema-instance"
NOW = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def the_event(**changes):
    event = drafts.event(
        [drafts.simple(1, 5 * MINUTE)],
        starts_at=NOW + 10 * MINUTE,
        market_context="http://market.example/one",
        ven_id="0042",
    )
    return replace(event, created_at=NOW, **changes)


def the_payload(*events, **changes):
    return DistributeEvent(
        response=EiResponse(),
        request_id="r1",
        vtn_id="VTN",
        events=events or (the_event(),),
        **changes,
    )


OFFER = drafts.metadata(["roof"])
OFFERED = {report.report_specifier_id: report for report in OFFER}
ASKED = replace(
    drafts.report_request(
        "usage", ["usage-power"], granularity=MINUTE, back=MINUTE, starts_at=NOW, length=5 * MINUTE
    ),
    report_request_id="rr",
)
VTN_LOOK = Look(
    now=NOW,
    from_vtn=True,
    vtn_id="VTN",
    ven_id="0042",
    market_contexts={"http://market.example/one"},
    offered=OFFERED,
    requested={"rr": ASKED},
)
VEN_LOOK = replace(VTN_LOOK, from_vtn=False, distribute_request_ids=("r1",))


def rules_broken(message, look, *, edit=None):
    body = build(message)
    if edit is not None:
        old, new = edit
        assert old.encode() in body, f"{old} is not in {body}"
        body = body.replace(old.encode(), new.encode())
    return {finding.rule for finding in examine(parse(body), look, tree(body))}


def report_at(now=NOW, **changes):
    report = drafts.values(ASKED, "TELEMETRY_USAGE", rows=3, step=MINUTE)
    starts = tuple(now + number * MINUTE for number in range(3))
    intervals = replace(report.intervals, starts_at=starts)
    return replace(report, starts_at=now, created_at=now, intervals=intervals, **changes)


def update(*reports):
    return UpdateReport(request_id="u", ven_id="0042", reports=reports or (report_at(),))


def offer(*reports):
    dated = tuple(replace(one, created_at=NOW) for one in reports or OFFER)
    return RegisterReport(request_id="m", ven_id="0042", reports=dated)


def asking(request, **changes):
    return CreateReport(request_id="c", ven_id="0042", requests=(replace(request, **changes),))


def schedule(**changes):
    made = CreateOpt(
        opt_id="o1",
        opt_type=OptType.OPT_OUT,
        opt_reason="economic",
        ven_id="0042",
        schedule=(Availability(starts_at=NOW + MINUTE, duration=MINUTE),),
        created_at=NOW,
        request_id="o",
    )
    return replace(made, **changes)


def answer(**changes):
    one = EventResponse(
        request_id="r1", event_id="e", modification_number=0, opt_type=OptType.OPT_IN
    )
    made = CreatedEvent(response=EiResponse(), event_responses=(one,), ven_id="0042")
    return replace(made, **changes)


def registered(**changes):
    made = CreatedPartyRegistration(
        response=EiResponse(request_id="q"),
        registration_id="reg",
        ven_id="0042",
        vtn_id="VTN",
        profiles=(Profile(name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
        poll_interval=timedelta(seconds=10),
    )
    return replace(made, **changes)


REGISTERING = CreatePartyRegistration(request_id="q", http_pull_model=True)

GOOD = [
    (the_payload(), VTN_LOOK),
    (answer(), VEN_LOOK),
    (offer(), VEN_LOOK),
    (asking(ASKED), VTN_LOOK),
    (update(), VEN_LOOK),
    (schedule(), VEN_LOOK),
    (registered(), replace(VTN_LOOK, request=REGISTERING)),
    (REGISTERING, replace(VEN_LOOK, ven_id="")),
    (Poll(ven_id="0042"), VEN_LOOK),
]


@pytest.mark.parametrize(("message", "look"), GOOD, ids=lambda one: type(one).__name__)
def test_a_good_message_breaks_no_rule(message, look):
    assert rules_broken(message, look) == set()


def interval(event, **changes):
    signal = event.signals[0]
    step = replace(signal.intervals[0], **changes)
    return replace(event, signals=(replace(signal, intervals=(step,)),))


def signal(event, **changes):
    return replace(event, signals=(replace(event.signals[0], **changes),))


E0 = the_event()
ACTIVE = replace(E0, starts_at=NOW - MINUTE, status=EventStatus.ACTIVE)
PRICE = replace(E0, signals=(drafts.price([3.1], [5 * MINUTE]),))
BASED = replace(E0, baseline=drafts.baseline(NOW, [1, 2], [MINUTE, MINUTE], energy()))
KNOWN = replace(VTN_LOOK, events={E0.event_id: E0})

BAD_EVENTS = [
    (63, replace(E0, target=Target(ven_ids=("0042", "other")))),
    (22, replace(E0, target=Target(ven_ids=("other",)))),
    (512, replace(E0, market_context="http://market.example/foreign")),
    (105, replace(E0, notification=None)),
    (103, interval(E0, starts_at=NOW)),
    (102, interval(E0, duration=None)),
    (8, interval(E0, duration=MINUTE)),
    (2, interval(E0, uid="1")),
    (9, interval(E0, value=7)),
    (116, signal(E0, signal_type=SignalType.SETPOINT)),
    (104, signal(PRICE, unit=energy())),
    (104, signal(PRICE, signal_type=SignalType.DELTA)),
    (14, signal(E0, current_value=1.0)),
    (29, signal(ACTIVE, current_value=0.0)),
    (13, replace(E0, status=EventStatus.ACTIVE)),
    (13, replace(E0, status=EventStatus.NEAR)),
    (13, replace(ACTIVE, status=EventStatus.FAR)),
    (115, replace(E0, created_at=NOW + 10 * MINUTE)),
    (107, replace(E0, signals=E0.signals * 2)),
    (101, replace(BASED, baseline=replace(BASED.baseline, intervals=BASED.baseline.intervals[1:]))),
    (102, replace(BASED, baseline=replace(BASED.baseline, duration=MINUTE))),
    (111, signal(E0, target=Target(ven_ids=("0042",)))),
]


@pytest.mark.parametrize(("rule", "event"), BAD_EVENTS)
def test_a_bad_event_breaks_its_rule(rule, event):
    assert rule in rules_broken(the_payload(event), VTN_LOOK)


def later(event, minutes, **changes):
    other = replace(event, event_id=f"{event.event_id}-later", **changes)
    return replace(other, starts_at=event.starts_at + minutes * MINUTE)


BAD_PAYLOADS = [
    (41, the_payload(), VTN_LOOK, ("<pyld:requestID>r1<", "<pyld:requestID> <")),
    (40, replace(the_payload(), response=None),
     replace(VTN_LOOK, request=Poll(ven_id="0042")), None),
    (512, replace(the_payload(), vtn_id="vtn"), VTN_LOOK, None),
    (70, the_payload(E0, E0), VTN_LOOK, None),
    (115, the_payload(E0, later(E0, 10, created_at=NOW - SECOND)), VTN_LOOK, None),
    (15, the_payload(later(E0, 10), E0), VTN_LOOK, None),
    (15, the_payload(E0, later(ACTIVE, 0, market_context="http://x")), VTN_LOOK, None),
    (18, the_payload(E0, later(E0, 4)), VTN_LOOK, None),
    (50, the_payload(later(E0, 10)), KNOWN, None),
    (5, the_payload(replace(E0, priority=1)), KNOWN, None),
    (5, the_payload(replace(E0, modification_number=1)), KNOWN, None),
    (45, the_payload(), VTN_LOOK, (
        "<oadr:oadrSignedObject>",
        f'<oadr:oadrSignedObject xmlns:i="{XSI}" i:schemaLocation="a b">',
    )),
    (509, the_payload(), VTN_LOOK, (' ei:schemaVersion="2.0b"', "")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "message", "look", "edit"), BAD_PAYLOADS)
def test_a_bad_payload_breaks_its_rule(rule, message, look, edit):
    assert rule in rules_broken(message, look, edit=edit)


def test_events_one_after_the_other_do_not_overlap():
    assert 18 not in rules_broken(the_payload(E0, later(E0, 5)), VTN_LOOK)


def test_a_random_start_makes_an_event_longer_for_others():
    random = replace(E0, start_after=MINUTE)

    assert 18 in rules_broken(the_payload(random, later(E0, 5)), VTN_LOOK)


def test_events_of_different_resources_may_overlap():
    mine = replace(E0, target=Target(resource_ids=("roof",)))
    yours = later(E0, 1, target=Target(resource_ids=("cellar",)))

    assert 18 not in rules_broken(the_payload(mine, yours), VTN_LOOK)


def test_a_reply_limit_excuses_what_it_cuts_off():
    asked = RequestEvent(request_id="r", ven_id="0042", reply_limit=1)
    look = replace(KNOWN, request=asked)

    assert 50 not in rules_broken(the_payload(later(E0, 10)), look)
    assert 50 in rules_broken(the_payload(), replace(KNOWN, events={"gone": later(E0, 10)}))


BAD_OTHERS = [
    (508, Poll(ven_id=""), VEN_LOOK),
    (21, Poll(ven_id="other"), VEN_LOOK),
    (42, answer(response=EiResponse(request_id="r1")), VEN_LOOK),
    (42, answer(), replace(VEN_LOOK, distribute_request_ids=("r2",))),
    (35, answer(event_responses=()), VEN_LOOK),
    (21, answer(), replace(VEN_LOOK, events={E0.event_id: E0})),
    (403, registered(poll_interval=None), replace(VTN_LOOK, request=REGISTERING)),
    (403, registered(response=EiResponse()), replace(VTN_LOOK, request=REGISTERING)),
    (402, replace(REGISTERING, http_pull_model=None), replace(VEN_LOOK, ven_id="")),
    (402, replace(REGISTERING, transport_address="None"), VEN_LOOK),
    (402, replace(REGISTERING, http_pull_model=False), VEN_LOOK),
    (402, replace(REGISTERING, registration_id="reg"), VEN_LOOK),
    (308, offer(OFFER[0], OFFER[0]), VEN_LOOK),
    (305, offer(replace(OFFER[0], descriptions=())), VEN_LOOK),
    (305, offer(replace(OFFER[0], starts_at=NOW)), VEN_LOOK),
    (311, offer(replace(OFFER[0], report_request_id="1")), VEN_LOOK),
    (312, offer(replace(OFFER[0], duration=None)), VEN_LOOK),
    (312, offer(replace(OFFER[0], duration=MINUTE)), VEN_LOOK),
    (333, offer(replace(OFFER[0], descriptions=tuple(
        replace(one, sampling_rate=None) for one in OFFER[0].descriptions))), VEN_LOOK),
    (331, offer(replace(OFFER[0], report_name="TELEMETRY_USAGE")), VEN_LOOK),
    (331, offer(replace(OFFER[0], descriptions=tuple(
        replace(one, report_type="reading") for one in OFFER[0].descriptions))), VEN_LOOK),
    (307, offer(replace(OFFER[0], descriptions=tuple(
        replace(one, subject=Target(ven_ids=("0042",))) for one in OFFER[0].descriptions))),
     VEN_LOOK),
    (512, RegisterReport(request_id="m", ven_id="0042", reports=tuple(
        replace(one, created_at=NOW - 10 * MINUTE) for one in OFFER)), VEN_LOOK),
    (322, CreateReport(request_id="c", ven_id="0042", requests=(ASKED, ASKED)), VTN_LOOK),
    (338, asking(ASKED, payloads=(
        SpecifierPayload(r_id="usage-power", reading_type="Direct Read"),)), VTN_LOOK),
    (321, asking(ASKED, payloads=(
        SpecifierPayload(r_id="usage-power", unit=energy()),)), VTN_LOOK),
    (324, asking(ASKED, interval=None), VTN_LOOK),
    (304, asking(ASKED, report_specifier_id="none"), VTN_LOOK),
    (304, asking(ASKED, payloads=(SpecifierPayload(r_id="none"),)), VTN_LOOK),
    (308, asking(ASKED, report_specifier_id="METADATA"), VTN_LOOK),
    (317, asking(ASKED, granularity=2 * MINUTE), VTN_LOOK),
    (317, asking(ASKED, granularity=timedelta(hours=3), report_back=timedelta(hours=4)), VTN_LOOK),
    (313, update(report_at(report_name=None)), VEN_LOOK),
    (313, update(report_at(descriptions=OFFER[0].descriptions)), VEN_LOOK),
    (331, update(report_at(report_name="METADATA_TELEMETRY_USAGE")), VEN_LOOK),
    (304, update(report_at(report_request_id="none")), VEN_LOOK),
    (304, update(report_at(report_specifier_id="none")), VEN_LOOK),
    (304, update(), replace(VEN_LOOK, requested={"rr": replace(
        ASKED, payloads=(SpecifierPayload(r_id="usage-energy"),))})),
    (300, update(), replace(VEN_LOOK, requested={"rr": replace(ASKED, payloads=(
        *ASKED.payloads, SpecifierPayload(r_id="usage-energy")))})),
    (328, UpdatedReport(response=EiResponse(), cancel=CancelReport(
        request_id="c", report_request_ids=("none",))), VTN_LOOK),
    (303, RegisteredReport(response=EiResponse()), replace(VTN_LOOK, request=offer())),
    (204, schedule(opt_id=" "), VEN_LOOK),
    (206, schedule(schedule=()), VEN_LOOK),
    (206, schedule(event=QualifiedEvent(event_id="e", modification_number=0)), VEN_LOOK),
    (209, schedule(device_class=Target(ven_ids=("0042",))), VEN_LOOK),
    (207, CreatedOpt(response=EiResponse(), opt_id="o1"), replace(VTN_LOOK, request=schedule())),
    (204, CreatedOpt(response=EiResponse(request_id="o"), opt_id="o2"),
     replace(VTN_LOOK, request=schedule())),
    (207, CanceledOpt(response=EiResponse()),
     replace(VTN_LOOK, request=CancelOpt(request_id="o", opt_id="o1", ven_id="0042"))),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "message", "look"), BAD_OTHERS)
def test_another_bad_message_breaks_its_rule(rule, message, look):
    assert rule in rules_broken(message, look)


def columns(report, **changes):
    return replace(report, intervals=replace(report.intervals, **changes))


GOOD_REPORT = report_at()
BAD_INTERVALS = [
    (314, columns(GOOD_REPORT, starts_at=GOOD_REPORT.intervals.starts_at[::-1])),
    (314, replace(GOOD_REPORT, starts_at=NOW - MINUTE)),
    (315, replace(GOOD_REPORT, duration=MINUTE)),
    (315, columns(GOOD_REPORT, durations=(MINUTE, None, MINUTE))),
    (316, columns(GOOD_REPORT, starts_at=())),
]


@pytest.mark.parametrize(("rule", "report"), BAD_INTERVALS)
def test_bad_intervals_break_their_rule(rule, report):
    assert rule in rules_broken(update(report), VEN_LOOK)


def test_each_check_is_broken_by_some_message_here():
    broken = {rule for rule, *_ in (*BAD_EVENTS, *BAD_PAYLOADS, *BAD_OTHERS, *BAD_INTERVALS)}
    untried = {
        1,  # such an instant does not pass oadr.parse
        100,  # the schema and oadr.parse leave no other payload
        200,  # oadr does not build such a schedule
        334,
        342,
    }

    assert {check.rule for check in CHECKS} - broken - untried == set()


def test_every_check_names_a_rule_and_what_was_wanted():
    for check in CHECKS:
        assert check.rule in RULES
        assert check.wanted


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ({"Content-Length": "2", "Content-Type": "application/xml"}, "Host"),
        ({"Host": "x", "Content-Type": "application/xml"}, "Content-Length"),
        ({"Host": "x", "Content-Length": "2", "Content-Type": "text/xml"}, "Content-Type"),
        ({"Host": "x", "Transfer-Encoding": "chunked", "Content-Type": "application/xml"}, "chunk"),
    ],
)
def test_bad_headers_are_seen(headers, seen):
    findings = examine_headers(headers, request=True, body=b"<x/>")

    assert [finding for finding in findings if seen in finding.seen]


def test_good_headers_in_any_letters_are_fine():
    headers = {"HOST": "x", "content-length": "4", "content-type": "application/xml; charset=utf-8"}

    assert examine_headers(headers, request=True, body=b"<x/>") == []


@given(st.integers(-7200, 7200), st.integers(0, 3600), st.integers(0, 600), st.integers(0, 600))
def test_an_event_has_at_any_instant_a_status_and_only_while_active_a_value(
    at_s, length_s, ramp_s, random_s
):
    event = replace(
        E0,
        starts_at=NOW,
        duration=timedelta(seconds=length_s),
        ramp_up=timedelta(seconds=ramp_s),
        start_after=timedelta(seconds=random_s),
        signals=(drafts.simple(2, timedelta(seconds=length_s)),),
    )
    at = NOW + timedelta(seconds=at_s)
    found = statuses(event, at)

    assert found
    inside = at >= NOW and (not length_s or at < NOW + event.duration)
    assert (value_at(event, event.signals[0], at) is not None) == inside
    assert (found == {EventStatus.ACTIVE}) == inside


def test_market_contexts_are_compared_in_normal_form():
    assert normal("HTTP://Market.Example/One/") == "http://market.example/One"
    assert normal("http://market.example/one") != normal("http://market.example/One")
