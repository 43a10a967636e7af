# SPDX-License-Identifier: Apache-2.0
"""How much each VEN reported each day, counted in memory and written down every now and then.

Every accepted report in the audit would be a third of all writes and, within a year, most of the
audit. What came of each report request is in its tally, exactly; these counts are for looking back
at a VEN over the years, and a process that is killed loses those of its last half minute.
"""

from datetime import UTC, date, datetime

from vtn.store import Store, rollups


class Intake:
    """One per process."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, date], tuple[int, int]] = {}

    def count(self, ven_id: str, samples: int, at: datetime) -> None:
        """A report of so many samples was accepted from this VEN."""
        key = ven_id, at.astimezone(UTC).date()
        messages, before = self._counts.get(key, (0, 0))
        self._counts[key] = messages + 1, before + samples

    async def write(self, store: Store) -> None:
        """Write down what was counted since. Raises StoreUnavailable, and then counts on."""
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        try:
            async with store.write() as connection:
                await rollups.count_day(connection, counts)
        except BaseException:
            for key, (messages, samples) in counts.items():
                more, others = self._counts.get(key, (0, 0))
                self._counts[key] = messages + more, samples + others
            raise
