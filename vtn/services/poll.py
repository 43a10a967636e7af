# SPDX-License-Identifier: Apache-2.0
"""OadrPoll: what waits for this VEN, one message a poll (rule 500)."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

import oadr
from oadr.poll import Poll
from vtn.directory import Entry
from vtn.eventbook import Booking, due_at
from vtn.services.event import distribution
from vtn.services.office import Caller, Office
from vtn.store import events, outbox
from vtn.store.outbox import Waiting

_FIRST = ("oadrCancelPartyRegistration", "oadrRequestReregistration", "oadrRegisterReport")
"""Handed out before events: the ground on which all else stands (rules 301, 309)."""


async def poll(office: Office, caller: Caller, _message: Poll) -> bytes:
    """The next message: never handed out before, or handed out long ago and not answered.

    Touches the database only when something may wait.
    """
    entry = caller.entry
    if entry.unconfirmed is None and not entry.is_due(office.now()):
        return entry.idle
    wakes = entry.wakes
    async with office.store.write() as connection:
        await _confirm(entry, caller, connection)
        found, due = await _next(office, caller, connection)
    if entry.wakes == wakes:
        entry.due_at = due
    return found or entry.idle


async def _confirm(entry: Entry, caller: Caller, connection: AsyncConnection) -> None:
    """A poll on the same connection shows that the last answer on it has arrived."""
    if entry.unconfirmed is None:
        return
    over, modifications = entry.unconfirmed
    if over == caller.connection:
        await events.acknowledge(connection, caller.ven_id, modifications)
    entry.unconfirmed = None


async def _next(
    office: Office, caller: Caller, connection: AsyncConnection
) -> tuple[bytes | None, datetime | None]:
    """What to hand out now, and from when another poll may find something."""
    now = office.now()
    queue = await outbox.waiting(connection, caller.ven_id)
    bookings = await events.bookings(connection, caller.ven_id, now)
    fresh = [one for one in queue if one.handed_at is None]
    first = next((one for one in fresh if one.kind in _FIRST), None)
    if first is not None:
        return await outbox.hand_out(connection, first.number, at=now), now
    if any(not one.handed and _due(office, one, now) for one in bookings):
        return await _events(office, caller, connection, bookings), now
    if fresh:
        return await outbox.hand_out(connection, fresh[0].number, at=now), now
    return await _again(office, caller, connection, queue, bookings)


async def _again(
    office: Office,
    caller: Caller,
    connection: AsyncConnection,
    queue: list[Waiting],
    bookings: list[Booking],
) -> tuple[bytes | None, datetime | None]:
    """What was handed out longest ago, if that is long enough ago."""
    now = office.now()
    resend = [
        (one.handed_at + office.resend_after, one.number)
        for one in queue
        if one.handed_at is not None
    ]
    dues = [due for one in bookings if (due := _due(office, one, now)) is not None]
    message_due, number = min(resend, default=(None, 0))
    events_due = min(dues, default=None)
    if message_due is not None and (events_due is None or message_due <= events_due):
        if message_due <= now:
            return await outbox.hand_out(connection, number, at=now), now
        return None, message_due
    if events_due is not None and events_due <= now:
        return await _events(office, caller, connection, bookings), now
    return None, events_due


async def _events(
    office: Office, caller: Caller, connection: AsyncConnection, bookings: list[Booking]
) -> bytes:
    return oadr.build(await distribution(office, caller, connection, bookings))


def _due(office: Office, booking: Booking, now: datetime) -> datetime | None:
    return due_at(booking, now, resend_after=office.resend_after)
