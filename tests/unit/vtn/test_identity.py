from datetime import UTC, datetime

import pytest

import oadr
from oadr.event import RequestEvent
from oadr.poll import Poll
from oadr.registration import CreatePartyRegistration, QueryRegistration
from vtn.directory import SOON, Directory
from vtn.errors import Rejected
from vtn.identity import caller, fitting
from vtn.records import Ven

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)


def ven(ven_id="Abc", sha256="a" * 64, **changes) -> Ven:
    given = {
        "name": "x",
        "added_at": NOW,
        "added_by": "anna",
        "registration_id": "r",
    }
    return Ven(ven_id=ven_id, certificate_sha256=sha256, **{**given, **changes})


@pytest.fixture
def directory() -> Directory:
    return Directory([ven(), ven("other", "b" * 64), ven("new", "c" * 64, registration_id=None)])


@pytest.mark.parametrize("named", ["Abc", None])
def test_the_certificate_says_who_speaks(directory, named):
    assert caller(directory, "a" * 64, Poll, named).ven.ven_id == "Abc"


@pytest.mark.parametrize(
    ("sha256", "kind", "named", "code"),
    [
        (None, Poll, "Abc", "463"),
        ("d" * 64, Poll, "Abc", "463"),
        ("d" * 64, QueryRegistration, None, "463"),
        ("a" * 64, Poll, "other", "452"),
        ("a" * 64, Poll, "abc", "452"),
        ("a" * 64, Poll, "", "452"),
        ("a" * 64, CreatePartyRegistration, "other", "452"),
        ("c" * 64, Poll, "new", "463"),
        ("c" * 64, RequestEvent, "new", "463"),
        ("c" * 64, None, None, "463"),
    ],
)
def test_who_may_not_speak_is_told_by_code(directory, sha256, kind, named, code):
    """Rules 512 and 517."""
    with pytest.raises(Rejected) as caught:
        caller(directory, sha256, kind, named)

    assert caught.value.response_code == code


@pytest.mark.parametrize("kind", [QueryRegistration, CreatePartyRegistration])
def test_an_unregistered_ven_may_register(directory, kind):
    assert caller(directory, "c" * 64, kind, None).ven.ven_id == "new"


def test_a_revoked_ven_is_nobody_from_then_on(directory):
    directory.put(ven(revoked_at=NOW))

    assert directory.by_certificate("a" * 64) is None
    assert directory.by_id("Abc") is not None


@pytest.mark.parametrize("text", ["", "x" * 256])
def test_an_identifier_that_cannot_be_kept_is_refused(text):
    with pytest.raises(Rejected):
        fitting("rID", text)
    assert fitting("rID", "0042") == "0042"


def test_what_is_put_in_wakes_the_ven(directory):
    entry = directory.by_id("Abc")
    entry.due_at = None
    before = entry.wakes

    directory.wake(["Abc", "nobody"])

    assert (entry.due_at, entry.wakes) == (SOON, before + 1)
    assert entry.is_due(NOW)


def test_contacts_are_told_once(directory):
    directory.touch(directory.by_id("Abc"), NOW)

    assert directory.new_contacts() == {"Abc": NOW}
    assert directory.new_contacts() == {}


def test_the_idle_answer_carries_the_ven_id_as_text(directory):
    directory.put(ven('<&">', "e" * 64))

    reply = oadr.parse(directory.by_id('<&">').idle)

    assert (reply.ven_id, reply.response.response_code) == ('<&">', "200")


def test_a_refusal_quotes_so_much_of_a_message_and_no_more():
    assert str(Rejected("452", "There is no event 'e'.")) == "There is no event 'e'."
    assert len(str(Rejected("452", f"There is no event '{'e' * 100_000}'."))) < 600
