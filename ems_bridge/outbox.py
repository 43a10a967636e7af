# SPDX-License-Identifier: Apache-2.0
"""The outbox: what must reach the broker, on disk until the broker has taken it.

A row is deleted on a good PUBACK, on its expiry, or when a newer one supersedes it. What a broker
has taken it can still lose (mosquitto forgets acknowledged messages when it is killed): whoever
needs more than that waits for the EMS's own acknowledgement.

For a full disk some space is kept in reserve; a damaged file is set aside, and a new one begun.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from doorway import get_logger
from doorway.damage import check, or_anew, was_left_open
from doorway.reserve import Reserve, is_full
from doorway.transaction import transaction
from ems_bridge.errors import OutboxFault

log = get_logger()

VERSION = 1
RESERVE_BYTES = 128 * 1024
MAX_ROWS = 10_000
"""Beyond this the oldest rows give way: weeks without a broker must not fill the card."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS letter (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    expires_at REAL,
    supersedes TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS letter_supersedes ON letter (supersedes) WHERE supersedes != '';
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message on its way, under its number in the outbox."""

    row: int
    topic: str
    payload: bytes
    retain: bool
    expires_at: datetime | None


class Outbox:
    """A SQLite file of its own: WAL, and on the disk (synchronous=FULL) before `put` returns.

    Usable from any thread; each call is one transaction. Raises OutboxFault when the file cannot
    be used, then nothing has changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reserve = Reserve(path, size=RESERVE_BYTES)
            self._db, aside = or_anew(path, self._opened)
        except (OSError, sqlite3.Error) as error:
            raise OutboxFault(f"the outbox {path} cannot be opened: {error}.") from error
        if aside is not None:
            log.error("outbox_damaged", set_aside=str(aside))

    def _opened(self) -> sqlite3.Connection:
        was_open = was_left_open(self._path)
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            if was_open:
                check(database)
            self._refuse_newer(database)
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version={VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    def _refuse_newer(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OutboxFault(
                f"the outbox {self._path} has version {version}, this program knows {VERSION}; "
                "use the newer program, or move the file away."
            )

    def put(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expires_at: datetime | None = None,
        supersedes: str = "",
    ) -> int:
        """Keep one message, in place of the one with the same `supersedes`; returns its number."""
        expires = expires_at.timestamp() if expires_at is not None else None
        with self._transaction():
            if supersedes:
                self._db.execute("DELETE FROM letter WHERE supersedes = ?", (supersedes,))
            cursor = self._db.execute(
                "INSERT INTO letter (topic, payload, retain, expires_at, supersedes) "
                "VALUES (?, ?, ?, ?, ?)",
                (topic, payload, retain, expires, supersedes),
            )
            self._bound()
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def _bound(self) -> None:
        (count,) = self._db.execute("SELECT count(*) FROM letter").fetchone()
        if count > MAX_ROWS:
            self._db.execute(
                "DELETE FROM letter WHERE row IN (SELECT row FROM letter ORDER BY row LIMIT ?)",
                (count - MAX_ROWS,),
            )

    def due(self, now: datetime, *, limit: int, but: Collection[int] = ()) -> list[Letter]:
        """The oldest messages that have not expired, without the rows in `but`; expired ones go."""
        with self._transaction():
            self._db.execute("DELETE FROM letter WHERE expires_at <= ?", (now.timestamp(),))
            rows = self._db.execute(
                "SELECT row, topic, payload, retain, expires_at FROM letter ORDER BY row LIMIT ?",
                (limit + len(but),),
            ).fetchall()
        letters = (
            Letter(
                row=row,
                topic=topic,
                payload=payload,
                retain=bool(retain),
                expires_at=None if expires is None else datetime.fromtimestamp(expires, tz=UTC),
            )
            for row, topic, payload, retain, expires in rows
            if row not in but
        )
        return list(letters)[:limit]

    def remove(self, row: int) -> None:
        """Forget one message; one that is gone already is no fault."""
        with self._transaction():
            self._db.execute("DELETE FROM letter WHERE row = ?", (row,))

    def __len__(self) -> int:
        with self._using():
            (count,) = self._db.execute("SELECT count(*) FROM letter").fetchone()
        return int(count)

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._reserve.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                if is_full(error):
                    self._reserve.release()  # for the next try, which comes within seconds
                raise OutboxFault(
                    f"the outbox {self._path} cannot be used: {error}; look at the disk."
                ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._using():
            if not self._reserve.is_kept:
                self._reserve.restore()
            with transaction(self._db):
                yield
