# SPDX-License-Identifier: Apache-2.0
"""A scan: which meters are on a serial line or in a network, and which map is theirs.

A meter is known for sure by a mark in its registers ([[identify]] of its map, or SunSpec's), and
otherwise by what it says when it is read by each map: a frequency that can be, voltages that can
be, phases that add up to the power. What two maps explain equally well is told as a choice.
Nothing is ever written to a device.
"""

import asyncio
import gc
import ipaddress
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from light_node.errors import LightNodeFault, MeterFault
from light_node.modbus import Bus
from light_node.profile import Profile, known_profiles, load_profile, plan_blocks
from light_node.sunspec import FoundModel, find_models, has_power, map_of

Parity = Literal["N", "E", "O"]
Tell = Callable[[int, int, str], None]
"""Steps done, steps in all, and what is being asked."""

RTU_UNITS = range(1, 248)
TCP_UNITS = (1, 2, 3, 126, 240, 247)
"""Where meters with a network socket are found; a gateway's units are named by --units."""
LINES: tuple[tuple[int, Parity, Literal[1, 2]], ...] = (
    (9600, "N", 1),
    (19200, "E", 1),
    (19200, "N", 1),
    (9600, "E", 1),
    (38400, "N", 1),
    (38400, "E", 1),
)
"""Line settings, the most usual first."""
MOST_ADDRESSES = 4096
AT_ONCE = 64
RTU_TIMEOUT_S = 0.2
TCP_TIMEOUT_S = 0.6
_KNOCK_S = 0.5
_UNLIKELY_UNIT = 217
_NO_DEVICE = {10, 11}
_LEAST_SCORE = 3
_EVIDENCE = ("voltage_l", "active_power", "frequency")


class NothingToScan(LightNodeFault):
    """The line or network cannot be scanned at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a device was found."""

    host: str = ""
    port: int = 502
    serial: str = ""
    baud: int = 9600
    parity: Parity = "N"
    stop: Literal[1, 2] = 1
    unit: int = 1

    def __str__(self) -> str:
        line = self.serial and f"{self.serial} ({self.baud} {self.parity}{self.stop})"
        return f"{line or f'{self.host}:{self.port}'} unit {self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A device that answers; `profile` is "" where no map explains what it says."""

    place: Place
    profile: str = ""
    name: str = ""
    sure: bool = False
    others: tuple[str, ...] = ()
    """Maps that explain it as well."""
    watts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Explained:
    profile: str
    score: int
    watts: float | None


async def scan_serial(
    port: str,
    *,
    lines: Sequence[tuple[int, Parity, Literal[1, 2]]] = LINES,
    units: Iterable[int] = RTU_UNITS,
    tell: Tell,
) -> AsyncIterator[Found]:
    """Ask each unit, one after the other, with one line setting after the other.

    Ends with the first setting with which anybody answers: all devices of a line share it.
    Raises NothingToScan.
    """
    if not Path(port).exists():  # noqa: ASYNC240 - a device file: nothing to wait for
        raise NothingToScan(f"{port}: there is no such serial port; look into /dev/serial/by-id.")
    asked = list(units)
    done = 0
    for baud, parity, stop in lines:
        bus = Bus.rtu(port, baud=baud, parity=parity, stop=stop, timeout_s=RTU_TIMEOUT_S)
        anybody = False
        try:
            for unit in asked:
                tell(done, len(lines) * len(asked), f"{baud} {parity}{stop}, unit {unit}")
                done += 1
                if await answers(bus, unit):
                    anybody = True
                    place = Place(serial=port, baud=baud, parity=parity, stop=stop, unit=unit)
                    yield await identify(bus, place)
        finally:
            bus.close()
            gc.collect()  # pyserial keeps a port locked that has refused its settings
        if anybody:
            return


async def scan_network(
    network: str, *, port: int = 502, units: Sequence[int] = (), tell: Tell
) -> AsyncIterator[Found]:
    """Ask each address of `network` ("192.0.2.0/24", or one address), many at once.

    Raises NothingToScan.
    """
    hosts = addresses(network)
    done = 0
    limit = asyncio.Semaphore(AT_ONCE)

    async def ask(host: str) -> list[Found]:
        nonlocal done
        async with limit:
            found = await _at_host(host, port, units) if await _listens(host, port) else []
        done += 1
        tell(done, len(hosts), host)
        return found

    tasks = [asyncio.create_task(ask(host)) for host in hosts]
    try:
        for task in tasks:
            for found in await task:
                yield found
    finally:
        for task in tasks:
            task.cancel()


def addresses(network: str) -> list[str]:
    """The addresses of a network, or the one host name. Raises NothingToScan."""
    try:
        net = ipaddress.ip_network(network, strict=False)
    except ValueError as error:
        if "/" in network or network.replace(".", "").isdecimal():
            raise NothingToScan(
                f"'{network}' is no network; write it like 192.168.1.0/24."
            ) from error
        return [network]
    if net.num_addresses > MOST_ADDRESSES:
        raise NothingToScan(
            f"{network} has {net.num_addresses} addresses; name a part of it, "
            f"with at most {MOST_ADDRESSES}."
        )
    return [str(address) for address in net.hosts()]


async def answers(bus: Bus, unit: int) -> bool:
    """Whether there is anybody at `unit`: a refusal is an answer too."""
    try:
        answer = await bus.read(unit, 3, 0, 2, until=_soon())
    except MeterFault:
        return False
    return not (answer.isError() and answer.exception_code in _NO_DEVICE)


