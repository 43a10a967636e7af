"""A building with generation of its own: power below zero all the way."""

import pytest

from light_node.baseline import Baseline
from light_node.curtailment import ordered_w, verify
from light_node.local import Delta, Limit, Share
from light_node.quality import Judge, Quality
from light_node.setpoint import within_limits
from light_node.settings import GuardTable
from tests.unit.light_node.test_curtailment import T0, step

FEED_IN_W = -40_000.0


def test_feeding_in_is_plausible():
    phases = {f"active_power_l{n}": FEED_IN_W / 4 for n in (1, 2)} | {
        "active_power_l3": FEED_IN_W / 2
    }

    _, quality = Judge(ranges={"active_power": (-100e3, 100e3)}).judge(
        {"active_power": FEED_IN_W, **phases}
    )

    assert quality == Quality.GOOD


@pytest.mark.parametrize(
    ("target", "expected_w"),
    [
        (Delta(watts=-10_000), 10_000),
        (Limit(max_watts=-50_000), 10_000),
        (Limit(max_watts=0), 0),
        (Limit(min_watts=-30_000), -10_000),
        (Share(of_baseline=0.8), 0),
        (Share(of_baseline=1.2), 0),
    ],
)
def test_what_a_target_orders_of_a_building_that_feeds_in(target, expected_w):
    assert ordered_w(target, FEED_IN_W) == pytest.approx(expected_w)


@pytest.mark.parametrize(
    ("guard", "target", "expected"),
    [
        (GuardTable(), Share(of_baseline=0.8), Delta(watts=0)),
        (GuardTable(min_load_w=-45e3), Delta(watts=-20e3), Delta(watts=-5e3)),
        (GuardTable(min_load_w=0), Delta(watts=-20e3), Delta(watts=0)),
        (GuardTable(max_load_w=-30e3), Delta(watts=50e3), Delta(watts=10e3)),
        (GuardTable(max_reduction_w=10e3), Limit(max_watts=-80e3), Limit(max_watts=-50e3)),
    ],
)
def test_the_guard_bounds_a_building_that_feeds_in(guard, target, expected):
    assert within_limits(target, guard, FEED_IN_W) == expected


def test_feeding_in_more_is_a_reduction_delivered():
    ticks = [T0 + 4 * n for n in range(150)]

    verified = verify(
        steps=[step(Delta(watts=-10_000))],
        baseline=Baseline(method="m", fallback=False, starts_at=T0, watts=(FEED_IN_W,) * 10),
        starts_at=ticks,
        watts=[FEED_IN_W - 10_000] * len(ticks),
        quality=[Quality.GOOD] * len(ticks),
        interval_s=4.0,
        until=T0 + 600,
    )

    assert verified.delivered_w == pytest.approx(10_000)
    assert verified.fraction == pytest.approx(1.0)
