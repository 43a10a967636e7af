# SPDX-License-Identifier: Apache-2.0
"""A TCP line to the broker that can be cut, so that an EMS loses the broker and finds it again."""

import asyncio
import contextlib
from typing import Self

from ems_bridge.errors import BrokerUnusable

_CHUNK = 65_536


class Relay:
    """`async with` listens on `port` (0: any free one) and hands on to the broker."""

    def __init__(self, port: int, *, broker_host: str, broker_port: int) -> None:
        self._wanted = port
        self._broker = (broker_host, broker_port)
        self._lines: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._cut = False

    @property
    def port(self) -> int:
        """The port in fact."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._accept, "", self._wanted)
        except OSError as error:
            raise BrokerUnusable(
                f"port {self._wanted} cannot be listened on ({error.strerror}); "
                "choose another one for --through."
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Drop every connection as a pulled cable's end would, and let no new one through."""
        self._cut = True
        for writer in list(self._lines):
            writer.transport.abort()

    def mend(self) -> None:
        self._cut = False

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._broker)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._lines |= ends
        try:
            await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer))
        finally:
            self._lines -= ends


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()
