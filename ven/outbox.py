# SPDX-License-Identifier: Apache-2.0
"""Answers to the VTN that must arrive: kept on disk until it acknowledges them, sent in order."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import oadr
from doorway import get_logger
from oadr.event import CreatedEvent
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.poll import Response
from oadr.vocabulary import ServiceName
from ven.bell import Bell
from ven.errors import Declined, NotRegistered, Stumbled, TurnedAway, Unusable
from ven.line import Line
from ven.retry import BackOff
from ven.state import Answer, State

log = get_logger()

TRIES = 6
"""How often, within about a minute, an answer is sent at which the VTN itself fails (HTTP 500)."""
_BACK_OFF = BackOff()
_ANSWERS: dict[type, type] = {CreateOpt: CreatedOpt, CancelOpt: CanceledOpt}
"""What acknowledges a message, where it is not oadrResponse."""


class Outbox:
    """Sends what `State` holds; one message at a time, oldest first."""

    def __init__(
        self,
        state: State,
        line: Line,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._state = state
        self._line = line
        self._sleep = sleep
        self._draw = draw
        self._one_at_a_time = asyncio.Lock()
        self._filled = Bell()

    def put(self, service: ServiceName, message: oadr.Message) -> None:
        """Keep a message for sending; on disk when this returns."""
        self._state.put_answer(service, message)
        self._filled.ring()

    async def run(self) -> None:
        """Send whatever is put, until cancelled. Raises NotRegistered."""
        while True:
            seen = self._filled.rings
            await self.drain()
            await self._filled.wait(seen)

    async def drain(self) -> None:
        """Return when nothing waits any more. Raises NotRegistered."""
        async with self._one_at_a_time:
            while waiting := self._state.answers():
                for answer in waiting:
                    await self._send(answer)

    async def _send(self, answer: Answer) -> None:
        acknowledged = await self._deliver(answer)
        with self._state.transaction():
            self._state.drop_answer(answer.n)
            if acknowledged and isinstance(answer.message, CreatedEvent):
                self._note_answered(answer.message)

    async def _deliver(self, answer: Answer) -> bool:
        """Whether the VTN took the message; False when it will not. Raises NotRegistered."""
        name = oadr.wire_name(type(answer.message))
        expected = _ANSWERS.get(type(answer.message), Response)
        for failures in range(1, TRIES + 1):
            try:
                await self._line.ask(answer.service, answer.message, expected)
            except NotRegistered:
                raise
            except Stumbled as error:
                log.warning("answer_failed", message=name, why=str(error), tries=failures)
                await self._sleep(_BACK_OFF.delay_s(failures, self._draw))
            except (Declined, TurnedAway, Unusable) as error:
                # Sent again it would be refused again; the VTN asks anew for what it still wants.
                log.warning("answer_refused", message=name, why=str(error))
                return False
            else:
                return True
        return False

    def _note_answered(self, message: CreatedEvent) -> None:
        known = self._state.events()
        for response in message.event_responses:
            each = known.get(response.event_id)
            if each is not None and response.modification_number > each.answered:
                self._state.put_event(replace(each, answered=response.modification_number))
