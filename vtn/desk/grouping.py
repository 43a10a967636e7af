# SPDX-License-Identifier: Apache-2.0
"""The desk: groups and market contexts are edited, by one operator at a time."""

import hashlib
from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.desk.checks import known_group, label
from vtn.desk.room import Room
from vtn.errors import Stale, Unknown
from vtn.records import Group, GroupSize, MarketContext
from vtn.services.office import known_ven
from vtn.store import groups


def seen_of(what: Group | MarketContext) -> str:
    """A word for just this content: whoever edits says it, and is refused where it has changed."""
    return hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:16]


class GroupingDesk(Room):
    """Edits that overwrite nobody's."""

    async def group_sizes(self) -> list[GroupSize]:
        """Every group by groupID, with how many are in it."""
        async with self._office.store.read() as connection:
            return await groups.sizes(connection)

    async def group(self, group_id: str) -> Group:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            return await known_group(connection, group_id)

    async def edit_group(
        self, group_id: str, *, name: str, ven_ids: Sequence[str], seen: str, by: str
    ) -> Group:
        """Another name and other members; events published already stay with whom they were for.

        `seen` is `seen_of` the group as it was looked at. Raises Unknown for the group or a VEN,
        Stale where somebody else was first.
        """
        name = label("name", name)
        async with self._office.change() as (connection, news):
            await groups.lock(connection, group_id)
            group = await known_group(connection, group_id)
            _refuse_stale(group, seen, f"the group '{group_id}'")
            wanted, had = set(ven_ids), set(group.ven_ids)
            for ven_id in sorted(wanted - had):
                await known_ven(connection, ven_id)
            await groups.rename(connection, group_id, name)
            await groups.join(connection, group_id, sorted(wanted - had))
            if had - wanted:
                await groups.leave(connection, group_id, sorted(had - wanted))
            changes = [f"+{one}" for one in sorted(wanted - had)]
            changes += [f"-{one}" for one in sorted(had - wanted)]
            await self._note(
                connection,
                by,
                "edit group",
                f"group:{group_id}",
                detail=" ".join([name, *changes]),
            )
            found = await known_group(connection, group_id)
            news.changed(*(wanted ^ had))
        return found

    async def market_context(self, uri: str) -> MarketContext:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            return await _known_context(connection, uri)

    async def edit_market_context(
        self, uri: str, *, name: str, seen: str, by: str
    ) -> MarketContext:
        """Another name. Raises Unknown, and Stale where somebody else was first."""
        name = label("name", name)
        async with self._office.store.write() as connection:
            context = await _known_context(connection, uri, lock=True)
            _refuse_stale(context, seen, f"the market context '{uri}'")
            await groups.rename_market_context(connection, uri, name)
            await self._note(connection, by, "edit market context", f"context:{uri}", detail=name)
        return MarketContext(uri=uri, name=name)


def _refuse_stale(what: Group | MarketContext, seen: str, named: str) -> None:
    if seen_of(what) != seen:
        raise Stale(f"Somebody else has changed {named}; this is how it is now.")


async def _known_context(
    connection: AsyncConnection, uri: str, *, lock: bool = False
) -> MarketContext:
    found = await groups.market_context(connection, uri, lock=lock)
    if found is None:
        raise Unknown(f"There is no market context '{uri}'; see `vtn contexts list`.")
    return found
