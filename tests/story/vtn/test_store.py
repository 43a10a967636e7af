"""The store: versions, durability, and updates that come at the same time."""

import asyncio
import importlib
import pkgutil
from datetime import timedelta

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import vtn.store
from oadr.replay import Nonce
from oadr.report import (
    CreatedReport,
    CreateReport,
    ReportInterval,
    ReportRequest,
    SpecifierPayload,
)
from oadr.target import Target
from oadr.vocabulary import ServiceName
from tests.story.vtn.utility import utility, values
from vtn.directory import SOON
from vtn.errors import NewerSchema, NotAtHead, StoreUnavailable
from vtn.gateway import PUSHED
from vtn.records import Point, Samples
from vtn.services.office import LOOK_AGAIN, Caller
from vtn.services.poll import next_message
from vtn.services.pushed import not_arrived
from vtn.store import Store, audit, measurements, migrate, outbox, reports, vens
from vtn.store import engine as engine_module
from vtn.store.engine import revision
from vtn.store.nonces import Nonces
from vtn.store.tables import Table
from vtn.tally import NOTHING_YET

HEAD = engine_module.head()


def periodic_metadata(now):
    return ReportRequest(
        report_request_id="metadata",
        report_specifier_id="METADATA",
        granularity=timedelta(0),
        report_back=timedelta(hours=1),
        interval=ReportInterval(starts_at=now, duration=timedelta(days=1)),
        payloads=(SpecifierPayload(r_id="0"),),
    )


async def test_a_database_without_tables_is_not_opened(database):
    with pytest.raises(NotAtHead, match="run vtn init"):
        await Store.open(database)

    assert await revision(database) == (None, HEAD)


async def test_migrating_twice_changes_nothing(database):
    assert await migrate(database) == (None, HEAD)
    assert await migrate(database) == (HEAD, HEAD)

    await (await Store.open(database)).close()


async def test_the_migrations_make_exactly_the_tables_of_the_code(database):
    for module in pkgutil.iter_modules(vtn.store.__path__):
        importlib.import_module(f"vtn.store.{module.name}")  # some declare tables of their own
    await migrate(database)
    store = await Store.open(database)

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), Table.metadata)

    async with store.read() as connection:
        found = await connection.run_sync(differences)
    await store.close()

    assert found == []


async def test_a_database_of_the_first_version_keeps_all_it_holds(database):
    """Every schema that was ever shipped can be opened after `vtn init`."""
    await migrate_to(database, "0001")
    with pytest.raises(NotAtHead, match="is at version 0001, not "):
        await Store.open(database)

    assert await migrate(database) == ("0001", HEAD)

    store = await Store.open(database)
    async with store.read() as connection:
        ven = await vens.find(connection, "0042")
        found = await reports.requests(connection, "0042")
        messages = await outbox.waiting(connection, "0042")
    await store.close()
    assert ven is not None
    assert (ven.registration_id, ven.resources) == ("reg-1", ("roof",))
    assert (ven.certificate_der, ven.push_address, ven.xml_signature) == (None, None, False)
    assert [one.request.report_request_id for one in found] == ["R1"]
    assert (found[0].state, found[0].tally, found[0].to_follow) == ("active", NOTHING_YET, False)
    assert [one.kind for one in messages] == ["oadrCancelReport"]


_OF_THE_FIRST_VERSION = """
    INSERT INTO vens (ven_id, name, certificate_sha256, added_at, added_by, registration_id,
        registered_at, report_only)
    VALUES ('0042', 'HQ', 'ab', '2030-01-09 14:00:00', 'anna', 'reg-1', '2030-01-09 14:00:00',
        false);
    INSERT INTO resources (ven_id, resource_id) VALUES ('0042', 'roof');
    INSERT INTO report_requests (report_request_id, ven_id, report_name, document, state, asked_at,
        asked_by)
    VALUES ('R1', '0042', 'TELEMETRY_USAGE', :request, 'active', '2030-01-09 14:00:00', 'anna');
    INSERT INTO outbox (ven_id, kind, request_id, subjects, body, queued_at)
    VALUES ('0042', 'oadrCancelReport', 'q', '["R1"]', '<x/>', '2030-01-09 14:00:00')
"""


