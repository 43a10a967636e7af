# SPDX-License-Identifier: Apache-2.0
"""What follows when a message was pushed: it has arrived, it has not, or the VEN turned it down."""

from oadr.response import EiResponse
from vtn.records import RequestState
from vtn.services.office import Caller, Office, note_ven
from vtn.services.poll import Outgoing
from vtn.store import events, outbox, reports


async def arrived(office: Office, caller: Caller) -> None:
    """HTTP 200: events that want no answer are with the VEN."""
    entry = caller.entry
    if entry.unconfirmed is None:
        return
    over, modifications = entry.unconfirmed
    entry.unconfirmed = None
    if over == caller.connection:
        async with office.store.write() as connection:
            await events.acknowledge(connection, caller.ven_id, modifications)


async def not_arrived(office: Office, caller: Caller, outgoing: Outgoing) -> None:
    """It waits again in its old place, and does not count as handed out.

    Or a VEN that is away long enough would never be told of a cancellation (rule 52).
    """
    caller.entry.unconfirmed = None
    async with office.change() as (connection, news):
        if outgoing.number is not None:
            await outbox.take_back(connection, outgoing.number)
        await events.take_back(connection, caller.ven_id, outgoing.event_ids)
        news.woken([caller.ven_id])


async def turned_down(
    office: Office, caller: Caller, outgoing: Outgoing, response: EiResponse
) -> None:
    """An oadrResponse that refuses what was pushed: a report request is over with that.

    The rest stays due and is pushed again: a registration that ends, an event.
    """
    at = office.now()
    async with office.store.write() as connection:
        if outgoing.kind == "oadrCreateReport" and outgoing.number is not None:
            await outbox.remove(connection, [outgoing.number])
            await reports.set_state(
                connection,
                outgoing.subjects,
                RequestState.REFUSED,
                remark=response.description or response.response_code,
                instead_of=(RequestState.ASKED,),
            )
        elif outgoing.kind in ("oadrCancelReport", "oadrRegisterReport"):
            assert outgoing.number is not None
            await outbox.remove(connection, [outgoing.number])
            await reports.set_state(
                connection,
                outgoing.subjects,
                RequestState.CANCELLED,
                instead_of=(RequestState.CANCELLING,),
            )
        await note_ven(
            connection,
            caller,
            f"turn down {outgoing.kind}",
            at=at,
            outcome=response.response_code,
            detail=response.description or "",
        )
