# SPDX-License-Identifier: Apache-2.0
"""Events in lists: each with how many it is for, and never more of them read than are shown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event
from oadr.vocabulary import EventStatus, OptType
from vtn.eventbook import as_of, status_at
from vtn.records import Headline
from vtn.store import opts
from vtn.store.documents import decode
from vtn.store.events import latest_answers
from vtn.store.tables import EventRow, EventTargetRow, EventVersionRow, ResponseRow

_AT_A_TIME = 200
_Row = tuple[str, datetime, str]


async def page(
    connection: AsyncConnection,
    now: datetime,
    *,
    status: EventStatus | None = None,
    skip: int = 0,
    limit: int,
) -> list[Headline]:
    """Events, the one that starts last first, without the first `skip` of them."""
    query = _all()
    if status is EventStatus.CANCELLED:
        query = query.where(EventRow.cancelled)
    elif status is EventStatus.COMPLETED:
        query = query.where(EventRow.cancelled.is_(False), EventRow.over_at.is_not(None))
    elif status is not None:
        query = query.where(EventRow.cancelled.is_(False), _not_over(now))
    if status is None or status is EventStatus.CANCELLED:
        rows = await connection.execute(query.offset(skip).limit(limit))
        return await _counted(connection, [decode(document, Event) for _, _, document in rows], now)
    # The clock says which they are, and the database does not know all that it says.
    found: list[Event] = []
    after: tuple[datetime, str] | None = None
    while len(found) < skip + limit:
        few = query.limit(_AT_A_TIME)
        if after is not None:
            at, event_id = after
            few = few.where(
                or_(
                    EventRow.starts_at < at,
                    and_(EventRow.starts_at == at, EventRow.event_id > event_id),
                )
            )
        read = (await connection.execute(few)).all()
        events = [decode(document, Event) for _, _, document in read]
        found += [one for one in events if status_at(one, now) is status]
        if len(read) < _AT_A_TIME:
            break
        after = read[-1][1], read[-1][0]
    return await _counted(connection, found[skip : skip + limit], now)


async def find(connection: AsyncConnection, event_id: str, now: datetime) -> Headline | None:
    documents = [one for _, _, one in await connection.execute(_all(event_id))]
    found = await _counted(connection, [decode(one, Event) for one in documents], now)
    return found[0] if found else None


async def going_on(
    connection: AsyncConnection, now: datetime, *, since: datetime | None = None
) -> list[Headline]:
    """Events that are not cancelled, and not over at `since` (now); the last to start first."""
    query = _all().where(EventRow.cancelled.is_(False), _not_over(since or now))
    documents = [document for _, _, document in await connection.execute(query)]
    return await _counted(connection, [decode(one, Event) for one in documents], now)


async def starting(
    connection: AsyncConnection, now: datetime, starts_at: datetime, ends_at: datetime
) -> list[Headline]:
    """Events that start in [starts_at, ends_at), the last first."""
    query = _all().where(EventRow.starts_at >= starts_at, EventRow.starts_at < ends_at)
    documents = [document for _, _, document in await connection.execute(query)]
    return await _counted(connection, [decode(one, Event) for one in documents], now)


async def count_asked(connection: AsyncConnection, event_ids: Sequence[str]) -> int:
    """How many VENs these events are for, each VEN once."""
    query = select(func.count(EventTargetRow.ven_id.distinct())).where(
        EventTargetRow.event_id.in_(event_ids), EventTargetRow.withdrawn_modification.is_(None)
    )
    return await connection.scalar(query) or 0


async def targeted(connection: AsyncConnection, event_ids: Iterable[str]) -> dict[str, list[str]]:
    """Whom each of these events is for, ascending."""
    query = (
        select(EventTargetRow.event_id, EventTargetRow.ven_id)
        .where(
            EventTargetRow.event_id.in_(list(event_ids)),
            EventTargetRow.withdrawn_modification.is_(None),
        )
        .order_by(EventTargetRow.event_id, EventTargetRow.ven_id)
    )
    found: dict[str, list[str]] = {}
    for event_id, ven_id in await connection.execute(query):
        found.setdefault(event_id, []).append(ven_id)
    return found


# --- inside --------------------------------------------------------------------------------------


def _all(event_id: str | None = None) -> Select[_Row]:
    query = (
        select(EventRow.event_id, EventRow.starts_at, EventVersionRow.document)
        .join(
            EventVersionRow,
            and_(
                EventVersionRow.event_id == EventRow.event_id,
                EventVersionRow.modification_number == EventRow.modification_number,
            ),
        )
        .order_by(EventRow.starts_at.desc(), EventRow.event_id)
    )
    return query if event_id is None else query.where(EventRow.event_id == event_id)


def _not_over(now: datetime) -> ColumnElement[bool]:
    return or_(EventRow.over_at.is_(None), EventRow.over_at > now)


async def _counted(
    connection: AsyncConnection, events: Sequence[Event], now: datetime
) -> list[Headline]:
    ids = [one.event_id for one in events]
    if not ids:
        return []
    rows = await connection.execute(
        select(EventTargetRow.event_id, func.count())
        .where(EventTargetRow.event_id.in_(ids), EventTargetRow.withdrawn_modification.is_(None))
        .group_by(EventTargetRow.event_id)
    )
    asked = dict(rows.tuples().all())
    answered = await _answered(connection, ids)
    return [
        Headline(
            event=as_of(one, now),
            targeted=asked.get(one.event_id, 0),
            opted_in=answered[one.event_id, OptType.OPT_IN.value],
            opted_out=answered[one.event_id, OptType.OPT_OUT.value],
        )
        for one in events
    ]


async def _answered(
    connection: AsyncConnection, event_ids: Sequence[str]
) -> Counter[tuple[str, str]]:
    """(eventID, opt) -> how many VENs have it."""
    latest = (
        select(func.max(ResponseRow.number))
        .where(ResponseRow.event_id.in_(event_ids))
        .group_by(ResponseRow.event_id, ResponseRow.ven_id)
    )
    query = (
        select(ResponseRow.event_id, ResponseRow.opt_type, func.count())
        .where(ResponseRow.number.in_(latest))
        .group_by(ResponseRow.event_id, ResponseRow.opt_type)
    )
    found: Counter[tuple[str, str]] = Counter()
    for event_id, opt, count in await connection.execute(query):
        found[event_id, opt] = count
    await _overruled(connection, event_ids, found)
    return found


async def _overruled(
    connection: AsyncConnection, event_ids: Sequence[str], found: Counter[tuple[str, str]]
) -> None:
    """Some VENs have said more by an oadrCreateOpt for the event (206): count them as that."""
    wanted: dict[str, set[str]] = {}
    for one in await opts.of_events(connection, event_ids):
        if one.opt.event is not None:
            wanted.setdefault(one.opt.event.event_id, set()).add(one.ven_id)
    for event_id, ven_ids in wanted.items():
        said = await connection.execute(
            select(ResponseRow.ven_id, ResponseRow.opt_type)
            .where(ResponseRow.event_id == event_id, ResponseRow.ven_id.in_(list(ven_ids)))
            .order_by(ResponseRow.number)
        )
        before = dict(said.tuples().all())
        after = (await latest_answers(connection, [event_id], ven_ids)).get(event_id, {})
        found.subtract((event_id, opt) for opt in before.values())
        found.update((event_id, one.opt_type.value) for one in after.values())
