# SPDX-License-Identifier: Apache-2.0
"""How long to wait before a next try, so that a thousand VENs do not come back together (pure).

The pause doubles with each failure in a row, 1 s, 2 s, 4 s ... up to the cap. Each is drawn anew,
from half of that to half as much again: after a few tries VENs that lost the VTN at the same moment
are spread over about as long as it was away.
"""

from collections.abc import Callable

from doorway.values import value

SPREAD = 0.5
ASKED_MOST_S = 900.0
"""No longer is waited because a VTN asks for it (Retry-After): events may begin meanwhile."""


@value
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
        nominal = min(self.first_s * 2.0 ** min(failures - 1, 60), self.cap_s)
        least, most = nominal * (1 - SPREAD), min(nominal * (1 + SPREAD), self.cap_s)
        return least + draw() * (most - least)


def at_least_s(seconds: float, draw: Callable[[], float]) -> float:
    """What all VENs are to wait: that long, or up to half as long again.

    >>> at_least_s(10.0, lambda: 0.5)
    12.5
    """
    return seconds * (1 + SPREAD * draw())


def jittered_s(interval_s: float, jitter: float, draw: Callable[[], float]) -> float:
    """An interval spread evenly by +-`jitter` (a fraction), so that VENs do not poll in step.

    >>> jittered_s(10.0, 0.1, lambda: 0.0)
    9.0
    """
    return interval_s * (1 + jitter * (2 * draw() - 1))
