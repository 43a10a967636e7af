# SPDX-License-Identifier: Apache-2.0
"""The HTTPS listener of the VENs: mutual TLS, POST only, and no patience for stallers.

501 another method · 404 another path · 406 another content type or encoding · 411 no length ·
413 too long · 408 too slow · 400 broken off · 403 the certificate no longer counts · 503 too much
at once (rules 53, 67, 68, 511)

A TLS front may stand before us: it speaks to a socket of its own, without TLS, and hands on the
VEN's certificate in a header that counts from nobody else.
"""

import asyncio
import contextlib
import errno
import ipaddress
import itertools
import os
import resource
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest

from doorway import get_logger
from oadr.endpoints import MEDIA_TYPE, PREFIX, service_of
from oadr.vocabulary import ServiceName
from vtn import repeats, revocation
from vtn.config import Chain, OpenAdrSettings, networks
from vtn.connections import Connections
from vtn.counts import Counts
from vtn.errors import ListenerFault, NotShown
from vtn.forwarded import HEADERS, Front, Shown
from vtn.gateway import Answer, Gateway, LastPoll
from vtn.greeting import Greeting
from vtn.pressure import Pressure
from vtn.revocation import RevocationLists

log = get_logger()

HANDSHAKE_S = 10.0
BACKLOG = 4096
"""Connections that wait to be taken; one too many comes again after a second, then after three."""
HEADER_S = 5.0
"""From the first byte of a request (or the connection) to the end of its headers."""
BODY_S = 15.0
TAKE_S = 15.0
"""How long the other end may leave an answer untaken that does not fit into the buffers."""
HOLD_S = 1.0
"""How long the answer is held back from who is turned away for the second time in a row."""
LINGER_S = 2.0
"""How long a connection that is to be closed is listened to, so that the other end sees why."""
IDLE_S = 75.0
"""A connection that says nothing is kept at least this long; and 1.5 poll intervals."""
LONGEST_REPEAT = 2048
"""A longer request is read anew each time."""
COMPRESS_FROM = 16 * 1024
"""Longer answers are compressed for who accepts that (a year of price intervals over a modem).

None of what is answered at once is so long (vtn.shelf.LONGEST).
"""
STOP_S = 5.0
"""What is under way may take this long when the VTN stops."""

ALARM_S = 86_400.0
"""How often an alarm that persists is said again."""
_OTHER_FILES = 256
"""Open files that are no connections of VENs."""

CIPHERS = (
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:"
    "AES128-GCM-SHA256:AES128-SHA256"
)
"""Modern ones first; then the two the standard demands (rule 67), which Python leaves out."""

_PLAIN_PATHS = {f"{PREFIX}/{service.value}": service for service in ServiceName}
"""As nearly every VEN writes them."""


def tls_context(settings: OpenAdrSettings) -> ssl.SSLContext:
    """Every chain of the settings, and client certificates of `client_ca` only.

    Raises ListenerFault, naming the file.
    """
    return _tls_context(ssl.PROTOCOL_TLS_SERVER, settings)


def push_context(settings: OpenAdrSettings) -> ssl.SSLContext:
    """The same for the other way round: we call, and a VEN of `client_ca` answers.

    The name of its host is not compared: the whole certificate is (vtn.push).
    """
    return _tls_context(ssl.PROTOCOL_TLS_CLIENT, settings)


