# SPDX-License-Identifier: Apache-2.0
"""The well-known signals and reports of the standard as tables (rules 104 and 331)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSignal:
    """What a signal of one name and type may carry."""

    units: tuple[str, ...]
    """Element names of its unit; "" admits none."""
    least: float | None = None
    most: float | None = None


_NONE: Final = KnownSignal(units=("",))
_POWER: Final = KnownSignal(units=("power:powerReal", "power:powerApparent", "power:powerReactive"))
_ENERGY: Final = KnownSignal(
    units=("power:energyReal", "power:energyApparent", "power:energyReactive")
)
_PER_KWH: Final = KnownSignal(units=("oadr:currencyPerKWh",))
_PER_KW: Final = KnownSignal(units=("oadr:currencyPerKW",))
_PRICES: Final = {"price": _PER_KWH, "priceRelative": _PER_KWH, "priceMultiplier": _NONE}

SIGNALS: Final[Mapping[str, Mapping[str, KnownSignal]]] = {
    "SIMPLE": {"level": _NONE},
    "simple": {"level": _NONE},
    "ELECTRICITY_PRICE": _PRICES,
    "ENERGY_PRICE": _PRICES,
    "DEMAND_CHARGE": {"price": _PER_KW, "priceRelative": _PER_KW, "priceMultiplier": _NONE},
    "BID_PRICE": {"price": KnownSignal(units=("oadr:currencyPerKWh", "oadr:currency"))},
    "BID_LOAD": {"setpoint": _POWER},
    "BID_ENERGY": {"setpoint": _ENERGY},
    "CHARGE_STATE": {"setpoint": _ENERGY, "delta": _ENERGY, "multiplier": _NONE},
    "LOAD_DISPATCH": {
        "setpoint": _POWER,
        "delta": _POWER,
        "multiplier": _NONE,
        "level": KnownSignal(units=("",), least=-10, most=10),
    },
    "LOAD_CONTROL": {
        "x-loadControlCapacity": KnownSignal(units=("",), least=0, most=1),
        "x-loadControlLevelOffset": _NONE,
        "x-loadControlSetpoint": KnownSignal(
            units=("", "power:powerReal", "oadr:temperature", "oadr:customUnit")
        ),
        "x-loadControlPercentOffset": _NONE,
    },
}
"""Signal name -> signal type -> what it may carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownReport:
    """What a point of a well-known report may be."""

    report_types: tuple[str, ...]
    units: tuple[str, ...]
    """Empty: none is looked for."""
    reading_types: tuple[str, ...]


_USAGE: Final = KnownReport(
    report_types=("usage",),
    units=("power:powerReal", "power:energyReal", "oadr:pulseCount"),
    reading_types=("Direct Read",),
)

REPORTS: Final[Mapping[str, KnownReport]] = {
    "TELEMETRY_USAGE": _USAGE,
    "HISTORY_USAGE": _USAGE,
    "TELEMETRY_STATUS": KnownReport(
        report_types=("x-resourceStatus",), units=(), reading_types=("x-notApplicable",)
    ),
}
"""reportName without METADATA_ -> its points."""
