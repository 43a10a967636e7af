# SPDX-License-Identifier: Apache-2.0
"""What a scenario stands on: the node's side of the line, and everything that was heard on it."""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from ems_bridge.errors import BridgeError, MessageRefused
from ems_bridge.link import Incoming, Link, Outgoing
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    EmsStatus,
    Heartbeat,
    Message,
    NodeStatus,
    Override,
    Reason,
    SetPoint,
    decode,
    encode,
)
from ems_bridge.plant import Plant
from ems_bridge.probe import connected
from ems_bridge.settings import Settings
from ems_bridge.topics import Topics
from ems_bridge.trial.relay import Relay
from ems_bridge.words import in_words, watts

ANSWER_S = 5.0
"""ACCEPTED and REJECTED are said at once; this is generous."""
RETAINED_S = 1.0
"""Retained messages follow a subscription at once, but nothing tells that there is none."""
BEAT_S = 10.0
_SHOWN_BYTES = 60
LEASE_S = 60.0
"""Longer than any scenario: it ends a lease by hand, or says how long it lasts."""

NEVER = (AckStatus.ABORTED, AckStatus.REJECTED, AckStatus.REVOKED)
"""What no answer to a good lease should be."""


class Wrong(BridgeError):
    """The EMS breaks the contract; the sentence says how."""


class NotShown(BridgeError):
    """This could not be tried; the sentence says what is missing for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A message of the EMS."""

    topic: str
    message: Message | None
    """None: it is not what belongs on the topic, or it was cleared."""
    refused: str
    retained: bool
    at: datetime
    monotonic_s: float


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a scenario's diary."""

    after_s: float
    """Since the scenario began."""
    who: Literal["node", "EMS", "line", "load"]
    """The node is what the trial plays, the load what the load port shows."""
    said: str


