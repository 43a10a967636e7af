# SPDX-License-Identifier: Apache-2.0
"""A throw-away PostgreSQL cluster: made for one run, gone after it."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

MISSING = (
    "PostgreSQL's server programs are missing, and the tests of the store need them: "
    "run scripts/packages as root, or apt-get install postgresql."
)


class PostgresMissing(Exception):
    """The machine has no PostgreSQL; the sentence says what to install."""


def server_programs() -> Path:
    """The folder of initdb, postgres and psql. Debian keeps it off the PATH, one per version."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda program: float(program.parts[-3]),
    )
    if versions:
        return versions[-1].parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise PostgresMissing(MISSING)


class PostgresCluster:
    """One running server on a Unix socket and on a port of 127.0.0.1.

    Without fsync, unless it is `durable`: then what was committed survives `kill`.
    """

    def __init__(self, port: int, *, durable: bool = False) -> None:
        self.port = port
        self._durable = durable
        self._programs = server_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._state = self._folder / "state"
        self._numbers = itertools.count(1)
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster, and run it."""
        subprocess.run(
            [
                *self._as_user,
                str(self._programs / "initdb"),
                *("--pgdata", str(self._state), "--username=postgres", "--auth=trust"),
                *("--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
        )
        self.run()

    def run(self) -> None:
        """Run the cluster that was made; again after `kill`."""
        safe = "on" if self._durable else "off"
        settings = {
            "fsync": safe,
            "full_page_writes": safe,
            "synchronous_commit": safe,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._folder),
            "port": str(self.port),
            "shared_buffers": "32MB",
            "logging_collector": "off",
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        with (self._folder / "server.log").open("ab") as log:
            # when the test run itself is killed, the server gets SIGINT, a fast shutdown
            life = [*(self._as_user or ["setpriv"]), "--pdeathsig=INT"]
            self._server = subprocess.Popen(
                [*life, str(self._programs / "postgres"), "-D", str(self._state), *flags],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    "The throw-away PostgreSQL did not start: "
                    + (self._folder / "server.log").read_text(errors="replace")[-2000:]
                )
            time.sleep(0.05)

    def fresh(self) -> tuple[str, str]:
        """Make an empty database; its name and its SQLAlchemy URL (over the Unix socket)."""
        name = f"test_{next(self._numbers)}"
        self._say(f"CREATE DATABASE {name}")
        return name, f"postgresql+asyncpg://postgres@/{name}?host={self._folder}&port={self.port}"

    def tcp_url(self, name: str, *, port: int | None = None) -> str:
        """The same database by its port on 127.0.0.1 (or a proxy's), as operators write it."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{port or self.port}/{name}"

    def drop(self, name: str) -> None:
        self._say(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @property
    def pid(self) -> int:
        """Of the server process, the parent of all the others."""
        assert self._server is not None
        return self._server.pid

    def kill(self) -> None:
        """The whole server at once, as a power cut of its machine would; `run` brings it back."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)  # immediate shutdown: recovery at the next start
        self._server.wait(10)

    def stop(self) -> None:
        """End it for good, with everything in it."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)  # immediate: nothing in it is worth saving
            self._server.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        ready = [str(self._programs / "pg_isready"), "-q", "-h", str(self._folder)]
        return subprocess.run([*ready, "-p", str(self.port)], check=False).returncode == 0

    def _say(self, statement: str) -> None:
        psql = [str(self._programs / "psql"), "-X", "-q", "-U", "postgres", "-d", "postgres"]
        where = ["-h", str(self._folder), "-p", str(self.port)]
        subprocess.run(
            [*psql, *where, "-v", "ON_ERROR_STOP=1", "-c", statement],
            check=True,
            capture_output=True,
        )
