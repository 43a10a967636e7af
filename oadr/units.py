# SPDX-License-Identifier: Apache-2.0
"""Units of values (emix:itemBase): the substitution group of the standard as one value.

The schema admits only base units (powerReal in W or J/s, energyReal in Wh ...): kW is W with the
scale code k.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

from doorway.values import value
from oadr.codec import NAMESPACES, Element, Own, clark, escape
from oadr.errors import Unbuildable
from oadr.vocabulary import ScaleCode

SCALE: Final[dict[ScaleCode, float]] = {
    ScaleCode.PICO: 1e-12,
    ScaleCode.NANO: 1e-9,
    ScaleCode.MICRO: 1e-6,
    ScaleCode.MILLI: 1e-3,
    ScaleCode.CENTI: 1e-2,
    ScaleCode.DECI: 1e-1,
    ScaleCode.NONE: 1.0,
    ScaleCode.KILO: 1e3,
    ScaleCode.MEGA: 1e6,
    ScaleCode.GIGA: 1e9,
    ScaleCode.TERA: 1e12,
}
"""Factor of each SI scale code: value in base units = value on the wire x factor."""

_FIXED: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "power:powerReal": ("RealPower", ("W", "J/s")),
    "power:powerApparent": ("ApparentPower", ("VA",)),
    "power:powerReactive": ("ReactivePower", ("VAR",)),
    "power:energyReal": ("RealEnergy", ("Wh",)),
    "power:energyApparent": ("ApparentEnergy", ("VAh",)),
    "power:energyReactive": ("ReactiveEnergy", ("VARh",)),
    "power:voltage": ("Voltage", ("V",)),
    "oadr:current": ("Current", ("A",)),
    "oadr:frequency": ("Frequency", ("Hz",)),
    "oadr:Therm": ("Therm", ("thm",)),
    "oadr:temperature": ("temperature", ("celsius", "fahrenheit")),
    "oadr:pulseCount": ("pulse count", ("count",)),
}
_CURRENCY: Final = (
    "oadr:currency",
    "oadr:currencyPerKWh",
    "oadr:currencyPerKW",
    "oadr:currencyPerThm",
)
_CURRENCY_WORDS: Final = ("currency", "currencyPerKW", "currencyPerKWh")
_CUSTOM: Final = "oadr:customUnit"
_POWER: Final = ("power:powerReal", "power:powerApparent", "power:powerReactive")
_PULSE: Final = "oadr:pulseCount"


@value
class PowerAttributes:
    """The grid a power unit belongs to; required by the schema beside each power."""

    hertz: Decimal = Decimal(50)
    voltage: Decimal = Decimal(230)
    ac: bool = True


@value
class Unit:
    """One unit: `kind` is the element ("power:powerReal"), `symbol` its itemUnits ("W")."""

    kind: str
    symbol: str
    description: str
    scale: ScaleCode = ScaleCode.NONE
    attributes: PowerAttributes | None = None
    """Present for the three powers, and only there."""
    pulse_factor: float | None = None
    """Energy per pulse; present for pulseCount, and only there."""

    @property
    def factor(self) -> float:
        """What a value on the wire is multiplied with to be in `symbol`."""
        return SCALE[self.scale]


def power(
    scale: ScaleCode = ScaleCode.NONE, *, hertz: int = 50, voltage: int = 230, ac: bool = True
) -> Unit:
    """Real power in W, times the scale."""
    grid = PowerAttributes(hertz=Decimal(hertz), voltage=Decimal(voltage), ac=ac)
    return Unit(
        kind="power:powerReal", symbol="W", description="RealPower", scale=scale, attributes=grid
    )


def energy(scale: ScaleCode = ScaleCode.NONE) -> Unit:
    """Real energy in Wh, times the scale."""
    return Unit(kind="power:energyReal", symbol="Wh", description="RealEnergy", scale=scale)


def price_per_kwh(currency: str) -> Unit:
    """Currency (ISO 4217 letters) per kWh."""
    return Unit(kind="oadr:currencyPerKWh", symbol=currency, description="currencyPerKWh")


def custom(description: str, symbol: str, scale: ScaleCode = ScaleCode.NONE) -> Unit:
    """A unit of one's own; not for well-known signals and reports."""
    return Unit(kind=_CUSTOM, symbol=symbol, description=description, scale=scale)


