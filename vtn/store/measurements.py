# SPDX-License-Identifier: Apache-2.0
"""Measurements: one idempotent row per series and 15 minutes (vtn.blocks)."""

import asyncio
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.blocks import BLOCK_S, Block, merge, pack, split, unpack
from vtn.records import Point, Samples, Series
from vtn.store.documents import decode, encode, insert_into
from vtn.store.hot import Hot, upsert
from vtn.store.tables import BlockRow, SeriesRow

NARROW_UNITS = frozenset({"W", "J/s", "VA", "VAR", "V", "A", "Hz"})
"""Values in these are kept as 32-bit floats; all others (counters above all) as 64-bit."""
_FEW_BLOCKS = 32
"""More than these (eight hours) are unpacked in a thread: a year takes seconds."""
_VENS_AT_A_TIME = 500
"""In one statement: databases take only so many values."""
_FLAGS = frozenset({"online", "manualOverride"})

_BLOCKS = Hot(
    select(BlockRow.series, BlockRow.starts_at, BlockRow.samples).where(
        tuple_(BlockRow.series, BlockRow.starts_at).in_(bindparam("keys", expanding=True))
    )
)
_SERIES_COLUMNS = (
    SeriesRow.number,
    SeriesRow.ven_id,
    SeriesRow.r_id,
    SeriesRow.facet,
    SeriesRow.report_name,
    SeriesRow.report_type,
    SeriesRow.unit,
    SeriesRow.resource_ids,
)
_SERIES = Hot(
    select(*_SERIES_COLUMNS)
    .where(
        tuple_(SeriesRow.ven_id, SeriesRow.r_id, SeriesRow.facet).in_(
            bindparam("keys", expanding=True)
        )
    )
    .order_by(SeriesRow.number)
    .with_for_update()
)
_PUT_BLOCK = upsert(BlockRow, keys=("series", "starts_at"), values=("samples",))


async def store(connection: AsyncConnection, samples: Iterable[Samples]) -> int:
    """Merge values into their blocks: the same instant again replaces (rule 346).

    Locks the series it touches until the transaction ends, so two updates at once lose nothing.
    Returns how many values were given.
    """
    given = [one for one in samples if one.starts_at]
    if not given:
        return 0
    numbers = await _numbers(connection, [one.point for one in given])
    fresh: dict[tuple[int, int], Block] = {}
    wide: dict[int, bool] = {}
    for one in given:
        number = numbers[_key(one.point)]
        wide[number] = one.point.unit not in NARROW_UNITS and one.point.facet not in _FLAGS
        for start, block in split(one.starts_at, one.values, one.quality).items():
            earlier = fresh.get((number, start))
            fresh[number, start] = block if earlier is None else merge(earlier, block)
    for number, start, packed in await _BLOCKS.rows(connection, keys=list(fresh)):
        fresh[number, start] = merge(unpack(packed), fresh[number, start])
    await _PUT_BLOCK.each(
        connection,
        [
            {"series": number, "starts_at": start, "samples": pack(block, wide=wide[number])}
            for (number, start), block in fresh.items()
        ],
    )
    return sum(len(one.starts_at) for one in given)


async def points(
    connection: AsyncConnection,
    ven_id: str,
    *,
    after: tuple[str, str] | None = None,
    limit: int | None = None,
) -> list[Point]:
    """Every series of a VEN, by rID and facet; or so many `after` one."""
    query = (
        select(*_SERIES_COLUMNS[1:])
        .where(SeriesRow.ven_id == ven_id)
        .order_by(SeriesRow.r_id, SeriesRow.facet)
    )
    if after is not None:
        query = query.where(tuple_(SeriesRow.r_id, SeriesRow.facet) > after)
    return [_point(row) for row in await connection.execute(query.limit(limit))]


async def find(connection: AsyncConnection, ven_id: str, r_id: str, facet: str) -> Point | None:
    rows = await connection.execute(
        select(*_SERIES_COLUMNS[1:]).where(
            SeriesRow.ven_id == ven_id, SeriesRow.r_id == r_id, SeriesRow.facet == facet
        )
    )
    row = rows.first()
    return None if row is None else _point(row)


async def read(
    connection: AsyncConnection, point: Point, starts_at: float, ends_at: float
) -> Series:
    """Values of a point in [starts_at, ends_at), seconds since 1970."""
    found = await connection.execute(
        select(BlockRow.starts_at, BlockRow.samples)
        .join(SeriesRow, SeriesRow.number == BlockRow.series)
        .where(
            SeriesRow.ven_id == point.ven_id,
            SeriesRow.r_id == point.r_id,
            SeriesRow.facet == point.facet,
            BlockRow.starts_at > int(starts_at) - BLOCK_S,
            BlockRow.starts_at < ends_at,
        )
        .order_by(BlockRow.starts_at)
    )
    rows = [(start, packed) for start, packed in found]
    if len(rows) <= _FEW_BLOCKS:
        return _unpacked(point, rows, starts_at, ends_at)
    return await asyncio.to_thread(_unpacked, point, rows, starts_at, ends_at)


