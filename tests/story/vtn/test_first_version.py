"""A database of the first release, with something in every table, brought to this version.

first_version.json is what commit 44ca3d2 (schema 0001) itself wrote: three VENs (registered,
registered, revoked), a group, three events (over, modified, cancelled) with their answers, opts,
offers, requests, messages that wait, readings of every kind of quality, and the audit of it all.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy.ext.asyncio import create_async_engine

import oadr
from oadr.registration import RequestReregistration
from oadr.vocabulary import EventStatus
from tests.story.vtn.contents import BOOKKEEPING, contents, fill
from tests.story.vtn.utility import Speaker, Utility, settings, sha, values
from vtn.records import RequestState
from vtn.store import engine as engine_module
from vtn.store import migrate

GIVEN = json.loads(Path(__file__).with_name("first_version.json").read_text())
STARTED_AT = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)


@pytest.fixture
async def old(database):
    """The URL of a database as the first release left it."""
    engine = create_async_engine(database)

    def first(connection):
        config = engine_module._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async with engine.begin() as connection:
        await connection.run_sync(first)
    await engine.dispose()
    await fill(database, GIVEN)
    return database


@pytest.fixture
async def house(old, tmp_path, clock):
    await migrate(old)
    clock.advance(1800)
    found = Utility(settings(old, tmp_path), clock)
    await found.start()
    yield found
    await found.store.close()


async def test_there_is_something_in_every_table(old):
    found = await contents(old)

    assert set(found) == set(GIVEN)
    assert [name for name, rows in found.items() if not rows] == []


async def test_every_fact_is_still_there(old):
    before = await contents(old)
    await migrate(old)
    after = await contents(old)

    for name in set(before) - set(BOOKKEEPING):
        columns = before[name][0].keys()
        kept = [{column: row[column] for column in columns} for row in after[name]]
        assert sorted(kept, key=repr) == before[name], name


async def test_operators_see_what_they_saw(house):
    assert {ven.ven_id: ven.revoked_at is None for ven in await house.desk.vens()} == {
        "0042": True,
        "mill": True,
        "gone": False,
    }
    events = {one.event.event_id: one for one in await house.desk.events()}
    assert {name: (one.event.status, len(one.history)) for name, one in events.items()} == {
        "done": (EventStatus.COMPLETED, 1),
        "changed": (EventStatus.FAR, 2),
        "off": (EventStatus.CANCELLED, 2),
    }
    assert {ven: one.opt_type for ven, one in events["done"].answers.items()} == {
        "0042": "optIn",
        "mill": "optOut",
    }
    assert [one.opt.opt_id for one in await house.desk.opts("0042")] == ["notthis", "holiday"]
    assert len(await house.desk.audit(limit=1000)) == len(GIVEN["audit"])
    requests = (await house.desk.reports("0042")).requests
    assert sorted(one.state.value for one in requests) == [
        "active",
        "active",
        "asked",
        "cancelling",
    ]


async def test_readings_are_those_that_were_stored(house):
    series = await house.desk.measurements("0042", "P", STARTED_AT, STARTED_AT + timedelta(hours=1))

    assert list(series.values) == [*(50_000.0 + i for i in range(300)), 1.0, 2.5, 3.5, 4.25]
    assert series.quality[-4:] == (
        "Quality Good - Non Specific",
        "Quality Bad - Not Connected",
        "No Quality - No Value",
        "x-guess",
    )


async def test_vens_go_on_where_they_were(house, clock):
    ven, mill = Speaker(house, "0042", sha(1)), Speaker(house, "mill", sha(2))
    gone = Speaker(house, "gone", sha(3))

    (active, *_) = [
        one.request
        for one in (await house.desk.reports("0042")).requests
        if one.state is RequestState.ACTIVE and one.report_name == "TELEMETRY_USAGE"
    ]
    more = values(active.report_request_id, clock.now(), (7.0,) * 15)
    answer = await ven.update(more)
    assert answer.response.ok
    assert answer.cancel is not None  # it rides along (rule 328)
    assert [type(await ven.poll(oadr.Message)).__name__ for _ in range(3)] == [
        "DistributeEvent",
        "CreateReport",
        "Response",
    ]
    assert await mill.poll(RequestReregistration)
    assert (await gone.poll()).response.response_code == "463"
