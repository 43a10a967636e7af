# SPDX-License-Identifier: Apache-2.0
"""A meter's register map: read from TOML, checked, and planned into few requests."""

import math
import re
import struct
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from doorway import SettingsFault, decode_settings
from light_node.errors import ProfileFault

RegisterType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"
]
_FORMATS: dict[RegisterType, str] = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
_UNITS = {
    "voltage": "V",
    "current": "A",
    "active_power": "W",
    "apparent_power": "VA",
    "reactive_power": "var",
    "power_factor": "1",
    "frequency": "Hz",
    "energy": "Wh",
    "reactive_energy": "varh",
    "state_of_charge": "%",
}


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the meter is spoken to."""

    id: str
    function: Literal[3, 4]
    """3 = holding registers, 4 = input registers."""
    word_order: Literal["big", "little"] = "big"
    max_registers: Annotated[int, msgspec.Meta(ge=4, le=125)] = 80
    """The longest block the meter answers."""
    gap: Annotated[int, msgspec.Meta(ge=0, le=120)] = 16
    """Unused registers that are rather read over than asked for separately."""
    unsigned_invalid: Literal["", "ones"] = ""
    """Bit pattern by which the meter says "not available" in unsigned points."""
    signed_invalid: Literal["", "max", "min"] = ""
    """The same in signed integer points. In floating point it is always NaN."""


class SerialLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the meter's RS-485 side is set to when it leaves the factory."""

    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop: Literal[1, 2] = 1


