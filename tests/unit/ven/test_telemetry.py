from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oadr
from light_node.local import Curtailment, LeaseState, OverrideState
from light_node.quality import Quality, is_usable, to_text
from oadr.columns import ResourceStatus
from oadr.report import UpdateReport
from oadr.vocabulary import DataQuality, SignalType
from tests.unit.ven.makers import START, known, node_status, row, site
from tests.unit.ven.requests import curtailment_request, status_request, usage_request
from ven import plan, telemetry
from ven.config import LevelTarget

FOUR = timedelta(seconds=4)
T0 = START.timestamp()


def through_the_wire(request, intervals):
    report = telemetry.report(request, intervals, START)
    message = UpdateReport(request_id="r", reports=(report,), ven_id="v")
    return oadr.parse(oadr.build(message)).reports[0]


def test_readings_go_over_the_wire_with_start_length_value_and_quality():  # rules 313 to 315, 337
    rows = [row(1, T0, 41_200.0, 7.0), row(2, T0 + 4, 41_000.0, 8.0)]
    report = through_the_wire(
        usage_request(), telemetry.usage(rows, ("power", "energy"), length=FOUR)
    )

    assert (START, timedelta(seconds=8), "TELEMETRY_USAGE", "u", "usage") == (
        report.starts_at,
        report.duration,
        report.report_name,
        report.report_request_id,
        report.report_specifier_id,
    )
    assert report.intervals.starts_at == (START, START + FOUR)
    assert report.intervals.durations == (FOUR, FOUR)
    assert report.intervals.column("energy").values == (7.0, 8.0)
    assert report.intervals.column("power").values == (41_200.0, 41_000.0)
    assert report.intervals.column("power").quality == ("Quality Good - Non Specific",) * 2


def test_a_gap_is_a_placeholder_of_bad_quality():  # rule 318
    rows = [row(1, T0, None, None, "comm"), row(2, T0 + 4, 5.0, None)]
    intervals = telemetry.usage(rows, ("power", "energy"), length=FOUR)

    assert intervals.column("power").values == (0.0, 5.0)
    assert intervals.column("power").quality == (DataQuality.BAD_COMM_FAILURE, DataQuality.GOOD)
    assert intervals.column("energy").quality == (DataQuality.BAD_COMM_FAILURE, DataQuality.BAD)


def test_a_value_nobody_believes_is_not_sent():
    intervals = telemetry.usage([row(1, T0, 9e9, quality="implausible")], ("power",), length=FOUR)

    assert intervals.column("power").values == (0.0,)
    assert intervals.column("power").quality == (DataQuality.BAD_SENSOR_FAILURE,)


@given(st.integers(0, 1023).map(Quality))
def test_the_wire_calls_good_or_uncertain_what_the_node_counts(quality):
    word = telemetry.wire_quality(to_text(quality))

    assert is_usable(quality) == (not word.startswith("Quality Bad"))
    assert is_usable(quality) == row(1, 0, quality=to_text(quality)).is_usable


def test_a_quality_nobody_knows_is_bad():
    assert DataQuality.BAD is telemetry.wire_quality("sunspots")


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=60))
def test_aggregates_keep_the_mean_of_their_usable_rows(samples):
    rows = [
        row(n, T0 + 4 * n, watts, 10.0 * n, "good" if good else "comm")
        for n, (watts, good) in enumerate(samples)
    ]
    minutes = telemetry.aggregate(rows, anchor=T0, length_s=60, period_s=4)

    assert len(minutes) == (len(rows) + 14) // 15
    for number, minute in enumerate(minutes):
        own = rows[15 * number : 15 * number + 15]
        usable = [each.watts for each in own if each.quality == "good"]
        assert T0 + 60 * number == minute.starts_at
        assert own[-1].row_id == minute.row_id
        assert own[0].energy_wh == minute.energy_wh
        if usable:
            assert pytest.approx(sum(usable) / len(usable)) == minute.watts
        else:
            assert not minute.is_usable


def test_an_aggregate_of_few_usable_rows_is_uncertain():
    rows = [row(n, T0 + 4 * n, 1.0, quality="good" if n < 7 else "comm") for n in range(15)]
    (minute,) = telemetry.aggregate(rows, anchor=T0, length_s=60, period_s=4)

    assert telemetry.wire_quality(minute.quality).startswith("Quality Uncertain")


def resource_status(status, step=None, **settings):
    return telemetry.resource_status(status, site(**settings), step)


def test_a_node_that_is_away_is_offline_and_a_person_is_told_apart():
    away = resource_status(None)
    assert (away.online, away.manual_override) == (False, False)
    overridden = resource_status(node_status(override=OverrideState(active=True)))
    assert (overridden.online, overridden.manual_override) == (True, True)
    assert not resource_status(node_status(meters=())).online


LEASE = LeaseState(
    event_id="e",
    seq=1,
    target="",
    delta_w=None,
    max_w=50_000.0,
    min_w=None,
    issued_at=START,
    not_after=START,
    acknowledged="",
    acknowledged_at=None,
    applied_w=None,
)


