# SPDX-License-Identifier: Apache-2.0
"""What the VEN must not forget over a restart: its SQLite file.

IDs, events with their offsets and answers, answers the VTN has not acknowledged, report requests in
force with what they owe. Every change is on disk when the method returns (synchronous=FULL); what
belongs together is written in one `transaction`. Messages are kept as the OpenADR they are, so one
codec reads them all.

How far a report has been served may wait for the disk up to PROGRESS_S (`put_request`, and only
where the caller says so): what was acknowledged meanwhile is sent once more after a power cut,
which changes nothing at the VTN, and the card is spared two writes a minute.

Calls block for one disk write each. They are few (events, acknowledged batches), and sampling and
set-points live in another process.

A disk that refuses is a StateFault, and then nothing was changed, in memory neither. Some space is
kept in reserve, so that on a full disk events can still be taken and answered for a while.
"""

import contextlib
import fcntl
import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, cast, get_args

import oadr
from doorway import get_logger
from doorway.damage import check, or_anew, was_left_open
from doorway.reserve import Reserve, is_full
from doorway.values import value
from oadr.event import DistributeEvent
from oadr.opt import CreateOpt
from oadr.report import CreateReport, ReportRequest
from oadr.vocabulary import OptType, ServiceName
from ven.errors import StateFault
from ven.known import Decider, KnownEvent
from ven.spool import Spool

log = get_logger()

