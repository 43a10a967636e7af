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
from typing import Any

import structlog

import oadr
from oadr.errors import InvalidContent, OadrError, Refused
from oadr.event import CreatedEvent, RequestEvent
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
from vtn.errors import Conflict, Rejected, StoreUnavailable
from vtn.identity import caller
from vtn.replies import kind_of, refusal, request_id_of
from vtn.services import event, opt, poll, registration, report
from vtn.services.office import Caller, Office

log = structlog.get_logger()

LARGE_BYTES = 16 * 1024
"""Longer bodies are read in a thread, so that one message does not hold up all others."""

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


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    """An oadrPayload for status 200; one sentence of plain text for all others."""


class Gateway:
    """Answers one message at a time; any number of them may be under way."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def answer(
        self, service: ServiceName, body: bytes, *, certificate: str | None, connection: int
    ) -> Answer:
        """The answer to a body POSTed to a service.

        `certificate` is the full SHA-256 of the peer's DER certificate; `connection` tells one
        connection from another.
        """
        try:
            return Answer(200, await self._reply(service, body, certificate, connection))
        except Refused as error:
            log.info("refused", service=service.value, reason=str(error))
            return _plain(error.http_status, str(error))
        except _NotHere as error:
            log.info("not found", service=service.value, reason=str(error))
            return _plain(404, str(error))
        except (StoreUnavailable, Conflict):
            log.exception("nothing stored", service=service.value)
            return _plain(503, "The VTN cannot store anything at the moment; come again later.")

    async def _reply(
        self, service: ServiceName, body: bytes, certificate: str | None, connection: int
    ) -> bytes:
        try:
            message = await self._parse(body)
        except InvalidContent as error:
            return self._unusable(error, certificate)
        kind = type(message)
        handler = SERVICES[service].get(kind)
        if handler is None:
            raise _NotHere(f"{service.value} does not know {oadr.wire_name(kind)}.")
        try:
            entry = caller(
                self._office.directory, certificate, kind, getattr(message, "ven_id", None)
            )
            self._office.directory.touch(entry, self._office.now())
            reply = await handler(self._office, Caller(entry, connection), message)
        except Rejected as rejected:
            log.info(
                "rejected",
                message=oadr.wire_name(kind),
                certificate=certificate,
                code=rejected.response_code,
                reason=str(rejected),
            )
            return self._refusal(kind, rejected, request_id_of(message), message)
        return reply if isinstance(reply, bytes) else oadr.build(reply)

    def _unusable(self, error: InvalidContent, certificate: str | None) -> bytes:
        """The reply to what satisfies the schema and nothing else (rule 33).

        A stranger is told that it is one, and not what is wrong with its message.
        """
        kind = kind_of(error.message)
        fault = Rejected(error.response_code, str(error))
        try:
            caller(self._office.directory, certificate, kind, None)
        except Rejected as rejected:
            fault = rejected
        log.info("rejected", message=error.message, certificate=certificate, reason=str(fault))
        return self._refusal(kind, fault, error.request_id)

    async def _parse(self, body: bytes) -> oadr.Message:
        most = self._office.settings.openadr.max_bytes
        if len(body) <= LARGE_BYTES:
            return oadr.parse(body, max_bytes=most)
        return await asyncio.to_thread(oadr.parse, body, max_bytes=most)

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


class _NotHere(OadrError):
    """A message of another service."""


def _plain(status: int, sentence: str) -> Answer:
    return Answer(status, sentence.encode())
