"""The database fixture keeps what it promises."""

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.ext.asyncio import create_async_engine


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_gets_an_empty_database(database: str, turn: int) -> None:
    engine = create_async_engine(database)
    async with engine.begin() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == []
        await connection.execute(text("CREATE TABLE left_behind (x INTEGER)"))
    await engine.dispose()
