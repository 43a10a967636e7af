"""What a process makes of the notices it hears."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from vtn.directory import SOON, Directory
from vtn.following import Following
from vtn.news import notices
from vtn.records import Ven

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)


@pytest.fixture
def directory():
    given = {"name": "x", "added_at": NOW, "added_by": "anna"}
    found = Directory(
        Ven(ven_id=name, certificate_sha256=name * 64, **given) for name in ("a", "b")
    )
    for entry in found.entries():
        entry.due_at = None
    return found


@pytest.fixture
def hear(directory):
    url = "postgresql+asyncpg://vtn@db/vtn"
    settings = SimpleNamespace(store=SimpleNamespace(url=url))
    office = SimpleNamespace(directory=directory, process_id="me", settings=settings)
    following = Following(office)

    def heard(**what):
        by = what.pop("by", "other")
        for payload in notices(by, **what):
            following._heard(payload)
        return following

    return heard


def due(directory):
    return [one.due_at for one in directory.entries()]


def test_it_wakes_whom_another_process_names(hear, directory):
    hear(woken=["b", "unknown"])

    assert due(directory) == [None, SOON]


def test_it_wakes_everybody_where_there_are_too_many_to_name(hear, directory):
    hear(woken=[f"{number:0200}" for number in range(5000)])

    assert due(directory) == [SOON, SOON]


def test_what_it_said_itself_is_no_news(hear, directory):
    following = hear(by="me", woken=["a"], changed=["b"])

    assert due(directory) == [None, None]
    assert following._to_read == set()


def test_it_reads_again_who_has_changed(hear):
    following = hear(changed=["a", "new"])

    assert following._to_read == {"a", "new"}
    assert following._bell.is_set()


def test_it_learns_who_was_heard_of_and_who_cannot_be_reached(hear, directory):
    hear(heard={"a": NOW.timestamp()}, reached={"b": False})

    first, second = directory.entries()
    assert first.last_contact_at == NOW
    assert second.unreachable


def test_a_notice_that_makes_no_sense_is_logged_and_left(hear, directory):
    following = hear()
    with capture_logs() as logs:
        following._heard('{"by": 7}')

    assert [line["event"] for line in logs] == ["a notice makes no sense"]
    assert due(directory) == [None, None]