@dataclass(kw_only=True)
class Stage:
    """The node's side of the line."""

    settings: Settings
    topics: Topics
    link: Link
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    step_w: float
    """How much less the scenarios ask for."""
    patience_s: float
    """The longest the plant takes for `step_w`."""
    relay: Relay | None = None
    plant: Plant | None = None
    heard: list[Heard] = field(default_factory=list)
    diary: list[Noted] = field(default_factory=list)
    """What was done and seen since `begin`."""
    _begun_s: float = 0.0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _seq: int = 0
    _last: SetPoint | None = None

    def begin(self) -> None:
        """Begin the diary of another scenario."""
        self.diary = []
        self._begun_s = self.monotonic()

    def note(self, who: Literal["node", "EMS", "line", "load"], said: str) -> None:
        """Enter something into the diary."""
        after_s = round(self.monotonic() - self._begun_s, 2)
        self.diary.append(Noted(after_s=after_s, who=who, said=said))

    # --- what the node says ----------------------------------------------------------------------

    def lease(
        self,
        *,
        delta_w: float | None = None,
        max_w: float | None = None,
        id: str = "",  # noqa: A002 - the name it has on the wire
        ttl_s: float = LEASE_S,
        clock_s: float | None = None,
        begins_in_s: float = 0.0,
        ramp_w_per_s: float | None = None,
        fallback_w: float | None = None,
    ) -> SetPoint:
        """The next lease; `clock_s` sets its end on the clock apart from its length in ttl_s."""
        if delta_w is None and max_w is None:
            delta_w = -self.step_w
        now = self.now()
        begins_at = now + timedelta(seconds=begins_in_s)
        ends_at = begins_at + timedelta(seconds=ttl_s if clock_s is None else clock_s)
        self._seq = max(self._seq + 1, int(now.timestamp() * 1000))
        return SetPoint(
            id=id or f"trial-{secrets.token_hex(6)}",
            seq=self._seq,
            issued_at=now,
            not_before=min(begins_at, ends_at - timedelta(seconds=1)),
            not_after=ends_at,
            ttl_s=ttl_s,
            delta_w=delta_w,
            max_w=max_w,
            ramp_w_per_s=ramp_w_per_s,
            fallback_w=fallback_w,
            reason=Reason(
                event_id="ems-trial", modification_number=0, signal_name="TRIAL", signal_type="x"
            ),
        )

    def slow_lease(self, *, ttl_s: float, clock_s: float | None = None) -> SetPoint:
        """A lease whose ramp is so slow that it runs out before it is reached."""
        return self.lease(ttl_s=ttl_s, clock_s=clock_s, ramp_w_per_s=self.step_w / 1000)

    def release(self, lease: SetPoint) -> SetPoint:
        now = self.now()
        self._seq = max(self._seq + 1, int(now.timestamp() * 1000))
        return SetPoint(
            id=lease.id,
            seq=self._seq,
            issued_at=now,
            not_before=now,
            not_after=now,
            ttl_s=0,
            reason=lease.reason,
            release=True,
        )

    async def send(self, order: SetPoint, *, state: bool = True) -> SetPoint:
        """Say a set-point as the node does: to obey, and retained for who joins late."""
        self._last = order
        await self.say(self.topics.limit_cmd, encode(order))
        if state:
            await self.say(self.topics.limit_state, encode(order), retain=True)
        return order

    async def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.note("node", _shown(self.topics, topic, payload))
        await self.link.publish(Outgoing(topic=topic, payload=payload, retain=retain))

    async def say_node(self, state: Literal["online", "lost"] | None) -> None:
        """The light node's status, retained; None takes it off the topic."""
        status = b""
        if state is not None:
            status = encode(NodeStatus(state=state, boot="trial", version="trial", at=self.now()))
        await self.say(self.topics.status, status, retain=True)

    async def beat(self) -> None:
        """The node's sign of life, until it is cancelled."""
        for counter in itertools.count():
            with contextlib.suppress(BridgeError):
                beat = encode(Heartbeat(counter=counter, at=self.now()))
                await self.link.publish(Outgoing(topic=self.topics.hb, payload=beat, qos=0))
            await asyncio.sleep(BEAT_S)

    async def override(self, *, active: bool) -> None:
        """A person opts out on the EMS's topic, or takes it back."""
        until = self.now() + timedelta(minutes=5) if active else None
        said = Override(active=active, reason="trial", until=until, at=self.now())
        topic = self.topics.ems_override(self.settings.ems)
        await self.say(topic, encode(said) if active else b"", retain=True)

    async def at_rest(self) -> None:
        """Release what the scenario before has left behind, and wait until the load is let go."""
        last, self._last = self._last, None
        if last is None or last.release:
            return
        release = await self.send(self.release(last))
        self._last = None
        if not self.answers(last):
            return  # nobody is there, or what was sent was no set-point for it
        with contextlib.suppress(Wrong):  # the scenario on releases says it where that is wrong
            await self.answer(release, AckStatus.SUCCEEDED, within_s=self.patience_s)

    # --- what the EMS answers --------------------------------------------------------------------

    def hear(self, incoming: Incoming) -> None:
        place = self.topics.place(incoming.topic)
        if place is None or place.owner != self.settings.ems:
            return
        message, refused = None, ""
        if incoming.payload:
            try:
                message = decode(incoming.payload)
            except MessageRefused as fault:
                refused = str(fault)
        if not isinstance(message, Heartbeat):
            self.note("EMS", _shown(self.topics, incoming.topic, incoming.payload))
        self.heard.append(
            Heard(
                topic=incoming.topic,
                message=message,
                refused=refused,
                retained=incoming.retained,
                at=incoming.at,
                monotonic_s=self.monotonic(),
            )
        )

    async def look_around(self, *, force: bool) -> None:
        """Hear what is retained. Raises BridgeError where a real node is on the line."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETAINED_S):
                while True:
                    incoming = await self.link.receive()
                    self.hear(incoming)
                    self._mind_the_node(incoming, force=force)

    def _mind_the_node(self, incoming: Incoming, *, force: bool) -> None:
        if incoming.topic not in (self.topics.status, self.topics.limit_state):
            return
        message = None
        with contextlib.suppress(MessageRefused):
            message = decode(incoming.payload)
        if isinstance(message, NodeStatus) and message.state == "online" and not force:
            raise BridgeError(
                f"a light node says that it is online as {self.topics.root}; stop it, or try the "
                "EMS under another --node, or go on all the same with --force."
            )
        if isinstance(message, SetPoint):
            self._seq = max(self._seq, message.seq)

    async def listen(self) -> None:
        """Hear until it is cancelled."""
        while True:
            incoming = await self.link.receive()
            async with self._news:
                self.hear(incoming)
                self._news.notify_all()

    def answers(self, order: SetPoint) -> list[Acknowledgement]:
        """Every answer to this very set-point, in their order."""
        return [
            one.message
            for one in self.heard
            if isinstance(one.message, Acknowledgement)
            and (one.message.id, one.message.seq) == (order.id, order.seq)
        ]

    async def until(self, found: Callable[[], bool], *, within_s: float) -> bool:
        """Wait for what the EMS says; whether it came in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._news:
                await self._news.wait_for(found)
        return found()

    async def answer(
        self,
        order: SetPoint,
        *wanted: AckStatus,
        within_s: float = ANSWER_S,
        but_not: Iterable[AckStatus] = (),
    ) -> Acknowledgement:
        """The first answer of a wanted status. Raises Wrong for none, or for an unwanted one."""
        unwanted = set(but_not)

        def found() -> bool:
            return any(one.status in {*wanted, *unwanted} for one in self.answers(order))

        await self.until(found, within_s=within_s)
        for one in self.answers(order):
            if one.status in wanted:
                return one
            if one.status in unwanted:
                raise Wrong(f"it answers {one.status} ({one.reason or 'no reason'}).")
        words = " or ".join(wanted)
        said = ", ".join(one.status for one in self.answers(order)) or "nothing"
        raise Wrong(f"no {words} within {within_s:g} s; it says {said}.")

    async def obeyed(self, order: SetPoint) -> Acknowledgement:
        """ACCEPTED at once, then SUCCEEDED. Raises Wrong."""
        await self.answer(order, AckStatus.ACCEPTED, but_not=NEVER)
        return await self.answer(
            order, AckStatus.SUCCEEDED, within_s=self.patience_s, but_not=NEVER
        )

    async def refused(self, order: SetPoint) -> None:
        """REJECTED, with a reason. Raises Wrong."""
        answer = await self.answer(order, AckStatus.REJECTED, but_not=(AckStatus.ACCEPTED,))
        if not answer.reason:
            raise Wrong("it rejects without a reason; the operator needs one.")

    async def still_obeys(self) -> None:
        """A good lease is accepted. Raises Wrong."""
        lease = await self.send(self.lease())
        await self.answer(lease, AckStatus.ACCEPTED, but_not=NEVER)

    async def keeps(self, lease: SetPoint, *, for_s: float) -> None:
        """Nothing is said against a lease in hand for so long. Raises Wrong."""

        def against() -> bool:
            return any(one.status in NEVER for one in self.answers(lease))

        if await self.until(against, within_s=for_s):
            last = self.answers(lease)[-1]
            raise Wrong(f"it gives the lease in hand up: {last.status} ({last.reason}).")

    async def reduction(self, expected_w: float, *, within_s: float) -> None:
        """The load port shows this reduction in time. Raises Wrong, NotShown without a port."""
        if self.plant is None:
            raise NotShown("the load itself is not looked at; give its port with --plant.")
        ends_s = self.monotonic() + within_s
        while True:
            state = await self.plant.read()
            if abs(state.natural_w - state.load_w - expected_w) <= self.settings.rated_w * 0.02:
                self.note("load", f"{watts(state.natural_w - state.load_w)} below what it would be")
                return
            if self.monotonic() >= ends_s:
                raise Wrong(
                    f"the load is {state.natural_w - state.load_w:.0f} W below what it would be, "
                    f"not {expected_w:.0f} W."
                )
            await asyncio.sleep(0.2)

    def cut(self) -> None:
        """Cut the EMS's line to the broker. Raises NotShown where it does not run through us."""
        if self.relay is None:
            raise NotShown(
                "the EMS's connection cannot be cut; have it connect through --through PORT."
            )
        self.note("line", "cut")
        self.relay.cut()

    def mend(self) -> None:
        """Let the EMS through to the broker again."""
        assert self.relay is not None
        self.note("line", "mended")
        self.relay.mend()

    async def stands_retained(self, topic: str) -> bool:
        """Whether who subscribes now is told something at once."""
        async with connected(self.settings, (topic,), self.now) as link:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * RETAINED_S):
                    return (await link.receive()).retained
        return False

    def statuses(self) -> list[Heard]:
        return [one for one in self.heard if isinstance(one.message, EmsStatus)]


