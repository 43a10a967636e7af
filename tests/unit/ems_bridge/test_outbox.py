import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_bridge import outbox as module
from ems_bridge.errors import OutboxFault
from ems_bridge.outbox import VERSION, Outbox

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)


@pytest.fixture
def box(tmp_path):
    with Outbox(tmp_path / "outbox.db") as box:
        yield box


def topics(box, now=AT, limit=100, but=()):
    return [letter.topic for letter in box.due(now, limit=limit, but=but)]


def test_messages_wait_in_their_order_until_they_are_removed(box):
    first = box.put("a", b"1")
    box.put("b", b"2", retain=True, expires_at=AT + timedelta(seconds=5))

    one, two = box.due(AT, limit=10)
    box.remove(first)
    box.remove(first)

    assert (one.topic, one.payload, one.retain, one.expires_at) == ("a", b"1", False, None)
    assert (two.payload, two.retain, two.expires_at) == (b"2", True, AT + timedelta(seconds=5))
    assert topics(box) == ["b"]


def test_they_survive_the_process(tmp_path):
    with Outbox(tmp_path / "outbox.db") as box:
        box.put("a", b"1")
    with Outbox(tmp_path / "outbox.db") as again:
        assert topics(again) == ["a"]
        assert again.put("b", b"2") == 2


def test_they_are_on_the_disk_before_put_returns(box):
    assert box._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert box._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_newer_one_takes_the_place_of_its_like(box):
    box.put("a", b"1", supersedes="set-point")
    box.put("b", b"2")
    box.put("a", b"3", supersedes="set-point")

    assert [letter.payload for letter in box.due(AT, limit=10)] == [b"2", b"3"]


def test_expiry_is_half_open(box):
    box.put("a", b"1", expires_at=AT)

    assert topics(box, now=AT - timedelta(microseconds=1)) == ["a"]
    assert topics(box, now=AT) == []
    assert len(box) == 0


def test_those_on_their_way_are_left_out(box):
    rows = [box.put(str(n), b"") for n in range(5)]

    assert topics(box, but={rows[0], rows[2]}, limit=2) == ["1", "3"]


def test_the_oldest_give_way_when_there_are_too_many(box, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    for n in range(5):
        box.put(str(n), b"")

    assert topics(box) == ["2", "3", "4"]


def test_a_newer_version_of_the_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "outbox.db"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={VERSION + 1}")
    db.close()

    with pytest.raises(OutboxFault, match="use the newer program"):
        Outbox(path)


def test_what_is_no_database_is_refused(tmp_path):
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is no database at all, it is a letter to a friend" * 20)

    with pytest.raises(OutboxFault, match="not a database"):
        Outbox(path)


def test_a_fault_in_a_transaction_changes_nothing(box):
    box.put("a", b"1", supersedes="k")
    with pytest.raises(OutboxFault):
        box.put(None, b"2", supersedes="k")

    assert topics(box) == ["a"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "x", "y"]), st.none() | st.integers(0, 20)), max_size=15
    ),
    st.integers(0, 20),
)
def test_it_holds_what_a_plain_list_would(tmp_path_factory, puts, later):
    model = []
    with Outbox(tmp_path_factory.mktemp("box") / "outbox.db") as box:
        for number, (key, ttl) in enumerate(puts):
            expires = None if ttl is None else AT + timedelta(seconds=ttl)
            box.put(str(number), b"", expires_at=expires, supersedes=key)
            model = [m for m in model if not key or m[1] != key] + [(str(number), key, expires)]
        now = AT + timedelta(seconds=later)

        assert topics(box, now=now) == [n for n, _, e in model if e is None or e > now]


def test_on_a_full_disk_the_next_try_has_the_reserve(box, tmp_path):
    (reserve,) = tmp_path.glob("*.reserve")
    (pages,) = box._db.execute("PRAGMA page_count").fetchone()
    box._db.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(OutboxFault, match="full"):
        box.put("topic", b"x" * 100_000)
    assert not reserve.exists()
    box._db.execute("PRAGMA max_page_count=10000")
    box.put("topic", b"x" * 100_000)

    assert len(box) == 1
    assert reserve.exists()


def test_a_damaged_outbox_is_set_aside(tmp_path):
    path = tmp_path / "outbox.db"
    path.write_bytes(bytes(512) + b"lost" * 500)

    with Outbox(path) as box:
        assert len(box) == 0
    assert len([*tmp_path.glob("outbox.db.damaged-*")]) == 1
