import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.baseline import Baseline, SiteCalendar, work_out
from light_node.errors import NoBaseline
from light_node.settings import parse_zone

WORKING = ("mon", "tue", "wed", "thu", "fri")
UTC_CALENDAR = SiteCalendar(zone=UTC, working_days=WORKING)
EVENT_DAY = date(2030, 1, 23)  # a Wednesday


def at(day, hour, minute=0, zone=UTC):
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    return local.astimezone(UTC).timestamp()


def days_before(count):
    return [EVENT_DAY - timedelta(days=n) for n in range(1, count + 1)]


def whole_day(day, watts, zone=UTC):
    """Quarters of a day: `watts` is one number, or a function of the local hour."""
    start = int(at(day, 0, zone=zone))
    of = watts if callable(watts) else lambda hour: watts
    return {start + 900 * n: float(of(n / 4)) for n in range(96)}


def quarters_of(levels, zone=UTC):
    return {k: v for day, watts in levels.items() for k, v in whole_day(day, watts, zone).items()}


def event(quarters, *, start=14, hours=1.0, calendar=UTC_CALENDAR, **more):
    starts_at = at(EVENT_DAY, start, zone=calendar.zone)
    return work_out(
        quarters,
        starts_at=starts_at,
        ends_at=starts_at + hours * 3600,
        calendar=calendar,
        **more,
    )


def test_the_five_highest_of_ten_working_days_are_averaged():
    # Two weeks: ten working days of 101 ... 110 kW, and days off that would spoil any mean.
    working = [day for day in days_before(14) if day.weekday() < 5]
    levels = {day: 101_000 + 1000 * n for n, day in enumerate(working)}
    levels |= {day: 900_000 for day in days_before(14) if day.weekday() >= 5}

    baseline = event(quarters_of(levels))

    assert baseline.method == "high 5 of 10 without same-day adjustment"
    assert baseline.watts == tuple([108_000.0] * 60)
    assert baseline.fallback  # the same day's level is unknown


def test_the_eleventh_day_back_counts_no_more():
    working = [day for day in days_before(30) if day.weekday() < 5]
    levels = {day: 100_000 if n < 10 else 900_000 for n, day in enumerate(working)}

    assert event(quarters_of(levels)).watts[0] == 100_000


@pytest.mark.parametrize(
    ("today_w", "expected_w"),
    [(105_000, 105_000), (90_000, 90_000), (200_000, 120_000), (0, 80_000)],
)
def test_the_days_own_level_is_added_within_a_fifth(today_w, expected_w):
    levels = dict.fromkeys(days_before(21), 100_000)
    today = {
        k: v
        for k, v in whole_day(EVENT_DAY, today_w).items()
        if at(EVENT_DAY, 10) <= k < at(EVENT_DAY, 13)
    }

    baseline = event(quarters_of(levels) | today)

    assert baseline.method == "high 5 of 10 with same-day adjustment"
    assert not baseline.fallback
    assert baseline.watts == tuple([float(expected_w)] * 60)


def test_the_hour_before_the_event_does_not_move_its_baseline():
    levels = dict.fromkeys(days_before(21), 100_000)

    def today(hour):
        return 100_000 if hour < 13 else 500_000

    baseline = event(quarters_of(levels) | whole_day(EVENT_DAY, today))

    assert baseline.watts[0] == 100_000


def test_another_event_earlier_that_day_does_not_adjust():
    levels = dict.fromkeys(days_before(21), 100_000)

    def today(hour):
        return 50_000 if 11 <= hour < 12 else 100_000

    spans = [(at(EVENT_DAY, 11), at(EVENT_DAY, 12))]
    baseline = event(quarters_of(levels) | whole_day(EVENT_DAY, today), event_spans=spans)

    assert baseline.watts[0] == 100_000


def test_event_days_and_holidays_are_not_like_days():
    working = [day for day in days_before(30) if day.weekday() < 5]
    levels = dict.fromkeys(working, 100000)
    levels[working[0]] = levels[working[1]] = 900_000
    calendar = SiteCalendar(zone=UTC, working_days=WORKING, holidays=frozenset({working[0]}))
    spans = [(at(working[1], 9), at(working[1], 10))]

    assert event(quarters_of(levels), calendar=calendar, event_spans=spans).watts[0] == 100_000


def test_a_day_off_is_compared_with_days_off():
    levels = {day: 30_000 if day.weekday() >= 5 else 100_000 for day in days_before(60)}
    calendar = SiteCalendar(zone=UTC, working_days=WORKING, holidays=frozenset({EVENT_DAY}))

    baseline = event(quarters_of(levels), calendar=calendar)

    assert baseline.method.startswith("high 5 of 10")
    assert baseline.watts[0] == 30_000


@pytest.mark.parametrize(
    ("count", "name"), [(9, "high 5 of 9"), (5, "high 3 of 5"), (3, "high 2 of 3")]
)
def test_with_fewer_like_days_the_method_says_so(count, name):
    working = [day for day in days_before(30) if day.weekday() < 5][:count]
    levels = {day: 100_000 + 1000 * n for n, day in enumerate(working)}

    baseline = event(quarters_of(levels))

    best = math.ceil(count / 2)
    assert baseline.method == f"{name} without same-day adjustment"
    assert baseline.fallback
    assert baseline.watts[0] == sum(sorted(levels.values())[-best:]) / best


