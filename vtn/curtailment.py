# SPDX-License-Identifier: Apache-2.0
"""Verified curtailment: what was ordered and delivered, recomputed from the stored readings.

    W ───────┬────────────┬───────  baseline, as the node reported it, per interval (60 s)
             │▒▒▒▒▒▒▒▒▒▒▒▒│         delivered = mean(baseline - reading) over the readings
             └────────────┘         stored within the event
         starts_at     ends_at

A node that only says what it delivered has verified nothing: its claim (deviation = measured -
baseline) is compared with what its own readings show, and a disagreement is said in words.
Power is in W, positive for consumption; a reduction is positive in `ordered_w`, `delivered_w`.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from oadr.event import Event, Signal
from oadr.vocabulary import EventStatus, SignalName, SignalType
from vtn.records import CurtailmentInputs, Series

INTERVAL_S: Final = 60.0
"""The interval of the node's curtailment report where nothing else was asked for."""
LATENESS: Final = timedelta(seconds=90)
"""Readings younger than this may still be on their way: they are not missed yet."""
SHARE: Final = 0.02
LEAST_W: Final = 1_000.0
"""A claim agrees within this share of what was ordered, and at least within this much."""
COVERAGE: Final = 0.95
"""With fewer readings than this share of those expected the result is remarked on."""
_MEASURED: Final = ("Quality Good",)
_FALLBACK: Final = "Quality Uncertain"
_ESTIMATES: Final = ("Quality Good", _FALLBACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Numbers over time, ascending: `starts_at[i]` in epoch seconds (UTC), `values[i]` in W.

    What has no good value is not in it.
    """

    starts_at: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One interval of the result; None where nothing is stored or claimed."""

    starts_at: datetime
    baseline_w: float | None
    measured_w: float | None
    """Mean of the stored readings of the interval."""
    ordered_w: float | None
    delivered_w: float | None
    claimed_w: float | None
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curtailment:
    """What one VEN delivered in one event, and whether its own claim agrees with its readings."""

    starts_at: datetime
    ends_at: datetime | None
    """None while the event is open-ended."""
    final: bool
    """The event is over, and everything about it is here or has had its time to come."""
    ordered_w: float | None
    """Mean over the readings that count; None where the signal names no power (SIMPLE, prices)."""
    delivered_w: float | None
    """None where there is no reading, or no baseline, to compute it from."""
    fraction: float | None
    """Delivered by ordered."""
    claimed_w: float | None
    """What the node says it delivered, over the intervals it has reported."""
    samples_expected: int
    samples_received: int
    fallback: bool
    """The node had to work out its baseline by a fallback method: it has too few like days."""
    agrees: bool
    """Readings, baseline and claim are there, and they say the same: there is no remark."""
    remarks: tuple[str, ...]
    """Every reason why not; one sentence each."""
    steps: tuple[Step, ...]

    @property
    def samples_missing(self) -> int:
        return self.samples_expected - self.samples_received


def verified(inputs: CurtailmentInputs, *, now: datetime) -> Curtailment:
    """`verify` on what the store holds; readings of bad or uncertain quality do not count.

    A baseline of uncertain quality is the node's way to say that it had to use a fallback method:
    it counts, and is shown as such.
    """
    record = inputs.record
    ended_at = None
    if record.event.status is EventStatus.CANCELLED:
        last = record.history[-1]
        ended_at = last.modified_at or last.created_at
    return verify(
        record.event,
        baseline=kept(inputs.baseline, _ESTIMATES),
        deviation=kept(inputs.deviation, _ESTIMATES),
        fallback=any(word.startswith(_FALLBACK) for word in inputs.baseline.quality),
        measured=kept(inputs.measured, _MEASURED),
        granularity_s=inputs.granularity_s or 0.0,
        interval_s=inputs.claim_granularity_s or INTERVAL_S,
        now=now,
        ended_at=ended_at,
    )


def kept(series: Series, qualities: tuple[str, ...]) -> Points:
    """The values one can settle on: finite, and of one of these qualities where the VEN says."""
    points = [
        (at, value)
        for at, value, quality in zip(series.starts_at, series.values, series.quality, strict=True)
        if math.isfinite(value) and (not quality or quality.startswith(qualities))
    ]
    return Points(starts_at=[at for at, _ in points], values=[value for _, value in points])


def verify(
    event: Event,
    *,
    baseline: Points,
    deviation: Points,
    measured: Points,
    granularity_s: float,
    now: datetime,
    interval_s: float = INTERVAL_S,
    ended_at: datetime | None = None,
    fallback: bool = False,
) -> Curtailment:
    """Recompute one VEN's curtailment; `ended_at` is when a cancelled event was cancelled.

    `baseline` and `deviation` hold one point per `interval_s`, `measured` one per `granularity_s`
    (0: not known, nothing is expected).
    """
    starts_at, ends_at = _period(event, baseline, ended_at)
    first = starts_at.timestamp()
    over = ends_at.timestamp() if ends_at else math.inf
    horizon = min(over, now.timestamp())
    order = order_of(event)
    readings = _within(measured, first, horizon)
    levels = _Levels(_within(baseline, first - interval_s, horizon), interval_s)
    claims = _Levels(_within(deviation, first, horizon), interval_s)

    counted = [(at, value, level) for at, value in readings if (level := levels.at(at)) is not None]
    delivered = _mean([level - value for _, value, level in counted])
    ordered = _mean(
        [amount for at, _, level in counted if (amount := order(at - first, level)) is not None]
    )
    if not counted:
        ordered = _ordered_alone(order, levels, first, horizon)
    final = now.timestamp() >= over + LATENESS.total_seconds()
    expected = _expected(readings, first, horizon, granularity_s, now=now, final=final)
    if over <= first:  # cancelled before it began
        final = True
    elif now.timestamp() >= over and readings and claims.index(readings[-1][0]) is not None:
        whole = _expected(readings, first, horizon, granularity_s, now=now, final=True)
        final = final or len(counted) == whole
    due = math.inf if final else (now - LATENESS).timestamp()
    remarks = _remarks(
        readings=len(readings),
        alone=sum(at < due and levels.at(at) is None for at, _ in readings),
        expected=expected,
        baselines=len(levels.points),
        claims=len(claims.points),
        begun=horizon > first,
        void=over <= first,
    )
    if gap := _disagreement(counted, claims, ordered):
        remarks = (*remarks, gap)
    return Curtailment(
        starts_at=starts_at,
        ends_at=ends_at,
        final=final,
        ordered_w=ordered,
        delivered_w=delivered,
        fraction=delivered / ordered if delivered is not None and ordered else None,
        claimed_w=_claimed(claims, horizon),
        samples_expected=expected,
        samples_received=len(readings),
        agrees=not remarks,
        fallback=fallback,
        remarks=remarks,
        steps=_steps(first, order, levels, readings, claims),
    )


# --- the period ----------------------------------------------------------------------------------


def _period(
    event: Event, baseline: Points, ended_at: datetime | None
) -> tuple[datetime, datetime | None]:
    """The active period as this VEN had it: startafter lets it begin later (rule 30).

    Its own begin is where its baseline begins, as far as the event allows it.
    """
    shift = timedelta(0)
    if event.start_after:
        start = event.starts_at.timestamp()
        own = next((at for at in baseline.starts_at if at >= start), start)
        shift = min(timedelta(seconds=own - start), event.start_after)
    starts_at = event.starts_at + shift
    ends_at = event.ends_at + shift if event.ends_at else None
    if ended_at is not None:
        ends_at = min(ends_at or ended_at, ended_at)
        ends_at = max(ends_at, starts_at)
    return starts_at, ends_at


def _within(points: Points, first: float, horizon: float) -> list[tuple[float, float]]:
    return [
        (at, value)
        for at, value in zip(points.starts_at, points.values, strict=True)
        if first <= at < horizon and math.isfinite(value)
    ]


class _Levels:
    """Points that hold for an interval each."""

    def __init__(self, points: Sequence[tuple[float, float]], interval_s: float) -> None:
        self.points = points
        self.interval_s = interval_s

    def index(self, at: float) -> int | None:
        """Which interval holds an instant."""
        index = bisect_right(self.points, at, key=lambda point: point[0]) - 1
        if index < 0 or at >= self.points[index][0] + self.interval_s:
            return None
        return index

    def at(self, at: float) -> float | None:
        index = self.index(at)
        return None if index is None else self.points[index][1]


def _expected(
    readings: Sequence[tuple[float, float]],
    first: float,
    horizon: float,
    granularity_s: float,
    *,
    now: datetime,
    final: bool,
) -> int:
    """How many ticks of the readings' own grid lie in the period, as far as they can be here."""
    if granularity_s <= 0 or horizon <= first:
        return len(readings)
    phase = readings[0][0] if readings else math.ceil(first / granularity_s) * granularity_s
    until = horizon
    if not final:
        due = (now - LATENESS).timestamp()
        arrived = readings[-1][0] + granularity_s if readings else first
        until = max(first, min(horizon, max(due, arrived)))

    def ticks_before(at: float) -> int:
        return math.ceil(round((at - phase) / granularity_s, 6))

    return max(len(readings), ticks_before(until) - ticks_before(first))


# --- what was ordered ----------------------------------------------------------------------------

Order = Callable[[float, float | None], float | None]
"""(seconds since the start, baseline in W) -> the ordered reduction in W, where one is named."""


def ordered_at(event: Event, now: datetime, baseline_w: float | None) -> float | None:
    """The reduction in W that the event orders of each VEN at `now`; None where it names none."""
    return order_of(event)((now - event.starts_at).total_seconds(), baseline_w)


def order_of(event: Event) -> Order:
    """What the event orders of each VEN; nothing but None where it names no power."""
    signal = next(
        (
            signal
            for signal in event.signals
            if signal.signal_name == SignalName.LOAD_DISPATCH and _is_power(signal)
        ),
        None,
    )
    if signal is None:
        return lambda _after, _level: None
    factor = signal.unit.factor if signal.unit else 1.0
    begins: list[float] = []
    after = 0.0
    for interval in signal.intervals:
        begins.append(after)
        after += (interval.duration or timedelta(0)).total_seconds()

    def ordered(seconds: float, level: float | None) -> float | None:
        value = signal.intervals[max(0, bisect_right(begins, seconds) - 1)].value
        match signal.signal_type:
            case SignalType.DELTA:
                return -value * factor
            case SignalType.SETPOINT:
                # A limit above what the building takes anyway orders nothing.
                return None if level is None else max(0.0, level - value * factor)
            case _:
                return None if level is None else level * (1.0 - value)

    return ordered


def most_ordered_w(event: Event) -> float | None:
    """The largest reduction in W that it orders of each VEN; None where a VEN's own baseline, or
    nothing at all, says how much.
    """
    deltas = [
        one
        for one in event.signals
        if one.signal_name == SignalName.LOAD_DISPATCH
        and one.signal_type is SignalType.DELTA
        and _is_power(one)
    ]
    if len(deltas) != len(event.signals) or not deltas:
        return None
    order = order_of(event)
    starts_s, found = 0.0, 0.0
    for interval in deltas[0].intervals:
        found = max(found, abs(order(starts_s, None) or 0.0))
        starts_s += interval.duration.total_seconds() if interval.duration else 0.0
    return found


def _is_power(signal: Signal) -> bool:
    if signal.signal_type in (SignalType.DELTA, SignalType.SETPOINT):
        return signal.unit is not None and signal.unit.kind == "power:powerReal"
    return signal.signal_type is SignalType.MULTIPLIER


def _ordered_alone(order: Order, levels: _Levels, first: float, horizon: float) -> float | None:
    """The mean order over the period where no reading says which instants count."""
    if horizon <= first:
        return order(0.0, levels.at(first))
    count = max(1, math.ceil((horizon - first) / levels.interval_s))
    width = (horizon - first) / count
    middles = [(index + 0.5) * width for index in range(count)]
    return _mean(
        [
            amount
            for middle in middles
            if (amount := order(middle, levels.at(first + middle))) is not None
        ]
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


# --- does the claim agree ------------------------------------------------------------------------


def _claimed(claims: _Levels, horizon: float) -> float | None:
    """The mean claim; an interval that the end of the event cuts weighs less."""
    if not claims.points:
        return None
    weights = [min(claims.interval_s, horizon - at) for at, _ in claims.points]
    claimed = math.fsum(
        -value * weight for (_, value), weight in zip(claims.points, weights, strict=True)
    )
    return claimed / math.fsum(weights)


def _disagreement(
    counted: Sequence[tuple[float, float, float]], claims: _Levels, ordered: float | None
) -> str | None:
    """Compares like with like: intervals that were claimed and of which readings are stored."""
    shown: dict[int, list[float]] = {}
    for at, value, level in counted:
        index = claims.index(at)
        if index is not None:
            shown.setdefault(index, []).append(level - value)
    if not shown:
        return None
    claimed = _mean([-claims.points[index][1] for index in shown]) or 0.0
    found = _mean([_mean(values) or 0.0 for values in shown.values()]) or 0.0
    tolerance = max(SHARE * abs(ordered if ordered is not None else found), LEAST_W)
    if abs(claimed - found) <= tolerance:
        return None
    return (
        f"The node claims {claimed / 1000:.1f} kW, its readings show {found / 1000:.1f} kW; "
        f"within {tolerance / 1000:.1f} kW they would agree."
    )


def _remarks(
    *,
    readings: int,
    alone: int,
    expected: int,
    baselines: int,
    claims: int,
    begun: bool,
    void: bool,
) -> tuple[str, ...]:
    if void:
        return ("The event was cancelled before it began.",)
    if not begun:
        return ("The event has not begun.",)
    remarks: list[str] = []
    if not readings:
        remarks.append("No reading of the event is stored: nothing is verified.")
    elif readings < COVERAGE * expected:
        remarks.append(f"{expected - readings} of {expected} readings are missing.")
    if not baselines:
        remarks.append("The node has reported no baseline: nothing can be compared with.")
    elif alone:
        remarks.append(f"{alone} readings have no baseline beside them.")
    if not claims:
        remarks.append("The node has not said what it delivered.")
    return tuple(remarks)


# --- the series ----------------------------------------------------------------------------------


def _steps(
    first: float,
    order: Order,
    levels: _Levels,
    readings: Sequence[tuple[float, float]],
    claims: _Levels,
) -> tuple[Step, ...]:
    width = levels.interval_s
    buckets: dict[int, list[float]] = {}
    for at, value in readings:
        buckets.setdefault(int((at - first) // width), []).append(value)
    said = {round((at - first) / width): -value for at, value in claims.points}
    steps = []
    for index in range(max((*buckets, *said), default=-1) + 1):
        at = first + index * width
        level = levels.at(at)
        measured = _mean(buckets.get(index, ()))
        steps.append(
            Step(
                starts_at=datetime.fromtimestamp(at, UTC),
                baseline_w=level,
                measured_w=measured,
                ordered_w=order(index * width, level),
                delivered_w=None if level is None or measured is None else level - measured,
                claimed_w=said.get(index),
                samples=len(buckets.get(index, ())),
            )
        )
    return tuple(steps)
