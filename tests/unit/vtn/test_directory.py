"""The directory: what it is told, what it tells, and when it is in doubt."""

from datetime import UTC, datetime, timedelta

import pytest

from vtn.directory import LEFT_ON_DISK, SOON, Directory
from vtn.records import Ven

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def ven(**changes):
    given = {
        "ven_id": "0042",
        "name": "Building",
        "certificate_sha256": "a" * 64,
        "added_at": NOW,
        "added_by": "anna",
        "registration_id": "r",
        "registered_at": NOW,
    }
    return Ven(**(given | changes))


@pytest.fixture
def directory():
    return Directory([ven()])


def test_a_revoked_certificate_is_nobodys_and_its_connections_are_closed(directory):
    closed = []
    directory.on_shut_out = closed.append

    for _ in range(2):
        directory.put(ven(revoked_at=LATER))

    assert directory.by_certificate("a" * 64) is None
    assert closed == ["a" * 64]


def test_a_certificate_that_another_one_replaced_is_nobodys(directory):
    closed = []
    directory.on_shut_out = closed.append

    directory.put(ven(certificate_sha256="b" * 64))

    assert directory.by_certificate("a" * 64) is None
    assert directory.by_certificate("b" * 64) is directory.by_id("0042")
    assert closed == ["a" * 64]


def test_what_was_handed_out_before_a_new_registration_is_not_confirmed_after_it(directory):
    entry = directory.by_id("0042")
    entry.unconfirmed = (1, {"E": 0})

    directory.put(ven(name="renamed"))
    assert entry.unconfirmed == (1, {"E": 0})

    directory.put(ven(registered_at=LATER))
    assert entry.unconfirmed is None


def test_whoever_is_woken_is_due_at_once(directory):
    directory.put(ven(ven_id="other", certificate_sha256="b" * 64))
    for entry in directory.entries():
        entry.due_at = None

    directory.wake(["other", "unknown"])
    assert [one.due_at for one in directory.entries()] == [None, SOON]

    directory.wake_all()
    assert [one.due_at for one in directory.entries()] == [SOON, SOON]


def test_a_doubt_that_arose_while_all_was_read_anew_remains():
    directory = Directory()
    assert not directory.in_doubt

    begun = directory.doubt()
    directory.doubt()
    directory.dispel(begun)
    assert directory.in_doubt

    directory.dispel(directory.doubts)
    assert not directory.in_doubt


def test_of_two_contacts_the_later_one_counts_whoever_heard_of_it(directory):
    entry = directory.by_id("0042")
    directory.touch(entry, LATER)
    directory.heard("0042", NOW)
    directory.heard("unknown", NOW)
    directory.put(ven(last_contact_at=NOW))
    assert entry.last_contact_at == LATER

    directory.heard("0042", LATER + timedelta(seconds=1))
    assert entry.last_contact_at == LATER + timedelta(seconds=1)


def test_only_contacts_of_our_own_are_written_down_and_told(directory):
    directory.untold()
    directory.heard("0042", NOW)
    assert (directory.untold(), directory.new_contacts()) == (({}, {}), {})

    directory.touch(directory.by_id("0042"), LATER)
    assert directory.untold() == ({"0042": LATER.timestamp()}, {})
    assert directory.untold() == ({}, {})
    assert directory.new_contacts() == {"0042": LATER}


def test_it_is_told_once_that_a_ven_cannot_be_reached_and_once_that_it_can(directory):
    entry = directory.by_id("0042")
    for arrived in (False, False):
        directory.reach(entry, arrived=arrived)
    assert directory.untold() == ({}, {"0042": False})

    directory.reach(entry, arrived=True)
    directory.reach(entry, arrived=True)
    assert directory.untold() == ({}, {"0042": True})

    directory.reached("0042", arrived=False)
    assert entry.unreachable
    assert directory.untold() == ({}, {})


@pytest.mark.parametrize("needs_it", [{"xml_signature": True}, {"push_address": "https://mill"}])
def test_a_certificate_that_each_request_shows_again_is_left_in_the_database(directory, needs_it):
    assert directory.put(ven(certificate_der=None)).ven.certificate_der is None
    assert directory.put(ven(certificate_der=b"DER")).ven.certificate_der == LEFT_ON_DISK
    assert directory.put(ven(certificate_der=b"DER", **needs_it)).ven.certificate_der == b"DER"