def test_with_two_like_days_the_last_hour_serves():
    levels = dict.fromkeys(days_before(2), 100_000)

    baseline = event(quarters_of(levels), last_hour_w=77_000.0)

    assert baseline.method == "same-day mean of the last hour"
    assert baseline.fallback
    assert baseline.watts == tuple([77_000.0] * 60)


def test_asked_for_the_last_hour_is_no_fallback():
    levels = dict.fromkeys(days_before(21), 100_000)

    baseline = event(
        quarters_of(levels), last_hour_w=77_000.0, asked_for="same-day mean of the last hour"
    )

    assert (baseline.watts[0], baseline.fallback) == (77_000.0, False)


def test_without_anything_there_is_no_baseline_but_advice():
    with pytest.raises(NoBaseline, match="history import"):
        event({})


def test_a_day_with_holes_in_the_events_hours_is_passed_over():
    working = [day for day in days_before(30) if day.weekday() < 5]
    quarters = quarters_of(dict.fromkeys(working, 100_000) | {working[0]: 900_000})
    del quarters[int(at(working[0], 14, 30))]

    assert event(quarters).watts[0] == 100_000


def test_a_rising_day_gives_a_rising_baseline_minute_by_minute():
    levels = dict.fromkeys(days_before(21), lambda hour: 1000 * hour)

    baseline = event(quarters_of(levels), start=14, hours=0.5)

    assert baseline.watts == tuple([14_000.0] * 15 + [14_250.0] * 15)


def test_a_minute_across_two_quarters_is_their_mean_by_time():
    levels = dict.fromkeys(days_before(21), lambda hour: 1000 * hour)
    starts_at = at(EVENT_DAY, 14, 14) + 15

    baseline = work_out(
        quarters_of(levels),
        starts_at=starts_at,
        ends_at=starts_at + 90,
        calendar=UTC_CALENDAR,
    )

    # 45 s at 14 kW and 15 s at 14.25 kW, then 30 s at 14.25 kW.
    assert baseline.watts == (14_062.5, 14_250.0)


def test_summer_time_keeps_the_buildings_hours():
    zone = ZoneInfo("Europe/Zurich")
    calendar = SiteCalendar(zone=zone, working_days=WORKING)
    monday_after = date(2030, 4, 1)  # clocks went forward on 31 March
    days = [monday_after - timedelta(days=n) for n in range(1, 25)]
    quarters = {}
    for day in days:
        for n in range(96):
            start = at(day, 0, zone=zone) + 900 * n
            local = datetime.fromtimestamp(start, zone)
            quarters[int(start)] = 100_000.0 if local.hour == 14 else 1000.0

    baseline = work_out(
        quarters,
        starts_at=at(monday_after, 14, zone=zone),
        ends_at=at(monday_after, 15, zone=zone),
        calendar=calendar,
    )

    assert set(baseline.watts) == {100_000.0}


def test_a_fixed_offset_makes_the_sites_own_days():
    zone = parse_zone("+09:30")
    calendar = SiteCalendar(zone=zone, working_days=WORKING)
    levels = {day: 30_000 if day.weekday() >= 5 else 100_000 for day in days_before(30)}

    baseline = event(quarters_of(levels, zone), start=8, calendar=calendar)  # 22:30 UTC, Tuesday

    assert baseline.watts[0] == 100_000


def test_an_event_over_midnight_leaves_its_own_days_out():
    levels = dict.fromkeys([*days_before(21), EVENT_DAY], 100_000)
    quarters = quarters_of(levels)

    baseline = event(quarters, start=23, hours=3)

    assert baseline.watts == tuple([100_000.0] * 180)


def test_an_event_without_length_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="end after it starts"):
        event({}, hours=0)


@given(
    st.lists(st.floats(0, 1e6), min_size=3, max_size=20),
    st.floats(0, 1e6),
    st.integers(60, 4 * 3600),
)
def test_a_baseline_lies_within_what_the_building_has_used(levels, today_w, length_s):
    working = [day for day in days_before(40) if day.weekday() < 5][: len(levels)]
    used = dict(zip(working, levels, strict=True))
    starts_at = at(EVENT_DAY, 14) + 7

    baseline = work_out(
        quarters_of(used) | whole_day(EVENT_DAY, today_w),
        starts_at=starts_at,
        ends_at=starts_at + length_s,
        calendar=UTC_CALENDAR,
    )

    assert len(baseline.watts) == math.ceil(length_s / 60)
    for watts in baseline.watts:
        assert 0.8 * min(levels) - 1e-6 <= watts <= 1.2 * max(levels) + 1e-6


def test_the_baseline_at_an_instant_is_that_of_its_minute():
    baseline = Baseline(method="m", fallback=False, starts_at=1000.0, watts=(1.0, 2.0, 3.0))

    assert [baseline.at(t) for t in (1000, 1059.9, 1060, 1130, 5000)] == [1.0, 1.0, 2.0, 3.0, 3.0]
