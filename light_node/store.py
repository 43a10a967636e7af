# SPDX-License-Identifier: Apache-2.0
"""The plan store: plan, orders, leases, acknowledgements and overrides, on disk before they count.

Each write is one transaction with synchronous=FULL: what a method has taken is there after a power
cut. Orders and the log of leases stay 90 days. For a full disk some space is kept in reserve, so
that a running event can still be held, taken back and ended. A damaged file is set aside and a
new one begun: the VEN brings the plan again.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from doorway.damage import check, or_anew, was_left_open
from doorway.reserve import Reserve, is_full
from doorway.transaction import transaction
from ems_bridge.messages import Acknowledgement, SetPoint, Verdict
from light_node.errors import PlanFault
from light_node.local import Exact, Instant, OverrideState
from light_node.plan import Order, Plan
from light_node.setpoint import Held

VERSION = 1
KEPT = timedelta(days=90)
RESERVE_BYTES = 256 * 1024
Source = Literal["ems", "local"]

_SCHEMA = """
CREATE TABLE kept (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
CREATE TABLE event_order (
    event_id TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    changed_at REAL NOT NULL
);
CREATE TABLE lease (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    value BLOB NOT NULL,
    issued_at REAL NOT NULL
);
CREATE TABLE ack (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL,
    status TEXT NOT NULL,
    value BLOB NOT NULL,
    taken_at REAL NOT NULL
);
CREATE INDEX ack_by_seq ON ack (seq);
"""
T = TypeVar("T")


class Written(Exact, frozen=True, kw_only=True):
    """How often a device was written to in its life with this node."""

    count: int = 0
    refused: int = 0
    """Writes that were put off to spare its memory."""
    last_at: Instant | None = None


class Store:
    """One SQLite file; any thread may call. Raises PlanFault when the disk refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reserve = Reserve(path, size=RESERVE_BYTES)
            self._db, self.set_aside = or_anew(path, self._connected)
        except (sqlite3.Error, OSError) as error:
            raise PlanFault(
                f"{path}: the plan cannot be kept there: {error}; check the folder and its owner."
            ) from error
        with self._transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise PlanFault(
                    f"{path}: a newer light node wrote this file (version {version}); "
                    "update this program."
                )
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={VERSION}")

    def _connected(self) -> sqlite3.Connection:
        was_open = was_left_open(self._path)
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("PRAGMA busy_timeout=5000")
            if was_open:
                check(database)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._reserve.restore()

    # --- the plan ------------------------------------------------------------------------------

    def plan(self) -> Plan:
        return self._kept("plan", Plan) or Plan()

    def save_plan(self, plan: Plan, orders: Mapping[str, Order], *, now: datetime) -> None:
        """Replace the plan, and the orders that it has changed."""
        with self._transaction() as db:
            self._keep(db, "plan", plan)
            for event_id, order in orders.items():
                db.execute(
                    "INSERT OR REPLACE INTO event_order VALUES (?, ?, ?)",
                    (event_id, msgspec.json.encode(order), now.timestamp()),
                )
            before = (now - KEPT).timestamp()
            db.execute("DELETE FROM event_order WHERE changed_at < ?", (before,))
            db.execute("DELETE FROM lease WHERE issued_at < ?", (before,))
            db.execute("DELETE FROM ack WHERE taken_at < ?", (before,))

    def orders(self) -> dict[str, Order]:
        """What each event has ordered, by event."""
        with self._lock:
            rows = self._db.execute("SELECT event_id, value FROM event_order").fetchall()
        return {event_id: msgspec.json.decode(value, type=Order) for event_id, value in rows}

    # --- the leases ----------------------------------------------------------------------------

    def held(self) -> Held:
        return self._kept("held", Held) or Held()

    def save_held(self, held: Held, sent: SetPoint | None) -> None:
        """Put the guard's memory on the disk, with the set-point about to be sent, if any."""
        with self._transaction() as db:
            self._keep(db, "held", held)
            if sent is not None:
                db.execute(
                    "INSERT INTO lease VALUES (?, ?, ?, ?)",
                    (
                        sent.seq,
                        sent.reason.event_id,
                        msgspec.json.encode(sent),
                        sent.issued_at.timestamp(),
                    ),
                )

    def save_acknowledgement(self, ack: Acknowledgement, *, now: datetime) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO ack (seq, status, value, taken_at) VALUES (?, ?, ?, ?)",
                (ack.seq, ack.status, msgspec.json.encode(ack), now.timestamp()),
            )

    def last_acknowledgement(self) -> Acknowledgement | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM ack ORDER BY number DESC LIMIT 1").fetchone()
        return msgspec.json.decode(row[0], type=Acknowledgement) if row else None

    def is_acknowledged(self, event_id: str) -> bool:
        """Whether the EMS has ever accepted a lease (not only a release) of this event."""
        with self._lock:
            rows = self._db.execute(
                "SELECT DISTINCT lease.value FROM lease JOIN ack USING (seq)"
                " WHERE lease.event_id = ? AND ack.status IN ('ACCEPTED', 'STARTED', 'SUCCEEDED')",
                (event_id,),
            ).fetchall()
        return any(not msgspec.json.decode(value, type=SetPoint).release for (value,) in rows)

    # --- the overrides -------------------------------------------------------------------------

    def override(self, source: Source) -> OverrideState:
        return self._kept(f"override {source}", OverrideState) or OverrideState(active=False)

    def save_override(self, source: Source, state: OverrideState) -> None:
        with self._transaction() as db:
            self._keep(db, f"override {source}", state)

    # --- what was written, and what it brought ----------------------------------------------------

    def written(self, asset: str) -> Written:
        return self._kept(f"written {asset}", Written) or Written()

    def save_written(self, asset: str, written: Written) -> None:
        with self._transaction() as db:
            self._keep(db, f"written {asset}", written)

    def effect(self, event_id: str) -> Verdict | None:
        """What the meter saw of an event's last lease that was judged."""
        return self._kept(f"effect {event_id}", Verdict)

    def save_effect(self, verdict: Verdict, *, now: datetime) -> None:
        with self._transaction() as db:
            self._keep(db, f"effect {verdict.event_id}", verdict)
            db.execute(
                "DELETE FROM kept WHERE name LIKE 'effect %'"
                " AND json_extract(CAST(value AS TEXT), '$.at') < ?",
                ((now - KEPT).isoformat(),),
            )

    # --- inside --------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                if not self._reserve.is_kept:
                    self._reserve.restore()
                with transaction(self._db):
                    yield self._db
        except sqlite3.Error as error:
            if is_full(error):
                self._reserve.release()  # for the next try, which comes within seconds
            raise PlanFault(
                f"{self._path}: the plan cannot be written: {error}; make room on the disk."
            ) from error

    def _keep(self, db: sqlite3.Connection, name: str, value: object) -> None:
        db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, msgspec.json.encode(value)))

    def _kept(self, name: str, kind: type[T]) -> T | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return msgspec.json.decode(row[0], type=kind) if row else None
