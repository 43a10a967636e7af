# SPDX-License-Identifier: Apache-2.0
"""What a person sees while tests run: a table that grows, or plain lines when piped."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from conformance.declaration import Test
from conformance.outcome import Outcome, Result

_STYLE = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.NOT_RUN: "yellow"}
_WORD = {Outcome.PASSED: "pass", Outcome.FAILED: "FAIL", Outcome.NOT_RUN: "not run"}


class Show:
    """Tells a person of each test; writes to stderr so that stdout stays for programs."""

    def __init__(self, *, total: int, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr)
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._quiet = quiet
        self._total = total
        self._results: list[Result] = []

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begun(self, test: Test) -> None:
        if self._live is not None:
            self._live.update(self._now(test))

    def ended(self, result: Result) -> None:
        self._results.append(result)
        if self._quiet:
            return
        line = Text.assemble(
            (f"{_WORD[result.outcome]:<8}", _STYLE[result.outcome]),
            f"{result.name:<28} {result.title}",
        )
        if result.seen:
            line.append(f"\n{'':8}{result.seen}", style="dim")
        self._console.print(line, soft_wrap=not self._console.is_terminal)

    def _now(self, test: Test) -> Table:
        table = Table.grid(padding=(0, 2))
        counts = dict.fromkeys(Outcome, 0)
        for result in self._results:
            counts[result.outcome] += 1
        table.add_row(
            Text(f"{len(self._results) + 1} of {self._total}", style="bold"),
            Text(f"{test.name}  {test.title}"),
            *(
                Text(f"{count} {_WORD[outcome]}", style=_STYLE[outcome])
                for outcome, count in counts.items()
            ),
        )
        return table
