# SPDX-License-Identifier: Apache-2.0
"""The one door of the VENs: bytes -> message -> who is it? -> service -> message -> bytes.

not OpenADR at all                     406 or 413, and the sentence
a message this service does not know   404
nobody's certificate, foreign IDs ...  200, and the fitting reply with its responseCode
the database does not answer           503: the VEN is to wait and come again
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import oadr
from doorway import get_logger
from oadr.errors import InvalidContent, OadrError, Refused
from oadr.event import CreatedEvent, RequestEvent
from oadr.familiar import Familiar
from oadr.opt import CancelOpt, CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    UpdateReport,
)
from oadr.vocabulary import ServiceName
from vtn.conversation import Exchange
from vtn.directory import Entry
from vtn.errors import Conflict, Rejected, StoreUnavailable
from vtn.identity import caller
from vtn.proof import Proof
from vtn.records import Ven
from vtn.replies import kind_of, refusal, request_id_of
from vtn.services import event, opt, poll, registration, report
from vtn.services.office import Caller, Office

log = get_logger()

LARGE_BYTES = 128 * 1024
"""Longer bodies are read in a thread, so that one message does not hold up all others."""

_LONGEST_POLL = 1024
_SIGNATURE = b"SignatureValue"
"""Stands in every signed payload."""

_Handler = Callable[[Office, Caller, Any], Awaitable[oadr.Message | bytes]]

SERVICES: Mapping[ServiceName, Mapping[type, _Handler]] = {
    ServiceName.REGISTER_PARTY: {
        QueryRegistration: registration.query,
        CreatePartyRegistration: registration.create,
        CancelPartyRegistration: registration.cancel,
        CanceledPartyRegistration: registration.canceled,
        Response: registration.acknowledge,
    },
    ServiceName.EVENT: {
        RequestEvent: event.request,
        CreatedEvent: event.created,
        Response: registration.acknowledge,
    },
    ServiceName.REPORT: {
        RegisterReport: report.register,
        RegisteredReport: report.registered,
        CreateReport: report.create,
        CreatedReport: report.created,
        UpdateReport: report.update,
        CancelReport: report.cancel,
        CanceledReport: report.canceled,
        Response: registration.acknowledge,
    },
    ServiceName.OPT: {
        CreateOpt: opt.create,
        CancelOpt: opt.cancel,
        Response: registration.acknowledge,
    },
    ServiceName.POLL: {Poll: poll.poll, Response: registration.acknowledge},
}
"""Which messages each service knows (rules 23 and 51)."""

ANSWERS: Mapping[type, _Handler] = {
    CreatedEvent: event.created,
    RegisteredReport: report.registered,
    CreatedReport: report.created,
    CanceledReport: report.canceled,
    CanceledPartyRegistration: registration.canceled,
    Response: registration.acknowledge,
}
"""What a VEN may answer to a push in the same HTTP exchange."""

PUSHED = -1
"""The connection of what is pushed: there is one at a time for each VEN."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    """An oadrPayload for status 200; one sentence of plain text for all others."""


class LastPoll:
    """The last poll on a connection, bytes and message.

    A VEN's polls are all the same, byte for byte: what they say need be found out once.
    """

    __slots__ = ("body", "message")

    def __init__(self) -> None:
        self.body = b""
        self.message: Poll | None = None

    def of(self, body: bytes) -> Poll | None:
        """What these bytes say, where they are those of the last poll."""
        return self.message if body == self.body else None

    def keep(self, body: bytes, message: oadr.Message) -> None:
        """Remember what these bytes were found to say, where it is a poll of the usual size."""
        if isinstance(message, Poll) and len(body) <= _LONGEST_POLL:
            self.body, self.message = body, message


def _shows_the_next(entry: Entry | None, certificate: str) -> bool:
    return entry is not None and entry.ven.next_certificate_sha256 == certificate


class Gateway:
    """Answers one message at a time; any number of them may be under way."""

    def __init__(self, office: Office, proof: Proof | None = None) -> None:
        """Without `proof` signatures are off: none is read, none is written."""
        self._office = office
        self._proof = proof
        self._familiar = Familiar()

    async def answer(
        self,
        service: ServiceName,
        body: bytes,
        *,
        certificate: str | None,
        connection: int,
        der: bytes | None = None,
        request: int = 0,
        last: LastPoll | None = None,
    ) -> Answer:
        """The answer to a body POSTed to a service.

        `certificate` is the full SHA-256 of the peer's DER certificate, `der` that itself;
        `connection` tells one connection from another, `request` one line of the log; `last` is
        kept by whoever keeps the connection.
        """
        peer = _Peer(certificate=certificate, der=der, connection=connection, request=request)
        answer = await self._answer(service, body, peer, last)
        entry = self._office.directory.by_certificate(certificate) if certificate else None
        self._office.conversation.hear(
            Exchange(
                self._office.now(),
                entry.ven.ven_id if entry is not None else "",
                certificate or "",
                service.value,
                answer.status,
                body,
                answer.body,
            )
        )
        return answer

    async def _answer(
        self, service: ServiceName, body: bytes, peer: "_Peer", last: LastPoll | None
    ) -> Answer:
        try:
            return Answer(200, await self._reply(service, body, peer, last))
        except Refused as error:
            log.info("refused", **self._who(peer), service=service.value, reason=str(error))
            return _plain(error.http_status, str(error))
        except _NotHere as error:
            log.info("not found", **self._who(peer), service=service.value, reason=str(error))
            return _plain(404, str(error))
        except (StoreUnavailable, Conflict) as error:
            # No traceback: while a database is away every VEN gets here.
            log.warning(
                "nothing stored", **self._who(peer), service=service.value, reason=str(error)
            )
            return _plain(503, "The VTN cannot store anything at the moment; come again later.")

    def at_once(self, last: LastPoll, *, certificate: str) -> bytes | None:
        """The answer to the last poll, sent again; None: `answer` has to be asked.

        Sure without waiting for anything: who it is, that it need not sign, that it may poll, and
        what waits for it, if anything, are all in the directory.
        """
        office, message = self._office, last.message
        entry = office.directory.by_certificate(certificate)
        if (
            entry is None
            or message is None
            or office.must_look_up(entry)
            or not entry.ven.registered
            or entry.ven.ven_id != message.ven_id
            or entry.ven.certificate_der is None
            or _shows_the_next(entry, certificate)
            or (self._proof is not None and self._proof.asks(entry.ven))
        ):
            return None
        waited = office.may_be_due(entry)
        body = poll.at_once(office, entry)
        if body is None:
            return None
        now = office.now()
        office.directory.touch(entry, now)
        if waited:
            service = ServiceName.POLL.value
            office.conversation.hear(
                Exchange(now, entry.ven.ven_id, certificate, service, 200, last.body, body)
            )
        return body

    async def _reply(
        self, service: ServiceName, body: bytes, peer: "_Peer", last: LastPoll | None
    ) -> bytes:
        entry = None
        if peer.certificate is not None:
            entry = self._office.directory.by_certificate(peer.certificate)
            if self._office.must_look_up(entry) or _shows_the_next(entry, peer.certificate):
                entry = await self._look_closer(entry, peer.certificate)
        proof = self._proof
        asked = proof is not None and entry is not None and proof.asks(entry.ven)
        content, signed = await self._content(body, entry, peer, last, asked=asked)
        if isinstance(content, InvalidContent):
            reply = self._unusable(content, peer)
        else:
            reply = await self._act(service, content, peer)
        if proof is None or entry is None or not (asked or signed):
            return reply
        return await self._sealed(proof, entry.ven, reply, peer.der)

    async def _look_closer(self, entry: Entry | None, certificate: str) -> Entry | None:
        """The VEN as the database has it; what it has renewed counts from its first use."""
        if self._office.must_look_up(entry):
            entry = await self._office.look_up(certificate)
        if entry is not None and _shows_the_next(entry, certificate):
            await self._office.take_up_certificate(entry.ven, certificate)
        return entry

    async def _content(
        self,
        body: bytes,
        entry: Entry | None,
        peer: "_Peer",
        last: LastPoll | None,
        *,
        asked: bool,
    ) -> tuple[oadr.Message | InvalidContent, bool]:
        """What a body says, and whether it bears a good signature; `asked`: whether it must."""
        again = last.of(body) if last is not None and not asked else None
        if again is not None:
            return again, False
        if asked or len(body) > LARGE_BYTES or _SIGNATURE in body:
            return await self._read(body, entry, peer.der)
        known = self._familiar.read(body)
        if known is not None:
            return known, False
        try:  # nothing to wait for: most messages are polls
            content = oadr.parse(body, max_bytes=self._office.settings.openadr.max_bytes)
        except InvalidContent as error:
            return error, False
        if last is not None:
            last.keep(body, content)
        self._familiar.keep(body, content)
        if isinstance(content, CreatePartyRegistration) and content.xml_signature:
            return await self._read(body, entry, peer.der)
        return content, False

    async def _act(self, service: ServiceName, message: oadr.Message, peer: "_Peer") -> bytes:
        office, kind = self._office, type(message)
        handler = SERVICES[service].get(kind)
        if handler is None:
            raise _NotHere(f"{service.value} does not know {oadr.wire_name(kind)}.")
        try:
            entry = caller(
                office.directory, peer.certificate, kind, getattr(message, "ven_id", None)
            )
            office.directory.touch(entry, office.now())
            if entry.ven.certificate_der is None and peer.der is not None:
                await office.remember_certificate(entry.ven, peer.der)
            reply = await handler(office, Caller(entry, peer.connection), message)
        except Rejected as rejected:
            office.counts.rejected[rejected.response_code] += 1
            log.info(
                "rejected",
                **self._who(peer),
                message=oadr.wire_name(kind),
                code=rejected.response_code,
                reason=str(rejected),
            )
            return self._refusal(kind, rejected, request_id_of(message), message)
        if kind is not Poll:  # of which there are most
            log.debug("answered", **self._who(peer), message=oadr.wire_name(kind))
        return reply if isinstance(reply, bytes) else oadr.build(reply)

    def _who(self, peer: "_Peer") -> dict[str, object]:
        """What each line of the log says of a request: its number, and the VEN if it is one."""
        entry = None
        if peer.certificate is not None:
            entry = self._office.directory.by_certificate(peer.certificate)
        if entry is None:
            return {"request": peer.request, "certificate": peer.certificate}
        return {"request": peer.request, "ven": entry.ven.ven_id}

    async def take(self, ven: Ven, body: bytes) -> oadr.Message | None:
        """Act on what a VEN has answered to a push; None where it is nothing to act on.

        What is wrong with it stands in the log: an answer has no answer. Raises StoreUnavailable.
        """
        directory = self._office.directory
        try:
            entry = directory.by_certificate(ven.certificate_sha256)
            content, _ = await self._read(body, entry, ven.certificate_der)
            if isinstance(content, InvalidContent):
                log.info("answer to a push not taken", ven=ven.ven_id, reason=str(content))
                return None
            handler = ANSWERS.get(type(content))
            if handler is None:
                name = oadr.wire_name(type(content))
                log.info("answer to a push not taken", ven=ven.ven_id, message=name)
                return None
            named = getattr(content, "ven_id", None)
            entry = caller(directory, ven.certificate_sha256, type(content), named)
            await handler(self._office, Caller(entry, PUSHED), content)
        except (Refused, Rejected) as error:
            log.info("answer to a push not taken", ven=ven.ven_id, reason=str(error))
            return None
        return content

    async def seal(self, ven: Ven, body: bytes) -> bytes:
        """A payload as the VEN is to get it: signed where it signs itself (rule 514)."""
        proof = self._proof
        if proof is None or not proof.asks(ven):
            return body
        return await self._sealed(proof, ven, body, ven.certificate_der)

    async def _sealed(self, proof: Proof, ven: Ven, body: bytes, der: bytes | None) -> bytes:
        if len(body) <= LARGE_BYTES:
            return proof.sealed(self._office, ven, der, body)
        return await asyncio.to_thread(proof.sealed, self._office, ven, der, body)

    def _unusable(self, error: InvalidContent, peer: "_Peer") -> bytes:
        """The reply to what satisfies the schema and nothing else (rule 33).

        A stranger is told that it is one, and not what is wrong with its message.
        """
        kind = kind_of(error.message)
        fault = Rejected(error.response_code, str(error))
        try:
            caller(self._office.directory, peer.certificate, kind, None)
        except Rejected as rejected:
            fault = rejected
        self._office.counts.rejected[fault.response_code] += 1
        log.info(
            "rejected",
            **self._who(peer),
            message=error.message,
            code=fault.response_code,
            reason=str(fault),
        )
        return self._refusal(kind, fault, error.request_id)

    async def _read(
        self, body: bytes, entry: Entry | None, der: bytes | None
    ) -> tuple[oadr.Message | InvalidContent, bool]:
        """The message, and whether it bears a good signature. Raises Refused, StoreUnavailable."""
        large = len(body) > LARGE_BYTES
        most = self._office.settings.openadr.max_bytes
        proof = self._proof
        if proof is None or entry is None:
            try:
                if large:
                    return await asyncio.to_thread(oadr.parse, body, max_bytes=most), False
                return oadr.parse(body, max_bytes=most), False
            except InvalidContent as error:
                return error, False
        if large:
            opened = await asyncio.to_thread(proof.open, body, entry.ven, der, max_bytes=most)
        else:
            opened = proof.open(body, entry.ven, der, max_bytes=most)
        if opened.verified is not None:
            await proof.admit(self._office, entry.ven, opened.verified)
        return opened.content, opened.signed

    def _refusal(
        self,
        kind: type | None,
        fault: Rejected,
        request_id: str,
        message: oadr.Message | None = None,
    ) -> bytes:
        return oadr.build(
            refusal(
                kind,
                fault.response_code,
                str(fault),
                vtn_id=self._office.vtn_id,
                request_id=request_id,
                message=message,
            )
        )


class _Peer(NamedTuple):
    """The other end of a connection."""

    certificate: str | None
    der: bytes | None
    connection: int
    request: int


class _NotHere(OadrError):
    """A message of another service."""


def _plain(status: int, sentence: str) -> Answer:
    return Answer(status, sentence.encode())
