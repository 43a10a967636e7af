# SPDX-License-Identifier: Apache-2.0
"""The cast: our own programs as separate processes, each with its log, all ended at the end."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from demo.errors import DemoFault

_PATIENCE_S = 8.0


class Actor:
    """One running process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def last_words(self) -> str:
        """The last line of the log that says something."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


class Cast:
    """Starts programs and ends them all, the last one first; `async with`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._actors: list[Actor] = []
        self._files: list[IO[bytes]] = []
        logs.mkdir(parents=True, exist_ok=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for actor in reversed(self._actors):
            await _end(actor)
        for file in self._files:
            file.close()

    async def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> Actor:
        """Start a program whose output goes to its log. Programs of ours are found by name."""
        log = self._logs / f"{name}.log"
        file = log.open("wb")
        self._files.append(file)
        process = await asyncio.create_subprocess_exec(
            *resolve(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        actor = Actor(name, process, log)
        self._actors.append(actor)
        return actor

    def check(self) -> None:
        """Raise DemoFault if one of them has ended, with its last words."""
        for actor in self._actors:
            if not actor.alive:
                raise DemoFault(
                    f"{actor.name} ended with status {actor.process.returncode}: "
                    f"{actor.last_words()}"
                )


def resolve(command: Sequence[str]) -> list[str]:
    """Take our programs from the environment this interpreter belongs to."""
    here = Path(sys.executable).parent / command[0]
    if command[0] == "python":
        return [sys.executable, *command[1:]]
    return [str(here) if here.exists() else command[0], *command[1:]]


async def run(command: Sequence[str]) -> str:
    """Run one of our command lines to its end and return what it printed.

    Raises DemoFault with its own sentence if it fails.
    """
    process = await asyncio.create_subprocess_exec(
        *resolve(command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        said = err.decode(errors="replace").strip().splitlines()
        sentence = said[-1].removeprefix("error: ") if said else "it said nothing"
        raise DemoFault(f"`{' '.join(command)}` failed: {sentence}")
    return out.decode()


async def _end(actor: Actor) -> None:
    if not actor.alive:
        return
    actor.process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(actor.process.wait(), _PATIENCE_S)
    except TimeoutError:
        actor.process.kill()
        await actor.process.wait()
