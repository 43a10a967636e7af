# SPDX-License-Identifier: Apache-2.0
"""One MQTT connection that keeps itself: paho's thread behind an asyncio face.

paho queues what it cannot send, resends it by itself and reports a denied message as published.
So each connection gets a client of its own, which dies with it, and nothing is handed to a client
that has no connection: what must survive waits in the outbox, not in paho.

    connecting --CONNACK and SUBACK--> connected --lost--> waiting --back-off--> connecting
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from doorway import get_logger
from doorway.spared import later, tls_later
from ems_bridge.broker import BrokerSettings, password, tls_context
from ems_bridge.errors import BridgeError, BrokerUnusable, NotDelivered

# hashlib and urllib are for paho's websockets and proxies, of which there are none here.
with (
    later("hashlib", "urllib.request"),
    tls_later(),
):
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

log = get_logger()

MAX_INFLIGHT = 20
"""What is handed to the broker before it has acknowledged; mosquitto's own limit."""
CONNECT_TIMEOUT_S = 5.0
"""TCP and TLS together; also the longest a shutdown can wait for a broker that swallows packets."""
ANSWER_TIMEOUT_S = 10.0
"""A broker that has not answered a packet by then is taken for dead, and connected to anew."""
STOP_TIMEOUT_S = 2.0
"""For the goodbye; a thread that a dead line still holds is left to its keep-alive."""
BACK_OFF_S = (0.5, 1.0, 2.0)
"""A site's broker is near: a set-point should reach the EMS within 3 s of its return."""
WILL_DELAY_S = 10
"""MQTT 5 only: a short break of the line is no loss worth telling."""
NO_SUBSCRIBERS = 0x10
"""The reason code of a PUBACK, MQTT 5: a success of which nobody has heard."""
MAX_WAITING = 1000
"""Messages held for a slow reader; then the oldest gives way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message as it came: any topic that was subscribed to, any bytes."""

    topic: str
    payload: bytes
    retained: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message as it goes; `expires_s` is told to the broker where MQTT 5 is spoken."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expires_s: float | None = None


@dataclass(slots=True, eq=False)
class _Session:
    """One connection's life. All of it lives in the event loop; paho's thread only calls in."""

    client: mqtt.Client
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    cause: str = ""
    subscribing: int = 0
    acks: dict[int, asyncio.Future[ReasonCode]] = field(default_factory=dict)

    def end(self, cause: str) -> None:
        self.cause = self.cause or cause
        self.ended.set()


