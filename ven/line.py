# SPDX-License-Identifier: Apache-2.0
"""The line to the VTN: tries until there is an answer, together, and never gives up.

All tasks of the VEN share one line. While the VTN answers, their messages go side by side; once it
does not, one message at a time is tried, after the back-off, and the others wait behind it. So a
VTN that comes back (or asked for quiet by 503) is not met by a crowd.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

import oadr
from doorway import get_logger
from oadr.registration import RequestReregistration
from oadr.vocabulary import ServiceName
from ven.bell import Bell
from ven.errors import Declined, NotRegistered, Overloaded, TurnedAway, Unproven, Unreachable
from ven.retry import ASKED_MOST_S, BackOff, at_least_s

log = get_logger()

M = TypeVar("M")
_UNKNOWN_PARTY = "463"


class Post(Protocol):
    """What the line needs of a client."""

    async def post(self, service: ServiceName, message: oadr.Message) -> oadr.Message: ...


class Line:
    """Sends messages through a client until they are answered."""

    def __init__(
        self,
        client: Post,
        back_off: BackOff,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._back_off = back_off
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._draw = draw
        self._failures = 0
        self._next_at = 0.0
        self._turn = asyncio.Lock()
        self.last_answer_at: datetime | None = None
        self.trouble = ""
        """Why the last message was not answered; empty while all is well."""
        self.is_unproven = False
        """Whether there are answers, but they prove nothing (rule 514)."""
        self.changed = Bell()
        """Rung when the line goes down or comes back."""

    @property
    def is_up(self) -> bool:
        return self._failures == 0

    async def ask(self, service: ServiceName, message: oadr.Message, *expected: type[M]) -> M:
        """Send until answered, and return an answer of one of the `expected` types.

        Raises Declined for an application error or another type of answer (NotRegistered for 463
        and for a request to register again), TurnedAway and Unusable as the client does.
        """
        answer = await self._answered(service, message)
        response: oadr.EiResponse | None = getattr(answer, "response", None)
        name = oadr.wire_name(type(message))
        if response is not None and not response.ok:
            why = f": {response.description}" if response.description else ""
            kind = NotRegistered if response.response_code == _UNKNOWN_PARTY else Declined
            raise kind(
                f"The VTN answered {name} with {response.response_code}{why}.",
                response_code=response.response_code,
            )
        if not isinstance(answer, expected):
            if isinstance(answer, RequestReregistration):
                raise NotRegistered(
                    f"The VTN answered {name} with a request to register again.",
                    response_code=_UNKNOWN_PARTY,
                )
            raise Declined(
                f"The VTN answered {name} with {oadr.wire_name(type(answer))}.",
                response_code="459",
            )
        return answer

    async def once(self, service: ServiceName, message: oadr.Message) -> oadr.Message:
        """One try, for `ven check` and goodbyes. Raises what the client raises."""
        return await self._client.post(service, message)

    async def _answered(self, service: ServiceName, message: oadr.Message) -> oadr.Message:
        while True:
            async with contextlib.AsyncExitStack() as turn:
                if not self.is_up:
                    await turn.enter_async_context(self._turn)
                    await self._rest()
                with contextlib.suppress(Unreachable):
                    return await self._try(service, message)

    async def _rest(self) -> None:
        if not self.is_up:  # it may have come back while this message waited for its turn
            await self._sleep(max(0.0, self._next_at - self._monotonic()))

    async def _try(self, service: ServiceName, message: oadr.Message) -> oadr.Message:
        before = self._failures
        try:
            answer = await self._client.post(service, message)
        except Unreachable as error:
            self._failed(before, error)
            raise
        except TurnedAway:
            self._answers()
            raise
        self._answers()
        return answer

    def _failed(self, before: int, error: Unreachable) -> None:
        if self._failures != before:
            return  # another message sent at the same time has already told
        self._failures += 1
        delay_s = self._back_off.delay_s(self._failures, self._draw)
        if isinstance(error, Overloaded) and error.retry_after_s is not None:
            asked_s = min(error.retry_after_s, ASKED_MOST_S)
            delay_s = max(delay_s, at_least_s(asked_s, self._draw))
        self._next_at = self._monotonic() + delay_s
        self.trouble = str(error)
        self.is_unproven = isinstance(error, Unproven)
        log.warning("vtn_unreachable", why=str(error), next_try_in_s=round(delay_s, 1))
        if before == 0:
            self.changed.ring()

    def _answers(self) -> None:
        self.last_answer_at = self._now()
        if not self.is_up:
            log.info("vtn_answers_again", after_failures=self._failures)
            self._failures = 0
            self.trouble = ""
            self.is_unproven = False
            self.changed.ring()
