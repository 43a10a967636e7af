"""Everything that a database holds, as plain values, whichever of the two it is."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Boolean, DateTime, LargeBinary, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

_COUNT_ON = "SELECT setval(pg_get_serial_sequence('{0}', 'number'), max(number)) FROM {0}"
BOOKKEEPING = ("alembic_version",)


async def contents(url):
    """Table -> its rows in order: bytes as {"hex": ...}, instants as text, flags as 0 and 1."""
    async with _tables(url) as (connection, tables):
        found = {}
        for table in tables.sorted_tables:
            rows = (await connection.execute(table.select())).mappings()
            plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
            found[table.name] = sorted(plain, key=repr)
        return found


async def fill(url, given):
    """Put rows as `contents` gives them into the tables that are there."""
    async with _tables(url) as (connection, tables):
        aware = connection.dialect.name != "sqlite"
        for table in tables.sorted_tables:
            if table.name in BOOKKEEPING or not given.get(table.name):
                continue
            rows = [
                {
                    name: _typed(table.c[name].type, value, aware=aware)
                    for name, value in row.items()
                }
                for row in given[table.name]
            ]
            await connection.execute(table.insert(), rows)
            if aware and "number" in table.c:
                await connection.execute(text(_COUNT_ON.format(table.name)))


@asynccontextmanager
async def _tables(url):
    """A transaction, and the tables as they are there."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            tables = MetaData()
            await connection.run_sync(tables.reflect)
            yield connection, tables
    finally:
        await engine.dispose()


def _plain(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, bool):
        return int(value)
    return value


def _typed(kind, value, *, aware):
    if value is None:
        return None
    if isinstance(kind, LargeBinary) or isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if isinstance(kind, DateTime):
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if aware else at
    if isinstance(kind, Boolean):
        return bool(value)
    return value
