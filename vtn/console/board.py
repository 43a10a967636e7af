# SPDX-License-Identifier: Apache-2.0
"""What many people look at at once, worked out once for all of them.

Whoever asks within a second gets what is there; what took long to work out is not worked out again
for several times as long, so that looking on never holds up the VENs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from oadr.vocabulary import EventStatus
from vtn import curtailment
from vtn.desk import Desk
from vtn.desk.watch import Census
from vtn.ladder import Climber
from vtn.power import PowerOverTime, together
from vtn.records import EventRecord
from vtn.views import EventCurtailment, VenCurtailment

T = TypeVar("T")

FRESH_S: Final = 1.0
SHARE: Final = 5.0
"""What took a second to work out is kept for so many."""
_MOST: Final = 64
HOURS: Final = timedelta(hours=3)
"""How far the page Now looks back."""
_LIVE: Final = (EventStatus.ACTIVE, EventStatus.NEAR, EventStatus.FAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An event in the header of every page."""

    event_id: str
    name: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The page Now."""

    census: Census
    active: tuple[EventRecord, ...]
    coming: tuple[EventRecord, ...]
    """The next first."""
    power: PowerOverTime
    ordered_w: float | None
    delivered_w: float | None
    asked: int
    """VENs that running events count on, once for each event."""
    delivering: int
    climbers: dict[str, tuple[Climber, ...]]
    """Of each active event."""


def name_of(record: EventRecord) -> str:
    """What the operator called it, else its ID."""
    return record.event.vtn_comment or record.event.event_id


class Board:
    """Made once for each process."""

    def __init__(
        self,
        desk: Desk,
        now: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._now = now
        self._monotonic = monotonic
        self._kept: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def running(self) -> tuple[Running, ...]:
        """Events that are active now."""

        async def find() -> tuple[Running, ...]:
            found = await self._desk.events(status=EventStatus.ACTIVE, limit=20)
            return tuple(
                Running(event_id=one.event.event_id, name=name_of(one), ends_at=one.event.ends_at)
                for one in found
            )

        return await self._once("running", find)

    async def now(self) -> Now:
        return await self._once("now", self._look)

    async def event(self, event_id: str) -> EventRecord:
        """Raises Unknown."""
        return await self._once(("event", event_id), lambda: self._desk.event(event_id))

    async def power(self, event_id: str) -> PowerOverTime:
        """Raises Unknown."""

        async def find() -> PowerOverTime:
            return await self._desk.event_power(await self._desk.event(event_id))

        return await self._once(("power", event_id), find)

    async def ladder(self, event_id: str) -> list[Climber]:
        """Raises Unknown."""

        async def find() -> list[Climber]:
            return await self._desk.ladder(await self._desk.event(event_id))

        return await self._once(("ladder", event_id), find)

    async def verified(self, event_id: str) -> EventCurtailment:
        """What each VEN delivered, recomputed from its stored readings. Raises Unknown."""

        async def find() -> EventCurtailment:
            record = await self._desk.event(event_id)
            found = []
            for ven_id in record.ven_ids:
                inputs = await self._desk.curtailment_inputs(event_id, ven_id, record=record)
                answer = record.answers.get(ven_id)
                one = await asyncio.to_thread(curtailment.verified, inputs, now=self._now())
                found.append(VenCurtailment.of(ven_id, answer.opt_type if answer else "", one))
            return EventCurtailment.of(record, tuple(found))

        return await self._once(("verified", event_id), find)

    async def _look(self) -> Now:
        now = self._now()
        since = now - HOURS
        records = await self._desk.recent_events(since)
        active = [one for one in records if one.event.status is EventStatus.ACTIVE]
        drawn = [one for one in records if one.event.starts_at <= now]
        # The steps of all events lie on the same minutes.
        first = since.replace(second=0, microsecond=0)
        powers = [await self._desk.power_of(one, first, now, step_s=60.0) for one in drawn]
        climbers = {one.event.event_id: tuple(await self._desk.ladder(one)) for one in active}
        counted = [one for several in climbers.values() for one in several if one.opt != "out"]
        return Now(
            census=self._desk.census(),
            active=tuple(active),
            coming=tuple(
                sorted(
                    (
                        one
                        for one in records
                        if one.event.status in _LIVE and one.event.status is not EventStatus.ACTIVE
                    ),
                    key=lambda one: one.event.starts_at,
                )
            ),
            power=together(powers),
            ordered_w=_sum([one.heard.ordered_w for one in counted]),
            delivered_w=_sum([one.heard.delivered_w for one in counted]),
            asked=len(counted),
            delivering=sum((one.fraction or 0.0) >= 0.5 for one in counted),
            climbers=climbers,
        )

    async def _once(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """What `find` found less than a second ago, or finds now; one at a time for each key."""
        kept = self._kept.get(key)
        if kept is None or (kept[1].done() and self._monotonic() >= kept[0]):
            began = self._monotonic()
            task: asyncio.Task[T] = asyncio.ensure_future(_awaited(find))
            self._kept.pop(key, None)
            self._kept[key] = began + FRESH_S, task
            task.add_done_callback(lambda done: self._keep(key, done, began))
            while len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
        found: T = await asyncio.shield(self._kept[key][1])
        return found

    def _keep(self, key: Hashable, done: "asyncio.Task[Any]", began: float) -> None:
        ended = self._monotonic()
        if done.cancelled() or done.exception() is not None:  # who waited was told; ask again
            self._kept.pop(key, None)
        elif key in self._kept:
            self._kept[key] = ended + max(FRESH_S - (ended - began), SHARE * (ended - began)), done


async def _awaited(find: Callable[[], Awaitable[T]]) -> T:
    return await find()


def _sum(parts: list[float | None]) -> float | None:
    there = [part for part in parts if part is not None]
    return sum(there) if there else None
