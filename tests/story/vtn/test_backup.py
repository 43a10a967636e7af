"""Backups of both databases: made while others write, put back, and what VENs bring then."""

import asyncio
import hashlib
import itertools
import sqlite3
import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from oadr.event import DistributeEvent
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    ReportInterval,
)
from oadr.response import EiResponse
from oadr.vocabulary import ServiceName
from tests.story.vtn.contents import contents, fill
from tests.story.vtn.test_first_version import GIVEN
from tests.story.vtn.utility import Speaker, Utility, settings, values
from vtn import backup
from vtn.copying import copy
from vtn.errors import BackupFault, NewerSchema
from vtn.records import RequestState
from vtn.recovery import ask_again
from vtn.store import Store, audit, migrate
from vtn.store.engine import sqlite_file


@pytest.fixture
async def full(database):
    """The URL of a database with something in every table."""
    await migrate(database)
    await fill(database, {name: rows for name, rows in GIVEN.items() if name != "alembic_version"})
    return database


@pytest.fixture
def elsewhere(database, tmp_path, request):
    """The URL of another, empty database of the same kind."""
    if sqlite_file(database):
        yield f"sqlite+aiosqlite:///{tmp_path / 'elsewhere' / 'vtn.db'}"
        return
    cluster = request.getfixturevalue("postgres")
    name, url = cluster.fresh()
    yield url
    cluster.drop(name)


async def restore(url, file, clock, **how):
    return await backup.restore(url, file, **{"force": False, "now": clock.now(), **how})


async def test_what_is_restored_is_what_was_backed_up(full, elsewhere, tmp_path, clock):
    seen = []
    file = tmp_path / "vtn.backup"
    made = await backup.back_up(full, file, progress=lambda *at: seen.append(at))

    assert await restore(elsewhere, file, clock) == ""

    assert await contents(elsewhere) == await contents(full)
    assert seen
    assert made.size_bytes == file.stat().st_size
    said = (tmp_path / "vtn.backup.sha256").read_text()
    assert said == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  vtn.backup\n"
    checking = await asyncio.create_subprocess_exec(
        "sha256sum", "--quiet", "-c", "vtn.backup.sha256", cwd=tmp_path
    )
    assert await checking.wait() == 0
    assert (await backup.verify(file)).sha256 == made.sha256
    # what is written there now goes on like in the first: triggers, keys and counters are there
    store = await Store.open(elsewhere)
    async with store.write() as connection:
        await connection.execute(
            text(
                "INSERT INTO audit (at, actor, act, subject, outcome, detail) "
                "VALUES ('2030-01-09 15:00:00', 'a', 'b', 'c', 'ok', '')"
            )
        )
        await connection.execute(text("UPDATE measurement_blocks SET samples = samples"))
        due = await connection.scalar(text("SELECT count(*) FROM rollups_due"))
    await store.close()
    assert due == len(GIVEN["measurement_blocks"])


async def test_a_backup_is_of_one_instant_while_others_write(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}"
    await migrate(url)
    filling = sqlite3.connect(tmp_path / "vtn.db")
    line = (
        "INSERT INTO audit (at, actor, act, subject, outcome, detail) VALUES ('', '', ?, '', '', ?)"
    )
    filling.executemany(line, [("filling", "x" * 1000)] * 15_000)
    filling.execute("INSERT INTO market_contexts VALUES ('counter', '0')")
    filling.commit()
    filling.close()
    done, under_way = threading.Event(), threading.Event()
    written = []

    def write():
        own = sqlite3.connect(tmp_path / "vtn.db", timeout=10)
        for number in itertools.count(1):
            if done.is_set():
                break
            own.execute("UPDATE market_contexts SET name = ? WHERE uri = 'counter'", (number,))
            own.execute(line, ("count", str(number)))
            own.commit()
            written.append(number)
            under_way.set()
        own.close()

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    try:
        assert await asyncio.to_thread(under_way.wait, 10)
        file = tmp_path / "copy.db"
        before = len(written)
        seen = []
        await backup.back_up(url, file, progress=lambda done, _whole: seen.append(done))
        after = len(written)
    finally:
        done.set()
        await asyncio.to_thread(writing.join)

    copy = sqlite3.connect(file)
    (counter,) = copy.execute("SELECT name FROM market_contexts").fetchone()
    (lines,) = copy.execute("SELECT count(*) FROM audit WHERE act = 'count'").fetchone()
    assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    copy.close()
    assert int(counter) == lines
    assert before <= lines <= after
    assert seen == sorted(seen), "it began again"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


