# SPDX-License-Identifier: Apache-2.0
"""Commissioning: what two readings of a meter, some seconds apart, say about its wiring.

Works on values as the site sees them (sign and CT ratio applied). What is wrong cannot be; what is
to be looked at can be, but seldom is. Each sentence names the setting or the wire to change.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

PHASES = ("l1", "l2", "l3")
NOMINAL_V = (100.0, 110.0, 120.0, 127.0, 208.0, 220.0, 230.0, 240.0, 277.0, 347.0, 400.0, 480.0)
"""Voltages of the world's low-voltage grids, phase to neutral or phase to phase."""
_V_SHARE = 0.10
_HIGHEST_LOW_V = 600.0
_LIVE_V = 20.0
_SMALL_W = 100.0
_SMALL_A = 0.5
_SUM_SHARE = 0.05
_VI_SHARE = 1.1
_LEAST_FACTOR = 0.35
_ENERGY_SHARE = 0.3
_LEAST_STEPS = 5
_TURNED_SHARE = 10.0
_LEAST_WH = 10_000.0


class Weight(StrEnum):
    """How much a finding weighs."""

    FINE = "fine"
    LOOK = "look"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    weight: Weight
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Readings of one meter within some seconds, oldest first."""

    at_s: tuple[float, ...]
    values: tuple[Mapping[str, float], ...]
    steps_wh: Mapping[str, float]
    """The smallest step of each energy counter."""

    @property
    def last(self) -> Mapping[str, float]:
        return self.values[-1]


def judge(measured: Measured) -> list[Finding]:
    """All that is wrong or to be looked at; where nothing is, what the meter was found fine in."""
    last = measured.last
    if "active_power" not in last:
        return [_wrong("it does not say its power; check the profile.")]
    found = [
        *_voltages(last),
        *_frequency(last),
        *_phase_sum(last),
        *_phase_signs(last),
        *_phase_factors(last),
        *_sign(last),
        *_counters(measured),
    ]
    fine = "power, phases, voltages and counters agree"
    return found or [Finding(weight=Weight.FINE, said=fine)]


def _voltages(last: Mapping[str, float]) -> Iterator[Finding]:
    volts = {phase: last[f"voltage_{phase}"] for phase in PHASES if f"voltage_{phase}" in last}
    live = [value for value in volts.values() if value >= _LIVE_V]
    if volts and not live:
        yield _wrong("no phase has a voltage; check its fuses, or the profile.")
        return
    for phase, value in volts.items():
        if value < _LIVE_V:
            # One and two phase meters say 0 for those that they have not.
            name = phase.upper()
            yield _look(f"{name} has no voltage ({value:.0f} V): right if it is not connected.")
        elif value <= _HIGHEST_LOW_V:
            nominal = min(NOMINAL_V, key=partial(_distance, value))
            if abs(value - nominal) > _V_SHARE * nominal:
                yield _look(
                    f"{phase.upper()} has {value:.0f} V, which no grid has: check its wire, and "
                    "the voltage transformer ratio in the meter."
                )
    if len(live) > 1 and max(live) - min(live) > _V_SHARE * max(live):
        yield _look(
            f"the voltages differ by {max(live) - min(live):.0f} V: a neutral or a phase is loose."
        )


def _frequency(last: Mapping[str, float]) -> Iterator[Finding]:
    frequency = last.get("frequency")
    if frequency is not None and not (49 <= frequency <= 51 or 59 <= frequency <= 61):
        yield _wrong(f"the frequency is {frequency:.1f} Hz; this is another meter: check profile.")


def _phase_sum(last: Mapping[str, float]) -> Iterator[Finding]:
    watts = _phase_powers(last)
    if len(watts) < len(PHASES):
        return
    total = sum(watts.values())
    if abs(total - last["active_power"]) > _SMALL_W + _SUM_SHARE * max(
        abs(total), abs(last["active_power"])
    ):
        yield _wrong(
            f"the phases add up to {_kw(total)}, the power is {_kw(last['active_power'])}: check "
            "profile, and the wiring mode in the meter (3 phases, 4 wires)."
        )


def _phase_signs(last: Mapping[str, float]) -> Iterator[Finding]:
    watts = _phase_powers(last)
    strong = {phase: value for phase, value in watts.items() if abs(value) > _SMALL_W}
    if len(strong) < len(PHASES):
        return
    negative = [phase for phase, value in strong.items() if value < 0]
    odd = negative if len(negative) == 1 else [p for p in strong if p not in negative]
    if len(odd) == 1:
        phase = odd[0].upper()
        yield _look(
            f"{phase} counts the other way than the others ({_kw(strong[odd[0]])}): its clamp is "
            "on backwards, unless something feeds in on this phase alone."
        )


def _phase_factors(last: Mapping[str, float]) -> Iterator[Finding]:
    weak = []
    for phase, watts in _phase_powers(last).items():
        volts, amperes = last.get(f"voltage_{phase}"), last.get(f"current_{phase}")
        if volts is None or amperes is None or abs(amperes) < _SMALL_A:
            continue
        apparent = abs(volts * amperes)
        if abs(watts) > _VI_SHARE * apparent + _SMALL_W:
            yield _wrong(
                f"{phase.upper()}: {volts:.0f} V times {abs(amperes):.1f} A cannot be "
                f"{_kw(watts)}: check ct_ratio, and the ratio set in the meter."
            )
        elif abs(watts) < _LEAST_FACTOR * apparent and apparent > 10 * _SMALL_W:
            weak.append(phase.upper())
    if weak:
        what = " and ".join(weak)
        verb = "has" if len(weak) == 1 else "have"
        yield _look(
            f"{what} {verb} much current and little power: the clamps and the voltages are on "
            "different phases (exchange clamps), unless the load is nearly all reactive."
        )


def _sign(last: Mapping[str, float]) -> Iterator[Finding]:
    imported, exported = last.get("energy_import"), last.get("energy_export")
    counted_out = (
        imported is not None
        and exported is not None
        and exported > _LEAST_WH
        and exported > _TURNED_SHARE * imported
    )
    if counted_out:
        yield _look(
            "it has counted ten times more export than import: set invert = true unless the "
            "building generates that much."
        )
    elif last["active_power"] < -_SMALL_W:
        yield _look(
            f"the building feeds in {_kw(-last['active_power'])}: right where it generates now; "
            "else set invert = true."
        )


def _counters(measured: Measured) -> Iterator[Finding]:
    watts = [values.get("active_power") for values in measured.values]
    if len(watts) < 2 or any(each is None for each in watts):
        return
    energy = _integral(measured.at_s, [each for each in watts if each is not None])
    first, last = measured.values[0], measured.last
    for name in ("energy_import", "energy_export"):
        if name in first and name in last and last[name] < first[name]:
            yield _wrong(
                f"{name} ran backwards by {first[name] - last[name]:,.0f} Wh: check profile."
            )
            return
    name = "energy_import" if energy >= 0 else "energy_export"
    other = "energy_export" if energy >= 0 else "energy_import"
    step = measured.steps_wh.get(name, math.inf)
    if abs(energy) < _LEAST_STEPS * step or name not in first or name not in last:
        return
    counted = last[name] - first[name]
    turned = last.get(other, 0.0) - first.get(other, 0.0)
    if counted == 0 and turned > _LEAST_STEPS * measured.steps_wh.get(other, math.inf) / 2:
        yield _wrong(
            f"the power says {name.removeprefix('energy_')}, but {other} counts: set invert to the "
            "other value, or turn the clamps."
        )
    elif counted == 0:
        yield _look(
            f"{name} has not moved while the power made {abs(energy):,.0f} Wh: watch it for longer "
            "(--seconds 60); if it stands still then, check profile."
        )
    elif abs(counted - abs(energy)) > _ENERGY_SHARE * abs(energy) + 2 * step:
        ratio = counted / abs(energy)
        yield _wrong(
            f"the counter rose by {counted:,.0f} Wh where the power makes {abs(energy):,.0f} Wh "
            f"({ratio:.2f} times): check ct_ratio and profile."
        )


def _integral(at_s: Sequence[float], watts: Sequence[float]) -> float:
    """Wh, by trapezoids."""
    return sum(
        (watts[n] + watts[n + 1]) / 2 * (at_s[n + 1] - at_s[n]) / 3600
        for n in range(len(watts) - 1)
    )


def _phase_powers(last: Mapping[str, float]) -> dict[str, float]:
    names = {phase: f"active_power_{phase}" for phase in PHASES}
    return {phase: last[name] for phase, name in names.items() if name in last}


def _distance(one: float, other: float) -> float:
    return abs(one - other)


def _kw(watts: float) -> str:
    return f"{watts / 1000:,.2f} kW"


def _look(said: str) -> Finding:
    return Finding(weight=Weight.LOOK, said=said)


def _wrong(said: str) -> Finding:
    return Finding(weight=Weight.WRONG, said=said)
