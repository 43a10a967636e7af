# SPDX-License-Identifier: Apache-2.0
"""The ring: readings on disk for a week, quarter-hour energies for a season.

What may be lost, and when: a reading counts from its commit on. Until then it is in memory only,
is handed to nobody, and a power cut takes it: up to `commit_s` of readings in quiet times, none
near an event, where each is committed at once. What was handed out is on the disk (WAL,
synchronous=FULL) and keeps its row id; ids only rise, also over restarts.

This file is the node's alone while it runs (locking_mode=EXCLUSIVE): nobody else can read it, and
SQLite then keeps the index of its log in memory. As a file (ring.db-shm) that index cost the card
more than the readings. One meter at 4 s has the kernel write 18 MB a day in quiet times (`commit_s`
60); docs/installer.md says how that is counted.

Readings stay 7 days, those of event days 90; quarters stay 90 days. A quarter's energy is the mean
of its good readings times the time they cover; what they do not cover is not made up.

A file that is damaged is set aside (ring.db.damaged-...), and a new one begun: a node that measures
is worth more than one that stands still.

On a full disk the oldest readings that the VTN has acknowledged give way (`delivered`), an hour of
them at a time; those it has not are never given up for newer ones.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from doorway.damage import check, or_anew, was_left_open
from doorway.reserve import Reserve, is_full
from doorway.transaction import transaction
from light_node.errors import RingFault
from light_node.quality import UNUSABLE, Quality, to_text
from light_node.reading import QUARTER_S, Reading

VERSION = 2
READINGS_KEPT_S = 7 * 86_400
QUARTERS_KEPT_S = 90 * 86_400
_PURGE_EVERY_S = 3600.0
PAGE_BYTES = 512
_LOG_BYTES = 3_000_000
"""So far SQLite's log grows before it is written into the file, and beside it for good."""
RESERVE_BYTES = 1024 * 1024
_GIVE_UP_ROWS = 900

_SCHEMA = """
CREATE TABLE boot (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE
);
CREATE TABLE meter (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE
);
CREATE TABLE reading (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    meter INTEGER NOT NULL,
    starts_at REAL NOT NULL,
    watts REAL,
    energy_wh REAL,
    quality INTEGER NOT NULL,
    start_error_us INTEGER NOT NULL
);
CREATE INDEX reading_by_time ON reading (meter, starts_at);
CREATE TABLE quarter (
    meter INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    energy_wh REAL NOT NULL,
    covered_s REAL NOT NULL,
    imported INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (meter, starts_at)
) WITHOUT ROWID;
CREATE TABLE event_span (
    event_id TEXT PRIMARY KEY,
    starts_at REAL NOT NULL,
    ends_at REAL NOT NULL
);
"""

_SINCE_1 = """
DROP INDEX reading_by_time;
ALTER TABLE reading RENAME TO earlier;
{reading}
INSERT INTO reading SELECT id, boot, seq, meter, starts_at, watts, energy_wh, quality,
    CAST(round(start_error_ms * 1000) AS INTEGER) FROM earlier ORDER BY id;
DROP TABLE earlier;
"""
"""Version 1 also had the tick, the time an answer took, and an index over (boot, seq)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Readings as columns of equal length, oldest row first."""

    ids: list[int]
    starts_at: list[float]
    watts: list[float | None]
    energy_wh: list[float | None]
    quality: list[Quality]
    start_error_ms: list[float]
    """How long after its tick each request left."""

    def texts(self) -> list[str]:
        return [to_text(quality) for quality in self.quality]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """A quarter of an hour: [starts_at, starts_at + 900 s)."""

    starts_at: int
    watts: float
    """Mean power over the time covered."""
    covered_s: float
    """For how long there were good readings; 900 when imported."""
    imported: bool


