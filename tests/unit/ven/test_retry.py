import pytest
from hypothesis import given
from hypothesis import strategies as st

from ven.retry import BackOff, at_least_s, jittered_s


@given(failures=st.integers(1, 5000), draw=st.floats(0, 1, exclude_max=True))
def test_a_delay_doubles_within_half_of_itself_and_never_passes_the_cap(failures, draw):
    delay_s = BackOff(first_s=1.0, cap_s=60.0).delay_s(failures, lambda: draw)
    nominal = min(2.0 ** min(failures - 1, 30), 60.0)

    assert 0.5 * nominal <= delay_s <= min(1.5 * nominal, 60.0)


@pytest.mark.parametrize("failures", [1, 4, 7, 1000])
def test_delays_are_spread_evenly_so_that_no_two_vens_come_back_together(failures):
    delays = [BackOff().delay_s(failures, lambda n=n: n / 1000) for n in range(1000)]

    assert len(set(delays)) == 1000
    assert max(delays) - min(delays) > 0.49 * max(delays)


@given(seconds=st.floats(0, 1e6), draw=st.floats(0, 1, exclude_max=True))
def test_what_is_asked_for_is_waited_at_least(seconds, draw):
    assert seconds <= at_least_s(seconds, lambda: draw) <= 1.5 * seconds + 1e-9


def test_the_first_delays_are_one_two_four_seconds():
    assert [BackOff().delay_s(n, lambda: 0.5) for n in range(1, 5)] == [1.0, 2.0, 4.0, 8.0]


@given(interval=st.floats(0.05, 3600), jitter=st.floats(0, 0.5), draw=st.floats(0, 1))
def test_jitter_stays_within_its_fraction(interval, jitter, draw):
    assert interval * (1 - jitter) <= jittered_s(interval, jitter, lambda: draw) + 1e-9
    assert jittered_s(interval, jitter, lambda: draw) <= interval * (1 + jitter) + 1e-9


def test_without_jitter_the_interval_is_itself():
    assert pytest.approx(10.0) == jittered_s(10.0, 0.0, lambda: 0.9)
