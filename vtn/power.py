# SPDX-License-Identifier: Apache-2.0
"""Baseline, measured and ordered power of several VENs over time, summed step by step.

    W  ┈┈┈┈┈┈┌─baseline──────────┐    Where a node has said its baseline, baseline, measured and
       ──────┤                   ├─   ordered are summed over the nodes that have both, so that the
             └─ordered──measured─┘    gap between two lines is never a node that is missing in one.

Pure. Power is in W, positive for consumption; a reduction is positive in `ordered`, `delivered`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from vtn.records import Series

CLAIM_S = 60.0
"""How long one value of a node's curtailment report holds."""
_LONGEST_S = 900.0
"""How long a reading holds at most, of a node that measures seldom."""
_WHOLE = 0.9
"""With fewer than this share of the nodes a newest step is left out: the rest is on its way."""
_BACK = 10

Order = Callable[[float, float | None], float | None]
"""(epoch seconds, baseline in W) -> the ordered reduction in W; None where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeries:
    """What is stored of one VEN, each ascending in time."""

    measured: Series | None = None
    """Readings; None where they are not wanted: then baseline and deviation stand for them."""
    baseline: Series | None = None
    deviation: Series | None = None
    """Measured minus baseline, as the node claims it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOverTime:
    """Columns of equal length; None where nobody has said anything."""

    starts_at: list[float] = field(default_factory=list)
    """Epoch seconds."""
    baseline_w: list[float | None] = field(default_factory=list)
    measured_w: list[float | None] = field(default_factory=list)
    ordered_w: list[float | None] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    """How many are in the sums."""

    @property
    def delivered_w(self) -> list[float | None]:
        return [
            None if base is None or power is None else base - power
            for base, power in zip(self.baseline_w, self.measured_w, strict=True)
        ]

    @property
    def latest(self) -> int | None:
        """The last step that has a delivered power."""
        return next(
            (at for at in reversed(range(len(self.nodes))) if self.baseline_w[at] is not None), None
        )


@dataclass(slots=True)
class _Sums:
    baseline: float = 0.0
    measured: float = 0.0
    ordered: float = 0.0
    orders: int = 0
    """How many nodes were ordered something."""
    nodes: int = 0
    alone: float = 0.0
    """Measured by nodes that have no baseline then."""
    alone_nodes: int = 0


def over_time(
    nodes: Iterable[NodeSeries], order: Order, *, first: float, last: float, step_s: float
) -> PowerOverTime:
    """Sums over [first, last) in steps of `step_s`."""
    count = max(0, math.ceil((last - first) / step_s))
    sums = [_Sums() for _ in range(count)]
    for node in nodes:
        _add(node, sums, order, first=first, step_s=step_s)
    _drop_unfinished(sums)
    return _columns(sums, first, step_s)


def _columns(sums: Sequence[_Sums], first: float, step_s: float) -> PowerOverTime:
    return PowerOverTime(
        starts_at=[first + index * step_s for index in range(len(sums))],
        baseline_w=[one.baseline if one.nodes else None for one in sums],
        measured_w=[
            one.measured if one.nodes else one.alone if one.alone_nodes else None for one in sums
        ],
        ordered_w=[one.ordered if one.orders else None for one in sums],
        nodes=[one.nodes or one.alone_nodes for one in sums],
    )


def together(several: Sequence[PowerOverTime]) -> PowerOverTime:
    """The sums of several events over the same steps."""
    if not several:
        return PowerOverTime()
    count = max(len(one.starts_at) for one in several)
    longest = next(one for one in several if len(one.starts_at) == count)

    def column(of: Callable[[PowerOverTime], Sequence[float | None]]) -> list[float | None]:
        return [
            _sum(values[at] for one in several if at < len(values := of(one)))
            for at in range(count)
        ]

    return PowerOverTime(
        starts_at=longest.starts_at,
        baseline_w=column(lambda one: one.baseline_w),
        measured_w=column(lambda one: one.measured_w),
        ordered_w=column(lambda one: one.ordered_w),
        nodes=[sum(one.nodes[at] for one in several if at < len(one.nodes)) for at in range(count)],
    )


def _sum(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) if there else None


Minute = tuple[float, float, float | None]
"""Baseline, measured and ordered power in W of one node in one minute; None: none is ordered."""


