# SPDX-License-Identifier: Apache-2.0
"""Modbus TCP and RTU: lines, and one read of one meter's profile within a given time."""

import asyncio
import logging
import termios
from collections.abc import Awaitable, Callable
from typing import Literal

from doorway import get_logger
from doorway.spared import in_place_of, tls_later
from light_node.errors import MeterBusy, MeterRefused, MeterSilent, NoTimeLeft
from light_node.profile import Block, Profile, plan_blocks

# Modbus over TLS is not spoken here, and OpenSSL is 5 MB.
with (
    tls_later(),
    in_place_of("pymodbus.client.tls", AsyncModbusTlsClient=None, ModbusTlsClient=None),
):
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
    from pymodbus.client.base import ModbusBaseClient
    from pymodbus.exceptions import ModbusException
    from pymodbus.framer import FramerType
    from pymodbus.pdu import ModbusPDU

log = get_logger()
# What pymodbus has to say comes back as exceptions; its own log lines would only repeat it.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())
logging.getLogger("pymodbus").propagate = False

# pymodbus's own figures (3 s, 3 retries) let one hung meter hold a bus for 12 s: three ticks.
TCP_TIMEOUT_S = 0.8
RTU_TIMEOUT_S = 0.5
_BUSY_PAUSE_S = 0.05
_LEAST_TIME_S = 0.02
_TIDY_UP_S = 0.05
_SILENCES_UNTIL_HANG_UP = 3

_ILLEGAL_ADDRESS = 2
_BUSY = 6
_GATEWAY_SILENT = 11
_EXCEPTIONS = {
    1: "it does not know this function code: check the profile",
    2: "it has no such register: check the profile",
    3: "it refuses the block length: lower max_registers in the profile",
    4: "it reports a failure of its own",
    10: "the gateway has no path to it: check the gateway",
}


