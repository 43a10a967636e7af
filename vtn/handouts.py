# SPDX-License-Identifier: Apache-2.0
"""Which events went out from a shelf, until it is written down: many at once, a moment later.

A mark only saves a resend. A process that is killed before it is written tells the VEN the same
modification once more, which a VEN has to bear anyway: the answer that carried it may be lost.
So nobody waits for it. It is written before anything else reads or changes what was delivered to
the VEN, in the same transaction, or with the VEN's answer.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from doorway import get_logger
from vtn.errors import VtnError
from vtn.eventbook import Booking
from vtn.store import Store, shelves

log = get_logger()

FLUSH_S: Final = 0.1


class HandOuts:
    """Of one process, the only one of its database."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, Booking]] = {}
        self._bell = asyncio.Event()

    def note(self, ven_id: str, marks: Mapping[str, Booking]) -> None:
        """These events, by eventID, were handed out as each booking says."""
        self._waiting.setdefault(ven_id, {}).update(marks)
        self._bell.set()

    def take(self, ven_id: str, event_ids: Collection[str]) -> dict[str, Booking]:
        """What is not written down yet of these events: whoever takes it writes it."""
        waiting = self._waiting.get(ven_id)
        if waiting is None:
            return {}
        taken = {one: waiting.pop(one) for one in event_ids if one in waiting}
        if not waiting:
            del self._waiting[ven_id]
        return taken

    async def settle(self, connection: AsyncConnection, ven_id: str) -> None:
        """Write down now what went out to a VEN; in a block of the store's."""
        marks = self._waiting.pop(ven_id, None)
        if marks:
            await shelves.handed(connection, [(ven_id, one) for one in marks.values()])

    async def flush(self, store: Store) -> None:
        """Write down all of it; what cannot be written is lost, and the log says so."""
        if not self._waiting:
            return
        try:
            async with store.write() as connection:
                waiting, self._waiting = self._waiting, {}  # nothing is between two blocks
                await shelves.handed(
                    connection,
                    [(ven_id, one) for ven_id, marks in waiting.items() for one in marks.values()],
                )
        except VtnError as error:
            log.warning("hand-outs are not written down: they are made again", reason=str(error))

    async def run(self, store: Store) -> None:
        """Write down what goes out, until cancelled; the rest then."""
        try:
            while True:
                await self._bell.wait()
                self._bell.clear()
                await asyncio.sleep(FLUSH_S)
                try:
                    await self.flush(store)
                except Exception:
                    log.exception("hand-outs are not written down: they are made again")
        finally:
            await self.flush(store)
