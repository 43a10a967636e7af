"""Power of several nodes over time."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from vtn.power import NodeSeries, over_time, together
from vtn.records import Point, Series

GOOD = "Quality Good"


def series(starts_at, values, quality=GOOD):
    return Series(
        point=Point(ven_id="mill", r_id="P", unit="W"),
        starts_at=array("d", starts_at),
        values=array("d", values),
        quality=(quality,) * len(values),
    )


def node(baseline=(100.0, 100.0), deviation=(-40.0, -40.0)):
    at = [60.0 * index for index in range(len(baseline))]
    return NodeSeries(baseline=series(at, baseline), deviation=series(at, deviation))


def forty(_at, _level):
    return 40.0


def test_what_nodes_report_is_summed_step_by_step():
    found = over_time([node(), node()], forty, first=0.0, last=120.0, step_s=60.0)

    assert found.starts_at == [0.0, 60.0]
    assert found.baseline_w == [200.0, 200.0]
    assert found.measured_w == [120.0, 120.0]
    assert found.ordered_w == [80.0, 80.0]
    assert found.delivered_w == [80.0, 80.0]
    assert found.nodes == [2, 2]


def test_readings_stand_for_what_is_measured_where_there_are_any():
    one = NodeSeries(
        measured=series([0.0, 4.0, 8.0], [60.0, 62.0, 64.0]), baseline=series([0.0], [100.0])
    )

    found = over_time([one], forty, first=0.0, last=8.0, step_s=8.0)

    assert found.measured_w == [61.0]
    assert found.delivered_w == [39.0]


def test_a_node_that_measures_less_often_than_others_is_no_spike_among_them():
    often = NodeSeries(measured=series([0.0, 4.0, 8.0, 12.0], [10.0] * 4))
    seldom = NodeSeries(measured=series([0.0, 8.0], [5.0, 7.0]))

    found = over_time([often, seldom], forty, first=0.0, last=16.0, step_s=4.0)

    assert found.measured_w == [15.0, 15.0, 17.0, 17.0]


def test_a_node_without_a_baseline_is_no_gap_between_the_lines():
    stranger = NodeSeries(measured=series([0.0], [500.0]))
    known = NodeSeries(measured=series([0.0], [60.0]), baseline=series([0.0], [100.0]))

    found = over_time([stranger, known], forty, first=0.0, last=60.0, step_s=60.0)

    assert found.baseline_w == [100.0]
    assert found.measured_w == [60.0]
    assert found.nodes == [1]


def test_before_the_event_the_measured_power_stands_alone():
    found = over_time(
        [NodeSeries(measured=series([0.0], [500.0]))], forty, first=0.0, last=60.0, step_s=60.0
    )

    assert found.measured_w == [500.0]
    assert found.baseline_w == [None]
    assert found.latest is None


def test_a_newest_step_that_most_nodes_are_missing_from_is_left_out():
    late = NodeSeries(baseline=series([0.0], [100.0]), deviation=series([0.0], [-40.0]))

    found = over_time([node(), late, late], forty, first=0.0, last=120.0, step_s=60.0)

    assert found.nodes == [3]


def test_bad_values_do_not_count():
    bad = NodeSeries(measured=series([0.0], [500.0], "Quality Bad - Comm Failure"))

    found = over_time([bad], forty, first=0.0, last=60.0, step_s=60.0)

    assert found.measured_w == [None]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
def test_the_sum_of_events_is_the_sum_of_their_parts(levels):
    parts = [
        over_time([node((level,), (0.0,))], forty, first=0.0, last=60.0, step_s=60.0)
        for level in levels
    ]

    found = together(parts)

    assert found.nodes == [len(levels)]
    assert abs(found.baseline_w[0] - sum(levels)) <= 1e-6 * (1.0 + sum(levels))


def test_nothing_together_is_nothing():
    assert together([]).starts_at == []
