# SPDX-License-Identifier: Apache-2.0
"""How far the starts of samples lie from the grid, from when a meter was asked (pure)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.rounds import percentile

EARLY_SHARE = 0.2
"""A request at most this share of an interval before a tick is that tick's, come early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Errors of consecutive ticks in seconds; positive is late."""

    errors_s: tuple[float, ...]
    missed: int
    """Ticks between the first and the last at which nothing was asked."""

    @property
    def p99_s(self) -> float:
        """Of the absolute error."""
        return percentile([abs(error) for error in self.errors_s], 0.99)

    @property
    def drift_s(self) -> float:
        """Median error of the last quarter less that of the first."""
        quarter = max(1, len(self.errors_s) // 4)
        return median(self.errors_s[-quarter:]) - median(self.errors_s[:quarter])


def starts(asked_at: Iterable[float], interval_s: float, *, most: int) -> Starts:
    """The first request of each tick against the tick, for the first `most` ticks.

    `asked_at`: epoch seconds, ascending. A meter may be asked several times a tick.

    >>> starts([8.001, 8.02, 12.003, 20.0], 4.0, most=9).missed
    1
    """
    first: dict[int, float] = {}
    for at in asked_at:
        tick = int(at / interval_s + EARLY_SHARE)
        first.setdefault(tick, at - tick * interval_s)
    ticks: Sequence[int] = sorted(first)[:most]
    missed = ticks[-1] - ticks[0] + 1 - len(ticks) if ticks else 0
    return Starts(errors_s=tuple(first[tick] for tick in ticks), missed=missed)
