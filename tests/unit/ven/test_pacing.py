import math
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ven.makers import START
from tests.unit.ven.requests import usage_request
from ven.pacing import Pace, is_batch_ready, is_period_ready

LATE = timedelta(seconds=75)


def pace(back_s=60, length_s=0):
    return Pace.of(usage_request(back_s=back_s, length_s=length_s))


def test_reports_are_due_after_each_period():
    found = pace()
    start = START.timestamp()

    assert [start + 60, start + 120] == [found.due(0), found.due(1)]
    assert [found.periods(start + s) for s in (-5, 59, 60, 119, 120)] == [-1, 0, 1, 1, 2]


def test_a_clock_that_was_set_back_takes_the_count_back_with_it():
    found = pace(length_s=7200)
    start = START.timestamp()

    assert [found.rewound(10, start + s) for s in (900, 605, 599, 100, -130)] == [10, 10, 9, 1, -3]
    assert found.rewound(120, start + 7200) == 120
    assert is_batch_ready(
        oldest=500.0, newest=504.0, last_sent=600.0, now=506.0, batch_s=8, period_s=4
    )


def test_a_report_of_two_minutes_is_sent_twice():  # test R1_3027
    found = pace(length_s=120)

    assert [found.is_done(n) for n in range(3)] == [False, False, True]


def test_the_last_period_may_be_shorter():
    found = pace(back_s=60, length_s=90)
    start = START.timestamp()

    assert start + 90 == found.due(1)
    assert [found.periods(start + s) for s in (89, 90, 500)] == [1, 2, 2]


@given(back_s=st.integers(1, 900), length_s=st.integers(1, 5000), now=st.integers(0, 6000))
def test_periods_end_with_the_report(back_s, length_s, now):
    found = pace(back_s, length_s)
    over = found.periods(found.start + now)

    assert 0 <= over <= math.ceil(length_s / back_s)
    assert found.is_done(over) == (now >= length_s)


def test_a_report_waits_for_readings_that_are_late_but_not_for_ever():
    due = 100.0

    def ready(newest_end, now):
        return is_period_ready(due=due, newest_end=newest_end, now=now, late=LATE)

    assert not ready(None, 99.9)
    assert not ready(200.0, 99.9)
    assert ready(100.0, 100.0)
    assert not ready(99.0, 174.9)
    assert ready(99.0, 175.0)
    assert ready(None, 175.0)


def test_a_batch_of_8_seconds_leaves_with_its_second_reading():
    def ready(oldest, newest, now, last_sent=100.0):
        return is_batch_ready(
            oldest=oldest, newest=newest, last_sent=last_sent, now=now, batch_s=8.0, period_s=4.0
        )

    assert not ready(104.0, 104.0, 104.5)
    assert ready(104.0, 108.0, 108.5)
    assert ready(104.0, 104.0, 112.0)
    assert ready(104.0, 104.0, 104.1, last_sent=None)


@given(batch_s=st.integers(4, 20), delay=st.floats(0, 1))
def test_no_reading_of_an_event_grows_older_than_a_batch(batch_s, delay):
    last_sent, held, oldest_age = 0.0, [], 0.0
    for tick in range(4, 400, 4):
        now = tick + delay
        held.append(float(tick))
        if is_batch_ready(
            oldest=held[0],
            newest=held[-1],
            last_sent=last_sent,
            now=now,
            batch_s=float(batch_s),
            period_s=4.0,
        ):
            oldest_age = max(oldest_age, now - held[0])
            last_sent = held[-1]
            held.clear()

    assert oldest_age <= batch_s