async def read_several(
    connection: AsyncConnection,
    ven_ids: Sequence[str],
    report_names: Collection[str],
    starts_at: float,
    ends_at: float,
) -> list[Series]:
    """Values in [starts_at, ends_at) of every point of these reports of these VENs."""
    found: dict[int, tuple[Point, list[tuple[int, bytes]]]] = {}
    for few in range(0, len(ven_ids), _VENS_AT_A_TIME):
        rows = await connection.execute(
            select(SeriesRow.number, BlockRow.starts_at, BlockRow.samples, *_SERIES_COLUMNS[1:])
            .join(BlockRow, SeriesRow.number == BlockRow.series)
            .where(
                SeriesRow.ven_id.in_(ven_ids[few : few + _VENS_AT_A_TIME]),
                SeriesRow.report_name.in_(report_names),
                BlockRow.starts_at > int(starts_at) - BLOCK_S,
                BlockRow.starts_at < ends_at,
            )
            .order_by(SeriesRow.number, BlockRow.starts_at)
        )
        for number, start, packed, *columns in rows:
            if number not in found:
                found[number] = _point(columns), []
            found[number][1].append((start, packed))

    def unpacked() -> list[Series]:
        return [_unpacked(point, rows, starts_at, ends_at) for point, rows in found.values()]

    return await asyncio.to_thread(unpacked)


async def blocks_of(
    connection: AsyncConnection,
    ven_ids: Sequence[str],
    report_name: str,
    starts_at: float,
    ends_at: float,
) -> list[tuple[int, str, str, tuple[str, ...], int, bytes]]:
    """Every block that begins in [starts_at, ends_at) of this report of these VENs, as it is kept.

    (number of the series, venID, report type, resources, start, vtn.blocks.pack)
    """
    rows = await connection.execute(
        select(
            SeriesRow.number,
            SeriesRow.ven_id,
            SeriesRow.report_type,
            SeriesRow.resource_ids,
            BlockRow.starts_at,
            BlockRow.samples,
        )
        .join(BlockRow, SeriesRow.number == BlockRow.series)
        .where(
            SeriesRow.ven_id.in_(ven_ids),
            SeriesRow.report_name == report_name,
            BlockRow.starts_at >= starts_at,
            BlockRow.starts_at < ends_at,
        )
    )
    return [
        (number, ven_id, kind, _resources(resources), start, packed)
        for number, ven_id, kind, resources, start, packed in rows
    ]


@lru_cache(maxsize=1024)
def _resources(text: str) -> tuple[str, ...]:
    return decode(text, tuple[str, ...])


def _unpacked(
    point: Point, rows: Iterable[tuple[int, bytes]], starts_at: float, ends_at: float
) -> Series:
    instants, values, quality = array("d"), array("d"), list[str]()
    for start, packed in rows:
        block = unpack(packed)
        for offset, value, word in zip(block.offsets, block.values, block.quality, strict=True):
            if starts_at <= start + offset < ends_at:
                instants.append(start + offset)
                values.append(value)
                quality.append(word)
    return Series(point=point, starts_at=instants, values=values, quality=tuple(quality))


_Key = tuple[str, str, str]


def _key(point: Point) -> _Key:
    return point.ven_id, point.r_id, point.facet


async def _numbers(connection: AsyncConnection, wanted: Iterable[Point]) -> Mapping[_Key, int]:
    """The number of each series, made if need be, locked in ascending order."""
    by_key = {_key(point): point for point in wanted}
    found: dict[_Key, tuple[int, Point]] = {}
    for _attempt in range(2):
        for number, *columns in await _SERIES.rows(connection, keys=list(by_key)):
            point = _point(columns)
            found[_key(point)] = number, point
        missing = [point for key, point in sorted(by_key.items()) if key not in found]
        if not missing:
            break
        statement = insert_into(connection, SeriesRow).on_conflict_do_nothing()
        await connection.execute(statement, [_row(point) for point in missing])
    for key, point in by_key.items():
        number, known = found[key]
        if known != point:  # the VEN describes the point anew
            await connection.execute(
                update(SeriesRow).where(SeriesRow.number == number).values(**_row(point))
            )
    return {key: number for key, (number, _) in found.items()}


def _row(point: Point) -> dict[str, str]:
    return {
        "ven_id": point.ven_id,
        "r_id": point.r_id,
        "facet": point.facet,
        "report_name": point.report_name,
        "report_type": point.report_type,
        "unit": point.unit,
        "resource_ids": encode(list(point.resource_ids)),
    }


def _point(row: Sequence[Any]) -> Point:
    ven_id, r_id, facet, report_name, report_type, unit, resource_ids = row
    return Point(
        ven_id=ven_id,
        r_id=r_id,
        facet=facet,
        report_name=report_name,
        report_type=report_type,
        unit=unit,
        resource_ids=decode(resource_ids, tuple[str, ...]),
    )
