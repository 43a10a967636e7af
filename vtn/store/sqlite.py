# SPDX-License-Identifier: Apache-2.0
"""The writer's SQLite: statements run where they stand, only what may wait goes to a thread.

A statement on SQLite takes some ten microseconds, a hop to a driver's thread and back many times
that, and a driver with a thread of its own (aiosqlite) needs four hops a statement. So the short
transactions of the writer run in the event loop; taking the write lock, which another process may
hold, and the commit, which waits for the disk, do not. Long reads belong on the reader's engine,
whose connections are `Reader`s.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import aiosqlite
from sqlalchemy import Pool
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

DRIVER = "sqlite+inline"
"""The drivername of a URL that is to be opened this way."""


class _Cursor(sqlite3.Cursor):
    """A cursor as SQLAlchemy's asyncio face wants it."""

    async def _async_soft_close(self) -> None:
        """Nothing is left to fetch from a server: there is none."""


class _Connection(sqlite3.Connection):
    """Makes such cursors."""

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


class Dialect(SQLiteDialect_pysqlite):
    """sqlite3 of the standard library under SQLAlchemy's asyncio face."""

    driver = "inline"
    is_async = True
    supports_statement_cache = True

    @classmethod
    def get_pool_class(cls, _url: URL) -> type[Pool]:
        return AsyncAdaptedQueuePool

    def create_connect_args(self, url: URL) -> Any:
        arguments, options = super().create_connect_args(url)
        return arguments, {**options, "check_same_thread": False, "factory": _Connection}

    def do_execute(
        self, cursor: Any, statement: Any, parameters: Any, _context: Any = None
    ) -> None:
        await_only(_nothing())  # SQLAlchemy insists that an asyncio driver awaits
        cursor.execute(statement, parameters)

    def do_executemany(
        self, cursor: Any, statement: Any, parameters: Any, _context: Any = None
    ) -> None:
        await_only(_nothing())
        cursor.executemany(statement, parameters)

    def do_execute_no_params(self, cursor: Any, statement: Any, _context: Any = None) -> None:
        await_only(_nothing())
        cursor.execute(statement)

    def do_commit(self, dbapi_connection: Any) -> None:
        _elsewhere(dbapi_connection.commit)


class Reader(aiosqlite.Connection):
    """A connection that can be given up twice.

    Where a read is cancelled, SQLAlchemy closes its connection and waits; where that, too, is
    cancelled, it stops the connection's thread by force. aiosqlite's own closing then asks the
    thread that has ended to stop once more and waits for ever, and a VTN that stops waits for it.
    """

    def __init__(self, *where: Any, **options: Any) -> None:
        """The arguments are those of sqlite3.connect."""
        super().__init__(partial(sqlite3.connect, *where, **options), iter_chunk_size=64)
        self._thread.daemon = True  # as SQLAlchemy has it for those that it makes itself
        self._stopping: asyncio.Future[Any] | None = None

    def stop(self) -> "asyncio.Future[Any] | None":
        """Stop the thread; done when it has ended, however often it is asked for."""
        if self._stopping is None:
            self._stopping = super().stop()
        return self._stopping


def driver_of(connection: AsyncConnection) -> sqlite3.Connection | None:
    """SQLite's own connection beneath the writer's; None beneath any other."""
    if connection.dialect.driver != Dialect.driver:
        return None
    beneath = connection.sync_connection
    assert beneath is not None
    return cast("sqlite3.Connection", beneath.connection.dbapi_connection)


def begin_immediate(connection: sqlite3.Connection) -> None:
    """Take the write lock: at once where it is free, else waiting for it in a thread."""
    connection.execute("PRAGMA busy_timeout=0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        _elsewhere(lambda: connection.execute("BEGIN IMMEDIATE"))


BUSY_MS = 5000
"""How long another process may hold the write lock before a transaction is given up."""


async def _nothing() -> None:
    """Awaited without giving the event loop away."""


def _elsewhere(work: Callable[[], object]) -> None:
    """Do it in a thread, while the event loop does something else."""
    await_only(asyncio.to_thread(work))


registry.register("sqlite.inline", __name__, "Dialect")
