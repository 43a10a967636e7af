"""A copy-on-write picture of this machine, to install things in as root; gone when it is left."""

import os
import subprocess
from pathlib import Path
from typing import Self

_APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_CLEAN = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8")
_WITHIN = ("--mount", "--pid", "--root", "--wd", *_CLEAN)
_MAKE = """
set -e
mount -t tmpfs tmpfs {folder}
cd {folder}
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
exec chroot root sh -c 'echo made; exec sleep infinity'
"""


class Picture:
    """This machine's files and network, processes of its own, and no systemd."""

    def __init__(self, folder: Path) -> None:
        """`folder` is empty; what is in the picture is in memory."""
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "installing a package needs root: run this test as root."
        self._process = subprocess.Popen(
            [*_APART, "sh", "-c", _MAKE.format(folder=self._folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "made\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    @property
    def _first(self) -> str:
        """The picture's first process, as this machine numbers it."""
        outer = self._process.pid
        return Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0]

    def path(self, inside: str) -> Path:
        """A file of the picture, as this machine reaches it."""
        return Path(f"/proc/{self._first}/root", inside.removeprefix("/"))

    def sh(self, script: str) -> str:
        """What a shell says as the picture's root; it must succeed."""
        done = subprocess.run(
            ["nsenter", "--target", self._first, *_WITHIN, "sh", "-ec", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout
