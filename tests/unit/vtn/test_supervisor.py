"""How soon a worker is begun anew."""

from hypothesis import given
from hypothesis import strategies as st

from vtn.supervisor import CALM_S, LONGEST_S, Deaths


def test_a_worker_that_dies_now_and_then_is_begun_anew_at_once():
    deaths = Deaths()

    assert [deaths.pause_s(number * (CALM_S + 1)) for number in range(5)] == [0.0] * 5


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_one_that_dies_again_and_again_is_begun_ever_later_but_is_begun(gaps):
    deaths, now_s, pauses = Deaths(), 0.0, []
    for gap in gaps:
        now_s += gap
        pauses.append(deaths.pause_s(now_s))

    assert pauses[0] == 0.0
    assert all(0.0 <= one <= LONGEST_S for one in pauses)
    assert all(after > 0.0 for gap, after in zip(gaps[1:], pauses[1:], strict=True) if gap < CALM_S)
