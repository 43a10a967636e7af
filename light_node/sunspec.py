# SPDX-License-Identifier: Apache-2.0
"""SunSpec: a device that says itself which models it has, and where; read like any other map.

The definitions of the models come with pysunspec2, which is loaded when a SunSpec device is read
for the first time. It is asked for nothing else: the registers are read by our own bus, within the
budget of the tick.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from light_node.errors import MeterRefused, ProfileFault
from light_node.modbus import Bus, ModbusMeter
from light_node.profile import Point, Profile, RegisterType, SunSpecModel, unit_of

MARKER = [0x5375, 0x6E53]
"""The two registers at which the chain of models begins: "SunS"."""
BEGINNINGS = (40_000, 50_000, 0)
END = 0xFFFF
COMMON = 1
_MOST_MODELS = 60
_READ = 3
_TYPES: dict[str, RegisterType] = {
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "int64": "int64",
    "uint64": "uint64",
    "acc16": "uint16",
    "acc32": "uint32",
    "acc64": "uint64",
    "float32": "float32",
    "float64": "float64",
    "sunssf": "int16",
}
_RANGES = {"frequency": (40.0, 70.0), "state_of_charge": (0.0, 100.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """One model of a device."""

    id: int
    address: int
    """Of its first register, which holds the id."""
    length: int
    """Registers after id and length."""


def has_power(models: Iterable[FoundModel], profile: Profile) -> bool:
    """Whether one of the models says a power that `profile` knows."""
    ids = {model.id for model in models}
    return any(ids & set(known.ids) for known in profile.model if "active_power" in known.points)


def map_of(models: Sequence[FoundModel], profile: Profile) -> Profile:
    """The register map of a device with these models, with all that `profile` asks for.

    A point that stands in several models is taken from the one that `profile` names first; the
    second of two equal models (a second meter behind one unit) is left out. Raises ProfileFault.
    """
    points: dict[str, Point] = {}
    for known in profile.model:
        found = next((model for model in models if model.id in known.ids), None)
        if found is not None:
            _add(points, known, found)
    if "active_power" not in points:
        ids = ", ".join(str(model.id) for model in models) or "none"
        raise ProfileFault(
            f"the SunSpec device has no model with a power that '{profile.device.id}' knows "
            f"(it has {ids}); take another unit number or another profile."
        )
    return msgspec.structs.replace(profile, model=(), read=tuple(points.values()))


def _add(points: dict[str, Point], known: SunSpecModel, found: FoundModel) -> None:
    layout = _layout(found)
    for name, theirs in known.points.items():
        if name in points or theirs not in layout:
            continue
        offset, definition = layout[theirs]
        scale_by = ""
        factor = definition.get("sf")
        if isinstance(factor, str) and factor in layout:
            scale_by = f"{factor}@{found.address}"
            points[scale_by] = Point(
                name=scale_by,
                address=found.address + layout[factor][0],
                type="int16",
                unit="1",
                range=(-10, 10),
            )
        turned = known.generates and name.startswith(("active_power", "reactive_power"))
        points[name] = Point(
            name=name,
            address=found.address + offset,
            type=_TYPES[definition["type"]],
            unit=unit_of(name),
            scale=(-1.0 if turned else 1.0) * (10.0**factor if isinstance(factor, int) else 1.0),
            scale_by=scale_by,
            range=_RANGES.get(name),
        )


def _layout(model: FoundModel) -> dict[str, tuple[int, dict[str, Any]]]:  # Any: their JSON
    """Point name -> (offset from the model's first register, its definition)."""
    offset = 0
    layout = {}
    for definition in definition_of(model.id)["group"]["points"]:
        # An older device may know a shorter form of the model.
        if offset + definition["size"] <= model.length + 2 and definition["type"] in _TYPES:
            layout[definition["name"]] = (offset, definition)
        offset += definition["size"]
    return layout


def definition_of(model_id: int) -> dict[str, Any]:  # Any: their JSON
    """pysunspec2's definition of a model. Raises ProfileFault."""
    try:
        from sunspec2 import device  # noqa: PLC0415 - waits for its use to save memory
        from sunspec2.mdef import ModelDefinitionError  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ProfileFault(
            "SunSpec devices need pysunspec2; run 'pip install pysunspec2'."
        ) from error
    try:
        definition: dict[str, Any] = device.get_model_def(model_id, mapping=False)
    except ModelDefinitionError as error:
        raise ProfileFault(f"there is no SunSpec model {model_id}.") from error
    return definition


async def find_models(bus: Bus, unit: int, *, until: float) -> list[FoundModel]:
    """Walk a device's chain of models; [] where it is no SunSpec device.

    `until` is the loop time by which it must be done. Raises MeterSilent or NoTimeLeft.
    """
    for beginning in BEGINNINGS:
        answer = await bus.read(unit, _READ, beginning, 2, until=until)
        if not answer.isError() and list(answer.registers) == MARKER:
            break
    else:
        return []
    found: list[FoundModel] = []
    address = beginning + 2
    while len(found) < _MOST_MODELS and address < END:
        answer = await bus.read(unit, _READ, address, 2, until=until)
        if answer.isError() or answer.registers[0] == END:
            break
        model_id, length = answer.registers
        found.append(FoundModel(id=model_id, address=address, length=length))
        address += 2 + length
    return found


class SunSpecMeter:
    """One SunSpec device on a bus; asked for its models before its first reading."""

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
        self._bus = bus
        self._unit = unit
        self._profile = profile
        self._invert = invert
        self._ct_ratio = ct_ratio
        self._second_try = second_try
        self._meter: ModbusMeter | None = None

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        return dict(_RANGES)

    async def read(self, *, slow: bool, budget_s: float) -> dict[str, float]:
        """As ModbusMeter.read. Raises MeterRefused where the device is no SunSpec device."""
        loop = asyncio.get_running_loop()
        until = loop.time() + budget_s
        if self._meter is None:
            models = await find_models(self._bus, self._unit, until=until)
            if not models:
                raise MeterRefused(
                    f"{self._bus.name}: unit {self._unit} is no SunSpec device; check the profile."
                )
            try:
                mapped = map_of(models, self._profile)
            except ProfileFault as fault:
                raise MeterRefused(f"{self._bus.name}: unit {self._unit}: {fault}") from fault
            self._meter = ModbusMeter(
                self._bus,
                unit=self._unit,
                profile=mapped,
                invert=self._invert,
                ct_ratio=self._ct_ratio,
                second_try=self._second_try,
            )
        try:
            return await self._meter.read(slow=slow, budget_s=until - loop.time())
        except MeterRefused:
            # Another firmware may have moved its models: ask for them anew the next time.
            self._meter = None
            raise


def meter_on(
    bus: Bus,
    *,
    unit: int,
    profile: Profile,
    invert: bool = False,
    ct_ratio: float = 1.0,
    second_try: bool = False,
) -> ModbusMeter | SunSpecMeter:
    """The meter that a map describes."""
    kind = SunSpecMeter if profile.model else ModbusMeter
    return kind(
        bus,
        unit=unit,
        profile=profile,
        invert=invert,
        ct_ratio=ct_ratio,
        second_try=second_try,
    )
