# SPDX-License-Identifier: Apache-2.0
"""A disk that can be filled to the last byte: a small file system in memory, as root only."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from chaos.errors import SetUpFault


class SmallDisk:
    """A mounted tmpfs: what is left of it can be taken by one file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Write until there is no room for another byte; also what was let go of since."""
        with self._ballast.open("ab", buffering=0) as file:
            block = 64 * 1024
            while block:
                try:
                    file.write(b"x" * block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    block //= 4

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, *, size: str) -> Iterator[SmallDisk]:
    """A tmpfs of `size` (as mount takes it) at a new folder. Raises SetUpFault where not root."""
    if os.geteuid() != 0:
        raise SetUpFault("A small disk can only be mounted as root: run the trial as root.")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
