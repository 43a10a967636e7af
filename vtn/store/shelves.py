# SPDX-License-Identifier: Apache-2.0
"""What waits for many VENs at once, read for their shelves; and what was handed out from these."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, bindparam, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event
from oadr.target import Target
from oadr.vocabulary import EventStatus
from vtn.eventbook import Booking
from vtn.shelf import meant_alone
from vtn.store.documents import decode
from vtn.store.hot import Hot
from vtn.store.tables import EventRow, EventTargetRow, EventVersionRow, MessageRow, SubscriptionRow

_REMEMBERED = 128
"""Events that are decoded once for all VENs that see them."""

_HANDED = Hot(
    update(EventTargetRow)
    .where(
        EventTargetRow.ven_id == bindparam("ven"),
        EventTargetRow.event_id == bindparam("event"),
    )
    .values(
        handed_modification=bindparam("number"),
        handed_at=bindparam("at"),
        attempts=bindparam("attempts"),
    )
)


async def only_events(connection: AsyncConnection, ven_ids: Collection[str]) -> list[str]:
    """Those of the VENs for which nothing waits in the queue, and none of our metadata."""
    wanted = list(ven_ids)
    others = union(
        select(MessageRow.ven_id).where(MessageRow.ven_id.in_(wanted)),
        select(SubscriptionRow.ven_id).where(SubscriptionRow.ven_id.in_(wanted)),
    )
    busy = set(await connection.scalars(others))
    return [ven_id for ven_id in wanted if ven_id not in busy]


async def bookings(
    connection: AsyncConnection, ven_ids: Collection[str], now: datetime
) -> dict[str, list[Booking]]:
    """What each of the VENs may have to be told at `now`; events that look alike are one object."""
    query = (
        select(
            EventTargetRow.ven_id,
            EventVersionRow.document,
            EventTargetRow.target,
            EventTargetRow.withdrawn_modification,
            EventTargetRow.handed_modification,
            EventTargetRow.handed_at,
            EventTargetRow.attempts,
            EventTargetRow.acknowledged_modification,
        )
        .join(EventRow, EventRow.event_id == EventTargetRow.event_id)
        .join(
            EventVersionRow,
            and_(
                EventVersionRow.event_id == EventRow.event_id,
                EventVersionRow.modification_number == EventRow.modification_number,
            ),
        )
        .where(
            EventTargetRow.ven_id.in_(list(ven_ids)),
            or_(EventRow.over_at.is_(None), EventRow.over_at > now),
        )
    )
    found: dict[str, list[Booking]] = {}
    for ven_id, document, target, withdrawn, *handed in await connection.execute(query):
        event = _event(document, meant_alone(decode(target, Target), ven_id), withdrawn)
        found.setdefault(ven_id, []).append(_booking(event, handed))
    return found


async def handed(connection: AsyncConnection, marks: Iterable[tuple[str, Booking]]) -> None:
    """These events were handed out to these VENs: as each booking says, whatever was before."""
    await _HANDED.each(
        connection,
        [
            {
                "ven": ven_id,
                "event": one.event.event_id,
                "number": one.handed_modification,
                "at": one.handed_at,
                "attempts": one.attempts,
            }
            for ven_id, one in marks
        ],
    )


@lru_cache(_REMEMBERED)
def _event(document: str, target: Target, withdrawn: int | None) -> Event:
    event = dataclasses.replace(decode(document, Event), target=target)
    if withdrawn is None:
        return event
    return dataclasses.replace(event, status=EventStatus.CANCELLED, modification_number=withdrawn)


def _booking(event: Event, handed: Sequence[Any]) -> Booking:
    number, at, attempts, acknowledged = handed
    return Booking(
        event=event,
        handed_modification=number,
        handed_at=at,
        attempts=attempts,
        acknowledged_modification=acknowledged,
    )
