# SPDX-License-Identifier: Apache-2.0
"""A simulated SunSpec inverter: a real Modbus TCP server whose limit ends by its own timer."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

_BASE = 40_000
_PERCENT_SF = 0xFFFF
"""10^-1: percentages are told in tenths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Control:
    """Where a model has its registers, as offsets from the one that bears its number."""

    length: int
    switch: int
    percent: int
    timer: tuple[int, ...]
    """Seconds; the high word first."""
    scale: int
    failsafe: int | None = None
    """Where it goes to when the timer has run out; None: it is free then."""
    timer_switch: int | None = None
    left: tuple[int, ...] = ()


_CONTROLS = {
    704: _Control(
        length=57,
        switch=14,
        percent=15,
        timer=(18, 19),
        scale=54,
        failsafe=16,
        timer_switch=17,
        left=(20, 21),
    ),
    123: _Control(length=24, switch=9, percent=5, timer=(7,), scale=23),
    124: _Control(length=24, switch=5, percent=13, timer=(15,), scale=25),
}


class SimulatedInverter:
    """Model 1, one of 704 (with 715), 123 and 124, as a device that nobody has to keep alive.

    `limit_percent` is what it holds now: 100 without a limit, the limit while its timer runs, and
    once it has run out what the limit's sender named as the fail-safe (704), or 100. Of a battery
    (124) it is the rate of charging, below 0 where it is made to discharge.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        model: int = 704,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._asked_port = port
        self._monotonic = monotonic
        self._server: ModbusTcpServer | None = None
        self._model = model
        self._control = _CONTROLS[model]
        self.model_at = _BASE + 2 + 68
        self._model_715 = self.model_at + 2 + self._control.length
        self._ends = self._model_715 + (2 + 7 if model == 704 else 0)
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
        control = self._control
        if self._reverted and control.failsafe is not None:
            return self._words[self.model_at + control.failsafe] / 10
        if not self._words[self.model_at + control.switch]:
            return 100.0
        counts = self._words[self.model_at + control.percent]
        return (counts - 0x10000 if counts >= 0x8000 else counts) / 10

    @property
    def has_reverted(self) -> bool:
        """Whether the timer has run out since the last write."""
        self._let_time_pass()
        return self._reverted

    @property
    def heartbeat(self) -> int:
        """The controller's heartbeat as last written."""
        return self._words[self._model_715 + 5] << 16 | self._words[self._model_715 + 6]

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
        self._words |= {self.model_at: self._model, self.model_at + 1: self._control.length}
        full = (self._control.percent, self._control.failsafe)
        self._words |= {self.model_at + at: 1000 for at in full if at is not None}
        self._words[self.model_at + self._control.scale] = _PERCENT_SF
        if self._model == 704:
            self._words |= {self._model_715: 715, self._model_715 + 1: 7}
        self._words[self._ends] = 0xFFFF

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
        control, at = self._control, self.model_at
        written = range(address - at, address - at + len(words))
        if control.switch not in written and control.timer[0] not in written:
            return
        seconds = 0
        for timer in control.timer:
            seconds = seconds << 16 | self._words[at + timer]
        switches = (control.switch, control.timer_switch)
        timed = seconds and all(self._words[at + one] for one in switches if one is not None)
        self._reverts_at = self._monotonic() + seconds if timed else None
        self._reverted = False

    def _let_time_pass(self) -> None:
        if self._reverts_at is None:
            return
        left_s = max(0.0, self._reverts_at - self._monotonic())
        for shift, register in zip((16, 0), self._control.left, strict=False):
            self._words[self.model_at + register] = int(left_s) >> shift & 0xFFFF
        if left_s == 0:
            self._reverts_at, self._reverted = None, True
            self._words[self.model_at + self._control.switch] = 0
