# SPDX-License-Identifier: Apache-2.0
"""EiRegisterParty: query, registration, re-registration, cancellation from either side."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.poll import Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
)
from oadr.report import RegisterReport
from oadr.vocabulary import ProfileName, TransportName
from vtn.errors import Rejected
from vtn.records import Ven
from vtn.replies import PROFILES, ok, poll_frequency
from vtn.services.office import Caller, Office, forget, known_ven, note_ven
from vtn.store import outbox, vens


async def query(
    office: Office, caller: Caller, message: QueryRegistration
) -> CreatedPartyRegistration:
    """What we serve; IDs only for who is registered (rule 404)."""
    return _created(office, caller.entry.ven, message.request_id)


async def create(
    office: Office, caller: Caller, message: CreatePartyRegistration
) -> CreatedPartyRegistration:
    """Register a VEN, or register it again under its IDs (rules 402, 403, 406).

    Without a registrationID it is a new registration: whatever the old one brought is forgotten,
    and our metadata waits for the next poll (rule 405). With one nothing is forgotten.
    """
    _refuse_unserved(message)
    at = office.now()
    async with office.store.write() as connection:
        ven = await known_ven(connection, caller.ven_id, lock=True)
        again = message.registration_id is not None
        if again and message.registration_id != ven.registration_id:
            raise Rejected("452", "There is no such registrationID; register without it.")
        registration_id = message.registration_id or office.new_id()
        if again:
            asked = [
                one.number
                for one in await outbox.waiting(connection, ven.ven_id)
                if one.kind == "oadrRequestReregistration"
            ]
            await outbox.remove(connection, asked)
        else:
            await forget(connection, ven.ven_id, at=at, remark="registered anew")
            request_id = office.new_id()
            await outbox.put(
                connection,
                ven.ven_id,
                RegisterReport(request_id=request_id, ven_id=ven.ven_id),
                at=at,
                request_id=request_id,
            )
        await vens.register(
            connection,
            ven.ven_id,
            registration_id=registration_id,
            at=at,
            report_only=message.report_only,
        )
        await note_ven(
            connection,
            caller,
            "register again" if again else "register",
            at=at,
            detail=message.ven_name or "",
        )
    return _created(office, await office.refresh(caller.ven_id), message.request_id)


async def cancel(
    office: Office, caller: Caller, message: CancelPartyRegistration
) -> CanceledPartyRegistration:
    """The VEN ends its registration (rule 407)."""
    at = office.now()
    async with office.store.write() as connection:
        ven = await known_ven(connection, caller.ven_id, lock=True)
        if ven.registration_id is None or message.registration_id != ven.registration_id:
            raise Rejected("452", "There is no such registrationID.")
        await _end(connection, ven.ven_id, at=at, remark="cancelled by the VEN")
        await note_ven(connection, caller, "cancel registration", at=at)
    await office.refresh(caller.ven_id)
    return CanceledPartyRegistration(
        response=ok(message.request_id),
        registration_id=message.registration_id,
        ven_id=caller.ven_id,
    )


async def canceled(office: Office, caller: Caller, message: CanceledPartyRegistration) -> Response:
    """The VEN confirms our cancellation; it is over also where the VEN knew nothing of it."""
    at = office.now()
    async with office.store.write() as connection:
        waiting = await outbox.waiting(connection, caller.ven_id)
        if not any(one.kind == "oadrCancelPartyRegistration" for one in waiting):
            raise Rejected("452", "No cancellation of a registration waits for an answer.")
        await _end(connection, caller.ven_id, at=at, remark="cancelled by the operator")
        await note_ven(
            connection,
            caller,
            "confirm cancelled registration",
            at=at,
            outcome=message.response.response_code,
        )
    await office.refresh(caller.ven_id)
    return Response(response=ok(message.response.request_id), ven_id=caller.ven_id)


async def acknowledge(_office: Office, caller: Caller, message: Response) -> Response:
    """The VEN has received what has no answer of its own (a request to register again)."""
    return Response(response=ok(message.response.request_id), ven_id=caller.ven_id)


async def _end(connection: AsyncConnection, ven_id: str, *, at: datetime, remark: str) -> None:
    await forget(connection, ven_id, at=at, remark=remark)
    await vens.unregister(connection, ven_id)


def _refuse_unserved(message: CreatePartyRegistration) -> None:
    if message.profile is not ProfileName.B:
        raise Rejected("459", "This VTN serves the profile 2.0b only.")
    if message.transport is not TransportName.SIMPLE_HTTP:
        raise Rejected("459", "This VTN serves the transport simpleHttp only.")
    pulls = message.http_pull_model
    if pulls is False or (pulls is None and message.transport_address):
        raise Rejected(
            "459", "This VTN does not push; register with oadrHttpPullModel true (rule 402)."
        )


def _created(office: Office, ven: Ven, request_id: str) -> CreatedPartyRegistration:
    return CreatedPartyRegistration(
        response=ok(request_id),
        registration_id=ven.registration_id,
        ven_id=ven.ven_id if ven.registered else None,
        vtn_id=office.vtn_id,
        profiles=PROFILES,
        poll_interval=poll_frequency(office.poll_interval_s(ven)),
    )