class Link:
    """`async with` keeps the connection up until its end; an absent broker is waited for.

    Raises BrokerUnusable on entry when the settings cannot work. Renewed certificate and password
    files are read at the next connection. `receive` has one caller.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        *,
        client_id: str,
        subscriptions: Iterable[str],
        now: Callable[[], datetime],
        will: Callable[[], Outgoing] | None = None,
        announce: bool = True,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._subscriptions = tuple(subscriptions)
        self._now = now
        self._will = will
        self._announce = log.info if announce else log.debug
        self._session: _Session | None = None
        self._connected = False
        self._watchers: set[asyncio.Event] = set()
        self._incoming: asyncio.Queue[Incoming] = asyncio.Queue(MAX_WAITING)
        self._closing = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.last_fault = "no connection was tried yet"

    async def __aenter__(self) -> Self:
        tls_context(self._broker)
        password(self._broker)
        self._keeper = asyncio.create_task(self._keep(), name=f"mqtt {self._client_id}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._session is not None:
            self._session.end("we are leaving")
        if self._keeper is not None:
            await self._keeper

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and answered our subscriptions."""
        return self._connected

    async def connected_changes(self) -> AsyncGenerator[bool, None]:
        """The present state, then each change; one that lasts too short to be seen is left out."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                yield self._connected
                await changed.wait()
        finally:
            self._watchers.discard(changed)

    async def until_connected(self) -> None:
        """Return as soon as the link is connected."""
        async with contextlib.aclosing(self.connected_changes()) as changes:
            async for connected in changes:
                if connected:
                    return

    async def receive(self) -> Incoming:
        """The next message, from the first connection on; one may come twice (QoS 1)."""
        return await self._incoming.get()

    async def publish(self, letter: Outgoing) -> bool:
        """Hand one message to the broker; with QoS 1 return on its good PUBACK.

        False: the broker took it and says that nobody listens to it. It says so under MQTT 5 and
        QoS 1, if at all (PUBACK 0x10); True else.

        Raises NotDelivered when there is no connection, when it breaks before the PUBACK, or when
        the broker denies the message. A broker under MQTT 3.1.1 cannot say that it denied one.
        """
        session = self._session
        if session is None or not self._connected:
            raise NotDelivered(f"the broker {self._broker.address} is not connected.")
        info = session.client.publish(
            letter.topic,
            letter.payload,
            qos=letter.qos,
            retain=letter.retain,
            properties=self._properties(letter),
        )
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            session.end(f"paho would not send: {mqtt.error_string(info.rc)}")
            raise NotDelivered(f"the connection to {self._broker.address} has just broken.")
        if letter.qos == 0:
            return True
        acknowledged: asyncio.Future[ReasonCode] = asyncio.get_running_loop().create_future()
        session.acks[info.mid] = acknowledged
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reason = await acknowledged
        except TimeoutError:
            session.end(f"no PUBACK within {ANSWER_TIMEOUT_S:g} s")
            raise NotDelivered(f"{self._broker.address} did not acknowledge a message.") from None
        finally:
            session.acks.pop(info.mid, None)
        if reason.is_failure:
            raise NotDelivered(
                f"{self._broker.address} refused a message on {letter.topic}: {reason}; "
                "look at the broker's access list.",
                denied=True,
            )
        return reason.value != NO_SUBSCRIBERS

    def _properties(self, letter: Outgoing) -> Properties | None:
        if self._broker.protocol != "5" or letter.expires_s is None:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.MessageExpiryInterval = max(1, int(letter.expires_s))
        return properties

    # The keeper: one session after the other.

    async def _keep(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                was_ready, cause = await self._live()
            except BridgeError as fault:
                was_ready, cause = False, str(fault)
            except Exception as fault:
                log.exception("the broker connection failed unexpectedly")
                was_ready, cause = False, f"unexpected: {fault!r}"
            if self._closing.is_set():
                return
            if was_ready or cause != self.last_fault:
                log.warning("broker not connected", broker=self._broker.address, cause=cause)
            self.last_fault = cause
            failures = 0 if was_ready else failures + 1
            pause = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)

    async def _live(self) -> tuple[bool, str]:
        """One connection to its end; whether it was ever ready, and why it ended."""
        session = _Session(self._client())
        self._listen(session)
        connecting = asyncio.ensure_future(
            _in_thread(
                lambda: session.client.connect(
                    self._broker.host, self._broker.port, self._broker.keepalive_s
                ),
                unwanted=lambda: _close(session.client),
            )
        )
        await _first_of(connecting, self._closing.wait())
        if connecting.cancelled():
            return False, "we are leaving"
        if (fault := connecting.exception()) is not None:
            if isinstance(fault, OSError | ValueError):
                return False, _connect_fault(fault)
            raise fault
        self._session = session
        session.client.loop_start()
        try:
            if not self._closing.is_set():
                await self._until_ready(session)
                await session.ended.wait()
        finally:
            self._session = None
            self._set_connected(now=False)
            for waiting in session.acks.values():
                if not waiting.done():
                    waiting.set_exception(
                        NotDelivered(f"the connection to {self._broker.address} broke.")
                    )
            session.client.disconnect()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_in_thread(session.client.loop_stop), STOP_TIMEOUT_S)
                # paho's thread may end before it has seen the broker close the connection.
                _close(session.client)
                _forget_us(session.client)
        return session.ready.is_set(), session.cause

    async def _until_ready(self, session: _Session) -> None:
        await _first_of(session.ready.wait(), session.ended.wait(), timeout_s=ANSWER_TIMEOUT_S)
        if not session.ready.is_set() and not session.ended.is_set():
            session.end("the broker accepts the connection but does not answer")
        elif session.ready.is_set() and not session.ended.is_set():
            self.last_fault = ""
            self._announce("broker connected", broker=self._broker.address)
            self._set_connected(now=True)

    def _set_connected(self, *, now: bool) -> None:
        if now != self._connected:
            self._connected = now
            for watcher in self._watchers:
                watcher.set()

    # What is said to paho, and what it calls back.

    def _client(self) -> mqtt.Client:
        five = self._broker.protocol == "5"
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            # A session kept by the broker would bring old answers back; MQTT 5 starts clean anyway.
            clean_session=None if five else True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(MAX_INFLIGHT)
        context = tls_context(self._broker)
        if context is not None:
            client.tls_set_context(context)
        if self._broker.username:
            client.username_pw_set(self._broker.username, password(self._broker))
        elif self._broker.password_file is not None:
            raise BrokerUnusable("the broker has a 'password_file' but no 'username'; set both.")
        if self._will is not None:
            will = self._will()
            client.will_set(
                will.topic, will.payload, will.qos, will.retain, _will_delay() if five else None
            )
        return client

    def _listen(self, session: _Session) -> None:
        """Bring paho's callbacks, which run in its thread, into the event loop."""
        loop = asyncio.get_running_loop()

        def into_loop(act: Callable[..., None], *args: Any) -> None:  # Any: handed through
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to tell
                loop.call_soon_threadsafe(act, session, *args)

        client = session.client
        client.on_socket_open = lambda _c, _u, sock: _undelayed(sock)
        client.on_connect = lambda _c, _u, _flags, reason, _p: into_loop(self._accepted, reason)
        client.on_disconnect = lambda _c, _u, _flags, reason, _p: into_loop(self._lost, reason)
        client.on_subscribe = lambda _c, _u, mid, reasons, _p: into_loop(
            self._subscribed, mid, reasons
        )
        client.on_publish = lambda _c, _u, mid, reason, _p: into_loop(self._puback, mid, reason)
        client.on_message = lambda _c, _u, message: into_loop(
            self._arrived, message.topic, bytes(message.payload), message.retain
        )

    def _accepted(self, session: _Session, reason: ReasonCode) -> None:
        if reason.is_failure:
            session.end(f"the broker refuses us: {reason}")
        elif not self._subscriptions:
            session.ready.set()
        else:
            _, mid = session.client.subscribe([(topic, 1) for topic in self._subscriptions])
            session.subscribing = mid or 0

    def _subscribed(self, session: _Session, mid: int, reasons: list[ReasonCode]) -> None:
        if mid != session.subscribing:
            return
        for topic, reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                log.error("the broker denies a subscription", topic=topic, reason=str(reason))
        session.ready.set()

    def _lost(self, session: _Session, reason: ReasonCode) -> None:
        hint = "" if session.ready.is_set() else " before it accepted us (its log says why)"
        session.end(f"the connection ended{hint}: {reason}")

    def _puback(self, session: _Session, mid: int, reason: ReasonCode) -> None:
        waiting = session.acks.get(mid)
        if waiting is not None and not waiting.done():
            waiting.set_result(reason)

    def _arrived(self, session: _Session, topic: str, payload: bytes, retained: bool) -> None:  # noqa: ARG002 - called by position, like its sisters
        if self._incoming.full():
            self._incoming.get_nowait()
            log.warning("messages arrive faster than they are read; the oldest is dropped")
        self._incoming.put_nowait(
            Incoming(topic=topic, payload=payload, retained=retained, at=self._now())
        )


