# SPDX-License-Identifier: Apache-2.0
"""Numbers and times as the pages write them: 14:05:08, 2026-11-20, 1 h 05 min, 12.4 MW."""

import math
from datetime import UTC, datetime
from typing import Final

from oadr.event import Signal
from oadr.vocabulary import SignalName, SignalType
from vtn.quantities import unit_name

NONE: Final = "\N{EN DASH}"
_MEGA: Final = 1_000_000.0


def span(seconds: float) -> str:
    """`4 s`, `5 min`, `1 h 05 min`, `3 d 2 h`."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60:02} min"
    return f"{days} d {hours % 24} h"


def ago(at: datetime | None, now: datetime) -> str:
    return "never" if at is None else f"{span(max(0.0, (now - at).total_seconds()))} ago"


def moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else NONE


def clock(at: datetime | None) -> str:
    return f"{at:%H:%M:%S}" if at else NONE


def stamp(at: datetime) -> str:
    """For `<time datetime=...>`: the browser makes local time of it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unit_for(*watts: float | None) -> str:
    """`MW` or `kW`, once for a whole page, by the largest number on it."""
    largest = max((abs(one) for one in watts if one is not None), default=0.0)
    return "MW" if largest >= _MEGA else "kW"


def power(watts: float | None, unit: str = "kW") -> str:
    """The number alone; three digits that count at least."""
    if watts is None or not math.isfinite(watts):
        return NONE
    number = watts / (_MEGA if unit == "MW" else 1000.0)
    if abs(number) < 0.05:
        number = 0.0
    return f"{number:,.1f}" if abs(number) < 1000 else f"{number:,.0f}"


def share(fraction: float | None) -> str:
    if fraction is None or not math.isfinite(fraction):
        return NONE
    return f"{round(fraction * 100) + 0} %"


def count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def several(number: int, noun: str) -> str:
    """`1 node`, `1,204 nodes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def order(signal: Signal) -> str:
    """What a signal asks, as an operator says it: `Reduce by 200 kW`."""
    unit = unit_name(signal.unit)
    values = [one.value for one in signal.intervals]
    shown = " then ".join(f"{abs(value):,.10g}" for value in values)
    if signal.signal_name == SignalName.LOAD_DISPATCH:
        match signal.signal_type:
            case SignalType.DELTA:
                verb = "Reduce by" if all(value <= 0 for value in values) else "Increase by"
                if len({value > 0 for value in values if value}) > 1:
                    return f"Change by {' then '.join(f'{one:+,.10g}' for one in values)} {unit}"
                return f"{verb} {shown} {unit}"
            case SignalType.SETPOINT:
                return f"Take at most {' then '.join(f'{one:,.10g}' for one in values)} {unit}"
            case SignalType.MULTIPLIER:
                shares = " then ".join(f"{(1 - one) * 100:.4g}" for one in values)
                return f"Reduce by {shares} %"
    if signal.signal_name in (SignalName.SIMPLE, SignalName.SIMPLE_LOWER):
        return f"Level {shown}"
    bare = " then ".join(f"{one:,.10g}" for one in values)
    return f"{signal.signal_name} {signal.signal_type.value} {bare} {unit}".rstrip()


def term(signal: Signal) -> str:
    """The same in the standard's words, for engineers."""
    return f"{signal.signal_name} {signal.signal_type.value}"
