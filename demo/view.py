# SPDX-License-Identifier: Apache-2.0
"""What a person sees while the demonstration runs: a timeline, the event's progress, the power.

At a terminal it is drawn in place; piped into a file it is one line for each thing that happened.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_SPARKS = "▁▂▃▄▅▆▇█"
_BAR_CELLS = 46


@dataclass(slots=True)
class Figures:
    """The event as it is by now; power in W, None while unknown."""

    starts_in_s: float | None = None
    progress: float | None = None
    """0 to 1 over the active period."""
    ordered_w: float | None = None
    baseline_w: float | None = None
    measured_w: float | None = None
    age_s: float | None = None
    """How old the newest reading at the VTN is, and when it was taken (seconds since 1970)."""
    newest_at: float | None = None
    trace: deque[float] = field(default_factory=lambda: deque(maxlen=60))

    @property
    def reduction_w(self) -> float | None:
        """What is delivered at this moment."""
        if self.baseline_w is None or self.measured_w is None:
            return None
        return self.baseline_w - self.measured_w


class View:
    """Tells the story; a context manager."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began = clock()
        self._beats: list[tuple[float, str, str]] = []
        self.figures = Figures()
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            refresh_per_second=4,
            transient=False,
        )

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

    def tell(self, who: str, what: str) -> None:
        """Add a line to the timeline."""
        at = self._clock() - self._began
        self._beats.append((at, who, what))
        if not self._console.is_terminal:
            self._console.print(f"{at:5.1f} s  {who:<10} {what}", highlight=False)

    def _draw(self) -> RenderableType:
        beats = Table.grid(padding=(0, 2))
        beats.add_column(justify="right", style="dim")
        beats.add_column(style="bold")
        beats.add_column()
        for at, who, what in self._beats:
            beats.add_row(f"{at:.1f} s", who, what)
        return Group(
            Panel(beats, title="from an event to verified curtailment", title_align="left"),
            Panel(self._event(), title="the event, live", title_align="left"),
        )

    def _event(self) -> RenderableType:
        known = self.figures
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", width=10)
        grid.add_column(width=_BAR_CELLS)
        grid.add_column(justify="right", width=22)
        if known.progress is not None:
            bar = ProgressBar(total=1.0, completed=known.progress, width=_BAR_CELLS)
            grid.add_row("progress", bar, f"{known.progress:.0%}")
        elif known.starts_in_s is not None:
            grid.add_row("progress", "", f"starts in {max(0.0, known.starts_in_s):.0f} s")
        if known.ordered_w is not None:
            most = max(known.ordered_w * 1.25, 1.0)
            grid.add_row("ordered", _power(known.ordered_w, most, "blue"), _kw(known.ordered_w))
            now = known.reduction_w
            if now is not None:
                near = now >= 0.8 * known.ordered_w
                colour = "green" if near else "yellow"
                grid.add_row("reduction", _power(max(now, 0.0), most, colour), _kw(now))
        if known.measured_w is not None:
            age = f" · {known.age_s:.0f} s old" if known.age_s is not None else ""
            grid.add_row("measured", Text(_spark(known.trace)), _kw(known.measured_w) + age)
        if grid.row_count == 0:
            return Text("nothing is measured yet", style="dim")
        return grid


def _power(watts: float, most: float, colour: str) -> Bar:
    return Bar(size=most, begin=0, end=min(watts, most), width=_BAR_CELLS, color=colour)


def _kw(watts: float) -> str:
    return f"{watts / 1000:.1f} kW"


def _spark(trace: deque[float]) -> str:
    """The last readings as small columns, between their own lowest and highest."""
    recent = list(trace)[-_BAR_CELLS:]
    if not recent:
        return ""
    low, high = min(recent), max(recent)
    if high - low < 1.0:
        return _SPARKS[3] * len(recent)
    return "".join(
        _SPARKS[round((watts - low) / (high - low) * (len(_SPARKS) - 1))] for watts in recent
    )