class MinuteSums:
    """The same sums minute by minute for very many nodes, where what one of them says is replaced.

    Minutes are counted since 1970. What a node said of a quarter hour is put in whole, again and
    again; nothing of it is kept here but the sums.
    """

    def __init__(self) -> None:
        self._sums: dict[int, _Sums] = {}

    def put(self, new: Mapping[int, Minute], old: Mapping[int, Minute]) -> None:
        """One node says `new` where it said `old` before."""
        for minute, (baseline, measured, ordered) in old.items():
            one = self._sums[minute]
            one.baseline -= baseline
            one.measured -= measured
            one.ordered -= ordered or 0.0
            one.orders -= ordered is not None
            one.nodes -= 1
        for minute, (baseline, measured, ordered) in new.items():
            one = self._sums.setdefault(minute, _Sums())
            one.baseline += baseline
            one.measured += measured
            one.ordered += ordered or 0.0
            one.orders += ordered is not None
            one.nodes += 1

    def over_time(self, first: float, last: float) -> PowerOverTime:
        """The minutes of [first, last), epoch seconds; the newest only once most nodes are in."""
        begin, end = math.ceil(first / CLAIM_S), math.ceil(last / CLAIM_S)
        sums = [self._sums.get(minute) or _Sums() for minute in range(begin, end)]
        _drop_unfinished(sums)
        return _columns(sums, begin * CLAIM_S, CLAIM_S)


def minutes_of(
    baselines: Sequence[Mapping[int, float]],
    deviations: Sequence[Mapping[int, float]],
    order: Order,
) -> dict[int, Minute]:
    """What one node says of each minute: the sum of its points where all of them say something.

    The maps go from minutes to usable values in W.
    """
    if not baselines or not deviations:
        return {}
    shared = set(baselines[0]).intersection(*baselines[1:], *deviations)
    found: dict[int, Minute] = {}
    for minute in shared:
        level = sum(one[minute] for one in baselines)
        measured = level + sum(one[minute] for one in deviations)
        found[minute] = level, measured, order(minute * CLAIM_S, level)
    return found


def _add(node: NodeSeries, sums: list[_Sums], order: Order, *, first: float, step_s: float) -> None:
    baseline = _held(node.baseline, len(sums), first, step_s)
    if node.measured is not None:
        measured = _means(node.measured, len(sums), first, step_s)
    else:
        deviation = _held(node.deviation, len(sums), first, step_s)
        measured = {at: baseline[at] + value for at, value in deviation.items() if at in baseline}
    for at, watts in measured.items():
        one, level = sums[at], baseline.get(at)
        if level is None:
            one.alone += watts
            one.alone_nodes += 1
            continue
        one.baseline += level
        one.measured += watts
        one.nodes += 1
        ordered = order(first + at * step_s, level)
        if ordered is not None:
            one.ordered += ordered
            one.orders += 1


def _means(series: Series, count: int, first: float, step_s: float) -> Mapping[int, float]:
    """Step -> the mean of the usable readings in it.

    Of a node that measures less often than there are steps a reading holds until the next is due.
    """
    total: dict[int, float] = {}
    many: dict[int, int] = {}
    steps = math.floor(min(_usual_s(series), _LONGEST_S) / step_s)
    if steps > 1:
        held: dict[int, float] = {}
        for at, value, word in zip(series.starts_at, series.values, series.quality, strict=True):
            begin = math.floor((at - first) / step_s)
            for index in range(max(0, begin), min(count, begin + steps)):
                if usable(value, word):
                    held[index] = value
                else:
                    held.pop(index, None)
        return held
    for at, value, word in zip(series.starts_at, series.values, series.quality, strict=True):
        index = math.floor((at - first) / step_s)
        if 0 <= index < count and usable(value, word):
            total[index] = total.get(index, 0.0) + value
            many[index] = many.get(index, 0) + 1
    return {index: value / many[index] for index, value in total.items()}


def _usual_s(series: Series) -> float:
    """How far apart its readings are, as a rule."""
    starts_at = series.starts_at
    if len(starts_at) < 2:
        return 0.0
    return median(b - a for a, b in pairwise(starts_at))


def _held(series: Series | None, count: int, first: float, step_s: float) -> dict[int, float]:
    """Step -> the value that holds in it, for CLAIM_S at most."""
    found: dict[int, float] = {}
    if series is None:
        return found
    for at, value, word in zip(series.starts_at, series.values, series.quality, strict=True):
        if not usable(value, word):
            continue
        begin = math.ceil((at - first) / step_s)
        for index in range(max(0, begin), min(count, math.ceil((at + CLAIM_S - first) / step_s))):
            found[index] = value
    return found


def usable(value: float, quality: str) -> bool:
    """Not said to be bad: a baseline by a fallback method is uncertain, and counts."""
    return math.isfinite(value) and not quality.startswith("Quality Bad")


def _drop_unfinished(sums: list[_Sums]) -> None:
    """Leave out the newest steps while most nodes are still to be heard of."""
    while sums:
        before = sums[-1 - _BACK : -1]
        most = max((one.nodes or one.alone_nodes for one in before), default=0)
        if (sums[-1].nodes or sums[-1].alone_nodes) >= _WHOLE * most and (
            sums[-1].nodes or sums[-1].alone_nodes or not before
        ):
            return
        sums.pop()
