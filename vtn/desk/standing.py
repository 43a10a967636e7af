# SPDX-License-Identifier: Apache-2.0
"""How an event stands at very many VENs, kept up to date by who was heard of since.

    look ──▶ who was heard of? ──▶ their deliveries, answers and newest blocks ──▶ ladder, sums
                                                 older quarter hours, a few VENs at a time ──▶ sums

What a VEN has said changes only when it is heard of, so a look reads the database for these alone;
the first reads all of them, and older quarter hours are filled in afterwards, the newest first.
"""

import asyncio
import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from doorway import get_logger
from oadr.event import Event
from oadr.vocabulary import EventStatus, OptType
from vtn import curtailment, ladder
from vtn.blocks import BLOCK_S, unpack
from vtn.desk.checks import no_event
from vtn.directory import Entry
from vtn.errors import StoreUnavailable
from vtn.ladder import Climber, Heard
from vtn.power import CLAIM_S, Minute, MinuteSums, PowerOverTime, minutes_of, usable
from vtn.records import EventRecord
from vtn.services.office import Office
from vtn.services.report import CURTAILMENT
from vtn.store import events, measurements

log = get_logger()

BEFORE: Final = timedelta(minutes=15)
"""So long before an event its power is of interest."""
AFTER: Final = timedelta(minutes=5)
SETTLED: Final = timedelta(seconds=0.5)
"""Who was heard of so lately is read again at the next look: what it said may not be stored yet."""
LONGEST: Final = timedelta(minutes=14)
"""What was not followed for so long, by us or by a VEN, is not whole any more."""
_AT_A_TIME: Final = 500
_PAUSE_S: Final = 0.05
"""Between parts of older quarter hours, so that VENs are not held up."""
_LINE: Final = {"baseline": 0, "deviation": 1, "x-effect": 2}

Block = tuple[str, bytes]
"""Report type, vtn.blocks.pack."""
Rows = Sequence[tuple[int, str, str, tuple[str, ...], int, bytes]]


@dataclass(slots=True)
class _Node:
    """What is known of one VEN."""

    contact_at: datetime | None = None
    counts: bool = True
    """It is in the sums: it did not opt out."""
    blocks: dict[int, dict[int, Block]] = field(default_factory=dict)
    """Start -> series -> block: those that are still written to."""
    newest: list[tuple[float, float] | None] = field(default_factory=lambda: [None, None, None])
    """(epoch seconds, value) of each line in the event."""
    claims_since: float | None = None
    climber: Climber | None = None


