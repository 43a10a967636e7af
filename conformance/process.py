# SPDX-License-Identifier: Apache-2.0
"""Programs that adapters run: one command, or one that stays."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.errors import AdapterFault, SetUpFault

COMMAND_S = 60.0
STOP_S = 15.0


def program(name: str) -> str:
    """The path of a command line of this environment. Raises SetUpFault."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SetUpFault(f"There is no program {name} on this machine; install it first.")
    return found


async def run(*command: str) -> str:
    """Run a command to its end -> its standard output. Raises AdapterFault with its last word."""
    called = " ".join((Path(command[0]).name, *command[1:3]))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AdapterFault(f"{called} did not end in {COMMAND_S:g} s.") from None
    if process.returncode:
        said = err.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise AdapterFault(f"{called}: {said[-1]}")
    return out.decode(errors="replace")


class Service:
    """A program that runs until it is stopped; what it says goes to a log file."""

    def __init__(self, command: Sequence[str], log: Path | None = None) -> None:
        self.command = list(command)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it may not be ready yet."""
        log = self._log.open("ab") if self._log is not None else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log or asyncio.subprocess.DEVNULL,
                stderr=log or asyncio.subprocess.DEVNULL,
                env=dict(os.environ),
            )
        finally:
            if log is not None:
                log.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def stop(self, *, kill: bool = False) -> None:
        """Stop it in good order (or at once), and come back when it is gone."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def ready(self, check: Callable[[], bool], within_s: float, what: str) -> None:
        """Come back when `check` says so. Raises AdapterFault when it ends before or is late."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not check():
            if not self.running:
                raise AdapterFault(f"{what} ended at once; see {self._log or 'its log'}.")
            if asyncio.get_running_loop().time() > deadline:
                raise AdapterFault(f"{what} was not ready within {within_s:g} s.")
            await asyncio.sleep(0.1)


async def listening(host: str, port: int, within_s: float, service: Service | None = None) -> None:
    """Come back when somebody accepts connections there. Raises AdapterFault."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            if asyncio.get_running_loop().time() > deadline:
                raise AdapterFault(f"Nobody listens at {host}:{port}.") from None
            if service is not None and not service.running:
                raise AdapterFault(f"{service.command[0]} ended before it listened.") from None
            await asyncio.sleep(0.1)
        else:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
