import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.errors import RingFault
from light_node.quality import Quality
from light_node.reading import Reading
from light_node.ring import QUARTERS_KEPT_S, READINGS_KEPT_S, RESERVE_BYTES, Ring

T0 = 1_800_000_000  # a quarter begins here
assert T0 % 900 == 0


def reading(seq, at, watts=100.0, quality=Quality.GOOD, meter="site"):
    values = {} if watts is None else {"active_power": watts, "energy_import": float(seq)}
    return Reading(
        meter=meter, seq=seq, k=int(at // 4), starts_at=float(at), quality=quality, values=values
    )


@pytest.fixture
def ring(tmp_path):
    ring = Ring(tmp_path / "ring.db", boot="boot-1", interval_s=4.0)
    yield ring
    ring.close()


def commit(ring, *readings, now=T0):
    ring.commit(readings, now=now)


def test_what_is_committed_is_read_back_as_columns(ring):
    gap = reading(2, T0 + 4, watts=None, quality=Quality.COMM)
    commit(ring, reading(1, T0), gap, reading(3, T0 + 8, 300.0))

    columns = ring.readings("site", after=0, limit=10)

    assert columns.ids == [1, 2, 3]
    assert columns.starts_at == [T0, T0 + 4, T0 + 8]
    assert columns.watts == [100.0, None, 300.0]
    assert columns.energy_wh == [1.0, None, 3.0]
    assert columns.texts() == ["good", "comm", "good"]


def test_reading_on_from_a_cursor_gives_each_row_once_and_only_of_that_meter(ring):
    commit(ring, *(reading(n, T0 + 4 * n, meter="site" if n % 2 else "sub") for n in range(1, 11)))

    first = ring.readings("site", after=0, limit=3)
    rest = ring.readings("site", after=first.ids[-1], limit=10)

    assert [*first.starts_at, *rest.starts_at] == [T0 + 4 * n for n in (1, 3, 5, 7, 9)]
    assert ring.readings("nobody", after=0, limit=3).ids == []


def test_a_page_is_read_by_its_ids_without_sorting_the_ring(ring):
    commit(ring, *(reading(n, T0 + 4 * n) for n in range(1, 11)))
    asked = []
    ring._db.set_trace_callback(asked.append)

    ring.readings("site", after=2, limit=3)

    (select,) = [one for one in asked if "FROM reading" in one]
    plan = " ".join(row[3] for row in ring._db.execute(f"EXPLAIN QUERY PLAN {select}"))
    assert "PRIMARY KEY" in plan
    assert "TEMP B-TREE" not in plan


def full(ring):
    """Not one page more than there is: what SQLite then says is what it says of a full disk."""
    (pages,) = ring._db.execute("PRAGMA page_count").fetchone()
    ring._db.execute(f"PRAGMA max_page_count={pages}")


def fill(ring, first, last):
    for begin in range(first, last, 50):
        commit(ring, *(reading(n, T0 + 4 * n) for n in range(begin, begin + 50)))


def test_on_a_full_disk_the_oldest_delivered_readings_give_way(ring, tmp_path):
    commit(ring, *(reading(n, T0 + 4 * n) for n in range(1, 3001)))
    full(ring)
    ring.delivered = 2000

    fill(ring, 3001, 4001)

    kept = ring.readings("site", after=0, limit=9000).ids
    assert kept == list(range(kept[0], 4001))
    assert 900 < kept[0] <= 2001
    assert ring.row_count == len(kept)


def test_on_a_full_disk_what_was_not_delivered_is_not_given_up(ring):
    commit(ring, *(reading(n, T0 + 4 * n) for n in range(1, 1001)))
    full(ring)

    with pytest.raises(RingFault, match="full"):
        fill(ring, 1001, 2001)

    assert ring.is_full
    assert ring.readings("site", after=0, limit=9000).ids[:1000] == list(range(1, 1001))
    ring._db.execute("PRAGMA max_page_count=100000")
    commit(ring, reading(2001, T0 + 4 * 2001))
    assert not ring.is_full


def test_the_reserve_goes_when_the_disk_is_full_and_comes_back(ring, tmp_path):
    reserve = tmp_path / "ring.db.reserve"
    assert reserve.stat().st_size == RESERVE_BYTES
    commit(ring, *(reading(n, T0 + 4 * n) for n in range(1, 1001)))
    full(ring)
    ring._reserve.restore = lambda: False  # as long as the disk is full

    with pytest.raises(RingFault):
        fill(ring, 1001, 2001)

    assert not reserve.exists()
    del ring._reserve.restore
    ring._db.execute("PRAGMA max_page_count=100000")
    commit(ring, reading(2001, T0 + 4 * 2001))
    assert reserve.exists()


def test_each_thing_the_disk_refuses_is_a_fault_of_the_ring(ring):
    commit(ring, reading(1, T0))
    ring._db.close()

    for act in (
        lambda: commit(ring, reading(2, T0 + 4)),
        lambda: ring.mark_event("e", T0, T0 + 60),
        lambda: ring.import_quarters("site", [(T0 - 900, 1.0)], now=T0),
        lambda: ring.readings("site", after=0, limit=1),
        lambda: ring.quarters("site", T0, T0 + 900),
    ):
        with pytest.raises(RingFault, match="disk"):
            act()
    ring._db = sqlite3.connect(":memory:")  # for the fixture to close


def test_ids_go_on_after_a_restart_and_after_the_newest_rows_are_gone(tmp_path):
    path = tmp_path / "ring.db"
    ring = Ring(path, boot="boot-1", interval_s=4.0)
    commit(ring, reading(1, T0), reading(2, T0 + 4))
    ring.close()
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM reading")
    db.close()

    again = Ring(path, boot="boot-2", interval_s=4.0)
    commit(again, reading(1, T0 + 8))

    assert again.readings("site", after=0, limit=9).ids == [3]
    again.close()


def test_a_ring_of_the_first_version_is_brought_up_to_date_and_its_ids_go_on(tmp_path):
    path = tmp_path / "ring.db"
    ring = Ring(path, boot="boot-1", interval_s=4.0)
    commit(ring, reading(1, T0), reading(2, T0 + 4))
    ring.close()
    with sqlite3.connect(path) as db:
        db.executescript(
            """
            ALTER TABLE reading ADD COLUMN k INTEGER NOT NULL DEFAULT 7;
            ALTER TABLE reading ADD COLUMN took_ms REAL NOT NULL DEFAULT 1.5;
            ALTER TABLE reading RENAME COLUMN start_error_us TO start_error_ms;
            UPDATE reading SET start_error_ms = 2.5;
            CREATE UNIQUE INDEX twice ON reading (boot, seq);
            PRAGMA user_version=1;
            """
        )
    db.close()

    again = Ring(path, boot="boot-2", interval_s=4.0)
    commit(again, reading(1, T0 + 8))

    found = again.readings("site", after=0, limit=9)
    assert (found.ids, found.watts, found.starts_at[0]) == ([1, 2, 3], [100.0] * 3, T0)
    assert found.start_error_ms == [2.5, 2.5, 0.0]
    assert len(again.span("site", T0, T0 + 8, limit=9).ids) == 2
    again.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    db.close()
    assert names.isdisjoint({"twice", "earlier"})
    assert "reading_by_time" in names


def test_the_same_reading_twice_is_there_once(ring):
    commit(ring, reading(1, T0))

    commit(ring, reading(1, T0), reading(2, T0 + 4))

    assert ring.readings("site", after=0, limit=9).starts_at == [T0, T0 + 4]
    assert ring.row_count == 2


def test_a_commit_that_the_disk_refuses_leaves_nothing_behind(ring):
    odd = replace(reading(2, T0 + 4), start_error_s=1e300)

    with pytest.raises((RingFault, OverflowError)):
        commit(ring, reading(1, T0), odd)

    assert ring.readings("site", after=0, limit=9).ids == []


def test_a_meter_first_met_in_a_refused_commit_is_known_in_the_next(ring):
    commit(ring, reading(1, T0))
    with pytest.raises(OverflowError):
        commit(ring, reading(2, T0, meter="new"), replace(reading(3, T0), start_error_s=1e300))

    commit(ring, reading(2, T0, meter="new"))

    assert ring.readings("new", after=0, limit=9).watts == [100.0]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=225))
