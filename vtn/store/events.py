# SPDX-License-Identifier: Apache-2.0
"""Events with every modification they had, whom they are for, and every answer."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event, EventResponse
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType
from vtn.eventbook import Booking, as_of, over_at, status_at
from vtn.records import Delivery, EventAnswer, EventRecord, OptRecord
from vtn.store import opts
from vtn.store.documents import decode, encode, insert_into
from vtn.store.hot import Hot
from vtn.store.tables import EventRow, EventTargetRow, EventVersionRow, ResponseRow


def _is_current() -> ColumnElement[bool]:
    return and_(
        EventVersionRow.event_id == EventRow.event_id,
        EventVersionRow.modification_number == EventRow.modification_number,
    )


# Statements of the hot path are built once: building one costs more than running it.
_BOOKINGS = (
    select(
        EventVersionRow.document,
        EventTargetRow.target,
        EventTargetRow.withdrawn_modification,
        EventTargetRow.handed_modification,
        EventTargetRow.handed_at,
        EventTargetRow.attempts,
        EventTargetRow.acknowledged_modification,
    )
    .join(EventRow, EventRow.event_id == EventTargetRow.event_id)
    .join(EventVersionRow, _is_current())
    .where(EventTargetRow.ven_id == bindparam("ven"))
)
_BOOKINGS_NOW = Hot(
    _BOOKINGS.where(or_(EventRow.over_at.is_(None), EventRow.over_at > bindparam("now")))
)
_BOOKINGS_OF = Hot(_BOOKINGS.where(EventTargetRow.event_id.in_(bindparam("ids", expanding=True))))
_CURRENT = Hot(
    select(EventRow.event_id, EventRow.modification_number, EventTargetRow.withdrawn_modification)
    .join(EventTargetRow, EventTargetRow.event_id == EventRow.event_id)
    .where(
        EventTargetRow.ven_id == bindparam("ven"),
        EventTargetRow.event_id.in_(bindparam("ids", expanding=True)),
    )
)
_MINE = (
    EventTargetRow.ven_id == bindparam("ven"),
    EventTargetRow.event_id == bindparam("event"),
)
_HANDED = Hot(
    update(EventTargetRow)
    .where(*_MINE)
    .values(
        attempts=case(
            (
                EventTargetRow.handed_modification == bindparam("number"),
                EventTargetRow.attempts + 1,
            ),
            else_=1,
        ),
        handed_modification=bindparam("number"),
        handed_at=bindparam("at"),
    )
)
_ACKNOWLEDGE = Hot(
    update(EventTargetRow).where(*_MINE).values(acknowledged_modification=bindparam("number"))
)
_HANDED_AND_ACKNOWLEDGED = Hot(
    update(EventTargetRow)
    .where(*_MINE)
    .values(
        handed_modification=bindparam("handed"),
        handed_at=bindparam("at"),
        attempts=bindparam("attempts"),
        acknowledged_modification=bindparam("number"),
    )
)
_ANSWER_COLUMNS = (
    "event_id",
    "ven_id",
    "modification_number",
    "opt_type",
    "response_code",
    "description",
    "at",
)
_ANSWER = Hot(insert(ResponseRow).values({name: bindparam(name) for name in _ANSWER_COLUMNS}))


async def add(
    connection: AsyncConnection,
    event: Event,
    targets: Mapping[str, Target],
    *,
    at: datetime,
    by: str,
) -> None:
    """Store a new event; `targets` is what each VEN it is for is shown."""
    await connection.execute(
        insert(EventRow).values(
            event_id=event.event_id, published_at=at, published_by=by, **_columns(event)
        )
    )
    await _add_version(connection, event, at=at, by=by)
    await _aim(connection, event, targets)


async def change(
    connection: AsyncConnection,
    event: Event,
    targets: Mapping[str, Target] | None,
    *,
    at: datetime,
    by: str,
) -> None:
    """Store the next modification; a VEN no longer in `targets` will see it cancelled.

    None for `targets` leaves them as they are.
    """
    await connection.execute(
        update(EventRow).where(EventRow.event_id == event.event_id).values(**_columns(event))
    )
    await _add_version(connection, event, at=at, by=by)
    if targets is None:
        return
    await connection.execute(
        update(EventTargetRow)
        .where(
            EventTargetRow.event_id == event.event_id,
            EventTargetRow.ven_id.not_in(list(targets)),
            EventTargetRow.withdrawn_modification.is_(None),
        )
        .values(withdrawn_modification=event.modification_number)
    )
    await _aim(connection, event, targets)


async def find(connection: AsyncConnection, event_id: str, *, lock: bool = False) -> Event | None:
    """An event as last modified, its target as the operator gave it."""
    if lock:
        await connection.execute(
            select(EventRow.event_id).where(EventRow.event_id == event_id).with_for_update()
        )
    query = (
        select(EventVersionRow.document)
        .join(EventRow, _is_current())
        .where(EventRow.event_id == event_id)
    )
    document = (await connection.scalars(query)).first()
    return None if document is None else decode(document, Event)


async def targeted(connection: AsyncConnection, event_id: str) -> list[str]:
    """Every VEN the event is or was for."""
    query = select(EventTargetRow.ven_id).where(EventTargetRow.event_id == event_id)
    return list(await connection.scalars(query.order_by(EventTargetRow.ven_id)))


async def at_ven(
    connection: AsyncConnection, ven_id: str, event_ids: Collection[str]
) -> Mapping[str, Event]:
    """Those of the events that are or were for this VEN, over or not, as it is to see them."""
    rows = await _BOOKINGS_OF.rows(connection, ven=ven_id, ids=list(event_ids))
    return {one.event.event_id: one.event for one in map(_booking, rows)}


async def current(
    connection: AsyncConnection, ven_id: str, event_ids: Collection[str]
) -> Mapping[str, int]:
    """Which modification of each of these events the VEN is to see, over or not.

    Events that never were for this VEN are missing.
    """
    rows = await _CURRENT.rows(connection, ven=ven_id, ids=list(event_ids))
    return {
        event_id: number if withdrawn is None else withdrawn for event_id, number, withdrawn in rows
    }


async def bookings(connection: AsyncConnection, ven_id: str, now: datetime) -> list[Booking]:
    """What the VEN may have to be told at `now`."""
    return [_booking(row) for row in await _BOOKINGS_NOW.rows(connection, ven=ven_id, now=now)]


async def overlapping(
    connection: AsyncConnection, event: Event, ven_ids: Collection[str]
) -> list[tuple[Event, str]]:
    """Other events of the same market context at these VENs that may overlap in time, not over."""
    query = (
        select(EventVersionRow.document, EventTargetRow.ven_id)
        .join(EventRow, _is_current())
        .join(EventTargetRow, EventTargetRow.event_id == EventRow.event_id)
        .where(
            EventRow.event_id != event.event_id,
            EventRow.market_context == event.market_context,
            EventRow.cancelled.is_(False),
            or_(EventRow.over_at.is_(None), EventRow.over_at > event.starts_at),
            EventTargetRow.withdrawn_modification.is_(None),
            EventTargetRow.ven_id.in_(list(ven_ids)),
        )
    )
    return [
        (decode(document, Event), ven_id) for document, ven_id in await connection.execute(query)
    ]


async def handed(
    connection: AsyncConnection, ven_id: str, events: Iterable[Event], *, at: datetime
) -> None:
    """These events were handed out to the VEN."""
    await _HANDED.each(
        connection,
        [
            {
                "ven": ven_id,
                "event": event.event_id,
                "number": event.modification_number,
                "at": at,
            }
            for event in events
        ],
    )


async def take_back(connection: AsyncConnection, ven_id: str, event_ids: Collection[str]) -> None:
    """Events that were just handed out have not arrived: what does not arrive is no attempt."""
    before = EventTargetRow.attempts > 1
    await connection.execute(
        update(EventTargetRow)
        .where(
            EventTargetRow.ven_id == ven_id,
            EventTargetRow.event_id.in_(list(event_ids)),
            EventTargetRow.attempts > 0,
        )
        .values(
            attempts=EventTargetRow.attempts - 1,
            handed_modification=case((before, EventTargetRow.handed_modification), else_=None),
            handed_at=case((before, EventTargetRow.handed_at), else_=None),
        )
    )


async def acknowledge(
    connection: AsyncConnection, ven_id: str, modifications: Mapping[str, int]
) -> None:
    """The VEN has, for sure, these modifications of these events."""
    await _ACKNOWLEDGE.each(
        connection,
        [
            {"ven": ven_id, "event": event_id, "number": number}
            for event_id, number in modifications.items()
        ],
    )


async def answer(
    connection: AsyncConnection,
    ven_id: str,
    answers: Iterable[EventResponse],
    *,
    at: datetime,
    handed: Mapping[str, Booking],
) -> None:
    """Keep answers of a VEN; the latest rules (rules 16 and 17).

    `handed`: those of the events that went out before and are not marked as that yet, by eventID.
    """
    given = list(answers)
    if not given:
        return
    await _ANSWER.each(
        connection,
        [
            {
                "event_id": one.event_id,
                "ven_id": ven_id,
                "modification_number": one.modification_number,
                "opt_type": one.opt_type.value,
                "response_code": one.response_code,
                "description": one.description or "",
                "at": at,
            }
            for one in given
        ],
    )
    await _HANDED_AND_ACKNOWLEDGED.each(
        connection,
        [
            {
                "ven": ven_id,
                "event": one.event_id,
                "handed": mark.handed_modification,
                "at": mark.handed_at,
                "attempts": mark.attempts,
                "number": one.modification_number,
            }
            for one in given
            if (mark := handed.get(one.event_id)) is not None
        ],
    )
    await acknowledge(
        connection,
        ven_id,
        {one.event_id: one.modification_number for one in given if one.event_id not in handed},
    )


async def forget_deliveries(connection: AsyncConnection, ven_id: str) -> None:
    """The VEN starts anew: it is told of every event again."""
    await connection.execute(
        update(EventTargetRow)
        .where(EventTargetRow.ven_id == ven_id)
        .values(
            handed_modification=None, handed_at=None, attempts=0, acknowledged_modification=None
        )
    )


async def record(connection: AsyncConnection, event_id: str, now: datetime) -> EventRecord | None:
    found = await _records(connection, [event_id], now)
    return found[0] if found else None


async def progress(
    connection: AsyncConnection, event_id: str, ven_ids: Sequence[str]
) -> tuple[dict[str, Delivery], dict[str, EventAnswer]]:
    """How far an event has come to some of its VENs, and what they have answered."""
    rows = await connection.execute(
        select(EventTargetRow.__table__).where(
            EventTargetRow.event_id == event_id, EventTargetRow.ven_id.in_(list(ven_ids))
        )
    )
    answers = await latest_answers(connection, [event_id], ven_ids)
    return {row.ven_id: _delivery(row) for row in rows}, answers.get(event_id, {})


async def outline(connection: AsyncConnection, event_id: str, now: datetime) -> EventRecord | None:
    """A record with its history, but without the VENs: they may be very many."""
    found = await _records(connection, [event_id], now, with_vens=False)
    return found[0] if found else None


async def records(
    connection: AsyncConnection,
    now: datetime,
    *,
    status: EventStatus | None = None,
    ven_id: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int | None = None,
) -> list[EventRecord]:
    """Events, the one that starts last first; so many `after` the one that starts then."""
    query = (
        select(EventVersionRow.event_id, EventVersionRow.document, EventRow.starts_at)
        .join(EventRow, _is_current())
        .order_by(EventRow.starts_at.desc(), EventRow.event_id)
        .limit(limit)
    )
    if ven_id is not None:
        query = query.join(
            EventTargetRow,
            and_(
                EventTargetRow.event_id == EventRow.event_id,
                EventTargetRow.withdrawn_modification.is_(None),
            ),
        ).where(EventTargetRow.ven_id == ven_id)
    if status is EventStatus.CANCELLED:
        query = query.where(EventRow.cancelled)
    elif status is EventStatus.COMPLETED:
        query = query.where(EventRow.cancelled.is_(False), EventRow.starts_at <= now)
    elif status is not None:
        query = query.where(or_(EventRow.over_at.is_(None), EventRow.over_at > now))
    wanted: list[str] = []
    while True:
        page = (await connection.execute(_following(query, after))).all()
        wanted += [
            row.event_id
            for row in page
            if status is None or status_at(decode(row.document, Event), now) is status
        ]
        if limit is None or len(page) < limit or len(wanted) >= limit:
            return await _records(connection, wanted[:limit], now)
        after = page[-1].starts_at, page[-1].event_id


def _following(query: Select[Any], after: tuple[datetime, str] | None) -> Select[Any]:
    """What follows on an event that starts then."""
    if after is None:
        return query
    at, event_id = after
    with_it = and_(EventRow.starts_at == at, EventRow.event_id > event_id)
    return query.where(or_(EventRow.starts_at < at, with_it))


async def starting(
    connection: AsyncConnection, now: datetime, starts_at: datetime, ends_at: datetime
) -> list[EventRecord]:
    """Events that start in [starts_at, ends_at), the last first."""
    ids = await connection.scalars(
        select(EventRow.event_id)
        .where(EventRow.starts_at >= starts_at, EventRow.starts_at < ends_at)
        .order_by(EventRow.starts_at.desc(), EventRow.event_id)
    )
    return await _records(connection, list(ids), now)


async def live_statuses(connection: AsyncConnection, now: datetime) -> list[EventStatus]:
    """The status of each event that is not over at `now`."""
    query = (
        select(EventVersionRow.document)
        .join(EventRow, _is_current())
        .where(or_(EventRow.over_at.is_(None), EventRow.over_at > now))
    )
    documents = await connection.scalars(query)
    return [status_at(decode(document, Event), now) for document in documents]


async def turns(connection: AsyncConnection, now: datetime) -> dict[str, tuple[datetime, ...]]:
    """When the status of each event that is not over changes by the clock, by eventID."""
    query = (
        select(EventVersionRow.document)
        .join(EventRow, _is_current())
        .where(
            EventRow.cancelled.is_(False),
            or_(EventRow.over_at.is_(None), EventRow.over_at > now),
        )
    )
    found = {}
    for document in await connection.scalars(query):
        event = decode(document, Event)
        instants = [event.starts_at]
        if event.ramp_up:
            instants.append(event.starts_at - event.ramp_up)
        if event.ends_at is not None:
            instants.append(event.ends_at)
        found[event.event_id] = tuple(instants)
    return found


async def live_targets(
    connection: AsyncConnection, now: datetime, event_ids: Collection[str]
) -> dict[str, list[str]]:
    """Of each VEN those of these events it is in that are not over at `now`."""
    query = (
        select(EventTargetRow.ven_id, EventTargetRow.event_id)
        .join(EventRow, EventRow.event_id == EventTargetRow.event_id)
        .where(
            EventRow.event_id.in_(list(event_ids)),
            or_(EventRow.over_at.is_(None), EventRow.over_at > now),
        )
    )
    found: dict[str, list[str]] = {}
    for ven_id, event_id in await connection.execute(query):
        found.setdefault(ven_id, []).append(event_id)
    return found


# --- inside --------------------------------------------------------------------------------------


def _columns(event: Event) -> dict[str, object]:
    return {
        "modification_number": event.modification_number,
        "cancelled": event.status is EventStatus.CANCELLED,
        "market_context": event.market_context,
        "starts_at": event.starts_at,
        "over_at": over_at(event),
    }


async def _add_version(connection: AsyncConnection, event: Event, *, at: datetime, by: str) -> None:
    await connection.execute(
        insert(EventVersionRow).values(
            event_id=event.event_id,
            modification_number=event.modification_number,
            document=encode(event),
            at=at,
            by=by,
        )
    )


async def _aim(connection: AsyncConnection, event: Event, targets: Mapping[str, Target]) -> None:
    statement = insert_into(connection, EventTargetRow)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["event_id", "ven_id"],
            set_={"target": statement.excluded.target, "withdrawn_modification": None},
        ),
        [
            {"event_id": event.event_id, "ven_id": ven_id, "target": encode(target)}
            for ven_id, target in targets.items()
        ],
    )


def _booking(row: Sequence[Any]) -> Booking:
    document, target, withdrawn, number, at, attempts, acknowledged = row
    event = dataclasses.replace(decode(document, Event), target=decode(target, Target))
    if withdrawn is not None:
        event = dataclasses.replace(
            event, status=EventStatus.CANCELLED, modification_number=withdrawn
        )
    return Booking(
        event=event,
        handed_modification=number,
        handed_at=at,
        attempts=attempts,
        acknowledged_modification=acknowledged,
    )


async def _records(
    connection: AsyncConnection,
    event_ids: Sequence[str],
    now: datetime,
    *,
    with_vens: bool = True,
) -> list[EventRecord]:
    """The records of these events, in this order; unknown ones are left out."""
    if not event_ids:
        return []
    published = {
        row.event_id: row
        for row in await connection.execute(
            select(EventRow.event_id, EventRow.published_at, EventRow.published_by).where(
                EventRow.event_id.in_(event_ids)
            )
        )
    }
    history: dict[str, list[Event]] = {}
    versions = select(EventVersionRow.event_id, EventVersionRow.document).where(
        EventVersionRow.event_id.in_(event_ids)
    )
    for event_id, document in await connection.execute(
        versions.order_by(EventVersionRow.modification_number)
    ):
        history.setdefault(event_id, []).append(decode(document, Event))
    deliveries: dict[str, dict[str, Delivery]] = {}
    answers: dict[str, dict[str, EventAnswer]] = {}
    if with_vens:
        for row in await connection.execute(
            select(EventTargetRow.__table__)
            .where(EventTargetRow.event_id.in_(event_ids))
            .order_by(EventTargetRow.ven_id)
        ):
            deliveries.setdefault(row.event_id, {})[row.ven_id] = _delivery(row)
        answers = await latest_answers(connection, event_ids)
    return [
        EventRecord(
            event=as_of(history[event_id][-1], now),
            ven_ids=tuple(
                ven_id for ven_id, one in deliveries.get(event_id, {}).items() if not one.withdrawn
            ),
            answers=answers.get(event_id, {}),
            deliveries=deliveries.get(event_id, {}),
            history=tuple(history[event_id]),
            published_at=published[event_id].published_at,
            published_by=published[event_id].published_by,
        )
        for event_id in event_ids
        if event_id in published
    ]


def _delivery(row: Any) -> Delivery:
    return Delivery(
        ven_id=row.ven_id,
        handed_modification=row.handed_modification,
        handed_at=row.handed_at,
        attempts=row.attempts,
        acknowledged_modification=row.acknowledged_modification,
        withdrawn=row.withdrawn_modification is not None,
    )


async def latest_answers(
    connection: AsyncConnection,
    event_ids: Sequence[str],
    ven_ids: Collection[str] | None = None,
) -> dict[str, dict[str, EventAnswer]]:
    """By eventID and venID, as a VEN's opts for the event overrule it (206); None is every VEN."""
    found: dict[str, dict[str, EventAnswer]] = {}
    responses = select(ResponseRow.__table__).where(ResponseRow.event_id.in_(event_ids))
    if ven_ids is not None:
        responses = responses.where(ResponseRow.ven_id.in_(list(ven_ids)))
    for row in await connection.execute(responses.order_by(ResponseRow.number)):
        found.setdefault(row.event_id, {})[row.ven_id] = EventAnswer(
            ven_id=row.ven_id,
            opt_type=OptType(row.opt_type),
            modification_number=row.modification_number,
            at=row.at,
            response_code=row.response_code,
            description=row.description,
        )
    for one in reversed(await opts.of_events(connection, event_ids)):
        assert one.opt.event is not None
        if ven_ids is not None and one.ven_id not in ven_ids:
            continue
        by_ven = found.setdefault(one.opt.event.event_id, {})
        by_ven[one.ven_id] = _overruled(by_ven.get(one.ven_id), one)
    return found


def _overruled(answer: EventAnswer | None, opt: OptRecord) -> EventAnswer:
    """The answer as an oadrCreateOpt for the event leaves it."""
    assert opt.opt.event is not None
    if answer is None or not opt.scope:
        return EventAnswer(
            ven_id=opt.ven_id,
            opt_type=opt.opt.opt_type,
            modification_number=opt.opt.event.modification_number,
            at=opt.received_at,
            response_code="200",
            resources={opt.scope: opt.opt.opt_type} if opt.scope else {},
        )
    return dataclasses.replace(answer, resources={**answer.resources, opt.scope: opt.opt.opt_type})
