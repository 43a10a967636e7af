"""When a certificate is renewed, and how patiently it is tried."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ven.credentials import Credentials
from ven.errors import EnrolmentFault, Renewed
from ven.renewal import LONGEST_S, SHORTEST_S, Renewal, due_at, pause_s, renewed_file

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


class Slept(Exception):
    """The test has seen enough."""


def renewal(folder, clock, *, tries=(), cert="ven.crt", naps=99):
    """One of ninety days that began at BEGIN; `tries` is what comes of each."""
    ven = SimpleNamespace(state=folder / "ven.db", cert=folder / cert)
    settings = SimpleNamespace(ven=ven, vtn=SimpleNamespace(enrolment="https://vtn.example:8446"))
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        clock.advance(seconds)
        if len(slept) >= naps:
            raise Slept

    found = Renewal(
        settings, credentials(timedelta(days=90)), now=clock.now, sleep=sleep, draw=lambda: 0.0
    )
    outcomes = iter(tries)

    async def renew():
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    found._renew = renew
    return found, slept


async def test_it_waits_until_it_is_due_and_then_begins_anew(tmp_path, clock):
    clock.at = BEGIN + timedelta(days=59)
    found, slept = renewal(tmp_path, clock, tries=[None])

    with pytest.raises(Renewed):
        await found.run()

    assert clock.at == BEGIN + timedelta(days=60)
    assert max(slept) <= 3600


async def test_what_fails_is_tried_again_and_told_and_in_the_end_says_what_to_do(tmp_path, clock):
    clock.at = BEGIN + timedelta(days=60)
    found, slept = renewal(tmp_path, clock, tries=[EnrolmentFault("No answer.")] * 2, naps=2)
    with pytest.raises(Slept):
        await found.run()
    assert found.trouble == "The certificate could not be renewed: No answer."
    assert len(slept) == 2

    clock.at = BEGIN + timedelta(days=90)
    found, _ = renewal(tmp_path, clock, tries=[EnrolmentFault("No answer.")], naps=1)
    with pytest.raises(Slept):
        await found.run()
    assert "expired on 2030-04-01; ask for an enrolment code" in found.trouble


async def test_a_renewed_one_that_is_due_at_once_is_not_renewed_in_haste(tmp_path, clock):
    clock.at = BEGIN + timedelta(days=89, hours=23, minutes=59)
    found, slept = renewal(tmp_path, clock, tries=[None], cert="ven-renewed.pem")
    assert renewed_file(found._settings) == tmp_path / "ven-renewed.pem"

    with pytest.raises(Renewed):
        await found.run()

    assert slept == [0.75 * SHORTEST_S]


async def test_without_a_place_to_renew_it_only_waits(tmp_path, clock):
    found, slept = renewal(tmp_path, clock, naps=3)
    found.due_at = None

    with pytest.raises(Slept):
        await found.run()

    assert slept == [3600.0] * 3
