# SPDX-License-Identifier: Apache-2.0
"""Rollups of measurement blocks, what is due for one, and what may be deleted.

Triggers (migration 0003) enter every block that is made or changed into rollups_due. A block that
is due is read and reckoned with outside any lock; `put` then writes the rollup only if the block is
still the same, and strikes it off in that transaction. A block is deleted only where its rollup is
there and nothing is due (`expire`), so whoever crashes when, nothing is forgotten.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.blocks import BLOCK_S, unpack
from vtn.records import Point, ReportDay, RequestState, RolledSeries
from vtn.rollups import Rollup, rolled
from vtn.store.documents import insert_into
from vtn.store.tables import (
    AuditRow,
    BlockRow,
    EventRow,
    EventTargetRow,
    MessageRow,
    OptRow,
    ReportDayRow,
    RequestRow,
    RollupDueRow,
    RollupRow,
    SeriesRow,
    VenRow,
)

Key = tuple[int, int]
"""Number of the series, start of the block (seconds since 1970)."""
Span = tuple[float, float]
"""From, until before; seconds since 1970."""

_ENDED = (
    RequestState.CANCELLED.value,
    RequestState.REFUSED.value,
    RequestState.COMPLETED.value,
)


# --- rolling up ----------------------------------------------------------------------------------


async def due(
    connection: AsyncConnection, *, until: float, after: Key | None, limit: int
) -> list[tuple[Key, bytes]]:
    """Blocks that end by `until` and are due, the oldest first, those after `after` only."""
    query = (
        select(RollupDueRow.series, RollupDueRow.starts_at, BlockRow.samples)
        .join(BlockRow, _same(RollupDueRow, BlockRow))
        .where(RollupDueRow.starts_at <= int(until) - BLOCK_S)
        .order_by(RollupDueRow.starts_at, RollupDueRow.series)
        .limit(limit)
    )
    if after is not None:
        series, starts_at = after
        here = (RollupDueRow.starts_at, RollupDueRow.series)
        query = query.where(tuple_(*here) > tuple_(literal(starts_at), literal(series)))
    rows = await connection.execute(query)
    return [((series, starts_at), samples) for series, starts_at, samples in rows]


async def put(connection: AsyncConnection, found: Mapping[Key, tuple[bytes, Rollup]]) -> int:
    """Store the rollups of blocks that still are what they were reckoned from; how many were.

    The others stay due. A rollup of more values than the new one stays as it is: its samples were
    deleted in the meantime, and what comes now is a late rest of them.
    """
    now = await connection.execute(
        select(BlockRow.series, BlockRow.starts_at, BlockRow.samples)
        .where(tuple_(BlockRow.series, BlockRow.starts_at).in_(list(found)))
        .with_for_update(skip_locked=True)
    )
    same = [
        ((series, starts_at), found[series, starts_at][1])
        for series, starts_at, samples in now
        if found[series, starts_at][0] == samples
    ]
    if not same:
        return 0
    new = insert_into(connection, RollupRow)
    columns = {
        name: getattr(new.excluded, name)
        for name in RollupRow.__table__.columns.keys()  # noqa: SIM118 - a collection, no dict
        if name not in ("series", "starts_at")
    }
    total = RollupRow.usable + RollupRow.unusable
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["series", "starts_at"],
            set_=columns,
            where=new.excluded.usable + new.excluded.unusable >= total,
        ),
        [_row(key, rollup) for key, rollup in same],
    )
    await connection.execute(
        delete(RollupDueRow).where(
            RollupDueRow.series == bindparam("of_series"),
            RollupDueRow.starts_at == bindparam("at"),
        ),
        [{"of_series": series, "at": starts_at} for (series, starts_at), _ in same],
    )
    return len(same)


async def read(
    connection: AsyncConnection, point: Point, starts_at: float, ends_at: float
) -> list[tuple[int, Rollup]]:
    """The rollups that begin in [starts_at, ends_at), ascending."""
    rows = await connection.execute(
        select(RollupRow.__table__)
        .join(SeriesRow, SeriesRow.number == RollupRow.series)
        .where(_of(point), RollupRow.starts_at >= starts_at, RollupRow.starts_at < ends_at)
        .order_by(RollupRow.starts_at)
    )
    return [
        (
            row["starts_at"],
            Rollup(
                usable=row["usable"],
                unusable=row["unusable"],
                covered_s=row["covered_s"],
                first=row["first_value"],
                last=row["last_value"],
                mean=row["mean"],
                minimum=row["minimum"],
                maximum=row["maximum"],
                quality=row["quality"],
            ),
        )
        for row in rows.mappings()
    ]


async def stale(
    connection: AsyncConnection, point: Point, starts_at: float, ends_at: float
) -> list[tuple[int, bytes]]:
    """Blocks that begin in [starts_at, ends_at) whose rollup is due or was never made."""
    rows = await connection.execute(
        select(BlockRow.starts_at, BlockRow.samples)
        .join(SeriesRow, SeriesRow.number == BlockRow.series)
        .where(
            _of(point),
            BlockRow.starts_at >= starts_at,
            BlockRow.starts_at < ends_at,
            or_(_is_due(), ~_has_rollup()),
        )
        .order_by(BlockRow.starts_at)
    )
    return [(start, samples) for start, samples in rows]


async def read_all(
    connection: AsyncConnection, point: Point, starts_at: float, ends_at: float
) -> RolledSeries:
    """`read`, and what is not rolled up yet reckoned from its samples now."""
    found = dict(await read(connection, point, starts_at, ends_at))
    blocks = await stale(connection, point, starts_at, ends_at)
    for start, rollup in await asyncio.to_thread(_rolled, blocks):
        earlier = found.get(start)
        if earlier is None or rollup.total >= earlier.total:
            found[start] = rollup
    order = sorted(found)
    return RolledSeries(
        point=point, starts_at=tuple(order), rollups=tuple(found[start] for start in order)
    )


def _rolled(blocks: Iterable[tuple[int, bytes]]) -> list[tuple[int, Rollup]]:
    return [(start, rolled(unpack(samples))) for start, samples in blocks]


async def without_samples(
    connection: AsyncConnection, point: Point, starts_at: float, ends_at: float
) -> int:
    """How many quarter hours of [starts_at, ends_at) have a rollup and no samples any more."""
    query = (
        select(func.count())
        .select_from(RollupRow)
        .join(SeriesRow, SeriesRow.number == RollupRow.series)
        .where(
            _of(point),
            RollupRow.starts_at > int(starts_at) - BLOCK_S,
            RollupRow.starts_at < ends_at,
            ~exists().where(_same(BlockRow, RollupRow)),
        )
    )
    return await connection.scalar(query) or 0


# --- deleting ------------------------------------------------------------------------------------


async def series(connection: AsyncConnection) -> list[tuple[int, str]]:
    """Every series and its VEN, those of one VEN together."""
    rows = await connection.execute(
        select(SeriesRow.number, SeriesRow.ven_id).order_by(SeriesRow.ven_id, SeriesRow.number)
    )
    return [(number, ven_id) for number, ven_id in rows]


async def event_spans(
    connection: AsyncConnection, ven_id: str, *, since: datetime | None, margin: timedelta
) -> list[Span]:
    """The events of a VEN that were not over at `since` (None: all), `margin` wider both ways."""
    query = (
        select(EventRow.starts_at, EventRow.over_at)
        .join(EventTargetRow, EventTargetRow.event_id == EventRow.event_id)
        .where(EventTargetRow.ven_id == ven_id)
    )
    if since is not None:
        query = query.where(or_(EventRow.over_at.is_(None), EventRow.over_at >= since))
    rows = await connection.execute(query)
    return [
        (
            (starts_at - margin).timestamp(),
            (over_at + margin).timestamp() if over_at else float("inf"),
        )
        for starts_at, over_at in rows
    ]


async def old_blocks(
    connection: AsyncConnection, number: int, *, before: float, after: int | None, limit: int
) -> list[tuple[int, bool]]:
    """Blocks of a series that begin before `before`, and whether each may go: it is rolled up."""
    query = (
        select(BlockRow.starts_at, and_(_has_rollup(), ~_is_due()))
        .where(BlockRow.series == number, BlockRow.starts_at < before)
        .order_by(BlockRow.starts_at)
        .limit(limit)
    )
    if after is not None:
        query = query.where(BlockRow.starts_at > after)
    return [(start, bool(may_go)) for start, may_go in await connection.execute(query)]


async def enter(connection: AsyncConnection, keys: Iterable[Key]) -> None:
    """Have these blocks rolled up (anew)."""
    rows = [{"series": number, "starts_at": start} for number, start in keys]
    statement = insert_into(connection, RollupDueRow).on_conflict_do_nothing()
    await connection.execute(statement, rows)


async def expire(connection: AsyncConnection, keys: Sequence[Key]) -> None:
    """Delete these blocks, but for those that are due for a rollup (again).

    They are locked first, in a statement of its own: on PostgreSQL only a later statement is sure
    to see what a transaction has entered that was under way.
    """
    keys = [
        (number, start)
        for number, start in await connection.execute(
            select(BlockRow.series, BlockRow.starts_at)
            .where(tuple_(BlockRow.series, BlockRow.starts_at).in_(keys))
            .with_for_update(skip_locked=True)
        )
    ]
    if not keys:
        return
    await connection.execute(
        delete(BlockRow).where(
            BlockRow.series == bindparam("of_series"),
            BlockRow.starts_at == bindparam("at"),
            _has_rollup(),
            ~_is_due(),
        ),
        [{"of_series": number, "at": start} for number, start in keys],
    )


async def old_rollups(
    connection: AsyncConnection, number: int, *, before: float, limit: int
) -> list[int]:
    """The oldest rollups of a series that begin before `before` and have no samples any more."""
    found = await connection.scalars(
        select(RollupRow.starts_at)
        .where(
            RollupRow.series == number,
            RollupRow.starts_at < before,
            ~exists().where(_same(BlockRow, RollupRow)),
        )
        .order_by(RollupRow.starts_at)
        .limit(limit)
    )
    return list(found)


async def expire_rollups(connection: AsyncConnection, number: int, starts: Sequence[int]) -> None:
    """Delete these rollups of a series."""
    await connection.execute(
        delete(RollupRow).where(RollupRow.series == number, RollupRow.starts_at.in_(starts))
    )


async def expire_audit(connection: AsyncConnection, *, before: datetime, limit: int) -> int:
    """Delete the oldest audit lines, those before `before` only; how many."""
    oldest = select(AuditRow.number, AuditRow.at).order_by(AuditRow.number).limit(limit)
    found = [number for number, at in await connection.execute(oldest) if at < before]
    if found:
        await connection.execute(delete(AuditRow).where(AuditRow.number.in_(found)))
    return len(found)


async def expire_rest(connection: AsyncConnection, *, ended_before: datetime) -> None:
    """Delete what waits for revoked VENs, and report requests and schedules that ended before."""
    revoked = select(VenRow.ven_id).where(VenRow.revoked_at.is_not(None))
    await connection.execute(delete(MessageRow).where(MessageRow.ven_id.in_(revoked)))
    last = func.coalesce(RequestRow.last_update_at, RequestRow.asked_at)
    await connection.execute(
        delete(RequestRow).where(RequestRow.state.in_(_ENDED), last < ended_before)
    )
    await connection.execute(  # what an event was answered with stays
        delete(OptRow).where(OptRow.event_id.is_(None), OptRow.ended_at < ended_before)
    )


# --- how much came each day ----------------------------------------------------------------------


async def count_day(
    connection: AsyncConnection, counts: Mapping[tuple[str, date], tuple[int, int]]
) -> None:
    """Add messages and samples to what each VEN reported on each day."""
    new = insert_into(connection, ReportDayRow)
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["ven_id", "day"],
            set_={
                "messages": ReportDayRow.messages + new.excluded.messages,
                "samples": ReportDayRow.samples + new.excluded.samples,
            },
        ),
        [
            {"ven_id": ven_id, "day": day, "messages": messages, "samples": samples}
            for (ven_id, day), (messages, samples) in counts.items()
        ],
    )


async def days(connection: AsyncConnection, ven_id: str, *, limit: int) -> list[ReportDay]:
    """What a VEN reported each day, the latest first; days without a report are missing."""
    rows = await connection.execute(
        select(ReportDayRow.day, ReportDayRow.messages, ReportDayRow.samples)
        .where(ReportDayRow.ven_id == ven_id)
        .order_by(ReportDayRow.day.desc())
        .limit(limit)
    )
    return [ReportDay(day=day, messages=messages, samples=count) for day, messages, count in rows]


async def expire_days(connection: AsyncConnection, *, before: date) -> None:
    """Delete the counts of the days before."""
    await connection.execute(delete(ReportDayRow).where(ReportDayRow.day < before))


# --- parts ---------------------------------------------------------------------------------------


def _same(
    one: type[BlockRow | RollupRow | RollupDueRow], other: type[BlockRow | RollupRow | RollupDueRow]
) -> ColumnElement[bool]:
    return and_(one.series == other.series, one.starts_at == other.starts_at)


def _has_rollup() -> ColumnElement[bool]:
    return exists().where(_same(RollupRow, BlockRow))


def _is_due() -> ColumnElement[bool]:
    return exists().where(_same(RollupDueRow, BlockRow))


def _of(point: Point) -> ColumnElement[bool]:
    return and_(
        SeriesRow.ven_id == point.ven_id,
        SeriesRow.r_id == point.r_id,
        SeriesRow.facet == point.facet,
    )


def _row(key: Key, rollup: Rollup) -> dict[str, object]:
    number, starts_at = key
    return {
        "series": number,
        "starts_at": starts_at,
        "usable": rollup.usable,
        "unusable": rollup.unusable,
        "covered_s": rollup.covered_s,
        "first_value": rollup.first,
        "last_value": rollup.last,
        "mean": rollup.mean,
        "minimum": rollup.minimum,
        "maximum": rollup.maximum,
        "quality": rollup.quality,
    }