async def test_a_damaged_backup_is_refused_and_changes_nothing(full, elsewhere, tmp_path, clock):
    file = tmp_path / "vtn.backup"
    await backup.back_up(full, file)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)

    with pytest.raises(BackupFault, match="its checksum is not that beside it"):
        await restore(elsewhere, file, clock)
    with pytest.raises(BackupFault, match="its checksum"):
        await restore(full, file, clock, force=True)

    assert (await contents(full))["vens"]


@pytest.mark.parametrize("content", [b"", b"anything", b"SQLite format 3\0 and then nothing"])
async def test_what_is_no_backup_is_refused(tmp_path, clock, content):
    file = tmp_path / "vtn.backup"
    file.write_bytes(content)

    with pytest.raises(BackupFault, match=r"no backup of a VTN"):
        await restore(f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}", file, clock)
    with pytest.raises(BackupFault, match=r"missing: no such file"):
        await backup.verify(tmp_path / "missing")


async def test_a_database_with_anything_in_it_is_replaced_by_force_only(full, tmp_path, clock):
    file = tmp_path / "vtn.backup"
    await backup.back_up(full, file)
    with pytest.raises(BackupFault, match="is not empty; with --force"):
        await restore(full, file, clock)
    async with _written(full) as connection:
        await connection.execute(text("UPDATE vens SET name = 'changed since'"))
    before = await contents(full)

    kept = await restore(full, file, clock, force=True)

    assert kept
    assert {row["name"] for row in (await contents(full))["vens"]} != {"changed since"}
    if sqlite_file(full):
        assert await contents(f"sqlite+aiosqlite:///{kept}") == before
    else:
        async with _written(full) as connection:
            schema = kept.removeprefix("the schema ")
            names = await connection.scalars(text(f"SELECT DISTINCT name FROM {schema}.vens"))
            assert list(names) == ["changed since"]
        # and the next backup does not carry the old one along
        again = await backup.back_up(full, tmp_path / "again")
        assert again.size_bytes < 1.1 * file.stat().st_size


class _written:  # noqa: N801 - reads as what it is: a transaction
    def __init__(self, url):
        self._url = url

    async def __aenter__(self):
        self._store = await Store.open(self._url)
        self._begun = self._store.write()
        return await self._begun.__aenter__()

    async def __aexit__(self, *error):
        await self._begun.__aexit__(*error)
        await self._store.close()


async def test_nobody_may_have_the_database_open(full, tmp_path, clock):
    file = tmp_path / "vtn.backup"
    await backup.back_up(full, file)
    serving = await Store.open(full)
    async with serving.read() as connection:
        await connection.execute(text("SELECT 1 FROM vens"))

    with pytest.raises(BackupFault, match="in use; stop vtn serve first"):
        await restore(full, file, clock, force=True)
    with pytest.raises(BackupFault, match="in use; stop vtn serve first"):
        await backup.have_for_ourselves(full)

    await serving.close()
    await backup.have_for_ourselves(full)
    assert await restore(full, file, clock, force=True)


async def test_a_damaged_database_is_replaced_and_kept(tmp_path, clock):
    url = f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}"
    await migrate(url)
    file = tmp_path / "vtn.backup"
    await backup.back_up(url, file)
    (tmp_path / "vtn.db").write_bytes(b"the disk has had its day" * 1000)
    (tmp_path / "vtn.db-wal").write_bytes(b"this, too")

    kept = await restore(url, file, clock, force=True)

    assert not (tmp_path / "vtn.db-wal").exists()
    await (await Store.open(url)).close()
    assert kept.endswith("vtn.db.before-restore-20300109T140000Z")


async def test_a_backup_never_replaces_a_file(full, tmp_path):
    (tmp_path / "vtn.backup").write_text("dear to me")

    with pytest.raises(BackupFault, match="is there already; give another name"):
        await backup.back_up(full, tmp_path / "vtn.backup")
    with pytest.raises(BackupFault, match="no such file or directory"):
        await backup.back_up(full, tmp_path / "nowhere" / "vtn.backup")
    assert (tmp_path / "vtn.backup").read_text() == "dear to me"


async def test_a_backup_of_the_other_kind_or_of_a_later_version_is_refused(full, tmp_path, clock):
    file = tmp_path / "vtn.backup"
    async with _written(full) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await backup.back_up(full, file)

    other = (
        "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"
        if sqlite_file(full)
        else f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    )
    with pytest.raises(BackupFault, match="then use vtn copy"):
        await restore(other, file, clock)
    if sqlite_file(full):
        with pytest.raises(NewerSchema):
            await restore(f"sqlite+aiosqlite:///{tmp_path / 'other.db'}", file, clock)


async def test_without_postgresqls_programs_one_sentence_says_so(tmp_path, monkeypatch, postgres):
    name, url = postgres.fresh()
    await migrate(url)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BackupFault, match="pg_dump is missing; install PostgreSQL's client"):
        await backup.back_up(url, tmp_path / "vtn.backup")
    assert list(tmp_path.iterdir()) == []
    postgres.drop(name)


