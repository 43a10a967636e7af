"""Medians, percentiles, and the order in which rounds are played."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rounds import Figure, interleaved, percentile
from bench.ticks import starts

NUMBERS = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


async def test_sides_take_turns_and_the_first_round_counts_for_nothing() -> None:
    played: list[str] = []

    def side(name: str):
        async def play(number: int) -> float:
            played.append(name)
            return 1000.0 if number == 0 else float(number)

        return play

    found = await interleaved({"ours": side("ours"), "peer": side("peer")}, rounds=3)

    assert played == ["ours", "peer", "peer", "ours", "ours", "peer", "peer", "ours"]
    assert found["ours"] == Figure(value=2.0, rounds=(1.0, 2.0, 3.0))
    assert found["peer"].spread == 1.0


@given(NUMBERS)
def test_a_percentile_is_one_of_the_values_with_so_many_not_above_it(values: list[float]) -> None:
    found = percentile(values, 0.99)

    assert found in values
    assert sum(value <= found for value in values) >= 0.99 * len(values)
    assert percentile(values, 1.0) == max(values)


def test_the_first_request_of_a_tick_counts_and_an_early_one_is_negative() -> None:
    found = starts([100.002, 100.5, 103.99, 104.4, 108.004], 4.0, most=10)

    assert found.errors_s == pytest.approx((0.002, -0.01, 0.004))
    assert found.missed == 0
    assert found.p99_s == pytest.approx(0.01)


def test_a_tick_without_a_request_is_missed() -> None:
    assert starts([0.25, 0.5, 1.25], 0.25, most=10).missed == 2


def test_a_clock_that_falls_behind_drifts() -> None:
    late = [tick * 4.0 + tick * 0.001 for tick in range(1, 41)]

    assert starts(late, 4.0, most=40).drift_s == pytest.approx(0.03, abs=0.001)
    assert starts(late, 4.0, most=8).drift_s < 0.01
