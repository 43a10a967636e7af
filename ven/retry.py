# SPDX-License-Identifier: Apache-2.0
"""Truncated binary exponential back-off: 1 s, 2 s, 4 s ... each +-10 %, never above the cap."""

from collections.abc import Callable
from dataclasses import dataclass

SPREAD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """How long to wait after the n-th failure in a row; it never says to give up."""

    first_s: float = 1.0
    cap_s: float = 60.0

    def delay_s(self, failures: int, draw: Callable[[], float]) -> float:
        """Seconds to wait after `failures` >= 1 failures; `draw` gives a number in [0, 1).

        >>> BackOff().delay_s(3, lambda: 0.5)
        4.0
        """
        # Bounded, because failures may go on for days and 2.0 ** 1100 is no float any more.
        nominal = self.first_s * 2.0 ** min(failures - 1, 60)
        return min(nominal * (1 + SPREAD * (2 * draw() - 1)), self.cap_s)


def jittered_s(interval_s: float, jitter: float, draw: Callable[[], float]) -> float:
    """An interval spread evenly by +-`jitter` (a fraction), so that VENs do not poll in step.

    >>> jittered_s(10.0, 0.1, lambda: 0.0)
    9.0
    """
    return interval_s * (1 + jitter * (2 * draw() - 1))
