# SPDX-License-Identifier: Apache-2.0
"""Backups of the database: made while the VTN serves, read back before they are trusted.

SQLite: its online backup, of one instant, into one file. PostgreSQL: a custom archive of pg_dump.
Beside each stands its checksum, as sha256sum writes it. A file is whole or not there.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vtn.errors import BackupFault, StoreUnavailable
from vtn.store.engine import refuse_newer, revision, sqlite_file

Kind = Literal["sqlite", "postgresql"]
Progress = Callable[[int, int], None]
"""How much is done, of how much."""

_MAGIC: Final[Mapping[bytes, Kind]] = {b"SQLite format 3\0": "sqlite", b"PGDMP": "postgresql"}
_PAGES: Final = 2048
"""Pages copied between two signs of progress: 8 MiB."""
_WAIT_MS: Final = 2000
"""How long a passing reader (`vtn check`) may hold up what wants the database for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that is there and whole."""

    file: Path
    kind: Kind
    size_bytes: int
    sha256: str
    version: str
    """Of its tables; "" where only a database could tell (PostgreSQL)."""


def nobody_watches(_done: int, _whole: int) -> None:
    """No sign of progress."""


# --- making --------------------------------------------------------------------------------------


async def back_up(url: str, file: Path, *, progress: Progress = nobody_watches) -> Backup:
    """Write a backup of the database, and its checksum beside it; the VTN may serve meanwhile.

    Raises BackupFault where the file is there already or cannot be written, or pg_dump is missing.
    """
    found, _ = await revision(url)
    if found is None:
        raise BackupFault("There is no database to back up; run vtn init.")
    for path in (file, _checksum_file(file)):
        if path.exists():
            raise BackupFault(f"{path} is there already; give another name.")
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    source = sqlite_file(url)
    with _files_named(file):
        try:
            draft.touch(mode=0o640)
            if source is not None:
                await asyncio.to_thread(_copy_sqlite, source, draft, progress)
            else:
                await asyncio.to_thread(_dump, make_url(url), draft, progress)
            size_bytes, sha256 = await asyncio.to_thread(_finished, draft, file)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
    return Backup(
        file=file,
        kind="sqlite" if source is not None else "postgresql",
        size_bytes=size_bytes,
        sha256=sha256,
        version=found,
    )


def _finished(draft: Path, file: Path) -> tuple[int, str]:
    """The draft in its place, with its checksum; its size and that."""
    sha256 = _sha256(draft)
    _write_durably(_checksum_file(file), f"{sha256}  {file.name}\n".encode())
    _put_in_place(draft, file)
    return file.stat().st_size, sha256


def _copy_sqlite(source: Path, draft: Path, progress: Progress) -> None:
    """One state of the database, however much is written to it meanwhile."""
    free, needed = shutil.disk_usage(draft.parent).free, source.stat().st_size
    if free < needed:
        raise BackupFault(
            f"{draft.parent} has {free >> 20} MiB free, and the backup needs {needed >> 20}."
        )
    with _sqlite(source) as reading, _sqlite(draft, create=True) as writing:
        # In a transaction of its own it sees one state, and so need not begin again each time
        # the VTN writes.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(
            writing,
            pages=_PAGES,
            progress=lambda _status, left, whole: progress(whole - left, whole),
            sleep=0,
        )
        writing.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    _sync(draft)


def _dump(url: URL, draft: Path, progress: Progress) -> None:
    program = _program("pg_dump")
    command = [program, "--format=custom", "--schema=public", "--no-owner", "--no-privileges"]
    with subprocess.Popen(  # noqa: S603 - a fixed command; what comes from settings is its environment
        [*command, "--verbose", f"--file={draft}"],
        env=_environment(url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        last, tables = "", 0
        for line in running.stderr:
            last = line.strip() or last
            if "dumping contents of table" in line:
                tables += 1
                progress(tables, 0)
    if running.returncode:
        raise BackupFault(f"pg_dump has failed: {last}.")
    _sync(draft)


# --- reading back --------------------------------------------------------------------------------


async def verify(file: Path) -> Backup:
    """Read a backup from beginning to end. Raises BackupFault where it is not what was written."""
    with _files_named(file):
        return await asyncio.to_thread(_verified, file)


def _verified(file: Path) -> Backup:
    with file.open("rb") as stream:
        head = stream.read(16)
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if kind is None:
        raise BackupFault(f"{file} is no backup of a VTN; give a file that `vtn backup` wrote.")
    sha256 = _sha256(file)
    if _checksum_file(file).exists():
        said = _checksum_file(file).read_text().split()
        if sha256 not in said:
            raise BackupFault(
                f"{file} is damaged: its checksum is not that beside it; use another."
            )
    version = _version_within(file) if kind == "sqlite" else _table_of_contents(file)
    return Backup(
        file=file, kind=kind, size_bytes=file.stat().st_size, sha256=sha256, version=version
    )


def _version_within(file: Path) -> str:
    try:
        with _sqlite(file, read_only=True) as reading:
            (said,) = reading.execute("PRAGMA integrity_check").fetchone()
            if said != "ok":
                raise BackupFault(f"{file} is damaged ({said}); use another.")
            (version,) = reading.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupFault(f"{file} is damaged or no backup of a VTN ({error}).") from error
    return str(version)


def _table_of_contents(file: Path) -> str:
    listed = _run([_program("pg_restore"), "--list", str(file)], None, what="pg_restore")
    if "alembic_version" not in listed:
        raise BackupFault(f"{file} is no backup of a VTN; give a file that `vtn backup` wrote.")
    return ""


# --- putting back --------------------------------------------------------------------------------


async def restore(url: str, file: Path, *, force: bool, now: datetime) -> str:
    """Put a backup in the place of the database; where what was there before now is, "" for none.

    Raises BackupFault where the backup is damaged or of the other kind, where the database holds
    anything and `force` is not given, and where somebody has it open.
    """
    backup = await verify(file)
    kind: Kind = "sqlite" if sqlite_file(url) is not None else "postgresql"
    if backup.kind != kind:
        raise BackupFault(
            f"{file} is a backup of {backup.kind} and [store] url names {kind}; restore it where "
            "it came from, then use vtn copy."
        )
    if backup.version:
        refuse_newer(url, backup.version)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    target = sqlite_file(url)
    if target is not None:
        with _files_named(target):
            return await asyncio.to_thread(_restore_sqlite, target, file, force=force, stamp=stamp)
    return await _restore_postgresql(url, file, force=force, stamp=stamp)


def _restore_sqlite(target: Path, file: Path, *, force: bool, stamp: str) -> str:
    beside = target.with_name(f"{target.name}.before-restore-{stamp}")
    there = target.exists() and target.stat().st_size > 0
    if there and not force:
        raise BackupFault(_NOT_EMPTY.format(where=target))
    if there:
        _have_for_ourselves(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(file, draft)
        draft.chmod(0o640)
        _sync(draft)
        if there:
            os.link(target, beside)
        for log in ("-wal", "-shm"):  # of a damaged database; they must not be read into the new
            with contextlib.suppress(FileNotFoundError):
                target.with_name(target.name + log).rename(beside.with_name(beside.name + log))
        _put_in_place(draft, target)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return str(beside) if there else ""


async def _restore_postgresql(url: str, file: Path, *, force: bool, stamp: str) -> str:
    beside = f"before_restore_{stamp.lower()}"
    engine = create_async_engine(url, pool_size=1, isolation_level="AUTOCOMMIT")
    try:
        there = await _is_there(engine)
        if there and not force:
            raise BackupFault(_NOT_EMPTY.format(where="The database"))
        if there:
            await _refuse_company(engine)
            await _say(engine, f"ALTER SCHEMA public RENAME TO {beside}", "CREATE SCHEMA public")
        command = [_program("pg_restore"), "--single-transaction", "--no-owner", "--schema=public"]
        where = ["--no-privileges", f"--dbname={make_url(url).database}", str(file)]
        try:
            await asyncio.to_thread(
                _run, [*command, *where], _environment(make_url(url)), what="pg_restore"
            )
        except BaseException:
            if there:
                undo = ("DROP SCHEMA public CASCADE", f"ALTER SCHEMA {beside} RENAME TO public")
                await _say(engine, *undo)
            raise
    finally:
        await engine.dispose()
    return f"the schema {beside}" if there else ""


_NOT_EMPTY = (
    "{where} is not empty; with --force the backup takes its place, and what is there is kept "
    "beside it."
)


# --- alone with the database ---------------------------------------------------------------------


async def have_for_ourselves(url: str) -> None:
    """Raises BackupFault where another program has the database open."""
    file = sqlite_file(url)
    if file is not None:
        await asyncio.to_thread(_have_for_ourselves, file)
        return
    engine = create_async_engine(url, pool_size=1)
    try:
        await _refuse_company(engine)
    finally:
        await engine.dispose()


def _have_for_ourselves(file: Path) -> None:
    """SQLite gives up its log only to who is alone; a database too damaged to open is nobody's."""
    try:
        with _sqlite(file) as alone:
            alone.execute(f"PRAGMA busy_timeout={_WAIT_MS}")
            alone.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            return
        raise BackupFault(_IN_USE) from error
    except sqlite3.DatabaseError:
        return


