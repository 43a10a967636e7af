# SPDX-License-Identifier: Apache-2.0
"""The desk: what VENs opted in and out of."""

from vtn.desk.room import Room
from vtn.records import OptRecord
from vtn.services.office import known_ven
from vtn.store import opts


class OptDesk(Room):
    """Opts."""

    async def opts(self, ven_id: str, *, ended: bool = False) -> list[OptRecord]:
        """Opts in force, newest first; with `ended` also those that no longer are."""
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            return await opts.of_ven(connection, ven_id, ended=ended)
