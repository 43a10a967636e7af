# SPDX-License-Identifier: Apache-2.0
r"""A building's load at any instant, out of hourly means, with each hour's energy conserved.

Each hour is a parabola through the values at its two edges, bent so that its mean is the hour's:

       .-------.             edges: the mean of both neighbours, so the curve has no jump,
      /    o    \  .        and at most twice the smaller one, so it is never negative
    e0           e1          o: the hour's mean, met exactly

On it rides a small ripple of whole periods an hour: zero at the edges, zero on average, and the
same each time the hour is played.
"""

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Self

from demo.errors import DemoFault

EXCERPT = Path(__file__).parent / "data" / "building_hourly_kw.csv"
AFTERNOON = datetime(2016, 6, 15, 14, 0)  # noqa: DTZ001 -- the building's own local time
"""A Wednesday: a working day after ten others, with the load high and calm."""

_HOUR = timedelta(hours=1)
_QUARTER = timedelta(minutes=15)
_RIPPLES = (7, 13, 29, 61, 113)
"""Periods an hour: from nine minutes to half a minute."""
_RIPPLE_SHARE = 0.012
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class _Hour:
    """One hour as a function of x, the part of it that has passed (0 to 1); watts."""

    mean: float
    left: float
    right: float
    ripples: tuple[float, ...]

    @property
    def bend(self) -> float:
        return 6 * (self.mean - (self.left + self.right) / 2)

    def watts(self, x: float) -> float:
        smooth = self.left + (self.right - self.left) * x + self.bend * x * (1 - x)
        waves = zip(_RIPPLES, self.ripples, strict=True)
        return smooth + sum(height * math.sin(math.tau * k * x) for k, height in waves)

    def energy_wh(self, x: float) -> float:
        """From the hour's beginning up to x; at 1 exactly the hour's mean."""
        if x >= 1:
            return self.mean
        smooth = (
            self.left * x
            + (self.right - self.left) * x * x / 2
            + self.bend * x * x * (1 / 2 - x / 3)
        )
        waves = zip(_RIPPLES, self.ripples, strict=True)
        return smooth + sum(
            height * (1 - math.cos(math.tau * k * x)) / (math.tau * k) for k, height in waves
        )


class LoadSeries:
    """The load over the building's own local time (naive datetimes); at its end it begins again.

    Energy is conserved: over each whole hour `energy_wh` is exactly the hour's mean in W, and the
    mean power of the 4-second cells of `cells` is that too (to rounding).
    """

    def __init__(self, first_hour: datetime, hourly_watts: Sequence[float]) -> None:
        if not hourly_watts or any(not (0 <= w < math.inf) for w in hourly_watts):
            raise DemoFault("A load series needs hourly values in W, none negative.")
        self.first_hour = first_hour
        self.hours = len(hourly_watts)
        self._watts = tuple(hourly_watts)
        self._shape = lru_cache(maxsize=64)(self._shape_of)

    def watts_at(self, at: datetime) -> float:
        """The power at one instant, W."""
        number, x = self._place(at)
        return self._shape(number).watts(x)

    def energy_wh(self, start: datetime, end: datetime) -> float:
        """The energy of [start, end), Wh."""
        (first, x), (last, y) = self._place(start), self._place(end)
        between = (self._shape(number).mean for number in range(first, last))
        return math.fsum(
            [*between, self._shape(last).energy_wh(y), -self._shape(first).energy_wh(x)]
        )

    def cells(self, start: datetime, count: int, interval_s: float = 4.0) -> list[float]:
        """The mean power, W, of `count` consecutive cells of `interval_s` seconds from `start`."""
        edges = [start + timedelta(seconds=interval_s * n) for n in range(count + 1)]
        hours = interval_s / 3600
        return [self.energy_wh(a, b) / hours for a, b in pairwise(edges)]

    def _place(self, at: datetime) -> tuple[int, float]:
        number, rest = divmod(at - self.first_hour, _HOUR)
        return number, rest / _HOUR

    def _mean(self, number: int) -> float:
        return self._watts[number % self.hours]

    def _edge(self, number: int) -> float:
        """The value between hour `number` - 1 and hour `number`."""
        before, after = self._mean(number - 1), self._mean(number)
        return min((before + after) / 2, 2 * before, 2 * after)

    def _shape_of(self, number: int) -> _Hour:
        plain = _Hour(self._mean(number), self._edge(number), self._edge(number + 1), (0.0,) * 5)
        room = min(_RIPPLE_SHARE * plain.mean, _lowest(plain) / 2)
        weights = [
            byte / 127.5 - 1
            for byte in hashlib.sha256(str(number % self.hours).encode()).digest()[: len(_RIPPLES)]
        ]
        total = sum(map(abs, weights))
        ripples = tuple(room * weight / total for weight in weights)
        return _Hour(plain.mean, plain.left, plain.right, ripples)


