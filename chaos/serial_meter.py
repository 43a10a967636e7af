# SPDX-License-Identifier: Apache-2.0
"""A Modbus RTU meter on a pseudo-terminal, whose line can garble what it says or be unplugged."""

import asyncio
import os
import struct
import tty
from collections.abc import Callable, Container
from enum import Enum
from types import TracebackType
from typing import Self

from light_node.profile import Profile

_REQUEST_BYTES = 8
_PHASES = 3


class Line(Enum):
    """What the line does."""

    GOOD = "good"
    GARBLED = "garbled"
    """Every answer arrives with one bit turned, so its CRC is wrong."""
    UNPLUGGED = "unplugged"


class SerialMeter:
    """`async with` opens it; the reader connects to `port`."""

    def __init__(
        self,
        profile: Profile,
        watts: Callable[[], float],
        *,
        units: Container[int] = range(256),
    ) -> None:
        """`watts` is called once a request; units that are not in `units` are not there."""
        self._units = units
        self._profile = profile
        self._watts = watts
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave
        self._received = b""
        self._requests = 0
        self.line = Line.GOOD

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> None:
        self._received += os.read(self._master, 256)
        while len(self._received) >= _REQUEST_BYTES:
            request, self._received = (
                self._received[:_REQUEST_BYTES],
                self._received[_REQUEST_BYTES:],
            )
            if crc(request[:-2]) != request[-2:]:
                self._received = b""  # out of step: begin anew with the next
                return
            self._answer(*struct.unpack(">BBHH", request[:-2]))

    def _answer(self, unit: int, function: int, address: int, count: int) -> None:
        if self.line is Line.UNPLUGGED or unit not in self._units:
            return
        self._requests += 1
        shown = self._registers()
        words = [shown.get(register, 0) for register in range(address, address + count)]
        body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *words)
        said = bytearray(body + crc(body))
        if self.line is Line.GARBLED:
            said[len(said) // 2] ^= 0x10
        os.write(self._master, said)

    def _registers(self) -> dict[int, int]:
        watts = self._watts()
        ripple = 1 + 1e-6 * (1 + self._requests % 1000)
        found: dict[int, int] = {}
        for point in self._profile.read:
            value = 0.0
            if point.name == "active_power":
                value = watts
            elif point.name.startswith("active_power_l"):
                value = watts / _PHASES
            elif point.name.startswith("voltage_l"):
                value = 230.0 * ripple
            elif point.name == "frequency":
                value = 50.0 * ripple
            words = self._profile.encode(point, value)
            found |= {point.address + n: word for n, word in enumerate(words)}
        return found


def crc(frame: bytes) -> bytes:
    """The CRC-16 of a Modbus frame, as it is sent."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)