class Standing:
    """Of one event, in one process; `refresh` it, then look at what it says."""

    def __init__(
        self, office: Office, event_id: str, is_online: Callable[[Entry, datetime], bool]
    ) -> None:
        self._office = office
        self._event_id = event_id
        self._is_online = is_online
        self._nodes: dict[str, _Node] = {}
        self._sums = MinuteSums()
        self._turn = asyncio.Lock()
        self.filling: asyncio.Task[None] | None = None
        """Adds up what is older, meanwhile; until it has ended `is_whole` is False."""
        self._looked_at: datetime | None = None
        self._phase: object = None
        self.is_old = False
        """Something that was added up has changed: make another one of it."""
        self.is_whole = False
        """Every quarter hour that was there is in the sums."""
        self.record: EventRecord | None = None
        """With every VEN; None until the first look has ended."""
        self.climbers: tuple[Climber, ...] = ()
        """Those that need attention first."""

    def power(self, first: float, last: float) -> PowerOverTime:
        """The minutes of [first, last), epoch seconds, over the VENs that did not opt out."""
        return self._sums.over_time(first, last)

    async def refresh(self) -> None:
        """Look for what has changed. Raises Unknown, StoreUnavailable."""
        async with self._turn:
            await self._look()
        now = self._office.now()
        if self.filling is None and self.record and now >= self.record.event.starts_at:
            self.filling = asyncio.create_task(self._fill(self.record, now))
            self.filling.add_done_callback(self._filled)

    def close(self) -> None:
        """Nobody looks any more."""
        if self.filling is not None:
            self.filling.cancel()

    # --- looking ---------------------------------------------------------------------------------

    async def _look(self) -> None:
        now, office = self._office.now(), self._office
        if self._looked_at is not None and now - self._looked_at > LONGEST:
            self.is_old = True  # quarter hours have passed unseen
        async with office.store.read() as connection:
            fresh = await events.outline(connection, self._event_id, now)
            if fresh is None:
                raise no_event(self._event_id)
            number, before = fresh.event.modification_number, self.record
            if before is None or before.event.modification_number != number:
                found = await events.record(connection, self._event_id, now)
                assert found is not None
                record = self._aim(found)
            else:
                record = dataclasses.replace(before, event=fresh.event)
        changed = self._heard_of(record)
        try:
            for few in _parts(changed):
                async with office.store.read() as connection:
                    deliveries, answers = await events.progress(connection, self._event_id, few)
                    rows = await self._newest_blocks(connection, record, few, now)
                record = dataclasses.replace(
                    record,
                    deliveries={**record.deliveries, **deliveries},
                    answers={**record.answers, **answers},
                )
                self._count(record, few)
                await asyncio.to_thread(self._take, record, rows)
        except StoreUnavailable:
            for ven_id in changed:
                self._nodes[ven_id].contact_at = None
            raise
        self.climbers = await asyncio.to_thread(self._climb, record, set(changed), now)
        self.record = record
        self._looked_at = now

    def _aim(self, record: EventRecord) -> EventRecord:
        """Whom the event is for may be others than before; what was reckoned with stays."""
        asked = set(record.ven_ids)
        for ven_id in self._nodes.keys() - asked:
            self.is_old |= bool(self._nodes.pop(ven_id).blocks)
        for ven_id in record.ven_ids:
            self._nodes.setdefault(ven_id, _Node())
        self._count(record, record.ven_ids)
        return record

    def _count(self, record: EventRecord, ven_ids: Iterable[str]) -> None:
        """Who opted out counts no more; if something of it was added up, all is to be anew."""
        for ven_id in ven_ids:
            node, answer = self._nodes[ven_id], record.answers.get(ven_id)
            counts = answer is None or answer.opt_type is not OptType.OPT_OUT
            if counts != node.counts and node.blocks:
                self.is_old = True
            else:
                node.counts = counts

    def _heard_of(self, record: EventRecord) -> list[str]:
        """VENs that may have said something since the last look."""
        unsettled = (self._looked_at or record.published_at) - SETTLED
        found = []
        for ven_id, node in self._nodes.items():
            entry = self._office.directory.by_id(ven_id)
            contact_at = entry.last_contact_at if entry is not None else None
            if node.contact_at is None or (
                contact_at is not None and (contact_at != node.contact_at or contact_at > unsettled)
            ):
                found.append(ven_id)
                node.contact_at = contact_at or record.published_at
        return found

    async def _newest_blocks(
        self,
        connection: AsyncConnection,
        record: EventRecord,
        ven_ids: Sequence[str],
        now: datetime,
    ) -> Rows:
        """This quarter hour and the one before, as far as the event reaches."""
        event = record.event
        if now < event.starts_at - BEFORE:
            return ()
        return await measurements.blocks_of(
            connection, ven_ids, CURTAILMENT, _two_quarters(event, now), _until(event, now)
        )

    def _take(self, record: EventRecord, rows: Rows) -> None:
        """What these VENs say of these quarter hours, instead of what they said before."""
        order, first = _order(record.event), record.event.starts_at.timestamp()
        for (ven_id, start), blocks in sorted(_by_block(record.event, rows).items()):
            node = self._nodes[ven_id]
            before = node.blocks.get(start, {})
            if blocks == before:
                continue
            told = node.newest[_LINE["deviation"]]
            new = _minutes(blocks, start, order, node, first)
            if node.counts:
                self._sums.put(new, _minutes(before, start, order, None, first))
            node.blocks[start] = blocks
            for old in [one for one in node.blocks if one < start - BLOCK_S]:
                del node.blocks[old]
            now_told = node.newest[_LINE["deviation"]]
            if told and now_told and now_told[0] - told[0] > LONGEST.total_seconds():
                self.is_old = True

    def _climb(self, record: EventRecord, changed: set[str], now: datetime) -> tuple[Climber, ...]:
        event, directory = record.event, self._office.directory
        at = min(now, event.ends_at - timedelta(seconds=1)) if event.ends_at else now
        at = max(at, event.starts_at)
        order, first = curtailment.order_of(event), event.starts_at.timestamp()
        after_s = (at - event.starts_at).total_seconds()
        due_at = event.starts_at + (event.start_after or timedelta()) + ladder.PATIENCE
        phase = (event.modification_number, event.status, now >= due_at, order(after_s, 1e6))
        everybody, self._phase = phase != self._phase, phase
        found = []
        for ven_id, node in self._nodes.items():
            entry = directory.by_id(ven_id)
            if entry is None:
                continue
            online, climber = self._is_online(entry, now), node.climber
            if (
                climber is None
                or everybody
                or ven_id in changed
                or climber.online != online
                or _thought_too_long(climber, now)
            ):
                climber = node.climber = ladder.climber(
                    record,
                    ven_id,
                    name=entry.ven.name,
                    online=online,
                    contact_at=entry.last_contact_at,
                    heard=_heard(node, order, after_s, first),
                    now=now,
                )
            found.append(climber)
        return tuple(sorted(found, key=lambda one: (one.rank, one.fraction or 0.0, one.ven_id)))

    # --- filling in what is older ----------------------------------------------------------------

    async def _fill(self, record: EventRecord, now: datetime) -> None:
        """The quarter hours before those that `_take` reads, the newest first."""
        event = record.event
        quarter = _two_quarters(event, now) - BLOCK_S
        earliest = (event.starts_at - BEFORE).timestamp() - BLOCK_S
        while quarter > earliest:
            for few in _parts(list(self._nodes)):
                async with self._turn:
                    async with self._office.store.read() as connection:
                        rows = await measurements.blocks_of(
                            connection, few, CURTAILMENT, quarter, quarter + BLOCK_S
                        )
                    await asyncio.to_thread(self._take_old, event, rows)
                await asyncio.sleep(_PAUSE_S)
            quarter -= BLOCK_S

    def _filled(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.warning("older figures of an event are missing", reason=str(fault))
            self.is_old = True
        self.is_whole = True

    def _take_old(self, event: Event, rows: Rows) -> None:
        order, first = _order(event), event.starts_at.timestamp()
        for (ven_id, start), blocks in _by_block(event, rows).items():
            node = self._nodes.get(ven_id)
            if node is None or start in node.blocks:
                continue
            minutes = _minutes(blocks, start, order, node, first)
            if node.counts:
                self._sums.put(minutes, {})


def _by_block(event: Event, rows: Rows) -> Mapping[tuple[str, int], dict[int, Block]]:
    """(venID, start) -> series -> block: those that say something of this event."""
    wanted = set(event.target.resource_ids)
    found: dict[tuple[str, int], dict[int, Block]] = defaultdict(dict)
    for number, ven_id, kind, resources, start, packed in rows:
        if kind in _LINE and (not wanted or not resources or wanted & set(resources)):
            found[ven_id, start][number] = kind, packed
    return found


def _minutes(
    blocks: Mapping[int, Block],
    start: int,
    order: Callable[[float, float | None], float | None],
    node: _Node | None,
    first: float,
) -> dict[int, Minute]:
    """What the blocks of one VEN say of their minutes; the `node` learns what is newest in them."""
    lines: tuple[list[dict[int, float]], ...] = ([], [], [])
    for kind, packed in blocks.values():
        block = unpack(packed)
        values = {
            math.ceil((start + offset) / CLAIM_S): value
            for offset, value, word in zip(block.offsets, block.values, block.quality, strict=True)
            if usable(value, word)
        }
        if values:
            lines[_LINE[kind]].append(values)
    if node is not None:
        _learn(node, lines, first)
    return minutes_of(lines[0], lines[1], order)


def _learn(node: _Node, lines: Sequence[Sequence[Mapping[int, float]]], first: float) -> None:
    earliest = first - CLAIM_S
    for place, several in enumerate(lines):
        shared = set(several[0]).intersection(*several[1:]) if several else ()
        minute = max(shared, default=None)
        if minute is None or minute * CLAIM_S < earliest:
            continue
        known = node.newest[place]
        if known is None or known[0] <= minute * CLAIM_S:
            value = sum(one[minute] for one in several)
            if place == _LINE["x-effect"]:
                value = min(one[minute] for one in several)
            node.newest[place] = minute * CLAIM_S, value
        if place == _LINE["deviation"]:
            began = min(one for one in shared if one * CLAIM_S >= earliest) * CLAIM_S
            node.claims_since = min(began, node.claims_since or began)


def _heard(
    node: _Node,
    order: Callable[[float, float | None], float | None],
    after_s: float,
    first: float,
) -> Heard:
    baseline, deviation, effect = node.newest
    told = deviation is not None and deviation[0] >= first - CLAIM_S
    since = node.claims_since
    return Heard(
        baseline_w=baseline[1] if baseline else None,
        delivered_w=-deviation[1] if deviation and told else None,
        delivered_at=_instant(deviation[0]) if deviation and told else None,
        ordered_w=order(after_s, baseline[1] if baseline else None),
        claims_since=_instant(since) if since is not None else None,
        effect=effect[1] if effect else None,
    )


def _order(event: Event) -> Callable[[float, float | None], float | None]:
    """What is ordered at a moment (epoch seconds) of a VEN with this baseline, during the event."""
    ordered, begin = curtailment.order_of(event), event.starts_at.timestamp()
    end = event.ends_at.timestamp() if event.ends_at else math.inf

    def order(at: float, level: float | None) -> float | None:
        return ordered(at - begin, level) if begin <= at < end else None

    return order


def _thought_too_long(climber: Climber, now: datetime) -> bool:
    """It had the event, was given time to answer, and the time is over."""
    notified, opted = climber.rungs[0], climber.rungs[1]
    return (
        opted.state is ladder.State.WAITING
        and notified.at is not None
        and now - notified.at > ladder.ANSWER_PATIENCE
    )


def _until(event: Event, now: datetime) -> float:
    if event.ends_at is None or event.status is not EventStatus.COMPLETED:
        return now.timestamp()
    return min(now, event.ends_at + AFTER).timestamp()


def _two_quarters(event: Event, now: datetime) -> float:
    """The start of the quarter hour before the current one, or before the last of the event."""
    until = _until(event, now)
    return until - until % BLOCK_S - BLOCK_S


def _parts(ven_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    for at in range(0, len(ven_ids), _AT_A_TIME):
        yield ven_ids[at : at + _AT_A_TIME]


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