def test_a_quarters_energy_is_that_of_its_good_readings(tmp_path_factory, watts):
    ring = Ring(tmp_path_factory.mktemp("ring") / "ring.db", boot="b", interval_s=4.0)
    rows = [reading(n + 1, T0 + 4 * n, power) for n, power in enumerate(watts)]
    bad = [reading(1000, T0 + 1, 9e9, Quality.STALE), reading(1001, T0 + 2, None, Quality.COMM)]

    commit(ring, *rows[: len(rows) // 2], *bad)
    commit(ring, *rows[len(rows) // 2 :])
    (quarter,) = ring.quarters("site", T0, T0 + 900)
    ring.close()

    assert quarter.watts == pytest.approx(sum(watts) / len(watts), abs=1e-6)
    assert quarter.covered_s == 4.0 * len(watts)
    assert not quarter.imported


def test_ticks_lived_twice_do_not_cover_more_than_a_quarter(ring):
    commit(ring, *(reading(n, T0 + 4 * (n % 225)) for n in range(1, 451)))

    assert ring.quarters("site", T0, T0 + 900)[0].covered_s == 900


def test_a_week_of_readings_stays_and_a_season_of_quarters(ring):
    now = T0 + QUARTERS_KEPT_S + 10
    old, young = now - READINGS_KEPT_S - 5, now - READINGS_KEPT_S + 4000
    event_day = T0 + 20 * 86_400
    ring.mark_event("e", event_day + 3600, event_day + 7200)
    commit(ring, reading(1, T0), reading(2, event_day), reading(3, old), reading(4, young))

    commit(ring, reading(5, now), now=now)
    commit(ring, reading(6, now + 4), now=now + 3600)

    kept = ring.span("site", 0, now + 9, limit=99).starts_at
    assert kept == [event_day, young, now, now + 4]
    assert {q.starts_at for q in ring.quarters("site", 0, now)} >= {event_day // 900 * 900}
    assert not ring.quarters("site", T0, T0 + 900)
    assert ring.row_count == 4


def test_a_clock_that_leaps_ahead_for_a_while_costs_nothing(ring):
    commit(ring, reading(1, T0))
    far = T0 + 10 * 365 * 86_400

    commit(ring, reading(2, far), now=far)
    commit(ring, reading(3, far + 60), now=far + 60)
    commit(ring, reading(4, T0 + 120), now=T0 + 120)

    assert T0 in ring.span("site", 0, T0 + 1, limit=9).starts_at


def test_history_is_taken_in_and_shown_as_imported(ring):
    assert ring.import_quarters("site", [(T0, 5000.0), (T0 + 900, 6000.0)], now=T0 + 1800) == 2

    quarters = ring.quarters("site", T0, T0 + 1800)
    assert [(q.starts_at, q.watts, q.imported) for q in quarters] == [
        (T0, 5000.0, True),
        (T0 + 900, 6000.0, True),
    ]


def test_history_may_be_imported_again_but_never_over_what_was_measured(ring):
    commit(ring, *(reading(n + 1, T0 + 4 * n) for n in range(225)))
    ring.import_quarters("site", [(T0 - 900, 1.0)], now=T0 + 900)
    ring.import_quarters("site", [(T0 - 900, 2.0)], now=T0 + 900)

    with pytest.raises(RingFault, match="overlaps what this node has measured"):
        ring.import_quarters("site", [(T0 - 1800, 3.0), (T0, 3.0)], now=T0 + 900)

    assert [q.watts for q in ring.quarters("site", T0 - 1800, T0 + 900)] == [2.0, 100.0]


def test_history_of_the_future_is_refused(ring):
    with pytest.raises(RingFault, match="future"):
        ring.import_quarters("site", [(T0, 1.0)], now=T0 + 899)


def test_a_quarter_only_begun_does_not_replace_an_imported_one(ring):
    ring.import_quarters("site", [(T0, 5000.0)], now=T0 + 900)
    commit(ring, reading(1, T0 + 896))

    assert ring.quarters("site", T0, T0 + 900)[0].watts == 5000.0


def test_a_file_of_a_newer_program_is_refused(tmp_path):
    path = tmp_path / "ring.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()

    with pytest.raises(RingFault, match="newer light node wrote this file"):
        Ring(path, boot="b", interval_s=4.0)


def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(RingFault, match="cannot be kept there"):
        Ring(tmp_path / "file" / "ring.db", boot="b", interval_s=4.0)


def test_a_damaged_ring_is_set_aside(tmp_path):
    path = tmp_path / "ring.db"
    path.write_bytes(bytes(512) + b"lost" * 500)

    ring = Ring(path, boot="boot-1", interval_s=4.0)
    commit(ring, reading(1, T0))

    assert ring.set_aside.exists()
    assert ring.readings("site", after=0, limit=9).ids == [1]
    ring.close()
