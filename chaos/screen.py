# SPDX-License-Identifier: Apache-2.0
"""How a run shows itself: a live table on a terminal, else a line as each trial begins and ends."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chaos.runner import Progress
from chaos.trial import Trial
from chaos.verdict import Outcome

_EVERY_S = 15.0
"""Without a terminal, so often a line says how far a trial is."""


class Screen:
    """Watches a run; a context manager around it."""

    def __init__(self, console: Console, trials: int) -> None:
        self._console = console
        self._trials = trials
        self._running: dict[str, tuple[float, Progress]] = {}
        self._told_at: dict[str, float] = {}
        self._ended: list[Outcome] = []
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def begun(self, trial: Trial) -> None:
        self._running[trial.name] = (time.monotonic(), Progress(done=0, of=0))
        self._line(f"{trial.name}: begins, takes about {trial.usual_s:.0f} s")

    def went_on(self, trial: Trial, progress: Progress) -> None:
        begun_at, _ = self._running[trial.name]
        self._running[trial.name] = (begun_at, progress)
        now = time.monotonic()
        if now - self._told_at.get(trial.name, begun_at) >= _EVERY_S:
            self._told_at[trial.name] = now
            self._line(f"{trial.name}: {progress.done} of {progress.of}")

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        self._running.pop(trial.name)
        self._ended.append(outcome)
        self._line(f"{trial.name}: {verdict(outcome)}")

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            done = f"[{len(self._ended)}/{self._trials}]"
            self._console.print(f"{done} {text}", highlight=False, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, title=f"{len(self._ended)} of {self._trials} faults tried")
        for heading in ("fault", "runs", "lost", "doubled", "wrong", "recovery", "took", ""):
            table.add_column(heading, justify="left" if heading in ("fault", "") else "right")
        for one in self._ended:
            recovery = "" if one.max_recovery_s is None else f"{one.max_recovery_s:.2f} s"
            table.add_row(
                one.name,
                *map(str, (one.runs, one.lost, one.doubled, one.applied_wrongly)),
                recovery,
                f"{one.seconds:.0f} s",
                "[green]held[/]" if one.held else "[red bold]NOT HELD[/]",
            )
        for name, (begun_at, progress) in self._running.items():
            runs = f"{progress.done}/{progress.of}" if progress.of else "..."
            table.add_row(name, runs, "", "", "", "", f"{time.monotonic() - begun_at:.0f} s", "")
        return table


def verdict(one: Outcome) -> str:
    """An outcome in one line, and why where it has not held."""
    said = (
        f"{'held' if one.held else 'NOT HELD'}; runs {one.runs}, lost {one.lost}, "
        f"doubled {one.doubled}, applied wrongly {one.applied_wrongly}"
    )
    if one.max_recovery_s is not None:
        said += f", recovery at most {one.max_recovery_s:.2f} s"
    said += f"; took {one.seconds:.0f} s"
    return "\n    ".join((said, *one.remarks))
