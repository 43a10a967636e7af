from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.baseline import Baseline
from light_node.curtailment import ordered_w, verify
from light_node.local import Delta, Keep, Limit, Share, Step
from light_node.quality import Quality

T0 = 1_800_000_000.0


def step(target, start=0, end=600):
    return Step(
        event_id="e",
        modification_number=0,
        priority=1,
        starts_at=datetime.fromtimestamp(T0 + start, UTC),
        ends_at=None if end is None else datetime.fromtimestamp(T0 + end, UTC),
        target=target,
        signal_name="LOAD_DISPATCH",
        signal_type="delta",
        value=0.0,
    )


def run(load, *steps, until=600.0, baseline_w=100_000.0, quality=lambda n: Quality.GOOD):
    ticks = [T0 + 4 * n for n in range(-5, int(until // 4) + 5)]
    return verify(
        steps=steps,
        baseline=Baseline(method="m", fallback=False, starts_at=T0, watts=(baseline_w,) * 10),
        starts_at=ticks,
        watts=[load(at - T0) for at in ticks],
        quality=[quality(n) for n in range(len(ticks))],
        interval_s=4.0,
        until=T0 + until,
    )


@pytest.mark.parametrize(
    ("target", "expected_w"),
    [
        (Delta(watts=-50_000), 50_000),
        (Delta(watts=20_000), -20_000),
        (Limit(max_watts=70_000), 30_000),
        (Limit(max_watts=130_000), 0),
        (Limit(min_watts=110_000), -10_000),
        (Share(of_baseline=0.8), 20_000),
        (Keep(), 0),
    ],
)
def test_what_a_target_orders(target, expected_w):
    assert ordered_w(target, 100_000) == pytest.approx(expected_w)


def test_a_building_that_obeys_delivers_all():
    result = run(lambda t: 50_000.0, step(Delta(watts=-50_000)))

    assert (result.ordered_w, result.delivered_w, result.fraction) == (50_000, 50_000, 1.0)
    assert (result.samples_expected, result.samples_received) == (150, 150)
    assert result.baseline == [(T0 + 60 * n, 100_000.0) for n in range(10)]
    assert result.delivered == [(T0 + 60 * n, 50_000.0) for n in range(10)]


def test_a_building_that_does_nothing_delivers_nothing():
    result = run(lambda t: 100_000.0, step(Delta(watts=-50_000)))

    assert (result.delivered_w, result.fraction) == (0.0, 0.0)


def test_load_outside_of_the_event_does_not_count():
    result = run(lambda t: 50_000.0 if 0 <= t < 600 else 9e6, step(Delta(watts=-50_000)))

    assert result.delivered_w == 50_000


def test_gaps_and_bad_readings_are_neither_delivered_nor_not():
    result = run(
        lambda t: None if t % 8 else 60_000.0,
        step(Delta(watts=-50_000)),
        quality=lambda n: Quality.STALE if n % 4 == 1 else Quality.GOOD,
    )

    assert result.samples_expected == 150
    assert 0 < result.samples_received < 150
    assert result.delivered_w == 40_000


def test_a_minute_without_a_good_reading_has_no_value():
    result = run(lambda t: None if 60 <= t < 120 else 60_000.0, step(Delta(watts=-50_000)))

    assert result.delivered[0][1] == 40_000
    assert result.delivered[1] == (T0 + 60, None)


def test_an_event_that_runs_is_judged_by_the_time_passed():
    result = run(lambda t: 50_000.0, step(Delta(watts=-50_000), end=None), until=90)

    assert result.samples_expected == 23
    assert len(result.baseline) == len(result.delivered) == 2
    assert result.ordered_w == 50_000


def test_orders_of_different_steps_are_weighed_by_their_time():
    result = run(
        lambda t: 100_000.0,
        step(Delta(watts=-60_000), end=200),
        step(Keep(), start=200, end=400),
        step(Delta(watts=-30_000), start=400),
    )

    assert result.ordered_w == pytest.approx(45_000)
    assert result.samples_expected == 100


def test_without_a_reading_nothing_is_claimed():
    result = run(lambda t: None, step(Delta(watts=-50_000)))

    assert (result.delivered_w, result.fraction, result.samples_received) == (None, None, 0)


def test_without_an_order_there_is_no_fraction():
    result = run(lambda t: 50_000.0, step(Limit(max_watts=200_000)))

    assert (result.ordered_w, result.fraction) == (0.0, None)


@given(st.floats(0, 2e5), st.floats(1, 2e5), st.integers(1, 600), st.sampled_from([0.25, 1.0, 4.0]))
def test_samples_expected_are_the_ticks_of_the_time_passed(load_w, reduction_w, until, interval_s):
    ticks = [T0 + interval_s * n for n in range(int(600 / interval_s))]
    result = verify(
        steps=[step(Delta(watts=-reduction_w))],
        baseline=Baseline(method="m", fallback=False, starts_at=T0, watts=(1e5,) * 10),
        starts_at=ticks,
        watts=[load_w] * len(ticks),
        quality=[Quality.GOOD] * len(ticks),
        interval_s=interval_s,
        until=T0 + until,
    )

    assert result.samples_expected == sum(at < T0 + until for at in ticks)
    assert result.samples_received == result.samples_expected
    assert result.delivered_w == pytest.approx(1e5 - load_w, abs=1e-6)
    assert result.fraction == pytest.approx((1e5 - load_w) / reduction_w)
