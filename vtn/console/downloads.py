# SPDX-License-Identifier: Apache-2.0
"""Values of a node as files, read and sent piece by piece, however many they are."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from litestar.response import Stream

from vtn import export
from vtn.console.spans import Span
from vtn.desk import Desk
from vtn.records import Point
from vtn.views import Measurements

_PIECE: Final = timedelta(hours=6)
"""5,400 readings of one point."""
_PIECE_OF_QUARTERS: Final = timedelta(days=60)
_BYTES: Final = 1 << 20


def csv_of(desk: Desk, points: Sequence[Point], span: Span, *, rolled: bool, name: str) -> Stream:
    """One point after the other; every value, or quarter hours where `rolled`."""
    return _stream(_lines(desk, points, span, rolled=rolled), "text/csv; charset=utf-8", name)


def parquet_of(
    desk: Desk, points: Sequence[Point], span: Span, *, rolled: bool, name: str
) -> Stream:
    """The same as Parquet, which must be whole before it can be sent: it waits on disk."""
    file = _file(desk, points, span, rolled=rolled)
    return _stream(file, "application/vnd.apache.parquet", name)


def file_name(*parts: str) -> str:
    """As far as a file name may hold it."""
    return "".join(one if one.isalnum() or one in "-_" else "_" for one in "-".join(parts))[:120]


def stamp(span: Span) -> str:
    return f"{span.starts_at:%Y%m%dT%H%M}Z-{span.ends_at:%Y%m%dT%H%M}Z"


def _stream(pieces: AsyncIterator[str | bytes], media_type: str, name: str) -> Stream:
    return Stream(
        pieces,
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _lines(
    desk: Desk, points: Sequence[Point], span: Span, *, rolled: bool
) -> AsyncIterator[str]:
    yield export.head("15min" if rolled else "raw")
    for point, piece in _pieces(points, span, rolled=rolled):
        found = await _read(desk, point, piece, rolled=rolled)
        yield await asyncio.to_thread(_text, found)


def _text(part: Measurements) -> str:
    return "".join(export.csv_lines(part))


async def _file(
    desk: Desk, points: Sequence[Point], span: Span, *, rolled: bool
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()

    def parts() -> Iterator[Measurements]:
        for point, piece in _pieces(points, span, rolled=rolled):
            read = _read(desk, point, piece, rolled=rolled)
            yield asyncio.run_coroutine_threadsafe(read, loop).result()

    with tempfile.TemporaryDirectory(prefix="vtn-export-") as folder:
        out = Path(folder) / "values.parquet"
        await asyncio.to_thread(export.write, parts(), out, format_="parquet")
        with out.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, _BYTES):
                yield piece


async def _read(desk: Desk, point: Point, span: Span, *, rolled: bool) -> Measurements:
    of = point.ven_id, point.r_id, span.starts_at, span.ends_at
    if rolled:
        return Measurements.rolled(await desk.rollups(*of, facet=point.facet))
    return Measurements.of(await desk.measurements(*of, facet=point.facet))


def _pieces(points: Sequence[Point], span: Span, *, rolled: bool) -> Iterator[tuple[Point, Span]]:
    length = _PIECE_OF_QUARTERS if rolled else _PIECE
    for point in points:
        begin = span.starts_at
        while begin < span.ends_at:
            end = min(begin + length, span.ends_at)
            yield point, Span(starts_at=begin, ends_at=end, name="")
            begin = end
