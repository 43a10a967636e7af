# SPDX-License-Identifier: Apache-2.0
"""EiEvent: all events of a VEN when it asks, and its answers to them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import CreatedEvent, DistributeEvent, Event, EventResponse, RequestEvent
from oadr.vocabulary import ResponseRequired
from vtn.errors import Rejected
from vtn.eventbook import Booking, listing
from vtn.replies import ok, received
from vtn.services.office import Caller, Office, note_ven
from vtn.store import events, line


async def request(office: Office, caller: Caller, message: RequestEvent) -> DistributeEvent:
    """Every event of the VEN, in order, at most replyLimit of them (rules 15, 27, 50)."""
    now = office.now()
    async with handing_out(office, caller) as connection:
        await line.one_at_a_time(connection, caller.ven_id)
        bookings = await events.bookings(connection, caller.ven_id, now)
        return await distribution(
            office,
            caller,
            connection,
            bookings,
            limit=message.reply_limit,
            answers=message.request_id,
        )


@asynccontextmanager
async def handing_out(office: Office, caller: Caller) -> AsyncIterator[AsyncConnection]:
    """A transaction in which events may be handed out; where it fails none were.

    Then the next poll on the connection must not count as a sign that they have arrived.
    """
    try:
        async with office.store.write() as connection:
            await office.handouts.settle(connection, caller.ven_id)
            yield connection
    except BaseException:
        caller.entry.unconfirmed = None
        raise
    finally:
        caller.entry.stir()


async def distribution(
    office: Office,
    caller: Caller,
    connection: AsyncConnection,
    bookings: Sequence[Booking],
    *,
    limit: int | None = None,
    answers: str = "",
) -> DistributeEvent:
    """The events made fresh from the book, and marked as handed out (rules 40, 41, 115)."""
    now = office.now()
    listed = listing(bookings, now, limit=limit)
    settled = {one.event.event_id for one in bookings if one.settled}
    await events.handed(
        connection,
        caller.ven_id,
        [event for event in listed if event.event_id not in settled],
        at=now,
    )
    silent = _silent(event for event in listed if event.event_id not in settled)
    caller.entry.unconfirmed = (caller.connection, silent) if silent else None
    return DistributeEvent(
        response=ok(answers),
        request_id=office.new_id(),
        vtn_id=office.vtn_id,
        events=tuple(listed),
    )


async def created(office: Office, caller: Caller, message: CreatedEvent) -> bytes:
    """The VEN opts in or out; each answer counts by itself (rules 16, 17, 25, 48).

    What can be kept is kept; the first answer that cannot gives the response code: 452 for an
    eventID that was never this VEN's, 450 for another modification than the current one. Nobody is
    told: an answer makes nothing due.
    """
    at = office.now()
    if not message.response.ok:
        async with office.store.write() as connection:
            await note_ven(
                connection,
                caller,
                "refuse events",
                at=at,
                outcome=message.response.response_code,
                detail=message.response.description or "",
            )
        return received(message.response.request_id, caller.ven_id)
    async with office.store.write() as connection:
        faults = await _faults(office, connection, caller, message.event_responses)
        good = [
            one for one, fault in zip(message.event_responses, faults, strict=True) if fault is None
        ]
        handed = office.handouts.take(caller.ven_id, [one.event_id for one in good])
        await events.answer(connection, caller.ven_id, good, at=at, handed=handed)
        for one in good:
            await note_ven(
                connection,
                caller,
                one.opt_type.value,
                at=at,
                subject=f"event:{one.event_id}",
                outcome=one.response_code,
                detail=f"modification {one.modification_number}",
            )
    _shelve(office, caller, {one.event_id: one.modification_number for one in good})
    fault = next((one for one in faults if one is not None), None)
    if fault is not None:
        raise fault
    return received(message.response.request_id, caller.ven_id)


async def _faults(
    office: Office,
    connection: AsyncConnection,
    caller: Caller,
    answers: Sequence[EventResponse],
) -> list[Rejected | None]:
    """What is wrong with each answer.

    The shelf may say that nothing is. What it does not know, and that something is wrong, the
    database has to say: an event may have been modified a moment ago.
    """
    shelf = caller.entry.shelf
    if shelf is not None and not office.directory.in_doubt:
        known = shelf.current()
        faults = [_fault(one, known) for one in answers]
        if not any(faults):
            return faults
    wanted = {one.event_id for one in answers}
    known = dict(await events.current(connection, caller.ven_id, wanted))
    return [_fault(one, known) for one in answers]


def _shelve(office: Office, caller: Caller, modifications: Mapping[str, int]) -> None:
    """What the VEN has answered need not be told again; who has answered all needs no shelf."""
    entry = caller.entry
    shelf = entry.shelf
    if shelf is None:
        entry.stir()
        return
    shelf.answered(modifications)
    due = shelf.due_at(office.now(), resend_after=office.resend_after)
    if due is None:
        entry.shelf, entry.due_at = None, None


def _fault(answer: EventResponse, known: Mapping[str, int]) -> Rejected | None:
    current = known.get(answer.event_id)
    if current is None:
        return Rejected("452", f"There is no event '{answer.event_id}' for this VEN.")
    if answer.modification_number != current:
        return Rejected(
            "450",
            f"The event '{answer.event_id}' is at modification {current}, "
            f"not {answer.modification_number}.",
        )
    return None


def _silent(listed: Iterable[Event]) -> dict[str, int]:
    """Events that want no answer: only the next message can show that the VEN has them."""
    return {
        event.event_id: event.modification_number
        for event in listed
        if event.response_required is ResponseRequired.NEVER
    }
