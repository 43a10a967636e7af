# SPDX-License-Identifier: Apache-2.0
"""The VTN is killed (-9) at random moments under a whole house, while events run.

Of three events one runs as published, one is changed and one is called off; the building's own
ledger says what was done, the node's disk what the VTN must hold.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from chaos.house import House
from chaos.site import energy_remarks, judge_house, newest_held, order
from chaos.trial import Bench, Trial
from chaos.verdict import Order, Outcome, outcome

RUNS = 24
_KW = 60
_EVENT_S = 34
_LEAD_S = 6
_GAP_S = 16
"""Between two events: the load is to come back, and the ledger to show it."""
_TOLD_S = 6.0
"""A cancellation reaches the site within this: the VTN starts, the VEN's pause ends, it polls."""


def _killed(bench: Bench) -> Outcome:
    runs = bench.times(RUNS)
    house = House(bench.folder, "sqlite:///vtn.db", back_off_cap_s=1, back_s=1, seed=bench.seed)
    recoveries: list[float] = []

    def strike() -> None:
        house.vtn.kill()
        killed_at = newest_held(house)
        house.vtn.start()
        recoveries.append(_first_after(house, killed_at))
        bench.say(len(recoveries), runs)
        time.sleep(bench.chance.uniform(0, 3))

    try:
        house.open()
        orders: list[Order] = []
        acts = (_as_it_is, _changed, _called_off)
        while len(recoveries) < runs:
            orders.append(acts[len(orders) % 3](house, strike))
        time.sleep(_GAP_S)
        verdict = judge_house(house, orders)
        energy, why = energy_remarks(house)
    finally:
        house.close()
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured={"events": len(orders)} | energy,
        remarks=why,
    )


def _as_it_is(house: House, strike: Callable[[], None]) -> Order:
    event = house.publish(kw=-_KW, starts_in_s=_LEAD_S, duration_s=_EVENT_S)
    _strike_until(event.ends_at, strike)
    time.sleep(_GAP_S)
    return order(event)


def _changed(house: House, strike: Callable[[], None]) -> Order:
    """The VTN is killed right after the change was acknowledged; it ends 10 s later than first."""
    event = house.publish(kw=-_KW, starts_in_s=_LEAD_S, duration_s=_EVENT_S - 10)
    _strike_until(event.starts_at + timedelta(seconds=6), strike)
    house.cli(
        *("vtn", "event", "modify", event.event_id, "--duration", f"{_EVENT_S}s"),
        *("--value", -_KW),
    )
    strike()
    event = house.event(event.event_id)
    _strike_until(event.ends_at, strike)
    time.sleep(_GAP_S)
    return order(event)


def _called_off(house: House, strike: Callable[[], None]) -> Order:
    """The VTN is killed right after the cancellation was acknowledged."""
    event = house.publish(kw=-_KW, starts_in_s=_LEAD_S, duration_s=120)
    _strike_until(event.starts_at + timedelta(seconds=_EVENT_S / 2), strike)
    house.cli("vtn", "event", "cancel", event.event_id)
    until = datetime.now(UTC) + timedelta(seconds=_TOLD_S)
    strike()
    _strike_until(until + timedelta(seconds=4), strike)
    time.sleep(_GAP_S)
    return order(event, until=until)


def _strike_until(at: datetime | None, strike: Callable[[], None]) -> None:
    assert at is not None
    while datetime.now(UTC) < at:
        strike()


def _first_after(house: House, before: float) -> float:
    """How long after its restart the VTN acknowledged a reading newer than `before`, seconds."""
    house.wait("a reading is acknowledged", lambda: newest_held(house) > before, within_s=30)
    return time.monotonic() - house.vtn.started_at


TRIALS = (
    Trial(
        name="house-vtn-killed",
        what="VTN killed -9 under a whole house with events: held once, in their last modification",
        run=_killed,
        budget_s=600,
        usual_s=170,
    ),
)