def test_the_capacity_and_set_point_in_force_are_told():  # rule 334
    held = resource_status(node_status(lease=LEASE), rated_w=200_000)
    idle = resource_status(node_status(), rated_w=200_000)

    assert (held.capacity.current, held.set_point.current) == (0.25, 50_000)
    assert (idle.capacity.current, idle.set_point.current) == (1.0, 200_000)


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        (SignalType.LOAD_CONTROL_LEVEL_OFFSET, "level_offset"),
        (SignalType.LOAD_CONTROL_PERCENT_OFFSET, "percent_offset"),
    ],
)
def test_an_offset_in_force_is_told_while_it_is_held(kind, member):  # rule 334
    (step,) = plan.steps([known()], site())
    step = msgspec.structs.replace(step, signal_type=kind.value, value=-2.0)
    settings = {"level_offsets": {"-2": LevelTarget(max_w=1)}}

    def current(status):
        return getattr(resource_status(status, step, **settings), member).current

    assert (current(node_status(lease=LEASE)), current(node_status())) == (-2.0, 0.0)


@pytest.mark.parametrize(
    "settings", [{}, {"rated_w": 1000.0}, {"level_offsets": {"1": LevelTarget(share=1.1)}}]
)
def test_a_status_has_the_same_members_whatever_is_in_force(settings):  # rule 334
    (step,) = plan.steps([known()], site())
    members = ("capacity", "level_offset", "percent_offset", "set_point")
    sets = {
        tuple(getattr(said, member) is not None for member in members)
        for said in (
            resource_status(None, **settings),
            resource_status(node_status(), **settings),
            resource_status(node_status(lease=LEASE), step, **settings),
        )
    }
    assert len(sets) == 1


def test_statuses_go_over_the_wire():
    said = ResourceStatus(online=True, manual_override=False)
    report = through_the_wire(
        status_request(), telemetry.status([(T0, said)], "status", length=timedelta(minutes=1))
    )

    assert said == report.intervals.column("status").values[0]
    assert report.report_name == "TELEMETRY_STATUS"
    point = through_the_wire(
        status_request(), telemetry.status([(T0, said)], "status", length=None)
    )
    assert point.intervals.durations == ()
    assert timedelta(0) == point.duration


def test_at_each_tick_holds_what_was_said_last():
    changes = [(10.0, "a"), (20.0, "b")]

    assert telemetry.sampled(changes, [5.0, 10.0, 19.0, 20.0]) == [
        (5.0, "a"),
        (10.0, "a"),
        (19.0, "a"),
        (20.0, "b"),
    ]


def found(**changes):
    fields = {
        "n": 0,
        "event_id": "e",
        "modification_number": 0,
        "baseline_method": "high 5 of 10",
        "fallback": False,
        "starts_at": START,
        "ends_at": START + timedelta(seconds=150),
        "ordered_w": 40.0,
        "delivered_w": 35.0,
        "fraction": 0.9,
        "samples_expected": 30,
        "samples_received": 20,
        "baseline": [(T0, 100.0), (T0 + 60, 101.0), (T0 + 120, 102.0)],
        "delivered": [(T0, 40.0), (T0 + 60, None), (T0 + 120, 30.0)],
        "setpoint_acknowledged": True,
        "final": True,
    }
    return Curtailment(**{**fields, **changes})


BOTH = ("baseline", "deviation")


def test_curtailment_goes_over_the_wire_as_baseline_and_deviation():
    report = through_the_wire(
        curtailment_request(), *telemetry.curtailment(found(), BOTH, after=None)
    )

    assert report.report_name == "x-CURTAILMENT"
    assert report.intervals.column("baseline").values == (100.0, 101.0, 102.0)
    assert report.intervals.column("deviation").values == (-40.0, 0.0, -30.0)
    assert report.intervals.column("deviation").quality[1] == DataQuality.BAD
    assert [length.seconds for length in report.intervals.durations] == [60, 60, 30]
    assert timedelta(seconds=150) == report.duration


def test_what_the_meter_saw_of_the_set_point_is_told_where_it_is_asked_for():
    points = (*BOTH, "effect")

    [told] = telemetry.curtailment(found(effect="partial", fallback=True), points, after=None)
    assert told.column("effect").values == (0.5, 0.5, 0.5)
    assert set(told.column("effect").quality) == {DataQuality.GOOD}

    [nothing_yet] = telemetry.curtailment(found(), points, after=None)
    assert {column.r_id for column in nothing_yet.columns} == set(BOTH)
    [not_asked] = telemetry.curtailment(found(effect="reached"), BOTH, after=None)
    assert {column.r_id for column in not_asked.columns} == set(BOTH)


def test_a_fallback_baseline_is_marked_uncertain():
    [intervals] = telemetry.curtailment(found(fallback=True), BOTH, after=None)

    assert {DataQuality.UNCERTAIN} == set(intervals.column("baseline").quality)


def test_of_what_the_vtn_has_only_the_newest_is_sent_again():
    [intervals] = telemetry.curtailment(found(), BOTH, after=T0 + 60)

    assert intervals.column("baseline").values == (101.0, 102.0)
    assert telemetry.curtailment(found(baseline=[]), BOTH, after=None) == []


def test_a_placeholder_is_bad():
    here = telemetry.placeholder(T0)
    intervals = telemetry.usage([here], ("power",), length=FOUR)

    assert intervals.column("power").quality[0].startswith("Quality Bad")
    assert datetime.fromtimestamp(T0, UTC) == intervals.starts_at[0]
