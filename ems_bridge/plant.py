# SPDX-License-Identifier: Apache-2.0
"""The building behind the reference EMS: its load port over TCP, or a simulated one.

The load port speaks one JSON object a line: {"reduction_w": 5000.0} sets the reduction, {} only
reads, both are answered by {"load_w": ..., "natural_w": ..., "reduction_w": ...}, or by
{"error": "sentence"}.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from ems_bridge.errors import PlantFault
from ems_bridge.reference_ems import PlantState

ANSWER_TIMEOUT_S = 2.0
"""A load port is near and answers at once, or not at all."""


class Plant(Protocol):
    """A load that can be moved. Raises PlantFault when it does not answer."""

    async def read(self) -> PlantState:
        """The load as it is now, in watts."""
        ...

    async def reduce(self, reduction_w: float) -> PlantState:
        """Set the reduction against the natural load; negative raises the load."""
        ...

    async def close(self) -> None: ...


class _Answer(Struct, frozen=True, kw_only=True):
    """Unknown keys are let be: a real load port may say more."""

    load_w: float | None = None
    natural_w: float | None = None
    reduction_w: float | None = None
    error: str = ""


class TcpPlant:
    """A building's load port; connects when first used, and again after a fault."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def read(self) -> PlantState:
        return await self._ask(b"{}\n")

    async def reduce(self, reduction_w: float) -> PlantState:
        return await self._ask(msgspec.json.encode({"reduction_w": reduction_w}) + b"\n")

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask(self, line: bytes) -> PlantState:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port)
                reader, writer = self._streams
                writer.write(line)
                await writer.drain()
                answer = await reader.readline()
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            await self.close()  # a late answer must not be taken for the next one
            why = str(error) or f"nothing came within {ANSWER_TIMEOUT_S:g} s"
            raise PlantFault(
                f"the load port {self._host}:{self._port} does not answer: {why}."
            ) from error
        if not answer.endswith(b"\n"):
            await self.close()
            raise PlantFault(f"the load port {self._host}:{self._port} closed the connection.")
        return self._read(answer)

    def _read(self, line: bytes) -> PlantState:
        where = f"the load port {self._host}:{self._port}"
        try:
            answer = msgspec.json.decode(line, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PlantFault(f"{where} answers what is not understood: {error}.") from error
        if answer.error:
            raise PlantFault(f"{where} refuses: {answer.error}")
        if answer.load_w is None or answer.natural_w is None or answer.reduction_w is None:
            raise PlantFault(f"{where} leaves out load_w, natural_w or reduction_w.")
        return PlantState(
            load_w=answer.load_w, natural_w=answer.natural_w, reduction_w=answer.reduction_w
        )


class SimulatedPlant:
    """A plant inside the program: around 60 % of its rating, swinging every ten minutes."""

    def __init__(self, *, rated_w: float, monotonic: Callable[[], float]) -> None:
        self._rated_w = rated_w
        self._monotonic = monotonic
        self._reduction_w = 0.0

    async def read(self) -> PlantState:
        swing = math.sin(self._monotonic() / 600 * math.tau)
        natural_w = self._rated_w * (0.6 + 0.05 * swing)
        return PlantState(
            load_w=natural_w - self._reduction_w,
            natural_w=natural_w,
            reduction_w=self._reduction_w,
        )

    async def reduce(self, reduction_w: float) -> PlantState:
        self._reduction_w = reduction_w
        return await self.read()

    async def close(self) -> None:
        """Nothing is open."""


def plant_at(url: str) -> TcpPlant:
    """The load port behind tcp://host:port. Raises PlantFault for another address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise PlantFault(f"the plant's address {url!r} cannot be read: {error}.") from error
    if parts.scheme != "tcp" or not host or not port:
        raise PlantFault(f"the plant's address {url!r} is not understood; write tcp://host:port.")
    return TcpPlant(host, port)