async def identify(bus: Bus, place: Place) -> Found:
    """Find out which meter answers there."""
    unit = place.unit
    known = {name: load_profile(name) for name in known_profiles()}
    if models := await _sunspec_models(bus, unit):
        return await _sunspec(bus, place, models, known)
    for name, profile in known.items():
        for mark in profile.identify:
            registers = await _registers(bus, unit, 3, mark.address, mark.registers)
            if registers is not None and mark.is_on(registers):
                values = await _values(bus, unit, profile)
                return Found(
                    place=place,
                    profile=name,
                    name=profile.meta.model,
                    sure=True,
                    watts=values.get("active_power"),
                )
    explained = [
        _Explained(profile=name, score=score(profile, values), watts=values.get("active_power"))
        for name, profile in known.items()
        if not profile.model
        for values in (await _values(bus, unit, profile),)
    ]
    return _best(place, explained, known)


def _best(place: Place, explained: Sequence[_Explained], known: Mapping[str, Profile]) -> Found:
    best = max(explained, key=lambda each: each.score)
    if best.score < _LEAST_SCORE:
        return Found(place=place)
    equal = [each.profile for each in explained if each.score == best.score]
    return Found(
        place=place,
        profile=best.profile,
        name=known[best.profile].meta.model,
        others=tuple(name for name in equal if name != best.profile),
        watts=best.watts,
    )


def score(profile: Profile, values: Mapping[str, float]) -> int:
    """How well a map explains what a device says; less than 3 is not at all.

    A map has no claim where its frequency or its first voltage cannot be, or where its phases do
    not add up to its power.
    """
    names = {point.name for point in profile.read}
    frequency = values.get("frequency")
    if "frequency" in names and not (frequency and 45 <= frequency <= 65):
        return 0
    volts = {name: values.get(name, 0.0) for name in names if name.startswith("voltage_l")}
    if not _can_be_volts(volts.get("voltage_l1", 0.0)) or "active_power" not in values:
        return 0
    phases = [values.get(f"active_power_l{n}") for n in (1, 2, 3)]
    points = 3 if frequency else 0
    points += sum(1 if _can_be_volts(value) else -1 for value in volts.values())
    if all(watts is not None for watts in phases):
        total = sum(watts for watts in phases if watts is not None)
        if abs(total - values["active_power"]) > 20 + 0.05 * abs(total):
            return 0
        points += 2
    return points


def _can_be_volts(value: float) -> bool:
    return math.isfinite(value) and 50 <= value <= 40_000


async def _sunspec_models(bus: Bus, unit: int) -> list[FoundModel]:
    try:
        return await find_models(bus, unit, until=_soon(5.0))
    except MeterFault:
        return []


async def _sunspec(
    bus: Bus, place: Place, models: Sequence[FoundModel], known: Mapping[str, Profile]
) -> Found:
    ids = ", ".join(str(model.id) for model in models)
    if not has_power(models, known["sunspec"]):
        return Found(place=place, name=f"SunSpec device without a power (models {ids})")
    profile = map_of(models, known["sunspec"])
    values = await _values(bus, place.unit, profile)
    watts, scale_by = values.get("active_power"), ""
    for point in profile.read:
        if point.name == "active_power":
            scale_by = point.scale_by
    if watts is not None and scale_by:
        watts = watts * 10.0 ** values[scale_by] if abs(values.get(scale_by, 99)) <= 10 else None
    return Found(
        place=place, profile="sunspec", name=f"SunSpec, models {ids}", sure=True, watts=watts
    )


async def _values(bus: Bus, unit: int, profile: Profile) -> dict[str, float]:
    """What the device says by this map: powers, voltages, frequency; nothing where it refuses."""
    points = [p for p in profile.read if p.name.startswith(_EVIDENCE)]
    scales = {point.scale_by for point in points}
    points += [point for point in profile.read if point.name in scales]
    values: dict[str, float] = {}
    for block in plan_blocks(points, max_registers=profile.device.max_registers, gap=2):
        registers = await _registers(bus, unit, profile.device.function, block.address, block.count)
        if registers is None:
            continue
        for point in block.points:
            at = point.address - block.address
            value = profile.decode(point, registers[at : at + point.registers])
            if value is not None:
                values[point.name] = value
    return values


async def _registers(
    bus: Bus, unit: int, function: int, address: int, count: int
) -> list[int] | None:
    try:
        answer = await bus.read(unit, function, address, count, until=_soon())
    except MeterFault:
        return None
    if answer.isError() or len(answer.registers) != count:
        return None
    return list(answer.registers)


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_KNOCK_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _at_host(host: str, port: int, units: Sequence[int]) -> list[Found]:
    bus = Bus.tcp(host, port, timeout_s=TCP_TIMEOUT_S)
    found: list[Found] = []
    try:
        for unit in units or TCP_UNITS:
            if await answers(bus, unit):
                found.append(await identify(bus, Place(host=host, port=port, unit=unit)))
                if await answers(bus, _UNLIKELY_UNIT):
                    break  # it answers whatever the unit number: there is one device only
    finally:
        bus.close()
    return found


def _soon(seconds: float = 2.0) -> float:
    return asyncio.get_running_loop().time() + seconds