class Bus:
    """One line to one or more devices: one request at a time, whoever asks.

    Connects when first used, and again after each loss; never retries by itself.
    """

    def __init__(
        self,
        name: str,
        make_client: Callable[[], ModbusBaseClient],
        *,
        timeout_s: float,
        quiet_s: float = 0.0,
    ) -> None:
        self.name = name
        self._make_client = make_client
        self._client: ModbusBaseClient | None = None
        self._timeout_s = timeout_s
        self._quiet_s = quiet_s
        self._quiet_until = 0.0
        self._silences = 0
        self._turn = asyncio.Lock()

    @classmethod
    def tcp(cls, host: str, port: int, *, timeout_s: float = TCP_TIMEOUT_S) -> "Bus":
        def make_client() -> ModbusBaseClient:
            return AsyncModbusTcpClient(
                host, port=port, timeout=timeout_s, retries=0, reconnect_delay=0
            )

        return cls(f"{host}:{port}", make_client, timeout_s=timeout_s)

    @classmethod
    def rtu(
        cls,
        serial: str,
        *,
        baud: int,
        parity: Literal["N", "E", "O"],
        stop: int,
        timeout_s: float = RTU_TIMEOUT_S,
    ) -> "Bus":
        def make_client() -> ModbusBaseClient:
            try:
                return AsyncModbusSerialClient(
                    serial,
                    framer=FramerType.RTU,
                    baudrate=baud,
                    parity=parity,
                    stopbits=stop,
                    timeout=timeout_s,
                    retries=0,
                    reconnect_delay=0,
                )
            except RuntimeError as error:
                raise MeterSilent(
                    f"{serial}: serial lines need pyserial; run 'pip install pyserial'."
                ) from error

        # RTU frames carry no number: a late answer would pass for the next one. So after a
        # silence the line rests for one more timeout and the gap between frames (3.5 characters).
        quiet_s = timeout_s + 3.5 * 11 / baud
        return cls(serial, make_client, timeout_s=timeout_s, quiet_s=quiet_s)

    async def read(
        self, unit: int, function: int, address: int, count: int, *, until: float
    ) -> ModbusPDU:
        """Ask one block and return the answer, which may be a Modbus exception.

        `until` is the loop time by which it must be here. Raises MeterSilent or NoTimeLeft.
        """

        def ask(client: ModbusBaseClient) -> Awaitable[ModbusPDU]:
            call = client.read_input_registers if function == 4 else client.read_holding_registers
            return call(address, count=count, device_id=unit)

        return await self._in_turn(unit, ask, until)

    async def write(self, unit: int, address: int, words: list[int], *, until: float) -> ModbusPDU:
        """Write holding registers in one request (function 16); else as `read`."""

        def put(client: ModbusBaseClient) -> Awaitable[ModbusPDU]:
            return client.write_registers(address, words, device_id=unit)

        return await self._in_turn(unit, put, until)

    async def _in_turn(
        self, unit: int, request: Callable[[ModbusBaseClient], Awaitable[ModbusPDU]], until: float
    ) -> ModbusPDU:
        async with self._turn:
            loop = asyncio.get_running_loop()
            begin = max(loop.time(), self._quiet_until)
            timeout_s = min(self._timeout_s, until - begin)
            if timeout_s < _LEAST_TIME_S:
                raise NoTimeLeft(f"{self.name}: no time was left in this tick to ask unit {unit}.")
            if begin > loop.time():
                await asyncio.sleep(begin - loop.time())
            try:
                # A little longer than pymodbus's own limit, which tidies up after itself.
                async with asyncio.timeout_at(min(until, begin + timeout_s + _TIDY_UP_S)):
                    client = await self._connected_client()
                    # Not connected is raised by the call itself, before there is anything to await.
                    answer = await request(client)
            except (TimeoutError, ModbusException, OSError, termios.error) as error:
                self._after_silence()
                raise MeterSilent(
                    f"{self.name}: unit {unit} did not answer within {timeout_s:.1f} s; "
                    "check its power, wiring and address."
                ) from error
            self._silences = 0
            return answer

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._silences = 0

    async def _connected_client(self) -> ModbusBaseClient:
        if self._client is None:
            self._client = self._make_client()
        if not self._client.connected and not await self._client.connect():
            raise MeterSilent(
                f"{self.name}: no connection; check the address, the port and the cable."
            )
        return self._client

    def _after_silence(self) -> None:
        self._quiet_until = asyncio.get_running_loop().time() + self._quiet_s
        self._silences += 1
        if self._silences >= _SILENCES_UNTIL_HANG_UP:
            # A half-open connection (the meter was switched off and on) stays silent for ever.
            self.close()


