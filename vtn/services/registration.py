# SPDX-License-Identifier: Apache-2.0
"""EiRegisterParty: query, registration, re-registration, cancellation from either side."""

from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.endpoints import PREFIX
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
from vtn.identity import fitting
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
    and our metadata waits for the next poll, or is pushed (rule 405). With one nothing is
    forgotten.
    """
    address = _served(office, message)
    at = office.now()
    async with office.change() as (connection, news):
        news.changed(caller.ven_id)
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
            await forget(office, connection, ven.ven_id, at=at, remark="registered anew")
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
            push_address=address,
            xml_signature=message.xml_signature,
        )
        await note_ven(
            connection,
            caller,
            "register again" if again else "register",
            at=at,
            detail=message.ven_name or "",
        )
    return _created(office, office.ven(caller.ven_id), message.request_id)


async def cancel(
    office: Office, caller: Caller, message: CancelPartyRegistration
) -> CanceledPartyRegistration:
    """The VEN ends its registration (rule 407)."""
    at = office.now()
    async with office.change() as (connection, news):
        news.changed(caller.ven_id)
        ven = await known_ven(connection, caller.ven_id, lock=True)
        if ven.registration_id is None or message.registration_id != ven.registration_id:
            raise Rejected("452", "There is no such registrationID.")
        await _end(office, connection, ven.ven_id, at=at, remark="cancelled by the VEN")
        await note_ven(connection, caller, "cancel registration", at=at)
    return CanceledPartyRegistration(
        response=ok(message.request_id),
        registration_id=message.registration_id,
        ven_id=caller.ven_id,
    )


async def canceled(office: Office, caller: Caller, message: CanceledPartyRegistration) -> Response:
    """The VEN confirms our cancellation; it is over also where the VEN knew nothing of it."""
    at = office.now()
    async with office.change() as (connection, news):
        news.changed(caller.ven_id)
        waiting = await outbox.waiting(connection, caller.ven_id)
        if not any(one.kind == "oadrCancelPartyRegistration" for one in waiting):
            raise Rejected("452", "No cancellation of a registration waits for an answer.")
        await _end(office, connection, caller.ven_id, at=at, remark="cancelled by the operator")
        await note_ven(
            connection,
            caller,
            "confirm cancelled registration",
            at=at,
            outcome=message.response.response_code,
        )
    return Response(response=ok(message.response.request_id), ven_id=caller.ven_id)


async def acknowledge(_office: Office, caller: Caller, message: Response) -> Response:
    """The VEN has received what has no answer of its own (a request to register again)."""
    return Response(response=ok(message.response.request_id), ven_id=caller.ven_id)


async def _end(
    office: Office, connection: AsyncConnection, ven_id: str, *, at: datetime, remark: str
) -> None:
    await forget(office, connection, ven_id, at=at, remark=remark)
    await vens.unregister(connection, ven_id)


def _served(office: Office, message: CreatePartyRegistration) -> str | None:
    """Where the VEN is to be pushed to; None for one that polls. Raises Rejected (rule 402)."""
    if message.profile is not ProfileName.B:
        raise Rejected("459", "This VTN serves the profile 2.0b only.")
    if message.transport is not TransportName.SIMPLE_HTTP:
        raise Rejected("459", "This VTN serves the transport simpleHttp only.")
    if message.xml_signature and office.settings.openadr.signatures == "off":
        raise Rejected(
            "459", "This VTN does not sign; register with oadrXmlSignature false (rule 514)."
        )
    if message.http_pull_model is None and message.transport_address:
        raise Rejected("459", "Say with oadrHttpPullModel whether to push or not (rule 402).")
    if message.http_pull_model is not False:
        return None
    return push_address(message.transport_address or "")


def push_address(text: str) -> str:
    """An oadrTransportAddress as it is kept: https, no slash at its end, no service (rule 511).

    >>> push_address("https://VEN.example:8443/site/OpenADR2/Simple/2.0b/")
    'https://ven.example:8443/site'

    Raises Rejected for what cannot be pushed to.
    """
    try:
        parts = urlsplit(text.strip())
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError as error:
        raise Rejected("459", "The oadrTransportAddress is no URL (rule 402).") from error
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise Rejected(
            "459", "Push needs an oadrTransportAddress like https://host:port (rule 402)."
        )
    if parts.username is not None or not text.isprintable() or " " in text.strip():
        raise Rejected("459", "The oadrTransportAddress is https://host:port and no more.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix(PREFIX).rstrip("/")
    return f"https://{fitting('oadrTransportAddress', host)}{port}{path}"


def _created(office: Office, ven: Ven, request_id: str) -> CreatedPartyRegistration:
    return CreatedPartyRegistration(
        response=ok(request_id),
        registration_id=ven.registration_id,
        ven_id=ven.ven_id if ven.registered else None,
        vtn_id=office.vtn_id,
        profiles=PROFILES,
        poll_interval=poll_frequency(office.poll_interval_s(ven)),
    )
