# SPDX-License-Identifier: Apache-2.0
"""Judges a whole house from its books: the ring, the VTN's database, the EMS's log, the load."""

import time
from collections.abc import Collection
from datetime import datetime

from chaos import ledgers
from chaos.errors import InVain
from chaos.house import House
from chaos.verdict import (
    Order,
    Patience,
    Verdict,
    energy_error,
    judge_order,
    judge_samples,
    judge_site,
)
from vtn import config
from vtn.views import EventView

R_ID = "power"
"""Under which our VEN reports what its meter reads."""
_SLACK_S = 3.0
"""Readings this young may still be on their way."""


def order(event: EventView, *, until: datetime | None = None) -> Order:
    """What an event asks of the site; `until` when it was cancelled before its end."""
    assert event.ends_at is not None
    signal = event.signals[0]
    return Order(
        event_id=event.event_id,
        starts_at=event.starts_at,
        ends_at=until or event.ends_at,
        watts=-signal.intervals[0].value * (1000 if signal.unit == "kW" else 1),
    )


def store_url(house: House) -> str:
    """The URL of the VTN's database with its driver."""
    return config.load(house.folder / "vtn.toml").store.url


def newest_held(house: House) -> float:
    """The start of the newest power reading in the VTN's database, seconds since 1970; 0: none."""
    series = (house.ven_id, R_ID)
    held = ledgers.held_readings(store_url(house))
    return max((at for one, at, _ in held if one == series), default=0.0)


def judge_house(
    house: House,
    orders: Collection[Order],
    *,
    drained_within_s: float = 60.0,
    patience: Patience | None = None,
) -> Verdict:
    """Wait until what the node's disk holds now is at the VTN, then judge samples and events.

    From the first reading that the VTN holds on, everything on the node's disk counts as
    acknowledged (I1). What is missing when the time is over is lost.
    """
    series = (house.ven_id, R_ID)
    url = store_url(house)
    now = time.time()
    deadline = time.monotonic() + drained_within_s
    while True:
        held = [one for one in ledgers.held_readings(url) if one[0] == series]
        first = min((at for _, at, _ in held), default=now)
        ring = ledgers.ring_readings(house.folder / "ring.db")
        due = {at: watts for at, watts in ring.items() if first <= at < now - _SLACK_S}
        missing = set(due).difference(at for _, at, _ in held)
        if (due and not missing) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    if not due:
        raise InVain(f"The node's ring has nothing that the VTN should have{house.last_words()}")
    # What came while we looked is said, too.
    said = ledgers.ring_readings(house.folder / "ring.db")
    loads = ledgers.building_loads(house.folder / "ledger.jsonl")
    return (
        judge_samples({series: said}, {series: set(due)}, held)
        + judge_site([(one.at, one.reduction_w) for one in loads], list(orders), patience)
        + judge_order(ledgers.obeyed(house.ems.log))
    )


ENERGY_WITHIN = 0.01
"""As close as the energy at the VTN comes to the building's: the meter is read a moment later."""


def energy_remarks(house: House) -> tuple[dict[str, float], list[str]]:
    """The energy of all readings at the VTN against the building's own ledger (I7).

    What was measured, and why it is too far off where it is.
    """
    held = ledgers.held_readings(store_url(house))
    loads = ledgers.building_loads(house.folder / "ledger.jsonl")
    error = energy_error(
        {at: watts for one, at, watts in held if one == (house.ven_id, R_ID)},
        {float(int(load.at.timestamp())): load.load_w for load in loads},
    )
    said = f"the energy at the VTN is {error:.2%} off"
    return {"energy_error_percent": round(100 * error, 3)}, [said] * (error > ENERGY_WITHIN)