def _tls_context(protocol: int, settings: OpenAdrSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    for chain in settings.certificates:
        _load(context, chain)
    try:
        context.load_verify_locations(cafile=settings.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ListenerFault(
            f"{settings.client_ca}: no certificates of VEN authorities can be read here "
            f"({_reason(error)}); give [openadr] client_ca a PEM file."
        ) from error
    return context


def _load(context: ssl.SSLContext, chain: Chain) -> None:
    try:
        context.load_cert_chain(chain.cert, chain.key)
    except (OSError, ssl.SSLError) as error:
        raise ListenerFault(
            f"{chain.cert} with {chain.key}: this is no certificate chain with its key "
            f"({_reason(error)}); see [[openadr.certificates]]."
        ) from error


def _reason(error: OSError) -> str:
    return error.strerror or getattr(error, "reason", None) or str(error)


def bind(host: str, port: int, *, whose: str, shared: bool = False) -> socket.socket:
    """A listening socket; `shared` lets others of this user listen at the same address.

    Raises ListenerFault with one sentence that names `whose` address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenerFault(f"{whose}: there is no address '{host}' ({_reason(error)}).") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        why = (
            "something else listens there"
            if error.errno == errno.EADDRINUSE
            else _reason(error).lower()
        )
        raise ListenerFault(
            f"{whose}: {host}:{port} cannot be bound: {why}; choose another host or port."
        ) from error
    return listening


def listening(settings: OpenAdrSettings) -> tuple[socket.socket, ...]:
    """The socket for VENs and, where there is a TLS front, the one for that.

    Raises ListenerFault.
    """
    first = bind(settings.host, settings.port, whose="The listener for VENs")
    proxy = settings.proxy
    if proxy is None:
        return (first,)
    try:
        if proxy.socket is not None:
            return first, _bind_unix(proxy.socket)
        return first, bind(proxy.host, proxy.port, whose="The listener for the TLS front")
    except ListenerFault:
        first.close()
        raise


def _bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket that its owner and group may open."""
    whose = f"The listener for the TLS front: {path} cannot be bound"
    if _answers(path):
        raise ListenerFault(f"{whose}: something else listens there; see [openadr.proxy] socket.")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()  # of a VTN that was killed
        before = os.umask(0o117)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ListenerFault(f"{whose}: {_reason(error)}; see [openadr.proxy] socket.") from error
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1)
        try:
            asking.connect(str(path))
        except OSError:
            return False
        return True


def room_for(most: int) -> int:
    """So many connections, or what the system lets this process have open, if that is less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    room = most if soft == resource.RLIM_INFINITY else max(min(most, soft - _OTHER_FILES), 1)
    if room < most:
        log.warning("fewer connections than set", room=room, max_connections=most)
    return room


class _Connection(web.RequestHandler):
    """One connection: closed when the headers of a request, or an answer, take too long."""

    _numbers = itertools.count(1)

    def __init__(self, *args: Any, listener: "Listener", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number = next(self._numbers)
        self.shown: Shown | None = None
        """Whose it is; None behind a TLS front, which says so with each request."""
        self.turned_away = False
        """The last request was, because there was too much to do."""
        self.last_poll = LastPoll()
        self._listener = listener
        self._heard = b""
        """The last bytes that came, if they may be a whole poll; until it is answered."""
        self._repeat = b""
        """A whole request: the poll that `last_poll` keeps, and all that aiohttp was given."""
        self.tcp: asyncio.Transport | None = None
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    @property
    def certificate(self) -> str | None:
        return self.shown.sha256 if self.shown is not None else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.tcp = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        try:
            self.shown = Shown.of(der) if der else None
            welcome = self._listener.welcome(self, self.tcp)
        except ValueError:
            welcome = False  # OpenSSL takes some certificates that can be nobody's
        if not welcome:
            self.abort()
            return
        self._arm()

    def data_received(self, data: bytes) -> None:
        if not data:
            return  # uvloop says so, too, that a TLS record is at its end
        if data == self._repeat and self._is_waiting() and self._listener.repeated(self):
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            return
        self._heard, self._repeat = data if len(data) <= LONGEST_REPEAT else b"", b""
        super().data_received(data)
        # aiohttp keeps in _messages the requests whose headers it has read
        if not self._busy and self._timer is None and not self._messages:
            self._arm()

    def _is_waiting(self) -> bool:
        """Whether aiohttp has dealt with all it was given, and waits for a next request."""
        waiter = self._waiter
        return not (
            waiter is None
            or waiter.done()
            or self._messages
            or self._paused
            or self._close
            or self._force_close
        )

    def was_poll(self, request: BaseRequest, body: bytes) -> None:
        """The next request may be answered at once where it is this one again, byte for byte."""
        if (
            self.shown is not None  # a TLS front says with each request whose it is
            and request.keep_alive
            and "Upgrade" not in request.headers
            and "Expect" not in request.headers
            and repeats.is_all_of(
                self._heard,
                path=request.raw_path,
                headers=len(request.raw_headers),
                body=body,
            )
        ):
            self._repeat = self._heard

    def pause_writing(self) -> None:
        """The other end does not take its answer as fast as we send."""
        super().pause_writing()
        self._taking = asyncio.get_running_loop().call_later(TAKE_S, self.abort)

    def resume_writing(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        if self._taking is not None:
            self._taking.cancel()
        self._listener.connections.leave(self)
        self.tcp = None
        super().connection_lost(exc)

    def handle_error(self, *args: Any, **kwargs: Any) -> web.StreamResponse:
        """Without aiohttp's page, which shows what came back to who sent it."""
        response = super().handle_error(*args, **kwargs)
        if isinstance(response, web.Response):
            response.text = "This is no HTTP request that can be answered."
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """What is no HTTP is refused in one line; aiohttp would write a traceback of it."""
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            reason = error.message.partition("\n")[0]
            log.info("refused", certificate=self.certificate, reason=f"no HTTP: {reason}")
        else:
            super().log_exception(*args, **kwargs)

    def headers_read(self) -> None:
        self._busy = True
        self._disarm()
        self._listener.connections.busy(self)

    def answered(self) -> None:
        self._busy = False
        self._heard = b""
        self._listener.connections.idle(self)

    def abort(self) -> None:
        """Close it at once, whatever is under way."""
        if self.tcp is not None:
            self.tcp.abort()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEADER_S, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self.force_close()


class _Server(web.Server):
    """Makes our connections instead of aiohttp's."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Listener:
    """Serves a gateway over HTTPS; an async context manager that listens while it is open."""

    def __init__(
        self,
        settings: OpenAdrSettings,
        gateway: Gateway,
        *,
        sockets: Sequence[socket.socket] = (),
        now_s: Callable[[], float] = time.time,
        counts: Counts | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        """`sockets` as `listening` makes them, where somebody else has; `now_s` is since 1970.

        Raises ListenerFault for certificates and revocation lists that cannot be used.
        """
        self._settings = settings
        self._gateway = gateway
        self._context = tls_context(settings)
        self._counts = counts or Counts()
        self._pressure = pressure or Pressure()
        self._sockets = tuple(sockets)
        self._now_s = now_s
        self.revocation = RevocationLists(settings.crl, settings.client_ca)
        self.connections: Connections[_Connection] = Connections(
            most=room_for(settings.max_connections),
            most_of_one=settings.max_connections_per_certificate,
        )
        proxy = settings.proxy
        self._front = Front(proxy.header, settings.client_ca) if proxy is not None else None
        self._fronts = networks(proxy.peers) if proxy is not None else ()

    @property
    def port(self) -> int:
        """The port in fact, where the settings said 0."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    @property
    def proxy_address(self) -> Any:
        """Where the TLS front finds us: (host, port), or the path of a Unix socket."""
        return self._sockets[1].getsockname()

    @property
    def connections_open(self) -> int:
        """Connections of VENs."""
        return len(self.connections)

    def revocations_due_at(self) -> dict[str, datetime | None]:
        """From when each revocation list is overdue, by the name of its file."""
        return {file.name: at for file, at in self.revocation.next_update_at().items()}

    def revocation_alarms(self, now: datetime) -> list[str]:
        """A sentence for each revocation list that a person should see to."""
        return self.revocation.alarms(now)

    def close_connections(self, certificate: str) -> int:
        """Close every open connection of this certificate (full SHA-256) now; how many."""
        open_ = self.connections.of(certificate)
        for connection in open_:
            connection.abort()
        return len(open_)

    def welcome(self, connection: _Connection, transport: asyncio.Transport) -> bool:
        """Whether a connection that has just been made may stay."""
        shown = connection.shown
        if shown is None:
            return transport.get_extra_info("ssl_object") is None and self._is_front(transport)
        if self.revocation.revoked(shown.issuer, shown.serial):
            log.info("refused", certificate=shown.sha256, reason="on a revocation list")
            return False
        if not self.connections.enter(connection):
            log.info("refused", certificate=shown.sha256, reason="too many connections")
            return False
        return True

    def _is_front(self, transport: asyncio.Transport) -> bool:
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple):
            return self._front is not None  # a Unix socket
        address = ipaddress.ip_address(peer[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._fronts):
            return True
        log.warning("refused", client=str(address), reason="not one of [openadr.proxy] peers")
        return False

    async def __aenter__(self) -> Self:
        if not self._sockets:
            self._sockets = listening(self._settings)
        self._server = _Server(
            self._handle,
            listener=self,
            keepalive_timeout=max(IDLE_S, 1.5 * self._settings.poll_interval_s),
            access_log=None,
            auto_decompress=False,
            lingering_time=LINGER_S,
            max_line_size=8190,
        )
        loop = asyncio.get_running_loop()
        self.greeting = Greeting(
            self._sockets[0],
            self._server,
            self._context,
            handshake_s=HANDSHAKE_S,
            shutdown_s=LINGER_S,
        )
        self.greeting.open()
        self._plain = []
        for plain in self._sockets[1:]:
            kind = loop.create_unix_server if plain.family == socket.AF_UNIX else loop.create_server
            # It listens anew, and would take a backlog of 100 for itself.
            self._plain.append(await kind(self._server, sock=plain, backlog=BACKLOG))
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._looking.cancel()
        self.greeting.close()
        for listener in self._plain:
            listener.close()
        self._server.pre_shutdown()  # idle connections go at once
        await self._server.shutdown(STOP_S)
        for listener in self._plain:
            await listener.wait_closed()
        await asyncio.wait([self._looking])

    async def _look(self) -> None:
        """Follow the revocation lists: close who is on them, and raise alarms."""
        if not self.revocation:
            return
        raised: list[str] = []
        raised_s = 0.0
        while True:
            try:
                now_s = self._now_s()
                alarms = self.revocation.alarms(datetime.fromtimestamp(now_s, UTC))
                if alarms != raised or now_s - raised_s > ALARM_S:
                    for sentence in alarms:
                        log.warning("revocation list", reason=sentence)
                    raised, raised_s = alarms, now_s
                await asyncio.sleep(revocation.CRL_LOOK_S)
                if await asyncio.to_thread(self.revocation.look):
                    log.info("revocation lists read again", closed=self._close_revoked())
            except Exception:
                log.exception("looking at the revocation lists failed")

    def _close_revoked(self) -> int:
        closed = 0
        for connection in self.connections.every():
            shown = connection.shown
            if shown is not None and self.revocation.revoked(shown.issuer, shown.serial):
                connection.abort()
                closed += 1
        return closed

    async def _handle(self, request: BaseRequest) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.headers_read()
        began_s = time.perf_counter()
        service = _PLAIN_PATHS.get(request.raw_path) or service_of(request.rel_url.path)
        status = 0  # of a request that is broken off when we stop
        try:
            answer = await self._answer(request, connection, service)
            status = answer.status
            if status == 200:
                response = web.Response(body=answer.body, content_type=MEDIA_TYPE)
                if len(answer.body) > COMPRESS_FROM:
                    response.enable_compression()  # gzip or deflate where it is accepted
                return response
            return self._refuse(status, answer.body.decode())
        except Exception:
            log.exception("a request failed", connection=connection.number)
            status = 500
            return self._refuse(500, "The VTN could not answer; the reason is in its log.")
        finally:
            if status:
                took_s = time.perf_counter() - began_s
                self._counts.request(service.value if service else "", status, took_s)
            connection.answered()

    def _refuse(self, status: int, sentence: str) -> web.Response:
        """A refusal in plain text; the connection is closed where a body may still be on its way.

        Not where we have too much to do: to come back then costs a handshake.
        """
        headers = {"Connection": "close"} if status in (400, 408, 411, 413, 501) else {}
        if status == 503:
            headers["Retry-After"] = str(self._pressure.retry_after_s())
        return web.Response(status=status, text=sentence, headers=headers)

    async def _answer(
        self, request: BaseRequest, connection: _Connection, service: ServiceName | None
    ) -> Answer:
        if request.method != "POST":
            return Answer(501, b"OpenADR speaks POST only.")
        if service is None:
            return Answer(404, f"The services are {PREFIX}/{'|'.join(ServiceName)}.".encode())
        refused = _wrong_headers(
            request, self._settings.max_bytes, shown=connection.shown is not None
        )
        if refused is not None:
            return refused
        try:
            shown = self._who(request, connection)
        except NotShown as error:
            log.info("refused", certificate=connection.certificate, reason=str(error))
            if connection.shown is not None:
                connection.close()  # when this is answered
            return Answer(403, str(error).encode())
        body = await _body_of(request)
        if isinstance(body, Answer):
            return body
        # Asked when the body is here: with a body on its way the connection could not be kept.
        behind = self._pressure.refusal(is_poll=service is ServiceName.POLL)
        if behind is not None:
            del body  # or it would be kept while the answer is held back
            return await self._turn_away(connection, behind)
        connection.turned_away = False
        ticket = self._pressure.enter()
        try:
            answer = await self._gateway.answer(
                service,
                body,
                certificate=shown.sha256,
                connection=connection.number if shown is connection.shown else _number_of(shown),
                der=shown.der,
                request=ticket,
                last=connection.last_poll,
            )
        finally:
            self._pressure.leave(ticket)
        if service is ServiceName.POLL and connection.last_poll.of(body) is not None:
            connection.was_poll(request, body)
        return answer

    def repeated(self, connection: _Connection) -> bool:
        """Answer a connection that has sent its last poll again, where that can be done at once.

        False where the answer has to be found the whole way.
        """
        began_s = time.perf_counter()
        shown, tcp = connection.shown, connection.tcp
        if shown is None or tcp is None or self._now_s() > shown.not_after_s:
            return False
        if tcp.is_closing() or self._pressure.refusal(is_poll=True) is not None:
            return False
        body = self._gateway.at_once(connection.last_poll, certificate=shown.sha256)
        if body is None:
            return False
        connection.turned_away = False
        self.connections.busy(connection)
        self.connections.idle(connection)  # it is no longer the one that was silent longest
        tcp.write(repeats.answer(body))
        self._counts.request(ServiceName.POLL.value, 200, time.perf_counter() - began_s)
        return True

    async def _turn_away(self, connection: _Connection, behind: str) -> Answer:
        self._counts.overloads[behind] += 1
        if connection.turned_away and connection.shown is not None:
            # It does not wait by itself, and would use up what is left.
            await asyncio.sleep(HOLD_S)
        connection.turned_away = True
        return Answer(503, b"Too much at once; come again later.")

    def _who(self, request: BaseRequest, connection: _Connection) -> Shown:
        """Raises NotShown where nobody is, or somebody who no longer counts."""
        shown, now_s = connection.shown, self._now_s()
        if shown is not None:
            if now_s > shown.not_after_s:
                raise NotShown("The certificate is no longer valid; renew it.")
            return shown
        assert self._front is not None
        shown = self._front.shown(request.headers, now_s=now_s)
        if self.revocation.revoked(shown.issuer, shown.serial):
            raise NotShown("The certificate is on a revocation list; have a new one issued.")
        return shown


def _number_of(shown: Shown) -> int:
    """Behind a TLS front all requests of one VEN count as one connection."""
    return int(shown.sha256[:15], 16)


async def _body_of(request: BaseRequest) -> bytes | Answer:
    """The body, or why there is none."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if request.content.is_eof():  # all of it came with the headers
            return request.content.read_nowait()
        async with asyncio.timeout(BODY_S):
            return await request.content.read()
    except TimeoutError:
        return Answer(408, b"The body did not arrive in time.")
    except (ConnectionError, ClientPayloadError, RuntimeError):  # the last is aiohttp's
        return Answer(400, b"The connection broke before the body had arrived.")


def _wrong_headers(request: BaseRequest, max_bytes: int, *, shown: bool) -> Answer | None:
    if request.headers.get("Content-Type") != MEDIA_TYPE:  # else there is nothing to take apart
        if request.content_type.lower() != MEDIA_TYPE:
            return Answer(406, f"The content type is {MEDIA_TYPE}.".encode())
        charset = request.charset
        if charset is not None and charset.lower().strip('"') not in ("utf-8", "utf8"):
            return Answer(406, b"The charset is UTF-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return Answer(406, b"A body is not compressed; send it without Content-Encoding.")
    if shown and any(name in request.headers for name in HEADERS):
        return Answer(400, b"Only a TLS front may hand on a certificate; leave that header away.")
    length = request.content_length
    if length is None:
        return Answer(411, b"A body has a Content-Length and is not chunked.")
    if length > max_bytes:
        return Answer(413, f"A body has at most {max_bytes} bytes; send it in parts.".encode())
    return None