async def migrate_to(database, version):
    """The tables of that version with a VEN, a report request and a message waiting."""
    engine = create_async_engine(database)

    def upgrade(connection):
        config = engine_module._config()
        config.attributes["connection"] = connection
        command.upgrade(config, version)

    request = msgspec.json.encode(
        ReportRequest(
            report_request_id="R1",
            report_specifier_id="usage",
            granularity=timedelta(seconds=4),
            report_back=timedelta(seconds=60),
            payloads=(SpecifierPayload(r_id="P"),),
        )
    ).decode()
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
        for row in _OF_THE_FIRST_VERSION.split(";"):
            await connection.execute(text(row), {"request": request} if ":request" in row else {})
    await engine.dispose()


async def test_a_nonce_is_kept_once_until_it_is_forgotten(house, clock):
    nonces = Nonces(house.store)
    one = Nonce(sender="0042", value="n", sent_at=clock.now())
    other = Nonce(sender="0043", value="n", sent_at=clock.now() + timedelta(seconds=5))

    assert [await nonces.keep(each) for each in (one, other, one)] == [True, True, False]
    assert {each.sender for each in await nonces.recall(clock.now())} == {"0042", "0043"}
    await nonces.forget(clock.now() + timedelta(seconds=5))
    assert list(await nonces.recall(clock.now())) == [other]


async def test_what_is_taken_back_was_never_handed_out(house, clock):
    await house.registered()
    record = await house.publish()
    caller = Caller(house.office.directory.by_id("0042"), PUSHED)

    async def delivery():
        return (await house.desk.event(record.event.event_id)).deliveries["0042"]

    first = await next_message(house.office, caller, resend_after=timedelta(seconds=10))
    assert first is not None
    assert ((await delivery()).attempts, (await delivery()).handed_at) == (1, clock.now())
    await not_arrived(house.office, caller, first)
    assert ((await delivery()).attempts, (await delivery()).handed_at) == (0, None)

    await house.desk.request_reregistration("0042", by="anna")
    for _ in range(2):  # it goes first each time
        message = await next_message(house.office, caller, resend_after=timedelta(seconds=10))
        assert message is not None
        assert message.kind == "oadrRequestReregistration"
        await not_arrived(house.office, caller, message)


async def test_two_updates_of_one_request_at_once_are_both_counted(house, clock):
    ven = await house.registered()
    name = (await ven.offer()).requests[0].report_request_id
    halves = [
        values(name, clock.now() + timedelta(seconds=60 * index), (1.0,) * 15) for index in range(4)
    ]
    await asyncio.gather(*(ven.update(half) for half in halves))

    (record,) = (await house.desk.reports("0042")).requests
    assert (record.tally.received, record.tally.duplicates) == (60, 0)


async def test_a_database_of_a_later_version_is_not_opened(database):
    await migrate(database)
    store = await Store.open(database)
    async with store.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await store.close()

    with pytest.raises(NewerSchema, match="version 9999, of a later VTN than this"):
        await Store.open(database)
    with pytest.raises(NewerSchema, match="install that VTN"):
        await migrate(database)


async def test_a_migration_that_is_interrupted_leaves_all_as_it_was(database):
    await migrate_to(database, "0001")

    def pull_the_plug(version, _caption):
        if version == HEAD:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await migrate(database, step=pull_the_plug)

    assert await revision(database) == ("0001", HEAD)
    seen = []
    await migrate(database, step=lambda version, caption: seen.append((version, caption)))
    assert seen[0] == (
        "0002",
        "Push, signatures, what VENs ask of us, and what came of each report request.",
    )
    assert seen[-1][0] == HEAD