def _shown(topics: Topics, topic: str, payload: bytes) -> str:
    """A message as one line: the end of its topic, and what it says."""
    where = topic.removeprefix(f"{topics.root}/")
    if not payload:
        return f"{where} is cleared"
    try:
        return f"{where} {in_words(decode(payload))}"
    except MessageRefused as fault:
        begin = payload[:_SHOWN_BYTES].decode(errors="backslashreplace")
        return f"{where} {begin!r} ({len(payload)} bytes, no message: {fault})"


@asynccontextmanager
async def staged(
    settings: Settings,
    *,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    step_w: float,
    patience_s: float,
    relay: Relay | None,
    plant: Plant | None,
    force: bool,
) -> AsyncIterator[Stage]:
    """A stage while the block runs. Raises BridgeError where a real node is on the line."""
    topics = Topics(settings.site, settings.node)
    subscriptions = (topics.status, topics.limit_state, *topics.from_ems)
    async with connected(settings, subscriptions, now) as link:
        stage = Stage(
            settings=settings,
            topics=topics,
            link=link,
            now=now,
            monotonic=monotonic,
            step_w=step_w,
            patience_s=patience_s,
            relay=relay,
            plant=plant,
        )
        await stage.look_around(force=force)
        tasks = [asyncio.create_task(stage.listen()), asyncio.create_task(stage.beat())]
        await stage.say_node("online")
        try:
            yield stage
        finally:
            with contextlib.suppress(BridgeError):
                await stage.at_rest()
                await stage.override(active=False)
                await stage.say(topics.limit_state, b"", retain=True)
                await stage.say_node(None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
