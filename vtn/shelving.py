# SPDX-License-Identifier: Apache-2.0
"""Fills shelves: what was put in for VENs is read for many at once, before they come to ask.

Only where this process is alone with its database, as it is on SQLite. Of several processes each
hears of the others' changes some milliseconds late, and one might hand out what another has already
replaced: there every poll for which something may wait asks the database (docs/decisions/0014).
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from doorway import get_logger
from vtn.directory import SOON, Entry
from vtn.errors import StoreUnavailable
from vtn.services.office import Office
from vtn.shelf import shelf
from vtn.store import shelves

log = get_logger()

GATHER_S: Final = 0.02
"""What is put in within this time is read together."""
AT_ONCE: Final = 200


class Shelving:
    """Of one process; see `run`."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._woken: dict[str, None] = {}
        self._bell = asyncio.Event()

    async def run(self) -> None:
        """For ever; who finds no shelf asks the database."""
        office = self._office
        if office.store.database != "sqlite":
            return
        office.directory.on_woken = self.woken
        self.woken(one.ven.ven_id for one in office.directory.entries() if one.due_at == SOON)
        while True:
            await self._bell.wait()
            await asyncio.sleep(GATHER_S)
            self._bell.clear()
            try:
                await self.fill()
            except StoreUnavailable as error:
                log.info("shelves stay empty", reason=str(error))
            except Exception:
                log.exception("shelves stay empty")

    def woken(self, ven_ids: Iterable[str]) -> None:
        """Something was put in for these VENs."""
        self._woken.update(dict.fromkeys(ven_ids))
        self._bell.set()

    async def fill(self) -> None:
        """Fill the shelf of each VEN that was woken since. Raises StoreUnavailable."""
        while self._woken:
            part = [self._woken.popitem()[0] for _ in range(min(AT_ONCE, len(self._woken)))]
            await self._read(part)

    async def _read(self, ven_ids: Iterable[str]) -> None:
        office = self._office
        found = (office.directory.by_id(one) for one in ven_ids)
        entries = {one.ven.ven_id: one for one in found if one is not None and _may_have(one)}
        if not entries:
            return
        stirs = {ven_id: one.stirs for ven_id, one in entries.items()}
        await office.handouts.flush(office.store)  # or what went out would be read as if it had not
        now = office.now()
        async with office.store.read() as connection:
            alone = await shelves.only_events(connection, entries)
            booked = await shelves.bookings(connection, alone, now)
        for ven_id, bookings in booked.items():
            entry = entries[ven_id]
            if entry.stirs == stirs[ven_id]:
                entry.shelf = shelf(bookings, now, office.letters)


def _may_have(entry: Entry) -> bool:
    """Whether the VEN asks, and may have something waiting."""
    ven = entry.ven
    return ven.registered and ven.push_address is None and entry.due_at == SOON