def _lowest(hour: _Hour) -> float:
    ends = min(hour.left, hour.right)
    if hour.bend >= 0:
        return max(ends, 0.0)
    x = (hour.right - hour.left + hour.bend) / (2 * hour.bend)
    return max(0.0, min(ends, hour.watts(min(max(x, 0.0), 1.0))))


def read_series(path: Path = EXCERPT) -> LoadSeries:
    """Read a CSV of `timestamp,kw`, one row for each hour without a gap. Raises DemoFault."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            (datetime.fromisoformat(at), float(kw) * 1000) for at, kw in list(csv.reader(file))[1:]
        ]
    for number, (at, _) in enumerate(rows):
        if at != rows[0][0] + number * _HOUR:
            raise DemoFault(f"{path}: row {number + 2} is not the hour after the one before it.")
    if not rows:
        raise DemoFault(f"{path}: there is no row in it.")
    return LoadSeries(rows[0][0], [watts for _, watts in rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockShift:
    """One shift for the live load and for the history: now plays an afternoon of the recording.

        recording's time  =  site's local time - days  =  UTC + utc_offset - days

    The site's local calendar must be the recording's, or baselines would compare an afternoon with
    nights and Wednesdays with Sundays. So the shift has two parts: the fixed `utc_offset` of the
    site's time zone sets the time of day, and whole days do the rest; those rotate the week, so
    the site's `working_days` are the days on which the recording's Monday to Friday are played.
    Hand both to the light node (`timezone="+09:30"`, `working_days=[...]`).

    The offset is in quarter hours: 15-minute values of the recording are 15-minute values of UTC.
    """

    days: int
    utc_offset: timedelta

    @classmethod
    def to_play(cls, afternoon: datetime, *, at: datetime) -> Self:
        """The shift that plays `afternoon` (naive), or up to 15 minutes after it, at `at` (UTC)."""
        wanted = afternoon - at.astimezone(UTC).replace(tzinfo=None)
        whole = -(-wanted // _QUARTER) * _QUARTER
        half, day = timedelta(hours=12), timedelta(days=1)
        utc_offset = (whole + half) % day - half
        return cls(days=(utc_offset - whole) // day, utc_offset=utc_offset)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote. Raises DemoFault."""
        try:
            zone, _, days = text.partition("/")
            sign = {"+": 1, "-": -1}[zone[0]]
            hours, minutes = zone[1:].split(":")
            utc_offset = sign * timedelta(hours=int(hours), minutes=int(minutes))
            shift = cls(days=int(days), utc_offset=utc_offset)
        except (ValueError, KeyError, IndexError):
            shift = None
        if shift is None or abs(shift.utc_offset) > timedelta(hours=12) or str(shift) != text:
            raise DemoFault(f"'{text}' is no clock shift; write it like +09:30/3811.")
        return shift

    def __str__(self) -> str:
        return f"{self.timezone}/{self.days}"

    def recorded(self, at: datetime) -> datetime:
        """The recording's local time (naive) that is played at the instant `at`."""
        local = at.astimezone(self.zone).replace(tzinfo=None)
        return local - timedelta(days=self.days)

    def played(self, recorded: datetime) -> datetime:
        """The instant (UTC) at which `recorded` (naive) is played."""
        local = recorded + timedelta(days=self.days)
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    @property
    def zone(self) -> timezone:
        return timezone(self.utc_offset)

    @property
    def timezone(self) -> str:
        """The site's time zone as its settings take it, like "+09:30"."""
        minutes = self.utc_offset // timedelta(minutes=1)
        return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"

    @property
    def working_days(self) -> tuple[str, ...]:
        """The site's weekdays, in their order, on which the recording's Mon-Fri are played."""
        return tuple(_DAYS[n] for n in sorted((n + self.days) % 7 for n in range(5)))
