# SPDX-License-Identifier: Apache-2.0
"""One of our programs as a process of its own: start it, kill it, start it again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from chaos.errors import InVain

BIN = Path(sys.executable).parent
START_S = 120.0
"""A program that has no processor for itself takes long to start."""
STOP_S = 60.0

T = TypeVar("T")


def command(*words: object) -> list[str]:
    """A command line of this environment: `command("vtn", "serve")`, `command("python", "-m", x)`.

    The first word is found beside the Python that runs us.
    """
    first = sys.executable if words[0] == "python" else str(BIN / str(words[0]))
    return [first, *map(str, words[1:])]


class Program:
    """A process that may be killed and started again; its log goes on in one file."""

    def __init__(self, name: str, words: Sequence[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.words = list(words)
        self.prefix: list[str] = []
        """Words before the command: `faketime ...`, `prlimit ...`; read at the next start."""
        self.environment: Mapping[str, str] = {}
        """What differs from our own environment; read at the next start."""
        self.started_at = 0.0
        """Of the last start, seconds of time.monotonic."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        with self.log.open("ab") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(
                [*self.prefix, *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    @property
    def pid(self) -> int:
        """The process of the last start."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def signal(self, number: int) -> None:
        """SIGSTOP, SIGCONT ... to the process."""
        assert self._process is not None, f"{self.name} was never started"
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        assert self._process is not None, f"{self.name} was never started"
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and wait; the exit status. -1 where it does not run, -9 where it had to die."""
        if self._process is None or self._process.poll() is not None:
            return -1
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return -9

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None


def last_words(folder: Path, *, lines: int = 4) -> str:
    """The ends of all logs of a folder, for a sentence that says what went wrong."""
    words: list[str] = []
    for log in sorted(folder.glob("*.log")):
        ends = log.read_text(errors="replace").splitlines()[-lines:]
        words.extend(f"\n{log.name}: {line[:400]}" for line in ends)
    return "".join(words)


def _nothing() -> str:
    return ""


def wait_for(
    what: str,
    ask: Callable[[], T | None],
    *,
    within_s: float = 60.0,
    words: Callable[[], str] = _nothing,
) -> T:
    """Ask until the answer is something. Raises InVain, which ends with `words`."""
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise InVain(f"In vain within {within_s:g} s: {what}{words()}")
        time.sleep(0.1)
    return answer
