# SPDX-License-Identifier: Apache-2.0
"""Bad weather between a VEN and its VTN: a whole house, an event in each kind of weather.

The VEN knows of the event before the weather turns; the site must hold it, let it go at its end,
and everything that was measured meanwhile must be at the VTN once the line is good again.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import partial

from chaos.house import House
from chaos.proxy import BLACK_HOLE, CLEAR, Direction, FaultProxy, Weather
from chaos.site import energy_remarks, judge_house, newest_held, order
from chaos.trial import Bench, Trial
from chaos.verdict import Order, Outcome, outcome
from vtn.views import EventView

_LEAD_S = 4
_EVENT_S = 12
_GAP_S = 13
"""Between two events: the load comes back."""
_CUT_EVERY_S = 1.5

KINDS: tuple[tuple[str, Weather], ...] = (
    ("delay", Weather(delay_s=0.4, jitter_s=0.8)),
    ("narrow", Weather(bytes_per_s=3000)),
    ("reset_after_30_kB", Weather(reset_after=30_000)),
    ("reset_after_6_kB", Weather(reset_after=6_000)),
    ("black_hole", BLACK_HOLE),
    ("half_open_up", Weather(silent=frozenset({Direction.UP}))),
    ("half_open_down", Weather(silent=frozenset({Direction.DOWN}))),
    ("cuts", Weather(close_after_s=3, jitter_s=0.2)),
    ("refused", Weather(refuses=True)),
)
"""By name; "cuts" also resets every connection every _CUT_EVERY_S or so."""


def _weather(bench: Bench) -> Outcome:
    house = House(
        bench.folder, "sqlite:///vtn.db", back_off_cap_s=1, back_s=1, proxied=True, seed=bench.seed
    )
    line = house.vtn_line
    assert line is not None
    orders: list[Order] = []
    recoveries: dict[str, float] = {}
    try:
        house.open()
        for name, weather in KINDS[: bench.times(len(KINDS))]:
            event = house.publish(kw=-60, starts_in_s=_LEAD_S, duration_s=_EVENT_S)
            house.wait("the VEN opts in", partial(_opted, house, event))
            _bear(bench, line, weather, until=order(event).ends_at, cuts=name == "cuts")
            recoveries[name] = _return_s(house, line)
            orders.append(order(event))
            time.sleep(_GAP_S)
            bench.say(len(orders), bench.times(len(KINDS)))
        verdict = judge_house(house, orders)
        energy, why = energy_remarks(house)
    finally:
        house.close()
    return outcome(
        bench.name,
        verdict,
        runs=len(orders),
        wanted=bench.times(len(KINDS)),
        recoveries_s=list(recoveries.values()),
        measured={f"{name}_recovery_s": round(took, 2) for name, took in recoveries.items()}
        | energy,
        remarks=why,
    )


def _opted(house: House, event: EventView) -> bool:
    return bool(house.event(event.event_id).vens[0].opt)


def _bear(bench: Bench, line: FaultProxy, weather: Weather, *, until: datetime, cuts: bool) -> None:
    """The weather turns, and stays so until a moment after the event."""
    line.becomes(weather)
    if weather.refuses:
        line.cut()
    until += timedelta(seconds=2)
    while datetime.now(UTC) < until:
        time.sleep(bench.chance.uniform(0, 2 * _CUT_EVERY_S))
        if cuts:
            line.cut()


def _return_s(house: House, line: FaultProxy) -> float:
    """The weather clears; seconds until the next reading is acknowledged."""
    before = newest_held(house)
    line.becomes(CLEAR)
    cleared_at = time.monotonic()
    house.wait("a reading is acknowledged", lambda: newest_held(house) > before, within_s=40)
    return time.monotonic() - cleared_at


TRIALS = (
    Trial(
        name="network",
        what="delay, narrow, resets, black hole, half open between VEN and VTN: nothing lost",
        run=_weather,
        budget_s=500,
        usual_s=280,
    ),
)
