# SPDX-License-Identifier: Apache-2.0
"""The outgoing queue of each VEN: a message stays until its logical answer arrives.

Handing a message out does not take it from the queue: the HTTP response that carries it may be
lost. Events are not here; they are made fresh from the event book (rules 50 and 115).
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, case, delete, func, insert, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

import oadr
from oadr.report import CreateReport
from vtn.store.documents import decode, encode
from vtn.store.hot import Hot
from vtn.store.tables import EventRow, EventTargetRow, MessageRow, SubscriptionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message in the queue."""

    number: int
    """Ascending in the order in which they were put in."""
    kind: str
    """Wire name, "oadrCreateReport" ..."""
    request_id: str
    subjects: tuple[str, ...]
    """The reportRequestIDs it is about."""
    handed_at: datetime | None


_WAITING = Hot(
    select(
        MessageRow.number,
        MessageRow.kind,
        MessageRow.request_id,
        MessageRow.subjects,
        MessageRow.handed_at,
    )
    .where(MessageRow.ven_id == bindparam("ven"))
    .order_by(MessageRow.number)
)


async def put(
    connection: AsyncConnection,
    ven_id: str,
    message: oadr.Message,
    *,
    at: datetime,
    request_id: str = "",
    subjects: Iterable[str] = (),
    handed_at: datetime | None = None,
) -> None:
    """Queue a message; `handed_at` where another message has just carried it (piggyback)."""
    await connection.execute(
        insert(MessageRow).values(
            ven_id=ven_id,
            kind=oadr.wire_name(type(message)),
            request_id=request_id,
            subjects=encode(list(subjects)),
            body=oadr.build(message).decode(),
            queued_at=at,
            handed_at=handed_at,
            attempts=0 if handed_at is None else 1,
        )
    )


async def waiting(connection: AsyncConnection, ven_id: str) -> list[Waiting]:
    """The whole queue of a VEN, oldest first."""
    rows = await _WAITING.rows(connection, ven=ven_id)
    return [
        Waiting(
            number=number,
            kind=kind,
            request_id=request_id,
            subjects=decode(subjects, tuple[str, ...]),
            handed_at=handed_at,
        )
        for number, kind, request_id, subjects, handed_at in rows
    ]


async def hand_out(connection: AsyncConnection, number: int, *, at: datetime) -> bytes:
    """The bytes of a message, marked as handed out."""
    await connection.execute(
        update(MessageRow)
        .where(MessageRow.number == number)
        .values(handed_at=at, attempts=MessageRow.attempts + 1)
    )
    body = await connection.scalar(select(MessageRow.body).where(MessageRow.number == number))
    assert body is not None
    return body.encode()


async def take_back(connection: AsyncConnection, number: int) -> None:
    """A message that was just handed out has not arrived: it is as before."""
    await connection.execute(
        update(MessageRow)
        .where(MessageRow.number == number)
        .values(
            attempts=MessageRow.attempts - 1,
            handed_at=case((MessageRow.attempts > 1, MessageRow.handed_at), else_=None),
        )
    )


async def ask_no_more(connection: AsyncConnection, ven_id: str, subject: str) -> None:
    """Take a cancelled request out of every oadrCreateReport that may be handed out again."""
    for one in await waiting(connection, ven_id):
        if one.kind != "oadrCreateReport" or subject not in one.subjects:
            continue
        this = MessageRow.number == one.number
        body = await connection.scalar(select(MessageRow.body).where(this))
        message = oadr.parse((body or "").encode())
        assert isinstance(message, CreateReport)
        left = tuple(each for each in message.requests if each.report_request_id != subject)
        if not left:
            await remove(connection, [one.number])
            continue
        await connection.execute(
            update(MessageRow)
            .where(this)
            .values(
                body=oadr.build(dataclasses.replace(message, requests=left)).decode(),
                subjects=encode([each for each in one.subjects if each != subject]),
            )
        )


async def remove(connection: AsyncConnection, numbers: Iterable[int]) -> None:
    """The logical answers have arrived."""
    await connection.execute(delete(MessageRow).where(MessageRow.number.in_(list(numbers))))


async def clear(connection: AsyncConnection, ven_id: str) -> None:
    await connection.execute(delete(MessageRow).where(MessageRow.ven_id == ven_id))


async def waited_for(connection: AsyncConnection, now: datetime) -> set[str]:
    """VENs for which something may wait: in the queue, an event that is not over, our metadata."""
    queued = select(MessageRow.ven_id)
    subscribed = select(SubscriptionRow.ven_id)
    booked = (
        select(EventTargetRow.ven_id)
        .join(EventRow, EventRow.event_id == EventTargetRow.event_id)
        .where(or_(EventRow.over_at.is_(None), EventRow.over_at > now))
    )
    return set(await connection.scalars(union(queued, subscribed, booked)))


async def count(connection: AsyncConnection) -> int:
    """Messages waiting for all VENs together."""
    return await connection.scalar(select(func.count()).select_from(MessageRow)) or 0
