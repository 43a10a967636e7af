"""Minute sums of very many nodes, where what one of them says is replaced again and again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtn.power import MinuteSums, minutes_of

MINUTE = 30_000_000
LEVELS = st.dictionaries(
    st.integers(MINUTE, MINUTE + 4), st.floats(0, 1e6, allow_nan=False), max_size=5
)


def forty_kilowatts(_at, _level):
    return 40_000.0


def test_a_node_counts_where_it_says_both_its_baseline_and_how_far_it_is_from_it():
    found = minutes_of(
        [{MINUTE: 100_000.0, MINUTE + 1: 100_000.0}], [{MINUTE: -39_000.0}], forty_kilowatts
    )

    assert found == {MINUTE: (100_000.0, 61_000.0, 40_000.0)}
    assert minutes_of([], [{MINUTE: -39_000.0}], forty_kilowatts) == {}


def test_the_points_of_a_node_are_summed_where_all_of_them_say_something():
    found = minutes_of(
        [{MINUTE: 60_000.0, MINUTE + 1: 60_000.0}, {MINUTE: 40_000.0}],
        [{MINUTE: -1_000.0, MINUTE + 1: -1_000.0}],
        lambda _at, level: level / 10,
    )

    assert found == {MINUTE: (100_000.0, 99_000.0, 10_000.0)}


@given(LEVELS, LEVELS, LEVELS)
def test_what_is_replaced_leaves_nothing_behind(first, second, other):
    def said(levels):
        return minutes_of([levels], [dict.fromkeys(levels, -1_000.0)], forty_kilowatts)

    replaced, fresh = MinuteSums(), MinuteSums()
    replaced.put(said(first), {})
    replaced.put(said(other), {})
    replaced.put(said(second), said(first))
    fresh.put(said(second), {})
    fresh.put(said(other), {})

    span = MINUTE * 60.0, (MINUTE + 5) * 60.0
    was, wanted = replaced.over_time(*span), fresh.over_time(*span)
    assert was.nodes == wanted.nodes
    assert was.ordered_w == wanted.ordered_w
    for one, another in zip(was.baseline_w, wanted.baseline_w, strict=True):
        assert one == pytest.approx(another, abs=1e-3)


def test_the_newest_minute_waits_for_most_of_the_nodes():
    sums = MinuteSums()
    for node in range(10):
        levels = {MINUTE: 1_000.0, MINUTE + 1: 1_000.0} if node < 3 else {MINUTE: 1_000.0}
        sums.put(minutes_of([levels], [dict.fromkeys(levels, 0.0)], forty_kilowatts), {})

    found = sums.over_time(MINUTE * 60.0, (MINUTE + 2) * 60.0)

    assert found.starts_at == [MINUTE * 60.0]
    assert found.nodes == [10]
