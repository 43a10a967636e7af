import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demo.errors import DemoFault
from demo.load_series import AFTERNOON, ClockShift, LoadSeries, read_series

START = datetime(2016, 3, 14)
HOUR = timedelta(hours=1)

watts_of_an_hour = st.one_of(st.just(0.0), st.floats(0.001, 5e6))
hourly_watts = st.lists(watts_of_an_hour, min_size=1, max_size=12).filter(any)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC)
)


@settings(max_examples=12)  # each looks at thousands of cells; an hour knows only its neighbours
@given(st.lists(watts_of_an_hour, min_size=1, max_size=4).filter(any))
@example([100.0, 0.0, 100.0, 1e6, 1e-3])
def test_the_4_second_cells_of_each_hour_hold_exactly_its_energy(watts: list[float]) -> None:
    series = LoadSeries(START, watts)
    for number, mean in enumerate(watts):
        cells = series.cells(START + number * HOUR, 900)

        assert len(cells) == 900
        assert math.fsum(cells) * 4 / 3600 == pytest.approx(mean, rel=1e-9, abs=1e-9 * max(watts))


@given(hourly_watts, st.integers(0, 11 * 3600), st.integers(0, 11 * 3600))
def test_energy_adds_up_over_any_cut(watts: list[float], one_s: int, two_s: int) -> None:
    series = LoadSeries(START, watts)
    start, cut, end = (
        START + timedelta(seconds=s) for s in sorted((one_s, two_s, one_s // 2 + two_s // 2))
    )
    parts = series.energy_wh(start, cut) + series.energy_wh(cut, end)

    assert parts == pytest.approx(series.energy_wh(start, end), rel=1e-9, abs=1e-6)


@given(hourly_watts)
def test_the_load_does_not_jump_from_hour_to_hour(watts: list[float]) -> None:
    series = LoadSeries(START, watts)
    instant = timedelta(microseconds=1)
    for number in range(2 * len(watts)):
        edge = START + number * HOUR

        assert series.watts_at(edge - instant) == pytest.approx(
            series.watts_at(edge), abs=1e-5 * max(watts)
        )


@given(hourly_watts, st.integers(0, 12 * 900))
@example([1.0, 3.0, 1.0], 450)
@example([100.0, 1.0, 100.0], 1350)
def test_the_load_is_never_negative(watts: list[float], cell: int) -> None:
    at = START + timedelta(seconds=4 * cell)
    assert LoadSeries(START, watts).watts_at(at) >= -1e-9 * max(watts)


@given(hourly_watts, st.integers(0, 12 * 900))
def test_a_cell_is_the_mean_of_the_power_in_it(watts: list[float], number: int) -> None:
    series = LoadSeries(START, watts)
    start = START + timedelta(seconds=4 * number)
    (cell,) = series.cells(start, 1)
    within = [series.watts_at(start + timedelta(seconds=(n + 0.5) / 25)) for n in range(100)]

    assert cell == pytest.approx(math.fsum(within) / 100, rel=1e-4, abs=1e-4 * max(watts))


def test_the_series_is_the_same_each_time_and_begins_again_at_its_end() -> None:
    one, two = LoadSeries(START, [1e5, 2e5, 1.5e5]), LoadSeries(START, [1e5, 2e5, 1.5e5])
    at = START + timedelta(minutes=77)

    assert one.watts_at(at) == two.watts_at(at) == one.watts_at(at + 3 * HOUR)


def test_the_ripple_is_there_and_small() -> None:
    series = LoadSeries(START, [1e5])
    cells = series.cells(START, 900)

    assert 200 < max(cells) - 1e5 < 1300
    assert 200 < 1e5 - min(cells) < 1300


@pytest.mark.parametrize("watts", [[], [-1.0], [math.nan], [math.inf]])
def test_values_that_no_meter_gives_are_refused(watts: list[float]) -> None:
    with pytest.raises(DemoFault, match="none negative"):
        LoadSeries(START, watts)


def test_the_recording_is_whole_weeks_and_its_afternoon_has_ninety_days_before_it() -> None:
    series = read_series()

    assert series.hours % 168 == 0
    assert series.first_hour.weekday() == 0
    assert AFTERNOON - timedelta(days=90) > series.first_hour
    assert series.first_hour + series.hours * HOUR > AFTERNOON
    assert AFTERNOON.weekday() == 2
    assert 250e3 < series.watts_at(AFTERNOON) < 320e3


def test_a_gap_in_a_recording_is_refused_with_its_row(tmp_path) -> None:
    file = tmp_path / "gap.csv"
    file.write_text("timestamp,kw\n2016-01-01T00:00,1\n2016-01-01T02:00,1\n")
    with pytest.raises(DemoFault, match="row 3 is not the hour after"):
        read_series(file)


@given(instants, st.datetimes(datetime(2016, 1, 1), datetime(2016, 9, 1)))
def test_now_plays_the_afternoon_or_up_to_a_quarter_hour_later(at, afternoon) -> None:
    shift = ClockShift.to_play(afternoon, at=at)

    assert timedelta(0) <= shift.recorded(at) - afternoon < timedelta(minutes=15)
    assert timedelta(hours=-12) <= shift.utc_offset < timedelta(hours=12)
    assert shift.utc_offset % timedelta(minutes=15) == timedelta(0)


@given(instants)
def test_the_sites_calendar_is_the_recordings(at) -> None:
    shift = ClockShift.to_play(AFTERNOON, at=at)
    site = timezone(shift.utc_offset)
    for hours in range(-24 * 10, 24 * 3, 5):
        instant = at + timedelta(hours=hours)
        local, recorded = instant.astimezone(site), shift.recorded(instant)
        day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[local.weekday()]

        assert local.time() == recorded.time()
        assert (day in shift.working_days) == (recorded.weekday() < 5)
    assert len(shift.working_days) == 5


@given(instants)
def test_a_shift_goes_both_ways_and_through_its_text(at) -> None:
    shift = ClockShift.to_play(AFTERNOON, at=at)

    assert shift.played(shift.recorded(at)) == at
    assert ClockShift.parse(str(shift)) == shift


def test_the_light_node_takes_the_time_zone_as_it_is_written() -> None:
    assert ClockShift(days=1, utc_offset=timedelta(hours=9, minutes=30)).timezone == "+09:30"
    assert ClockShift(days=1, utc_offset=-timedelta(hours=3, minutes=45)).timezone == "-03:45"
    assert ClockShift(days=1, utc_offset=timedelta(0)).timezone == "+00:00"


@pytest.mark.parametrize("text", ["", "+09:30", "9:30/1", "+09:30/x", "+13:00/1", "+09:75/1"])
def test_a_shift_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(DemoFault, match=r"write it like \+09:30/3811"):
        ClockShift.parse(text)
