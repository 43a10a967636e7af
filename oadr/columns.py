# SPDX-License-Identifier: Apache-2.0
"""The intervals of a report as columns: 225 rows are five lists, not a thousand objects.

starts_at   14:00:00  14:00:04  14:00:08 ...
column "P"      41.2      41.0     None  ...   None: the point has no payload in that interval
column "E"      7.1       7.2      7.2   ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from oadr.codec import (
    FLOAT,
    PERCENT,
    Element,
    Own,
    Word,
    at,
    clark,
    escape,
    maybe,
    read,
    write,
)
from oadr.errors import Unbuildable
from oadr.moments import read_duration, read_instant, write_duration, write_instant
from oadr.vocabulary import DataQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadControl:
    """One aspect of a load's control state."""

    minimum: float | None = maybe("oadr:oadrMin")
    maximum: float | None = maybe("oadr:oadrMax")
    current: float = at("oadr:oadrCurrent")
    normal: float | None = maybe("oadr:oadrNormal")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceStatus:
    """The payload of TELEMETRY_STATUS (rules 331 and 334)."""

    online: bool = at("oadr:oadrOnline")
    manual_override: bool = at("oadr:oadrManualOverride")
    capacity: LoadControl | None = maybe("oadr:oadrLoadControlState/oadr:oadrCapacity")
    level_offset: LoadControl | None = maybe("oadr:oadrLoadControlState/oadr:oadrLevelOffset")
    percent_offset: LoadControl | None = maybe("oadr:oadrLoadControlState/oadr:oadrPercentOffset")
    set_point: LoadControl | None = maybe("oadr:oadrLoadControlState/oadr:oadrSetPoint")


