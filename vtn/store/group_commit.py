# SPDX-License-Identifier: Apache-2.0
"""The one writer of a SQLite database: what is written at the same moment shares one commit.

    block A  ──SAVEPOINT── statements ──RELEASE──┐
    block B      waits its turn  ──SAVEPOINT── … ┤            all blocks have ended,
    block C          waits its turn  ──SAVEPOINT─┴─▶ COMMIT ─▶ durably, or none of them
    block D                               waits for the commit ──▶ the next transaction

A commit waits for the disk once, however many blocks it holds. A block that fails is undone alone;
the others go on. A block ends, well or not, only when the commit has: what it has read of the
others may not be told before.
"""

import asyncio
import sqlite3
from types import TracebackType

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from vtn.errors import StoreUnavailable
from vtn.store.faults import named
from vtn.store.sqlite import BUSY_MS, driver_of

LINGER_TURNS = 2
"""Turns of the event loop a commit waits for company: what has been received is dealt with first.

Nobody who is alone waits for long: an idle loop turns within microseconds. Who begins right after
another waits COMPANY_S.
"""
RUSH_S = 0.01
"""Where the transaction before began so short a time ago, others are likely to come."""
COMPANY_S = 0.002
"""Then a commit waits so long for them: a commit costs as much CPU as several blocks."""
PATIENCE_S = 30.0
"""How long a block waits for its turn; the disk hangs, if it comes to that."""


class GroupCommit:
    """Hands out blocks, one at a time; see `block`."""

    def __init__(self, engine: AsyncEngine) -> None:
        """`engine` is that of vtn.store.sqlite: its statements run where they stand."""
        self._engine = engine
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._open: _Transaction | None = None
        self._began_s = -RUSH_S
        """When the last transaction began, by the event loop's clock."""

    def block(self) -> "_Block":
        """An async context manager: what is done in it is committed when it ends, or undone.

        Raises StoreUnavailable where the commit fails, and Conflict or Invalid as `named` has it.
        """
        return _Block(self)

    async def close(self) -> None:
        """Wait for what is under way, and let go of the database."""
        async with self._turn:
            if self._open is not None:
                await self._commit(self._open)
            await self._let_go()

    async def enter(self) -> "_Transaction":
        """The transaction a block is to be in, when it is its turn."""
        if self._turn.locked():
            async with asyncio.timeout(PATIENCE_S):
                await self._turn.acquire()
        else:
            await self._turn.acquire()
        try:
            transaction = self._open
            if transaction is None:
                transaction = self._open = await self._begin()
                transaction.committing = asyncio.create_task(self._commit_soon(transaction))
            transaction.driver.execute("SAVEPOINT block")
        except BaseException:
            self._turn.release()
            raise
        return transaction

    def leave(self, transaction: "_Transaction", *, undone: bool) -> None:
        """The block is over, well or not: the turn is the next one's."""
        try:
            if undone:
                transaction.driver.execute("ROLLBACK TO block")
            transaction.driver.execute("RELEASE block")
        except sqlite3.Error as error:  # a full disk makes SQLite undo the whole transaction
            self._open = None
            if not transaction.done.done():
                transaction.done.set_exception(named(error) or error)
        finally:
            self._turn.release()

    async def _begin(self) -> "_Transaction":
        if self._connection is None:
            self._connection = await self._engine.connect()
        driver = driver_of(self._connection)
        assert driver is not None
        if driver.in_transaction:  # a block could not be ended: closing undoes what is left
            await self._let_go()
            return await self._begin()
        driver.execute("PRAGMA busy_timeout=0")
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # another process writes
            driver.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            await asyncio.to_thread(driver.execute, "BEGIN IMMEDIATE")
        return _Transaction(self._connection, driver)

    async def _commit_soon(self, transaction: "_Transaction") -> None:
        began_s, self._began_s = self._began_s, asyncio.get_running_loop().time()
        for _ in range(LINGER_TURNS):
            await asyncio.sleep(0)
        if self._began_s - began_s < RUSH_S:
            await asyncio.sleep(COMPANY_S)
        async with self._turn:  # behind all who wait already: they are in it
            await self._commit(transaction)

    async def _commit(self, transaction: "_Transaction") -> None:
        if transaction.done.done():
            return
        self._open = None
        try:
            if transaction.connection.in_transaction():  # SQLAlchemy, too, thinks it is in one
                await transaction.connection.commit()
            else:
                await asyncio.to_thread(transaction.driver.commit)
        except BaseException as error:
            transaction.done.set_exception(named(error) or error)
            await self._let_go()  # closing undoes what is left
            if not isinstance(error, Exception):
                raise
        else:
            transaction.done.set_result(None)

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()


class _Transaction:
    """Blocks that share a commit."""

    __slots__ = ("committing", "connection", "done", "driver")

    def __init__(self, connection: AsyncConnection, driver: sqlite3.Connection) -> None:
        self.connection = connection
        self.driver = driver
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(_look)
        self.committing: asyncio.Task[None] | None = None


def _look(done: "asyncio.Future[None]") -> None:
    """Whoever waited for it may have been cancelled: asyncio need not complain."""
    if not done.cancelled():
        done.exception()


class _Block:
    """One block; see GroupCommit."""

    __slots__ = ("_group", "_transaction")

    def __init__(self, group: GroupCommit) -> None:
        self._group = group

    async def __aenter__(self) -> AsyncConnection:
        try:
            self._transaction = await self._group.enter()
        except TimeoutError as error:
            raise StoreUnavailable(
                "The database has been busy for too long; see that its disk works."
            ) from error
        except Exception as error:
            fault = named(error)
            if fault is None:
                raise
            raise fault from error
        return self._transaction.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._group.leave(self._transaction, undone=error is not None)
        if error is not None and not isinstance(error, Exception):
            return
        await asyncio.shield(self._transaction.done)
        fault = named(error)
        if fault is not None:
            raise fault from error
