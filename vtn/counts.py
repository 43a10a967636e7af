# SPDX-License-Identifier: Apache-2.0
"""What this process has done since it started, in plain integers: the hot path pays no more.

They become Prometheus metrics when somebody scrapes (vtn.metrics). Each worker counts for itself;
a `Tallied` is how one worker reads what another has counted.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of how long a request takes."""
LAG_S: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
"""Upper bounds of how old the newest reading of a report is when it arrives."""


class Histogram:
    """How many values lay at or below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Not cumulative; the last is beyond all bounds."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tallied(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one worker, to be handed on as JSON."""

    worker: int
    requests: dict[str, int]
    """By "service code"; Prometheus' labels know no more."""
    seconds: dict[str, tuple[list[int], float]]
    """By service: counts by SECONDS, and the sum."""
    rejected: dict[str, int]
    """By OpenADR responseCode."""
    overloads: dict[str, int]
    """Requests turned away by 503, by reason."""
    samples: int
    reports: int
    lag: tuple[list[int], float]
    """Counts by LAG_S, and the sum."""
    loop_lag: tuple[list[int], float]
    """Counts by SECONDS, and the sum."""
    gauges: dict[str, float]
    """What is so now, by "name" or "name label"."""


class Counts:
    """Counted by one event loop; nothing here waits or locks."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.rejected: Counter[str] = Counter()
        self.overloads: Counter[str] = Counter()
        self.samples = 0
        self.reports = 0
        self.lag = Histogram(LAG_S)

    def request(self, service: str, status: int, took_s: float) -> None:
        """A request was answered with this HTTP status; `service` as in its path, "" for none."""
        self.requests[service, status] += 1
        histogram = self.seconds.get(service)
        if histogram is None:
            histogram = self.seconds[service] = Histogram(SECONDS)
        histogram.observe(took_s)

    def report(self, *, samples: int, newest_at: float | None, now: datetime) -> None:
        """A report was stored: so many intervals, the newest of which ended at `newest_at`.

        `newest_at` is in seconds since 1970; None for a report without intervals.
        """
        self.reports += 1
        self.samples += samples
        if newest_at is not None:
            self.lag.observe(max(0.0, now.timestamp() - newest_at))

    def tallied(self, *, worker: int, loop_lag: Histogram, gauges: dict[str, float]) -> Tallied:
        """As they stand now."""
        return Tallied(
            worker=worker,
            requests={f"{service} {code}": n for (service, code), n in self.requests.items()},
            seconds={name: (list(one.counts), one.total) for name, one in self.seconds.items()},
            rejected=dict(self.rejected),
            overloads=dict(self.overloads),
            samples=self.samples,
            reports=self.reports,
            lag=(list(self.lag.counts), self.lag.total),
            loop_lag=(list(loop_lag.counts), loop_lag.total),
            gauges=gauges,
        )
