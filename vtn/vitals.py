# SPDX-License-Identifier: Apache-2.0
"""Is this process alive, is it ready, and what has it counted: for service managers and scrapers.

alive    the event loop answers, and a question to the database has come back, well or badly
ready    and the database answers within a second, at our version, and VENs are listened to

A database that is away is no reason to restart the VTN: it would only lose its connections.
"""

import asyncio
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import text

from doorway import get_logger
from vtn.counts import Tallied
from vtn.errors import StoreError
from vtn.figures import LatestFigures
from vtn.services.office import Office
from vtn.store.engine import sqlite_file

log = get_logger()

READY_S: Final = 1.0
SHARE_S: Final = 5.0
"""How often a worker writes down what it has counted, for the others."""
LEAST_FREE: Final = 0.05
LEAST_FREE_BYTES: Final = 1 << 30
"""Less than this share, or this much where that is less, and the disk is nearly full."""
_PAGE: Final = resource.getpagesize()


class Listening(Protocol):
    """What is asked of the listener for VENs."""

    @property
    def connections_open(self) -> int:
        """Connections of VENs."""

    def revocations_due_at(self) -> Mapping[str, datetime | None]:
        """From when each revocation list is overdue, by its file."""

    def revocation_alarms(self, now: datetime) -> Sequence[str]:
        """A sentence for each revocation list that a person should see to."""


class Disk(NamedTuple):
    """Room on a disk, in bytes."""

    free: int
    total: int


class Vitals:
    """Of one process."""

    def __init__(
        self,
        office: Office,
        *,
        version: str,
        worker: int = 0,
        run_dir: Path | None = None,
        cpu_s: Callable[[], float] = lambda: sum(os.times()[:2]),
    ) -> None:
        """`version` is that of the tables; in `run_dir` the workers leave their counts."""
        self.office = office
        self.figures = LatestFigures(office)
        self.listener: Listening | None = None
        self.worker = worker
        self._version = version
        self._run_dir = run_dir
        self._cpu_s = cpu_s

    @contextmanager
    def listening(self, listener: Listening) -> Iterator[None]:
        """VENs are listened to while the block runs."""
        self.listener = listener
        try:
            yield
        finally:
            self.listener = None

    async def is_alive(self) -> bool:
        """Whether there is progress; hangs where there is none."""
        await self._database()
        return True

    async def problems(self) -> list[str]:
        """What keeps the VTN from serving; nothing that a stranger could use."""
        found = []
        try:
            async with asyncio.timeout(READY_S):
                trouble = await self._database()
        except TimeoutError:
            trouble = "the database does not answer in time"
        if trouble:
            found.append(trouble)
        if self.listener is None:
            found.append("VENs are not listened to")
        return found

    def warnings(self) -> list[str]:
        """What does not keep it from serving, but should be seen to."""
        found = []
        if self.listener is not None and self.listener.revocation_alarms(self.office.now()):
            found.append("a revocation list should be seen to")
        disk = self.disk()
        if disk is not None and disk.free < min(disk.total * LEAST_FREE, LEAST_FREE_BYTES):
            found.append("the disk of the database is nearly full")
        return found

    def disk(self) -> Disk | None:
        """The disk that a SQLite database is on; None for another database."""
        file = sqlite_file(self.office.settings.store.url)
        if file is None:
            return None
        try:
            found = shutil.disk_usage(file.parent)
        except OSError as error:
            log.warning("the disk cannot be looked at", reason=str(error))
            return None
        return Disk(free=found.free, total=found.total)

    async def _database(self) -> str:
        """What is wrong with it, in a few words; "" for nothing."""
        try:
            async with self.office.store.read() as connection:
                version = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        except StoreError as error:
            log.warning("the database does not answer", reason=str(error))
            return "the database does not answer"
        return "" if version == self._version else "the database is at another version"

    def tallied(self) -> Tallied:
        """What this process has counted, and what is so now."""
        office = self.office
        gauges = {
            "requests_under_way": float(office.pressure.under_way),
            "process_cpu_seconds_total": self._cpu_s(),
            "process_resident_memory_bytes": _resident_bytes(),
        }
        if self.listener is not None:
            gauges["connections_open"] = float(self.listener.connections_open)
        for pool, (in_use, room) in office.store.pools().items():
            gauges[f"db_pool_in_use {pool}"] = float(in_use)
            gauges[f"db_pool_size {pool}"] = float(room)
        return office.counts.tallied(
            worker=self.worker, loop_lag=office.pressure.lags, gauges=gauges
        )

    def all_tallied(self) -> list[Tallied]:
        """Those of this process as they are, and of the other workers as they were seconds ago."""
        found = {self.worker: self.tallied()}
        files = sorted(self._run_dir.glob("counts-*.json")) if self._run_dir else []
        for file in files:
            try:
                other = msgspec.json.decode(file.read_bytes(), type=Tallied)
            except (OSError, msgspec.DecodeError):  # of another version, or gone meanwhile
                continue
            found.setdefault(other.worker, other)
        return [found[number] for number in sorted(found)]

    async def share(self) -> None:
        """Write down what is counted, for the other workers, until cancelled."""
        if self._run_dir is None:
            return
        while True:
            try:
                self._write(self._run_dir)
            except OSError as error:
                log.warning("counts are not shared", reason=str(error))
            await asyncio.sleep(SHARE_S)

    def _write(self, folder: Path) -> None:
        new = folder / f"counts-{self.worker}.new"
        new.write_bytes(msgspec.json.encode(self.tallied()))
        new.replace(folder / f"counts-{self.worker}.json")


def _resident_bytes() -> float:
    return float(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
