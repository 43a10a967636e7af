"""From an event to verified curtailment, on real sockets, with each program killed in between."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chaos.house import VEN_ID, House

MakeHouse = Callable[..., House]


@pytest.fixture
def house_on(tmp_path: Path) -> Iterator[MakeHouse]:
    houses: list[House] = []

    def make(database: str = "", **settings) -> House:
        house = House(tmp_path, database or "sqlite:///vtn.db", **settings)
        houses.append(house)
        house.open()
        return house

    yield make
    for house in houses:
        house.close()


def test_an_event_becomes_verified_curtailment(house_on: MakeHouse, database: str) -> None:
    house = house_on(database, interval_s=4)
    event = house.publish(kw=-60, starts_in_s=5, duration_s=40)

    opted = house.wait("the VEN opts in", lambda: house.event(event.event_id).vens[0].opt)
    house.sleep_until(event.ends_at)
    verdict = house.settled(event)

    assert opted == "optIn"
    assert verdict.ordered_w == 60_000
    assert 0.6 < verdict.fraction < 1.2
    assert verdict.samples_expected == 10
    assert verdict.samples_received == verdict.samples_expected
    assert verdict.vens[0].agrees, verdict.vens[0].remarks
    assert set(house.readings("effect").values) == {1.0}  # the node's own meter saw it: reached
    house.assert_each_reading_is_held_once(event.starts_at, event.ends_at)
    assert {"ACCEPTED", "STARTED", "SUCCEEDED"} <= {line["status"] for line in house.answers()}
    house.sleep_until(event.ends_at + timedelta(seconds=16))
    house.assert_load_fell_and_came_back(event, watts=60_000)


def test_a_sub_meter_stands_at_the_vtn_beside_the_site_s_meter_and_not_in_its_sum(
    house_on: MakeHouse,
) -> None:
    house = house_on(
        sub_meter="pv",
        ven_settings='[[reports.meter]]\nid = "pv"\nresource_id = "roof"\n',
    )
    event = house.publish(kw=-60, starts_in_s=3, duration_s=20)
    house.sleep_until(event.ends_at)
    verdict = house.settled(event)

    def of_both() -> list[tuple[float, float]]:
        main, sub = (house.readings(r_id) for r_id in ("power", "pv.power"))
        held = dict(zip(sub.starts_at, sub.values, strict=True))
        within = range(int(event.starts_at.timestamp()) + 1, int(event.ends_at.timestamp()))
        pairs = zip(main.starts_at, main.values, strict=True)
        both = [(watts, held[at]) for at, watts in pairs if at in within and at in held]
        return both if len(both) == len(within) else []

    pairs = house.wait("both meters' readings of the event are there", of_both, within_s=45)
    assert all(abs(main + sub) < 0.2 * main for main, sub in pairs)
    points = {point.r_id: point for point in house.points()}
    pv = points["pv.power"]
    assert (pv.report_name, pv.unit, pv.resource_ids) == ("x-SUBMETER_USAGE", "W", ("roof",))
    assert points["pv.energy"].unit == "Wh"
    assert verdict.samples_received == verdict.samples_expected == 20
    assert verdict.vens[0].agrees, verdict.vens[0].remarks
    assert 0.6 < verdict.fraction < 1.2


def test_readings_of_an_event_reach_the_vtn_within_8_seconds(house_on: MakeHouse) -> None:
    house = house_on(interval_s=4)
    event = house.publish(kw=-40, starts_in_s=4, duration_s=32)
    house.sleep_until(event.starts_at + timedelta(seconds=6))
    oldest = 0.0

    while datetime.now(UTC) < event.ends_at:
        newest = house.readings().starts_at[-1]
        # The newest reading here may be as old as the one after it is late.
        oldest = max(oldest, datetime.now(UTC).timestamp() - newest - 4)
        time.sleep(0.25)

    assert oldest <= 8


def test_a_site_that_opts_out_is_left_alone(house_on: MakeHouse) -> None:
    house = house_on(ven_settings='[opt]\npolicy = "never"\n')
    event = house.publish(kw=-60, starts_in_s=3, duration_s=8)

    opted = house.wait("the VEN answers", lambda: house.event(event.event_id).vens[0].opt)
    house.sleep_until(event.ends_at)

    assert opted == "optOut"
    leases = [one for one in house.answers() if one["applied_w"] is not None]
    assert not leases, "but for the release each connection begins with, nothing is asked"
    assert max(line.reduction_w for line in house.loads()) < 1_000


def test_an_override_at_the_building_opts_out_of_the_running_event(house_on: MakeHouse) -> None:
    house = house_on()
    event = house.publish(kw=-60, starts_in_s=3, duration_s=60)
    house.wait("the load falls", lambda: house.loads()[-1].reduction_w > 50_000)

    house.cli(
        *("light-node", "override", "on", "--reason", "guests in the hall"),
        *("--config", house.folder / "site.toml"),
    )

    house.wait(
        "the VTN knows", lambda: house.event(event.event_id).vens[0].opt == "optOut", within_s=40
    )
    house.wait("the load is back", lambda: house.loads()[-1].reduction_w < 5_000)


def test_a_cancelled_event_is_let_go_at_once(house_on: MakeHouse) -> None:
    house = house_on()
    event = house.publish(kw=-60, starts_in_s=3, duration_s=120)
    house.wait("the load falls", lambda: house.loads()[-1].reduction_w > 50_000)

    house.cli("vtn", "event", "cancel", event.event_id)

    house.wait("the load is back", lambda: house.loads()[-1].reduction_w < 5_000, within_s=40)
    house.wait(
        "the VTN knows",
        lambda: house.event(event.event_id).vens[0].answered_modification == 1,
    )


def test_the_vtn_is_killed_and_restarted_in_the_middle_of_an_event(
    house_on: MakeHouse, database: str
) -> None:
    house = house_on(database)
    event = house.publish(kw=-60, starts_in_s=4, duration_s=30)
    house.wait("the VEN opts in", lambda: house.event(event.event_id).vens[0].opt)
    house.sleep_until(event.starts_at + timedelta(seconds=8))
    held_before = set(house.readings().starts_at)

    house.vtn.kill()
    time.sleep(6)
    house.vtn.start()
    house.wait("the VTN is back", house.registered)

    assert held_before <= set(house.readings().starts_at), "an acknowledged reading was lost"
    house.sleep_until(event.ends_at)
    verdict = house.settled(event)
    assert 30 == verdict.samples_expected == verdict.samples_received
    assert verdict.fraction > 0.6
    house.assert_each_reading_is_held_once(event.starts_at, event.ends_at)
    house.sleep_until(event.ends_at + timedelta(seconds=16))
    house.assert_load_fell_and_came_back(event, watts=60_000)


def test_the_ven_is_killed_and_restarted_in_the_middle_of_an_event(house_on: MakeHouse) -> None:
    house = house_on()
    registration = house.registered().registration_id
    event = house.publish(kw=-60, starts_in_s=4, duration_s=30)
    house.wait("the VEN opts in", lambda: house.event(event.event_id).vens[0].opt)
    house.sleep_until(event.starts_at + timedelta(seconds=8))
    answered_at = house.event(event.event_id).vens[0].answered_at

    house.ven.kill()
    time.sleep(6)
    held = house.loads()[-1].reduction_w
    house.ven.start()

    assert held > 50_000, "the light node holds the plan without the VEN"
    house.sleep_until(event.ends_at)
    verdict = house.settled(event)
    assert 30 == verdict.samples_expected == verdict.samples_received
    house.assert_each_reading_is_held_once(event.starts_at, event.ends_at)
    assert registration == house.registered().registration_id
    assert answered_at == house.event(event.event_id).vens[0].answered_at, "answered twice"
    house.sleep_until(event.ends_at + timedelta(seconds=16))
    house.assert_load_fell_and_came_back(event, watts=60_000)
    house.assert_set_points_are_in_order()


def test_the_broker_is_gone_for_a_while_when_an_event_begins(house_on: MakeHouse) -> None:
    house = house_on()
    event = house.publish(kw=-60, starts_in_s=4, duration_s=36)
    house.wait("the VEN opts in", lambda: house.event(event.event_id).vens[0].opt)

    house.broker.kill()
    house.sleep_until(event.starts_at + timedelta(seconds=8))
    unheld = house.loads()[-1].reduction_w
    house.broker.start()

    assert unheld < 1_000, "no set-point can have arrived"
    house.wait("the load falls", lambda: house.loads()[-1].reduction_w > 50_000, within_s=20)
    house.sleep_until(event.ends_at)
    house.settled(event)
    house.assert_each_reading_is_held_once(event.starts_at, event.ends_at)
    house.sleep_until(event.ends_at + timedelta(seconds=16))
    house.assert_load_fell_and_came_back(event, watts=60_000)
    house.assert_set_points_are_in_order()


def test_the_ems_lets_go_by_itself_when_everything_above_it_dies(house_on: MakeHouse) -> None:
    house = house_on()
    event = house.publish(kw=-60, starts_in_s=3, duration_s=120)
    house.wait("the load falls", lambda: house.loads()[-1].reduction_w > 50_000)

    house.vtn.kill()
    house.ven.kill()
    house.light_node.kill()

    assert event.ends_at > datetime.now(UTC) + timedelta(seconds=30)
    house.wait("the lease runs out", lambda: house.loads()[-1].reduction_w < 5_000, within_s=40)


def test_a_meter_that_is_silent_for_20_seconds_leaves_gaps_that_say_so(house_on: MakeHouse) -> None:
    house = house_on()
    event = house.publish(kw=-60, starts_in_s=4, duration_s=40)
    house.sleep_until(event.starts_at + timedelta(seconds=6))

    muted_at = datetime.now(UTC).timestamp()
    house.meter_line.muted.set()
    time.sleep(20)
    house.meter_line.muted.clear()
    heard_at = datetime.now(UTC).timestamp()

    house.sleep_until(event.ends_at)
    house.assert_each_reading_is_held_once(event.starts_at, event.ends_at)
    held = house.readings()
    silent = [
        quality
        for at, quality in zip(held.starts_at, held.quality, strict=True)
        if muted_at + 1 < at < heard_at - 1
    ]
    assert len(silent) >= 16
    assert all(quality.startswith("Quality Bad") for quality in silent)
    good_again = [
        at
        for at, quality in zip(held.starts_at, held.quality, strict=True)
        if at > heard_at and quality.startswith("Quality Good")
    ]
    assert good_again
    assert good_again[0] - heard_at < 12
    ven = house.wait(
        "the node's claim arrives",
        lambda: next(
            (v for v in house.curtailment(event.event_id).vens if v.claimed_w is not None), None
        ),
        within_s=40,
    )
    assert ven.ven_id == VEN_ID
    assert ven.samples_received < ven.samples_expected
    assert not ven.agrees
    assert ven.delivered_w > 30_000, "the rest of the event was measured"
