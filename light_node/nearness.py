# SPDX-License-Identifier: Apache-2.0
"""Whether an event is near, and so each reading worth a write to the card of its own.

    ──── not near ────┤ 15 min │   event   │ 15 min ├──── not near ────▸
                      └──────────── near ──────────┘

A clock that is set takes nobody away from an event at once: what was near stays so for a while.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

NEAR = timedelta(minutes=15)

Span = tuple[datetime, datetime | None]
"""From, until before; None: until somebody says so."""


class Nearness:
    """Of the events of one node."""

    def __init__(self, *, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._now = now
        self._monotonic = monotonic
        self._until_s = float("-inf")
        """By the monotonic clock, whatever becomes of the other."""

    def of(self, spans: Iterable[Span]) -> bool:
        """Whether one of these events is near, or was by a clock that has been set since.

        It has to be asked all the time for that.
        """
        now, monotonic_s = self._now(), self._monotonic()
        for starts_at, ends_at in spans:
            left = NEAR if ends_at is None else min(ends_at + NEAR - now, NEAR)
            if starts_at - NEAR <= now and left > timedelta(0):
                self._until_s = max(self._until_s, monotonic_s + left.total_seconds())
        return monotonic_s < self._until_s
