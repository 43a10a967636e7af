# SPDX-License-Identifier: Apache-2.0
"""The desk: what was measured, and what an event came to."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from vtn.desk.checks import known_point, no_event
from vtn.desk.room import Room
from vtn.desk.sums import granularity_s, summed
from vtn.errors import Unknown
from vtn.records import CurtailmentInputs, EventRecord, Point, ReportDay, RolledSeries, Series
from vtn.services.office import known_ven
from vtn.services.report import CURTAILMENT
from vtn.store import events, measurements, reports, rollups

_USAGE: Final = "TELEMETRY_USAGE"


class ReadingDesk(Room):
    """What is stored of what VENs reported."""

    async def points(
        self,
        ven_id: str,
        *,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[Point]:
        """Every series that was ever stored of this VEN."""
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            return await measurements.points(connection, ven_id, after=after, limit=limit)

    async def point(self, ven_id: str, r_id: str, *, facet: str = "") -> Point:
        """Raises Unknown for VEN or point."""
        async with self._office.store.read() as connection:
            return await known_point(connection, ven_id, r_id, facet)

    async def measurements(
        self, ven_id: str, r_id: str, starts_at: datetime, ends_at: datetime, *, facet: str = ""
    ) -> Series:
        """Stored values of one point in [starts_at, ends_at). Raises Unknown for VEN or point."""
        async with self._office.store.read() as connection:
            point = await known_point(connection, ven_id, r_id, facet)
            return await measurements.read(
                connection, point, starts_at.timestamp(), ends_at.timestamp()
            )

    async def rollups(
        self, ven_id: str, r_id: str, starts_at: datetime, ends_at: datetime, *, facet: str = ""
    ) -> RolledSeries:
        """The quarter hours of one point that begin in [starts_at, ends_at). Raises Unknown."""
        async with self._office.store.read() as connection:
            point = await known_point(connection, ven_id, r_id, facet)
            span = starts_at.timestamp(), ends_at.timestamp()
            return await rollups.read_all(connection, point, *span)

    async def without_samples(
        self, ven_id: str, r_id: str, starts_at: datetime, ends_at: datetime, *, facet: str = ""
    ) -> int:
        """Of how many quarter hours in [starts_at, ends_at) only the rollup is left.

        Raises Unknown.
        """
        async with self._office.store.read() as connection:
            point = await known_point(connection, ven_id, r_id, facet)
            span = starts_at.timestamp(), ends_at.timestamp()
            return await rollups.without_samples(connection, point, *span)

    async def report_days(self, ven_id: str, *, limit: int = 31) -> list[ReportDay]:
        """How much a VEN reported each day (UTC), the latest first. Raises Unknown."""
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            return await rollups.days(connection, ven_id, limit=limit)

    async def curtailment_inputs(
        self, event_id: str, ven_id: str, *, record: EventRecord | None = None
    ) -> CurtailmentInputs:
        """What is stored about an event at one of its VENs, over its active period until now.

        With the `record` of the event, where it has been read already: it lists every VEN of it.
        """
        if record is None:
            async with self._office.store.read() as connection:
                record = await events.record(connection, event_id, self._office.now())
        if record is None:
            raise no_event(event_id)
        if ven_id not in record.deliveries:
            raise Unknown(f"The event '{event_id}' is not for the VEN '{ven_id}'.")
        (found,) = await self.several_curtailment_inputs(record, [ven_id])
        return found

    async def several_curtailment_inputs(
        self, record: EventRecord, ven_ids: Sequence[str]
    ) -> list[CurtailmentInputs]:
        """The same at several of its VENs, which is much quicker than one by one."""
        now, event = self._office.now(), record.event
        span = event.starts_at.timestamp(), min(event.ends_at or now, now).timestamp()
        async with self._office.store.read() as connection:
            stored = await measurements.read_several(
                connection, ven_ids, (_USAGE, CURTAILMENT), *span
            )
            asked = await reports.requests_of(connection, ven_ids)
        wanted = set(event.target.resource_ids)
        measured: dict[str, list[Series]] = defaultdict(list)
        claims: dict[tuple[str, str], list[Series]] = defaultdict(list)
        for one in stored:
            point = one.point
            if point.report_name == CURTAILMENT:
                claims[point.ven_id, point.report_type].append(one)
            elif point.unit in ("W", "J/s") and (
                not wanted or not point.resource_ids or wanted & set(point.resource_ids)
            ):
                measured[point.ven_id].append(one)
        return [
            CurtailmentInputs(
                record=record,
                ven_id=ven_id,
                measured=summed(ven_id, measured[ven_id]),
                baseline=summed(ven_id, claims[ven_id, "baseline"]),
                deviation=summed(ven_id, claims[ven_id, "deviation"]),
                granularity_s=granularity_s(asked[ven_id], _USAGE),
                claim_granularity_s=granularity_s(asked[ven_id], CURTAILMENT),
            )
            for ven_id in ven_ids
        ]