VERSION = 2
RESERVE_BYTES = 256 * 1024
PROGRESS_S = 900.0
_AGAIN_S = 60.0
_SCHEMA = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE event (
    event_id TEXT PRIMARY KEY,
    wire BLOB NOT NULL,
    offset_s REAL NOT NULL,
    opt TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    response_code TEXT NOT NULL,
    request_id TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    ends_early_at TEXT,
    answered INTEGER NOT NULL,
    reported INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE answer (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    wire BLOB NOT NULL
);
CREATE TABLE request (
    report_request_id TEXT PRIMARY KEY,
    wire BLOB NOT NULL,
    taken_at TEXT NOT NULL,
    spool TEXT,
    last_row_at REAL,
    sent INTEGER NOT NULL,
    ending INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE orphan (specifier_id TEXT PRIMARY KEY, spool TEXT NOT NULL) WITHOUT ROWID;
"""
_SINCE_2 = """
ALTER TABLE event ADD COLUMN out_resources TEXT NOT NULL DEFAULT '[]';
ALTER TABLE event ADD COLUMN qualified INTEGER NOT NULL DEFAULT 0;
CREATE TABLE schedule (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    opt_id TEXT NOT NULL,
    wire BLOB NOT NULL
);
CREATE TABLE nonce (
    sender TEXT NOT NULL,
    value TEXT NOT NULL,
    sent_at REAL NOT NULL,
    PRIMARY KEY (sender, value)
) WITHOUT ROWID;
"""


@value
class Registration:
    """The IDs the VTN gave, and how often it wants to be asked."""

    registration_id: str
    ven_id: str
    vtn_id: str
    poll_interval_s: float | None
    metadata_sent: bool
    """Whether the VTN has acknowledged this VEN's reports since it registered (rule 309)."""
    terms: str = "pull"
    """How it registered: "pull", or "push" and the address; and "signed"."""
    offered: str = ""
    """Which reports the VTN has acknowledged (`offers.stamp`)."""


@value
class Answer:
    """A message that waits for the VTN's acknowledgement."""

    n: int
    service: ServiceName
    message: oadr.Message


@value
class InForce:
    """A report request, and how far it has been served."""

    request: ReportRequest
    taken_at: datetime
    spool: Spool | None = None
    """None until the first row is known."""
    last_row_at: float | None = None
    """Start of the newest live reading that was acknowledged, epoch seconds."""
    sent: int = 0
    """How many periods have been reported."""
    ending: bool = False
    """One final report, then it is over (rule 345)."""

    @property
    def request_id(self) -> str:
        return self.request.report_request_id


class State:
    """The open file. One VEN at a time runs on it; readers need no lock."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        lock: IO[str] | None = None,
        reserve: Reserve | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        self._reserve = reserve
        self._depth = 0
        self._events: dict[str, KnownEvent] | None = None  # read once: parsing XML is slow
        self._requests: dict[str, InForce] | None = None
        self._monotonic = monotonic
        self._progress_at = -math.inf
        self._unwritten: set[str] = set()
        """The requests of which memory knows more than the disk."""

    @classmethod
    def open(cls, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> "State":
        """Open, or make, the file and lock it. Raises StateFault."""
        try:
            lock = path.with_suffix(".lock").open("w", encoding="utf-8")
        except OSError as error:
            raise StateFault(
                f"{path}: the VEN's state cannot be kept there ({error.strerror}); see [ven] state."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StateFault(
                f"{path}: another VEN runs on this state; stop it, or name another [ven] state."
            ) from error
        reserve = Reserve(path, size=RESERVE_BYTES)
        try:
            connection = _connected(path, reserve)
        except StateFault:
            lock.close()
            raise
        return cls(path, connection, lock=lock, reserve=reserve, monotonic=monotonic)

    @classmethod
    def peek(cls, path: Path) -> "State":
        """Open the file to read it beside a VEN that may be running. Raises StateFault."""
        if not path.exists():
            raise StateFault(f"{path}: there is no VEN state yet; start the VEN with 'ven run'.")
        return cls(path, _connected(path, None))

    def close(self) -> None:
        if self._unwritten:
            self._try_to_write_progress()
        self._connection.close()
        if self._reserve is not None:
            self._reserve.restore()
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested, the outermost counts. Raises StateFault."""
        self._depth += 1
        try:
            if self._depth == 1:
                self._begin()
            yield
            if self._depth == 1:
                self._connection.execute("COMMIT")
        except BaseException as error:
            if self._depth == 1:
                self._undo(error)
            raise
        finally:
            self._depth -= 1

    def _begin(self) -> None:
        if self._reserve is not None and not self._reserve.is_kept:
            self._reserve.restore()
        self._connection.execute("BEGIN IMMEDIATE")

    def _undo(self, error: BaseException) -> None:
        """Go back to what is on the disk. Raises StateFault where it was the disk that refused."""
        self._events = self._requests = None
        self._unwritten.clear()
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:  # a full disk may have ended it already
                self._connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            if is_full(error) and self._reserve is not None:
                self._reserve.release()  # for the next try
            raise StateFault(
                f"{self._path}: the VEN's state cannot be written ({error}); look at the disk, "
                "and make room on it."
            ) from error

    def _write(self, statement: str, values: tuple[object, ...] = ()) -> None:
        with self.transaction():
            self._connection.execute(statement, values)

    # --- registration --------------------------------------------------------------------------

    def registration(self) -> Registration | None:
        text = self._fact("registration")
        return Registration(**json.loads(text)) if text is not None else None

    def set_registration(self, registration: Registration) -> None:
        self._set_fact("registration", json.dumps(asdict(registration)))

    def forget_registration(self) -> None:
        """The VTN does not know this VEN: its IDs and report requests mean nothing any more.

        What is on the timeline and what the reports owe stay until the VTN says otherwise.
        """
        with self.transaction():
            self._drop_fact("registration")
            self._connection.execute("DELETE FROM answer")
            self.replace_requests(())

    def forget_everything(self) -> None:
        """The registration was cancelled: erase everything about the VTN (rule 407)."""
        with self.transaction():
            self.forget_registration()
            self._connection.execute("DELETE FROM event")
            self._connection.execute("DELETE FROM orphan")
            self._events = {}

    @property
    def is_withdrawn(self) -> bool:
        """Whether a person has taken this VEN out; it then stays out until told otherwise."""
        return self._fact("withdrawn") is not None

    def withdraw(self, *, withdrawn: bool) -> None:
        if withdrawn:
            self._set_fact("withdrawn", "yes")
        else:
            self._drop_fact("withdrawn")

    def next_plan_version(self) -> int:
        """Count on, so that a node can tell a later plan from an earlier one."""
        with self.transaction():
            version = int(self._fact("plan_version") or 0) + 1
            self._set_fact("plan_version", str(version))
        return version

    # --- events --------------------------------------------------------------------------------

    def events(self) -> dict[str, KnownEvent]:
        """All known events by eventID; a copy."""
        if self._events is None:
            rows = self._connection.execute("SELECT * FROM event ORDER BY event_id")
            self._events = {row["event_id"]: _known(row) for row in rows}
        return dict(self._events)

    def put_event(self, known: KnownEvent) -> None:
        end = known.ends_early_at
        self._write(
            "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                known.event_id,
                oadr.build(DistributeEvent(request_id="0", vtn_id="0", events=(known.event,))),
                known.offset.total_seconds(),
                known.opt.value,
                known.decided_by,
                known.reason,
                known.response_code,
                known.request_id,
                known.seen_at.isoformat(),
                end.isoformat() if end is not None else None,
                known.answered,
                known.reported,
                json.dumps(known.out_resources),
                known.qualified,
            ),
        )
        if self._events is not None:
            self._events[known.event_id] = known

    def drop_event(self, event_id: str) -> None:
        self._write("DELETE FROM event WHERE event_id = ?", (event_id,))
        if self._events is not None:
            self._events.pop(event_id, None)

    # --- opt schedules -------------------------------------------------------------------------

    def schedules(self) -> tuple[CreateOpt, ...]:
        """The opt schedules in force, oldest first; each as it was told last."""
        rows = self._connection.execute("SELECT wire FROM schedule ORDER BY n")
        found = [oadr.parse(row["wire"]) for row in rows]
        return tuple(each for each in found if isinstance(each, CreateOpt))

    def put_schedule(self, schedule: CreateOpt) -> None:
        self._write(
            "INSERT INTO schedule (opt_id, wire) VALUES (?, ?)",
            (schedule.opt_id, oadr.build(schedule)),
        )

    def replace_schedules(self, schedules: Iterable[CreateOpt]) -> None:
        with self.transaction():
            self._connection.execute("DELETE FROM schedule")
            for schedule in schedules:
                self.put_schedule(schedule)

    # --- answers not yet acknowledged ----------------------------------------------------------

    def answers(self) -> tuple[Answer, ...]:
        """Oldest first."""
        rows = self._connection.execute("SELECT * FROM answer ORDER BY n")
        return tuple(
            Answer(n=row["n"], service=ServiceName(row["service"]), message=oadr.parse(row["wire"]))
            for row in rows
        )

    def put_answer(self, service: ServiceName, message: oadr.Message) -> None:
        self._write(
            "INSERT INTO answer (service, wire) VALUES (?, ?)", (service.value, oadr.build(message))
        )

    def drop_answer(self, n: int) -> None:
        self._write("DELETE FROM answer WHERE n = ?", (n,))

    # --- report requests -----------------------------------------------------------------------

    def requests(self) -> dict[str, InForce]:
        """All report requests in force by reportRequestID; a copy."""
        if self._requests is None:
            rows = self._connection.execute("SELECT * FROM request ORDER BY report_request_id")
            self._requests = {row["report_request_id"]: _in_force(row) for row in rows}
        return dict(self._requests)

    def put_request(self, in_force: InForce, *, may_wait: bool = False) -> None:
        """Take or update a request; a new one goes on where a dropped one of its kind stopped.

        With `may_wait` mere progress is kept in memory, until it has waited for PROGRESS_S.
        """
        request = in_force.request
        if may_wait and self._is_progress(in_force):
            self._unwritten.add(in_force.request_id)
            assert self._requests is not None
            self._requests[in_force.request_id] = in_force
            if self._monotonic() - self._progress_at >= PROGRESS_S:
                self._try_to_write_progress()
            return
        with self.transaction():
            if in_force.spool is None and request.report_back:
                in_force = replace(in_force, spool=self._adopt(request.report_specifier_id))
            spool = in_force.spool
            self._connection.execute(
                "INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    request.report_request_id,
                    oadr.build(CreateReport(request_id="0", requests=(request,))),
                    in_force.taken_at.isoformat(),
                    _spool_text(spool) if spool is not None else None,
                    in_force.last_row_at,
                    in_force.sent,
                    in_force.ending,
                ),
            )
        if self._requests is not None:
            self._requests[in_force.request_id] = in_force
        self._unwritten.discard(in_force.request_id)

    def _is_progress(self, in_force: InForce) -> bool:
        """Whether all that is new is how far a request known here has been served."""
        known = self.requests().get(in_force.request_id)
        return known is not None and in_force == replace(
            known, spool=in_force.spool, last_row_at=in_force.last_row_at, sent=in_force.sent
        )

    def _try_to_write_progress(self) -> None:
        """On a disk that refuses, memory goes on alone: what was acknowledged stays so."""
        requests, unwritten = self._requests, set(self._unwritten)
        try:
            with self.transaction():
                self._write_progress()
        except StateFault as fault:
            log.warning("progress_not_kept", why=str(fault))
            self._requests, self._unwritten = requests, unwritten
            self._progress_at = self._monotonic() - PROGRESS_S + _AGAIN_S

    def _write_progress(self) -> None:
        """What memory knows more than the disk; within a transaction."""
        for name in self._unwritten:
            known = self.requests()[name]
            self._connection.execute(
                "UPDATE request SET spool = ?, last_row_at = ?, sent = ?"
                " WHERE report_request_id = ?",
                (
                    _spool_text(known.spool) if known.spool is not None else None,
                    known.last_row_at,
                    known.sent,
                    name,
                ),
            )
        self._unwritten.clear()
        self._progress_at = self._monotonic()

    def drop_request(self, report_request_id: str) -> None:
        self._write("DELETE FROM request WHERE report_request_id = ?", (report_request_id,))
        if self._requests is not None:
            self._requests.pop(report_request_id, None)
        self._unwritten.discard(report_request_id)

    def replace_requests(self, kept: tuple[str, ...]) -> None:
        """Drop all requests but the `kept`; the readings they still owe are kept for the next."""
        with self.transaction():
            for request_id, in_force in self.requests().items():
                if request_id in kept:
                    continue
                if in_force.spool is not None:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO orphan VALUES (?, ?)",
                        (in_force.request.report_specifier_id, _spool_text(in_force.spool)),
                    )
                self.drop_request(request_id)

    def _adopt(self, specifier_id: str) -> Spool | None:
        row = self._connection.execute(
            "DELETE FROM orphan WHERE specifier_id = ? RETURNING spool", (specifier_id,)
        ).fetchone()
        return _spool(row["spool"]) if row is not None else None

    # --- single values -------------------------------------------------------------------------

    def _fact(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return str(row["value"]) if row is not None else None

    def _set_fact(self, name: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def _drop_fact(self, name: str) -> None:
        self._write("DELETE FROM fact WHERE name = ?", (name,))


def _connected(path: Path, reserve: Reserve | None) -> sqlite3.Connection:
    """Open the file, and with a `reserve` bring it up to date. Raises StateFault."""
    try:
        return _opened_or_anew(path, may_change=reserve is not None)
    except sqlite3.Error as error:
        if not (is_full(error) and reserve is not None and reserve.release()):
            raise _unusable(path, error) from error
    try:
        return _opened(path, may_change=True)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def _opened_or_anew(path: Path, *, may_change: bool) -> sqlite3.Connection:
    """What is there; a damaged file is set aside, and the VEN registers and asks for all anew."""
    if not may_change:
        return _opened(path, may_change=False)
    connection, aside = or_anew(path, lambda: _opened(path, may_change=True))
    if aside is not None:
        log.error("state_damaged", set_aside=str(aside))
    return connection


def _unusable(path: Path, error: sqlite3.Error) -> StateFault:
    return StateFault(f"{path}: the VEN's state cannot be opened ({error}); see [ven] state.")


def _opened(path: Path, *, may_change: bool) -> sqlite3.Connection:
    was_open = may_change and was_left_open(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if was_open:
            check(connection)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if may_change and version < VERSION:
            steps = f"{_SCHEMA if version == 0 else ''} {_SINCE_2}"
            connection.executescript(f"BEGIN; {steps} PRAGMA user_version={VERSION}; COMMIT;")
        else:
            _check_version(path, version)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(path: Path, version: int) -> None:
    if version < VERSION:
        raise StateFault(
            f"{path}: this state was written by an earlier program; start the VEN once with "
            "'ven run' to bring it up to date."
        )
    if version > VERSION:
        raise StateFault(
            f"{path}: this state is of version {version}, this program knows {VERSION}; "
            "install the program that wrote it, or name a new [ven] state."
        )


def _known(row: sqlite3.Row) -> KnownEvent:
    message = oadr.parse(row["wire"])
    assert isinstance(message, DistributeEvent)
    assert row["decided_by"] in get_args(Decider)
    end = row["ends_early_at"]
    return KnownEvent(
        event=message.events[0],
        offset=timedelta(seconds=row["offset_s"]),
        opt=OptType(row["opt"]),
        decided_by=cast("Decider", row["decided_by"]),
        reason=row["reason"],
        response_code=row["response_code"],
        request_id=row["request_id"],
        seen_at=_instant(row["seen_at"]),
        ends_early_at=_instant(end) if end is not None else None,
        answered=row["answered"],
        reported=bool(row["reported"]),
        out_resources=tuple(json.loads(row["out_resources"])),
        qualified=bool(row["qualified"]),
    )


def _in_force(row: sqlite3.Row) -> InForce:
    message = oadr.parse(row["wire"])
    assert isinstance(message, CreateReport)
    return InForce(
        request=message.requests[0],
        taken_at=_instant(row["taken_at"]),
        spool=_spool(row["spool"]) if row["spool"] is not None else None,
        last_row_at=row["last_row_at"],
        sent=row["sent"],
        ending=bool(row["ending"]),
    )


def _spool(text: str) -> Spool:
    after, spans = json.loads(text)
    return Spool(after=after, spans=tuple((start, until) for start, until in spans))


def _spool_text(spool: Spool) -> str:
    return json.dumps([spool.after, spool.spans])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
