# SPDX-License-Identifier: Apache-2.0
"""The load generator: raw HTTP/1.1 over mutual TLS, from bytes that were built beforehand.

    context = client_context(trust=authority.vtn_trust, certificate=ven.certificate, key=ven.key)
    connection = await Connection.open("127.0.0.1", port, context)
    reply = await connection.ask(post("/OpenADR2/Simple/2.0b/OadrPoll", body))
    replies = await flat_out([(connection, [request] * 1000), ...])       # as fast as it answers
    replies = await paced([(connection, request), ...], per_second=200)   # at a given rate

One process of it asks some 10,000 times a second, so a server is what is measured. Nothing is
checked while it runs: replies are kept whole, and bench.honesty looks at every one afterwards.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from bench.errors import BenchFault
from oadr.endpoints import MEDIA_TYPE

PATIENCE_S = 60.0
"""A reply that takes longer has not come."""

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    body: bytes
    took_s: float
    """From the moment it was asked for, waiting for the connection included, to its last byte."""
    head: bytes = b""
    """Status line and headers, as they came."""


def client_context(
    *, trust: Path, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A VEN's side of mutual TLS; without a certificate that of a stranger."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trust)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def post(path: str, body: bytes, *, host: str = "vtn", headers: str = "") -> bytes:
    r"""A whole request; `headers` are further lines, each ended by \r\n."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests on it wait for one another."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._head = b""
        self._needed = -1
        self._reply: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._lost: str | None = None

    @classmethod
    async def open(
        cls, host: str, port: int, context: ssl.SSLContext | None, *, within_s: float = PATIENCE_S
    ) -> Self:
        """Connect, with the whole handshake. Raises OSError (ssl.SSLError among them)."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within_s):
            _, connection = await loop.create_connection(cls, host, port, ssl=context)
        return connection

    async def ask(self, request: bytes) -> Reply:
        """Send a request and wait for its reply. Raises ConnectionError where none comes."""
        began = time.perf_counter()
        async with self._turn:
            if self._lost is not None or self._transport is None:
                raise ConnectionError(self._lost or "The connection is not open.")
            self._reply = self._loop.create_future()
            self._transport.write(request)
            late = self._loop.call_later(PATIENCE_S, self._transport.abort)
            try:
                head, body = await self._reply
            finally:
                late.cancel()
                self._reply = None
        return Reply(
            status=int(head[9:12]), body=body, took_s=time.perf_counter() - began, head=head
        )

    async def ask_patiently(self, request: bytes, *, tries: int = 20) -> Reply:
        """The same off the clock: where a busy server says 503, ask again as a VEN does."""
        for _ in range(tries - 1):
            reply = await self.ask(request)
            if reply.status != 503:
                return reply
            await asyncio.sleep(1.0)
        return await self.ask(request)

    @property
    def is_open(self) -> bool:
        return self._lost is None and self._transport is not None

    def close(self) -> None:
        """Close it in good order."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset it."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's TLS transport is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = f"The server closed the connection ({exc or 'no reason given'})."
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionError(self._lost))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._needed < 0:
            end = self._received.find(_END)
            if end < 0:
                return
            self._head = bytes(self._received[: end + 2])
            self._needed = end + 4 + content_length(self._head)
        if len(self._received) < self._needed or self._reply is None or self._reply.done():
            return
        body = bytes(self._received[len(self._head) + 2 : self._needed])
        del self._received[: self._needed]
        self._needed = -1
        self._reply.set_result((self._head, body))


def content_length(head: bytes) -> int:
    r"""The Content-Length of a status line and headers; 0 where none is said.

    >>> content_length(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n")
    12

    Raises BenchFault for a chunked answer: nobody here sends one.
    """
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        if b"\r\ntransfer-encoding:" in lower:
            raise BenchFault("A server answered in chunks; the load generator reads none.")
        return 0
    return int(lower[at + 17 : lower.index(b"\r\n", at + 2)])


async def flat_out(work: Sequence[tuple[Connection, Sequence[bytes]]]) -> list[list[Reply]]:
    """Each connection asks one request after another; the replies in the same order.

    Raises ConnectionError where a connection is lost.
    """

    async def one(connection: Connection, requests: Sequence[bytes]) -> list[Reply]:
        return [await connection.ask(request) for request in requests]

    return list(await asyncio.gather(*(one(*lane) for lane in work)))


async def paced(
    work: Sequence[tuple[Connection, bytes]], *, per_second: float
) -> list[Reply | ConnectionError]:
    """Ask at a steady rate, whether or not earlier replies have come; replies in the same order.

    A reply's `took_s` counts from when its request was due on its connection, so a slow server
    cannot hide that requests queued. Where a connection was lost its ConnectionError stands.
    """

    async def one(connection: Connection, request: bytes) -> Reply | ConnectionError:
        try:
            return await connection.ask(request)
        except ConnectionError as error:
            return error

    loop = asyncio.get_running_loop()
    began = loop.time()
    asked: list[asyncio.Task[Reply | ConnectionError]] = []
    for number, (connection, request) in enumerate(work):
        wait_s = began + number / per_second - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        asked.append(loop.create_task(one(connection, request)))
    return list(await asyncio.gather(*asked))


async def open_all(
    host: str, port: int, contexts: Sequence[ssl.SSLContext | None], *, at_once: int = 16
) -> list[Connection]:
    """A connection for each context, a few handshakes at a time. Raises OSError."""
    gate = asyncio.Semaphore(at_once)

    async def one(context: ssl.SSLContext | None) -> Connection:
        async with gate:
            return await Connection.open(host, port, context)

    return list(await asyncio.gather(*map(one, contexts)))
