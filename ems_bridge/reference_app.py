# SPDX-License-Identifier: Apache-2.0
"""The reference EMS as a process: the pure machine between the broker and the plant."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from doorway import get_logger
from doorway.apart import apart
from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import MessageRefused, NotDelivered, PlantFault
from ems_bridge.link import Incoming, Link, Outgoing
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    Count,
    EmsStatus,
    Heartbeat,
    Name,
    Override,
    SetPoint,
    decode,
    encode,
)
from ems_bridge.plant import Plant
from ems_bridge.reference_ems import PlantState, ReferenceEms
from ems_bridge.topics import Topics

OFFER_EVERY_S = 60.0
"""An offer is good for twice as long, and then over by itself."""
FAREWELL_S = 1.0
"""So long it tries to say that it leaves."""

log = get_logger()


class ReferenceApp:
    """Serves one plant until it is cancelled; on a clean end the load is let go."""

    def __init__(
        self,
        broker: BrokerSettings,
        topics: Topics,
        ems: str,
        *,
        core: ReferenceEms,
        plant: Plant,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        version: str = "",
        heartbeat_s: float = 10.0,
        step_s: float = 0.5,
    ) -> None:
        self._topics = topics
        self._ems = ems
        self._core = core
        self._plant = plant
        self._now = now
        self._monotonic = monotonic
        self._version = version
        self._heartbeat_s = heartbeat_s
        self._step_s = step_s
        self._plant_answers = True
        self._seen: PlantState | None = None
        self._opted = asyncio.Event()
        self._answers: asyncio.Queue[Acknowledgement] = asyncio.Queue()
        self._link = Link(
            broker,
            client_id=f"df-{topics.site}-{topics.node}-ems-{ems}",
            subscriptions=topics.to_ems(ems),
            now=now,
            will=lambda: self._status("lost"),
        )

    async def run(self) -> None:
        """Obey until cancelled. Raises BrokerUnusable for settings that cannot work."""
        async with self._link:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._greet())
                    tasks.create_task(self._obey())
                    tasks.create_task(self._speak())
                    tasks.create_task(self._beat())
                    tasks.create_task(self._offer())
                    tasks.create_task(self._drive())
            finally:
                await apart(self._leave())

    async def _leave(self) -> None:
        """Say so where that can be said in time, and let the load go."""
        with contextlib.suppress(NotDelivered, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._link.publish(self._status("offline"))
                await self._link.publish(self._offered(b""))
        with contextlib.suppress(PlantFault):
            await self._plant.reduce(0.0)
        await self._plant.close()

    async def _greet(self) -> None:
        """Say "online" after each connect, and the last answer, which may have been lost."""
        async for connected in self._link.connected_changes():
            if not connected:
                continue
            with contextlib.suppress(NotDelivered):
                await self._link.publish(self._status("online"))
            if self._core.last_answer is not None:
                self._tell((self._core.last_answer,))

    async def _obey(self) -> None:
        while True:
            incoming = await self._link.receive()
            try:
                answers = self._heard(incoming)
            except MessageRefused as fault:
                log.warning("message refused", topic=incoming.topic, reason=str(fault))
                if incoming.topic == self._topics.limit_cmd:
                    self._tell(_rejection(incoming.payload, fault, self._now()))
                continue
            self._tell(answers)

    def _heard(self, incoming: Incoming) -> tuple[Acknowledgement, ...]:
        if incoming.topic == self._topics.ems_override(self._ems):
            override = decode(incoming.payload) if incoming.payload else None
            if override is not None and not isinstance(override, Override):
                raise MessageRefused("only an override belongs on the override topic.")
            self._opted.set()
            return self._core.override(override, now=self._now())
        if incoming.topic not in {self._topics.limit_cmd, self._topics.limit_state}:
            return ()
        if not incoming.payload:
            return ()  # the retained lease was taken off the topic; what ends a lease is its expiry
        order = decode(incoming.payload)
        if not isinstance(order, SetPoint):
            raise MessageRefused("only a set-point belongs on the limit topics.")
        before = self._core.last_answer
        answers = self._core.receive(order, now=self._now(), monotonic_s=self._monotonic())
        if incoming.topic == self._topics.limit_state and self._core.last_answer is before:
            return ()  # the state repeats what was commanded: nothing new, so nothing to say
        return answers

    async def _beat(self) -> None:
        counter = 0
        while True:
            await self._link.until_connected()
            with contextlib.suppress(NotDelivered):
                beat = Heartbeat(counter=counter, at=self._now())
                await self._link.publish(
                    Outgoing(topic=self._topics.ems_hb(self._ems), payload=encode(beat), qos=0)
                )
            counter += 1
            await asyncio.sleep(self._heartbeat_s)

    async def _offer(self) -> None:
        """Say how far the load could be moved, as long as that holds."""
        while True:
            await self._link.until_connected()
            offer = self._core.offer(self._seen, now=self._now(), valid_s=2 * OFFER_EVERY_S)
            with contextlib.suppress(NotDelivered):
                await self._link.publish(self._offered(b"" if offer is None else encode(offer)))
            pause_s = OFFER_EVERY_S if self._seen is not None else self._step_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._opted.wait()
            self._opted.clear()

    async def _drive(self) -> None:
        while True:
            started_s = self._monotonic()
            await self._turn()
            await asyncio.sleep(max(0.0, self._step_s - (self._monotonic() - started_s)))

    async def _turn(self) -> None:
        """Read the plant, think, move the plant, and only then answer: STARTED means it moves."""
        plant = None
        try:
            plant = await self._plant.read()
            self._note_plant("")
        except PlantFault as fault:
            self._note_plant(str(fault))
        self._seen = plant
        step = self._core.step(plant, now=self._now(), monotonic_s=self._monotonic())
        if step.reduction_w is not None:
            try:
                await self._plant.reduce(step.reduction_w)
            except PlantFault as fault:
                self._note_plant(str(fault))
        self._tell(step.answers)

    def _note_plant(self, fault: str) -> None:
        answers = not fault
        if answers != self._plant_answers:
            self._plant_answers = answers
            log.warning("the plant answers" if answers else "the plant is lost", reason=fault)

    def _tell(self, answers: tuple[Acknowledgement, ...]) -> None:
        for answer in answers:
            log.info(
                "answer",
                status=answer.status,
                seq=answer.seq,
                applied_w=answer.applied_w,
                reason=answer.reason,
            )
            self._answers.put_nowait(answer)

    async def _speak(self) -> None:
        """Send the answers in their order; a slow broker holds up nothing else."""
        while True:
            answer = await self._answers.get()
            with contextlib.suppress(NotDelivered):  # the last one is told again on reconnect
                await self._link.publish(
                    Outgoing(topic=self._topics.ems_ack(self._ems), payload=encode(answer))
                )

    def _offered(self, payload: bytes) -> Outgoing:
        return Outgoing(topic=self._topics.ems_offer(self._ems), payload=payload, retain=True)

    def _status(self, state: Literal["online", "offline", "lost"]) -> Outgoing:
        status = EmsStatus(state=state, version=self._version, at=self._now())
        return Outgoing(
            topic=self._topics.ems_status(self._ems), payload=encode(status), retain=True
        )


class _Addressed(Struct, frozen=True, kw_only=True):
    """What of a malformed set-point is enough to answer it."""

    id: Name
    seq: Count


def _rejection(payload: bytes, fault: MessageRefused, now: datetime) -> tuple[Acknowledgement, ...]:
    """REJECTED, if the malformed set-point says at least which one it is."""
    try:
        order = msgspec.json.decode(payload, type=_Addressed)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return (
        Acknowledgement(
            id=order.id, seq=order.seq, status=AckStatus.REJECTED, reason=str(fault), at=now
        ),
    )
