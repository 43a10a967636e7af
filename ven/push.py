# SPDX-License-Identifier: Apache-2.0
"""HTTP push: the VTN brings its messages to this VEN's own address, and nothing is polled.

    push ── bytes -> message -> reception -> the answer, in the HTTP response
              │                    └─ events: HTTP 200 with no body, oadrCreatedEvent follows
              └─ what follows of it (a new registration, its end) is done by PushTalk, in order

Imported only where [push] asks for it.
"""

import asyncio
from collections import deque

import oadr
from doorway import get_logger
from oadr.errors import InvalidContent, Refused, Unproven
from oadr.event import DistributeEvent
from oadr.registration import CancelPartyRegistration, RequestReregistration
from oadr.vocabulary import ServiceName
from ven.bell import Bell
from ven.client import Seal
from ven.config import PushSettings
from ven.eventdesk import EventDesk
from ven.line import Line
from ven.listener import Reply
from ven.polling import Poller
from ven.reception import SERVICES, Reception, is_yes, refusal
from ven.registration import Registrar

log = get_logger()

_CLASSES = {oadr.wire_name(kind): kind for kind in SERVICES}


class PushDesk:
    """Takes what the listener receives. TLS has already shown that a VTN sent it."""

    def __init__(
        self, reception: Reception, registrar: Registrar, desk: EventDesk, seal: Seal | None
    ) -> None:
        self._reception = reception
        self._registrar = registrar
        self._desk = desk
        self._seal = seal
        self._follow: deque[oadr.Message] = deque()
        self.changed = Bell()
        """Rung when something follows from a message."""

    def next(self) -> oadr.Message | None:
        """The oldest message from which something follows, once."""
        return self._follow.popleft() if self._follow else None

    def clear(self) -> None:
        """A new registration begins: nothing follows from what was said before."""
        self._follow.clear()

    async def take(self, service: ServiceName, body: bytes) -> Reply:
        """The reply to one push; whatever it changes is on disk when this returns."""
        try:
            message = oadr.parse(body) if self._seal is None else await self._seal.open(body)
        except Unproven as error:
            log.warning("push_ignored", why=str(error))
            return Reply(status=error.http_status, body=b"The message is ignored (rule 514).")
        except Refused as error:
            log.warning("push_refused", why=str(error))
            return Reply(status=error.http_status, body=str(error).encode())
        except InvalidContent as error:
            return await self._unusable(error)
        if SERVICES.get(type(message)) is not service:
            name = oadr.wire_name(type(message))
            log.warning("push_refused", why=f"{service.value} does not know {name}.")
            return Reply(status=404, body=f"{service.value} does not know {name} here.".encode())
        await self._registrar.settled()
        answer = self._reception.take(message)
        if answer is None:
            return Reply()
        if is_yes(answer) and isinstance(message, RequestReregistration | CancelPartyRegistration):
            return Reply(body=self._built(answer), then=lambda: self._follows(message))
        return Reply(body=self._built(answer))

    def _follows(self, message: oadr.Message) -> None:
        self._follow.append(message)
        self.changed.ring()

    async def _unusable(self, error: InvalidContent) -> Reply:
        """Valid by the schema, and yet nothing can be made of it (rule 33)."""
        kind = _CLASSES.get(error.message)
        if kind is DistributeEvent:
            await self._registrar.settled()
            self._desk.refuse(error)
            return Reply()
        log.warning("push_unusable", message=error.message, why=str(error))
        answer = refusal(kind, error.response_code, str(error), request_id=error.request_id)
        return Reply(body=self._built(answer))

    def _built(self, answer: oadr.Message) -> bytes:
        return oadr.build(answer) if self._seal is None else self._seal.sign(answer)


class PushTalk:
    """The conversation of a push VEN while it is registered, in place of the polls."""

    def __init__(
        self, push: PushSettings, desk: PushDesk, talk: Poller, registrar: Registrar, line: Line
    ) -> None:
        self._push = push
        self._desk = desk
        self._talk = talk
        self._registrar = registrar
        self._line = line

    async def run(self) -> None:
        """Introduce the VEN, then do what follows from pushes until cancelled.

        Raises NotRegistered when the VTN does not know it, RegistrationEnded when it cancels.
        """
        await self._talk.introduce()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_up())
                group.create_task(self._ask_again())
        finally:
            self._desk.clear()

    async def _follow_up(self) -> None:
        while True:
            seen = self._desk.changed.rings
            while (message := self._desk.next()) is not None:
                if isinstance(message, RequestReregistration):
                    await self._talk.register_again()
                else:
                    self._registrar.end()
            await self._desk.changed.wait(seen)

    async def _ask_again(self) -> None:
        """Ask for the events now and then, and when the VTN is back: a push may have been lost."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        while True:
            seen, was_up = self._line.changed.rings, self._line.is_up
            left_s = asked_at + self._push.ask_again_s - loop.time()
            if left_s > 0:
                await self._line.changed.wait(seen, at_most_s=left_s)
                if was_up or not self._line.is_up:
                    continue
            await self._talk.request_events(answer_all=False)
            asked_at = loop.time()
