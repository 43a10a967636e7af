# SPDX-License-Identifier: Apache-2.0
"""The HTTPS listener of the VENs: mutual TLS, POST only, and no patience for stallers.

501 another method · 404 another path · 406 another content type or encoding · 411 no length ·
413 too long · 408 too slow · 400 broken off · 503 too much at once (rules 53, 67, 68, 511)
"""

import asyncio
import errno
import hashlib
import itertools
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Self

import structlog
from aiohttp import ClientPayloadError, web
from aiohttp.web_request import BaseRequest

from oadr.endpoints import MEDIA_TYPE, PREFIX
from oadr.vocabulary import ServiceName
from vtn.config import Chain, OpenAdrSettings
from vtn.errors import ListenerFault
from vtn.gateway import Answer, Gateway

log = structlog.get_logger()

HANDSHAKE_S = 10.0
HEADER_S = 5.0
"""From the first byte of a request (or the connection) to the end of its headers."""
BODY_S = 15.0
LINGER_S = 2.0
"""How long a connection that is to be closed is listened to, so that the other end sees why."""
IDLE_S = 75.0
"""A connection that says nothing is kept at least this long; and 1.5 poll intervals."""
COMPRESS_FROM = 16 * 1024
"""Longer answers are compressed for who accepts that (a year of price intervals over a modem)."""
MOST_AT_ONCE = 512
"""Requests under way; more are asked to come again later."""
STOP_S = 5.0
"""What is under way may take this long when the VTN stops."""

CIPHERS = (
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:"
    "AES128-GCM-SHA256:AES128-SHA256"
)
"""Modern ones first; then the two the standard demands (rule 67), which Python leaves out."""

_PREFIX = tuple(PREFIX.strip("/").split("/"))
_SERVICES = {service.value: service for service in ServiceName}


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


def bind(host: str, port: int, *, whose: str) -> socket.socket:
    """A listening socket. Raises ListenerFault with one sentence that names `whose` address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenerFault(f"{whose}: there is no address '{host}' ({_reason(error)}).") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
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


def service_of(path: str) -> ServiceName | None:
    """The service a (percent-decoded) path names, under any base path (rule 511).

    >>> service_of("/base/OpenADR2/Simple/2.0b/./OadrPoll/")
    <ServiceName.POLL: 'OadrPoll'>
    """
    steps: list[str] = []
    for step in path.removesuffix("/").split("/"):
        if step == "..":
            steps = steps[:-1]
        elif step != ".":
            steps.append(step)
    if tuple(steps[-len(_PREFIX) - 1 : -1]) != _PREFIX:
        return None
    return _SERVICES.get(steps[-1])


class _Connection(web.RequestHandler):
    """One connection: closed when the headers of a request take too long."""

    _numbers = itertools.count(1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number = next(self._numbers)
        self.der: bytes | None = None
        self.certificate: str | None = None
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self.der = tls.getpeercert(binary_form=True) if tls is not None else None
        self.certificate = hashlib.sha256(self.der).hexdigest() if self.der else None
        self._arm()

    def data_received(self, data: bytes) -> None:
        if not self._busy and self._timer is None:
            self._arm()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def headers_read(self) -> None:
        self._busy = True
        self._disarm()

    def answered(self) -> None:
        self._busy = False

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

    def __init__(self, settings: OpenAdrSettings, gateway: Gateway) -> None:
        self._settings = settings
        self._gateway = gateway
        self._context = tls_context(settings)
        self._under_way = 0
        self._sockets: Sequence[socket.socket] = ()

    @property
    def port(self) -> int:
        """The port in fact, where the settings said 0."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        listening = bind(self._settings.host, self._settings.port, whose="The listener for VENs")
        self._server = _Server(
            self._handle,
            keepalive_timeout=max(IDLE_S, 1.5 * self._settings.poll_interval_s),
            access_log=None,
            auto_decompress=False,
            lingering_time=LINGER_S,
            max_line_size=8190,
        )
        self._listener = await asyncio.get_running_loop().create_server(
            self._server,
            sock=listening,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=LINGER_S,
        )
        self._sockets = (listening,)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._listener.close()
        self._server.pre_shutdown()  # idle connections go at once
        await self._server.shutdown(STOP_S)
        await self._listener.wait_closed()

    async def _handle(self, request: BaseRequest) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.headers_read()
        self._under_way += 1
        try:
            if self._under_way > MOST_AT_ONCE:
                return _refuse(503, "Too much at once; come again later.", retry_after_s=5)
            answer = await self._answer(request, connection)
            if answer.status == 200:
                response = web.Response(body=answer.body, content_type=MEDIA_TYPE)
                if len(answer.body) > COMPRESS_FROM:
                    response.enable_compression()  # gzip or deflate where it is accepted
                return response
            return _refuse(answer.status, answer.body.decode())
        except Exception:
            log.exception("a request failed")
            return _refuse(500, "The VTN could not answer; the reason is in its log.")
        finally:
            self._under_way -= 1
            connection.answered()

    async def _answer(self, request: BaseRequest, connection: _Connection) -> Answer:
        if request.method != "POST":
            return Answer(501, b"OpenADR speaks POST only.")
        service = service_of(request.rel_url.path)
        if service is None:
            return Answer(404, f"The services are {PREFIX}/{'|'.join(_SERVICES)}.".encode())
        refused = _wrong_headers(request, self._settings.max_bytes)
        if refused is not None:
            return refused
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.content.read()
        except TimeoutError:
            return Answer(408, b"The body did not arrive in time.")
        except (ConnectionError, ClientPayloadError):
            return Answer(400, b"The connection broke before the body had arrived.")
        return await self._gateway.answer(
            service,
            body,
            certificate=connection.certificate,
            connection=connection.number,
            der=connection.der,
        )


def _wrong_headers(request: BaseRequest, max_bytes: int) -> Answer | None:
    if request.content_type.lower() != MEDIA_TYPE:
        return Answer(406, f"The content type is {MEDIA_TYPE}.".encode())
    charset = request.charset
    if charset is not None and charset.lower().strip('"') not in ("utf-8", "utf8"):
        return Answer(406, b"The charset is UTF-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return Answer(406, b"A body is not compressed; send it without Content-Encoding.")
    length = request.content_length
    if length is None:
        return Answer(411, b"A body has a Content-Length and is not chunked.")
    if length > max_bytes:
        return Answer(413, f"A body has at most {max_bytes} bytes; send it in parts.".encode())
    return None


def _refuse(status: int, sentence: str, *, retry_after_s: int | None = None) -> web.Response:
    """A refusal in plain text; the connection is closed where a body may still be on its way."""
    headers = {"Connection": "close"} if status in (400, 408, 411, 413, 501, 503) else {}
    if status == 503:
        headers["Retry-After"] = str(retry_after_s or 10)
    return web.Response(status=status, text=sentence, headers=headers)
