# SPDX-License-Identifier: Apache-2.0
"""Runs trials, each in a process of its own with a budget, several at a time where they allow it.

A trial's process leads a process group: when it is over, or over its budget, everything that it
started is ended with it. It tells us how it goes in lines of JSON on its standard output.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from chaos.trial import Bench, Trial, scratch
from chaos.verdict import Outcome

LANES = 2
"""So many trials at once, at most one of them busy: more would blur how long recoveries take."""
_LINE_LIMIT = 1024 * 1024
_TIDY_S = 20.0
"""A trial that is interrupted may take this long to stop what it has started."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a trial is."""

    done: int
    of: int


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a trial's process says: one of the two."""

    progress: Progress | None = None
    outcome: Outcome | None = None


class Watcher(Protocol):
    """Is told of the run as it goes."""

    def begun(self, trial: Trial) -> None: ...

    def went_on(self, trial: Trial, progress: Progress) -> None: ...

    def ended(self, trial: Trial, outcome: Outcome) -> None: ...


# --- in the trial's process ----------------------------------------------------------------------


def play(trial: Trial, folder: Path, *, seed: int, scale: float) -> None:
    """Run one trial in this process and an empty folder; say in lines of JSON how it goes."""
    bench = Bench(
        name=trial.name,
        seed=seed,
        scale=scale,
        folder=folder,
        say=lambda done, of: _tell(Line(progress=Progress(done=done, of=of))),
    )
    try:
        found = trial.run(bench)
    except Exception as error:  # noqa: BLE001 - whatever it was: the trial has not held, and says why
        (folder / "trial.log").write_text(traceback.format_exc())
        found = failed(trial, f"it broke off with {type(error).__name__}: {error}")
    _tell(Line(outcome=found))


def _tell(line: Line) -> None:
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def failed(trial: Trial, why: str) -> Outcome:
    """A trial that came to no verdict has not held."""
    return Outcome(
        name=trial.name,
        runs=0,
        lost=0,
        doubled=0,
        applied_wrongly=0,
        max_recovery_s=None,
        held=False,
        remarks=(why,),
    )


# --- in ours -------------------------------------------------------------------------------------


async def run(
    trials: Sequence[Trial],
    watcher: Watcher,
    outcomes: list[Outcome],
    *,
    seed: int,
    scale: float,
    lanes: int = LANES,
) -> None:
    """Every trial, the busy ones one after the other, the longest first; at the end those alone.

    Each outcome is put into `outcomes` as it comes.
    """
    waiting = sorted(trials, key=lambda trial: (trial.alone, not trial.busy, -trial.usual_s))
    beside = [trial for trial in waiting if not trial.alone]
    running: set[str] = set()

    async def one(trial: Trial) -> None:
        watcher.begun(trial)
        found = await _run(trial, watcher, seed=seed, scale=scale)
        outcomes.append(found)
        watcher.ended(trial, found)

    async def lane() -> None:
        while (trial := _next(beside, is_busy=bool(running))) is not None:
            beside.remove(trial)
            with _among(running, trial):
                await one(trial)

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())
    for trial in waiting:
        if trial.alone:
            await one(trial)


def _next(waiting: Sequence[Trial], *, is_busy: bool) -> Trial | None:
    """The first that may begin while a busy one runs, or does not."""
    return next((trial for trial in waiting if not (trial.busy and is_busy)), None)


@contextlib.contextmanager
def _among(running: set[str], trial: Trial) -> Iterator[None]:
    """Count a busy trial as running for as long as the block lasts."""
    if trial.busy:
        running.add(trial.name)
    try:
        yield
    finally:
        running.discard(trial.name)


async def _run(trial: Trial, watcher: Watcher, *, seed: int, scale: float) -> Outcome:
    """One trial in a process and a folder of its own; the folder stays where it has not held."""
    found: Outcome | None = None
    begun_at = time.monotonic()
    with scratch(keep=lambda: found is not None and not found.held) as folder:
        try:
            found = await _played(trial, watcher, folder, seed=seed, scale=scale)
        except TimeoutError:
            found = failed(trial, f"it was not over after {trial.budget_s:g} s")
        remarks = found.remarks if found.held else (*found.remarks, f"its logs are in {folder}")
        seconds = round(time.monotonic() - begun_at, 1)
        return dataclasses.replace(found, seconds=seconds, remarks=remarks)


async def _played(
    trial: Trial, watcher: Watcher, folder: Path, *, seed: int, scale: float
) -> Outcome:
    """Raises TimeoutError beyond the trial's budget."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos", "play", trial.name, str(folder)),
        *("--seed", str(seed), "--scale", str(scale)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_LIMIT,
        start_new_session=True,
    )
    assert process.stdout is not None
    found: Outcome | None = None
    try:
        async with asyncio.timeout(trial.budget_s):
            async for said in process.stdout:
                line = msgspec.json.decode(said, type=Line)
                if line.progress is not None:
                    watcher.went_on(trial, line.progress)
                found = line.outcome or found
            await process.wait()
    finally:
        await asyncio.shield(_end(process))
    return found or failed(trial, f"its process ended with status {process.returncode}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it tidy up if it still runs, then kill whatever it has left running."""
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(_TIDY_S):
                await process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
