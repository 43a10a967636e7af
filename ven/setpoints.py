# SPDX-License-Identifier: Apache-2.0
"""Signals and the site's settings -> targets in watts: what each well-known signal means here.

SIMPLE level n                       the site's own table; 0 = nothing to hold
LOAD_DISPATCH setpoint [W]           at most so much
              delta [W]              so much more or (negative) less than otherwise
              multiplier             a multiple of the baseline
              level                  the site's own table
LOAD_CONTROL  x-loadControlCapacity       a fraction of the rated load
              x-loadControlSetpoint [W]   at most so much
              x-loadControlPercentOffset  so many percent more or (negative) less
              x-loadControlLevelOffset    the site's own table
prices                               nothing to hold; passed on to the EMS
"""

import math

from light_node.local import Delta, Keep, Limit, Share, Target
from oadr.event import Event, Signal
from oadr.vocabulary import SignalName, SignalType
from ven.config import LevelTarget, SiteSettings
from ven.errors import SignalFault

MOST_WATTS = 1e9
MOST_SHARE = 10.0

_PRICES = {
    SignalName.ELECTRICITY_PRICE: "oadr:currencyPerKWh",
    SignalName.ENERGY_PRICE: "oadr:currencyPerKWh",
    SignalName.DEMAND_CHARGE: "oadr:currencyPerKW",
}
_SIMPLE = (SignalName.SIMPLE, SignalName.SIMPLE_LOWER)


def is_simple(signal: Signal) -> bool:
    return signal.signal_name in _SIMPLE


def target_of(signal: Signal, value: float, site: SiteSettings) -> Target:
    """What `value` of `signal` asks of the site.

    Raises SignalFault: 460 for a signal, type or unit that is not supported (rule 109), 459 for a
    value that it cannot have (rule 33).
    """
    match signal.signal_name:
        case SignalName.SIMPLE | SignalName.SIMPLE_LOWER:
            return _simple(signal, value, site)
        case SignalName.LOAD_DISPATCH:
            return _dispatch(signal, value, site)
        case SignalName.LOAD_CONTROL:
            return _control(signal, value, site)
        case name if name in _PRICES:
            return _price(signal)
    raise _unsupported(signal)


def check_signals(event: Event, site: SiteSettings) -> None:
    """Whether the event can be acted on: raises SignalFault (rules 8, 9, 102, 104, 109, 116).

    One signal that is understood is enough; a contradiction in any understood signal is not.
    """
    unsupported: SignalFault | None = None
    understood = 0
    for signal in event.signals:
        try:
            for interval in signal.intervals:
                target_of(signal, interval.value, site)
        except SignalFault as fault:
            if fault.response_code != "460":
                raise
            unsupported = fault
            continue
        _check_durations(event, signal)
        understood += 1
    if not understood:
        raise unsupported or SignalFault(
            f"The event {event.event_id} has no signal.", response_code="459"
        )


def _check_durations(event: Event, signal: Signal) -> None:
    lengths = [interval.duration for interval in signal.intervals]
    if len(lengths) > 1 and not all(lengths[:-1]):
        raise SignalFault(
            f"Signal {signal.signal_id} has several intervals, but not each has a duration.",
            response_code="459",
        )
    total = sum((length.total_seconds() for length in lengths if length), 0.0)
    expected = event.duration.total_seconds()
    if expected and lengths[-1] and total != expected:
        raise SignalFault(
            f"The intervals of signal {signal.signal_id} last {total:.0f} s, but the event "
            f"{expected:.0f} s.",
            response_code="459",
        )


def _simple(signal: Signal, value: float, site: SiteSettings) -> Target:
    if signal.signal_type is not SignalType.LEVEL:
        raise _unsupported(signal)
    if value not in (0, 1, 2, 3):
        raise SignalFault(f"SIMPLE has no level {value:g}; only 0 to 3.", response_code="459")
    return _level(site.simple_levels, int(value))


def _dispatch(signal: Signal, value: float, site: SiteSettings) -> Target:
    match signal.signal_type:
        case SignalType.SETPOINT:
            return Limit(max_watts=_watts(signal, value))
        case SignalType.DELTA:
            return Delta(watts=_watts(signal, value))
        case SignalType.MULTIPLIER:
            return _share(signal, value)
        case SignalType.LEVEL if value == int(value) and -10 <= value <= 10:
            return _level(site.dispatch_levels, int(value))
        case SignalType.LEVEL:
            raise SignalFault(
                f"LOAD_DISPATCH has no level {value:g}; only -10 to 10.", response_code="459"
            )
    raise _unsupported(signal)


def _control(signal: Signal, value: float, site: SiteSettings) -> Target:
    match signal.signal_type:
        case SignalType.LOAD_CONTROL_CAPACITY:
            if not 0 <= value <= 1:
                raise SignalFault(
                    f"A load control capacity of {value:g} is not between 0 and 1.",
                    response_code="459",
                )
            if site.rated_w is None:
                raise SignalFault(
                    "Load control capacities need [site] rated_w at this VEN.", response_code="460"
                )
            return Limit(max_watts=value * site.rated_w)
        case SignalType.LOAD_CONTROL_SETPOINT:
            return Limit(max_watts=_watts(signal, value))
        case SignalType.LOAD_CONTROL_PERCENT_OFFSET:
            return _share(signal, 1 + value / 100)
        case SignalType.LOAD_CONTROL_LEVEL_OFFSET if value == int(value):
            return _level(site.level_offsets, int(value))
    raise _unsupported(signal)


def _price(signal: Signal) -> Target:
    match signal.signal_type:
        case SignalType.PRICE | SignalType.PRICE_RELATIVE:
            if (
                signal.unit is not None
                and signal.unit.kind != _PRICES[SignalName(signal.signal_name)]
            ):
                raise _unsupported(signal)
            return Keep()
        case SignalType.PRICE_MULTIPLIER:
            return Keep()
    raise _unsupported(signal)


def _level(levels: dict[str, LevelTarget], level: int) -> Target:
    """The target of a level; a site that does not name it holds the next milder one it names."""
    named = [
        number for number in map(int, levels) if number * level > 0 and abs(number) <= abs(level)
    ]
    if not named:
        return Keep()
    target = levels[str(max(named, key=abs))]
    if target.delta_w is not None:
        return Delta(watts=target.delta_w)
    if target.max_w is not None:
        return Limit(max_watts=target.max_w)
    assert target.share is not None
    return Share(of_baseline=target.share)


def _watts(signal: Signal, value: float) -> float:
    if signal.unit is None or signal.unit.kind != "power:powerReal":
        raise _unsupported(signal)
    watts = value * signal.unit.factor
    if not math.isfinite(watts) or abs(watts) > MOST_WATTS:
        raise SignalFault(f"{watts:g} W is beyond any building.", response_code="459")
    return watts


def _share(signal: Signal, share: float) -> Target:
    if not 0 <= share <= MOST_SHARE:
        raise SignalFault(
            f"{signal.signal_name} asks for {share:g} times the baseline; 0 to {MOST_SHARE:g} "
            "can be.",
            response_code="459",
        )
    return Share(of_baseline=share)


def _unsupported(signal: Signal) -> SignalFault:
    unit = f" in {signal.unit.kind.partition(':')[2]}" if signal.unit is not None else ""
    return SignalFault(
        f"{signal.signal_name}/{signal.signal_type.value}{unit} is not supported here.",
        response_code="460",
    )