class ModbusMeter:
    """One meter on a bus, read by its profile."""

    def __init__(
        self,
        bus: Bus,
        *,
        unit: int,
        profile: Profile,
        invert: bool = False,
        ct_ratio: float = 1.0,
        second_try: bool = False,
    ) -> None:
        """With `second_try` a block that stays unanswered is asked for once more in each read."""
        self._bus = bus
        self._second_try = second_try
        self._tries_left = 0
        self._unit = unit
        self._profile = profile
        self._sign = -1.0 if invert else 1.0
        self._ct_ratio = ct_ratio
        self._fast = list(profile.blocks(slow=False))
        self._all = list(profile.blocks())

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """What each value may be, with the site's sign and CT ratio applied."""
        return {
            name: (min(bounds), max(bounds))
            for name, (low, high) in self._profile.ranges.items()
            for bounds in ((self._at_site(name, low), self._at_site(name, high)),)
        }

    async def read(self, *, slow: bool, budget_s: float) -> dict[str, float]:
        """Read all points (without `slow`: those of each tick) in at most `budget_s` seconds.

        Returns SI values by point name, with the site's sign and CT ratio applied; a point that
        the meter has not or says is not available is left out. Raises MeterSilent, MeterBusy or
        MeterRefused as soon as one block fails: the others are not asked any more.
        """
        until = asyncio.get_running_loop().time() + budget_s
        self._tries_left = int(self._second_try)
        values: dict[str, float] = {}
        plan = self._all if slow else self._fast
        for block in tuple(plan):
            await self._read_block(block, until, values)
        values = self._scaled(values)
        if self._sign < 0 and {"energy_import", "energy_export"} <= values.keys():
            # What it counts as export is what the building took.
            values |= {
                "energy_import": values["energy_export"],
                "energy_export": values["energy_import"],
            }
        return {name: self._at_site(name, value) for name, value in values.items()}

    async def _read_block(self, block: Block, until: float, into: dict[str, float]) -> None:
        answer = await self._ask(block, until)
        if answer.isError() and answer.exception_code == _ILLEGAL_ADDRESS:
            for part in self._split(block):
                await self._read_block(part, until, into)
            return
        if answer.isError():
            reason = _EXCEPTIONS.get(answer.exception_code, "see its manual")
            kind = MeterSilent if answer.exception_code == _GATEWAY_SILENT else MeterRefused
            raise kind(
                f"{self._bus.name}: unit {self._unit} answered with Modbus exception "
                f"{answer.exception_code} at register {block.address}; {reason}."
            )
        if len(answer.registers) != block.count:
            raise MeterRefused(
                f"{self._bus.name}: unit {self._unit} gave {len(answer.registers)} registers "
                f"instead of {block.count}; check the profile."
            )
        for point in block.points:
            offset = point.address - block.address
            value = self._profile.decode(point, answer.registers[offset : offset + point.registers])
            if value is not None:
                into[point.name] = value

    async def _ask(self, block: Block, until: float) -> ModbusPDU:
        loop = asyncio.get_running_loop()
        while True:
            try:
                answer = await self._bus.read(
                    self._unit,
                    self._profile.device.function,
                    block.address,
                    block.count,
                    until=until,
                )
            except MeterSilent:
                if self._tries_left == 0:
                    raise
                self._tries_left -= 1
                continue
            if not (answer.isError() and answer.exception_code == _BUSY):
                return answer
            if loop.time() + _BUSY_PAUSE_S >= until:
                raise MeterBusy(f"{self._bus.name}: unit {self._unit} is busy; it is asked again.")
            await asyncio.sleep(_BUSY_PAUSE_S)

    def _split(self, block: Block) -> list[Block]:
        """Replace a block that the meter refuses by smaller ones, for good."""
        # First without the unused registers in between, then point by point, at last not at all.
        parts = list(plan_blocks(block.points, max_registers=block.count, gap=0))
        if len(parts) == 1:
            parts = [Block(address=p.address, count=p.registers, points=(p,)) for p in block.points]
        if len(block.points) == 1:
            parts = []
            if block.points[0].name == "active_power":
                raise MeterRefused(
                    f"{self._bus.name}: unit {self._unit} has no register {block.address} for its "
                    "power; this is another meter than the profile says."
                )
            log.warning("meter_has_no_such_point", point=block.points[0].name, unit=self._unit)
        for plan in (self._fast, self._all):
            if block in plan:
                at = plan.index(block)
                plan[at : at + 1] = parts
        return parts

    def _scaled(self, values: dict[str, float]) -> dict[str, float]:
        """Apply the powers of ten that the meter itself says; no value without a possible one."""
        scale_points = self._profile.scale_points
        if not scale_points:
            return values
        by = {point.name: point.scale_by for point in self._profile.read}
        return {
            name: value * 10.0 ** values[by[name]] if by[name] else value
            for name, value in values.items()
            if name not in scale_points and (not by[name] or abs(values.get(by[name], 99)) <= 10)
        }

    def _at_site(self, name: str, value: float) -> float:
        if "power" in name.removeprefix("power_factor") or "energy" in name or "current" in name:
            value *= self._ct_ratio
        if name.startswith(("active_power", "reactive_power")):
            value *= self._sign
        return value
