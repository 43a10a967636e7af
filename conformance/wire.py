# SPDX-License-Identifier: Apache-2.0
"""The raw speaker: bytes over mutual TLS in both directions, every exchange recorded.

It sends what it is given, right or wrong, and hands back what came, readable or not.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp import web

from conformance.errors import SetUpFault
from oadr import Message, OadrError, parse
from oadr.codec import Element
from oadr.endpoints import MEDIA_TYPE, PREFIX
from oadr.payload import tree

CIPHERS: Final = "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256:ECDHE+AESGCM:ECDHE+CHACHA20"
"""The two mandated suites (rule 67) and what is better; TLS 1.3 has its own list."""
PATIENCE_S: Final = 20.0
"""How long an answer may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One HTTP request and its response, as the harness saw them."""

    at: datetime
    received: bool
    """Whether the device under test asked (True) or the harness did."""
    method: str
    path: str
    request_headers: Mapping[str, str]
    request: bytes
    status: int
    response_headers: Mapping[str, str]
    response: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A body that has been tried to read: a message, or why it is none."""

    message: Message | None = None
    root: Element | None = None
    fault: str = ""


def read(body: bytes) -> Reading:
    """Bytes -> the message and its raw tree, or the reason why they are no payload."""
    try:
        message = parse(body)
        return Reading(message=message, root=tree(body))
    except OadrError as error:
        return Reading(fault=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A certificate chain and its key (PEM), and the roots the other side is checked against."""

    cert: Path
    key: Path
    ca: Path


def client_context(keys: Keys, *, anonymous: bool = False) -> ssl.SSLContext:
    """TLS as a VEN speaks it; `anonymous` shows no certificate."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, keys, anonymous=anonymous)
    context.check_hostname = True
    return context


def server_context(keys: Keys) -> ssl.SSLContext:
    """TLS as a VTN speaks it: a client certificate is demanded."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, keys, anonymous=False)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(protocol: int, keys: Keys, *, anonymous: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    try:
        context.load_verify_locations(keys.ca)
        if not anonymous:
            context.load_cert_chain(keys.cert, keys.key)
    except (OSError, ssl.SSLError) as error:
        raise SetUpFault(
            f"{keys.cert}, {keys.key} or {keys.ca} cannot be used for TLS: {error}."
        ) from error
    return context


Close = Callable[[bytes], bytes]
"""Signs a body."""


class Client:
    """Posts raw bodies to one peer and records what happened."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        record: list[Exchange],
        close: Close | None = None,
    ) -> None:
        """`close` signs each body on its way out; None where nothing is signed."""
        self.address = address(url)
        self._close = close
        self._context = context
        self._record = record
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
            connector=aiohttp.TCPConnector(ssl=self._context),
            skip_auto_headers=("User-Agent",),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        path: str,
        body: bytes,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        chunked: bool = False,
        as_it_is: bool = False,
    ) -> Exchange:
        """Send `body` to `path` (below the peer's address, or absolute with a leading /).

        `as_it_is`: unsigned even where everything is signed.

        Raises ConnectionError where no answer came.
        """
        assert self._session is not None, "use it as a context"
        if self._close is not None and not as_it_is:
            body = self._close(body)
        sent = {"Content-Type": MEDIA_TYPE} if headers is None else dict(headers)
        url = urlsplit(self.address)
        origin = f"{url.scheme}://{url.netloc}"
        whole = origin + path if path[:1] == "/" else f"{self.address}/{path}"
        try:
            async with self._session.request(
                method,
                yarl.URL(whole, encoded=True),  # as it is written: yarl would normalise it
                data=_pieces(body) if chunked else body,
                headers=sent,
                allow_redirects=False,
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectionError(
                f"{method} {path}: {str(error) or 'no answer in time'}"
            ) from error
        exchange = Exchange(
            at=datetime.now(UTC),
            received=False,
            method=method,
            path=path,
            request_headers=sent,
            request=body,
            status=response.status,
            response_headers=dict(response.headers),
            response=content,
        )
        self._record.append(exchange)
        return exchange


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    yield body[len(body) // 2 :]


def address(url: str) -> str:
    """`https://host:port` with or without the service path -> with it, no slash at the end."""
    stripped = url.rstrip("/")
    return stripped if stripped.endswith(PREFIX) else stripped + PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request of the device under test."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    tls_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What the harness answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    as_it_is: bool = False
    """Unsigned even where everything is signed."""


Handler = Callable[[Incoming], Awaitable[Outgoing]]


class Server:
    """Listens as a VTN does (or as a push VEN), hands on what comes, and records it."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        handler: Handler,
        record: list[Exchange],
        *,
        close: Close | None = None,
    ) -> None:
        """`close` signs each answer on its way out; None where nothing is signed."""
        self.host = host
        self.port = port
        """The port that is listened at; that of 0 once it is known."""
        self._context = context
        self._handler = handler
        self._record = record
        self._close = close
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self._context)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise SetUpFault(
                f"The harness cannot listen at {self.host}:{self.port}: {error.strerror}."
            ) from error
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        cipher = request.get_extra_info("cipher")
        incoming = Incoming(
            method=request.method,
            path=request.path,
            headers=dict(request.headers),
            body=body,
            tls_version=cipher[1] if cipher else "",
        )
        outgoing = await self._handler(incoming)
        headers = dict(outgoing.headers or {})
        answer = outgoing.body
        if answer and self._close is not None and not outgoing.as_it_is:
            answer = self._close(answer)
        if answer:
            headers.setdefault("Content-Type", MEDIA_TYPE)
        self._record.append(
            Exchange(
                at=datetime.now(UTC),
                received=True,
                method=incoming.method,
                path=incoming.path,
                request_headers=incoming.headers,
                request=body,
                status=outgoing.status,
                response_headers=headers,
                response=answer,
            )
        )
        return web.Response(status=outgoing.status, body=answer, headers=headers)


async def handshake(url: str, context: ssl.SSLContext) -> tuple[str, str]:
    """Connect and ask for nothing -> (cipher suite, TLS version) that was agreed.

    Raises ConnectionError where the peer refuses. A TLS 1.3 server says so only once it is read
    from, so one byte of an answer to an empty request is awaited.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=host
            )
            cipher = writer.get_extra_info("cipher")
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            answer = await reader.read(1)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    if not answer:
        raise ConnectionError("the connection was closed without an answer")
    return cipher[0], cipher[1]