class Point(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value in the meter."""

    name: str
    address: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    """0-based, as it stands in the request."""
    type: RegisterType
    unit: str
    scale: float = 1.0
    """The value in `unit` is the register's number times this."""
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Read at each n-th tick only; during an event at each."""
    range: tuple[float, float] | None = None
    """Outside of it the value cannot be."""
    scale_by: str = ""
    """The name of a point that says by which power of ten this one is to be multiplied."""

    @property
    def registers(self) -> int:
        return struct.calcsize(_FORMATS[self.type]) // 2

    @property
    def end(self) -> int:
        return self.address + self.registers


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in a register of this meter and of no other: by it a scan knows it."""

    address: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    registers: Annotated[int, msgspec.Meta(ge=1, le=32)]
    text: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """The registers begin with one of these, in capitals or not."""
    encoding: Literal["ascii", "utf-16-be"] = "ascii"

    def is_on(self, registers: Sequence[int]) -> bool:
        """Whether these registers, read from `address` on, bear the mark."""
        raw = struct.pack(f">{len(registers)}H", *registers)
        said = raw.decode(self.encoding, errors="replace").strip("\0 ").casefold()
        return any(said.startswith(text.casefold()) for text in self.text)

    def words(self) -> list[int]:
        """The registers of a meter that bears this mark."""
        raw = self.text[0].encode(self.encoding).ljust(2 * self.registers, b"\0")
        return list(struct.unpack(f">{self.registers}H", raw[: 2 * self.registers]))


class SunSpecModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What SunSpec calls our points, in models that say the same in the same words."""

    ids: Annotated[tuple[int, ...], msgspec.Meta(min_length=1)]
    kind: Literal["meter", "inverter", "battery"]
    points: dict[str, str]
    """Our name -> SunSpec's name."""
    generates: bool = False
    """Its power is positive where it generates or discharges."""


class Meta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the facts are from."""

    vendor: str
    model: str
    sources: tuple[str, ...] = ()
    verified_on: tuple[str, ...] = ()
    """Devices on which an installer has confirmed this map."""
    notes: str = ""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One request: the registers [address, address + count) and the points within."""

    address: int
    count: int
    points: tuple[Point, ...]


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A meter's register map."""

    device: Device
    meta: Meta
    read: tuple[Point, ...] = ()
    serial: SerialLine = SerialLine()
    identify: tuple[Mark, ...] = ()
    """One of these is enough."""
    model: tuple[SunSpecModel, ...] = ()
    """Instead of `read`: where the device itself says which registers it has (SunSpec)."""

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        return {point.name: point.range for point in self.read if point.range is not None}

    @cached_property
    def units(self) -> dict[str, str]:
        """The unit of each point that may be read."""
        named = {name: unit_of(name) for model in self.model for name in model.points}
        return named | {point.name: point.unit for point in self.read}

    @property
    def scale_points(self) -> frozenset[str]:
        """Points that say a power of ten and are no values themselves."""
        return frozenset(point.scale_by for point in self.read if point.scale_by)

    def blocks(self, *, slow: bool = True, gap: int | None = None) -> tuple[Block, ...]:
        """Plan the requests; without `slow` only points of each tick; `gap` replaces the map's."""
        points = [point for point in self.read if slow or point.every == 1]
        return plan_blocks(
            points,
            max_registers=self.device.max_registers,
            gap=self.device.gap if gap is None else gap,
        )

    def decode(self, point: Point, registers: Sequence[int]) -> float | None:
        """Return the point's value in its unit, or None where the meter says "not available"."""
        words = registers if self.device.word_order == "big" else list(reversed(registers))
        raw = struct.pack(f">{len(words)}H", *words)
        (number,) = struct.unpack(f">{_FORMATS[point.type]}", raw)
        if isinstance(number, float):
            return number * point.scale if math.isfinite(number) else None
        return None if self._is_invalid(point.type, raw) else float(number * point.scale)

    def encode(self, point: Point, value: float) -> list[int]:
        """Return the registers by which the meter says `value`: the other way of `decode`."""
        number = value / point.scale
        if not point.type.startswith("float"):
            number = round(number)
        try:
            raw = struct.pack(f">{_FORMATS[point.type]}", number)
        except (struct.error, OverflowError) as error:
            raise ProfileFault(
                f"{self.device.id}: {value} {point.unit} does not fit the {point.type} of "
                f"'{point.name}'; choose a smaller value."
            ) from error
        words = list(struct.unpack(f">{point.registers}H", raw))
        return words if self.device.word_order == "big" else words[::-1]

    def _is_invalid(self, kind: RegisterType, raw: bytes) -> bool:
        if kind.startswith("uint"):
            return self.device.unsigned_invalid == "ones" and raw == b"\xff" * len(raw)
        sentinel = {
            "": None,
            "max": b"\x7f" + b"\xff" * (len(raw) - 1),
            "min": b"\x80" + b"\x00" * (len(raw) - 1),
        }[self.device.signed_invalid]
        return raw == sentinel


def plan_blocks(points: Iterable[Point], *, max_registers: int, gap: int) -> tuple[Block, ...]:
    """Join neighbouring points into as few requests as the meter allows, in address order.

    A block is never longer than `max_registers` and never reads over more than `gap` unused
    registers at once.
    """
    planned: list[list[Point]] = []
    for point in sorted(points, key=lambda p: p.address):
        block = planned[-1] if planned else []
        fits = block and (
            point.address - block[-1].end <= gap and point.end - block[0].address <= max_registers
        )
        if fits:
            block.append(point)
        else:
            planned.append([point])
    return tuple(
        Block(address=b[0].address, count=b[-1].end - b[0].address, points=tuple(b))
        for b in planned
    )


def unit_of(name: str) -> str:
    """The unit that a point of this name must be in; "" for a name that may be in any."""
    return _UNITS.get(re.sub(r"(_import|_export|_total)?(_l[123])?$", "", name), "")


_OURS = Path(__file__).with_name("profiles")


def known_profiles() -> list[str]:
    """Names of the maps that come with the light node."""
    return sorted(entry.stem for entry in _OURS.glob("*.toml"))


def load_profile(name: str, *, folder: Path | None = None) -> Profile:
    """Load a map by its name ("sdm630"), or from a file of one's own if `name` ends in ".toml".

    A relative file name counts from `folder`. Raises ProfileFault.
    """
    if name.endswith(".toml"):
        source = (folder or Path()) / name
    elif name in (known := known_profiles()):
        source = _OURS / f"{name}.toml"
    else:
        raise ProfileFault(
            f"there is no meter profile '{name}'; known are {', '.join(known)}, "
            "or name a .toml file of your own."
        )
    try:
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
        profile = decode_settings(raw, Profile, source=str(source), folder=folder or Path())
    except SettingsFault as error:
        raise ProfileFault(str(error)) from error
    except (OSError, ValueError) as error:
        raise ProfileFault(f"{source}: the meter profile cannot be read: {error}.") from error
    check(profile, str(source))
    return profile


def check(profile: Profile, source: str) -> None:
    """Refuse a map that contradicts itself. Raises ProfileFault with the first contradiction."""
    if faults := contradictions(profile):
        raise ProfileFault(f"{source}: {faults[0]}")


def contradictions(profile: Profile) -> list[str]:
    """All that cannot be in this map, one sentence each."""
    if profile.model:
        return _contradictions_of_models(profile)
    names = [point.name for point in profile.read]
    found = [
        f"the point '{name}' stands there twice; keep one."
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if "active_power" not in names:
        found.append("the point 'active_power' is missing; without it no reading.")
    last: Point | None = None
    for point in sorted(profile.read, key=lambda p: p.address):
        if last is not None and point.address < last.end:
            found.append(
                f"'{point.name}' at {point.address} overlaps '{last.name}'; "
                "check both addresses and types."
            )
        found += _contradictions_of(point, profile)
        last = point
    return found


def _contradictions_of(point: Point, profile: Profile) -> Iterator[str]:
    expected = unit_of(point.name)
    if expected and point.unit != expected:
        yield (
            f"'{point.name}' must be in {expected}, not {point.unit}; put the factor into scale."
        )
    if point.scale == 0 or not math.isfinite(point.scale):
        yield f"the scale of '{point.name}' must be a finite factor."
    if point.end > 65_536:
        yield f"'{point.name}' at {point.address} reaches past the last register, 65535."
    if point.registers > profile.device.max_registers:
        yield f"'{point.name}' is longer than max_registers; raise that."
    if point.range is not None and not point.range[0] < point.range[1]:
        yield f"the range of '{point.name}' must begin with its lower end."
    if point.scale_by and point.scale_by not in {other.name for other in profile.read}:
        yield f"'{point.name}' is to be scaled by '{point.scale_by}', which is no point."


def _contradictions_of_models(profile: Profile) -> list[str]:
    found = []
    if profile.read:
        found.append("[[model]] and [[read]] exclude each other; take one of them away.")
    if not any("active_power" in model.points for model in profile.model):
        found.append("no [[model]] names 'active_power'; without it no reading.")
    return found
