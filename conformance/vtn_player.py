# SPDX-License-Identifier: Apache-2.0
"""The harness as a VTN: a proper one by default, and as wrong as a test wants it to be."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from conformance import drafts
from conformance.declaration import Transport
from conformance.errors import Failed, expect
from conformance.event_times import statuses, value_at
from conformance.examiner import Examiner
from conformance.services import SERVICE_OF
from conformance.wire import Client, Incoming, Outgoing
from doorway import get_logger
from oadr import EiResponse, Message, build, wire_name
from oadr.endpoints import PREFIX
from oadr.event import CreatedEvent, DistributeEvent, Event, EventResponse, RequestEvent
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Profile,
    QueryRegistration,
)
from oadr.report import (
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    ReportRequest,
    UpdatedReport,
    UpdateReport,
)
from oadr.vocabulary import EventStatus, ProfileName, TransportName

M = TypeVar("M")
log = get_logger()
PUSH_AFTER_S = 0.5
VTN_ID = "Conformance-VTN"
VEN_ID = "Conformance-VEN-0042"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message of the VEN."""

    message: Message
    at: datetime


class VtnPlayer:
    """One VTN played by the harness. Findings of the message checks gather in `examiner`."""

    def __init__(self, examiner: Examiner, *, poll_s: int, market_context: str) -> None:
        self.examiner = examiner
        self.memory = examiner.memory
        self.poll_s = poll_s
        self.market_context = market_context
        self.transport = Transport.PULL
        self.registered = False
        self.ven_id = VEN_ID
        self.push_address = ""
        """Where the VEN takes pushes; "" for a VEN that polls."""
        self.push_client: Callable[[str], Client] | None = None
        self.events: list[Event] = []
        """What an oadrDistributeEvent holds from now on."""
        self.with_ids_only = False
        """Answer registrations with what the schema demands and nothing more."""
        self.piggyback: tuple[ReportRequest, ...] = ()
        """Rides along in the next oadrRegisteredReport."""
        self.cancel_in_update: CancelReport | None = None
        """Rides along in the next oadrUpdatedReport."""
        self.refuse_opt_cancels = False
        """Answer oadrCancelOpt by 452, as if the optID were unknown."""
        self.keep_events = False
        """A new registration leaves `events` as they are."""
        self.tls_version = ""
        """What was agreed with the VEN last."""
        self.refusals: list[datetime] = []
        """When requests were turned away by HTTP 503."""
        self._pushing: asyncio.Future[None] | None = None
        self._refuse_next = 0
        self._refuse_until: datetime | None = None
        self._garbage: deque[bytes] = deque()
        self.arrivals: list[Arrival] = []
        self.start = 0
        """Arrivals before this are of earlier tests."""
        self._queue: deque[Message | Outgoing | Callable[[], Message]] = deque()
        self._arrived = asyncio.Condition()

    # --- answering -------------------------------------------------------------------------------

    async def handle(self, incoming: Incoming) -> Outgoing:
        """Answer one request of the VEN."""
        self.tls_version = incoming.tls_version
        if self._refuses():
            self.refusals.append(drafts.utc_now())
            return Outgoing(status=503)
        if incoming.method != "POST":
            return Outgoing(status=501)
        if not incoming.path.startswith(PREFIX):
            return Outgoing(status=404)
        message = self.examiner.take(incoming.body, incoming.headers, request=None, asked=True)
        if message is None:
            return Outgoing(status=406)
        answer = self._usual_answer(message)
        await self._note(message)
        if self._garbage and isinstance(message, Poll):
            return Outgoing(body=self._garbage.popleft())
        if isinstance(answer, Outgoing):
            return answer
        return Outgoing(body=build(answer) if answer is not None else b"")

    async def _note(self, message: Message) -> None:
        self.arrivals.append(Arrival(message=message, at=drafts.utc_now()))
        async with self._arrived:
            self._arrived.notify_all()

    def _refuses(self) -> bool:
        if self._refuse_next:
            self._refuse_next -= 1
            return True
        return self._refuse_until is not None and drafts.utc_now() < self._refuse_until

    def unavailable(self, times: int) -> None:
        """The next requests get HTTP 503."""
        self._refuse_next = times

    def unavailable_for(self, length: timedelta) -> None:
        """All requests get HTTP 503 for so long."""
        self.refusals.clear()
        self._refuse_until = drafts.utc_now() + length

    async def refused_until_over(self) -> Sequence[datetime]:
        """Come back when HTTP 503 is over -> when requests were turned away."""
        if self._refuse_until is not None:
            left = self._refuse_until - drafts.utc_now()
            await asyncio.sleep(max(0.0, left.total_seconds()))
        return tuple(self.refusals)

    def garbage(self, body: bytes, *, times: int) -> None:
        """The next polls get this as a body."""
        self._garbage.extend([body] * times)

    def _usual_answer(self, message: Message) -> Message | Outgoing | None:
        match message:
            case Poll():
                return self._next()
            case QueryRegistration() | CreatePartyRegistration() | CancelPartyRegistration():
                return self._registration(message)
            case CanceledPartyRegistration():
                if message.response.ok:
                    self.forget()
                return self._ok(message)
            case RequestEvent():
                return self._guarded(
                    self.distribute_event(EiResponse(request_id=message.request_id))
                )
            case RegisterReport() | UpdateReport() | CreateReport():
                return self._report(message)
            case CancelReport():
                return None
            case CreateOpt():
                return CreatedOpt(response=_echo(message), opt_id=message.opt_id)
            case CancelOpt():
                code = "452" if self.refuse_opt_cancels else "200"
                return CanceledOpt(
                    response=replace(_echo(message), response_code=code), opt_id=message.opt_id
                )
            case _:
                return self._ok(message)

    def _registration(
        self, message: QueryRegistration | CreatePartyRegistration | CancelPartyRegistration
    ) -> Message:
        match message:
            case QueryRegistration():
                return self.created(message.request_id)
            case CreatePartyRegistration():
                return self.register(message)
            case CancelPartyRegistration():
                known = message.registration_id == self.memory.registration_id
                response = _echo(message)
                if known:
                    self.forget()
                else:
                    response = replace(response, response_code="452")
                return CanceledPartyRegistration(
                    response=response,
                    registration_id=message.registration_id,
                    ven_id=message.ven_id,
                )

    def register(self, message: CreatePartyRegistration) -> CreatedPartyRegistration:
        """Take the VEN in; a new registration begins with the exchange of metadata (rule 405)."""
        again = bool(message.registration_id)
        if not again or not self.memory.registration_id:
            self.forget()
            self.memory.registration_id = drafts.fresh("registration")
            if not again:
                self._offer()
        self.registered = True
        self.memory.ven_id = self.ven_id
        self.push_address = (message.transport_address or "") if not message.http_pull_model else ""
        return self.created(message.request_id)

    def _offer(self) -> None:
        """The VTN's own metadata, of which there is none, goes to the VEN (rule 301)."""
        message = RegisterReport(request_id=drafts.fresh("metadata"), ven_id=self.ven_id)
        if self.transport is Transport.PULL:
            self._queue.append(message)
        else:
            self._pushing = asyncio.ensure_future(self._push_later(message))

    async def _push_later(self, message: Message) -> None:
        """Push once the VEN has read the answer to its own request."""
        await asyncio.sleep(PUSH_AFTER_S)
        try:
            await self.deliver(message)
        except (Failed, ConnectionError) as error:
            log.warning("the VEN took no push", why=str(error))

    def created(self, request_id: str) -> CreatedPartyRegistration:
        """What the harness offers as a VTN."""
        return CreatedPartyRegistration(
            response=EiResponse(request_id=request_id),
            registration_id=self.memory.registration_id if self.registered else None,
            ven_id=self.ven_id if self.registered else None,
            vtn_id=VTN_ID,
            profiles=(Profile(name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
            poll_interval=None if self.with_ids_only else timedelta(seconds=self.poll_s),
        )

    def _report(self, message: RegisterReport | UpdateReport | CreateReport) -> Message:
        match message:
            case RegisterReport():
                requests, self.piggyback = self.piggyback, ()
                self.memory.requested = {
                    key: one
                    for key, one in self.memory.requested.items()
                    if one.report_specifier_id == "METADATA"  # not ended by it (rule 306)
                } | {one.report_request_id: one for one in requests}
                return RegisteredReport(
                    response=_echo(message), requests=requests, ven_id=self.ven_id
                )
            case UpdateReport():
                cancel, self.cancel_in_update = self.cancel_in_update, None
                return UpdatedReport(response=_echo(message), cancel=cancel, ven_id=self.ven_id)
            case CreateReport():
                return CreatedReport(response=_echo(message), ven_id=self.ven_id)

    def _next(self) -> Message | Outgoing:
        """What a poll gets."""
        if not self.registered:
            return Response(
                response=EiResponse(response_code="463", description="not registered"),
                ven_id=self.ven_id,
            )
        if not self._queue:
            return Response(response=EiResponse(), ven_id=self.ven_id)
        waiting = self._queue.popleft()
        return waiting() if callable(waiting) else waiting

    def _guarded(self, message: Message) -> Message:
        if self.registered or not isinstance(message, DistributeEvent):
            return message
        refusal = EiResponse(response_code="463", description="not registered")
        return replace(message, response=refusal, events=())

    def _ok(self, _message: Message) -> Response:
        return Response(response=EiResponse(), ven_id=self.ven_id)

    def forget(self) -> None:
        """The registration is over."""
        self.registered = False
        self.memory.forget()
        if not self.keep_events:
            self.events = []
        self._queue.clear()

    def reset(self) -> None:
        """Answer as a proper VTN again, whatever the last test wanted."""
        self._garbage.clear()
        self._refuse_next = 0
        self._refuse_until = None
        self.refuse_opt_cancels = False
        self.keep_events = False
        self.with_ids_only = False
        self.piggyback = ()
        self.cancel_in_update = None

    # --- events ----------------------------------------------------------------------------------

    def distribute_event(
        self, response: EiResponse | None = None, *, request_id: str = ""
    ) -> DistributeEvent:
        """All events as they are now (rules 14, 15, 29, 50, 115)."""
        now = drafts.utc_now()
        live = sorted((as_of(event, now) for event in self.events), key=_place)
        created_at = max((event.created_at for event in live), default=now)
        message = DistributeEvent(
            response=response or EiResponse(),
            request_id=request_id or drafts.fresh("distribute"),
            vtn_id=VTN_ID,
            events=tuple(replace(event, created_at=created_at) for event in live),
        )
        self.memory.distribute_request_ids.append(message.request_id)
        for event in live:
            self.memory.events[event.event_id] = event
        return message

    async def distribute(self, *events: Event, request_id: str = "") -> None:
        """From now on these are all events; tell the VEN."""
        self.events = list(events)
        if self.transport is Transport.PUSH:
            await self.deliver(self.distribute_event(request_id=request_id))
        else:
            self._queue.append(lambda: self.distribute_event(request_id=request_id))

    async def deliver(self, message: Message) -> None:
        """Hand the message to the VEN, by its next poll or by push."""
        if isinstance(message, CreateReport):
            self.memory.requested.update({one.report_request_id: one for one in message.requests})
        if self.transport is Transport.PULL:
            self._queue.append(message)
            return
        if not self.push_address or self.push_client is None:
            raise Failed(402, seen="no oadrTransportAddress", wanted="an address to push to")
        async with self.push_client(self.push_address) as client:
            exchange = await client.send(SERVICE_OF[type(message)], build(message))
        expect(
            exchange.status == 200,
            rule=53,
            seen=f"HTTP {exchange.status} to a pushed {wire_name(type(message))}",
            wanted="HTTP 200",
        )
        if exchange.response:
            answer = self.examiner.take(
                exchange.response, exchange.response_headers, request=message, asked=False
            )
            if answer is not None:
                await self._note(answer)

    async def deliver_edited(self, message: Message, old: str, new: str) -> None:
        """Hand over the message with a change in its text that `oadr` would not make."""
        body = build(message).decode().replace(old, new).encode()
        if self.transport is Transport.PULL:
            self._queue.append(Outgoing(body=body))
            return
        if self.push_client is None:
            raise Failed(402, seen="no oadrTransportAddress", wanted="an address to push to")
        async with self.push_client(self.push_address) as client:
            await client.send(SERVICE_OF[type(message)], body)

    async def deliver_bytes(self, body: bytes, service: str) -> None:
        """Hand over these bytes, signed or not; what the VEN says to them is not judged."""
        if self.transport is Transport.PULL:
            self._queue.append(Outgoing(body=body, as_it_is=True))
            return
        if not self.push_address or self.push_client is None:
            raise Failed(402, seen="no oadrTransportAddress", wanted="an address to push to")
        async with self.push_client(self.push_address) as client:
            await client.send(service, body, as_it_is=True)

    async def response_to(
        self, event: Event, within_s: float, *, rule: int = 12, since: int | None = None
    ) -> EventResponse:
        """The VEN's answer to this modification of the event."""
        message = await self.received(
            CreatedEvent,
            within_s,
            rule=rule,
            where=lambda one: _response(one, event) is not None,
            since=since,
            wanted=f"an answer to {event.event_id} in modification {event.modification_number}",
        )
        found = _response(message, event)
        assert found is not None
        return found

    # --- waiting ---------------------------------------------------------------------------------

    def mark(self) -> int:
        """The place in time to wait from."""
        return len(self.arrivals)

    async def received(
        self,
        kind: type[M],
        within_s: float,
        *,
        rule: int,
        where: Callable[[M], bool] = lambda _message: True,
        wanted: str = "",
        since: int | None = None,
    ) -> M:
        """The first message of this kind that fits, since the test began or since a mark.

        Raises Failed for `rule` when it has not come in time.
        """
        begin = self.start if since is None else since
        try:
            async with asyncio.timeout(within_s), self._arrived:
                while True:
                    for arrival in self.arrivals[begin:]:
                        message = arrival.message
                        if isinstance(message, kind) and where(message):
                            return message
                    await self._arrived.wait()
        except TimeoutError:
            kinds = dict.fromkeys(
                wire_name(type(arrival.message)) for arrival in self.arrivals[begin:]
            )
            raise Failed(
                rule,
                seen=f"within {within_s:g} s came {', '.join(kinds) or 'nothing'}",
                wanted=wanted or wire_name(kind),
            ) from None

    def all_received(self, kind: type[M], *, since: int | None = None) -> Sequence[M]:
        """Every message of this kind, oldest first."""
        begin = self.start if since is None else since
        return [
            arrival.message
            for arrival in self.arrivals[begin:]
            if isinstance(arrival.message, kind)
        ]

    async def polled(self, times: int = 1, *, within_s: float = 0) -> None:
        """Come back when the VEN has polled (or asked for events) so often from now on."""
        since = self.mark()
        patience = within_s or times * (self.poll_s * 2 + 3) + 5
        await self.received(
            Poll,
            patience,
            rule=500,
            where=lambda _poll: len(self.all_received(Poll, since=since)) >= times,
            since=since,
            wanted=f"{times} polls at an interval of {self.poll_s} s",
        )

    async def anything_within(self, within_s: float, *, rule: int) -> None:
        """Raises Failed for `rule` where the VEN says nothing for so long."""
        try:
            async with asyncio.timeout(within_s):
                await self.anything()
        except TimeoutError:
            raise Failed(
                rule, seen=f"nothing for {within_s:g} s", wanted="a VEN that speaks"
            ) from None

    async def anything(self) -> None:
        """Come back when the VEN says something, whatever it is."""
        async with self._arrived:
            await self._arrived.wait()

    async def took_queue(self, within_s: float) -> None:
        """Come back when everything queued has been fetched by the VEN, or pushed to it."""
        if self._pushing is not None:
            await self._pushing
            self._pushing = None
        deadline = asyncio.get_running_loop().time() + within_s
        while self._queue:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise Failed(500, seen="the VEN did not poll", wanted="polls until nothing waits")
            await self.polled(within_s=max(left, 0.1))


def as_of(event: Event, now: datetime) -> Event:
    """The event with its status and current values by the clock (rules 13, 14, 29)."""
    if event.status is EventStatus.CANCELLED:
        status = EventStatus.CANCELLED
    else:
        status = next(iter(statuses(event, now) - {EventStatus.COMPLETED}), EventStatus.COMPLETED)
    signals = tuple(
        replace(
            signal,
            current_value=(value_at(event, signal, now) or 0.0)
            if status is EventStatus.ACTIVE
            else (0.0 if signal.signal_name == "SIMPLE" else None),
        )
        for signal in event.signals
    )
    return replace(event, status=status, signals=signals)


def _place(event: Event) -> tuple[bool, float, datetime]:
    active = event.status is EventStatus.ACTIVE
    return (not active, (event.priority or float("inf")) if active else 0.0, event.starts_at)


def _response(message: CreatedEvent, event: Event) -> EventResponse | None:
    return next(
        (
            one
            for one in message.event_responses
            if (one.event_id, one.modification_number)
            == (event.event_id, event.modification_number)
        ),
        None,
    )


def _echo(message: Any) -> EiResponse:
    return EiResponse(request_id=message.request_id)
