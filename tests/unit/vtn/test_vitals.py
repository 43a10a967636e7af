import asyncio
import shutil
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import pytest

from vtn import vitals
from vtn.counts import Counts
from vtn.errors import StoreUnavailable
from vtn.pressure import Pressure
from vtn.vitals import Vitals


class Store:
    """A database that answers with a version, fails or hangs."""

    def __init__(self):
        self.version = "0007"

    @asynccontextmanager
    async def read(self):
        if self.version == "fails":
            raise StoreUnavailable("connection refused to db.internal")
        if self.version == "hangs":
            await asyncio.Event().wait()
        yield self

    async def scalar(self, _query):
        return self.version

    def pools(self):
        return {"reader": (1, 4)}


class Listener:
    connections_open = 3

    def __init__(self, *alarms):
        self.alarms = alarms

    def revocation_alarms(self, _now):
        return self.alarms


def made(clock, url="postgresql+asyncpg://db/vtn", **more):
    office = SimpleNamespace(
        store=Store(),
        counts=Counts(),
        pressure=Pressure(),
        now=clock.now,
        settings=SimpleNamespace(store=SimpleNamespace(url=url)),
    )
    return Vitals(office, version="0007", **more)


@pytest.mark.parametrize(
    ("database", "problems"),
    [
        ("0007", []),
        ("0008", ["the database is at another version"]),
        ("fails", ["the database does not answer"]),
        ("hangs", ["the database does not answer in time"]),
    ],
)
async def test_what_the_database_lacks_is_said_without_names(
    clock, monkeypatch, database, problems
):
    monkeypatch.setattr(vitals, "READY_S", 0.01)
    found = made(clock)
    found.office.store.version = database
    with found.listening(Listener()):
        assert await found.problems() == problems


async def test_it_is_ready_only_while_vens_are_listened_to(clock):
    found = made(clock)
    before = await found.problems()
    with found.listening(Listener()):
        during = await found.problems()

    assert (before, during) == (["VENs are not listened to"], [])
    assert before == await found.problems()


async def test_a_database_that_fails_is_no_reason_to_restart(clock):
    found = made(clock)
    found.office.store.version = "fails"

    assert await found.is_alive()


async def test_a_database_that_hangs_is_no_progress(clock):
    found = made(clock)
    found.office.store.version = "hangs"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await found.is_alive()


def test_revocation_lists_and_a_full_disk_are_warned_of(clock, monkeypatch, tmp_path):
    disk = SimpleNamespace(total=10**12, free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: disk)
    found = made(clock, url=f"sqlite+aiosqlite:///{tmp_path}/vtn.db")
    with found.listening(Listener("ven.crl: overdue")):
        warnings = found.warnings()

    assert warnings == [
        "a revocation list should be seen to",
        "the disk of the database is nearly full",
    ]


def test_workers_see_what_the_others_have_counted(clock, tmp_path):
    one, other = made(clock, worker=1, run_dir=tmp_path), made(clock, worker=2, run_dir=tmp_path)
    other.office.counts.request("OadrPoll", 200, 0.1)
    other._write(tmp_path)
    (tmp_path / "counts-3.json").write_bytes(b'{"worker": 3')  # of a program of another version
    one._write(tmp_path)
    one.office.counts.request("OadrPoll", 200, 0.1)
    one.office.counts.request("OadrPoll", 200, 0.1)

    found = {each.worker: each.requests for each in one.all_tallied()}
    assert found == {1: {"OadrPoll 200": 2}, 2: {"OadrPoll 200": 1}}
    assert msgspec.json.decode((tmp_path / "counts-2.json").read_bytes())["worker"] == 2
