# SPDX-License-Identifier: Apache-2.0
"""Everything from one database into another: SQLite to PostgreSQL when a VTN grows, or back.

One transaction reads one state, one transaction writes it: interrupted, the other database is as
empty as before.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import Table as CoreTable
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.backup import have_for_ourselves
from vtn.errors import BackupFault
from vtn.store import Store, migrate
from vtn.store.operator_tables import ALL
from vtn.store.tables import RollupDueRow

_ROWS: Final = 500
"""At a time: of blocks half a megabyte."""
_TABLES: Final[list[CoreTable]] = [
    *(one for one in ALL.sorted_tables if one.name != RollupDueRow.__tablename__),
    ALL.tables[RollupDueRow.__tablename__],  # last: triggers fill it meanwhile
]

Progress = Callable[[str, int, int], None]
"""Of which table, how many rows are copied, of how many."""


async def copy(source: str, target: str, *, progress: Progress) -> Mapping[str, int]:
    """Copy every row; how many of each table, in the order in which they were copied.

    `target` gets its tables if it has none. Raises NotAtHead where `source` is of another version,
    BackupFault where `target` holds anything, where somebody has `source` open, or where what has
    arrived is not what was sent.
    """
    if source == target:
        raise BackupFault("--to names the database of the settings itself; name another.")
    await have_for_ourselves(source)
    giving = await Store.open(source)
    try:
        await migrate(target)
        taking = await Store.open(target)
        try:
            async with giving.read() as here, taking.write() as there:
                await _refuse_full(there)
                copied = {
                    table.name: await _copy_table(table, here, there, progress) for table in _TABLES
                }
                for name, rows in (await _counts(there)).items():
                    if rows != copied[name]:
                        raise BackupFault(
                            f"Of the table {name} {rows} rows have arrived, not {copied[name]}; "
                            "nothing was copied."
                        )
        finally:
            await taking.close()
    finally:
        await giving.close()
    return copied


async def _copy_table(
    table: CoreTable, here: AsyncConnection, there: AsyncConnection, progress: Progress
) -> int:
    if table.name == RollupDueRow.__tablename__:
        await there.execute(delete(table))
    whole = await here.scalar(select(func.count()).select_from(table)) or 0
    copied = 0
    async with here.stream(select(table).order_by(*table.primary_key)) as rows:
        async for part in rows.mappings().partitions(_ROWS):
            await there.execute(insert(table), [dict(row) for row in part])
            copied += len(part)
            progress(table.name, copied, whole)
    counter = table.autoincrement_column
    if there.dialect.name == "postgresql" and counter is not None and copied:
        await there.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', '{counter.name}'), "  # noqa: S608 - names of our own tables
                f"max({counter.name})) FROM {table.name}"
            )
        )
    return copied


async def _refuse_full(connection: AsyncConnection) -> None:
    for name, rows in (await _counts(connection)).items():
        if rows:
            raise BackupFault(
                f"The database of --to is not empty: its table {name} has {rows} rows; "
                "name an empty one."
            )


async def _counts(connection: AsyncConnection) -> dict[str, int]:
    return {
        table.name: await connection.scalar(select(func.count()).select_from(table)) or 0
        for table in _TABLES
    }
