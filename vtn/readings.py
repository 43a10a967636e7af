# SPDX-License-Identifier: Apache-2.0
"""The intervals of an oadrReport -> samples of points, in base units. Pure.

A status (oadrPayloadResourceStatus) becomes series of its own beside the rID: "online" and
"manualOverride" (0 or 1), "setPoint.current", "capacity.normal" ...
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast

from oadr.columns import Column, Intervals, LoadControl, ResourceStatus
from oadr.report import Report, ReportDescription
from vtn.errors import Rejected
from vtn.records import Point, Samples

GREATEST = 1e100
"""Far beyond every 32-bit float: some meters show the greatest one when they know nothing."""
_CONTROLS = {
    "capacity": "capacity",
    "level_offset": "levelOffset",
    "percent_offset": "percentOffset",
    "set_point": "setPoint",
}
_ASPECTS = {"minimum": "min", "maximum": "max", "current": "current", "normal": "normal"}


def data_name(report_name: str | None) -> str:
    """What the data of a report is called, by the name of its metadata (rule 331).

    >>> data_name("METADATA_TELEMETRY_USAGE"), data_name("x-METADATA_CURTAILMENT")
    ('TELEMETRY_USAGE', 'x-CURTAILMENT')
    """
    name = report_name or ""
    return name.removeprefix("METADATA_").replace("x-METADATA_", "x-", 1)


def instants(report: Report, granularity: timedelta) -> Sequence[int]:
    """The start of each interval, seconds since 1970 (rules 314 to 316); a range where it is one.

    Intervals without a start follow one another from the report's own start, each as long as its
    duration or, where it has none, the granularity that was asked for. Raises Rejected (454).
    """
    intervals = report.intervals
    if intervals is None:
        return ()
    if intervals.starts_at and all(intervals.starts_at):
        own = cast("tuple[datetime, ...]", intervals.starts_at)
        return _regular(list(map(datetime.timestamp, own)))
    first = report.starts_at or (report.created_at if intervals.count == 1 else None)
    if first is None:
        raise Rejected("454", "Neither the report nor its intervals say when they start.")
    following = _following(intervals, first, granularity)
    return _regular(list(map(datetime.timestamp, following)))


def _regular(starts_at: Sequence[float]) -> Sequence[int]:
    """Whole seconds; as a range where they are ascending at equal distances, which is usual.

    All that is done with a range costs the same however long it is.
    """
    first = int(starts_at[0])
    step = int(starts_at[1]) - first if len(starts_at) > 1 else 0
    if step > 0:
        regular = range(first, first + step * len(starts_at), step)
        if starts_at == list(regular):
            return regular
    return tuple(map(int, starts_at))


def _following(intervals: Intervals, first: datetime, granularity: timedelta) -> Iterator[datetime]:
    at = first
    for index in range(intervals.count):
        own = intervals.starts_at[index] if intervals.starts_at else None
        at = own or at
        yield at
        length = (intervals.durations[index] if intervals.durations else None) or granularity
        if not length and index + 1 < intervals.count:
            raise Rejected("454", f"Interval {index} has no duration, and the next no start.")
        try:
            at += length
        except OverflowError as error:
            raise Rejected("454", f"Interval {index} ends after all calendars.") from error


def step(report: Report, granularity: timedelta) -> int:
    """How far apart the intervals of a report are, in seconds; 1 where nothing says so."""
    if granularity:
        return int(granularity.total_seconds())
    durations = set(report.intervals.durations or ()) if report.intervals else set()
    only = durations.pop() if len(durations) == 1 else None
    return int(only.total_seconds()) if only else 1


def samples(
    report: Report,
    descriptions: Mapping[str, ReportDescription],
    *,
    ven_id: str,
    report_name: str,
    starts_at: Sequence[int],
) -> list[Samples]:
    """Everything a report says, by point. `descriptions` are those of its offer, by rID.

    `starts_at` is the start of each interval (`instants`). Raises Rejected: 452 for a rID that was
    not offered, 454 for values that cannot be placed.
    """
    if report.intervals is None:
        return []
    found: list[Samples] = []
    for column in report.intervals.columns:
        description = descriptions.get(column.r_id)
        if description is None:
            raise Rejected("452", f"The report was not asked to carry the rID '{column.r_id}'.")
        point = _point(description, ven_id=ven_id, report_name=report_name)
        if set(map(type, column.values)) == {float}:  # as telemetry comes
            found.append(_plain(point, column, starts_at, description))
            continue
        found += _numbers(point, column, starts_at, description)
        found += _statuses(point, column, starts_at)
    return found


def _point(description: ReportDescription, *, ven_id: str, report_name: str) -> Point:
    source = description.data_source
    return Point(
        ven_id=ven_id,
        r_id=description.r_id,
        report_name=report_name,
        report_type=description.report_type,
        unit=description.unit.symbol if description.unit else "",
        resource_ids=source.resource_ids if source else (),
    )


def _plain(
    point: Point, column: Column, starts_at: Sequence[int], description: ReportDescription
) -> Samples:
    """A column that has a number in every interval."""
    values = cast("tuple[float, ...]", column.values)
    factor = description.unit.factor if description.unit else 1.0
    if factor != 1.0:
        values = tuple([value * factor for value in values])
    _check_reach(point, values)
    quality = tuple([word or "" for word in column.quality]) or ("",) * len(values)
    return Samples(point=point, starts_at=starts_at, values=values, quality=quality)


def _numbers(
    point: Point, column: Column, starts_at: Sequence[int], description: ReportDescription
) -> list[Samples]:
    factor = description.unit.factor if description.unit else 1.0
    quality = column.quality or ("",) * len(starts_at)
    rows = [
        (at, value * factor, word or "")
        for at, value, word in zip(starts_at, column.values, quality, strict=True)
        if isinstance(value, float)
    ]
    if not rows:
        return []
    found = _columns(point, rows)
    _check_reach(point, found.values)
    return [found]


def _check_reach(point: Point, values: Sequence[float]) -> None:
    """Values can be added up, however many: else the sum over a fleet could be spoilt by one."""
    if not all(map(math.isfinite, values)) or max(values) > GREATEST or min(values) < -GREATEST:
        raise Rejected("454", f"A value of the rID '{point.r_id}' is beyond all measure.")


def _statuses(point: Point, column: Column, starts_at: Sequence[int]) -> list[Samples]:
    quality = column.quality or ("",) * len(starts_at)
    rows: dict[str, list[tuple[int, float, str]]] = {}
    for at, value, word in zip(starts_at, column.values, quality, strict=True):
        if isinstance(value, ResourceStatus):
            for facet, number in facets(value).items():
                rows.setdefault(facet, []).append((at, number, word or ""))
    for several in rows.values():
        _check_reach(point, [number for _, number, _ in several])
    status = dataclasses.replace(point, unit="")
    return [_columns(dataclasses.replace(status, facet=facet), rows[facet]) for facet in rows]


def facets(status: ResourceStatus) -> dict[str, float]:
    """A status as numbers, by facet; what is not said is not there."""
    found = {"online": float(status.online), "manualOverride": float(status.manual_override)}
    for name, control in _CONTROLS.items():
        state: LoadControl | None = getattr(status, name)
        for aspect, short in _ASPECTS.items() if state is not None else ():
            number = getattr(state, aspect)
            if number is not None:
                found[f"{control}.{short}"] = number
    return found


def _columns(point: Point, rows: Sequence[tuple[int, float, str]]) -> Samples:
    starts_at, values, quality = zip(*rows, strict=True)
    return Samples(point=point, starts_at=starts_at, values=values, quality=quality)
