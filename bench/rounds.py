# SPDX-License-Identifier: Apache-2.0
"""Interleaved rounds: ours, peer, ours, peer ..., so that noise of the machine hits all alike."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from bench.servers import Server

Round = Callable[[int], Awaitable[float]]
"""Plays round n and returns its figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The median of rounds, and how far they lie apart."""

    value: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Figure":
        """The median of at least one round."""
        return cls(value=median(rounds), rounds=tuple(rounds))

    @property
    def spread(self) -> float:
        """(largest - smallest) / median: what the machine's noise did."""
        return (max(self.rounds) - min(self.rounds)) / self.value if self.value else 0.0


async def interleaved(sides: Mapping[str, Round], *, rounds: int) -> dict[str, Figure]:
    """Play one round of each side to warm up, then `rounds` of each in turn."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in names:
            value = await sides[name](number)
            if number:
                found[name].append(value)
    return {name: Figure.of(values) for name, values in found.items()}


class CpuPer:
    """`with CpuPer(server, count) as cost: ...`; then `cost.us` is its CPU per request in us."""

    def __init__(self, server: Server, count: int) -> None:
        self._server = server
        self._count = count
        self.us = 0.0

    def __enter__(self) -> Self:
        self._server.measuring(now=True)
        self._before_s = self._server.cpu_s()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.us = (self._server.cpu_s() - self._before_s) * 1e6 / self._count
        self._server.measuring(now=False)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all are not above (nearest rank).

    >>> percentile([1, 2, 3, 4], 0.5)
    2
    """
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
