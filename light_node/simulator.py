# SPDX-License-Identifier: Apache-2.0
"""A simulated meter: a real Modbus TCP server built from the profile that the reader uses."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from light_node.profile import Point, Profile, load_profile
from light_node.sunspec import BEGINNINGS, COMMON, END, MARKER, FoundModel, definition_of, map_of

_NOMINAL_V = 230.0
_NOMINAL_HZ = 50.0
_PHASES = ("l1", "l2", "l3")
_SCALES = {"W_SF": 1, "VA_SF": 1, "VAR_SF": 1, "A_SF": -1, "V_SF": -1, "Hz_SF": -2}
"""Powers of ten that a SunSpec device says; 0 for each other."""


class SimulatedMeter:
    """A meter that says what `values` says, in the registers and words of `profile`.

    `values` is called once a request and gives SI values by point name. What it leaves out is made
    up consistently: three equal phases at 230 V and 50 Hz. Voltages and frequency get a ripple of
    some parts in a million, as no real meter repeats itself to the last bit.

        async with SimulatedMeter(profile, lambda: {"active_power": 200_000.0}) as meter:
            ... meter.port ...

    `strict` makes registers that the profile does not name answer with exception 2, as some meters
    do; `unit` None answers to each unit address.
    """

    def __init__(
        self,
        profile: Profile,
        values: Callable[[], Mapping[str, float]],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unit: int | None = None,
        strict: bool = False,
        constants: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """`constants` are registers that stand still, by their first address."""
        self._profile = profile
        self._constants: dict[int, Sequence[int]] = {
            mark.address: mark.words() for mark in profile.identify[:1]
        }
        self._constants |= dict(constants or {})
        self._values = values
        self._host = host
        self._asked_port = port
        self._unit = unit
        self._strict = strict
        self._server: ModbusTcpServer | None = None
        self._ripple = 0
        self._shown: dict[str, float] = {}
        self.silent = False
        """Requests are received and never answered, as with a cut RS-485 line behind a gateway."""
        self.busy = False
        """Each request is answered with exception 6."""
        self.frozen = False
        """The registers stand still while the meter goes on answering."""
        self.delay_s = 0.0
        """So long each answer takes."""
        self.requests = 0
        """How many requests have come."""

    @classmethod
    def sunspec(
        cls,
        models: Sequence[int],
        values: Callable[[], Mapping[str, float]],
        *,
        profile: Profile | None = None,
        beginning: int = BEGINNINGS[0],
        unit: int | None = None,
        port: int = 0,
    ) -> Self:
        """A SunSpec device with these models, laid out by the definitions of pysunspec2."""
        constants: dict[int, list[int]] = {beginning: list(MARKER)}
        found = []
        address = beginning + 2
        for model in (COMMON, *models):
            length = sum(p["size"] for p in definition_of(model)["group"]["points"]) - 2
            found.append(FoundModel(id=model, address=address, length=length))
            constants[address] = [model, length, *([0] * length)]
            address += 2 + length
        constants[address] = [END, 0]
        mapped = map_of(found, profile or load_profile("sunspec"))
        return cls(mapped, values, unit=unit, port=port, constants=constants)

    @property
    def port(self) -> int:
        """The port listened on; with port 0 the one the system chose."""
        assert self._server is not None
        server = self._server.transport
        assert isinstance(server, asyncio.Server)
        return int(server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        registers = {a for point in self._profile.read for a in range(point.address, point.end)}
        for address, words in self._constants.items():
            registers |= set(range(address, address + len(words)))
        if not self._strict:
            for block in self._profile.blocks():
                registers |= set(range(block.address, block.address + block.count))
        device = SimDevice(
            id=self._unit or 0,
            simdata=[
                SimData(address, values=0, datatype=DataType.REGISTERS)
                for address in sorted(registers)
            ],
            action=self._act,
        )
        self._server = ModbusTcpServer(
            device, address=(self._host, self._asked_port), trace_packet=self._trace
        )
        await self._server.serve_forever(background=True)

    async def stop(self) -> None:
        """Close the listener and each connection, as when the meter loses its power."""
        if self._server is not None:
            self._asked_port = self.port
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus's own
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _trace(self, sending: bool, packet: bytes) -> bytes:
        return b"" if self.silent and sending else packet

    async def _act(  # noqa: PLR0917 - pymodbus calls it so
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        written: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        self.requests += 1
        if written is not None or function != self._profile.device.function:
            return ExcCodes.ILLEGAL_FUNCTION
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.busy:
            return ExcCodes.DEVICE_BUSY
        if not self.frozen:
            self._show(dict(self._values()))
        for first, words in self._constants.items():
            if address < first + len(words) and first < address + count:
                registers[first - start : first - start + len(words)] = words
        for point in self._profile.read:
            if address < point.end and point.address < address + count:
                at = point.address - start
                value = self._shown.get(point.name, 0.0)
                if point.scale_by:
                    value /= 10.0 ** self._shown[point.scale_by]
                words = self._profile.encode(point, value)
                registers[at : at + len(words)] = words
        return None

    def _show(self, given: dict[str, float]) -> None:
        self._ripple = (self._ripple + 1) % 1000
        ripple = 1 + 1e-6 * (self._ripple + 1)
        self._shown = {
            point.name: given.get(point.name, _made_up(point, given)) * _share(point, ripple)
            for point in self._profile.read
        }


def _share(point: Point, ripple: float) -> float:
    return ripple if point.name.startswith(("voltage", "frequency")) else 1.0


def _made_up(point: Point, given: Mapping[str, float]) -> float:
    watts = given.get("active_power", 0.0)
    name = point.name
    if "@" in name:
        return _SCALES.get(name.partition("@")[0], 0)
    if name.startswith("voltage_l"):
        return _NOMINAL_V
    if name == "frequency":
        return _NOMINAL_HZ
    if name.startswith(("active_power_l", "apparent_power_l")):
        return watts / len(_PHASES)
    if name == "apparent_power":
        return abs(watts)
    if name.startswith("current_l"):
        phase = name.removeprefix("current_")
        return abs(watts) / len(_PHASES) / given.get(f"voltage_{phase}", _NOMINAL_V)
    if name.startswith("power_factor"):
        return 1.0
    return 0.0
