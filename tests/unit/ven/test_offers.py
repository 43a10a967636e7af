from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oadr
from oadr.report import RegisterReport, ReportInterval, SpecifierPayload
from tests.unit.ven.makers import START, settings
from tests.unit.ven.requests import (
    curtailment_request,
    report_request,
    status_request,
    usage_request,
)
from ven import offers
from ven.errors import Declined

HERE = settings().reports


def test_the_metadata_is_openadr():  # rules 305, 308, 311, 312, 331, 333
    message = RegisterReport(
        request_id="r", reports=offers.metadata(HERE, "building-1", START), ven_id="v"
    )
    reports = oadr.parse(oadr.build(message)).reports

    assert [report.report_name for report in reports] == [
        "METADATA_TELEMETRY_USAGE",
        "METADATA_TELEMETRY_STATUS",
        "x-METADATA_CURTAILMENT",
        "METADATA_HISTORY_USAGE",
        "METADATA_HISTORY_USAGE",
    ]
    assert {"0"} == {report.report_request_id for report in reports}
    for report in reports:
        assert report.intervals is None
        for description in report.descriptions:
            assert description.data_source.resource_ids == ("building-1",)
            assert description.sampling_rate.max_period <= report.duration
    power, energy = reports[0].descriptions
    assert (
        power.report_type,
        power.reading_type,
        power.unit.symbol,
    ) == ("usage", "Direct Read", "W")
    assert (
        energy.report_type,
        energy.reading_type,
        energy.unit.symbol,
    ) == ("usage", "Direct Read", "Wh")
    (status,) = reports[1].descriptions
    assert (
        status.report_type,
        status.reading_type,
        status.unit,
    ) == ("x-resourceStatus", "x-notApplicable", None)
    assert [d.report_type for d in reports[2].descriptions] == [
        "baseline",
        "deviation",
        "x-effect",
    ]


TWO_MORE = settings(
    reports={"meter": [{"id": "pv", "resource_id": "roof"}, {"id": "chiller", "energy": False}]}
).reports


def test_each_sub_meter_has_a_report_of_its_own_that_nobody_adds_to_the_site_s():
    offered = offers.metadata(TWO_MORE, "building-1", START)
    message = RegisterReport(request_id="r", reports=offered, ven_id="v")
    *_, pv, chiller = oadr.parse(oadr.build(message)).reports

    assert (pv.report_specifier_id, pv.report_name) == ("pv.usage", "x-METADATA_SUBMETER_USAGE")
    assert [
        (one.r_id, one.unit.symbol, one.report_type, one.data_source.resource_ids)
        for one in (*pv.descriptions, *chiller.descriptions)
    ] == [
        ("pv.power", "W", "usage", ("roof",)),
        ("pv.energy", "Wh", "usage", ("roof",)),
        ("chiller.power", "W", "usage", ("building-1",)),
    ]
    assert offers.report_name("pv.usage") == "x-SUBMETER_USAGE"
    assert [offers.meter_of(one) for one in ("pv.usage", "usage", "history")] == ["pv", "", ""]


def test_of_a_sub_meter_only_what_it_has_may_be_asked_for():
    offers.check(report_request("r", "pv.usage", ("pv.power", "pv.energy")), TWO_MORE)
    for asked in (
        report_request("r", "attic.usage", ("attic.power",)),
        report_request("r", "chiller.usage", ("chiller.energy",)),
        report_request("r", "usage", ("pv.power",)),
        report_request("r", "pv.usage", ("pv.power",), granularity_s=1),
    ):
        with pytest.raises(Declined):
            offers.check(asked, TWO_MORE)


def test_an_offer_is_told_from_another_but_not_from_itself_at_another_time():
    now, later = (
        offers.stamp(offers.metadata(HERE, "b", at)) for at in (START, START + timedelta(days=1))
    )

    assert now == later
    assert now != offers.stamp(offers.metadata(TWO_MORE, "b", START))
    assert now != offers.stamp(offers.metadata(HERE, "c", START))


def test_a_meter_without_a_counter_offers_no_energy():
    here = settings(reports={"energy": False}).reports

    assert [d.r_id for d in offers.metadata(here, "b", START)[0].descriptions] == ["power"]
    with pytest.raises(Declined):
        offers.check(usage_request(rids=("energy",)), here)