async def test_a_database_that_is_not_there_is_unavailable():
    with pytest.raises(StoreUnavailable):
        await Store.open("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")


async def test_sqlite_keeps_what_it_acknowledges_through_a_power_cut(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    await migrate(url)
    store = await Store.open(url)
    async with store.write() as connection:
        mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar()
        synchronous = (await connection.execute(text("PRAGMA synchronous"))).scalar()
        foreign_keys = (await connection.execute(text("PRAGMA foreign_keys"))).scalar()
    await store.close()

    assert (mode, synchronous, foreign_keys) == ("wal", 2, 1)


async def test_a_transaction_that_fails_leaves_nothing_behind(house):
    before = len(await house.desk.audit())

    async def fail():
        async with house.store.write() as connection:
            await audit.note(connection, at=house.clock.now(), actor="a", act="b", subject="c")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert before == len(await house.desk.audit())


async def test_updates_of_one_block_at_the_same_time_lose_nothing(house):
    await house.let_in()
    point = Point(ven_id="0042", r_id="P", unit="W")
    start = 1_800_000_000 - 1_800_000_000 % 900

    async def one(index):
        async with house.store.write() as connection:
            given = Samples(
                point=point,
                starts_at=(start + index,),
                values=(float(index),),
                quality=("",),
            )
            await measurements.store(connection, [given])

    await asyncio.gather(*map(one, range(40)))

    async with house.store.read() as connection:
        series = await measurements.read(connection, point, start, start + 900)
    assert list(map(float, range(40))) == list(series.values)


async def test_two_updates_at_once_from_one_ven_are_both_kept(house):
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    now = house.clock.now()

    replies = await asyncio.gather(
        *(
            ven.update(values(asked, now + timedelta(seconds=40 * k), (float(k),) * 10))
            for k in range(8)
        )
    )

    assert {"200"} == {reply.response.response_code for reply in replies}
    series = await house.desk.measurements("0042", "P", now, now + timedelta(hours=1))
    assert [float(k) for k in range(8) for _ in range(10)] == list(series.values)


async def test_a_span_is_half_open_and_crosses_blocks(house):
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    now = house.clock.now()
    await ven.update(values(asked, now, tuple(map(float, range(600)))))

    series = await house.desk.measurements(
        "0042", "P", now + timedelta(seconds=40), now + timedelta(seconds=2000)
    )

    assert list(map(float, range(10, 500))) == list(series.values)


async def test_the_directory_knows_after_a_restart_who_was_heard_of(database, tmp_path, clock):
    async with utility(database, tmp_path, clock) as house:
        ven = await house.registered()
        await ven.poll()
        async with house.store.write() as connection:
            await vens.touch(connection, house.office.directory.new_contacts())
        await house.restart()

        assert clock.now() == (await house.desk.ven("0042")).last_contact_at
        assert house.office.directory.new_contacts() == {}


async def test_a_revocation_is_not_undone_by_what_was_read_before_it(house):
    for number in range(10):
        ven_id = f"ven-{number}"
        await house.let_in(ven_id)

        await asyncio.gather(
            *(house.office.refresh([ven_id]) for _ in range(3)),
            house.desk.revoke_ven(ven_id, by="anna"),
            *(house.office.refresh([ven_id]) for _ in range(3)),
        )

        assert house.office.directory.by_id(ven_id).ven.revoked_at is not None


async def test_connections_that_postgresql_has_cut_are_replaced_unnoticed(postgres):
    name, url = postgres.fresh()
    await migrate(url)
    store, operator = await Store.open(url), await Store.open(url)
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    async def ask():
        async with store.write() as connection:
            return await connection.scalar(text("SELECT 1"))

    try:
        async with store.write() as one, store.write() as two:
            drivers = [(await each.get_raw_connection()).driver_connection for each in (one, two)]
        async with operator.write() as other:
            assert await other.scalar(text(cut)) == 2
        async with asyncio.timeout(60):
            while not all(each.is_closed() for each in drivers):  # noqa: ASYNC110 - asyncpg tells nobody
                await asyncio.sleep(0.01)
        assert await asyncio.gather(*(ask() for _ in range(8))) == [1] * 8
    finally:
        await store.close()
        await operator.close()
        postgres.drop(name)


async def test_after_all_was_read_anew_only_those_for_whom_something_waits_look_at_once(house):
    waited_for = {"queue", "event", "metadata"}
    speakers = {name: await house.registered(name) for name in ("event", "metadata", "nothing")}
    await house.publish(target=Target(ven_ids=("event",)))
    await (await house.let_in("queue")).register()
    await speakers["metadata"].say(
        ServiceName.REPORT,
        CreateReport(
            request_id="m", requests=(periodic_metadata(house.clock.now()),), ven_id="metadata"
        ),
        CreatedReport,
    )

    await house.restart()
    await house.office.resynchronise()

    now = house.clock.now()
    entries = {one.ven.ven_id: one for one in house.office.directory.entries()}
    assert waited_for == {name for name, one in entries.items() if one.due_at == SOON}
    assert entries["nothing"].due_at <= now + LOOK_AGAIN


async def test_what_is_put_in_while_all_is_read_anew_is_due_at_once(house, monkeypatch):
    await house.registered("0042")
    original = outbox.waited_for

    async def meanwhile(connection, now):
        found = await original(connection, now)
        house.office.directory.wake(["0042"])
        return found

    monkeypatch.setattr(outbox, "waited_for", meanwhile)
    await house.office.resynchronise()

    assert house.office.directory.by_id("0042").due_at == SOON


async def test_a_revocation_that_cannot_be_read_back_counts_all_the_same(house, monkeypatch):
    ven = await house.registered()

    def away(_store):
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "read", away)
        with pytest.raises(StoreUnavailable):
            await house.desk.revoke_ven(ven.ven_id, by="anna")
    assert house.office.directory.in_doubt
    assert (await ven.poll()).response.response_code == "463"

    await house.office.resynchronise()
    assert not house.office.directory.in_doubt
    assert (await ven.poll()).response.response_code == "463"


