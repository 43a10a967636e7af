"""Long series thinned out for a drawing."""

import math

from hypothesis import given
from hypothesis import strategies as st

from vtn.extremes import thinned


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 20))
def test_the_least_and_the_greatest_of_the_whole_are_kept_in_order(values, slots):
    at, kept = thinned(range(0, 4 * len(values), 4), values, slots=slots)

    assert max(values) == max(kept)
    assert min(values) == min(kept)
    assert sorted(at) == list(at)
    assert len(at) <= 2 * slots


def test_a_slot_without_a_number_stays_a_gap():
    at, kept = thinned([0, 1, 2, 3, 4, 5], [1.0, 2.0, math.nan, math.nan, 5.0, 6.0], slots=3)

    assert list(at) == [0, 1, 2, 4, 5]
    assert math.isnan(kept[2])


def test_nothing_stays_nothing():
    assert [list(one) for one in thinned([], [], slots=10)] == [[], []]