def _undelayed(sock: Any) -> None:  # Any: paho's word for a socket, plain or TLS
    # A PUBACK followed by a message is two small writes: Nagle would hold the second for 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _will_delay() -> Properties:
    delay = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    delay.WillDelayInterval = WILL_DELAY_S
    return delay


async def _first_of(*acts: Awaitable[Any], timeout_s: float | None = None) -> None:
    """Return when one of `acts` is done or the time is over, and cancel the others.

    Any: the outcome is looked at by the one who holds the future.
    """
    futures = [asyncio.ensure_future(act) for act in acts]
    _, pending = await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for future in pending:
        future.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _close(client: mqtt.Client) -> None:
    if (left := client.socket()) is not None:
        left.close()


def _forget_us(client: mqtt.Client) -> None:
    # Its callbacks hold the session, which holds it. A ring of these is collected in any order,
    # and then paho's own sockets before paho could close them.
    client.on_socket_open = client.on_connect = client.on_disconnect = None
    client.on_subscribe = client.on_publish = client.on_message = None


def _connect_fault(error: BaseException) -> str:
    # It is a ValueError as well. Asked alone it would bring in OpenSSL where there is no TLS.
    if isinstance(error, ValueError) and isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted: {error.verify_message}; look at 'ca'"
    return f"{error}"


async def _in_thread(
    act: Callable[[], Any],  # Any: the outcome is not looked at
    *,
    unwanted: Callable[[], None] = lambda: None,
) -> None:
    """Run a blocking call in a daemon thread, which cannot hold up the end of the program.

    Where nobody waits for it any more when it succeeds, `unwanted` undoes it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if done.done():
            if error is None:
                unwanted()
        elif error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            act()
        except BaseException as fault:  # noqa: BLE001 - carried to the one who awaits
            error = fault
        try:
            loop.call_soon_threadsafe(finish, error)
        except RuntimeError:  # the loop has closed: nobody is left to tell
            if error is None:
                unwanted()

    threading.Thread(target=run, daemon=True, name="mqtt connect").start()
    await done
