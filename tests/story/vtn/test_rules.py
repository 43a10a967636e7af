"""Numbered rules of the standard that no other story of the VTN pins; each test names its own."""

import dataclasses
from datetime import timedelta

import pytest

import oadr
from oadr.event import Baseline, DistributeEvent, RequestEvent, Signal, SignalInterval
from oadr.opt import Availability, CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import QueryRegistration, RequestReregistration
from oadr.report import RegisterReport, UpdatedReport
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import DeviceClass, EventStatus, OptType, ServiceName, SignalType
from tests.story.vtn.utility import metadata, point, simple, usage, values
from vtn.errors import InvalidEvent

EVENT, OPT, POLL, REGISTER, REPORT = (
    ServiceName.EVENT,
    ServiceName.OPT,
    ServiceName.POLL,
    ServiceName.REGISTER_PARTY,
    ServiceName.REPORT,
)
FIVE = timedelta(minutes=5)


def price(value=3.14, **changes):
    given = {
        "signal_name": "ELECTRICITY_PRICE",
        "signal_type": SignalType.PRICE,
        "signal_id": "",
        "unit": oadr.units.Unit(
            kind="oadr:currencyPerKWh", symbol="USD", description="currencyPerKWh"
        ),
        "intervals": (SignalInterval(duration=FIVE, value=value),),
    }
    return Signal(**{**given, **changes})


async def listed(ven):
    message = RequestEvent(request_id="e", ven_id=ven.ven_id)
    return (await ven.say(EVENT, message, DistributeEvent)).events


# --- every message -------------------------------------------------------------------------------


async def test_every_answer_names_its_schema_version_and_no_schema_location(house):
    """Rules 45 and 509."""
    ven = await house.registered()
    await house.publish()
    spoken = [
        (REGISTER, QueryRegistration(request_id="q")),
        (EVENT, RequestEvent(request_id="e", ven_id="0042")),
        (POLL, Poll(ven_id="0042")),
        (POLL, Poll(ven_id="other")),
    ]
    for service, message in spoken:
        body = (await ven.post(service, oadr.build(message))).body
        assert b'schemaVersion="2.0b"' in body
        assert b"schemaLocation" not in body


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (EVENT, DistributeEvent(request_id="d", vtn_id="VTN-1")),
        (REGISTER, RequestReregistration(ven_id="0042")),
        (POLL, RequestEvent(request_id="e", ven_id="0042")),
        (REPORT, UpdatedReport(response=EiResponse())),
    ],
)
async def test_what_only_a_vtn_may_say_is_no_service_of_ours(house, service, message):
    """Rules 23, 51 and 401."""
    ven = await house.registered()
    before = await house.desk.audit()

    assert (await ven.post(service, oadr.build(message))).status == 404
    assert await house.desk.audit() == before


async def test_an_empty_optional_element_counts_as_none(house):
    """Rule 46."""
    ven = await house.registered()
    body = oadr.build(RegisterReport(request_id="m", reports=(usage(),), ven_id="0042"))
    reply = oadr.parse((await ven.post(REPORT, body.replace(b">0042<", b"><"))).body)

    assert reply.response.ok


async def test_a_new_event_reaches_a_ven_at_its_next_poll_with_all_the_others(house):
    """Rules 50 and 502."""
    ven = await house.registered()
    first = await house.publish()
    await ven.answer((await ven.poll(DistributeEvent)).events[0])
    assert isinstance(await ven.poll(), Response)  # nothing new: no events

    later = house.clock.now() + timedelta(hours=1)
    second = await house.publish(starts_at=later)

    ids = [one.event_id for one in (await ven.poll(DistributeEvent)).events]
    assert ids == [first.event.event_id, second.event.event_id]


# --- events --------------------------------------------------------------------------------------


async def test_an_open_ended_event_is_listed_until_it_is_cancelled(house, clock):
    """Rule 47."""
    ven = await house.registered()
    forever = dataclasses.replace(
        simple(1)[0], intervals=(SignalInterval(duration=timedelta(0), value=1.0),)
    )
    record = await house.publish(duration=timedelta(0), signals=(forever,))
    clock.advance(30 * 86_400)
    (event,) = await listed(ven)
    assert (event.status, event.duration) == (EventStatus.ACTIVE, timedelta(0))
    assert event.signals[0].current_value == 1.0

    await house.desk.cancel_event(record.event.event_id, by="anna")
    assert [one.status for one in await listed(ven)] == [EventStatus.CANCELLED]