class Ring:
    """One SQLite file. Each method is one transaction; any thread may call, one at a time."""

    def __init__(self, path: Path, *, boot: str, interval_s: float) -> None:
        """Open or make the file. `boot` names this run of the node. Raises RingFault."""
        self._path = path
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._committed_at = self._purged_at = 0.0
        self._meters: dict[str, int] = {}
        self._committed: frozenset[int] = frozenset()
        """The `seq` of the readings of the last commit."""
        self.delivered = 0
        """Rows up to this id have been acknowledged by the VTN, and may give way on a full disk."""
        self.is_full = False
        """Whether the last write found the disk full."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reserve = Reserve(path, size=RESERVE_BYTES)
            self._db, self.set_aside = or_anew(path, lambda: self._connected(boot))
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise RingFault(
                    f"{path}: another program has it open; is a light node running on it? Stop it "
                    "first."
                ) from error
            raise RingFault(
                f"{path}: the readings cannot be kept there: {error}; check the folder, its "
                "owner and the free space."
            ) from error

    def _connected(self, boot: str) -> sqlite3.Connection:
        was_open = was_left_open(self._path)
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            # Counts for a new file only. A commit touches the last page of each tree: small pages
            # spare the card two thirds of all that is written to it.
            self._db.execute(f"PRAGMA page_size={PAGE_BYTES}")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint={_LOG_BYTES // PAGE_BYTES}")
            self._db.execute("PRAGMA busy_timeout=5000")
            self._db.execute("PRAGMA cache_size=-2000")
            if was_open:
                check(self._db)
            try:
                self._open(boot)
            except sqlite3.Error as error:
                if not (is_full(error) and self._reserve.release()):
                    raise
                self._open(boot)
        except BaseException:
            self._db.close()
            raise
        return self._db

    def _open(self, boot: str) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise RingFault(
                f"{self._path}: a newer light node wrote this file (version {version}); "
                "update this program."
            )
        with self._transaction():
            if version < VERSION:
                for statement in (_SCHEMA if version == 0 else _from_1()).split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={VERSION}")
            self._db.execute("INSERT OR IGNORE INTO boot (id) VALUES (?)", (boot,))
            (self._boot,) = self._db.execute(
                "SELECT number FROM boot WHERE id = ?", (boot,)
            ).fetchone()
        self._rows = self._count()

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._reserve.restore()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with transaction(self._db):
                yield self._db
        except BaseException:
            self._meters.clear()  # some of the numbers may have gone with it
            raise

    # --- what comes in -------------------------------------------------------------------------

    def commit(self, readings: Sequence[Reading], *, now: float) -> None:
        """Put readings on the disk and bring their quarters up to date; now and then, purge.

        Those that the last commit has put there already are left out: whoever gave up waiting for
        it asks again.
        Raises RingFault when the disk refuses; then none of them is in.
        """
        with self._lock, self._refusals():
            try:
                self._commit(readings, now)
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                self.is_full = True
                self._make_room()
                self._commit(readings, now)
            if not self._reserve.is_kept:
                self._reserve.restore()
            self.is_full = not self._reserve.is_kept

    def _commit(self, given: Sequence[Reading], now: float) -> None:
        readings = [reading for reading in given if reading.seq not in self._committed]
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO reading (boot, seq, meter, starts_at, watts, energy_wh, quality,"
                " start_error_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [self._row(reading) for reading in readings],
            )
            touched = {(r.meter, int(r.starts_at // QUARTER_S) * QUARTER_S) for r in readings}
            for meter, starts_at in touched:
                self._sum_up(self._number(meter), starts_at)
            purged = self._purge_in_time(now)
        self._rows = self._count() if purged else self._rows + len(readings)
        self._committed = frozenset(reading.seq for reading in given)

    def _make_room(self) -> None:
        """Let go of the reserve and of the oldest rows that have been delivered.

        Their pages go to what comes next; the file does not shrink.
        """
        self._reserve.release()
        with self._transaction() as db:
            gone = db.execute(
                "DELETE FROM reading WHERE id IN"
                " (SELECT id FROM reading WHERE id <= ? ORDER BY id LIMIT ?)",
                (self.delivered, _GIVE_UP_ROWS),
            ).rowcount
        self._rows -= gone
        # What is in the log goes into the file's free pages, and the log begins anew.
        self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What SQLite cannot do is told as a RingFault."""
        try:
            yield
        except sqlite3.Error as error:
            raise RingFault(
                f"{self._path}: readings cannot be kept or read: {error}; "
                "look at the disk, and make room on it."
            ) from error

    def import_quarters(
        self, meter: str, quarters: Iterable[tuple[int, float]], *, now: float
    ) -> int:
        """Take in earlier days: (starts_at, mean watts) of quarters; returns how many.

        Raises RingFault, and takes in nothing, when one of them overlaps measured readings or lies
        in the future.
        """
        rows = sorted(quarters)
        with self._lock, self._refusals(), self._transaction() as db:
            number = self._number(meter)
            for starts_at, watts in rows:
                if starts_at + QUARTER_S > now:
                    raise RingFault("the history reaches into the future; cut it at this hour.")
                cursor = db.execute(
                    "INSERT INTO quarter (meter, starts_at, energy_wh, covered_s, imported)"
                    " VALUES (?, ?, ?, ?, 1) ON CONFLICT (meter, starts_at) DO UPDATE SET"
                    " energy_wh = excluded.energy_wh WHERE imported = 1",
                    (number, starts_at, watts * QUARTER_S / 3600, QUARTER_S),
                )
                if cursor.rowcount == 0:
                    raise _Overlap(starts_at)
        return len(rows)

    def mark_event(self, event_id: str, starts_at: float, ends_at: float) -> None:
        """Keep the readings of the days around [starts_at, ends_at) for as long as quarters."""
        with self._lock, self._refusals(), self._transaction() as db:
            db.execute(
                "INSERT INTO event_span VALUES (?, ?, ?) ON CONFLICT (event_id) DO UPDATE SET"
                " starts_at = excluded.starts_at, ends_at = excluded.ends_at",
                (event_id, starts_at, ends_at),
            )

    # --- what goes out -------------------------------------------------------------------------

    def readings(self, meter: str, *, after: int, limit: int) -> Columns:
        """Rows with an id above `after`, oldest first."""
        # The "+" keeps SQLite to the ids: by meter it would sort the whole ring for each page.
        return self._select(meter, "+meter = ? AND id > ? ORDER BY id LIMIT ?", (after, limit))

    def span(self, meter: str, starts_at: float, ends_at: float, *, limit: int) -> Columns:
        """Rows with starts_at in [starts_at, ends_at), in the order of time."""
        return self._select(
            meter,
            "meter = ? AND starts_at >= ? AND starts_at < ? ORDER BY starts_at, id LIMIT ?",
            (starts_at, ends_at, limit),
        )

    def quarters(self, meter: str, starts_at: float, ends_at: float) -> list[Quarter]:
        """Quarters with starts_at in [starts_at, ends_at), in the order of time."""
        with self._lock, self._refusals():
            rows = self._db.execute(
                "SELECT starts_at, energy_wh * 3600 / covered_s, covered_s, imported FROM quarter"
                " WHERE meter = ? AND starts_at >= ? AND starts_at < ? AND covered_s > 0"
                " ORDER BY starts_at",
                (self._known(meter), starts_at, ends_at),
            ).fetchall()
        return [
            Quarter(starts_at=at, watts=watts, covered_s=covered, imported=bool(imported))
            for at, watts, covered, imported in rows
        ]

    @property
    def row_count(self) -> int:
        """How many readings are kept, of all meters."""
        return self._rows

    # --- inside --------------------------------------------------------------------------------

    def _select(self, meter: str, where: str, arguments: tuple[float, ...]) -> Columns:
        with self._lock, self._refusals():
            rows = self._db.execute(
                "SELECT id, starts_at, watts, energy_wh, quality, start_error_us / 1000.0"  # noqa: S608 - `where` is a constant of `readings` or `span`
                f" FROM reading WHERE {where}",
                (self._known(meter), *arguments),
            ).fetchall()
        ids, starts, watts, energies, qualities, errors = (
            zip(*rows, strict=True) if rows else ((),) * 6
        )
        return Columns(
            ids=list(ids),
            starts_at=list(starts),
            watts=list(watts),
            energy_wh=list(energies),
            quality=[Quality(flags) for flags in qualities],
            start_error_ms=list(errors),
        )

    def _row(self, reading: Reading) -> tuple[object, ...]:
        return (
            self._boot,
            reading.seq,
            self._number(reading.meter),
            reading.starts_at,
            reading.watts,
            reading.energy_wh,
            int(reading.quality),
            round(reading.start_error_s * 1e6),
        )

    def _number(self, meter: str) -> int:
        if meter not in self._meters:
            self._db.execute("INSERT OR IGNORE INTO meter (id) VALUES (?)", (meter,))
            self._meters[meter] = self._known(meter)
        return self._meters[meter]

    def _known(self, meter: str) -> int:
        row = self._db.execute("SELECT number FROM meter WHERE id = ?", (meter,)).fetchone()
        return row[0] if row else -1

    def _sum_up(self, meter: int, starts_at: int) -> None:
        """Bring one quarter up to date; one that covers less than what is there changes nothing."""
        self._db.execute(
            "INSERT INTO quarter (meter, starts_at, energy_wh, covered_s)"
            " SELECT meter, ?1, avg(watts) * covered / 3600, covered FROM"
            "  (SELECT meter, watts, min(?2, count(*) OVER () * ?3) AS covered FROM reading"
            "   WHERE meter = ?4 AND starts_at >= ?1 AND starts_at < ?1 + ?2"
            "   AND watts IS NOT NULL AND quality & ?5 = 0)"
            " WHERE true GROUP BY meter HAVING count(*) > 0"
            " ON CONFLICT (meter, starts_at) DO UPDATE SET energy_wh = excluded.energy_wh,"
            "  covered_s = excluded.covered_s, imported = 0"
            " WHERE excluded.covered_s >= covered_s",
            (starts_at, QUARTER_S, self._interval_s, meter, int(UNUSABLE)),
        )

    def _purge_in_time(self, now: float) -> bool:
        """Purge once an hour, and never within an hour of a leap of the clock.

        A clock that is wrong for a while must not cost a week of readings.
        """
        due = now - self._purged_at >= _PURGE_EVERY_S
        if not 0 <= now - self._committed_at < 2 * _PURGE_EVERY_S:
            due, self._purged_at = False, now
        elif due:
            self._purge(now)
            self._purged_at = now
        self._committed_at = now
        return due

    def _count(self) -> int:
        (rows,) = self._db.execute("SELECT count(*) FROM reading").fetchone()
        return int(rows)

    def _purge(self, now: float) -> None:
        day_s = 86_400
        self._db.execute("DELETE FROM quarter WHERE starts_at < ?", (now - QUARTERS_KEPT_S,))
        self._db.execute("DELETE FROM event_span WHERE ends_at < ?", (now - QUARTERS_KEPT_S,))
        self._db.execute(
            "DELETE FROM reading WHERE starts_at < ? AND NOT EXISTS (SELECT 1 FROM event_span"
            " WHERE reading.starts_at >= event_span.starts_at - ?"
            " AND reading.starts_at < event_span.ends_at + ?)",
            (now - READINGS_KEPT_S, day_s, day_s),
        )


def _from_1() -> str:
    """The statements that bring a file of version 1 up to date; its ids go on from where they were.

    For once they write all of it anew.
    """
    begin = _SCHEMA.index("CREATE TABLE reading")
    return _SINCE_1.format(reading=_SCHEMA[begin : _SCHEMA.index("CREATE TABLE quarter")])


class _Overlap(RingFault):
    def __init__(self, starts_at: int) -> None:
        super().__init__(
            f"the history overlaps what this node has measured itself (from {starts_at} epoch "
            "seconds on); cut it before that, nothing was taken in."
        )
