from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.nearness import NEAR, Nearness

NOON = datetime(2030, 1, 9, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class Clocks:
    """The time that passes, and a wall clock that may be off."""

    def __init__(self):
        self.passed = timedelta(0)
        self.off = timedelta(0)
        self.nearness = Nearness(now=self.now, monotonic=self.monotonic)

    def now(self):
        return NOON + self.passed + self.off

    def monotonic(self):
        return self.passed.total_seconds()

    def is_near(self, at, spans):
        self.passed = at - NOON
        return self.nearness.of(spans)


@pytest.fixture
def clocks():
    return Clocks()


@pytest.mark.parametrize(
    ("at", "near"),
    [
        (NOON, False),
        (NOON + HOUR - NEAR - SECOND, False),
        (NOON + HOUR - NEAR, True),
        (NOON + 2 * HOUR, True),
        (NOON + 3 * HOUR + NEAR - SECOND, True),
        (NOON + 3 * HOUR + NEAR, False),
    ],
)
def test_an_event_is_near_from_a_quarter_of_an_hour_before_it_until_one_after_it(clocks, at, near):
    assert clocks.is_near(at, [(NOON + HOUR, NOON + 3 * HOUR)]) is near


def test_an_event_without_an_end_stays_near(clocks):
    assert clocks.is_near(NOON + 100 * HOUR, [(NOON, None)])


@pytest.mark.parametrize("off", [HOUR, -HOUR, -24 * HOUR])
def test_an_event_stays_near_for_a_quarter_of_an_hour_when_the_clock_was_set_in_it(clocks, off):
    event = [(NOON, NOON + HOUR / 2)]
    assert clocks.is_near(NOON + SECOND, event)
    clocks.off = off

    assert clocks.is_near(NOON + 2 * SECOND, event)
    assert clocks.is_near(NOON + NEAR, [])
    assert not clocks.is_near(NOON + NEAR + 2 * SECOND, [])


@given(st.lists(st.integers(0, 7200), min_size=1).map(sorted), st.integers(60, 3600))
def test_by_a_clock_that_is_never_set_nothing_is_near_but_what_is_near_now(moments, length_s):
    clocks = Clocks()
    event = (NOON + HOUR, NOON + HOUR + timedelta(seconds=length_s))

    for moment in moments:
        at = NOON + timedelta(seconds=moment)
        assert clocks.is_near(at, [event]) is (event[0] - NEAR <= at < event[1] + NEAR)
