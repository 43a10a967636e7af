# SPDX-License-Identifier: Apache-2.0
"""The desk: what was measured, and what an event came to."""

from datetime import datetime

from vtn.desk.checks import known_point, no_event
from vtn.desk.room import Room
from vtn.desk.sums import granularity_s, summed
from vtn.errors import Unknown
from vtn.records import CurtailmentInputs, EventRecord, Point, ReportDay, RolledSeries, Series
from vtn.services.office import known_ven
from vtn.services.report import CURTAILMENT
from vtn.store import events, measurements, reports, rollups


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
        now = self._office.now()
        async with self._office.store.read() as connection:
            if record is None:
                record = await events.record(connection, event_id, now)
            if record is None:
                raise no_event(event_id)
            if ven_id not in record.deliveries:
                raise Unknown(f"The event '{event_id}' is not for the VEN '{ven_id}'.")
            event = record.event
            span = (event.starts_at.timestamp(), min(event.ends_at or now, now).timestamp())
            points = await measurements.points(connection, ven_id)
            wanted = set(event.target.resource_ids)
            measured = [
                await measurements.read(connection, point, *span)
                for point in points
                if point.report_name == "TELEMETRY_USAGE"
                and point.unit in ("W", "J/s")
                and (not wanted or not point.resource_ids or wanted & set(point.resource_ids))
            ]
            claims = {
                kind: [
                    await measurements.read(connection, point, *span)
                    for point in points
                    if point.report_name == CURTAILMENT and point.report_type == kind
                ]
                for kind in ("baseline", "deviation")
            }
            requests = await reports.requests(connection, ven_id)
        return CurtailmentInputs(
            record=record,
            ven_id=ven_id,
            measured=summed(ven_id, measured),
            baseline=summed(ven_id, claims["baseline"]),
            deviation=summed(ven_id, claims["deviation"]),
            granularity_s=granularity_s(requests, "TELEMETRY_USAGE"),
            claim_granularity_s=granularity_s(requests, CURTAILMENT),
        )
