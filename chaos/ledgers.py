# SPDX-License-Identifier: Apache-2.0
"""What stands in the books: the VTN's database read directly, the node's ring, the EMS's log.

Nothing here asks the programs that are tried, so they cannot tell us what we want to hear.
"""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from chaos.verdict import CANCELLED, Reading, Series, Version
from vtn.blocks import unpack

Rows = Sequence[Sequence[Any]]


def _query(url: str, *statements: str) -> list[Rows]:
    async def ask() -> list[Rows]:
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                return [(await connection.execute(text(one))).fetchall() for one in statements]
        finally:
            await engine.dispose()

    return asyncio.run(ask())


def held_readings(store_url: str, *, facet: str = "") -> list[Reading]:
    """Every reading in a VTN's database (URL with its driver), as often as it stands there."""
    (rows,) = _query(
        store_url,
        "SELECT s.ven_id, s.r_id, s.facet, b.starts_at, b.samples FROM measurement_blocks b"
        " JOIN series s ON s.number = b.series",
    )
    found: list[Reading] = []
    for ven_id, r_id, own_facet, starts_at, samples in rows:
        if own_facet != facet:
            continue
        block = unpack(bytes(samples))
        found += [
            ((ven_id, r_id), float(starts_at + offset), value)
            for offset, value in zip(block.offsets, block.values, strict=True)
        ]
    return found


def held_with_quality(store_url: str, series: Series) -> list[tuple[float, float, str]]:
    """One series of a VTN's database, as often as each stands there: instant, value, quality."""
    (rows,) = _query(
        store_url,
        "SELECT s.ven_id, s.r_id, b.starts_at, b.samples FROM measurement_blocks b"
        " JOIN series s ON s.number = b.series WHERE s.facet = ''",
    )
    found: list[tuple[float, float, str]] = []
    for ven_id, r_id, starts_at, samples in rows:
        if (ven_id, r_id) == series:
            block = unpack(bytes(samples))
            found += [
                (float(starts_at + offset), value, word)
                for offset, value, word in zip(
                    block.offsets, block.values, block.quality, strict=True
                )
            ]
    return found


def held_events(store_url: str) -> dict[str, Version]:
    """The last version of every event in a VTN's database."""
    (rows,) = _query(
        store_url,
        "SELECT e.event_id, e.modification_number, e.cancelled, v.document FROM events e"
        " JOIN event_versions v ON v.event_id = e.event_id"
        " AND v.modification_number = e.modification_number",
    )
    return {
        event_id: Version(
            modification=number, what=_what(json.loads(document), cancelled=bool(cancelled))
        )
        for event_id, number, cancelled, document in rows
    }


def held_answers(store_url: str) -> dict[tuple[str, str], int]:
    """By (venID, eventID): the last modification whose answer stands in a VTN's database."""
    (rows,) = _query(
        store_url,
        "SELECT ven_id, event_id, MAX(modification_number) FROM event_responses"
        " GROUP BY ven_id, event_id",
    )
    return {(ven_id, event_id): number for ven_id, event_id, number in rows}


def _what(document: Mapping[str, Any], *, cancelled: bool) -> str:
    signal = document["signals"][0]
    starts_at = datetime.fromisoformat(document["starts_at"])
    return describe(starts_at=starts_at, value=signal["intervals"][0]["value"], cancelled=cancelled)


def describe(*, starts_at: datetime, value: float, cancelled: bool) -> str:
    """An event's content in one text, the same whether it was ordered, stored or received."""
    return CANCELLED if cancelled else f"{value:g} from {starts_at:%H:%M:%S}"


# --- the field -----------------------------------------------------------------------------------


class Load(msgspec.Struct):
    """A line of the building's ledger: what its load really was; W."""

    at: datetime
    natural_w: float
    load_w: float
    reduction_w: float


def building_loads(ledger: Path) -> list[Load]:
    """The building's own ledger, a line a second; a last line that is cut off is left out."""
    found = []
    for line in ledger.read_bytes().splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Load))
        except msgspec.DecodeError:
            break
    return found


def ems_answers(log: Path) -> list[dict[str, Any]]:
    """What the EMS answered, in its own log."""
    lines = log.read_text(errors="replace").splitlines()
    found = [json.loads(line) for line in lines if '"answer"' in line and line[-1] == "}"]
    return [line for line in found if line.get("event") == "answer"]


def obeyed(log: Path) -> list[int]:
    """The numbers of the set-points that the EMS accepted, in order."""
    return [line["seq"] for line in ems_answers(log) if line["status"] == "ACCEPTED"]


@contextmanager
def ring_beside_node(ring: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the ring with its log: a running node lets nobody else open the file itself."""
    ring = ring.resolve()  # a log lies beside the file itself
    with TemporaryDirectory(prefix="ring-") as folder:
        copy = Path(folder) / ring.name
        log, its_log = (path.with_name(path.name + "-wal") for path in (ring, copy))
        before = None
        while before is None or before != _state(ring, log):
            before = _state(ring, log)
            its_log.unlink(missing_ok=True)
            shutil.copyfile(ring, copy)
            with suppress(FileNotFoundError):  # a node that has ended has put all into the ring
                shutil.copyfile(log, its_log)
        with closing(sqlite3.connect(copy)) as database:
            yield database


def _state(ring: Path, log: Path) -> tuple[int, bytes]:
    """Changes when the log is written into the ring or begun anew, not when it only grows."""
    try:
        with log.open("rb") as file:
            head = file.read(32)
    except FileNotFoundError:
        head = b""
    return ring.stat().st_mtime_ns, head


def ring_readings(ring: Path) -> dict[float, float]:
    """The light node's ring, read from its file: instant -> watts, where there is a value."""
    with ring_beside_node(ring) as database:
        rows = database.execute("SELECT starts_at, watts FROM reading").fetchall()
    return {float(at): float(watts) for at, watts in rows if watts is not None}