# --- from one kind of database to the other -------------------------------------------------------


async def test_everything_moves_from_one_database_to_another_and_back(
    full, tmp_path, postgres, clock
):
    name, far = postgres.fresh()
    near = f"sqlite+aiosqlite:///{tmp_path / 'near.db'}"
    other, back = (far, near) if sqlite_file(full) else (near, far)
    seen = set()

    copied = await copy(full, other, progress=lambda table, *_: seen.add(table))
    await copy(other, back, progress=lambda *_: None)

    before = await contents(full)
    assert await contents(other) == await contents(back) == before
    assert copied == {table: len(rows) for table, rows in before.items() if table in copied}
    assert {"vens", "measurement_blocks", "audit"} <= seen
    store = await Store.open(other)
    async with store.write() as connection:  # numbers go on after those that were copied
        await audit.note(connection, at=clock.now(), actor="a", act="b", subject="c")
    await store.close()
    with pytest.raises(BackupFault, match="is not empty: its table"):
        await copy(full, other, progress=lambda *_: None)
    with pytest.raises(BackupFault, match="names the database of the settings itself"):
        await copy(full, full, progress=lambda *_: None)
    postgres.drop(name)


async def test_a_copy_that_is_interrupted_leaves_the_other_database_empty(full, tmp_path):
    other = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"

    def pull_the_plug(table, *_):
        if table == "series":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy(full, other, progress=pull_the_plug)

    assert await copy(full, other, progress=lambda *_: None)


# --- what VENs bring again ------------------------------------------------------------------------


async def test_a_ven_is_asked_again_from_where_the_backup_ends(house, tmp_path, clock):
    """The VEN goes on with its old request until it is told otherwise, and nothing is refused."""
    ven = await house.registered()
    (old,) = (await ven.offer()).requests
    created = CreatedReport(
        response=EiResponse(request_id="meta"),
        pending_report_request_ids=(old.report_request_id,),
        ven_id="0042",
    )
    await ven.say(ServiceName.REPORT, created, object)
    started_at = clock.now()
    await ven.update(values(old.report_request_id, started_at, (1.0,) * 15))
    event = await house.publish()
    await ven.poll(DistributeEvent)
    await ven.answer(event.event)
    url = house.settings.store.url
    await backup.back_up(url, tmp_path / "vtn.backup")
    clock.advance(60)
    await ven.update(values(old.report_request_id, started_at + timedelta(seconds=60), (2.0,) * 15))
    clock.advance(60)

    await house.store.close()
    await restore(url, tmp_path / "vtn.backup", clock, force=True)
    store = await Store.open(url)
    ids = (f"new-{number}" for number in itertools.count())
    asked = await ask_again(store, now=clock.now(), new_id=lambda: next(ids))
    await store.close()
    assert (asked.vens, asked.reports) == (1, 1)
    assert asked.since == started_at + timedelta(seconds=60)

    again = Utility(settings(url, tmp_path), clock)
    await again.start()
    try:
        ven = Speaker(again, "0042", ven.certificate)
        live = values(old.report_request_id, clock.now(), (3.0,) * 15)
        answer = await ven.update(live)
        assert answer.response.ok
        assert answer.cancel.report_request_ids == (old.report_request_id,)
        stopped = CanceledReport(
            response=EiResponse(request_id=answer.cancel.request_id), ven_id="0042"
        )
        await ven.say(ServiceName.REPORT, stopped, object)
        heard = [await ven.poll(object) for _ in range(2)]
        (new,) = next(one for one in heard if isinstance(one, CreateReport)).requests
        assert any(isinstance(one, DistributeEvent) for one in heard)
        assert (new.granularity, new.payloads) == (old.granularity, old.payloads)
        assert new.interval == ReportInterval(starts_at=asked.since, duration=timedelta(0))
        await ven.update(values(new.report_request_id, asked.since, (2.0,) * 15 + (3.0,) * 15))

        held = await again.desk.measurements(
            "0042", "P", started_at, clock.now() + timedelta(hours=1)
        )
        assert list(held.values) == [1.0] * 15 + [2.0] * 15 + [3.0] * 15
        states = {
            one.request.report_request_id: one.state
            for one in (await again.desk.reports("0042")).requests
        }
        assert states == {
            old.report_request_id: RequestState.CANCELLED,
            new.report_request_id: RequestState.ACTIVE,
        }
        assert (await again.desk.audit(actor="system"))[0].act == "restore backup"
        assert not isinstance(await ven.poll(object), CancelReport)
    finally:
        await again.store.close()
