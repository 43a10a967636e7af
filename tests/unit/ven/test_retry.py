import pytest
from hypothesis import given
from hypothesis import strategies as st

from ven.retry import BackOff, jittered_s


@given(failures=st.integers(1, 5000), draw=st.floats(0, 1, exclude_max=True))
def test_a_delay_doubles_within_ten_percent_and_never_passes_the_cap(failures, draw):
    delay_s = BackOff(first_s=1.0, cap_s=60.0).delay_s(failures, lambda: draw)
    nominal = 2.0 ** min(failures - 1, 30)

    assert min(0.9 * nominal, 60.0) <= delay_s <= min(1.1 * nominal, 60.0)


def test_the_first_delays_are_one_two_four_seconds():
    assert [BackOff().delay_s(n, lambda: 0.5) for n in range(1, 5)] == [1.0, 2.0, 4.0, 8.0]


@given(interval=st.floats(0.05, 3600), jitter=st.floats(0, 0.5), draw=st.floats(0, 1))
def test_jitter_stays_within_its_fraction(interval, jitter, draw):
    assert interval * (1 - jitter) <= jittered_s(interval, jitter, lambda: draw) + 1e-9
    assert jittered_s(interval, jitter, lambda: draw) <= interval * (1 + jitter) + 1e-9


def test_without_jitter_the_interval_is_itself():
    assert pytest.approx(10.0) == jittered_s(10.0, 0.0, lambda: 0.9)
