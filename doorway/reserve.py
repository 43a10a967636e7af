# SPDX-License-Identifier: Apache-2.0
"""A reserve: disk space that is kept back for the writes that must still succeed on a full disk.

SQLite needs room even to delete. So a store holds a file of zeros beside its own; when the disk is
full it lets go of that file, makes room within itself, and takes the reserve back as soon as the
disk has space again.
"""

import os
import sqlite3
from pathlib import Path


class Reserve:
    """`size` bytes in `path`.reserve. Never raises: where there is none, a full disk is full."""

    def __init__(self, path: Path, *, size: int) -> None:
        self._path = path.with_name(path.name + ".reserve")
        self._size = size
        self.restore()

    @property
    def is_kept(self) -> bool:
        return self._path.exists()

    def release(self) -> bool:
        """Give the space away; whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def restore(self) -> bool:
        """Take the space back where twice as much is free; whether it is kept now."""
        if self.is_kept:
            return True
        try:
            free = os.statvfs(self._path.parent)
            if free.f_bavail * free.f_frsize < 2 * self._size:
                return False
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            self.release()
            return False
        return True


def is_full(error: BaseException) -> bool:
    """Whether SQLite failed because the disk, or the room given to the file, is full."""
    return (
        isinstance(error, sqlite3.Error)
        and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    )
