# SPDX-License-Identifier: Apache-2.0
"""The baseline: what the building would have used, from its like days before the event.

High 5 of 10: of the ten like days before the event's day, the five with the highest mean load in
the event's hours are averaged, quarter by quarter. Like days are working days for a working day
and days off for a day off, by the site's calendar, without days on which an event was held, and
with readings for at least nine tenths of the event's hours (as in NYISO's customer baseline).

Same-day adjustment: the day's own level is added. In the three hours from four hours to one hour
before the start (CAISO's window: late enough to know the day, early enough that preparing for the
event does not move it) the mean of what was used minus the mean of what these days used is added
to each quarter, but never more than 20 % of the latter.

Fallbacks, each named in the result: with three to nine like days "high k of n" with k half of n,
rounded up; with fewer, the mean of the hour before the start.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from light_node.errors import NoBaseline
from light_node.reading import QUARTER_S
from light_node.settings import WEEK, Weekday

INTERVAL_S = 60
HIGH_5_OF_10 = "high 5 of 10"
LAST_HOUR = "same-day mean of the last hour"
ADJUSTED = " with same-day adjustment"
UNADJUSTED = " without same-day adjustment"
LOOK_BACK_DAYS = 90
ADJUSTMENT_CAP = 0.2

_DAYS_WANTED = 10
_LEAST_DAYS = 3
_COVERAGE_WANTED = 0.9
_WINDOW_S = (4 * 3600, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCalendar:
    """Which days of the building are alike."""

    zone: tzinfo
    working_days: tuple[Weekday, ...]
    holidays: frozenset[date] = frozenset()

    def day_of(self, at: float) -> date:
        return datetime.fromtimestamp(at, self.zone).date()

    def works(self, day: date) -> bool:
        return day not in self.holidays and WEEK[day.weekday()] in self.working_days

    def moved(self, at: float, days: int) -> float:
        """The instant `days` later at the same local time (epoch seconds)."""
        local = datetime.fromtimestamp(at, self.zone)
        moved = datetime.combine(local.date() + timedelta(days=days), local.time(), self.zone)
        return moved.astimezone(UTC).timestamp()

    def midnight(self, day: date) -> float:
        return datetime.combine(day, time(), self.zone).astimezone(UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What an event is compared with."""

    method: str
    fallback: bool
    """Whether another method than the one asked for had to serve."""
    starts_at: float
    watts: tuple[float, ...]
    """Mean power of each 60 s from `starts_at`; the last interval may be shorter."""

    def at(self, instant: float) -> float:
        """The baseline's power at an instant of the event."""
        index = int((instant - self.starts_at) // INTERVAL_S)
        return self.watts[min(max(index, 0), len(self.watts) - 1)]


def work_out(
    quarters: Mapping[int, float],
    *,
    starts_at: float,
    ends_at: float,
    calendar: SiteCalendar,
    event_spans: Iterable[tuple[float, float]] = (),
    last_hour_w: float | None = None,
    asked_for: str = HIGH_5_OF_10,
) -> Baseline:
    """Work out the baseline of an event in [starts_at, ends_at), epoch seconds.

    `quarters` maps the epoch second at which a quarter of an hour starts to its mean watts;
    `event_spans` are other events, whose days are not like days and whose quarters do not adjust;
    `last_hour_w` is the mean of the good readings of the hour before the start, if there are any.
    Raises NoBaseline, and ValueError for an event without length.
    """
    if ends_at <= starts_at:
        raise ValueError("an event must end after it starts")
    spans = tuple(event_spans)
    if asked_for == HIGH_5_OF_10:
        days = _like_days(quarters, starts_at, ends_at, calendar, spans)
        if len(days) >= _LEAST_DAYS:
            return _high_of(
                days,
                quarters,
                starts_at=starts_at,
                ends_at=ends_at,
                calendar=calendar,
                spans=spans,
            )
    if last_hour_w is None:
        raise NoBaseline(
            "there are neither three like days nor readings of the hour before the event; "
            "load the building's earlier days with 'light-node history import'."
        )
    return Baseline(
        method=LAST_HOUR,
        fallback=asked_for != LAST_HOUR,
        starts_at=starts_at,
        watts=(last_hour_w,) * _intervals(starts_at, ends_at),
    )


def _like_days(
    quarters: Mapping[int, float],
    starts_at: float,
    ends_at: float,
    calendar: SiteCalendar,
    spans: Sequence[tuple[float, float]],
) -> list[int]:
    """Offsets in days (-1, -2 ...) of the like days, the nearest first, at most ten."""
    event_day = calendar.day_of(starts_at)
    taken = {
        day
        for first, last in spans
        for day in _days(calendar.day_of(first), calendar.day_of(max(first, last - 1e-3)))
    }
    length_days = (calendar.day_of(ends_at - 1e-3) - event_day).days
    days: list[int] = []
    # An event over midnight is compared with days before its first day only.
    for offset in range(-1 - length_days, -LOOK_BACK_DAYS - 1, -1):
        day = event_day + timedelta(days=offset)
        if calendar.works(day) != calendar.works(event_day) or day in taken:
            continue
        moved = [calendar.moved(at, offset) for at in _grid(starts_at, ends_at)]
        known = sum(_at(quarters, at) is not None for at in moved)
        if known >= _COVERAGE_WANTED * len(moved):
            days.append(offset)
        if len(days) == _DAYS_WANTED:
            break
    return days


def _high_of(
    days: Sequence[int],
    quarters: Mapping[int, float],
    *,
    starts_at: float,
    ends_at: float,
    calendar: SiteCalendar,
    spans: Sequence[tuple[float, float]],
) -> Baseline:
    instants = _grid(starts_at, ends_at)
    best = math.ceil(len(days) / 2)

    def level_of(day: int) -> float:
        return _mean(_at(quarters, calendar.moved(at, day)) for at in instants) or 0.0

    chosen = sorted(days, key=level_of, reverse=True)[:best]

    def averaged(at: float) -> float | None:
        return _mean(_at(quarters, calendar.moved(at, day)) for day in chosen)

    known = {at: watts for at in instants if (watts := averaged(at)) is not None}
    level = _mean(known.values()) or 0.0
    offset_w = _adjustment(quarters, starts_at, averaged, spans)
    # A quarter that none of the chosen days has (a tenth may be missing) takes the others' mean.
    curve = {at: known.get(at, level) + (offset_w or 0.0) for at in instants}
    full = len(days) == _DAYS_WANTED
    method = HIGH_5_OF_10 if full else f"high {best} of {len(days)}"
    return Baseline(
        method=method + (ADJUSTED if offset_w is not None else UNADJUSTED),
        fallback=not full or offset_w is None,
        starts_at=starts_at,
        watts=tuple(
            _over(begin, min(begin + INTERVAL_S, ends_at), curve)
            for begin in (starts_at + n * INTERVAL_S for n in range(_intervals(starts_at, ends_at)))
        ),
    )


def _adjustment(
    quarters: Mapping[int, float],
    starts_at: float,
    averaged: Callable[[float], float | None],
    spans: Sequence[tuple[float, float]],
) -> float | None:
    """Watts to add to each quarter; None when the day's own hours say nothing."""
    first, last = (starts_at - seconds for seconds in _WINDOW_S)
    pairs = [
        (today, then)
        for at in _grid(first, last)
        if first <= at
        and at + QUARTER_S <= last
        and not any(begin < at + QUARTER_S and at < end for begin, end in spans)
        and (today := _at(quarters, at)) is not None
        and (then := averaged(at)) is not None
    ]
    if not pairs:
        return None
    level = _mean(then for _, then in pairs) or 0.0
    cap_w = ADJUSTMENT_CAP * abs(level)
    return min(max((_mean(today for today, _ in pairs) or 0.0) - level, -cap_w), cap_w)


def _over(begin: float, end: float, curve: Mapping[int, float]) -> float:
    """Mean of a curve of quarters over [begin, end), which it covers."""
    energy = 0.0
    for at in _grid(begin, end):
        energy += curve[at] * (min(end, at + QUARTER_S) - max(begin, at))
    return energy / (end - begin)


def _grid(begin: float, end: float) -> list[int]:
    """The quarters that touch [begin, end)."""
    return list(range(int(begin // QUARTER_S) * QUARTER_S, math.ceil(end), QUARTER_S))


def _at(quarters: Mapping[int, float], at: float) -> float | None:
    return quarters.get(int(at // QUARTER_S) * QUARTER_S)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _intervals(starts_at: float, ends_at: float) -> int:
    return math.ceil((ends_at - starts_at) / INTERVAL_S)


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
