"""Set-points that cannot hurt: real processes, a real inverter's timer, an EMS that lies."""

import asyncio
import signal

import pytest

from chaos.serial_line import SerialLine
from light_node.local import LocalClient
from light_node.simulated_inverter import SimulatedInverter
from tests.story.test_light_node import (
    a_building,
    begin_ems,
    collect,
    lease_obeyed,
    site_with_ems,
    step,
    until,
)


@pytest.fixture
async def building(tmp_path):
    async with a_building(tmp_path) as building:
        yield building


def write_table(inverter, more=""):
    return f"""
[guard]
lease_s = 10
refresh_s = 2
[[write]]
asset = "pv"
host = "127.0.0.1"
port = {inverter.port}
rated_w = 100000
sunspec = "limit"
failsafe_w = 70000
reversion_s = 4
{more}
"""


async def test_a_node_killed_in_a_lease_over_modbus_leaves_the_device_to_its_own_timer(building):
    async with SimulatedInverter() as inverter:
        building.configure(write_table(inverter))
        building.load = lambda: 100_000 * inverter.limit_percent / 100
        await building.start()
        async with LocalClient(building.socket) as client:
            await collect(client, 4)
            await client.put_plan(1, (step(120),))

            lease = await lease_obeyed(client)
            assert lease.applied_w == 60_000

            async def is_refreshed():
                return len(inverter.writes) >= 6

            await until(is_refreshed, "the timer set anew at half time")
            first = next(words for at, words in inverter.writes if at == inverter.model_at + 14)
            assert first == [1, 600, 700, 1, 0, 4]  # limit, fail-safe and timer in one request
            assert inverter.limit_percent == 60
            assert inverter.heartbeat >= 2
            (device,) = (await client.status()).writes
            assert (device.held_w, device.trouble) == (60_000, "")

        await building.end(signal.SIGKILL)
        told = len(inverter.writes)

        async def has_reverted():
            return inverter.has_reverted

        await until(has_reverted, "the device's own timer")
        assert inverter.limit_percent == 70  # what was named as the fail-safe
        assert len(inverter.writes) == told

        await building.start()
        async with LocalClient(building.socket) as client:

            async def is_held_again():
                return inverter.limit_percent == 60

            await until(is_held_again, "the lease told again")
            await client.put_plan(2, ())

            async def is_free():
                return inverter.limit_percent == 100

            await until(is_free, "the device let go")


@pytest.mark.parametrize(
    ("model", "device", "held", "free"),
    [
        (123, 'sunspec = "limit"', 60, 100),
        (124, 'sunspec = "storage"', 60, 100),  # a battery: a bound on what it charges with
        (124, 'sunspec = "storage"\nfollows = "change"', -40, 100),  # made to discharge
    ],
)
async def test_the_older_models_go_back_by_their_own_timer_too(building, model, device, held, free):
    async with SimulatedInverter(model=model) as inverter:
        building.configure(write_table(inverter).replace('sunspec = "limit"', device))
        await building.start()
        async with LocalClient(building.socket) as client:
            await collect(client, 4)
            await client.put_plan(1, (step(120),))
            lease = await lease_obeyed(client)
            assert lease.applied_w == held * 1000
            assert inverter.limit_percent == held

            async def is_refreshed():
                return len(inverter.writes) >= 6 and inverter.limit_percent == held

            await until(is_refreshed, "the timer set anew at half time")
            assert not inverter.has_reverted
        await building.end(signal.SIGKILL)

        async def has_reverted():
            return inverter.has_reverted

        await until(has_reverted, "the device's own timer")
        assert inverter.limit_percent == free
        await building.start()
        async with LocalClient(building.socket) as client:

            async def is_held_again():
                return inverter.limit_percent == held

            await until(is_held_again, "the lease told again")
            await client.put_plan(2, ())

            async def is_let_go():
                return inverter.limit_percent == free

            await until(is_let_go, "the device let go")
            assert (await client.status()).writes[0].trouble == ""


async def test_on_one_serial_line_a_meter_is_read_and_an_inverter_told(building):
    async with (
        SimulatedInverter() as inverter,
        SerialLine({1: building.meter.port, 7: inverter.port}) as line,
    ):
        building.configure(
            write_table(inverter).replace(
                f'host = "127.0.0.1"\nport = {inverter.port}', f'serial = "{line.port}"\nunit = 7'
            )
        )
        settings = building.folder / "site.toml"
        settings.write_text(
            settings.read_text().replace(
                f'host = "127.0.0.1"\nport = {building.meter.port}', f'serial = "{line.port}"'
            )
        )
        building.load = lambda: 100_000 * inverter.limit_percent / 100
        await building.start()
        async with LocalClient(building.socket) as client:
            await collect(client, 4)
            await client.put_plan(1, (step(120),))
            lease = await lease_obeyed(client)
            assert (lease.applied_w, inverter.limit_percent) == (60_000, 60)

            async def is_measured():
                return (await client.status()).meters[0].last_watts == 60_000

            await until(is_measured, "what was told is measured, on the same line")
            assert (await client.status()).writes[0].trouble == ""
            await client.put_plan(2, ())

            async def is_free():
                return inverter.limit_percent == 100

            await until(is_free, "the device let go")
            assert {flag for *_, flag in await collect(client, 8)} <= {"good", "late", "missed"}