class _UnitCode(Own):
    """Reads and writes the itemBase substitution group."""

    def __init__(self) -> None:
        kinds = (*_FIXED, *_CURRENCY, _CUSTOM)
        self._kind_of = {clark(kind): kind for kind in kinds}
        self.tags = (*self._kind_of, clark("oadr:oadrGBDataDescription"))

    def read(self, element: Element) -> Unit:
        kind = self._kind_of.get(str(element.tag))
        if kind is None:
            raise ValueError("Green Button descriptions are not supported")
        text = {_local(child): child.text or "" for child in element.iter() if child is not element}
        try:
            grid = (
                PowerAttributes(
                    hertz=Decimal(text["hertz"].strip()),
                    voltage=Decimal(text["voltage"].strip()),
                    ac=text["ac"].strip() in ("true", "1"),
                )
                if kind in _POWER
                else None
            )
        except InvalidOperation as error:
            raise ValueError(f"the power attributes of {kind} are no numbers") from error
        return Unit(
            kind=kind,
            symbol=" ".join(text["itemUnits"].split()) if kind != _CUSTOM else text["itemUnits"],
            description=text["itemDescription"],
            scale=ScaleCode(text.get("siScaleCode", "none")),
            attributes=grid,
            pulse_factor=float(text["pulseFactor"]) if kind == _PULSE else None,
        )

    def write(self, unit: Unit, parts: list[str]) -> None:
        self._check(unit)
        parts.append(
            f"<{unit.kind}><{_item(unit, 'itemDescription')}>{escape(unit.description)}"
            f"</{_item(unit, 'itemDescription')}><{_item(unit, 'itemUnits')}>{escape(unit.symbol)}"
            f"</{_item(unit, 'itemUnits')}>"
        )
        if unit.kind == _PULSE:
            parts.append(f"<oadr:pulseFactor>{float(unit.pulse_factor or 0)!r}</oadr:pulseFactor>")
        else:
            parts.append(f"<scale:siScaleCode>{unit.scale.value}</scale:siScaleCode>")
        if unit.attributes is not None:
            grid = unit.attributes
            parts.append(
                f"<power:powerAttributes><power:hertz>{grid.hertz:f}</power:hertz>"
                f"<power:voltage>{grid.voltage:f}</power:voltage>"
                f"<power:ac>{'true' if grid.ac else 'false'}</power:ac></power:powerAttributes>"
            )
        parts.append(f"</{unit.kind}>")

    def _check(self, unit: Unit) -> None:
        if unit.kind in _FIXED:
            description, symbols = _FIXED[unit.kind]
            if unit.description != description or unit.symbol not in symbols:
                raise Unbuildable(
                    f"{unit.kind} is written '{description}' in {' or '.join(symbols)}, "
                    f"not '{unit.description}' in {unit.symbol}; scale with the scale code."
                )
        elif unit.kind in _CURRENCY:
            if unit.description not in _CURRENCY_WORDS:
                raise Unbuildable(f"{unit.kind}: '{unit.description}' is not in the schema.")
        elif unit.kind != _CUSTOM:
            raise Unbuildable(f"There is no unit '{unit.kind}' in the schema.")
        if (unit.kind in _POWER) != (unit.attributes is not None):
            raise Unbuildable(f"{unit.kind}: power attributes belong to powers only.")
        if (unit.kind == _PULSE) != (unit.pulse_factor is not None):
            raise Unbuildable(f"{unit.kind}: a pulse factor belongs to pulse counts only.")


def _item(unit: Unit, name: str) -> str:
    return f"{unit.kind.partition(':')[0]}:{name}"


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


UNIT = _UnitCode()
assert all(kind.partition(":")[0] in NAMESPACES for kind in (*_FIXED, *_CURRENCY, _CUSTOM))
