# SPDX-License-Identifier: Apache-2.0
"""Readings of the light node -> intervals of a report (pure)."""

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from doorway.values import value
from light_node.local import Curtailment, Readings, Status, Step
from oadr.columns import Column, Intervals, LoadControl, ResourceStatus
from oadr.report import Report, ReportRequest
from oadr.vocabulary import DataQuality, SignalType
from ven import offers
from ven.config import SiteSettings

BATCH_ROWS = 225
"""The most rows of one report: 15 minutes at 4 s."""

# The worst comes first: a reading with several flags bears the quality of the first that it has.
# Late and partial readings are as good as any: their power was measured.
_QUALITY: tuple[tuple[str, DataQuality], ...] = (
    ("comm", DataQuality.BAD_COMM_FAILURE),
    ("missed", DataQuality.BAD_OUT_OF_SERVICE),
    ("implausible", DataQuality.BAD_SENSOR_FAILURE),
    ("stale", DataQuality.BAD_LAST_KNOWN_VALUE),
    ("substituted", DataQuality.UNCERTAIN_LAST_USABLE_VALUE),
    ("clock_unsync", DataQuality.UNCERTAIN),
    ("clock_step", DataQuality.UNCERTAIN),
    ("manual", DataQuality.GOOD_LOCAL_OVERRIDE),
    ("late", DataQuality.GOOD),
    ("partial", DataQuality.GOOD),
    ("good", DataQuality.GOOD),
)
_BAD = ("comm", "missed", "implausible", "stale")


@value
class Row:
    """One reading as the light node hands it out."""

    row_id: int
    starts_at: float
    """The tick, epoch seconds."""
    watts: float | None
    energy_wh: float | None
    """The meter's import counter."""
    quality: str

    @property
    def is_usable(self) -> bool:
        flags = self.quality.split("+")
        return self.watts is not None and not any(flag in flags for flag in _BAD)


def rows_of(readings: Readings) -> list[Row]:
    """Columns -> rows, in their order."""
    return [
        Row(row_id=row_id, starts_at=at, watts=watts, energy_wh=energy, quality=quality)
        for row_id, at, watts, energy, quality in zip(
            readings.ids,
            readings.starts_at,
            readings.watts,
            readings.energy_wh,
            readings.quality,
            strict=True,
        )
    ]


def ascending(rows: Sequence[Row]) -> list[Row]:
    """The first rows, as far as each starts after the one before: up to where a clock was set back.

    One report tells of one stretch of time, each instant in it once (rule 313).
    """
    ends = (i for i in range(1, len(rows)) if rows[i].starts_at <= rows[i - 1].starts_at)
    return list(rows[: next(ends, len(rows))])


def newest_of_each(rows: Sequence[Row]) -> list[Row]:
    """Rows by time, of each instant the one taken last: a clock set back makes some come twice."""
    newest = {row.starts_at: row for row in sorted(rows, key=lambda row: row.row_id)}
    return sorted(newest.values(), key=lambda row: row.starts_at)


def wire_quality(quality: str) -> DataQuality:
    """`comm+late` -> "Quality Bad - Comm Failure"; what nobody knows is bad."""
    flags = quality.split("+")
    return next((word for flag, word in _QUALITY if flag in flags), DataQuality.BAD)


def aggregate(rows: Sequence[Row], *, anchor: float, length_s: float, period_s: float) -> list[Row]:
    """Rows -> one for each stretch of `length_s` from `anchor` on that has any.

    Power is the mean of its usable rows, energy the first counter in it; with fewer than half of
    the rows usable it is uncertain, with none it is bad. The row id is that of its last row.
    """

    def stretch(row: Row) -> int:
        return math.floor((row.starts_at - anchor) / length_s)

    return [
        _summary(list(group), anchor + number * length_s, length_s / period_s)
        for number, group in itertools.groupby(rows, key=stretch)
    ]


def usage(rows: Sequence[Row], r_ids: Collection[str], *, length: timedelta) -> Intervals:
    """Rows -> intervals of TELEMETRY_USAGE or HISTORY_USAGE, each with start and length.

    Rules 314 and 337. A value that is missing is 0 with a quality that says so (rule 318).
    """
    watts = [row.watts if row.is_usable else None for row in rows]
    energy = [row.energy_wh for row in rows]
    words = [wire_quality(row.quality) for row in rows]
    return Intervals(
        count=len(rows),
        starts_at=tuple(_instant(row.starts_at) for row in rows),
        durations=(length,) * len(rows),
        columns=tuple(
            _column(r_id, energy if offers.is_energy(r_id) else watts, words)
            for r_id in sorted(r_ids)
        ),
    )


def placeholder(at: float) -> Row:
    """A row that says only that there is nothing: the light node is not there (rule 318)."""
    return Row(row_id=0, starts_at=at, watts=None, energy_wh=None, quality="missed")


