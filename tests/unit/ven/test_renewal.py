"""When a certificate is renewed, and how patiently it is tried."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ven.credentials import Credentials
from ven.renewal import LONGEST_S, SHORTEST_S, due_at, pause_s

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
draws = st.floats(0, 1, exclude_max=True)


def credentials(life):
    return Credentials(
        not_before_at=BEGIN, not_after_at=BEGIN + life, fingerprint="00", sha256="00"
    )


@given(st.timedeltas(timedelta(hours=1), timedelta(days=3650)), draws)
def test_it_is_due_after_two_thirds_of_its_life_and_before_seventy_percent(life, draw):
    due = due_at(credentials(life), draw) - BEGIN

    assert life * 0.6666 <= due <= life * 0.7


@given(st.timedeltas(timedelta(days=-10), timedelta(days=400)), draws)
def test_tries_are_never_closer_than_seconds_nor_further_apart_than_hours(left, draw):
    assert 0.75 * SHORTEST_S <= pause_s(left, draw) <= 1.25 * LONGEST_S


def test_the_last_days_bring_more_tries():
    assert pause_s(timedelta(days=1), 0.5) < pause_s(timedelta(days=30), 0.5)
