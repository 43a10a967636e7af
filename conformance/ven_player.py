# SPDX-License-Identifier: Apache-2.0
"""The harness as a VEN: the steps of which tests of a VTN are made, over pull or push."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from conformance import drafts
from conformance.declaration import Transport
from conformance.errors import Failed, NotRun, expect
from conformance.examiner import Examiner
from conformance.services import SERVICE_OF, answer_class
from conformance.wire import Client, Exchange, Incoming, Outgoing
from oadr import EiResponse, Message, build, wire_name
from oadr.event import CreatedEvent, DistributeEvent, Event, EventResponse, RequestEvent
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
    RequestReregistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportRequest,
    UpdatedReport,
    UpdateReport,
)
from oadr.vocabulary import EventStatus, OptType, ResponseRequired

M = TypeVar("M")

PACE_S = 0.25
"""Pause between polls while something is awaited."""
QUIET_POLLS = 3
"""So many polls without news mean that nothing is waiting."""


class VenPlayer:
    """One VEN played by the harness. Findings of the message checks gather in `examiner`."""

    def __init__(
        self,
        client: Client,
        examiner: Examiner,
        *,
        name: str,
        transport: Transport = Transport.PULL,
        push_url: str = "",
        given_ven_id: str = "",
    ) -> None:
        self.client = client
        self.examiner = examiner
        self.memory = examiner.memory
        self.name = name
        self.transport = transport
        self.push_url = push_url
        self.given_ven_id = given_ven_id
        """The venID that the operator of the VTN allocated; "" where the VTN makes one."""
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        """Push: what the VTN sent, in its order."""
        self.answered: set[tuple[str, int]] = set()
        """(eventID, modificationNumber) of the events that were answered."""
        self.opt = OptType.OPT_IN
        """How events are answered that a test does not answer itself."""

    # --- one exchange ----------------------------------------------------------------------------

    async def post(self, message: Message, *, service: str = "") -> Exchange:
        """Send the message as it is; whatever comes back is not judged."""
        return await self.client.send(service or SERVICE_OF[type(message)], build(message))

    async def say(self, message: Message, *, service: str = "") -> Message | None:
        """Send the message -> the answer, checked; None for an empty body.

        Raises Failed where the HTTP status is not 200 or the answer cannot be read.
        """
        exchange = await self.post(message, service=service)
        name = wire_name(type(message))
        expect(
            exchange.status == 200,
            rule=53,
            seen=f"HTTP {exchange.status} to {name}: {_snippet(exchange.response)}",
            wanted="HTTP 200 with a payload, application errors included",
        )
        if not exchange.response:
            return None
        answer = self.examiner.take(
            exchange.response, exchange.response_headers, request=message, asked=False
        )
        expect(
            answer is not None,
            rule=509,
            seen=f"an answer to {name} that is no payload",
            wanted="a payload valid by the schema",
        )
        return answer

    async def ask(
        self, message: Message, *, code: str = "200", rule: int = 33, service: str = ""
    ) -> Any:
        """Send the message and demand the fitting answer with `code` ("200", "452", "4xx").

        Raises Failed for `rule` where another message or another code comes.
        """
        answer = await self.say(message, service=service)
        kind = answer_class(message)
        name = wire_name(type(message))
        if answer is None:
            raise Failed(rule, seen=f"no payload in answer to {name}", wanted=wire_name(kind))
        if not isinstance(answer, kind):
            raise Failed(rule, seen=f"{_brief(answer)} in answer to {name}", wanted=wire_name(kind))
        found = code_of(answer)
        expect(
            fits(found, code),
            rule=rule,
            seen=f"{name} was answered {_brief(answer)}",
            wanted=f"{wire_name(kind)} with responseCode {code}",
        )
        return answer

    async def poll(self) -> Message:
        """One poll -> what it was answered with."""
        answer = await self.say(Poll(ven_id=self.memory.ven_id))
        if answer is None:
            raise Failed(500, seen="an empty answer to oadrPoll", wanted="a payload")
        return answer

    # --- what the VTN has to say -----------------------------------------------------------------

    async def next_message(self, within_s: float) -> Message | None:
        """The next thing the VTN wants of this VEN, by poll or push; None if nothing comes."""
        if self.transport is Transport.PUSH:
            try:
                return await asyncio.wait_for(self.inbox.get(), within_s)
            except TimeoutError:
                return None
        clock = asyncio.get_running_loop()
        deadline = clock.time() + within_s
        while True:
            answer = await self.poll()
            if not isinstance(answer, Response):
                return answer
            if clock.time() >= deadline:
                return None
            await asyncio.sleep(PACE_S)

    async def wait_for(
        self,
        kind: type[M],
        within_s: float,
        *,
        rule: int,
        where: Callable[[M], bool] = lambda _message: True,
        wanted: str = "",
    ) -> M:
        """The next message of this kind that fits; everything else is answered as a VEN should.

        Raises Failed for `rule` when it has not come in time.
        """
        clock = asyncio.get_running_loop()
        deadline = clock.time() + within_s
        came: list[str] = []
        while (left := deadline - clock.time()) > 0:
            message = await self.next_message(left)
            if message is None:
                break
            if isinstance(message, kind) and where(message):
                return message
            came.append(wire_name(type(message)))
            await self.answer(message)
        raise Failed(
            rule,
            seen=f"within {within_s:g} s came {', '.join(came) or 'nothing'}",
            wanted=wanted or wire_name(kind),
        )

    async def wait_event(
        self,
        event_id: str,
        within_s: float,
        *,
        rule: int = 50,
        status: Sequence[EventStatus] = (),
        modification: int | None = None,
    ) -> tuple[DistributeEvent, Event]:
        """The payload that brings this event (in this state or modification); not answered yet."""

        def fits_(message: DistributeEvent) -> bool:
            found = find(message, event_id)
            return (
                found is not None
                and (not status or found.status in status)
                and modification in (None, found.modification_number)
            )

        state = f" {'/'.join(status)}" if status else ""
        number = f" in modification {modification}" if modification is not None else ""
        message = await self.wait_for(
            DistributeEvent,
            within_s,
            rule=rule,
            where=fits_,
            wanted=f"oadrDistributeEvent with {event_id}{state}{number}",
        )
        found = find(message, event_id)
        assert found is not None
        return message, found

    async def drain(self, within_s: float = 10.0) -> list[Message]:
        """Take and answer everything that waits -> what it was."""
        came: list[Message] = []
        clock = asyncio.get_running_loop()
        deadline = clock.time() + within_s
        quiet = 0
        while quiet < QUIET_POLLS and clock.time() < deadline:
            message = await self.next_message(0 if self.transport is Transport.PULL else PACE_S)
            if message is None:
                quiet += 1
                await asyncio.sleep(PACE_S / 2)
                continue
            quiet = 0
            came.append(message)
            if not await self.answer(message):
                quiet += 1  # told again, with nothing new in it: still the same as before
        return came

    async def answer(self, message: Message) -> bool:
        """Answer as a VEN should; False where there was nothing to answer."""
        answer = self.answer_to(message)
        if isinstance(message, CancelPartyRegistration):
            self.memory.forget()
        if isinstance(message, RequestReregistration):
            await self.say(Response(response=EiResponse(), ven_id=self.memory.ven_id))
            await self.register(again=True)
            return True
        if answer is None:
            return False
        if self.transport is Transport.PUSH and not isinstance(answer, CreatedEvent):
            return True  # it went back in the HTTP response already
        await self.ask(answer)
        if isinstance(answer, CreatedEvent):
            self.remember_answers(answer)
        return True

    def answer_to(self, message: Message) -> Message | None:
        """The logical answer of a well-behaved VEN; None where the message wants none."""
        ven_id = self.memory.ven_id
        match message:
            case DistributeEvent():
                return self.created_event(message)
            case RegisterReport():
                return RegisteredReport(response=_ok(message.request_id), ven_id=ven_id)
            case CreateReport():
                return self.created_report(message.request_id)
            case CancelReport():
                if not message.report_to_follow:  # else one report is still to come (rule 329)
                    for one in message.report_request_ids:
                        self.memory.requested.pop(one, None)
                return CanceledReport(
                    response=_ok(message.request_id),
                    pending_report_request_ids=tuple(self.memory.requested),
                    ven_id=ven_id,
                )
            case CancelPartyRegistration():
                return CanceledPartyRegistration(
                    response=_ok(message.request_id),
                    registration_id=message.registration_id,
                    ven_id=ven_id,
                )
            case RequestReregistration():
                return Response(response=EiResponse(), ven_id=ven_id)
            case _:
                return None

    def created_report(self, request_id: str) -> CreatedReport:
        """Yes to all report requests in force (rule 329)."""
        return CreatedReport(
            response=_ok(request_id),
            pending_report_request_ids=tuple(self.memory.requested),
            ven_id=self.memory.ven_id,
        )

    def created_event(
        self, message: DistributeEvent, opts: dict[str, OptType] | None = None
    ) -> CreatedEvent | None:
        """Answers to the events that want one and have none yet (rule 12)."""
        chosen = opts or {}
        wanting = [
            event
            for event in message.events
            if event.response_required is ResponseRequired.ALWAYS
            and (event.event_id, event.modification_number) not in self.answered
            and event.status is not EventStatus.COMPLETED
        ]
        if not wanting:
            return None
        return CreatedEvent(
            response=EiResponse(),
            event_responses=tuple(
                EventResponse(
                    request_id=message.request_id,
                    event_id=event.event_id,
                    modification_number=event.modification_number,
                    opt_type=chosen.get(event.event_id, self.opt),
                )
                for event in wanting
            ),
            ven_id=self.memory.ven_id,
        )

    def remember_answers(self, answer: CreatedEvent) -> None:
        """These modifications are not answered again of its own accord."""
        self.answered.update(
            (one.event_id, one.modification_number) for one in answer.event_responses
        )

    async def respond(
        self, message: DistributeEvent, opt: OptType = OptType.OPT_IN, *, code: str = "200"
    ) -> CreatedEvent:
        """Opt in or out of everything new in the payload; the VTN must answer `code`."""
        answer = self.created_event(message, {event.event_id: opt for event in message.events})
        if answer is None:
            raise Failed(12, seen="no event that wants an answer", wanted="responseRequired always")
        await self.ask(answer, code=code, rule=16)
        self.remember_answers(answer)
        return answer

    async def pushed(self, incoming: Incoming) -> Outgoing:
        """Push: what this VEN's own endpoint answers."""
        message = self.examiner.take(incoming.body, incoming.headers, request=None, asked=True)
        if message is None:
            return Outgoing(status=406)
        answer = None if isinstance(message, DistributeEvent) else self.answer_to(message)
        self.inbox.put_nowait(message)
        return Outgoing(body=build(answer) if answer is not None else b"")

    # --- registration ----------------------------------------------------------------------------

    async def query(self) -> CreatedPartyRegistration:
        """Ask what the VTN offers."""
        answer: CreatedPartyRegistration = await self.ask(
            QueryRegistration(request_id=drafts.fresh("query")), rule=404
        )
        return answer

    def registration(self, *, again: bool = False) -> CreatePartyRegistration:
        """The message that registers; `again` with the IDs (rule 402)."""
        push = self.transport is Transport.PUSH
        return CreatePartyRegistration(
            request_id=drafts.fresh("register"),
            registration_id=self.memory.registration_id if again else None,
            ven_id=self.memory.ven_id if again else self.given_ven_id or None,
            transport_address=self.push_url if push else None,
            ven_name=self.name,
            http_pull_model=not push,
            xml_signature=self.examiner.seal is not None,
        )

    async def register(self, *, again: bool = False) -> CreatedPartyRegistration:
        """Register; the IDs are remembered. A new registration forgets what was (rule 406)."""
        request = self.registration(again=again)
        if not again:
            self.memory.forget()
        answer: CreatedPartyRegistration = await self.ask(request, rule=403)
        for what, found in (
            ("venID", answer.ven_id),
            ("registrationID", answer.registration_id),
        ):
            expect(found, rule=403, seen=f"no {what}", wanted="venID and registrationID")
        return answer

    async def boot(self) -> None:
        """Register anew, exchange metadata, ask for events; what the VTN omits is let pass."""
        self.answered.clear()
        while not self.inbox.empty():
            self.inbox.get_nowait()
        await self.register()
        await self.drain(4.0)
        await self.offer_reports()
        await self.drain(4.0)
        await self.see_events()

    async def see_events(self) -> None:
        """Ask for all events and answer them, whatever comes."""
        asking = RequestEvent(request_id=drafts.fresh("events"), ven_id=self.memory.ven_id)
        message = await self.say(asking)
        if message is not None:
            await self.answer(message)

    async def leave(self) -> None:
        """End the registration, whatever the VTN says to it."""
        if self.memory.registration_id:
            await self.post(
                CancelPartyRegistration(
                    request_id=drafts.fresh("cancel"),
                    registration_id=self.memory.registration_id,
                    ven_id=self.memory.ven_id,
                )
            )
        self.memory.forget()

    async def offer_reports(
        self, reports: Sequence[Report] | None = None, *, answering: str | None = None
    ) -> RegisteredReport:
        """Send the metadata; requests that ride along are accepted (rules 301, 306, 344).

        `answering` is the reportRequestID of the request for metadata, if it was asked for.
        """
        offered = drafts.metadata(self.memory.resources) if reports is None else tuple(reports)
        self.memory.requested = {
            key: one
            for key, one in self.memory.requested.items()
            if one.report_specifier_id == "METADATA"  # not ended by new metadata (rule 306)
        }
        self.memory.offered = {one.report_specifier_id: one for one in offered}
        message = replace(self.metadata_message(offered), report_request_id=answering)
        answer: RegisteredReport = await self.ask(message, rule=301)
        if answer.requests:
            await self.ask(self.created_report(answer.response.request_id), rule=344)
        return answer

    def metadata_message(self, reports: Sequence[Report]) -> RegisterReport:
        """The message that offers these reports."""
        return RegisterReport(
            request_id=drafts.fresh("metadata"),
            reports=tuple(reports),
            ven_id=self.memory.ven_id,
        )

    async def request_events(self, reply_limit: int | None = None) -> DistributeEvent:
        """Ask for all events; they are not answered."""
        answer: DistributeEvent = await self.ask(
            RequestEvent(
                request_id=drafts.fresh("events"),
                ven_id=self.memory.ven_id,
                reply_limit=reply_limit,
            ),
            rule=50,
        )
        return answer

    async def cancel_registration(self, *, code: str = "200", rule: int = 407) -> None:
        """End the registration, if there is one."""
        if not self.memory.registration_id:
            return
        await self.ask(
            CancelPartyRegistration(
                request_id=drafts.fresh("cancel"),
                registration_id=self.memory.registration_id,
                ven_id=self.memory.ven_id,
            ),
            code=code,
            rule=rule,
        )
        self.memory.forget()

    # --- reports ---------------------------------------------------------------------------------

    async def report(
        self,
        request: ReportRequest,
        *,
        rows: int = 1,
        step: timedelta | None = None,
        code: str = "200",
        rule: int = 303,
    ) -> UpdatedReport:
        """Send values for the request; the VTN must answer `code`."""
        offer = self.memory.offered.get(request.report_specifier_id)
        name = (offer.report_name or "") if offer is not None else "METADATA_TELEMETRY_USAGE"
        length = step or request.granularity or drafts.SECOND
        answer: UpdatedReport = await self.ask(
            self.update(
                drafts.values(request, name.removeprefix("METADATA_"), rows=rows, step=length)
            ),
            code=code,
            rule=rule,
        )
        if answer.cancel is not None:
            self.memory.requested = {
                key: one
                for key, one in self.memory.requested.items()
                if key not in answer.cancel.report_request_ids
            }
        return answer

    def update(self, *reports: Report) -> UpdateReport:
        """The message that carries these reports."""
        return UpdateReport(
            request_id=drafts.fresh("update"), reports=reports, ven_id=self.memory.ven_id
        )

    def swapped(self, message: Any) -> Any:
        """The message under a venID in the other letters (rule 512)."""
        ven_id = self.memory.ven_id
        if ven_id.swapcase() == ven_id:
            raise NotRun(f"the venID {ven_id} has no letters that could be swapped")
        return replace(message, ven_id=ven_id.swapcase())


def find(message: DistributeEvent, event_id: str) -> Event | None:
    """The event of that ID in the payload."""
    return next((event for event in message.events if event.event_id == event_id), None)


def code_of(message: Any) -> str:
    """The responseCode of an answer; "" where it has none."""
    response = getattr(message, "response", None)
    return response.response_code if response is not None else ""


def fits(found: str, code: str) -> bool:
    """Whether a responseCode is the one that was wanted: "200" any 2xx, "4xx" any error, "452"."""
    if code == "200":
        return found[:1] == "2"
    return found[:1] == "4" if code == "4xx" else found == code


def _ok(request_id: str) -> EiResponse:
    return EiResponse(request_id=request_id)


def _brief(message: Message) -> str:
    code = code_of(message)
    response = getattr(message, "response", None)
    text = f" ({response.description})" if response is not None and response.description else ""
    return f"{wire_name(type(message))}{' ' + code if code else ''}{text}"


def _snippet(body: bytes) -> str:
    return body[:160].decode("utf-8", "replace").replace("\n", " ") or "no body"