def resource_status(status: Status | None, site: SiteSettings, step: Step | None) -> ResourceStatus:
    """The node's status as TELEMETRY_STATUS says it; None = the node is not there.

    The load control state goes along (rule 334), always with the same members: the percent offset,
    with a rated load the capacity (a fraction of it) and the set-point (W), and the level offset
    where the site knows any. `step` is what the plan asks for now; only what is held counts.
    """
    lease = status.lease if status is not None else None
    held = step if lease is not None else None
    most = lease.max_w if lease is not None else None
    capacity = set_point = level_offset = None
    if site.rated_w is not None:
        limit = min(max(most, 0.0), site.rated_w) if most is not None else site.rated_w
        capacity = LoadControl(minimum=0.0, maximum=1.0, current=limit / site.rated_w, normal=1.0)
        set_point = LoadControl(
            minimum=0.0, maximum=site.rated_w, current=limit, normal=site.rated_w
        )
    if site.level_offsets:
        levels = [0, *map(int, site.level_offsets)]
        level_offset = LoadControl(
            minimum=float(min(levels)),
            maximum=float(max(levels)),
            current=_held_value(held, SignalType.LOAD_CONTROL_LEVEL_OFFSET),
            normal=0.0,
        )
    return ResourceStatus(
        online=status is not None and any(meter.online for meter in status.meters),
        manual_override=status is not None and status.override.active,
        capacity=capacity,
        level_offset=level_offset,
        percent_offset=LoadControl(
            minimum=-100.0,
            current=_held_value(held, SignalType.LOAD_CONTROL_PERCENT_OFFSET),
            normal=0.0,
        ),
        set_point=set_point,
    )


def _held_value(held: Step | None, kind: SignalType) -> float:
    """The value of the signal that is held, where it is of that kind; else nothing is offset."""
    return held.value if held is not None and held.signal_type == kind.value else 0.0


def status(
    moments: Sequence[tuple[float, ResourceStatus]], r_id: str, *, length: timedelta | None
) -> Intervals:
    """Statuses -> intervals of TELEMETRY_STATUS; without `length` they are points in time."""
    return Intervals(
        count=len(moments),
        starts_at=tuple(_instant(at) for at, _ in moments),
        durations=(length,) * len(moments) if length else (),
        columns=(Column(r_id=r_id, values=tuple(said for _, said in moments)),),
    )


def sampled(
    changes: Sequence[tuple[float, ResourceStatus]], ticks: Iterable[float]
) -> list[tuple[float, ResourceStatus]]:
    """What was said last before or at each tick; ticks before the first change have it too."""
    result = []
    for tick in ticks:
        before = [said for at, said in changes if at <= tick]
        result.append((tick, before[-1] if before else changes[0][1]))
    return result


def curtailment(
    found: Curtailment, r_ids: Collection[str], *, after: float | None
) -> list[Intervals]:
    """The node's curtailment -> intervals of x-CURTAILMENT; empty when there is nothing new.

    In parts of at most BATCH_ROWS, one for each report: those of an event of a day are too long for
    one message. `after` is the start of the newest interval the VTN has; that one is sent once
    more, because it may have been under way. A baseline by the fallback method is marked uncertain.
    """
    delivered = dict(found.delivered)
    rows = [
        (at, watts, delivered.get(at))
        for at, watts in found.baseline
        if after is None or at >= after
    ]
    return [
        _curtailed(found, rows[first : first + BATCH_ROWS], r_ids)
        for first in range(0, len(rows), BATCH_ROWS)
    ]


def _curtailed(
    found: Curtailment, rows: Sequence[tuple[float, float, float | None]], r_ids: Collection[str]
) -> Intervals:
    word = DataQuality.UNCERTAIN if found.fallback else DataQuality.GOOD
    columns: dict[str, list[float | None]] = {
        offers.BASELINE: [watts for _, watts, _ in rows],
        offers.DEVIATION: [-less if less is not None else None for _, _, less in rows],
    }
    words = dict.fromkeys(columns, word)
    if found.effect:
        columns[offers.EFFECT] = [offers.EFFECT_VALUES[found.effect]] * len(rows)
        words[offers.EFFECT] = DataQuality.GOOD
    end = found.ends_at.timestamp() if found.ends_at is not None else math.inf
    step_s = offers.CURTAILMENT_STEP.total_seconds()
    return Intervals(
        count=len(rows),
        starts_at=tuple(_instant(at) for at, _, _ in rows),
        durations=tuple(
            timedelta(seconds=max(1, math.floor(min(step_s, end - at)))) for at, _, _ in rows
        ),
        columns=tuple(
            _column(r_id, values, [words[r_id]] * len(rows))
            for r_id, values in sorted(columns.items())
            if r_id in r_ids
        ),
    )


def report(request: ReportRequest, intervals: Intervals, now: datetime) -> Report:
    """The intervals as one report (rules 313, 315, 341)."""
    first, last = intervals.starts_at[0], intervals.starts_at[-1]
    assert first is not None
    assert last is not None
    length = intervals.durations[-1] if intervals.durations else None
    return Report(
        starts_at=first,
        duration=last - first + (length or timedelta(0)),
        intervals=intervals,
        report_request_id=request.report_request_id,
        report_specifier_id=request.report_specifier_id,
        report_name=offers.report_name(request.report_specifier_id),
        created_at=now,
    )


def _column(r_id: str, values: Sequence[float | None], words: Sequence[DataQuality]) -> Column:
    return Column(
        r_id=r_id,
        values=tuple(0.0 if value is None else value for value in values),
        quality=tuple(
            _missing(word) if value is None else word
            for value, word in zip(values, words, strict=True)
        ),
    )


def _missing(word: DataQuality) -> DataQuality:
    """A value that is not there is bad, whatever the reading's other values are."""
    return word if word.startswith("Quality Bad") else DataQuality.BAD


def _summary(rows: list[Row], starts_at: float, expected: float) -> Row:
    usable = [row.watts for row in rows if row.watts is not None and row.is_usable]
    counters = [row.energy_wh for row in rows if row.energy_wh is not None]
    if not usable:
        quality = rows[-1].quality
    elif len(usable) < expected / 2:
        quality = "substituted"
    else:
        quality = "good"
    return Row(
        row_id=rows[-1].row_id,
        starts_at=starts_at,
        watts=math.fsum(usable) / len(usable) if usable else None,
        energy_wh=counters[0] if counters else None,
        quality=quality,
    )


def _instant(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