@pytest.mark.parametrize(
    "request_",
    [
        usage_request(),
        usage_request(rids=("power", "energy"), granularity_s=60, back_s=120, length_s=600),
        usage_request(back_s=0),
        status_request(granularity_s=0),
        status_request(granularity_s=60, length_s=300),
        curtailment_request(),
        replace(usage_request(back_s=0), report_specifier_id="METADATA"),
    ],
)
def test_what_is_offered_may_be_asked_for(request_):
    offers.check(request_, HERE)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(usage_request(), report_specifier_id="HISTORY"), "452"),
        (usage_request(rids=("power", "voltage")), "452"),
        (usage_request(granularity_s=2), "454"),
        (usage_request(granularity_s=0), "454"),
        (usage_request(granularity_s=3601, back_s=7200), "454"),
        (usage_request(granularity_s=120, back_s=60), "454"),
        (curtailment_request(granularity_s=30), "454"),
        (curtailment_request(back_s=0), "454"),
    ],
)
def test_what_is_not_offered_is_refused_with_its_code(request_, code):  # rules 304, 317, 324, 340
    with pytest.raises(Declined) as fault:
        offers.check(request_, HERE)

    assert code == fault.value.response_code


def test_a_periodic_request_without_an_interval_begins_now_and_does_not_end():
    found = offers.completed(replace(usage_request(), interval=None), START)

    assert (START, timedelta(0)) == (found.interval.starts_at, found.interval.duration)
    assert usage_request() == offers.completed(usage_request(), START + timedelta(hours=1))
    once = usage_request(back_s=0)
    assert once == offers.completed(once, START)


def test_points_are_asked_for_in_the_order_of_the_wire_and_once():
    twice = replace(
        usage_request(),
        payloads=tuple(SpecifierPayload(r_id=r) for r in ("power", "energy", "power")),
    )

    assert offers.asked_points(twice) == ("energy", "power")


def test_pending_lists_all_requests():  # rule 329
    assert offers.pending([usage_request("b"), usage_request("a")]) == ("a", "b")
    assert timedelta(seconds=60) == offers.CURTAILMENT_STEP


def history(granularity_s=0, back_s=0, specifier="history", interval=None):
    request = report_request(
        "h", specifier, (f"{specifier}-power",), granularity_s=granularity_s, back_s=back_s
    )
    return replace(request, interval=interval)


@pytest.mark.parametrize(
    ("granularity_s", "back_s", "specifier"),
    [(60, 0, "history"), (0, 60, "history"), (8, 0, "history-raw"), (1, 0, "history-raw")],
)
def test_a_history_comes_once_in_its_own_steps(granularity_s, back_s, specifier):  # rule 317, 340
    with pytest.raises(Declined) as fault:
        offers.check(history(granularity_s, back_s, specifier), HERE)
    assert fault.value.response_code == "454"
    offers.check(history(specifier=specifier), HERE)


HALF_AN_HOUR = timedelta(minutes=30)


@pytest.mark.parametrize(
    ("interval", "span"),
    [
        (None, (START - timedelta(days=7), START)),
        ((START, timedelta(0)), (START - timedelta(days=7), START)),
        ((START, HALF_AN_HOUR), (START - HALF_AN_HOUR, START)),
        ((START - HALF_AN_HOUR, HALF_AN_HOUR), (START - HALF_AN_HOUR, START)),
        ((START - timedelta(days=30), HALF_AN_HOUR), None),
    ],
)
def test_a_history_looks_back(interval, span):  # rule 325
    asked = interval and ReportInterval(starts_at=interval[0], duration=interval[1])
    start, end = offers.history_span(history(interval=asked), START)
    assert (start, end) == span if span else start >= end


def test_no_two_points_have_one_name():  # rule 308
    found = offers.metadata(HERE, "building-1", START)
    names = [one.r_id for report in found for one in report.descriptions]
    assert len(names) == len(set(names))
    specifiers = [report.report_specifier_id for report in found]
    assert len(specifiers) == len(set(specifiers))


@given(st.integers(min_value=-(10**6), max_value=10**6), st.integers(min_value=0, max_value=10**6))
def test_a_history_is_never_of_the_future_nor_of_what_is_gone(shift_s, length_s):
    interval = ReportInterval(
        starts_at=START + timedelta(seconds=shift_s), duration=timedelta(seconds=length_s)
    )
    start, end = offers.history_span(history(interval=interval), START)
    assert start >= START - offers.KEPT
    assert end <= START
    assert not length_s or end - start <= interval.duration
