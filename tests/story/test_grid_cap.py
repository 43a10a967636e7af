"""A cap for the grid's sake, from the operator to the building, through silence and back."""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos.house import House
from light_node.local import LocalClient, Status

CONTEXT = "http://demandflex.example/cap"
CAP_W, FAILSAFE_W = 200_000, 150_000  # of a building that would use some 295 kW
SETTINGS = f"""
[grid_cap]
market_contexts = ["{CONTEXT}"]
failsafe_max_w = {FAILSAFE_W}
heartbeat_s = 12
statement_s = 90
"""
METER_ERROR = 1.01


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, "sqlite:///vtn.db", site_settings=SETTINGS)
    try:
        house.open()
        house.cli("vtn", "contexts", "add", CONTEXT, "--name", "Caps")
        yield house
    finally:
        house.close()


def status_of(house: House) -> Status:
    async def ask() -> Status:
        async with LocalClient(house.folder / "light-node.sock") as node:
            return await node.status()

    return asyncio.run(ask())


def load_w(house: House) -> float:
    return house.loads()[-1].load_w


def is_in(house: House, state: str) -> Callable[[], bool]:
    return lambda: status_of(house).grid_cap == state


@pytest.mark.timeout(300)  # silence and its end take half a minute by themselves
def test_a_cap_is_held_cannot_be_exceeded_and_silence_means_the_failsafe_cap(house: House) -> None:
    # At the start, until the utility has been heard and has stated what holds (LPC-TS-017).
    house.wait("the utility's first statement", is_in(house, "normal"), within_s=40)
    house.wait("the building is free", lambda: load_w(house) > 250_000)

    event_id = "cap-1"
    house.cli(
        *("vtn", "event", "publish", "--event-id", event_id, "--market-context", CONTEXT),
        *("--signal", "LOAD_DISPATCH", "--type", "setpoint", "--unit", "kW"),
        *("--value", CAP_W / 1000, "--ven", house.ven_id, "--start", "now", "--duration", "1h"),
    )
    house.wait("the cap holds", lambda: load_w(house) < CAP_W * METER_ERROR)
    assert status_of(house).grid_cap == "limited"
    held_from = datetime.now(UTC)

    # Nobody at the building gets past it.
    house.cli(
        *("light-node", "override", "on", "--reason", "guests in the hall"),
        *("--config", house.folder / "site.toml"),
    )
    time.sleep(3)
    assert house.event(event_id).vens[0].opt == "optIn"
    house.cli("light-node", "override", "off", "--config", house.folder / "site.toml")

    # The utility falls silent: the lower failsafe cap, whatever the event says (LPC-031).
    house.vtn.kill()
    house.wait("the failsafe cap holds", lambda: load_w(house) < FAILSAFE_W * METER_ERROR)
    assert is_in(house, "failsafe")()

    # It is heard again, and a statement follows: long before statement_s is over (LPC-916).
    house.vtn.start()
    house.wait("the cap is stated again", is_in(house, "limited"), within_s=60)
    house.wait("the event's own cap holds", lambda: load_w(house) > FAILSAFE_W * 1.2)
    capped = [line.load_w for line in house.loads() if line.at > held_from]
    assert max(capped) < CAP_W * METER_ERROR, "at no moment was more used than the cap"

    house.cli("vtn", "event", "cancel", event_id)
    house.wait("the building is free again", lambda: load_w(house) > 250_000)
    assert status_of(house).grid_cap == "normal"
    assert house.event(event_id).vens[0].opt == "optIn"
