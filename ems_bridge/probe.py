# SPDX-License-Identifier: Apache-2.0
"""What an installer does by hand on the line: listen, send a short lease, set an override."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from ems_bridge.errors import BridgeError, BrokerUnreachable, MessageRefused
from ems_bridge.link import Incoming, Link, Outgoing
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    Description,
    Message,
    Override,
    Reason,
    SetPoint,
    decode,
    encode,
)
from ems_bridge.settings import Settings
from ems_bridge.topics import Topics

CONNECT_WAIT_S = 5.0
"""Somebody is watching: longer than this nobody waits for a broker."""
ANSWER_WAIT_S = 10.0
"""An EMS accepts or rejects at once; only moving the load takes time."""
RETAINED_WAIT_S = 0.5
"""Retained messages follow the subscription at once, but nothing tells that there is none."""
RELEASE_WAIT_S = 120.0
"""For a slow plant to come back after the release."""
EVENT_ID = "installer-probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the probe orders: a change, or limits."""

    delta_w: float | None = None
    max_w: float | None = None
    min_w: float | None = None
    ramp_w_per_s: float | None = None


@asynccontextmanager
async def connected(
    settings: Settings, subscriptions: tuple[str, ...], now: Callable[[], datetime]
) -> AsyncIterator[Link]:
    """A link that is up. Raises BrokerUnreachable when it is not within CONNECT_WAIT_S."""
    name = f"df-probe-{secrets.token_hex(4)}"
    link = Link(
        settings.broker, client_id=name, subscriptions=subscriptions, now=now, announce=False
    )
    async with link:
        try:
            async with asyncio.timeout(CONNECT_WAIT_S):
                await link.until_connected()
        except TimeoutError:
            raise BrokerUnreachable(
                f"the broker {settings.broker.address} cannot be reached: {link.last_fault}."
            ) from None
        yield link


async def listen(settings: Settings, now: Callable[[], datetime]) -> AsyncGenerator[Incoming, None]:
    """Every message on the node's tree, from now on, the retained ones first."""
    topics = Topics(settings.site, settings.node)
    async with connected(settings, (topics.everything,), now) as link:
        while True:
            yield await link.receive()


async def retain(
    settings: Settings, now: Callable[[], datetime], topic: str, payload: bytes
) -> None:
    """Leave `payload` on a topic; an empty one takes off what is there."""
    async with connected(settings, (), now) as link:
        await link.publish(Outgoing(topic=topic, payload=payload, retain=True))


async def described_meters(settings: Settings, now: Callable[[], datetime]) -> tuple[str, ...]:
    """The meters of the node's description. Raises BridgeError where it has left none."""
    topic = Topics(settings.site, settings.node).description
    async with connected(settings, (topic,), now) as link:
        with contextlib.suppress(TimeoutError, MessageRefused):
            async with asyncio.timeout(2 * RETAINED_WAIT_S):
                message = decode((await link.receive()).payload)
                if isinstance(message, Description):
                    return tuple(meter.id for meter in message.meters)
    raise BridgeError(f"no node has described itself on {topic}; name its meters with --meter.")


async def set_override(
    settings: Settings,
    now: Callable[[], datetime],
    *,
    active: bool,
    reason: str,
    until: datetime | None,
) -> Override:
    """Publish an override in the EMS's name, retained; returns it."""
    topics = Topics(settings.site, settings.node)
    override = Override(active=active, reason=reason, until=until, at=now())
    async with connected(settings, (), now) as link:
        await link.publish(
            Outgoing(topic=topics.ems_override(settings.ems), payload=encode(override), retain=True)
        )
    return override


