# SPDX-License-Identifier: Apache-2.0
"""Opts: one row per resource (or for the whole VEN), so that precedence is kept per resource."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.opt import CreateOpt
from vtn.eventbook import normal_context
from vtn.records import OptRecord
from vtn.store.documents import decode, encode
from vtn.store.tables import OptRow


async def add(
    connection: AsyncConnection,
    ven_id: str,
    opt: CreateOpt,
    scopes: Collection[str],
    *,
    at: datetime,
) -> None:
    """Store an opt for each scope; it supersedes the earlier one of the same scope (203, 206).

    Schedules are of the same scope where resource, device class, market context and opt type are
    the same: optIn and optOut stand beside each other. Opts of an event supersede each other
    whatever their type.
    """
    device_class = ",".join(sorted(opt.device_class.end_device_assets)) if opt.device_class else ""
    context = normal_context(opt.market_context or "")
    event_id = opt.event.event_id if opt.event else None
    same = [
        OptRow.ven_id == ven_id,
        OptRow.device_class == device_class,
        OptRow.ended_at.is_(None),
        OptRow.event_id == event_id,
    ]
    if event_id is None:
        same += [OptRow.market_context == context, OptRow.opt_type == opt.opt_type.value]
    in_force = await connection.execute(select(OptRow.number, OptRow.scope).where(*same))
    earlier = [number for number, scope in in_force if scope in scopes]
    await connection.execute(
        update(OptRow)
        .where(OptRow.number.in_(earlier), OptRow.ended_at.is_(None))
        .values(ended_at=at, ended_by="superseded")
    )
    row = {
        "ven_id": ven_id,
        "opt_id": opt.opt_id,
        "opt_type": opt.opt_type.value,
        "device_class": device_class,
        "market_context": context,
        "event_id": event_id,
        "document": encode(opt),
        "received_at": at,
    }
    await connection.execute(insert(OptRow), [{**row, "scope": one} for one in scopes])


async def weight(connection: AsyncConnection, ven_id: str, event_id: str | None) -> int:
    """Characters that the opts of a VEN take which are in force for an event; None: schedules."""
    query = select(func.coalesce(func.sum(func.length(OptRow.document)), 0)).where(
        OptRow.ven_id == ven_id, OptRow.ended_at.is_(None), OptRow.event_id == event_id
    )
    return await connection.scalar(query) or 0


async def named(connection: AsyncConnection, ven_id: str, opt_id: str) -> list[OptRecord]:
    """All opts a VEN ever made under an optID."""
    return await _read(connection, OptRow.ven_id == ven_id, OptRow.opt_id == opt_id)


async def of_ven(connection: AsyncConnection, ven_id: str, *, ended: bool) -> list[OptRecord]:
    """Newest first; with `ended` also those not in force any more."""
    wanted = [OptRow.ven_id == ven_id]
    if not ended:
        wanted.append(OptRow.ended_at.is_(None))
    return await _read(connection, *wanted)


async def of_events(connection: AsyncConnection, event_ids: Collection[str]) -> list[OptRecord]:
    """Opts in force that qualify events, newest first."""
    return await _read(connection, OptRow.event_id.in_(list(event_ids)), OptRow.ended_at.is_(None))


async def schedules(connection: AsyncConnection) -> list[OptRecord]:
    """Every schedule in force, of all VENs, newest first."""
    return await _read(connection, OptRow.event_id.is_(None), OptRow.ended_at.is_(None))


async def cancel(connection: AsyncConnection, ven_id: str, opt_id: str, *, at: datetime) -> None:
    """End every schedule under the optID (rule 204)."""
    await connection.execute(
        update(OptRow)
        .where(
            OptRow.ven_id == ven_id,
            OptRow.opt_id == opt_id,
            OptRow.event_id.is_(None),
            OptRow.ended_at.is_(None),
        )
        .values(ended_at=at, ended_by="cancelled")
    )


async def end_all(connection: AsyncConnection, ven_id: str, *, at: datetime) -> None:
    """The registration has ended, and with it every schedule (rule 407)."""
    await connection.execute(
        update(OptRow)
        .where(OptRow.ven_id == ven_id, OptRow.ended_at.is_(None))
        .values(ended_at=at, ended_by="registration")
    )


async def _read(connection: AsyncConnection, *wanted: ColumnElement[bool]) -> list[OptRecord]:
    query = select(
        OptRow.ven_id,
        OptRow.document,
        OptRow.scope,
        OptRow.received_at,
        OptRow.ended_at,
        OptRow.ended_by,
    )
    for condition in wanted:
        query = query.where(condition)
    return [
        OptRecord(
            ven_id=ven_id,
            opt=decode(document, CreateOpt),
            scope=scope,
            received_at=received_at,
            ended_at=ended_at,
            ended_by=ended_by,
        )
        for ven_id, document, scope, received_at, ended_at, ended_by in await connection.execute(
            query.order_by(OptRow.number.desc())
        )
    ]
