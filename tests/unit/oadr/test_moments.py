from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr.moments import read_duration, read_instant, write_duration, write_instant

WHOLE = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-7))]),
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 1, 1),
).map(lambda moment: moment.replace(microsecond=0))


@given(WHOLE)
def test_an_instant_comes_back_as_the_same_instant_in_utc(moment) -> None:
    text = write_instant(moment)

    assert text.endswith("Z")
    assert moment == read_instant(text)
    assert read_instant(text).tzinfo == UTC


@given(st.integers(0, 10**10))
def test_a_duration_comes_back_whole(seconds) -> None:
    length = timedelta(seconds=seconds)

    assert length == read_duration(write_duration(length))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("PT0S", timedelta(0)),
        ("P1DT1H1M1S", timedelta(days=1, hours=1, minutes=1, seconds=1)),
        ("PT90M", timedelta(minutes=90)),
        ("+PT1S", timedelta(seconds=1)),
        ("2W", timedelta(weeks=2)),
        ("P0Y0M3D", timedelta(days=3)),
    ],
)
def test_durations_as_others_write_them(text, length) -> None:
    assert length == read_duration(text)


@pytest.mark.parametrize(
    "text", ["", "5m", "P1M", "P2Y", "-PT1S", "PT1.5S", "P1D5M", "P" + "9" * 30 + "D"]
)
def test_durations_that_nobody_can_use(text) -> None:
    with pytest.raises(ValueError, match="duration"):
        read_duration(text)


@pytest.mark.parametrize("length", [timedelta(seconds=-1), timedelta(milliseconds=1)])
def test_negative_and_fractional_durations_are_not_written(length) -> None:
    with pytest.raises(ValueError, match="rule 1"):
        write_duration(length)


@pytest.mark.parametrize(
    "text", ["2026-11-20T14:00:00", "2026-11-20T14:00:00+00:00", "2026-02-30T00:00:00Z", "Z"]
)
def test_instants_without_z_or_meaning_are_refused(text) -> None:
    with pytest.raises(ValueError, match="instant"):
        read_instant(text)


def test_an_instant_without_a_zone_is_not_written() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        write_instant(datetime(2026, 1, 1))
