# SPDX-License-Identifier: Apache-2.0
"""What is kept of a quarter hour when its samples are gone. Pure.

    block   ▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮  225 values, 909 bytes
    rollup  first, last, mean, minimum, maximum, how many, for how long, the worst quality

A rollup is a function of its block alone: whatever came in whatever order, the same block has the
same rollup. Values that the VEN itself calls bad, or none, are counted and not reckoned with.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from operator import sub
from statistics import median_low

from vtn.blocks import BLOCK_S, Block, is_finite

_SECONDS_PER_HOUR = 3600
_UNUSABLE = ("Quality Bad", "No Quality")
_ORDER = ("Quality Good", "", "No New Value", "Quality Limit", "Quality Uncertain", *_UNUSABLE)
"""Beginnings of quality words, the best first; words of the VEN's own stand with uncertain ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """A quarter hour of one point, in the point's unit."""

    usable: int
    """Values that count below."""
    unusable: int
    """Values of bad quality, or that are no number."""
    covered_s: int
    """For how many seconds the usable values speak: 0 to 900."""
    first: float | None
    """The earliest; None, as the others below, where nothing is usable."""
    last: float | None
    mean: float | None
    minimum: float | None
    maximum: float | None
    quality: str
    """The worst word that was said; "" where nothing was."""

    @property
    def total(self) -> int:
        """Values of any quality."""
        return self.usable + self.unusable

    @property
    def energy_wh(self) -> float | None:
        """Of a power in W: mean times the time covered."""
        return None if self.mean is None else self.mean * self.covered_s / _SECONDS_PER_HOUR


def rolled(block: Block) -> Rollup:
    """A block as its rollup."""
    offsets, values = _usable(block)
    return Rollup(
        usable=len(values),
        unusable=len(block.offsets) - len(values),
        covered_s=_covered_s(offsets),
        first=values[0] if values else None,
        last=values[-1] if values else None,
        mean=_mean(values),
        minimum=min(values, default=None),
        maximum=max(values, default=None),
        quality=max(sorted(set(block.quality)), key=_rank, default=""),
    )


def _usable(block: Block) -> tuple[Sequence[int], Sequence[float]]:
    """Offsets and values of what can be reckoned with; as a rule that is all of it."""
    bad = {word for word in set(block.quality) if word.startswith(_UNUSABLE)}
    if not bad and is_finite(block.values):
        return block.offsets, block.values
    columns = zip(block.offsets, block.values, block.quality, strict=True)
    kept = [
        (offset, value) for offset, value, word in columns if word not in bad and isfinite(value)
    ]
    return [offset for offset, _ in kept], [value for _, value in kept]


def _mean(values: Sequence[float]) -> float | None:
    """Between the least and the greatest, however large they are."""
    if not values:
        return None
    count = len(values)
    try:
        mean = math.fsum(values) / count
    except OverflowError:
        mean = math.fsum(value / count for value in values)
    return min(max(mean, min(values)), max(values))


def _covered_s(offsets: Sequence[int]) -> int:
    """Each value speaks until the next, but no longer than is usual in this block."""
    if not offsets:
        return 0
    gaps: list[int] = list(map(sub, offsets[1:], offsets))
    usual = median_low(gaps) if gaps else BLOCK_S
    rest = min(usual, BLOCK_S - offsets[-1])
    if not gaps or max(gaps) == usual:
        return offsets[-1] - offsets[0] + rest
    return sum(min(gap, usual) for gap in gaps) + rest


def _rank(word: str) -> int:
    for rank, beginning in enumerate(_ORDER):
        if word == beginning or (beginning and word.startswith(beginning)):
            return rank
    return _ORDER.index("Quality Uncertain")
