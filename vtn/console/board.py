# SPDX-License-Identifier: Apache-2.0
"""What many people look at at once, worked out once for all of them.

Whoever asks within a second gets what is there; what took long to work out is not worked out again
for several times as long, so that looking on never holds up the VENs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from oadr.event import Event
from oadr.vocabulary import EventStatus
from vtn import curtailment
from vtn.desk import Desk
from vtn.desk.standing import Standing
from vtn.desk.watch import FINE_NODES, Census
from vtn.ladder import Climber
from vtn.power import PowerOverTime, together
from vtn.records import CurtailmentInputs, Headline
from vtn.views import EventCurtailment, VenCurtailment

T = TypeVar("T")

FRESH_S: Final = 1.0
SHARE: Final = 5.0
"""What took a second to work out is kept for so many."""
_MOST: Final = 64
HOURS: Final = timedelta(hours=3)
"""How far the page Now looks back."""
SOON_S: Final = 0.15
"""So long the page Now waits for what very many VENs say; what comes later is shown later."""
PATIENCE_S: Final = 0.8
"""So long the page of one event does."""
BEHIND_S: Final = 0.05
"""What was begun so long before somebody asked may lack what has just been done."""
_AT_A_TIME: Final = 50
"""Of so many VENs at once what was verified is reckoned, so that others get their turn."""
_MOST_STANDINGS: Final = 8
_COMING: Final = (EventStatus.NEAR, EventStatus.FAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An event in the header of every page."""

    event_id: str
    name: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one event goes."""

    climbers: tuple[Climber, ...]
    """Those that need attention first."""
    is_whole: bool
    """As of now; else it is being read, and will be in a few seconds."""
    counted: tuple[Climber, ...]
    """Those that did not opt out."""
    ordered_w: float | None
    delivered_w: float | None
    """Of those counted."""

    @classmethod
    def of(cls, climbers: tuple[Climber, ...], *, is_whole: bool = True) -> "Course":
        counted = tuple(one for one in climbers if one.opt != "out")
        return cls(
            climbers=climbers,
            is_whole=is_whole,
            counted=counted,
            ordered_w=_sum(one.heard.ordered_w for one in counted),
            delivered_w=_sum(one.heard.delivered_w for one in counted),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The page Now."""

    census: Census
    active: tuple[Headline, ...]
    coming: tuple[Headline, ...]
    """The next first."""
    power: PowerOverTime
    ordered_w: float | None
    delivered_w: float | None
    asked: int
    """VENs that running events count on, once for each event."""
    delivering: int
    courses: dict[str, Course]
    """Of each active event."""

    @property
    def is_whole(self) -> bool:
        """Else figures are missing that will be there in a few seconds."""
        return all(one.is_whole for one in self.courses.values())


