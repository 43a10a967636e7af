# SPDX-License-Identifier: Apache-2.0
"""Units as operators write them, and what each signal's number measures (Table 1)."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from oadr.units import PowerAttributes, Unit, energy, power, price_per_kwh
from oadr.vocabulary import ScaleCode, SignalName, SignalType
from vtn.errors import InvalidEvent


class Dimension(StrEnum):
    """What a number measures."""

    POWER = "a power: give W, kW or MW"
    ENERGY = "an energy: give Wh, kWh or MWh"
    PRICE_PER_ENERGY = "a price of energy: give a currency per kWh, like EUR/kWh"
    PRICE_PER_POWER = "a price of power: give a currency per kW, like EUR/kW"
    LEVEL = "a level: leave the unit out, or give level"
    FACTOR = "a factor: leave the unit out, or give %"
    PERCENT = "a percentage: leave the unit out, or give %"
    ANY = "whatever its unit says"


_PRICE: Final = {
    SignalType.PRICE: Dimension.PRICE_PER_ENERGY,
    SignalType.PRICE_RELATIVE: Dimension.PRICE_PER_ENERGY,
    SignalType.PRICE_MULTIPLIER: Dimension.FACTOR,
}
MEASURES: Final[Mapping[str, Mapping[SignalType, Dimension]]] = {
    SignalName.SIMPLE: {SignalType.LEVEL: Dimension.LEVEL},
    SignalName.ELECTRICITY_PRICE: _PRICE,
    SignalName.ENERGY_PRICE: _PRICE,
    SignalName.DEMAND_CHARGE: {
        SignalType.PRICE: Dimension.PRICE_PER_POWER,
        SignalType.PRICE_RELATIVE: Dimension.PRICE_PER_POWER,
        SignalType.PRICE_MULTIPLIER: Dimension.FACTOR,
    },
    SignalName.BID_PRICE: {SignalType.PRICE: Dimension.PRICE_PER_ENERGY},
    SignalName.BID_LOAD: {SignalType.SETPOINT: Dimension.POWER},
    SignalName.BID_ENERGY: {SignalType.SETPOINT: Dimension.ENERGY},
    SignalName.CHARGE_STATE: {
        SignalType.SETPOINT: Dimension.ENERGY,
        SignalType.DELTA: Dimension.ENERGY,
        SignalType.MULTIPLIER: Dimension.FACTOR,
    },
    SignalName.LOAD_DISPATCH: {
        SignalType.SETPOINT: Dimension.POWER,
        SignalType.DELTA: Dimension.POWER,
        SignalType.MULTIPLIER: Dimension.FACTOR,
        SignalType.LEVEL: Dimension.LEVEL,
    },
    SignalName.LOAD_CONTROL: {
        SignalType.LOAD_CONTROL_CAPACITY: Dimension.FACTOR,
        SignalType.LOAD_CONTROL_LEVEL_OFFSET: Dimension.LEVEL,
        SignalType.LOAD_CONTROL_SETPOINT: Dimension.ANY,
        SignalType.LOAD_CONTROL_PERCENT_OFFSET: Dimension.PERCENT,
    },
}
"""Table 1 (rule 104): what the number of each signal and type measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A unit as an operator writes it: what it measures, how it goes on the wire."""

    dimension: Dimension
    unit: Unit | None = None
    factor: float = 1.0


def _reactive(scale: ScaleCode) -> Unit:
    return Unit(
        kind="power:powerReactive",
        symbol="VAR",
        description="ReactivePower",
        scale=scale,
        attributes=PowerAttributes(),
    )


def _apparent(scale: ScaleCode) -> Unit:
    return Unit(
        kind="power:powerApparent",
        symbol="VA",
        description="ApparentPower",
        scale=scale,
        attributes=PowerAttributes(),
    )


_SCALES: Final = {
    "": ScaleCode.NONE,
    "k": ScaleCode.KILO,
    "M": ScaleCode.MEGA,
    "G": ScaleCode.GIGA,
}
_UNITS: Final[Mapping[str, Measure]] = {
    f"{prefix}{symbol}": Measure(dimension=dimension, unit=make(scale))
    for prefix, scale in _SCALES.items()
    for symbol, dimension, make in (
        ("W", Dimension.POWER, power),
        ("VA", Dimension.POWER, _apparent),
        ("var", Dimension.POWER, _reactive),
        ("Wh", Dimension.ENERGY, energy),
    )
} | {
    "%": Measure(dimension=Dimension.PERCENT),
    "level": Measure(dimension=Dimension.LEVEL),
    "factor": Measure(dimension=Dimension.FACTOR),
}
_CURRENCY: Final = re.compile(r"([A-Z]{3})/(kWh|kW)")


def unit_name(unit: Unit | None) -> str:
    """A unit of the wire as an operator writes it: `kW`, `EUR/kWh`; "" for none."""
    if unit is None:
        return ""
    if unit.kind == "oadr:currencyPerKWh":
        return f"{unit.symbol}/kWh"
    if unit.kind == "oadr:currencyPerKW":
        return f"{unit.symbol}/kW"
    scale = "" if unit.scale is ScaleCode.NONE else unit.scale.value
    return scale + {"VAR": "var", "VARh": "varh", "J/s": "W"}.get(unit.symbol, unit.symbol)


def measure(text: str) -> Measure | None:
    """The unit an operator wrote, or None where nothing was written. Raises InvalidEvent."""
    if not text:
        return None
    if known := _UNITS.get(text):
        return known
    if price := _CURRENCY.fullmatch(text):
        currency, per = price.groups()
        per_kwh = price_per_kwh(currency)
        if per == "kWh":
            return Measure(dimension=Dimension.PRICE_PER_ENERGY, unit=per_kwh)
        return Measure(
            dimension=Dimension.PRICE_PER_POWER,
            unit=replace(per_kwh, kind="oadr:currencyPerKW", description="currencyPerKW"),
        )
    folded = {name.casefold(): name for name in (*_UNITS, "EUR/kWh", "EUR/kW")}
    near = difflib.get_close_matches(text.casefold(), folded, n=1)
    hint = f"did you mean '{folded[near[0]]}'?" if near else "known are W, kWh, EUR/kWh, %, level."
    raise InvalidEvent(f"unit: there is no unit '{text}' here; {hint}")


def scaled(name: str, kind: SignalType, unit: str) -> Measure:
    """The unit of a signal on the wire and the factor of its values. Raises InvalidEvent."""
    wanted = MEASURES[name][kind] if name in MEASURES else Dimension.ANY
    given = measure(unit)
    if wanted is Dimension.ANY:
        return given or Measure(dimension=Dimension.ANY)
    sentence = f"{name} {kind} is {wanted}"
    bare = wanted in (Dimension.LEVEL, Dimension.FACTOR, Dimension.PERCENT)
    if given is None:
        if bare:
            return Measure(dimension=wanted)
        raise InvalidEvent(f"{sentence}; the unit is missing.")
    if given.dimension is wanted:
        return given
    if wanted is Dimension.FACTOR and given.dimension is Dimension.PERCENT:
        return Measure(dimension=wanted, factor=0.01)
    raise InvalidEvent(f"{sentence}, not {unit}.")
