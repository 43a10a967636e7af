# SPDX-License-Identifier: Apache-2.0
"""OadrPoll: what waits for this VEN, one message a poll (rule 500); or a push."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

import oadr
from oadr.poll import Poll
from vtn.directory import Entry
from vtn.errors import Rejected
from vtn.eventbook import Booking, due_at
from vtn.services.event import distribution, handing_out
from vtn.services.office import Caller, Office, known_ven
from vtn.services.report import offer_due
from vtn.store import events, line, outbox
from vtn.store.outbox import Waiting

_FIRST = ("oadrCancelPartyRegistration", "oadrRequestReregistration", "oadrRegisterReport")
"""Handed out before events: the ground on which all else stands (rules 301, 309)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message on its way to a VEN."""

    kind: str
    """Wire name."""
    body: bytes
    number: int | None = None
    """Its number in the queue; None for oadrDistributeEvent, which is made fresh."""
    subjects: tuple[str, ...] = ()
    """The reportRequestIDs it is about."""
    event_ids: tuple[str, ...] = ()
    """The events in it."""


async def poll(office: Office, caller: Caller, _message: Poll) -> bytes:
    """The next message: never handed out before, or handed out long ago and not answered.

    Touches the database only when something may wait that is not on the VEN's shelf. Raises
    Rejected for a VEN that is pushed to (rules 51 and 500): what waits for it must not go out
    twice.
    """
    entry = caller.entry
    if entry.ven.push_address is not None:
        raise Rejected("451", "This VEN is registered for push; register for pull to poll.")
    ready = at_once(office, entry)
    if ready is not None:
        return ready
    found = await next_message(office, caller, resend_after=office.resend_after)
    return found.body if found else entry.idle


def at_once(office: Office, entry: Entry) -> bytes | None:
    """The answer to a poll where it is certain without asking the database; None where it is not.

    What is on the VEN's shelf counts as handed out with that, and is written down soon.
    """
    if entry.unconfirmed is not None or entry.ven.push_address is not None:
        return None
    if not office.may_be_due(entry):
        return entry.idle
    shelf = entry.shelf
    if shelf is None or office.directory.in_doubt:
        return None
    now = office.now()
    due = shelf.due_at(now, resend_after=office.resend_after)
    if due is None or due > now:
        entry.due_at = due
        return entry.idle
    ven_id = entry.ven.ven_id
    letter = shelf.telling(now, office.letters)
    office.handouts.note(ven_id, shelf.hand_out(now))
    entry.due_at = now + office.resend_after
    return letter.filled(request_id=office.new_id(), ven_id=ven_id, now=now)


async def next_message(
    office: Office, caller: Caller, *, resend_after: timedelta, address: str | None = None
) -> Outgoing | None:
    """The next message for the VEN, marked as handed out; None, and its `due_at`, if there is none.

    What was handed out and is not answered comes again after `resend_after`. With `address` there
    is none for a VEN that is no longer pushed to there. Two at the same moment, in one process or
    in two, never get the same message.
    """
    entry = caller.entry
    wakes = entry.wakes
    async with handing_out(office, caller) as connection:
        await line.one_at_a_time(connection, caller.ven_id)
        if address is not None:
            ven = await known_ven(connection, caller.ven_id)
            if ven.push_address != address:
                return None
        await _confirm(entry, caller, connection)
        more_at = await offer_due(office, connection, caller.ven_id)
        found, due = await _next(office, caller, connection, resend_after)
    if entry.wakes == wakes:
        entry.due_at = min((at for at in (due, more_at) if at is not None), default=None)
    return found


async def _confirm(entry: Entry, caller: Caller, connection: AsyncConnection) -> None:
    """A poll on the same connection shows that the last answer on it has arrived."""
    if entry.unconfirmed is None:
        return
    over, modifications = entry.unconfirmed
    if over == caller.connection:
        await events.acknowledge(connection, caller.ven_id, modifications)
    entry.unconfirmed = None


async def _next(
    office: Office, caller: Caller, connection: AsyncConnection, resend_after: timedelta
) -> tuple[Outgoing | None, datetime | None]:
    """What to hand out now, and from when another poll may find something."""
    now = office.now()
    queue = await outbox.waiting(connection, caller.ven_id)
    bookings = await events.bookings(connection, caller.ven_id, now)
    fresh = [one for one in queue if one.handed_at is None]
    first = next((one for one in fresh if one.kind in _FIRST), None)
    if first is not None:
        return await _hand_out(connection, first, now), now
    if any(not one.handed and _due(one, now, resend_after) for one in bookings):
        found = await _events(office, caller, connection, bookings)
        return found, now if queue else now + resend_after  # all events are in it
    if fresh:
        return await _hand_out(connection, fresh[0], now), now
    again, due = _longest_ago(queue, bookings, now, resend_after)
    if due is None or due > now:
        return None, due
    if again is not None:
        return await _hand_out(connection, again, now), now
    return await _events(office, caller, connection, bookings), now


def _longest_ago(
    queue: Sequence[Waiting],
    bookings: Sequence[Booking],
    now: datetime,
    resend_after: timedelta,
) -> tuple[Waiting | None, datetime | None]:
    """What was handed out longest ago and is not answered (None: the events), and when it is due.

    Both None where everything is answered.
    """
    handed = [(one.handed_at, one.number, one) for one in queue if one.handed_at is not None]
    dues = [due for one in bookings if (due := _due(one, now, resend_after)) is not None]
    events_due = min(dues, default=None)
    if not handed:
        return None, events_due
    handed_at, _, oldest = min(handed, key=lambda row: row[:2])
    message_due = handed_at + resend_after
    if events_due is not None and events_due < message_due:
        return None, events_due
    return oldest, message_due


async def _hand_out(connection: AsyncConnection, message: Waiting, now: datetime) -> Outgoing:
    return Outgoing(
        kind=message.kind,
        body=await outbox.hand_out(connection, message.number, at=now),
        number=message.number,
        subjects=message.subjects,
    )


async def _events(
    office: Office, caller: Caller, connection: AsyncConnection, bookings: list[Booking]
) -> Outgoing:
    message = await distribution(office, caller, connection, bookings)
    return Outgoing(
        kind="oadrDistributeEvent",
        body=oadr.build(message),
        event_ids=tuple(event.event_id for event in message.events),
    )


def _due(booking: Booking, now: datetime, resend_after: timedelta) -> datetime | None:
    return due_at(booking, now, resend_after=resend_after)
