# SPDX-License-Identifier: Apache-2.0
"""The ratio table: one row per figure, its target, and whether it is met."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich.table import Table


class Bound(StrEnum):
    """On which side of its target a figure must be."""

    AT_LEAST = ">="
    AT_MOST = "<="


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure is to reach: the ratio, unless it is `ours` itself that counts."""

    bound: Bound
    value: float
    of: str = "ratio"
    """"ratio" or "ours"."""
    text: str = ""
    """As performance.md words it, where the number alone does not say it."""

    def holds(self, figure: float) -> bool:
        if self.bound is Bound.AT_LEAST:
            return figure >= self.value
        return figure <= self.value

    def __str__(self) -> str:
        return self.text or f"{self.bound} {self.value:,g}"


def at_least(value: float, *, of: str = "ratio", text: str = "") -> Target:
    return Target(bound=Bound.AT_LEAST, value=value, of=of, text=text)


def at_most(value: float, *, of: str = "ratio", text: str = "") -> Target:
    return Target(bound=Bound.AT_MOST, value=value, of=of, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. A figure that is None was not to be had: `note` says why."""

    goal: int
    what: str
    unit: str
    ours: float | None
    peer_name: str = "openleadr"
    """"" where there is nobody to compare with."""
    peer: float | None = None
    ratio: float | None = None
    target: Target | None = None
    """None for what is told beside the goals."""
    note: str = ""
    spread: float | None = None
    """Of our rounds: (largest - smallest) / median."""

    @property
    def met(self) -> bool:
        """Whether the target is reached; a figure that is not there reaches none."""
        if self.target is None:
            return False
        figure = self.ratio if self.target.of == "ratio" else self.ours
        return figure is not None and self.target.holds(figure)

    def plain(self) -> dict[str, Any]:
        """For ratios.json."""
        plain: dict[str, Any] = {
            "goal": self.goal,
            "what": self.what,
            "unit": self.unit,
            "ours": _rounded(self.ours),
            "peer": _rounded(self.peer),
            "peer_name": self.peer_name,
            "ratio": _rounded(self.ratio),
        }
        if self.target is not None:
            plain |= {"target": str(self.target), "met": self.met}
        if self.spread is not None:
            plain["spread"] = round(self.spread, 3)
        if self.note:
            plain["note"] = self.note
        return plain


@dataclass(slots=True)
class Rows:
    """All rows of a run, as they come."""

    every: list[Row] = field(default_factory=list)

    @property
    def goals(self) -> list[Row]:
        return [row for row in self.every if row.target is not None]

    @property
    def also(self) -> list[Row]:
        return [row for row in self.every if row.target is None]

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.goals if not row.met]


def table(rows: Iterable[Row]) -> Table:
    """The rows for a person."""
    drawn = Table("goal", "what", title_justify="left")
    for heading in ("ours", "peer", "ratio"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("target")
    drawn.add_column("met")
    for row in rows:
        met = "" if row.target is None else "yes" if row.met else "no"
        style = "red" if met == "no" else None
        drawn.add_row(
            str(row.goal),
            f"{row.what} ({row.unit})",
            shown(row.ours),
            shown(row.peer) if row.peer_name else "",
            shown(row.ratio) if row.peer_name else "",
            str(row.target or ""),
            met,
            style=style,
        )
    return drawn


def markdown(rows: Sequence[Row]) -> str:
    """The same for docs/performance.md."""
    lines = [
        "| goal | what | ours | peer | ratio | target | met |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        met = "" if row.target is None else "yes" if row.met else "**no**"
        cells = [
            str(row.goal),
            f"{row.what} ({row.unit})",
            shown(row.ours),
            f"{shown(row.peer)} ({row.peer_name})" if row.peer_name else "",
            shown(row.ratio) if row.peer_name else "",
            str(row.target or ""),
            met,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(figure: float | None) -> str:
    """Three digits that matter; "none" where there is no figure.

    >>> shown(14212.3), shown(2.268), shown(0.0414), shown(None)
    ('14,212', '2.27', '0.041', 'none')
    """
    if figure is None:
        return "none"
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    if abs(figure) >= 10:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if abs(figure) >= 1 else f"{figure:.3f}"


def over(figure: float | None, other: float | None) -> float | None:
    """A ratio, where both are there."""
    if figure is None or not other:
        return None
    return figure / other


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else float(f"{figure:.4g}")