def name_of(event: Event) -> str:
    """What the operator called it, else its ID."""
    return event.vtn_comment or event.event_id


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
        self._began: dict[Hashable, float] = {}
        """When each of those kept was begun."""
        self._standings: dict[str, Standing] = {}
        """Of events of many VENs; the one looked at last is the last."""
        self._anew: dict[str, Standing] = {}
        """To take the place of those that are old."""

    async def close(self) -> None:
        """Nobody looks any more: what is being worked out is given up, and has ended."""
        standings = [*self._standings.values(), *self._anew.values()]
        tasks = [task for _, task in self._kept.values()]
        tasks += [one.filling for one in standings if one.filling is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def moment(self) -> float:
        """What `is_behind` is to be told of when somebody asks."""
        return self._monotonic()

    def is_behind(self, asked: float, *keys: Hashable) -> bool:
        """Whether one of these, as it is kept, was begun well before somebody `asked`.

        Then it may lack what they were told of, and nobody will tell them again: they are to look
        once more.
        """
        return any(self._began.get(key, asked) < asked - BEHIND_S for key in keys)

    async def running(self) -> tuple[Running, ...]:
        """Events that are active now."""

        async def find() -> tuple[Running, ...]:
            found = await self._desk.headlines(status=EventStatus.ACTIVE, limit=20)
            return tuple(
                Running(
                    event_id=one.event.event_id, name=name_of(one.event), ends_at=one.event.ends_at
                )
                for one in found
            )

        return await self._once("running", find)

    async def now(self) -> Now:
        found = await self._once("now", self._look)
        if not found.is_whole:
            self._forget("now")  # who asks again gets more
        return found

    async def course(self, of: Headline, *, within_s: float = PATIENCE_S) -> Course:
        """How far each VEN has come. Raises Unknown.

        Of many VENs what is known after so long a time: it may be nothing, or a little old.
        """
        event_id = of.event.event_id
        if of.targeted <= FINE_NODES:
            climbers = await self._once(("ladder", event_id), lambda: self._climbers(event_id))
            return Course.of(climbers)
        standing, is_new = await self._standing(event_id, within_s)
        return Course.of(standing.climbers, is_whole=is_new)

    async def power(self, event_id: str) -> PowerOverTime:
        """Baseline, measured and ordered power around an event. Raises Unknown."""
        of = await self._once(("headline", event_id), lambda: self._desk.headline(event_id))
        if of.targeted <= FINE_NODES:

            async def find() -> PowerOverTime:
                return await self._desk.event_power(await self._desk.event(event_id))

            return await self._once(("power", event_id), find)
        standing, _ = await self._standing(event_id, PATIENCE_S)
        return standing.power(*self._desk.power_span(of.event))

    async def verified(self, event_id: str) -> EventCurtailment:
        """What each VEN delivered, recomputed from its stored readings. Raises Unknown."""

        async def find() -> EventCurtailment:
            record = await self._desk.event(event_id)
            found: list[VenCurtailment] = []
            for few in _parts(record.ven_ids):
                inputs = await self._desk.several_curtailment_inputs(record, few)
                found += await asyncio.to_thread(self._reckoned, inputs)
            return EventCurtailment.of(record, tuple(found))

        return await self._once(("verified", event_id), find)

    async def _look(self) -> Now:
        now = self._now()
        since = now - HOURS
        found = await self._desk.going_on(since=since)
        active = [one for one in found if one.event.status is EventStatus.ACTIVE]
        drawn = [one for one in found if one.event.starts_at <= now]
        # The steps of all events lie on the same minutes.
        first = since.replace(second=0, microsecond=0)
        courses = await asyncio.gather(*(self.course(one, within_s=SOON_S) for one in active))
        counted = [one for course in courses for one in course.counted]
        return Now(
            census=self._desk.census(),
            active=tuple(active),
            coming=tuple(
                sorted(
                    (one for one in found if one.event.status in _COMING),
                    key=lambda one: one.event.starts_at,
                )
            ),
            power=together(
                await asyncio.gather(*(self._minutes(one, first, now) for one in drawn))
            ),
            ordered_w=_sum(course.ordered_w for course in courses),
            delivered_w=_sum(course.delivered_w for course in courses),
            asked=len(counted) if counted else sum(one.targeted - one.opted_out for one in active),
            delivering=sum((one.fraction or 0.0) >= 0.5 for one in counted),
            courses={
                one.event.event_id: course for one, course in zip(active, courses, strict=True)
            },
        )

    def _reckoned(self, several: Sequence[CurtailmentInputs]) -> list[VenCurtailment]:
        found = []
        for one in several:
            answer = one.record.answers.get(one.ven_id)
            opt = answer.opt_type if answer else ""
            found.append(
                VenCurtailment.of(one.ven_id, opt, curtailment.verified(one, now=self._now()))
            )
        return found

    async def _climbers(self, event_id: str) -> tuple[Climber, ...]:
        return tuple(await self._desk.ladder(await self._desk.event(event_id)))

    async def _minutes(self, of: Headline, first: datetime, now: datetime) -> PowerOverTime:
        event_id = of.event.event_id
        if of.targeted <= FINE_NODES:
            record = await self._desk.event(event_id)
            return await self._desk.power_of(record, first, now, step_s=60.0)
        standing, _ = await self._standing(event_id, SOON_S)
        return standing.power(first.timestamp(), now.timestamp())

    async def _standing(self, event_id: str, within_s: float) -> tuple[Standing, bool]:
        """Of an event, and whether it is as of now."""
        standing = self._standings.pop(event_id, None) or self._desk.standing(event_id)
        anew = self._anew.get(event_id)
        if anew is not None and anew.is_whole:
            standing.close()
            standing = self._anew.pop(event_id)
        self._standings[event_id] = standing
        while len(self._standings) > _MOST_STANDINGS:
            oldest = next(iter(self._standings))
            self._standings.pop(oldest).close()
        if standing.is_old:
            anew = self._anew.setdefault(event_id, self._desk.standing(event_id))
            self._begin(("anew", event_id), anew.refresh)
        looked = self._begin(("standing", event_id), standing.refresh, share=1.0)
        await asyncio.wait([looked], timeout=within_s)
        if looked.done():
            looked.result()
        return standing, looked.done() and standing.record is not None

    async def _once(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """What `find` found less than a second ago, or finds now; one at a time for each key."""
        found: T = await asyncio.shield(self._begin(key, find))
        return found

    def _begin(
        self, key: Hashable, find: Callable[[], Awaitable[T]], *, share: float = SHARE
    ) -> "asyncio.Task[T]":
        kept = self._kept.get(key)
        if kept is None or (kept[1].done() and self._monotonic() >= kept[0]):
            began = self._monotonic()
            task: asyncio.Task[T] = asyncio.ensure_future(_awaited(find))
            self._forget(key)
            self._kept[key] = began + FRESH_S, task
            self._began[key] = began
            task.add_done_callback(lambda done: self._keep(key, done, began, share))
            while len(self._kept) > _MOST:
                self._forget(next(iter(self._kept)))
        return self._kept[key][1]

    def _keep(self, key: Hashable, done: "asyncio.Task[Any]", began: float, share: float) -> None:
        ended = self._monotonic()
        if done.cancelled() or done.exception() is not None:  # who waited was told; ask again
            self._forget(key)
        elif key in self._kept:
            self._kept[key] = ended + max(FRESH_S - (ended - began), share * (ended - began)), done

    def _forget(self, key: Hashable) -> None:
        self._kept.pop(key, None)
        self._began.pop(key, None)


async def _awaited(find: Callable[[], Awaitable[T]]) -> T:
    return await find()


def _parts(ven_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    for at in range(0, len(ven_ids), _AT_A_TIME):
        yield ven_ids[at : at + _AT_A_TIME]


def _sum(parts: Iterable[float | None]) -> float | None:
    there = [part for part in parts if part is not None]
    return sum(there) if there else None