async def test_simple_stands_beside_other_signals_and_only_it_has_a_value_when_inactive(house):
    """Rules 14, 106, 107 and 110."""
    ven = await house.registered()
    await house.publish(signals=(*simple(2), price()))
    (event,) = await listed(ven)

    assert [(one.signal_name, one.current_value) for one in event.signals] == [
        ("SIMPLE", 0.0),
        ("ELECTRICITY_PRICE", None),
    ]
    assert len({one.signal_id for one in event.signals}) == 2


async def test_a_baseline_goes_out_with_its_intervals_and_resources(house, clock):
    """Rules 100, 101, 102, 103 and 108; test E1_1027."""
    ven = await house.registered()
    baseline = Baseline(
        baseline_id="b",
        baseline_name="yesterday",
        starts_at=clock.now() - timedelta(days=1),
        duration=2 * FIVE,
        intervals=(
            SignalInterval(duration=FIVE, value=3.05),
            SignalInterval(duration=FIVE, value=3.08),
        ),
        resource_ids=("r1", "r2"),
    )
    await house.publish(signals=(price(),), baseline=baseline)
    (event,) = await listed(ven)

    assert event.baseline is not None
    assert [one.uid for one in event.baseline.intervals] == ["0", "1"]
    assert [one.starts_at for one in event.baseline.intervals] == [None, None]
    assert event.baseline.resource_ids == ("r1", "r2")


async def test_a_signal_may_aim_at_device_classes_and_at_nothing_else(house):
    """Rule 111: the 22 of the standard and own ones."""
    ven = await house.registered()
    classes = (*DeviceClass, "x-heat-pump")
    assert len(DeviceClass) == 22
    await house.publish(signals=(price(target=Target(end_device_assets=classes)),))
    (event,) = await listed(ven)
    assert event.signals[0].target == Target(end_device_assets=classes)

    for target in (
        Target(end_device_assets=("Toaster",)),
        Target(end_device_assets=("Sauna",), resource_ids=("r1",)),
        Target(ven_ids=("0042",)),
    ):
        with pytest.raises(InvalidEvent, match="rule 111"):
            await house.publish(signals=(price(target=target),))


async def test_an_event_names_one_ven_however_many_it_is_for(house):
    """Rules 63 and 70."""
    vens = [await house.registered("a"), await house.registered("b")]
    record = await house.publish(target=Target(ven_ids=("a", "b"), resource_ids=()))

    for ven in vens:
        (event,) = await listed(ven)
        assert event.target.ven_ids == (ven.ven_id,)
        assert event.event_id == record.event.event_id


# --- opts ----------------------------------------------------------------------------------------


def schedule(house, opt_id="o", **changes):
    given = {
        "opt_id": opt_id,
        "opt_type": OptType.OPT_OUT,
        "opt_reason": "x-schedule",
        "ven_id": "0042",
        "schedule": (Availability(starts_at=house.clock.now(), duration=timedelta(hours=2)),),
        "created_at": house.clock.now(),
        "request_id": "opt",
    }
    return CreateOpt(**{**given, **changes})


async def live(house):
    return sorted((one.opt.opt_id, one.scope) for one in await house.desk.opts("0042"))


async def test_a_schedule_replaces_that_of_its_own_market_context_only(house):
    """Rules 203, 205 and 512: contexts are compared in their normal form."""
    ven = await house.registered()
    for opt_id, context in (
        ("all", None),
        ("peak", "http://utility.example/peak"),
        ("peak-2", "HTTP://Utility.example/peak/"),
    ):
        reply = await ven.say(OPT, schedule(house, opt_id, market_context=context), CreatedOpt)
        assert (reply.response.request_id, reply.opt_id) == ("opt", opt_id)  # rule 207

    assert await live(house) == [("all", ""), ("peak-2", "")]


