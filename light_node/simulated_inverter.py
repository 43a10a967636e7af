# SPDX-License-Identifier: Apache-2.0
"""A simulated SunSpec inverter: a real Modbus TCP server whose limit ends by its own timer."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

_BASE = 40_000
_PERCENT_SF = 0xFFFF
"""10^-1: percentages are told in tenths."""


class SimulatedInverter:
    """Models 1, 704 and 715, as facts of a device that nobody has to keep alive.

    `limit_percent` is what it holds now: 100 without a limit, the limit while its timer runs, and
    what the limit's sender named as the fail-safe once the timer has run out.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._asked_port = port
        self._monotonic = monotonic
        self._server: ModbusTcpServer | None = None
        self.model_704 = _BASE + 2 + 68
        self.model_715 = self.model_704 + 2 + 57
        self._ends = self.model_715 + 2 + 7
        self._words: dict[int, int] = {}
        self._reverts_at: float | None = None
        self._reverted = False
        self.deaf = False
        """Writes are acknowledged and do nothing."""
        self.writes: list[tuple[int, list[int]]] = []
        """Every write that has come: its address and its words."""
        self._lay_out()

    @property
    def port(self) -> int:
        assert self._server is not None
        server = self._server.transport
        assert isinstance(server, asyncio.Server)
        return int(server.sockets[0].getsockname()[1])

    @property
    def limit_percent(self) -> float:
        self._let_time_pass()
        if self._reverted:
            return self._words[self.model_704 + 16] / 10
        return self._words[self.model_704 + 15] / 10 if self._words[self.model_704 + 14] else 100.0

    @property
    def has_reverted(self) -> bool:
        """Whether the timer has run out since the last write."""
        self._let_time_pass()
        return self._reverted

    @property
    def heartbeat(self) -> int:
        """The controller's heartbeat as last written."""
        return self._words[self.model_715 + 5] << 16 | self._words[self.model_715 + 6]

    async def __aenter__(self) -> Self:
        device = SimDevice(
            id=0,
            simdata=[
                SimData(address, values=word, datatype=DataType.REGISTERS)
                for address, word in sorted(self._words.items())
            ],
            action=self._act,
        )
        self._server = ModbusTcpServer(device, address=(self._host, self._asked_port))
        await self._server.serve_forever(background=True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus's own
            self._server = None

    def _lay_out(self) -> None:
        self._words = dict.fromkeys(range(_BASE, self._ends + 2), 0)
        self._words |= {_BASE: 0x5375, _BASE + 1: 0x6E53, _BASE + 2: 1, _BASE + 3: 66}
        self._words |= {self.model_704: 704, self.model_704 + 1: 57}
        self._words |= {self.model_704 + 15: 1000, self.model_704 + 16: 1000}
        self._words[self.model_704 + 54] = _PERCENT_SF
        self._words |= {self.model_715: 715, self.model_715 + 1: 7, self._ends: 0xFFFF}

    async def _act(  # noqa: PLR0917 - pymodbus calls it so
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        written: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function not in (3, 16):
            return ExcCodes.ILLEGAL_FUNCTION
        if written is not None:
            words = [int(word) for word in written]
            self.writes.append((address, words))
            if not self.deaf:
                self._take(address, words)
        self._let_time_pass()
        for at in range(address, address + count):
            registers[at - start] = self._words[at]
        return None

    def _take(self, address: int, words: list[int]) -> None:
        self._words |= dict(enumerate(words, address))
        if not address <= self.model_704 + 14 < address + len(words):
            return
        base = self.model_704
        seconds = self._words[base + 18] << 16 | self._words[base + 19]
        timed = self._words[base + 14] and self._words[base + 17] and seconds
        self._reverts_at = self._monotonic() + seconds if timed else None
        self._reverted = False

    def _let_time_pass(self) -> None:
        if self._reverts_at is None:
            return
        base = self.model_704
        left_s = max(0.0, self._reverts_at - self._monotonic())
        self._words |= {base + 20: int(left_s) >> 16, base + 21: int(left_s) & 0xFFFF}
        if left_s == 0:
            self._reverts_at, self._reverted = None, True
            self._words[base + 14] = 0
