# SPDX-License-Identifier: Apache-2.0
"""Which intervals of a report have come, which are missing, came twice or came late. Pure.

    asked from here       a report is due each reportBackDuration      horizon      now
    ├──────────────────────┼──────────────────────┼──────────────────────┼───────────┤
    ▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮ ▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮   ▮▮▮
    0                           └ missing                                └ not due yet

Intervals stand in slots as wide as the granularity. What has come is kept as ranges of slots, so a
year of regular reports takes no more room than a minute of them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from oadr.report import ReportRequest

MOST_RANGES = 256
"""More gaps than these and the oldest are closed: they count as missing for ever."""
GRACE = timedelta(seconds=30)
"""A report is late this long after it was due, or a reportBackDuration where that is longer."""

Range = tuple[int, int]
"""First slot, and the one after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What has come of one report request."""

    origin_at: int = 0
    """Start of slot 0, seconds since 1970: the first interval that came."""
    step_s: int = 0
    """Width of a slot; 0 while nothing has come."""
    ranges: tuple[Range, ...] = ()
    """Slots that have come: ascending, with gaps in between."""
    given_up: int = 0
    """Slots within the ranges that never came (MOST_RANGES)."""
    duplicates: int = 0
    """Intervals that came again; they replace the earlier values (rule 346)."""
    late: int = 0
    """Intervals that came when they were missing already."""

    @property
    def received(self) -> int:
        """Different intervals."""
        return _length(self.ranges) - self.given_up

    @property
    def last_at(self) -> int | None:
        """Start of the newest interval, seconds since 1970."""
        if not self.ranges:
            return None
        return self.origin_at + (self.ranges[-1][1] - 1) * self.step_s


NOTHING_YET = Tally()


def counted(
    tally: Tally, starts_at: Sequence[int], *, step_s: int, late_before: int | None
) -> Tally:
    """The tally after these intervals (seconds since 1970, in any order).

    A `range` is taken as what it is: it costs the same however long it is.
    `step_s` is the width of a slot and counts for the first intervals only. Those that start before
    `late_before` are late, unless they came before.
    """
    if not starts_at:
        return tally
    origin = tally.origin_at if tally.step_s else min(starts_at)
    step = tally.step_s or max(1, step_s)
    fresh = _slots(starts_at, origin, step)
    new = _beside(tally.ranges, fresh)
    late = 0
    if late_before is not None and min(starts_at) < late_before:
        overdue = _slots(_before(starts_at, late_before), origin, step)
        late = _beside(tally.ranges, overdue)
    joined: Sequence[Range] = tally.ranges
    for run in fresh:
        joined = _with(joined, *run)
    ranges, closed = _few(joined)
    return Tally(
        origin_at=origin,
        step_s=step,
        ranges=ranges,
        given_up=tally.given_up + closed,
        duplicates=tally.duplicates + len(starts_at) - new,
        late=tally.late + late,
    )


def due_before(request: ReportRequest, tally: Tally, until: datetime) -> int | None:
    """Intervals that start before this should have come by `until` (seconds since 1970).

    None where nothing regular is asked for: once, on change, history or metadata.
    """
    step, back, interval = request.granularity, request.report_back, request.interval
    if not step or not back or interval is None:
        return None
    waited = until - max(GRACE, back) - interval.starts_at
    span = back * (waited // back) if waited > timedelta(0) else timedelta(0)
    if interval.duration:
        span = min(span, interval.duration)
    start, width = int(interval.starts_at.timestamp()), max(1, int(step.total_seconds()))
    first = _first_slot_at(tally, start)
    count = max(0, (start + int(span.total_seconds()) - first) // width)
    return first + count * width


def expected(request: ReportRequest, tally: Tally, until: datetime) -> int | None:
    """How many intervals should have come by `until`; None where that cannot be said."""
    before = due_before(request, tally, until)
    if before is None or request.interval is None:
        return None
    start = int(request.interval.starts_at.timestamp())
    return (before - _first_slot_at(tally, start)) // max(
        1, int(request.granularity.total_seconds())
    )


def missing(request: ReportRequest, tally: Tally, until: datetime) -> int | None:
    """How many of the expected intervals have not come; None as for `expected`."""
    count = expected(request, tally, until)
    if count is None or not tally.step_s or request.interval is None:
        return count
    start = int(request.interval.starts_at.timestamp())
    first = (_first_slot_at(tally, start) - tally.origin_at) // tally.step_s
    return count - _within(tally.ranges, first, first + count) + tally.given_up


def goes_on_at(tally: Tally, *, wanted_from: int) -> int | None:
    """Start of the earliest interval from `wanted_from` on that has not come.

    Seconds since 1970; None where nothing has come at all. What came first may lie a little after
    `wanted_from`: a VEN has a grid of its own, and begins when it has heard what is wanted.
    """
    if not tally.ranges:
        return None
    slot = -((tally.origin_at - wanted_from) // tally.step_s)
    leeway = int(GRACE.total_seconds()) // tally.step_s
    for first, after in tally.ranges:
        if after <= slot:
            continue
        if first > slot + leeway:
            break
        slot, leeway = after, 0
    return tally.origin_at + slot * tally.step_s


def _first_slot_at(tally: Tally, start: int) -> int:
    """Start of the first slot at or after `start`: a VEN measures on a grid of its own."""
    if not tally.step_s:
        return start
    return tally.origin_at - (tally.origin_at - start) // tally.step_s * tally.step_s


def _before(starts_at: Sequence[int], limit: int) -> Sequence[int]:
    if isinstance(starts_at, range) and starts_at.step > 0:
        return starts_at[: bisect_left(starts_at, limit)]
    return [at for at in starts_at if at < limit]


def _slots(starts_at: Sequence[int], origin: int, step: int) -> list[Range]:
    """The slots that these instants stand in, as ranges."""
    if isinstance(starts_at, range) and starts_at.step == step:  # as telemetry comes
        first = (starts_at.start - origin + step // 2) // step
        return [(first, first + len(starts_at))]
    return _runs(sorted({(at - origin + step // 2) // step for at in starts_at}))


def _runs(slots: Sequence[int]) -> list[Range]:
    """Ascending, different slots -> ranges."""
    runs: list[Range] = []
    for slot in slots:
        if runs and runs[-1][1] == slot:
            runs[-1] = (runs[-1][0], slot + 1)
        else:
            runs.append((slot, slot + 1))
    return runs


def _with(ranges: Sequence[Range], first: int, after: int) -> Sequence[Range]:
    """The ranges with one more, which may touch or cover some of them."""
    begin = bisect_left(ranges, (first,))
    if begin and ranges[begin - 1][1] >= first:
        begin -= 1
        first = ranges[begin][0]
        after = max(after, ranges[begin][1])
    end = begin
    while end < len(ranges) and ranges[end][0] <= after:
        after = max(after, ranges[end][1])
        end += 1
    return (*ranges[:begin], (first, after), *ranges[end:])


def _beside(ranges: Sequence[Range], fresh: Iterable[Range]) -> int:
    """How many slots of `fresh` are in none of the ranges."""
    return sum(after - first - _within(ranges, first, after) for first, after in fresh)


def _few(ranges: Sequence[Range]) -> tuple[tuple[Range, ...], int]:
    """At most MOST_RANGES of them, and how many slots of the gaps that were closed for it."""
    surplus = len(ranges) - MOST_RANGES
    if surplus <= 0:
        return tuple(ranges), 0
    head = ranges[: surplus + 1]
    whole = (head[0][0], head[-1][1])
    return (whole, *ranges[surplus + 1 :]), whole[1] - whole[0] - _length(head)


def _length(ranges: Iterable[Range]) -> int:
    return sum(after - first for first, after in ranges)


def _within(ranges: Sequence[Range], first: int, after: int) -> int:
    """Slots of the ranges from `first` on and before `after`."""
    begin = max(0, bisect_right(ranges, (first,)) - 1)
    found = 0
    for own_first, own_after in islice(ranges, begin, None):
        if own_first >= after:
            break
        found += max(0, min(after, own_after) - max(first, own_first))
    return found
