# SPDX-License-Identifier: Apache-2.0
"""Damaged SQLite files: told from other faults, and set aside so that work goes on without them.

A card that loses what it has acknowledged, or that wears out, can leave a file behind that is no
database any more. It is kept for who wants to look at it, never repaired in place.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_MAGIC = b"SQLite format 3\x00"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damaged(error: BaseException) -> bool:
    """Whether SQLite found that a file is not what it wrote."""
    return (
        isinstance(error, sqlite3.Error)
        and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
    )


def was_left_open(path: Path) -> bool:
    """Whether who wrote the file last did not close it: to be asked before it is opened."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def check(database: sqlite3.Connection) -> None:
    """Raise a DatabaseError that `is_damaged` where the file is; reads all of it."""
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(str(verdict))
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def or_anew(path: Path, make: Callable[[], T]) -> tuple[T, Path | None]:
    """What `make` opens at a path; where the file is damaged, a new one and where the old one is.

    `make` closes what it has opened where it raises.
    """
    try:
        return make(), None
    except sqlite3.DatabaseError as error:
        if not (is_damaged(error) and _was_a_database(path)):
            raise
    aside = set_aside(path)
    return make(), aside


def _was_a_database(path: Path) -> bool:
    """Whether it begins as one, or with nothing, as where a card has lost the first page.

    Any other file is somebody's whom the settings name by mistake, and stays where it is.
    """
    with path.open("rb") as file:
        begins = file.read(len(_MAGIC))
    return begins in {_MAGIC, bytes(len(_MAGIC))}


def set_aside(path: Path) -> Path:
    """Rename a closed file and its log, by the time of its last write; the new name."""
    aside = path.with_name(f"{path.name}.damaged-{int(path.stat().st_mtime)}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
