# SPDX-License-Identifier: Apache-2.0
"""When a report is due (pure).

Normally reports leave at reportBackDuration after the start of the report interval, and again after
each further one; the readings of a period may reach the light node's disk a little later than its
end, so a report waits `late_s` for them at most. During an event readings leave in short batches as
soon as they are there.
"""

import math
from datetime import timedelta

from doorway.values import value
from oadr.report import ReportRequest


@value
class Pace:
    """The rhythm of one periodic request; all times are epoch seconds."""

    start: float
    back_s: float
    end: float
    """Infinite for a report without an end."""

    @classmethod
    def of(cls, request: ReportRequest) -> "Pace":
        """The pace of a periodic request (rules 324 and 325)."""
        assert request.interval is not None
        start = request.interval.starts_at.timestamp()
        length_s = request.interval.duration.total_seconds()
        return cls(
            start=start,
            back_s=request.report_back.total_seconds(),
            end=start + length_s if length_s else math.inf,
        )

    def due(self, sent: int) -> float:
        """When the next report is due after `sent` periods have been reported."""
        return min(self.start + (sent + 1) * self.back_s, self.end)

    def periods(self, now: float) -> int:
        """How many periods are over by `now`; below zero before the start."""
        if now >= self.end:
            return math.ceil((self.end - self.start) / self.back_s)
        return math.floor((now - self.start) / self.back_s)

    def rewound(self, sent: int, now: float) -> int:
        """`sent`, or as many periods as are over by a clock that was set back since they were sent.

        Fewer than none, where it now stands before the start: reports go on at their pace.
        """
        return sent if now >= self.end else min(sent, self.periods(now))

    def is_done(self, sent: int) -> bool:
        """Whether the last period has been reported."""
        return self.start + sent * self.back_s >= self.end


def is_period_ready(*, due: float, newest_end: float | None, now: float, late: timedelta) -> bool:
    """Whether a period's report should leave: it is over, and its readings are there or late.

    `newest_end` is the end of the newest reading at hand, None without any.
    """
    if now < due:
        return False
    covered = newest_end is not None and newest_end >= due
    return covered or now >= due + late.total_seconds()


def is_batch_ready(
    *,
    oldest: float,
    newest: float,
    last_sent: float | None,
    now: float,
    batch_s: float,
    period_s: float,
) -> bool:
    """Whether readings at hand should leave during an event.

    They do when the newest lies `batch_s` after the newest one sent, and when the oldest would
    otherwise grow older than a batch; at once when the clock was set back meanwhile.
    """
    if last_sent is None or newest < last_sent or newest < oldest:
        return True
    return newest - last_sent >= batch_s - period_s / 2 or now - oldest >= batch_s
