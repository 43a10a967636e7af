# SPDX-License-Identifier: Apache-2.0
"""Overlapping claims become one line on which at most one applies at any instant.

    rank 2      [=========A=========)
    rank 1            [====B====)
    rank 3   [=====C=====)
                                              (half open: at an instant that ends one and
    line     [=C)[=A=)[====B====)[=A)          begins another, the beginning one applies)

Nothing is merged, invented or moved: each piece lies within its claim and bears what it bears.
"""

import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from doorway.values import value

T = TypeVar("T")
FOR_EVER = datetime.max.replace(tzinfo=UTC)


@value
class Claim(Generic[T]):
    """Something that wants to apply from `starts_at` until before `ends_at`."""

    starts_at: datetime
    ends_at: datetime | None
    """None = until further notice."""
    rank: tuple[Any, ...]
    """Comparable with the ranks of all other claims, and unique; the smallest applies."""
    what: T

    @property
    def until(self) -> datetime:
        return FOR_EVER if self.ends_at is None else self.ends_at

    def covers(self, at: datetime) -> bool:
        return self.starts_at <= at < self.until


def applies(claims: Iterable[Claim[T]], at: datetime) -> Claim[T] | None:
    """The claim that applies at an instant, or None."""
    return min(
        (claim for claim in claims if claim.covers(at)), key=lambda claim: claim.rank, default=None
    )


def line(claims: Sequence[Claim[T]]) -> tuple[Claim[T], ...]:
    """The claims cut so that none overlap; ascending. A claim that comes through whole is itself.

    At every instant `applies(line(claims), t)` bears the same as `applies(claims, t)`.
    """
    edges = sorted({edge for claim in claims for edge in (claim.starts_at, claim.until)})
    coming = sorted(claims, key=lambda claim: claim.starts_at, reverse=True)
    begun: list[tuple[tuple[Any, ...], int, Claim[T]]] = []  # the index settles equal ranks
    pieces: list[Claim[T]] = []
    last: Claim[T] | None = None
    for start, end in itertools.pairwise(edges):
        while coming and coming[-1].starts_at <= start:
            claim = coming.pop()
            heapq.heappush(begun, (claim.rank, len(coming), claim))
        while begun and begun[0][2].until <= start:
            heapq.heappop(begun)
        winner = begun[0][2] if begun else None
        if winner is not None:
            ends_at = None if end == FOR_EVER else end
            if winner is last:
                pieces[-1] = replace(pieces[-1], ends_at=ends_at)
            else:
                pieces.append(replace(winner, starts_at=start, ends_at=ends_at))
        last = winner
    return tuple(pieces)