async def test_flash_memory_is_spared_while_orders_change_and_a_release_is_not_held_up(building):
    async with SimulatedInverter() as inverter:
        registers = f"""
limit = {{ address = {inverter.model_at + 15}, scale = 100 }}
volatile = false
min_write_interval_s = 3600"""
        building.configure(write_table(inverter).replace('sunspec = "limit"', registers))

        def told():
            return [words for _, words in inverter.writes]

        await building.start()
        async with LocalClient(building.socket) as client:
            await collect(client, 4)
            await client.put_plan(1, (step(120),))
            first = await lease_obeyed(client)
            await lease_obeyed(client, after=first.seq)  # renewed, and not written again
            assert told() == [[600]]
            await client.put_plan(2, (step(120, watts=-20_000.0),))

            async def is_refused():
                (device,) = (await client.status()).writes
                return device.refused == 1 and "wears out its memory" in device.trouble

            await until(is_refused, "the second limit put off")
            assert told() == [[600]]
            await client.put_plan(3, ())

            async def is_free():
                return told() == [[600], [1000]]

            await until(is_free, "the device let go all the same")


async def test_a_device_that_takes_writes_and_does_nothing_is_found_out(building):
    async with SimulatedInverter() as inverter:
        inverter.deaf = True
        building.configure(write_table(inverter))
        await building.start()
        async with LocalClient(building.socket) as client:
            await collect(client, 4)
            await client.put_plan(1, (step(120),))

            async def is_found_out():
                return any("reads back" in said for said in (await client.status()).troubles)

            await until(is_found_out, "the trouble")
            assert (await client.status()).lease.acknowledged == "REJECTED"


async def test_read_only_writes_to_no_device_whatever_is_ordered(building):
    async with SimulatedInverter() as inverter:
        building.configure(write_table(inverter).replace("[guard]", "[guard]\nread_only = true"))
        await building.start()
        async with LocalClient(building.socket) as client:
            await client.put_plan(1, (step(120),))
            await collect(client, 8)
            status = await client.status()

        assert status.read_only
        assert status.lease is None
        assert inverter.writes == []


async def test_an_ems_that_acknowledges_and_moves_nothing_is_found_out(building):
    async with site_with_ems(building) as (_, plant, client):
        building.load = lambda: 100_000.0  # whatever the EMS says
        await collect(client, 8)
        await client.put_plan(1, (step(120, ramp=200_000.0),))
        await lease_obeyed(client)

        async def is_found_out():
            status = await client.status()
            return status.effect is not None and status.effect.verdict == "not reached"

        await until(is_found_out, "the meter's verdict")
        assert any("60.0 kW were" in said for said in (await client.status()).troubles)
        assert (await client.curtailment("event-1")).effect == "not reached"
        assert "not reached" in (await building.ask("status")).stdout
        assert plant.state.reduction_w == 40_000  # so the EMS believes

        building.load = lambda: plant.state.load_w

        async def is_believed():
            return (await client.status()).effect.verdict == "reached"

        await until(is_believed, "the load has moved after all")
        assert (await client.curtailment("event-1")).effect == "reached"


async def test_an_ems_that_goes_means_failsafe_until_one_is_back_and_obeys(building):
    async with site_with_ems(building, guard="ems_silence_s = 5") as (broker, plant, client):
        await collect(client, 4)
        await client.put_plan(1, (step(120, ramp=200_000.0),))
        await lease_obeyed(client)
        building.ems.cancel()

        async def is_failsafe():
            return (await client.status()).guard == "failsafe"

        async def is_limited():
            return (await client.status()).guard == "limited"

        await until(is_failsafe, "failsafe")
        building.ems = begin_ems(broker, plant)
        await until(is_limited, "the EMS that obeys again")


async def test_without_the_utility_s_heartbeat_the_failsafe_cap_holds_and_a_statement_ends_it(
    building,
):
    async with site_with_ems(
        building,
        guard="""
[grid_cap]
market_contexts = ["http://grid"]
failsafe_max_w = 42000
heartbeat_s = 5
""",
    ) as (_, plant, client):
        await collect(client, 4)

        async def is_capped():
            return plant.state.load_w == 42_000

        await until(is_capped, "the failsafe cap of the start")
        await client.vtn_heard()
        await client.put_plan(1, ())

        async def is_free():
            return plant.state.load_w == 100_000

        await until(is_free, "the statement that there is no cap")
        await until(is_capped, "the failsafe cap of the silence")
        assert (await client.status()).grid_cap == "failsafe"
        await client.set_override(active=True, reason="visitors")
        await asyncio.sleep(0.5)
        assert plant.state.load_w == 42_000
