# SPDX-License-Identifier: Apache-2.0
"""Groups of VENs, and the market contexts events are published in."""

from collections.abc import Iterable

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.records import Group, GroupSize, MarketContext
from vtn.store.documents import insert_into
from vtn.store.tables import GroupRow, MarketContextRow, MemberRow


async def add(connection: AsyncConnection, group_id: str, name: str) -> None:
    await connection.execute(insert(GroupRow).values(group_id=group_id, name=name))


async def every(
    connection: AsyncConnection, *, after: str = "", limit: int | None = None
) -> list[Group]:
    """Groups by groupID, each with its members by venID: all, or so many `after` one."""
    rows = select(GroupRow.group_id, GroupRow.name).order_by(GroupRow.group_id)
    members = select(MemberRow.group_id, MemberRow.ven_id).order_by(MemberRow.ven_id)
    if after:
        rows = rows.where(GroupRow.group_id > after)
    found = (await connection.execute(rows.limit(limit))).all()
    if after or limit is not None:
        members = members.where(MemberRow.group_id.in_([group_id for group_id, _ in found]))
    of: dict[str, list[str]] = {}
    for group_id, ven_id in await connection.execute(members):
        of.setdefault(group_id, []).append(ven_id)
    return [
        Group(group_id=group_id, name=name, ven_ids=tuple(of.get(group_id, ())))
        for group_id, name in found
    ]


async def sizes(connection: AsyncConnection) -> list[GroupSize]:
    """Every group by groupID, with how many are in it."""
    rows = await connection.execute(
        select(GroupRow.group_id, GroupRow.name, func.count(MemberRow.ven_id))
        .outerjoin(MemberRow, MemberRow.group_id == GroupRow.group_id)
        .group_by(GroupRow.group_id, GroupRow.name)
        .order_by(GroupRow.group_id)
    )
    return [
        GroupSize(group_id=group_id, name=name, members=members) for group_id, name, members in rows
    ]


async def find(connection: AsyncConnection, group_id: str) -> Group | None:
    query = select(GroupRow.name).where(GroupRow.group_id == group_id)
    name = await connection.scalar(query)
    if name is None:
        return None
    members = select(MemberRow.ven_id).where(MemberRow.group_id == group_id)
    ven_ids = await connection.scalars(members.order_by(MemberRow.ven_id))
    return Group(group_id=group_id, name=name, ven_ids=tuple(ven_ids))


async def join(connection: AsyncConnection, group_id: str, ven_ids: Iterable[str]) -> None:
    """Members already: nothing happens."""
    for ven_id in ven_ids:
        await connection.execute(
            insert_into(connection, MemberRow)
            .values(group_id=group_id, ven_id=ven_id)
            .on_conflict_do_nothing()
        )


async def leave(connection: AsyncConnection, group_id: str, ven_ids: Iterable[str]) -> None:
    await connection.execute(
        delete(MemberRow).where(MemberRow.group_id == group_id, MemberRow.ven_id.in_(list(ven_ids)))
    )


async def market_contexts(
    connection: AsyncConnection, *, after: str = "", limit: int | None = None
) -> list[MarketContext]:
    """By URI: all, or so many `after` one."""
    query = select(MarketContextRow.uri, MarketContextRow.name).order_by(MarketContextRow.uri)
    if after:
        query = query.where(MarketContextRow.uri > after)
    rows = await connection.execute(query.limit(limit))
    return [MarketContext(uri=uri, name=name) for uri, name in rows]


async def market_context(
    connection: AsyncConnection, uri: str, *, lock: bool = False
) -> MarketContext | None:
    query = select(MarketContextRow.name).where(MarketContextRow.uri == uri)
    name = await connection.scalar(query.with_for_update() if lock else query)
    return None if name is None else MarketContext(uri=uri, name=name)


async def add_market_context(connection: AsyncConnection, context: MarketContext) -> None:
    await connection.execute(insert(MarketContextRow).values(uri=context.uri, name=context.name))


async def lock(connection: AsyncConnection, group_id: str) -> None:
    """Nobody else changes the group until the transaction ends."""
    await connection.execute(
        select(GroupRow.group_id).where(GroupRow.group_id == group_id).with_for_update()
    )


async def rename(connection: AsyncConnection, group_id: str, name: str) -> None:
    await connection.execute(
        update(GroupRow).where(GroupRow.group_id == group_id).values(name=name)
    )


async def rename_market_context(connection: AsyncConnection, uri: str, name: str) -> None:
    await connection.execute(
        update(MarketContextRow).where(MarketContextRow.uri == uri).values(name=name)
    )
