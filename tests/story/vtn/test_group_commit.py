import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from vtn.errors import Conflict, StoreUnavailable
from vtn.store import Store, groups, migrate
from vtn.store.sqlite import driver_of


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Store, Path]]:
    file = folder / "vtn.db"
    await migrate(f"sqlite+aiosqlite:///{file}")
    store = await Store.open(f"sqlite+aiosqlite:///{file}")
    try:
        yield store, file
    finally:
        await store.close()


async def add(store: Store, name: str, *, then: BaseException | None = None) -> None:
    async with store.write() as connection:
        await groups.add(connection, name, "")
        if then is not None:
            raise then


def stored(file: Path) -> set[str]:
    """As another process sees it, which is: committed."""
    reader = sqlite3.connect(file)
    try:
        return {name for (name,) in reader.execute("SELECT group_id FROM ven_groups")}
    finally:
        reader.close()


async def test_blocks_of_one_moment_share_one_commit(tmp_path):
    async with opened(tmp_path) as (store, file):
        said: list[str] = []
        async with store.write() as connection:
            driver_of(connection).set_trace_callback(said.append)

        await asyncio.gather(*(add(store, f"g{number}") for number in range(20)))

        assert stored(file) == {f"g{number}" for number in range(20)}
        # the first COMMIT is that of the block that began to listen
        assert 1 <= [line for line in said if line == "COMMIT"][1:].count("COMMIT") < 20


async def test_a_block_ends_when_it_is_on_the_disk(tmp_path):
    async with opened(tmp_path) as (store, file):
        for name in ("a", "b"):
            await add(store, name)
            assert name in stored(file)


async def test_a_block_that_fails_is_undone_alone(tmp_path):
    async with opened(tmp_path) as (store, file):
        outcomes = await asyncio.gather(
            add(store, "a"),
            add(store, "b", then=ValueError("no")),
            add(store, "c"),
            add(store, "a"),  # there is one already
            add(store, "d"),
            return_exceptions=True,
        )

        assert [type(one) for one in outcomes] == [
            type(None),
            ValueError,
            type(None),
            Conflict,
            type(None),
        ]
        assert stored(file) == {"a", "c", "d"}


async def test_where_the_commit_fails_every_block_of_it_does(tmp_path):
    async with opened(tmp_path) as (store, file):

        async def stranger() -> None:
            async with store.write() as connection:
                await connection.execute(text("PRAGMA defer_foreign_keys=ON"))
                await connection.execute(
                    text("INSERT INTO group_members (group_id, ven_id) VALUES ('a', 'nobody')")
                )

        outcomes = await asyncio.gather(
            add(store, "a"),
            stranger(),
            add(store, "b"),
            add(store, "c", then=ValueError("what it has read was not so")),
            return_exceptions=True,
        )

        assert [type(one) for one in outcomes] == [Conflict] * 4
        assert stored(file) == set()
        await add(store, "d")
        assert stored(file) == {"d"}


async def test_a_cancelled_block_is_undone_and_holds_nobody_up(tmp_path):
    async with opened(tmp_path) as (store, file):
        inside = asyncio.Event()

        async def wait_for_ever() -> None:
            async with store.write() as connection:
                await groups.add(connection, "a", "")
                inside.set()
                await asyncio.Event().wait()

        waiting = asyncio.create_task(wait_for_ever())
        await inside.wait()
        adding = asyncio.create_task(add(store, "b"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting, adding])

        assert waiting.cancelled()
        assert stored(file) == {"b"}


async def test_a_full_disk_fails_what_is_under_way_and_nothing_later(tmp_path):
    async with opened(tmp_path) as (store, file):
        async with store.write() as connection:
            pages = await connection.scalar(text("PRAGMA page_count"))
            await connection.execute(text(f"PRAGMA max_page_count={pages + 2}"))

        outcomes = await asyncio.gather(
            *(add(store, f"{number:01000}") for number in range(60)), return_exceptions=True
        )
        done = {f"{n:01000}" for n, outcome in enumerate(outcomes) if outcome is None}

        assert StoreUnavailable in {type(one) for one in outcomes} <= {type(None), StoreUnavailable}
        assert stored(file) == done
        async with store.write() as connection:
            await connection.execute(text("PRAGMA max_page_count=100000"))
        await add(store, "later")
        assert stored(file) == {*done, "later"}


@pytest.mark.parametrize("then", [None, ValueError("no")])
async def test_a_block_that_cannot_be_ended_holds_up_nothing_later(tmp_path, then):
    async with opened(tmp_path) as (store, file):

        async def add_and_fail_at_the_end() -> None:
            async with store.write() as connection:
                await groups.add(connection, "a", "")
                driver = driver_of(connection)

                def refuse(statement, *_):
                    del driver.execute
                    raise sqlite3.OperationalError(f"disk I/O error at {statement}")

                driver.execute = refuse
                if then is not None:
                    raise then

        with pytest.raises((StoreUnavailable, ValueError)):
            await add_and_fail_at_the_end()
        await add(store, "b")

        assert stored(file) == {"b"}


async def test_another_process_may_write_too(tmp_path):
    async with opened(tmp_path) as (store, file):
        await add(store, "a")
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        adding = asyncio.create_task(add(store, "b"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.shield(adding)
        other.execute("COMMIT")
        other.close()
        await adding

        assert stored(file) == {"a", "b"}
