# SPDX-License-Identifier: Apache-2.0
"""How often a password was tried, by whatever it is counted by, in windows of a fixed length."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import case, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.store.documents import insert_into
from vtn.store.operator_tables import LoginTriesRow as Row


async def standing(
    connection: AsyncConnection, keys: Collection[str], *, at: datetime
) -> dict[str, tuple[int, datetime]]:
    """How many tries of these keys there were in the window that goes on, and when it ends."""
    rows = await connection.execute(
        select(Row.key_sha256, Row.tries, Row.ends_at).where(
            Row.key_sha256.in_(list(keys)), Row.ends_at > at, Row.since <= at
        )
    )
    return {row.key_sha256: (row.tries, row.ends_at) for row in rows}


async def count(
    connection: AsyncConnection, key_sha256: str, *, at: datetime, ends_at: datetime
) -> tuple[int, datetime]:
    """One more try: how many there were in its window, and when that ends.

    A window begins with the first try after the one before; so it is when our clock was set back.
    """
    over = or_(Row.ends_at <= at, Row.since > at)
    await connection.execute(
        insert_into(connection, Row)
        .values(key_sha256=key_sha256, since=at, ends_at=ends_at, tries=1)
        .on_conflict_do_update(
            index_elements=["key_sha256"],
            set_={
                "tries": case((over, 1), else_=Row.tries + 1),
                "since": case((over, at), else_=Row.since),
                "ends_at": case((over, ends_at), else_=Row.ends_at),
            },
        )
    )
    row = (
        await connection.execute(select(Row.tries, Row.ends_at).where(Row.key_sha256 == key_sha256))
    ).one()
    return row.tries, row.ends_at


async def take_back(connection: AsyncConnection, key_sha256: str) -> None:
    """One try was none."""
    await connection.execute(
        update(Row).where(Row.key_sha256 == key_sha256, Row.tries > 0).values(tries=Row.tries - 1)
    )


async def forget(connection: AsyncConnection, key_sha256: str, *, at: datetime) -> None:
    """Every try of one key, and every window that has ended."""
    await connection.execute(
        delete(Row).where(or_(Row.ends_at <= at, Row.key_sha256 == key_sha256))
    )
