# SPDX-License-Identifier: Apache-2.0
"""The database: opened only at the right version; one writer at a time on SQLite.

SQLite runs in WAL with synchronous=FULL: what was committed survives a power cut. All its writes
go through one connection that takes the write lock at once (BEGIN IMMEDIATE), so none of them can
find out half-way that it came too late (vtn.store.sqlite), and those of one moment share a commit
(vtn.store.group_commit). PostgreSQL takes row locks where the code asks for them, and shares its
writes to disk by itself.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from vtn.errors import NewerSchema, NotAtHead, StoreError
from vtn.store.faults import named
from vtn.store.group_commit import GroupCommit
from vtn.store.sqlite import BUSY_MS, DRIVER, Reader, begin_immediate

if TYPE_CHECKING:
    from alembic.config import Config

ANSWER_S = 5.0
"""How long PostgreSQL may take to let us in; while it does not, VENs are told to come again."""
POOL = 10
"""Connections of one process to PostgreSQL; and one more, its line (vtn.store.line)."""
STATEMENT_S = 30.0
"""No statement takes longer, unless nobody is at the other end any more (PostgreSQL)."""
_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_MS}",
)


class Store:
    """An open database. Use `read` or `write` for one transaction each."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self._reader = reader
        self._writer = writer
        self._shared = GroupCommit(writer) if writer.dialect.name == "sqlite" else None

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Open the database at `url` (with its driver, see vtn.config.store_url).

        Raises NotAtHead unless its tables are those of this version, NewerSchema where a later VTN
        made them, StoreUnavailable where it does not answer.
        """
        found, needed = await revision(url)
        if found is None:
            raise NotAtHead(f"The database {_shown(url)} has no tables yet; run vtn init.")
        refuse_newer(url, found)
        if found != needed:
            raise NotAtHead(
                f"The database {_shown(url)} is at version {found}, not {needed}; run vtn upgrade."
            )
        if make_url(url).get_backend_name() == "sqlite":
            return cls(_sqlite_reader(url), _sqlite_writer(url))
        engine = create_async_engine(
            url,
            pool_size=POOL,
            max_overflow=0,  # what overflows is opened and closed for every single transaction
            pool_timeout=ANSWER_S,
            connect_args={"timeout": ANSWER_S, "command_timeout": STATEMENT_S},
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        return cls(engine.execution_options(isolation_level="REPEATABLE READ"), engine)

    @property
    def database(self) -> str:
        """Which of the two it is: "sqlite" or "postgresql"."""
        return self._writer.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that sees one state of the database and changes nothing."""
        with _named_faults():
            async with self._reader.connect() as connection:
                yield connection

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A block that is committed, durably, when it ends, or not at all.

        On SQLite blocks of one moment share a transaction, one after the other: do not wait for
        anything else in there, and never for another block.
        """
        return self._transaction() if self._shared is None else self._shared.block()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with _named_faults():
            async with self._writer.begin() as connection:
                yield connection

    def pools(self) -> dict[str, tuple[int, int]]:
        """Connections in use, and how many there may be: by "reader" and "writer"."""
        found = {}
        for name, engine in (("reader", self._reader), ("writer", self._writer)):
            pool = engine.pool
            assert isinstance(pool, QueuePool)
            found[name] = (pool.checkedout(), pool.size() + max(pool._max_overflow, 0))  # noqa: SLF001 - it tells nobody
        return found

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()


async def migrate(
    url: str, *, step: Callable[[str, str], None] = lambda _version, _caption: None
) -> tuple[str | None, str]:
    """Bring the database to this version, made anew if need be; the versions before and after.

    All in one transaction: interrupted, the database is as it was. `step` is told each version
    that is reached, and its caption. Raises NewerSchema.
    """
    file = sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(file.touch, mode=0o640)
    before, after = await revision(url)
    if before is not None:
        refuse_newer(url, before)
    engine = _engine(url)
    try:
        with _named_faults():
            async with engine.begin() as connection:
                await connection.run_sync(_upgrade, step)
    finally:
        await engine.dispose()
    return before, after


def head() -> str:
    """The version of the tables that this program needs."""
    return _versions()[-1]


def _versions() -> list[str]:
    """Every version of the tables, the first one first: the scripts are numbered.

    Alembic would say the same, and take longer to load than all else a VTN does at its start.
    """
    return sorted(file.name[:4] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def refuse_newer(url: str, version: str) -> None:
    """Raises NewerSchema for a version of the tables that this program has never heard of."""
    if version not in _versions():
        raise NewerSchema(
            f"The database {_shown(url)} is at version {version}, of a later VTN than this "
            f"(which knows {head()}); install that VTN, or restore a backup from before."
        )


async def revision(url: str) -> tuple[str | None, str]:
    """The version the database is at (None: no tables yet) and the one this program needs.

    Never makes a database. Raises StoreUnavailable where it does not answer.
    """
    needed = head()
    file = sqlite_file(url)
    if file is not None and not await asyncio.to_thread(file.is_file):
        return None, needed
    engine = _sqlite_reader(url) if file is not None else _engine(url)
    try:
        with _named_faults():
            async with engine.connect() as connection:
                return await connection.run_sync(_current), needed
    finally:
        await engine.dispose()


def _engine(url: str) -> AsyncEngine:
    if sqlite_file(url) is not None:
        return _sqlite_writer(url)
    return create_async_engine(url, pool_size=1, connect_args={"timeout": ANSWER_S})


def _sqlite_reader(url: str) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=4,
        max_overflow=0,
        pool_timeout=30,
        connect_args={"async_creator_fn": Reader},
    )
    _prepare(engine, "PRAGMA cache_size=-512")  # KiB each; the system caches the file anyway
    event.listen(
        engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN")
    )
    return engine


def _sqlite_writer(url: str) -> AsyncEngine:
    inline = make_url(url).set(drivername=DRIVER)
    engine = create_async_engine(inline, pool_size=1, max_overflow=0, pool_timeout=30)
    _prepare(engine)

    @event.listens_for(engine.sync_engine, "begin")
    def _began(connection: Connection) -> None:
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        if not driver.in_transaction:  # GroupCommit has begun it already
            begin_immediate(driver)

    return engine


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:  # asyncpg's
    """A connection that the server has closed is replaced before it is used.

    The driver has seen the end of it. SQLAlchemy's own way to find out, a question before each
    transaction, takes three messages each way.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _prepare(engine: AsyncEngine, *more: str) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: object) -> None:  # sqlite3's or aiosqlite's
        connection.isolation_level = None  # the driver must not begin transactions by itself
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *more):
            cursor.execute(pragma)
        cursor.close()


@contextmanager
def _named_faults() -> Iterator[None]:
    """What the database says in its own words, as faults of ours."""
    try:
        yield
    except Exception as error:
        fault = named(error)
        if fault is None:
            raise
        raise fault from error


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see _versions

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection, step: Callable[[str, str], None]) -> None:
    from alembic import command  # noqa: PLC0415 - see _versions

    def reached(**alembic: Any) -> None:
        script = alembic["step"].up_revision
        step(script.revision, script.doc)

    config = _config()
    config.attributes["connection"] = connection
    config.attributes["reached"] = reached
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    try:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        raise StoreError(f"This is no database of a VTN: {error}.") from error
    return found


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database; None for another."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
