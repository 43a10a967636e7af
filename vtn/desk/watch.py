# SPDX-License-Identifier: Apache-2.0
"""The desk: how events run, over all their VENs at once."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from oadr.event import Event
from oadr.vocabulary import EventStatus, OptType
from vtn import curtailment, ladder, power
from vtn.desk.checks import no_event
from vtn.desk.room import NodeState, Room
from vtn.desk.standing import AFTER, BEFORE, Standing
from vtn.desk.sums import summed
from vtn.ladder import Climber
from vtn.power import NodeSeries, PowerOverTime
from vtn.records import EventRecord, Headline, Series
from vtn.services.report import CURTAILMENT, EFFECT
from vtn.store import events, headlines, measurements, opts

USAGE: Final = "TELEMETRY_USAGE"
STATUS: Final = "TELEMETRY_STATUS"
FINE_NODES: Final = 40
"""Events of more nodes are drawn from what the nodes report each minute, not from readings."""
FINE_SPAN: Final = timedelta(hours=2)
NEWEST: Final = timedelta(minutes=5)
"""What a node said longer ago is not how it is now."""
_WATTS = ("W", "J/s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """VENs that are let in and not revoked, by how lately each was heard of."""

    online: int
    late: int
    """Missed a poll, and may still come."""
    silent: int
    """Missed three, or a push."""
    expected: int
    """Never registered yet."""
    silent_ids: tuple[str, ...]
    """The first of them, ascending."""

    @property
    def registered(self) -> int:
        return self.online + self.late + self.silent


class WatchDesk(Room):
    """What the console shows while events run."""

    def census(self, *, most: int = 10) -> Census:
        """Without asking the database."""
        now = self._office.now()
        counts = dict.fromkeys(NodeState, 0)
        silent: list[str] = []
        for entry in self._office.directory.entries():
            state = self.state(entry, now)
            counts[state] += 1
            if state is NodeState.SILENT:
                silent.append(entry.ven.ven_id)
        return Census(
            online=counts[NodeState.ONLINE],
            late=counts[NodeState.LATE],
            silent=len(silent),
            expected=counts[NodeState.EXPECTED],
            silent_ids=tuple(sorted(silent)[:most]),
        )

    async def headlines(
        self, *, status: EventStatus | None = None, skip: int = 0, limit: int
    ) -> list[Headline]:
        """Events in a list, the one that starts last first."""
        async with self._office.store.read() as connection:
            return await headlines.page(
                connection, self._office.now(), status=status, skip=skip, limit=limit
            )

    async def headline(self, event_id: str) -> Headline:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            found = await headlines.find(connection, event_id, self._office.now())
        if found is None:
            raise no_event(event_id)
        return found

    async def going_on(self, *, since: datetime | None = None) -> list[Headline]:
        """Events that are not cancelled, and not over at `since` (now); the last to start first."""
        async with self._office.store.read() as connection:
            return await headlines.going_on(connection, self._office.now(), since=since)

    async def count_asked(self, event_ids: Sequence[str]) -> int:
        """How many VENs these events are for, each VEN once."""
        async with self._office.store.read() as connection:
            return await headlines.count_asked(connection, event_ids)

    async def events_between(self, starts_at: datetime, ends_at: datetime) -> list[Headline]:
        """Events that start in [starts_at, ends_at)."""
        async with self._office.store.read() as connection:
            return await headlines.starting(connection, self._office.now(), starts_at, ends_at)

    async def outline(self, event_id: str) -> EventRecord:
        """An event with its history, and without its VENs. Raises Unknown."""
        async with self._office.store.read() as connection:
            found = await events.outline(connection, event_id, self._office.now())
        if found is None:
            raise no_event(event_id)
        return found

    def standing(self, event_id: str) -> Standing:
        """How an event stands at very many VENs; it is empty until it was refreshed."""
        return Standing(self._office, event_id, self.is_online)

    async def event_opts(self, event_id: str) -> dict[str, str]:
        """VEN -> the reason it gave for its opt to this event."""
        async with self._office.store.read() as connection:
            found = await opts.of_events(connection, [event_id])
        return {one.ven_id: one.opt.opt_reason for one in reversed(found)}

    async def power_of(
        self, record: EventRecord, starts_at: datetime, ends_at: datetime, *, step_s: float
    ) -> PowerOverTime:
        """Baseline, measured and ordered power of an event's VENs that did not opt out."""
        ven_ids = asked(record)
        fine = len(ven_ids) <= FINE_NODES and step_s < power.CLAIM_S
        names = (USAGE, CURTAILMENT) if fine else (CURTAILMENT,)
        first, last = starts_at.timestamp(), ends_at.timestamp()
        async with self._office.store.read() as connection:
            found = await measurements.read_several(
                connection, ven_ids, names, first - power.CLAIM_S, last
            )
        return await asyncio.to_thread(_power, record, found, (first, last), step_s, fine=fine)

    async def event_power(self, record: EventRecord) -> PowerOverTime:
        """From a quarter of an hour before the event until now or a little after it."""
        first, last = self.power_span(record.event)
        fine = len(record.ven_ids) <= FINE_NODES and last - first <= FINE_SPAN.total_seconds()
        starts_at, ends_at = (datetime.fromtimestamp(at, UTC) for at in (first, last))
        return await self.power_of(record, starts_at, ends_at, step_s=4.0 if fine else 60.0)

    def power_span(self, event: Event) -> tuple[float, float]:
        """Of what time the power is of interest, by now; epoch seconds."""
        now = self._office.now()
        starts_at = event.starts_at - BEFORE
        ends_at = min(now, event.ends_at + AFTER) if event.ends_at else now
        if ends_at <= starts_at:
            starts_at, ends_at = now - BEFORE, now
        return starts_at.timestamp(), ends_at.timestamp()

    async def ladder(self, record: EventRecord) -> list[Climber]:
        """Every VEN of an event, those that need attention first."""
        now, event = self._office.now(), record.event
        ven_ids = [one for one, given in record.deliveries.items() if not given.withdrawn]
        heard: dict[str, list[Series]] = defaultdict(list)
        few = len(ven_ids) <= FINE_NODES
        until = min(now, event.ends_at) if event.ends_at else now
        if now >= event.starts_at - BEFORE:
            since = min(event.starts_at - timedelta(minutes=3), now - BEFORE)
            names = (CURTAILMENT, STATUS, USAGE) if few else (CURTAILMENT,)
            async with self._office.store.read() as connection:
                for one in await measurements.read_several(
                    connection, ven_ids, names, since.timestamp(), until.timestamp()
                ):
                    heard[one.point.ven_id].append(one)
        return await asyncio.to_thread(self._climb, record, ven_ids, heard, now)

    def _climb(
        self,
        record: EventRecord,
        ven_ids: Sequence[str],
        heard: Mapping[str, Sequence[Series]],
        now: datetime,
    ) -> list[Climber]:
        event = record.event
        found = []
        for ven_id in ven_ids:
            entry = self._office.directory.by_id(ven_id)
            if entry is None:
                continue
            parts = _parts(ven_id, heard.get(ven_id, ()), record)
            until = min(now, event.ends_at - timedelta(seconds=1)) if event.ends_at else now
            level = parts.baseline.values[-1] if parts.baseline and parts.baseline.values else None
            ordered = curtailment.ordered_at(event, max(until, event.starts_at), level)
            found.append(
                ladder.climber(
                    record,
                    ven_id,
                    name=entry.ven.name,
                    online=self.is_online(entry, now),
                    contact_at=entry.last_contact_at,
                    heard=ladder.heard_of(
                        event.starts_at,
                        baseline=parts.baseline,
                        deviation=parts.deviation,
                        effect=parts.effect,
                        statuses=[
                            one for one in heard.get(ven_id, ()) if one.point.report_name == STATUS
                        ],
                        ordered_w=ordered,
                        spark=_spark(parts.measured, now),
                    ),
                    now=now,
                )
            )
        return sorted(found, key=lambda one: (one.rank, one.fraction or 0.0, one.ven_id))