async def _refuse_company(engine: AsyncEngine) -> None:
    others = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = current_user"
    )
    async with _answering(), engine.connect() as connection:
        if await connection.scalar(text(f"{others} AND pid <> pg_backend_pid()")):
            raise BackupFault(_IN_USE)


_IN_USE = "The database is in use; stop vtn serve first."


async def _is_there(engine: AsyncEngine) -> bool:
    async with _answering(), engine.connect() as connection:
        found = await connection.scalar(
            text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        )
    return bool(found)


async def _say(engine: AsyncEngine, *statements: str) -> None:
    async with _answering(), engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))


@contextlib.asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """What PostgreSQL says, as a fault of ours."""
    try:
        yield
    except (DBAPIError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreUnavailable(f"The database does not do what it should ({reason}).") from error


# --- parts ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _sqlite(
    file: Path, *, create: bool = False, read_only: bool = False
) -> Iterator[sqlite3.Connection]:
    mode = "rwc" if create else "ro&immutable=1" if read_only else "rw"
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None
    )
    try:
        yield connection
    finally:
        connection.close()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BackupFault(
            f"{name} is missing; install PostgreSQL's client programs (postgresql-client)."
        )
    return found


def _environment(url: URL) -> dict[str, str]:
    """Where the database is, as libpq's programs are told; nothing that `ps` would show."""
    query = {name: value for name, value in url.query.items() if isinstance(value, str)}
    told = {
        "PGHOST": url.host or query.get("host"),
        "PGPORT": str(url.port) if url.port else query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": str(url.password) if url.password else None,
        "PGDATABASE": url.database,
        "PGSSLMODE": query.get("ssl") or query.get("sslmode"),
        "LC_ALL": "C",
    }
    return {**os.environ, **{name: value for name, value in told.items() if value}}


def _run(command: list[str], environment: Mapping[str, str] | None, *, what: str) -> str:
    done = subprocess.run(  # noqa: S603 - a fixed command and a file
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise BackupFault(f"{what} has failed: {last}.")
    return done.stdout


def _checksum_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_durably(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    _sync(file)


def _put_in_place(draft: Path, file: Path) -> None:
    draft.replace(file)
    _sync(file.absolute().parent)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def _files_named(file: Path) -> Iterator[None]:
    """What the file system and SQLite say, as a fault of ours."""
    try:
        yield
    except OSError as error:
        raise BackupFault(f"{file}: {(error.strerror or str(error)).lower()}.") from error
    except sqlite3.Error as error:
        raise BackupFault(f"{file}: SQLite has failed ({error}).") from error
