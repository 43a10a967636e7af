# SPDX-License-Identifier: Apache-2.0
"""The HTTPS listener to which a VTN pushes: mutual TLS, POST only, and no patience for stallers.

501 another method · 404 another path · 406 another content type or encoding · 411 no length ·
413 too long · 408 too slow · 400 broken off · 503 too much at once (rules 53, 67, 68, 511)

Imported only where [push] asks for it.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import ClientPayloadError, web
from aiohttp.web_request import BaseRequest

import oadr
from doorway import get_logger
from doorway.values import value
from oadr.endpoints import MEDIA_TYPE, PREFIX, service_of
from oadr.vocabulary import ServiceName
from ven.config import PushSettings
from ven.errors import PushFault

log = get_logger()

HANDSHAKE_S = 10.0
HEADER_S = 5.0
"""From the first byte of a request (or the connection) to the end of its headers."""
BODY_S = 15.0
IDLE_S = 75.0
LINGER_S = 2.0
MOST_AT_ONCE = 8
"""Requests under way; one VTN sends one after the other."""
MOST_CONNECTIONS = 32
STOP_S = 2.0

_PUSHED = tuple(service for service in ServiceName if service is not ServiceName.POLL)


@value
class Reply:
    """What goes back over HTTP."""

    status: int = 200
    body: bytes = b""
    """An oadrPayload or nothing with status 200; one sentence of plain text with any other."""
    then: Callable[[], None] | None = None
    """Called when the reply has left."""


Take = Callable[[ServiceName, bytes], Awaitable[Reply]]


class _Connection(web.RequestHandler):
    """One connection: closed when the headers of a request take too long."""

    def __init__(self, server: "_Server", *args: Any, **kwargs: Any) -> None:
        super().__init__(server, *args, **kwargs)
        self._open = server.open
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open.add(self)
        if len(self._open) > MOST_CONNECTIONS:
            self.force_close()
        else:
            self._arm()

    def data_received(self, data: bytes) -> None:
        if not self._busy and self._timer is None:
            self._arm()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._open.discard(self)
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.open: set[_Connection] = set()

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Listener:
    """Has what is pushed taken; an async context manager that listens while it is open."""

    def __init__(self, push: PushSettings, tls: ssl.SSLContext, take: Take) -> None:
        self._push = push
        self._tls = tls
        self._take = take
        self._under_way = 0
        self.port = 0
        """The port in fact, where the settings said 0."""

    async def __aenter__(self) -> Self:
        """Raises PushFault where the address cannot be bound."""
        listening = bound(self._push)
        self.port = listening.getsockname()[1]
        self._server = _Server(
            self._handle,
            keepalive_timeout=IDLE_S,
            access_log=None,
            auto_decompress=False,
            lingering_time=LINGER_S,
        )
        self._listener = await asyncio.get_running_loop().create_server(
            self._server,
            sock=listening,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=LINGER_S,
        )
        log.info("push_listening", host=self._push.listen_host, port=self.port)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._listener.close()
        self._server.pre_shutdown()
        await self._server.shutdown(STOP_S)
        await self._listener.wait_closed()

    async def _handle(self, request: BaseRequest) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.headers_read()
        self._under_way += 1
        try:
            if self._under_way > MOST_AT_ONCE:
                return _refuse(503, "Too much at once; come again later.")
            reply = await self._answer(request)
            if reply.status != 200:
                return _refuse(reply.status, reply.body.decode())
            response = web.Response(body=reply.body, content_type=MEDIA_TYPE)
            if reply.then is not None:
                # What follows from the message begins when the VTN has been told.
                await response.prepare(request)
                await response.write_eof()
                reply.then()
        except ConnectionError:
            return _refuse(400, "The connection broke.")
        except Exception:
            log.exception("push_failed")
            return _refuse(500, "The VEN could not answer; the reason is in its log.")
        else:
            return response
        finally:
            self._under_way -= 1
            connection.answered()

    async def _answer(self, request: BaseRequest) -> Reply:
        if request.method != "POST":
            return Reply(status=501, body=b"OpenADR speaks POST only.")
        service = service_of(request.rel_url.path)
        if service not in _PUSHED:
            return Reply(
                status=404, body=f"The services are {PREFIX}/{'|'.join(_PUSHED)}.".encode()
            )
        refused = _wrong_headers(request)
        if refused is not None:
            return refused
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.content.read()
        except TimeoutError:
            return Reply(status=408, body=b"The body did not arrive in time.")
        except (ConnectionError, ClientPayloadError):
            return Reply(status=400, body=b"The connection broke before the body had arrived.")
        return await self._take(service, body)


def bound(push: PushSettings) -> socket.socket:
    """A listening socket. Raises PushFault with one sentence."""
    where = f"{push.listen_host}:{push.listen_port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            push.listen_host, push.listen_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(MOST_CONNECTIONS)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise PushFault(
            f"{where}: pushes cannot be listened for there ({error.strerror or error}); see "
            "[push] listen_host and listen_port."
        ) from error
    return listening


def _wrong_headers(request: BaseRequest) -> Reply | None:
    if request.content_type.lower() != MEDIA_TYPE:
        return Reply(status=406, body=f"The content type is {MEDIA_TYPE}.".encode())
    charset = request.charset
    if charset is not None and charset.lower().strip('"') not in ("utf-8", "utf8"):
        return Reply(status=406, body=b"The charset is UTF-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return Reply(status=406, body=b"A body is not compressed.")
    if request.content_length is None:
        return Reply(status=411, body=b"A body has a Content-Length and is not chunked.")
    if request.content_length > oadr.MAX_BYTES:
        return Reply(status=413, body=f"A body has at most {oadr.MAX_BYTES} bytes.".encode())
    return None


def _refuse(status: int, sentence: str) -> web.Response:
    """A refusal in plain text; the connection is closed where a body may still be on its way."""
    headers = {"Connection": "close"} if status in (400, 408, 411, 413, 501, 503) else {}
    if status == 503:
        headers["Retry-After"] = "5"
    return web.Response(status=status, text=sentence, headers=headers)