def asked(record: EventRecord) -> list[str]:
    """Whom the event counts on: targeted, and not opted out."""
    return [
        ven_id
        for ven_id in record.ven_ids
        if (answer := record.answers.get(ven_id)) is None or answer.opt_type is not OptType.OPT_OUT
    ]


@dataclass(frozen=True, slots=True)
class _Parts:
    measured: Series | None
    baseline: Series | None
    deviation: Series | None
    effect: Series | None


def _parts(ven_id: str, several: Sequence[Series], record: EventRecord) -> _Parts:
    """The sums of what a VEN's points of each kind say."""
    wanted = set(record.event.target.resource_ids)

    def chosen(report_name: str, kind: str | None) -> Series | None:
        found = [
            one
            for one in several
            if one.point.report_name == report_name
            and (kind is None or one.point.report_type == kind)
            and one.point.unit in _WATTS
            and (not wanted or not one.point.resource_ids or wanted & set(one.point.resource_ids))
        ]
        return summed(ven_id, found) if found else None

    effects = [one for one in several if one.point.report_type == EFFECT]
    return _Parts(
        chosen(USAGE, None),
        chosen(CURTAILMENT, "baseline"),
        chosen(CURTAILMENT, "deviation"),
        effects[0] if effects else None,
    )


def _power(
    record: EventRecord,
    found: Sequence[Series],
    span: tuple[float, float],
    step_s: float,
    *,
    fine: bool,
) -> PowerOverTime:
    by_ven: dict[str, list[Series]] = defaultdict(list)
    for one in found:
        by_ven[one.point.ven_id].append(one)
    nodes = []
    for ven_id, several in by_ven.items():
        parts = _parts(ven_id, several, record)
        nodes.append(
            NodeSeries(
                measured=parts.measured if fine else None,
                baseline=parts.baseline,
                deviation=parts.deviation,
            )
        )
    event = record.event
    ordered = curtailment.order_of(event)
    begin = event.starts_at.timestamp()
    end = event.ends_at.timestamp() if event.ends_at else math.inf

    def order(at: float, level: float | None) -> float | None:
        return ordered(at - begin, level) if begin <= at < end else None

    return power.over_time(nodes, order, first=span[0], last=span[1], step_s=step_s)


def _spark(measured: Series | None, now: datetime) -> tuple[float | None, ...]:
    """The last 15 minutes, a mean a minute."""
    if measured is None:
        return ()
    first = (now - BEFORE).timestamp()
    return tuple(
        power.over_time(
            [NodeSeries(measured=measured)],
            lambda _at, _level: None,
            first=first,
            last=now.timestamp(),
            step_s=60.0,
        ).measured_w
    )
