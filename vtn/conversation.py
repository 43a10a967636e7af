# SPDX-License-Identifier: Apache-2.0
"""What is said with VENs, word by word, for whoever wants to know why a node is silent.

On the way of a message it costs an entry in a list. Every few seconds what has gathered is written
down in one transaction, at most so much of it: what is wrong before what is well, of reports that
were taken one a second and without its middle, and polls for which nothing waited not at all. A
process that is killed loses its last few seconds. OpenADR messages bear no passwords and no private
keys; nothing else is ever put in here.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from doorway import get_logger
from vtn.config import MessageSettings
from vtn.errors import StoreUnavailable
from vtn.store import Store
from vtn.store import conversation as kept

log = get_logger()

FLUSH_S: Final = 2.0
MOST_AT_ONCE: Final = 100
"""Written down in one go; with FLUSH_S, 50 a second."""
REPORTS_AT_ONCE: Final = 2
"""Of reports that were taken: their values stand in the store, and all of them again here would be
several times what the values take."""
_MOST_WAITING: Final = 1000
_MOST_BYTES: Final = 16 * 1024 * 1024
"""Waiting in memory."""
_KEPT_BYTES: Final = 64 * 1024
"""Of one message."""
_KEPT_OF_REPORT: Final = 4 * 1024
"""Of a report that was taken: the first values, and when and for what it was made."""
_REPORT: Final = 2
"""The weight of a report that was taken; 0 is what is wrong."""
_PRUNE_EVERY: Final = 30
"""Flushes."""

_KIND = re.compile(rb"<(?:[\w.-]+:)?(oadr\w+)[\s/>]")
_CODE = re.compile(rb"responseCode>\s*(\d{3})\s*<")
_DESCRIPTION = re.compile(rb"responseDescription>([^<]{1,500})<")
_AROUND = frozenset({"oadrPayload", "oadrSignedObject"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, as bytes."""

    at: datetime
    ven_id: str
    """"" for a stranger."""
    certificate: str
    service: str
    status: int
    """HTTP; 0 where nobody answered."""
    request: bytes
    reply: bytes
    pushed: bool = False


class Conversation:
    """Of one process."""

    def __init__(self, settings: MessageSettings) -> None:
        self._settings = settings
        self._waiting: deque[Exchange] = deque()
        self._bytes = 0
        self._flushes = 0
        self._flushing = asyncio.Lock()
        self.polls = 0
        """Polls for which nothing waited, of those that came here: counted, not kept."""
        self.left_out = 0
        """Well answered messages that were too many to be written down."""

    def hear(self, exchange: Exchange) -> None:
        """Take note; costs nothing that can be measured."""
        if not self._settings.keep_hours:
            return
        self._waiting.append(exchange)
        self._bytes += len(exchange.request) + len(exchange.reply)
        while self._bytes > _MOST_BYTES or len(self._waiting) > _MOST_WAITING:
            oldest = self._waiting.popleft()
            self._bytes -= len(oldest.request) + len(oldest.reply)
            self.left_out += 1

    async def run(self, store: Store, now: Callable[[], datetime]) -> None:
        """Write down what was said, until cancelled; the rest then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                try:
                    await self.flush(store, now())
                except Exception:  # of a strange message: the VTN goes on
                    log.exception("the conversation is not written down")
        finally:
            await self.flush(store, now())

    async def flush(self, store: Store, now: datetime) -> None:
        """Write down what was said since; what cannot be written is lost, and the log says so."""
        async with self._flushing:
            waiting, self._waiting, self._bytes = self._waiting, deque(), 0
            self._flushes += 1
            prune = self._flushes % _PRUNE_EVERY == 1
            if not waiting and not prune:
                return
            found = await asyncio.to_thread(_read, tuple(waiting))
            self.polls += found.polls
            self.left_out += found.left_out
            try:
                async with store.write() as connection:
                    await kept.put(connection, found.said)
                    if prune:
                        hours = timedelta(hours=self._settings.keep_hours)
                        await kept.prune(connection, before=now - hours, most=self._settings.most)
            except StoreUnavailable as error:
                log.warning("the conversation is not written down", reason=str(error))


@dataclass(frozen=True, slots=True)
class _Read:
    said: Sequence[kept.Said]
    polls: int
    left_out: int


def _read(waiting: Sequence[Exchange]) -> _Read:
    """What is worth keeping of it, in the order in which it was said."""
    found: list[tuple[int, int, kept.Said]] = []
    polls = 0
    for place, one in enumerate(waiting):
        request, reply = kind_of(one.request), kind_of(one.reply)
        code = code_of(one)
        wrong = is_wrong(code)
        if request == "oadrPoll" and reply == "oadrResponse" and not wrong:
            polls += 1
            continue
        weight = 0 if wrong else _REPORT if request == "oadrUpdateReport" else 1
        said = kept.Said(
            at=one.at,
            ven_id=one.ven_id,
            certificate=one.certificate,
            pushed=one.pushed,
            service=one.service,
            request_kind=request,
            reply_kind=reply,
            code=code,
            wrong=wrong,
            said=_sentence(one) if wrong else "",
            request_bytes=len(one.request),
            request=one.request,
            reply=one.reply,
        )
        found.append((weight, place, said))
    reports = [one for one in found if one[0] == _REPORT][:REPORTS_AT_ONCE]
    others = sorted((one for one in found if one[0] != _REPORT), key=lambda one: one[:2])
    chosen = sorted([*others[: MOST_AT_ONCE - len(reports)], *reports], key=lambda one: one[1])
    packed = [
        kept.packed(one, most=_KEPT_OF_REPORT if weight == _REPORT else _KEPT_BYTES)
        for weight, _place, one in chosen
    ]
    return _Read(packed, polls, len(found) - len(chosen))


def kind_of(body: bytes) -> str:
    """The message in a payload by its wire name; "" where there is none to be seen."""
    for match in _KIND.finditer(body, 0, 4096):
        name = match[1].decode()
        if name not in _AROUND:
            return name
    return ""


def code_of(exchange: Exchange) -> str:
    """The HTTP status where that refuses; else the first responseCode; "none" without an answer."""
    if exchange.status == 0:
        return "none"
    if exchange.status != 200:
        return str(exchange.status)
    spoken = exchange.request if _is_answer(exchange.request) else exchange.reply
    codes = [one.decode() for one in _CODE.findall(exchange.reply, 0, 65536)]
    codes += [one.decode() for one in _CODE.findall(spoken, 0, 65536)]
    return next((one for one in codes if is_wrong(one)), codes[0] if codes else "200")


def is_wrong(code: str) -> bool:
    return not code.startswith("2")


def _is_answer(request: bytes) -> bool:
    return kind_of(request).startswith(("oadrCreated", "oadrResponse", "oadrRegistered"))


def _sentence(exchange: Exchange) -> str:
    if exchange.status == 0:
        return exchange.reply.decode(errors="replace")
    if exchange.status != 200:
        return exchange.reply[:500].decode(errors="replace")
    for body in (exchange.reply, exchange.request):
        match = _DESCRIPTION.search(body, 0, 65536)
        if match and match[1].strip() not in (b"OK", b"ok"):
            return match[1].decode(errors="replace").strip()
    return ""
