# SPDX-License-Identifier: Apache-2.0
"""The intervals of a report as columns: 225 rows are five lists, not a thousand objects.

starts_at   14:00:00  14:00:04  14:00:08 ...
column "P"      41.2      41.0     None  ...   None: the point has no payload in that interval
column "E"      7.1       7.2      7.2   ...
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, TypeVar

from lxml import etree

from doorway.values import value
from oadr.codec import (
    FLOAT,
    NAMESPACES,
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


@value
class LoadControl:
    """One aspect of a load's control state."""

    minimum: float | None = maybe("oadr:oadrMin")
    maximum: float | None = maybe("oadr:oadrMax")
    current: float = at("oadr:oadrCurrent")
    normal: float | None = maybe("oadr:oadrNormal")


@value
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


@value
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


@value
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


def _path(text: str) -> Callable[[Element], Any]:
    found: Callable[[Element], Any] = etree.XPath(
        text, namespaces=dict(NAMESPACES), smart_strings=False
    )
    return found


_STARTS = _path("*/xcal:dtstart/xcal:date-time/text()")
_LENGTHS = _path("*/xcal:duration/xcal:duration/text()")
_RIDS = _path("*/oadr:oadrReportPayload/ei:rID/text()")
_NUMBERS = _path("*/oadr:oadrReportPayload/ei:payloadFloat/ei:value/text()")
_QUALITIES = _path("*/oadr:oadrReportPayload/oadr:oadrDataQuality/text()")
_ELEMENTS = _path("count(.//*)")
_PLAIN_INSTANT = len("2026-11-20T14:00:00Z")
_MANY = 8
"""From so many intervals on `alike` is the quicker one."""


def alike(element: Element) -> Intervals | None:
    """The intervals of telemetry as nearly everybody sends it, by a few walks of libxml2's.

    That is: all intervals hold the same elements in the same order, with a start each, numbers of
    the same points, and nothing rare. None for all others: those are walked through leaf by leaf,
    which takes three times as long and would have found the same.
    """
    count = len(element)
    starts, numbers, r_ids = _STARTS(element), _NUMBERS(element), _RIDS(element)
    lengths, qualities = _LENGTHS(element), _QUALITIES(element)
    points = len(numbers) // count if count else 0
    rows = count * points
    if not (
        points
        and len(starts) == count
        and len(numbers) == len(r_ids) == rows
        and len(lengths) in (0, count)
        and len(qualities) in (0, rows)
        # an interval, its start (2), a duration (2); a payload, its rID, its number (2), a quality
        and _ELEMENTS(element) == 3 * count + 2 * len(lengths) + 4 * rows + len(qualities)
        # each interval has a payload by the schema, so as many as intervals are one each
        and (points == 1 or len({len(interval) for interval in element}) == 1)
    ):
        return None
    names = r_ids[:points]
    if r_ids != names * count or len(set(names)) != points:
        return None
    try:
        return Intervals(
            count=count,
            starts_at=_instants(starts),
            durations=_every(lengths, lambda text: read_duration(text.strip())),
            columns=tuple(
                Column(
                    r_id=name,
                    values=_finite(numbers[place::points]),
                    quality=_every(qualities[place::points], _QUALITY.read),
                )
                for name, place in sorted(zip(names, range(points), strict=True))
            ),
        )
    except ValueError:
        return None  # walking through it will say what is wrong, and where


def _instants(texts: Sequence[str]) -> tuple[datetime, ...]:
    whole = "".join(texts)
    width, count = _PLAIN_INSTANT, len(texts)
    if len(whole) != width * count or whole[width - 1 :: width] != "Z" * count:
        return tuple(map(read_instant, texts))
    return tuple(map(datetime.fromisoformat, texts))


def _finite(texts: Sequence[str]) -> tuple[float, ...]:
    values = tuple(map(float, texts))
    if not all(map(isfinite, values)):
        raise ValueError("a number is not finite")
    return values


def _every(texts: Sequence[str], read_one: Callable[[str], T]) -> tuple[T, ...]:
    """All of them, each text read once."""
    if not texts:
        return ()
    known = {text: read_one(text) for text in set(texts)}
    if len(known) == 1:
        return (*known.values(),) * len(texts)
    return tuple([known[text] for text in texts])


class _IntervalsCode(Own):
    """strm:intervals of a report <-> Intervals; written by hand because telemetry is bulk.

    Reading walks the leaves only, in document order: the schema has already said that each rID
    stands before the value, the quality and the rest of its payload.
    """

    tags = (clark("strm:intervals"),)

    def read(self, element: Element) -> Intervals:
        found = alike(element) if len(element) >= _MANY else None
        return found or self.walk(element)

    def walk(self, element: Element) -> Intervals:  # noqa: C901, PLR0912 - flat: reports may be long
        """Any intervals, leaf by leaf."""
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