async def test_the_same_act_twice_at_the_same_moment_is_done_once(house):
    await house.let_in()

    done = await asyncio.gather(
        *(house.publish(event_id="e") for _ in range(5)), return_exceptions=True
    )

    assert {"EventRecord", "Conflict"} == {type(one).__name__ for one in done}
    assert len(await house.desk.events()) == 1
    assert len(await house.desk.audit(subject="event:e")) == 1


def test_the_scripts_are_numbered_as_they_follow_one_another():
    scripts = list(ScriptDirectory.from_config(engine_module._config()).walk_revisions())

    assert [one.revision for one in reversed(scripts)] == engine_module._versions()
    assert scripts[0].revision == engine_module.head()
    assert all(hasattr(one.module, "downgrade") for one in scripts)


async def test_a_read_that_is_given_up_twice_leaves_nothing_that_never_ends(tmp_path):
    """By its own time limit, and as the VTN stops: a task that does not end would hold that up."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    await migrate(url)
    store = await Store.open(url)
    before = asyncio.all_tasks()
    asked = asyncio.Event()

    async def read():
        async with store.read() as connection:
            asked.set()
            await connection.execute(text(_SLOW))

    reading = asyncio.create_task(read())
    await asked.wait()
    await asyncio.sleep(0.05)
    for _ in range(2):
        reading.cancel()
        await asyncio.sleep(0.05)
    await asyncio.wait([reading])
    left = asyncio.all_tasks() - before
    for one in left:
        one.cancel()  # once, as asyncio does at the end of a program
    if left:
        _, never = await asyncio.wait(left, timeout=30)
        assert never == set()
    await store.close()


_SLOW = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000000)
    SELECT count(*) FROM numbers
"""
