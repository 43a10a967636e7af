# SPDX-License-Identifier: Apache-2.0
"""The node's end of the EMS line: publishes durably, hears every EMS, tells whether it is there.

What it does not promise: a message may arrive twice, and one that the broker has taken may still
be lost there. Only the EMS's own acknowledgement says that a set-point has arrived.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Self, TypeVar

from doorway import get_logger
from doorway.apart import apart
from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import MessageRefused, NotDelivered, OutboxFault
from ems_bridge.link import MAX_INFLIGHT, Incoming, Link, Outgoing
from ems_bridge.messages import (
    Acknowledgement,
    EmsStatus,
    Message,
    NodeStatus,
    Offer,
    Override,
    SetPoint,
    decode,
    encode,
)
from ems_bridge.outbox import Letter, Outbox
from ems_bridge.topics import CARRIES, EmsKind, Topics, ems_kind

log = get_logger()

T = TypeVar("T")

RETRY_DENIED_S = 30.0
"""A message that the broker denies is offered again after this; its access list may be mended."""
RETRY_UNHEARD_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""A set-point that nobody heard is said again after these; at once when an EMS says online."""
FAREWELL_S = 1.0
"""How long the goodbye ("offline") may wait for the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message of an EMS. `message` is None for an override or offer taken back (no payload)."""

    topic: str
    kind: EmsKind
    ems: str
    message: Message | None
    at: datetime
    retained: bool = False
    """It was said before we connected, and kept by the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ordered:
    """The newest set-point, as long as no EMS has answered it."""

    payload: bytes
    id: str
    seq: int
    expires_at: datetime | None
    supersedes: str


class Bridge:
    """One node's line to its EMS. `async with` keeps it up; an absent broker never raises.

    A set-point is kept until it is answered, expired or replaced, and said again on each connection
    and when an EMS says that it is online: one of the two may have been back before the other, and
    the broker forgets. Where the broker tells that nobody listens (MQTT 5), it is said again with a
    growing pause, and `unheard` is True until somebody hears.

    While it is connected the node's status topic says "online" (retained), after a clean end
    "offline", and through the last will "lost". `outbox` is a SQLite file of its own.

    Raises BrokerUnusable or OutboxFault on entry, for settings that cannot work.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        topics: Topics,
        *,
        outbox: Path,
        now: Callable[[], datetime],
        boot: str = "",
        version: str = "",
    ) -> None:
        self._topics = topics
        self._now = now
        self._boot = boot
        self._version = version
        self._outbox_path = outbox
        self._outbox: Outbox | None = None
        # A write to the card takes its time; the sampler in the same loop must not wait for it.
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ems-outbox")
        self._wake = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._later: dict[int, float] = {}
        self._ordered: _Ordered | None = None
        self._unheard = 0
        self._unheard_changed: set[asyncio.Event] = set()
        self._denied: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._link = Link(
            broker,
            client_id=f"df-{topics.site}-{topics.node}",
            subscriptions=topics.from_ems,
            now=now,
            will=lambda: self._status("lost"),
        )

    async def __aenter__(self) -> Self:
        self._outbox = await self._on_disk(lambda: Outbox(self._outbox_path))
        try:
            await self._link.__aenter__()
        except BaseException:
            self._close_outbox()
            raise
        self._tasks = [
            asyncio.create_task(self._forever(self._greet), name="ems status"),
            asyncio.create_task(self._forever(self._pump), name="ems outbox"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._tasks, *self._sending.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._sending.values(), return_exceptions=True)
        await apart(self._bid_farewell())
        await self._link.__aexit__(None, None, None)
        self._close_outbox()

    async def _bid_farewell(self) -> None:
        with contextlib.suppress(NotDelivered, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._link.publish(self._status("offline"))

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and answered our subscriptions."""
        return self._link.connected

    def connected_changes(self) -> AsyncIterator[bool]:
        """The present state, then each change."""
        return self._link.connected_changes()

    @property
    def unheard(self) -> bool:
        """Whether the newest set-point met a broker to whom no EMS listens (MQTT 5 alone)."""
        return self._unheard > 0

    @property
    def denied(self) -> frozenset[str]:
        """Topics on which the broker refused our newest message (MQTT 5 alone)."""
        return frozenset(self._denied)

    async def line_changes(self) -> AsyncIterator[tuple[bool, frozenset[str]]]:
        """`unheard` and `denied` now, then at each change."""
        changed = asyncio.Event()
        self._unheard_changed.add(changed)
        try:
            while True:
                changed.clear()
                yield self.unheard, self.denied
                await changed.wait()
        finally:
            self._unheard_changed.discard(changed)

    async def publish(
        self,
        topic: str,
        message: Message,
        *,
        qos: Literal[0, 1] = 1,
        retain: bool = False,
        expires_at: datetime | None = None,
        supersedes: str = "",
    ) -> None:
        """Send one message; with QoS 1 it is on the disk when this returns, sent when possible.

        QoS 1: sent until the broker takes it (good PUBACK) or `expires_at` comes. At most one
        message per `supersedes` waits, the newest; likewise one retained message per topic.
        QoS 0: best effort, dropped while there is no connection.
        Raises MessageRefused or OutboxFault; then nothing is sent.
        """
        payload = encode(message)
        await self._post(
            topic,
            payload,
            qos=qos,
            retain=retain,
            expires_at=expires_at,
            supersedes=supersedes,
        )
        if isinstance(message, SetPoint) and topic == self._topics.limit_cmd:
            self._ordered = _Ordered(
                payload=payload,
                id=message.id,
                seq=message.seq,
                expires_at=expires_at,
                supersedes=supersedes,
            )

    async def publish_now(self, topic: str, message: Message, *, expires_s: float) -> None:
        """Send with QoS 1 past the outbox, for what the caller can make again.

        Raises NotDelivered when there is no connection or it breaks, or the broker denies it.
        """
        await self._link.publish(
            Outgoing(topic=topic, payload=encode(message), expires_s=expires_s)
        )

    async def clear(self, topic: str) -> None:
        """Take the retained message off `topic`, and whatever still waits to be retained there."""
        await self._post(topic, b"", qos=1, retain=True)

    async def messages(self) -> AsyncIterator[Received]:
        """What the EMS say, for one reader. Malformed messages are logged and dropped."""
        while True:
            incoming = await self._link.receive()
            try:
                received = read_from_ems(self._topics, incoming)
            except MessageRefused as fault:
                log.warning("message dropped", topic=incoming.topic, reason=str(fault))
                continue
            if received is not None:
                await self._mind_the_order(received)
                yield received

    async def _mind_the_order(self, received: Received) -> None:
        """Forget a set-point that is answered; say it again to an EMS that has just come."""
        order = self._ordered
        match received.message:
            case Acknowledgement(id=lease, seq=seq):
                if order is not None and (lease, seq) == (order.id, order.seq):
                    self._ordered = None
                    self._note(unheard=0)
            case EmsStatus(state="online") if not received.retained:
                await self._say_again()
                if self._ordered is None:
                    self._note(unheard=0)

    async def _say_again(self) -> None:
        """The set-point that nobody has answered, if there is one and it still lasts."""
        order = self._ordered
        if order is not None and order.expires_at is not None and order.expires_at <= self._now():
            self._ordered = order = None
        if order is None:
            return
        self._later.clear()
        with contextlib.suppress(OutboxFault):  # the one who wrote it says it again too
            await self._post(
                self._topics.limit_cmd,
                order.payload,
                qos=1,
                retain=False,
                expires_at=order.expires_at,
                supersedes=order.supersedes or f"again {order.seq}",
            )

    def _note(self, *, unheard: int) -> None:
        was, self._unheard = self.unheard, unheard
        if was != self.unheard:
            self._tell_line()

    def _tell_line(self) -> None:
        for changed in self._unheard_changed:
            changed.set()

    async def _post(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: Literal[0, 1],
        retain: bool,
        expires_at: datetime | None = None,
        supersedes: str = "",
    ) -> None:
        if qos == 0:
            with contextlib.suppress(NotDelivered):
                await self._link.publish(
                    Outgoing(topic=topic, payload=payload, qos=0, retain=retain)
                )
            return
        key = supersedes or (f"retained {topic}" if retain else "")
        outbox = self._opened()
        await self._on_disk(
            lambda: outbox.put(topic, payload, retain=retain, expires_at=expires_at, supersedes=key)
        )
        self._wake.set()

    async def _forever(self, act: Callable[[], Awaitable[None]]) -> None:
        """Supervise one loop: what it did not foresee is logged, and it starts again."""
        while True:
            try:
                await act()
            except OutboxFault as fault:
                log.error("the outbox fails", reason=str(fault))  # noqa: TRY400 - the sentence says it
            except Exception:
                log.exception("the EMS bridge met something unforeseen")
            await asyncio.sleep(1.0)  # no event tells that a fault has passed

    async def _greet(self) -> None:
        async for connected in self.connected_changes():
            if connected:
                self._later.clear()
                await self._say_again()
                self._wake.set()
                with contextlib.suppress(NotDelivered):
                    await self._link.publish(self._status("online"))

    async def _pump(self) -> None:
        """Hand over what is due, oldest first, never more than MAX_INFLIGHT at once."""
        outbox = self._opened()
        while True:
            self._wake.clear()
            clock = asyncio.get_running_loop().time()
            self._later = {row: until for row, until in self._later.items() if until > clock}
            room = MAX_INFLIGHT - len(self._sending)
            if self.connected and room > 0:
                due = functools.partial(
                    outbox.due, self._now(), limit=room, but={*self._sending, *self._later}
                )
                for letter in await self._on_disk(due):
                    self._sending[letter.row] = asyncio.create_task(self._send(letter))
            until_retry_s = min(self._later.values()) - clock if self._later else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until_retry_s):
                    await self._wake.wait()

    async def _send(self, letter: Letter) -> None:
        expires_s = None
        if letter.expires_at is not None:
            expires_s = (letter.expires_at - self._now()).total_seconds()
        try:
            heard = await self._link.publish(
                Outgoing(
                    topic=letter.topic,
                    payload=letter.payload,
                    retain=letter.retain,
                    expires_s=expires_s,
                )
            )
        except NotDelivered as fault:
            if fault.denied:
                log.error("message denied", topic=letter.topic, reason=str(fault))  # noqa: TRY400 - the sentence says it
                self._put_off(letter, RETRY_DENIED_S)
                self._note_denied({*self._denied, letter.topic})
        else:
            self._note_denied(self._denied - {letter.topic})
            if letter.topic == self._topics.limit_cmd:
                self._note(unheard=0 if heard else self._unheard + 1)
            if self.unheard and letter.topic == self._topics.limit_cmd:
                pause_s = RETRY_UNHEARD_S[min(self._unheard, len(RETRY_UNHEARD_S)) - 1]
                log.warning("nobody listens to a set-point", again_in_s=pause_s)
                self._put_off(letter, pause_s)
            else:
                self._later.pop(letter.row, None)
                outbox = self._opened()
                with contextlib.suppress(OutboxFault):  # it stays, and is sent twice: allowed
                    await self._on_disk(lambda: outbox.remove(letter.row))
        finally:
            self._sending.pop(letter.row, None)
            self._wake.set()

    def _put_off(self, letter: Letter, pause_s: float) -> None:
        self._later[letter.row] = asyncio.get_running_loop().time() + pause_s

    def _note_denied(self, denied: set[str]) -> None:
        if denied != self._denied:
            self._denied = denied
            self._tell_line()

    def _status(self, state: Literal["online", "offline", "lost"]) -> Outgoing:
        status = NodeStatus(state=state, boot=self._boot, version=self._version, at=self._now())
        return Outgoing(topic=self._topics.status, payload=encode(status), retain=True)

    def _opened(self) -> Outbox:
        if self._outbox is None:
            raise OutboxFault("the bridge is not open; use it inside `async with`.")
        return self._outbox

    async def _on_disk(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, act)

    def _close_outbox(self) -> None:
        self._disk.shutdown(wait=True)
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None


def read_from_ems(topics: Topics, incoming: Incoming) -> Received | None:
    """What an EMS said; None for an empty payload that withdraws nothing.

    Raises MessageRefused when topic and message do not fit together or the message is malformed.
    """
    place = topics.place(incoming.topic)
    if place is None:
        raise MessageRefused(f"{incoming.topic} is no topic of this node.")
    kind = ems_kind(place.kind)
    message: Message | None = None
    if incoming.payload:
        message = decode(incoming.payload)
        if not isinstance(message, CARRIES[kind]):
            raise MessageRefused(
                f"a message of schema '{message.__struct_config__.tag}' does not belong on "
                f"{incoming.topic}."
            )
    elif CARRIES[kind] not in {Override, Offer}:
        return None
    return Received(
        topic=incoming.topic,
        kind=kind,
        ems=place.owner,
        message=message,
        at=incoming.at,
        retained=incoming.retained,
    )
