# SPDX-License-Identifier: Apache-2.0
"""A serial line (a pseudo-terminal) whose units are Modbus TCP simulators: RTU in, TCP out."""

import asyncio
import os
import struct
import tty
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from chaos.serial_meter import crc

_READ_BYTES = 8
"""A request to read; one to write says in its seventh byte how many more there are."""
_WRITE = 16
_HEAD_BYTES = 7


class SerialLine:
    """`async with` opens it; the node is given `port` as its serial line.

    One request at a time, as on a real line. A unit that is not in `units` is silent, as is one
    whose simulator does not answer.
    """

    def __init__(self, units: Mapping[int, int]) -> None:
        """`units`: unit number -> TCP port of its simulator on 127.0.0.1."""
        self._units = units
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._received = b""
        self._requests: asyncio.Queue[bytes] = asyncio.Queue()
        self._answering: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self._answering = asyncio.create_task(self._answer_all())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._answering is not None
        self._answering.cancel()
        await asyncio.gather(self._answering, return_exceptions=True)
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> None:
        self._received += os.read(self._master, 512)
        while len(self._received) >= _READ_BYTES:
            length = _READ_BYTES
            if self._received[1] == _WRITE:
                length = _HEAD_BYTES + self._received[6] + 2
            if len(self._received) < length:
                return
            frame, self._received = self._received[:length], self._received[length:]
            if crc(frame[:-2]) != frame[-2:]:
                self._received = b""  # out of step: begin anew with the next
                return
            self._requests.put_nowait(frame[:-2])

    async def _answer_all(self) -> None:
        while True:
            request = await self._requests.get()
            port = self._units.get(request[0])
            if port is None:
                continue
            try:
                async with asyncio.timeout(1.0):
                    said = await _asked(port, request)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            os.write(self._master, said + crc(said))


async def _asked(port: int, request: bytes) -> bytes:
    """The answer of a simulator, unit number first, as on the line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(struct.pack(">HHH", 1, 0, len(request)) + request)
        _, _, length = struct.unpack(">HHH", await reader.readexactly(6))
        return await reader.readexactly(length)
    finally:
        writer.close()
