# SPDX-License-Identifier: Apache-2.0
"""The desk: groups of VENs, and market contexts."""

import re
from collections.abc import Sequence

from vtn import eventbook
from vtn.desk.checks import identifier, join, known_group, label
from vtn.desk.room import Room
from vtn.errors import Conflict, Invalid, Unknown
from vtn.records import Group, MarketContext
from vtn.store import groups


class GroupDesk(Room):
    """Whom events can be for, and what they belong to."""

    async def groups(self, *, after: str = "", limit: int | None = None) -> list[Group]:
        """By groupID: all, or so many `after` one."""
        async with self._office.store.read() as connection:
            return await groups.every(connection, after=after, limit=limit)

    async def add_group(
        self, group_id: str, name: str, *, ven_ids: Sequence[str] = (), by: str
    ) -> Group:
        """Raises Conflict where the groupID is taken, Unknown for a VEN."""
        async with self._office.change() as (connection, news):
            if await groups.find(connection, group_id) is not None:
                raise Conflict(f"There is a group '{group_id}' already; choose another groupID.")
            await groups.add(connection, identifier("groupID", group_id), label("name", name))
            await join(connection, group_id, ven_ids)
            await self._note(connection, by, "add group", f"group:{group_id}", detail=name)
            group = await known_group(connection, group_id)
            news.changed(*ven_ids)
        return group

    async def add_to_group(self, group_id: str, ven_ids: Sequence[str], *, by: str) -> Group:
        """Raises Unknown for the group or a VEN."""
        async with self._office.change() as (connection, news):
            await known_group(connection, group_id)
            await join(connection, group_id, ven_ids)
            await self._note(
                connection, by, "add to group", f"group:{group_id}", detail=", ".join(ven_ids)
            )
            group = await known_group(connection, group_id)
            news.changed(*ven_ids)
        return group

    async def remove_from_group(self, group_id: str, ven_ids: Sequence[str], *, by: str) -> Group:
        """Events already published to the group stay with these VENs. Raises Unknown."""
        async with self._office.change() as (connection, news):
            group = await known_group(connection, group_id)
            strangers = set(ven_ids) - set(group.ven_ids)
            if strangers:
                raise Unknown(f"The VEN '{min(strangers)}' is not in the group '{group_id}'.")
            await groups.leave(connection, group_id, ven_ids)
            await self._note(
                connection, by, "remove from group", f"group:{group_id}", detail=", ".join(ven_ids)
            )
            group = await known_group(connection, group_id)
            news.changed(*ven_ids)
        return group

    async def market_contexts(
        self, *, after: str = "", limit: int | None = None
    ) -> list[MarketContext]:
        """By URI: all, or so many `after` one."""
        async with self._office.store.read() as connection:
            return await groups.market_contexts(connection, after=after, limit=limit)

    async def add_market_context(self, uri: str, name: str, *, by: str) -> MarketContext:
        """An event's market context must be one of these. Raises Conflict, Invalid."""
        normal = eventbook.normal_context(uri)
        if not normal or re.search(r"\s", normal):
            raise Invalid("A market context is a URI, such as http://utility.example/programme.")
        context = MarketContext(uri=identifier("market context", normal), name=label("name", name))
        async with self._office.store.write() as connection:
            if await groups.market_context(connection, context.uri) is not None:
                raise Conflict(f"There is a market context '{context.uri}' already.")
            await groups.add_market_context(connection, context)
            await self._note(
                connection, by, "add market context", f"context:{context.uri}", detail=name
            )
        return context