async def test_a_schedule_for_resources_is_kept_for_each_of_them(house):
    """Rules 202 and 203."""
    ven = await house.registered()
    both = Target(resource_ids=("r1", "r2"))
    await ven.say(OPT, schedule(house, "both", target=both), CreatedOpt)
    await ven.say(OPT, schedule(house, "one", target=Target(resource_ids=("r2",))), CreatedOpt)

    assert await live(house) == [("both", "r1"), ("one", "r2")]


async def test_an_open_ended_schedule_is_kept_as_such(house):
    """Rule 210."""
    ven = await house.registered()
    stretch = Availability(starts_at=house.clock.now(), duration=timedelta(0))
    await ven.say(OPT, schedule(house, schedule=(stretch,)), CreatedOpt)

    (kept,) = await house.desk.opts("0042")
    assert kept.opt.schedule == (stretch,)


async def test_a_schedule_that_was_superseded_can_be_cancelled_without_error(house):
    """Rule 211."""
    ven = await house.registered()
    await ven.say(OPT, schedule(house, "old"), CreatedOpt)
    await ven.say(OPT, schedule(house, "new"), CreatedOpt)
    message = CancelOpt(request_id="c", opt_id="old", ven_id="0042")

    reply = await ven.say(OPT, message, CanceledOpt)

    assert (reply.response.response_code, reply.response.request_id) == ("200", "c")
    assert await live(house) == [("new", "")]


@pytest.mark.parametrize(
    ("device_class", "code"),
    [
        (Target(end_device_assets=("Thermostat", "x-own")), "200"),
        (Target(end_device_assets=("Toaster",)), "459"),
        (Target(end_device_assets=("Thermostat",), resource_ids=("r1",)), "459"),
    ],
)
async def test_a_device_class_is_one_of_the_standard(house, device_class, code):
    """Rule 209."""
    ven = await house.registered()
    reply = await ven.say(OPT, schedule(house, device_class=device_class), CreatedOpt)

    assert reply.response.response_code == code
    assert len(await house.desk.opts("0042")) == (code == "200")


# --- reports -------------------------------------------------------------------------------------


def bare(report):
    points = tuple(
        dataclasses.replace(one, data_source=None, subject=None, market_context=None)
        for one in report.descriptions
    )
    return dataclasses.replace(report, descriptions=points)


async def test_metadata_without_source_subject_and_context_is_for_all(house):
    """Rules 302, 307 and 343; and an rID is any string (330)."""
    ven = await house.registered()
    report = metadata("METADATA_TELEMETRY_USAGE", "usage", point("Hauptzähler 1"))

    assert (await ven.offer(bare(report))).response.ok
    (offer,) = (await house.desk.reports("0042")).offers
    assert offer.report.descriptions[0].r_id == "Hauptzähler 1"


@pytest.mark.parametrize(
    "reports",
    [
        (usage(), usage()),
        (metadata("METADATA_TELEMETRY_USAGE", "usage", point("P"), point("P")),),
        (
            dataclasses.replace(
                values("0", usage().created_at, (1.0,)), report_name="METADATA_TELEMETRY_USAGE"
            ),
        ),
    ],
)
async def test_metadata_that_contradicts_itself_is_refused_and_the_former_stays(house, reports):
    """Rules 305 and 308."""
    ven = await house.registered()
    await ven.offer(metadata("METADATA_TELEMETRY_USAGE", "kept", point("P")))

    assert (await ven.offer(*reports)).response.response_code == "459"
    offers = (await house.desk.reports("0042")).offers
    assert [one.report.report_specifier_id for one in offers] == ["kept"]


async def test_the_report_id_of_the_sender_is_ignored(house, clock):
    """Rule 339: two reports under one eiReportID are two reports."""
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    for minute in range(2):
        at = clock.now() + timedelta(minutes=minute)
        report = dataclasses.replace(values(asked, at, (1.0,)), report_id="always-the-same")
        reply = await ven.update(report)
        assert (reply.response.response_code, reply.response.request_id) == ("200", "u")  # 303

    series = await house.desk.measurements("0042", "P", clock.now(), clock.now() + FIVE)
    assert len(series) == 2