Value = float | ResourceStatus
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one point (rID) says in each interval. All sequences are as long as the report's.

    `values[i]` is None where the point has no payload in interval i. `quality`, `confidence` (0 to
    100) and `accuracy` (in units of the value) are empty where no interval has any.
    """

    r_id: str
    values: tuple[Value | None, ...]
    quality: tuple[str | None, ...] = ()
    confidence: tuple[int | None, ...] = ()
    accuracy: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """The intervals of one report, ascending (rule 314); half open.

    `starts_at`, `durations` and `uids` are as long as the report or, where no interval has any,
    empty. A missing duration is point data (rule 315). Columns stand in the order of their rID.
    """

    count: int
    starts_at: tuple[datetime | None, ...] = ()
    durations: tuple[timedelta | None, ...] = ()
    uids: tuple[str | None, ...] = ()
    columns: tuple[Column, ...]

    def column(self, r_id: str) -> Column | None:
        """The column of a point, or None where the report does not carry it."""
        return next((column for column in self.columns if column.r_id == r_id), None)


_QUALITY = Word(DataQuality)
_INTERVAL = clark("ei:interval")
_INSTANT = clark("xcal:date-time")
_DURATION = clark("xcal:duration")
_UID = clark("xcal:text")
_RID = clark("ei:rID")
_CONFIDENCE = clark("ei:confidence")
_ACCURACY = clark("ei:accuracy")
_VALUE = clark("ei:value")
_STATUS = clark("oadr:oadrPayloadResourceStatus")
_DATA_QUALITY = clark("oadr:oadrDataQuality")
_FOREIGN = (clark("ei:signalPayload"), clark("oadr:oadrGBPayload"))


class _Sparse(list[T | None]):
    """A list that is filled from the left, leaving None where nothing is put."""

    def put(self, index: int, item: T) -> None:
        if len(self) < index:
            self.extend([None] * (index - len(self)))
        self.append(item)

    def whole(self, count: int) -> tuple[T | None, ...]:
        """As a tuple of `count`, or the empty tuple where nothing was ever put."""
        if not self:
            return ()
        self.extend([None] * (count - len(self)))
        return tuple(self)


class _Draft:
    """One column while it is being read."""

    __slots__ = ("accuracy", "confidence", "quality", "values")

    def __init__(self) -> None:
        self.values: _Sparse[Value] = _Sparse()
        self.quality: _Sparse[str] = _Sparse()
        self.confidence: _Sparse[int] = _Sparse()
        self.accuracy: _Sparse[float] = _Sparse()


class _IntervalsCode(Own):
    """strm:intervals of a report <-> Intervals; written by hand because telemetry is bulk.

    Reading walks the leaves only, in document order: the schema has already said that each rID
    stands before the value, the quality and the rest of its payload.
    """

    tags = (clark("strm:intervals"),)

    def read(self, element: Element) -> Intervals:  # noqa: C901, PLR0912 - flat: it is the hot path
        count = len(element)
        starts_at: _Sparse[datetime] = _Sparse()
        durations: _Sparse[timedelta] = _Sparse()
        uids: _Sparse[str] = _Sparse()
        drafts: dict[str, _Draft] = {}
        lengths: dict[str, timedelta] = {}
        index = -1
        draft = None
        for leaf in element.iter(
            _INTERVAL,
            _INSTANT,
            _DURATION,
            _UID,
            _RID,
            _CONFIDENCE,
            _ACCURACY,
            _VALUE,
            _STATUS,
            _DATA_QUALITY,
            *_FOREIGN,
        ):
            tag, text = leaf.tag, leaf.text or ""
            if tag == _VALUE:
                assert draft is not None
                draft.values.put(index, FLOAT.read(text))
            elif tag == _RID:
                draft = drafts.get(text)
                if draft is None:
                    draft = drafts[text] = _Draft()
                elif len(draft.values) > index:
                    raise ValueError(f"interval {index} has two payloads for the rID '{text}'")
            elif tag == _DATA_QUALITY:
                assert draft is not None
                draft.quality.put(index, _QUALITY.read(text))
            elif tag == _INSTANT:
                starts_at.put(index, read_instant(text))
            elif tag == _DURATION:
                text = text.strip()
                if text:  # the element of this name around the one that has the text
                    if text not in lengths:
                        lengths[text] = read_duration(text)
                    durations.put(index, lengths[text])
            elif tag == _INTERVAL:
                index += 1
                draft = None
            elif tag == _UID:
                uids.put(index, text)
            elif tag == _STATUS:
                assert draft is not None
                draft.values.put(index, read(ResourceStatus, leaf))
            elif tag == _CONFIDENCE:
                assert draft is not None
                draft.confidence.put(index, PERCENT.read(text))
            elif tag == _ACCURACY:
                assert draft is not None
                draft.accuracy.put(index, FLOAT.read(text))
            else:
                raise ValueError("an interval of a report carries oadrReportPayload only")
        return Intervals(
            count=count,
            starts_at=starts_at.whole(count),
            durations=durations.whole(count),
            uids=uids.whole(count),
            columns=tuple(
                Column(
                    r_id=r_id,
                    values=draft.values.whole(count),
                    quality=draft.quality.whole(count),
                    confidence=draft.confidence.whole(count),
                    accuracy=draft.accuracy.whole(count),
                )
                for r_id, draft in sorted(drafts.items())
            ),
        )

    def write(self, intervals: Intervals, parts: list[str]) -> None:
        try:
            self._write(intervals, parts)
        except (ValueError, TypeError, IndexError) as error:
            raise Unbuildable(f"intervals: {error}.") from error

    def _write(self, intervals: Intervals, parts: list[str]) -> None:
        if intervals.count < 1:
            raise ValueError("there must be at least one")
        if list(intervals.columns) != sorted(intervals.columns, key=lambda column: column.r_id):
            raise ValueError("the columns do not stand in the order of their rID")
        columns = [(_head(column), column) for column in intervals.columns]
        parts.append("<strm:intervals>")
        for index in range(intervals.count):
            parts.append("<ei:interval>")
            if (at_ := _get(intervals.starts_at, index)) is not None:
                parts.append(
                    f"<xcal:dtstart><xcal:date-time>{write_instant(at_)}</xcal:date-time></xcal:dtstart>"
                )
            if (length := _get(intervals.durations, index)) is not None:
                parts.append(
                    f"<xcal:duration><xcal:duration>{write_duration(length)}</xcal:duration></xcal:duration>"
                )
            if (uid := _get(intervals.uids, index)) is not None:
                parts.append(f"<xcal:uid><xcal:text>{escape(uid)}</xcal:text></xcal:uid>")
            before = len(parts)
            for head, column in columns:
                _write_payload(head, column, index, parts)
            if len(parts) == before:
                raise ValueError(f"interval {index} has no payload")
            parts.append("</ei:interval>")
        parts.append("</strm:intervals>")


def _get(items: Sequence[T | None], index: int) -> T | None:
    return items[index] if items else None


def _head(column: Column) -> str:
    return f"<oadr:oadrReportPayload><ei:rID>{escape(column.r_id)}</ei:rID>"


def _write_payload(head: str, column: Column, index: int, parts: list[str]) -> None:
    value = column.values[index]
    if value is None:
        return
    parts.append(head)
    if (confidence := _get(column.confidence, index)) is not None:
        parts.append(f"<ei:confidence>{PERCENT.write(confidence)}</ei:confidence>")
    if (accuracy := _get(column.accuracy, index)) is not None:
        parts.append(f"<ei:accuracy>{FLOAT.write(accuracy)}</ei:accuracy>")
    if isinstance(value, ResourceStatus):
        parts.append("<oadr:oadrPayloadResourceStatus>")
        write(value, parts)
        parts.append("</oadr:oadrPayloadResourceStatus>")
    else:
        parts.append(
            f"<ei:payloadFloat><ei:value>{FLOAT.write(value)}</ei:value></ei:payloadFloat>"
        )
    if (quality := _get(column.quality, index)) is not None:
        parts.append(f"<oadr:oadrDataQuality>{_QUALITY.write(quality)}</oadr:oadrDataQuality>")
    parts.append("</oadr:oadrReportPayload>")


INTERVALS = _IntervalsCode()