async def send_lease(
    settings: Settings,
    now: Callable[[], datetime],
    *,
    target: Target,
    hold_s: float,
    force: bool,
    heard: Callable[[Message], None],
) -> None:
    """Order `target` for `hold_s` seconds, then release; `heard` is told each message of it.

    The release is sent whatever happens in between. Raises BridgeError, one sentence, when a lease
    is in force already (unless `force`), when no EMS answers, or when it does not obey.
    """
    topics = Topics(settings.site, settings.node)
    acks = topics.from_ems[0]
    async with connected(settings, (topics.limit_state, acks), now) as link:
        exchange = _Exchange(link, topics, heard)
        seq = await exchange.next_seq(now, force=force)
        lease = _lease(target, seq=seq, hold_s=hold_s, now=now())
        try:
            await exchange.order(lease)
            await exchange.until(lease, AckStatus.ACCEPTED, ANSWER_WAIT_S, "accepts the lease")
            await exchange.listen_on(hold_s)
        finally:
            release = _release(lease, now=now())
            if not exchange.rejected:  # or the release would end somebody else's lease
                await exchange.order(release)
        await exchange.until(release, AckStatus.SUCCEEDED, RELEASE_WAIT_S, "ends the release")


class _Exchange:
    """One conversation with whatever EMS listens."""

    def __init__(self, link: Link, topics: Topics, heard: Callable[[Message], None]) -> None:
        self._link = link
        self._topics = topics
        self._heard = heard
        self._lease_id = ""
        self.rejected = False

    async def next_seq(self, now: Callable[[], datetime], *, force: bool) -> int:
        """Newer than the lease that is retained. Raises BridgeError when that is still in force."""
        last = -1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETAINED_WAIT_S):
                while True:
                    incoming = await self._link.receive()
                    state = _setpoint_in(incoming)
                    if incoming.topic != self._topics.limit_state or state is None:
                        continue
                    last = state.seq
                    if not (force or state.release) and state.not_after > now():
                        raise BridgeError(
                            f"a lease of event {state.reason.event_id} is in force until "
                            f"{state.not_after:%H:%M:%S} UTC; wait, or send with --force."
                        )
        return max(last + 1, int(now().timestamp() * 1000))

    async def order(self, order: SetPoint) -> None:
        await self._link.publish(Outgoing(topic=self._topics.limit_cmd, payload=encode(order)))
        self._lease_id = order.id
        self._heard(order)

    async def until(self, order: SetPoint, wanted: AckStatus, wait_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    answer = await self._answer()
                    if answer.seq == order.seq and answer.status is wanted:
                        return
        except TimeoutError:
            raise BridgeError(
                f"no EMS {what} within {wait_s:g} s; look whether one is online with "
                "'ems-bridge watch'."
            ) from None

    async def listen_on(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self._answer()

    async def _answer(self) -> Acknowledgement:
        """The next answer to our lease. Raises BridgeError for one that refuses or gives up."""
        while True:
            incoming = await self._link.receive()
            try:
                answer = decode(incoming.payload)
            except MessageRefused:
                continue
            if isinstance(answer, Acknowledgement) and answer.id == self._lease_id:
                self._heard(answer)
                if answer.status in {AckStatus.REJECTED, AckStatus.ABORTED}:
                    self.rejected = answer.status is AckStatus.REJECTED
                    raise BridgeError(f"the EMS answers {answer.status}: {answer.reason}.")
                return answer


def _setpoint_in(incoming: Incoming) -> SetPoint | None:
    with contextlib.suppress(MessageRefused):
        message = decode(incoming.payload)
        return message if isinstance(message, SetPoint) else None
    return None


def _lease(target: Target, *, seq: int, hold_s: float, now: datetime) -> SetPoint:
    # A little longer than it is held: it ends by the release, and by itself if we are cut off.
    ttl_s = hold_s + 10
    return SetPoint(
        id=f"probe-{secrets.token_hex(6)}",
        seq=seq,
        issued_at=now,
        not_before=now,
        not_after=now + timedelta(seconds=ttl_s),
        ttl_s=ttl_s,
        delta_w=target.delta_w,
        max_w=target.max_w,
        min_w=target.min_w,
        ramp_w_per_s=target.ramp_w_per_s,
        reason=Reason(
            event_id=EVENT_ID, modification_number=0, signal_name="PROBE", signal_type="probe"
        ),
    )


def _release(lease: SetPoint, *, now: datetime) -> SetPoint:
    return SetPoint(
        id=lease.id,
        seq=lease.seq + 1,
        issued_at=now,
        not_before=now,
        not_after=now,
        ttl_s=0,
        reason=lease.reason,
        release=True,
    )
