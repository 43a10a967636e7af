# SPDX-License-Identifier: Apache-2.0
"""Minutes: what the samples of one minute of one meter come to. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ems_bridge.messages import Minute
from light_node.quality import Quality, is_usable
from light_node.reading import Reading

MINUTE_S = 60.0


def minute_of(at_s: float) -> float:
    """The start of the minute that this instant (seconds since 1970) lies in."""
    return math.floor(at_s / MINUTE_S) * MINUTE_S


def worked_out(
    meter: str,
    starts_s: float,
    samples: Iterable[tuple[float | None, Quality]],
    *,
    interval_s: float,
    historical: bool,
) -> Minute:
    """One minute of a meter from the (watts, quality) of its samples."""
    good = [watts for watts, quality in samples if watts is not None and is_usable(quality)]
    mean_w = sum(good) / len(good) if good else None
    return Minute(
        meter=meter,
        starts_at=datetime.fromtimestamp(starts_s, UTC),
        duration_s=MINUTE_S,
        mean_w=mean_w,
        min_w=min(good, default=None),
        max_w=max(good, default=None),
        energy_wh=None if mean_w is None else mean_w * MINUTE_S / 3600,
        coverage=min(1.0, len(good) * interval_s / MINUTE_S),
        historical=historical,
    )


@dataclass(slots=True, kw_only=True)
class Tally:
    """The samples of the latest minutes, by the minute's start and the meter."""

    kept: int
    """So many minutes are held; older ones are on the disk by then."""
    _minutes: dict[float, dict[str, list[tuple[float | None, Quality]]]] = field(
        default_factory=dict
    )
    _whole_from: float | None = None

    def see(self, reading: Reading) -> None:
        starts_s = minute_of(reading.starts_at)
        if max(self._minutes, default=starts_s) > starts_s + MINUTE_S:  # the clock was set back
            self._minutes.clear()
            self._whole_from = None
        if self._whole_from is None:  # the first one began before us: the disk may know more
            self._whole_from = starts_s + MINUTE_S
        meters = self._minutes.setdefault(starts_s, {})
        meters.setdefault(reading.meter, []).append((reading.watts, reading.quality))
        while len(self._minutes) > self.kept:
            del self._minutes[min(self._minutes)]

    def samples(self, meter: str, starts_s: float) -> list[tuple[float | None, Quality]] | None:
        """The meter's samples of this minute; None where the disk has to be asked."""
        if self._whole_from is None or starts_s < self._whole_from:
            return None
        minute = self._minutes.get(starts_s)
        return None if minute is None else minute.get(meter, [])
