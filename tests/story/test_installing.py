"""What an installer does at the meter: scan, look, check, run; and meters that misbehave."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import tomllib

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from chaos.brokers import start_mosquitto
from chaos.serial_meter import SerialMeter
from ems_bridge import BrokerSettings, Topics
from ems_bridge.reference_app import ReferenceApp
from ems_bridge.reference_ems import ReferenceEms
from light_node.errors import MeterSilent
from light_node.local import LocalClient
from light_node.modbus import Bus
from light_node.profile import known_profiles, load_profile
from light_node.scanning import scan_network, scan_serial
from light_node.settings import load
from light_node.simulator import SimulatedMeter
from light_node.sunspec import SunSpecMeter
from tests.story.test_light_node import Building, Plant, collect, now, until

MAPS = [name for name in known_profiles() if not name.startswith("sunspec")]
MODELS = [[201], [202], [203], [204], [211], [212], [213], [214], [101], [102], [103], [111]]
MODELS += [[112], [113], [701], [103, 124], [701, 713], [802]]
LOAD_W = 12_340.0


def nothing_told(*_):
    """A scan in a test has no bar."""


async def found(finds):
    return [each async for each in finds]


async def at(meter, *units):
    return await found(scan_network("127.0.0.1", port=meter.port, units=units, tell=nothing_told))


async def light_node(*words, cwd, wait_s=60):
    """Run a command line without holding up the meters in this loop."""
    program = [sys.executable, "-c", "from light_node.cli import main; main()", *map(str, words)]

    def run():
        return subprocess.run(
            program, cwd=cwd, capture_output=True, text=True, timeout=wait_s, check=False
        )

    return await asyncio.to_thread(run)


@pytest.mark.parametrize("strict", [False, True])
async def test_each_of_the_ten_meters_is_known_by_what_it_says(strict):
    explained = {}
    for name in MAPS:
        meter = SimulatedMeter(
            load_profile(name), lambda: {"active_power": LOAD_W}, unit=1, strict=strict
        )
        async with meter:
            explained[name] = [(each.profile, round(each.watts)) for each in await at(meter, 1)]

    assert explained == {name: [(name, LOAD_W)] for name in MAPS}


@pytest.mark.parametrize("name", ["sdm630", "em24", "b23"])
async def test_a_meter_on_a_serial_line_is_found_at_its_speed_and_unit(name):
    async with SerialMeter(load_profile(name), lambda: LOAD_W, units=[3]) as meter:
        (only,) = await found(
            scan_serial(
                meter.port, lines=[(19200, "E", 1), (9600, "N", 1)], units=[2, 3], tell=nothing_told
            )
        )

    assert (only.profile, only.place.unit, round(only.watts)) == (name, 3, LOAD_W)
    # A pseudo-terminal refuses parity, as some adapters do: nobody answers there.
    assert (only.place.baud, only.place.parity) == (9600, "N")


async def test_sunspec_devices_say_to_us_what_they_say_to_the_alliances_own_client():
    def their_watts(port, model_id):
        device = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port)
        device.scan()
        model = device.models[model_id][0]
        model.read()
        device.close()
        return model.W.cvalue

    for models in MODELS:
        device = SimulatedMeter.sunspec(
            models, lambda: {"active_power": LOAD_W, "state_of_charge": 55.0}, unit=1
        )
        async with device:
            bus = Bus.tcp("127.0.0.1", device.port)
            ours = await SunSpecMeter(bus, unit=1, profile=load_profile("sunspec")).read(
                slow=True, budget_s=3
            )
            bus.close()
            theirs = await asyncio.to_thread(their_watts, device.port, models[0])
        generates = models[0] < 200 or models[0] in {701, 802}
        assert ours["active_power"] == pytest.approx(-theirs if generates else theirs)
        assert ours["active_power"] == pytest.approx(LOAD_W)
        if models[-1] in {124, 713, 802}:
            assert ours["state_of_charge"] == pytest.approx(55.0)


async def test_a_sunspec_device_may_begin_its_chain_elsewhere_and_have_a_model_of_153_registers():
    async with SimulatedMeter.sunspec(
        [701], lambda: {"active_power": LOAD_W}, unit=1, beginning=50_000
    ) as device:
        (only,) = await at(device, 1)

    assert (only.profile, only.sure, round(only.watts)) == ("sunspec", True, LOAD_W)


async def test_from_nothing_to_readings_without_a_question(tmp_path):
    energy = {"energy_import": 5_000_000.0}
    async with SimulatedMeter(
        load_profile("sdm630"), lambda: {"active_power": 84_200.0, **energy}
    ) as meter:
        there = f"127.0.0.1:{meter.port}"
        scanned = await light_node("scan", "--tcp", there, "--write", "site.toml", cwd=tmp_path)
        assert scanned.returncode == 0, scanned.stderr
        assert "unit 1: sdm630" in scanned.stdout
        assert "84.20 kW" in scanned.stdout
        assert scanned.stdout.count("sdm630") == 1, "one device, though it answers to each unit"

        written = (tmp_path / "site.toml").read_text()
        assert load(tmp_path / "site.toml").site_meter.port == meter.port
        again = await light_node("scan", "--tcp", there, "--write", "site.toml", cwd=tmp_path)
        assert again.returncode == 1
        assert "is there already and is left as it is" in again.stderr
        assert (tmp_path / "site.toml").read_text() == written

        checked = await light_node("check", "--seconds", "0.4", cwd=tmp_path)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "meter main: 84.2 kW, 27 points" in checked.stdout

        tried = await light_node("map", "check", "sdm630", "--tcp", there, cwd=tmp_path)
        assert tried.returncode == 0, tried.stderr
        assert "27 points in 1 requests" in tried.stdout
        assert "active_power: 84,200.000 W" in tried.stdout
        other = await light_node("map", "check", "b23", "--tcp", there, cwd=tmp_path)
        assert other.returncode == 1
        assert "this is another meter than the profile says" in other.stderr.splitlines()[-1]


async def test_what_the_scan_writes_uncommented_is_still_a_site_file(tmp_path):
    async with SimulatedMeter.sunspec([103, 203], lambda: {"active_power": 1.0}) as meter:
        there = f"127.0.0.1:{meter.port}"
        await light_node(
            "scan", "--tcp", there, "--units", "1", "--write", "s.toml", "--site", "a", cwd=tmp_path
        )
    path = tmp_path / "s.toml"
    lines = path.read_text().splitlines()
    code = [line.removeprefix("# ") for line in lines if line.startswith("# ") and " = " in line]
    assert len(code) > 10
    tables = [line.removeprefix("# ") if line.startswith("# [mqtt]") else line for line in lines]
    opened = [
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in tables
    ]
    path.write_text("\n".join(opened))

    settings = load(path)

    assert tomllib.loads(path.read_text())["meter"][0]["profile"] == "sunspec"
    assert settings.guard.max_reduction_w == 60_000
    assert settings.mqtt.ems == "bms"


async def test_check_says_in_words_what_is_wired_wrongly(tmp_path):
    said = {
        "active_power": 10_000.0,
        "active_power_l1": 10_000.0,
        "active_power_l2": -10_000.0,
        "active_power_l3": 10_000.0,
        **{f"current_l{n}": 44.0 for n in (1, 2, 3)},
    }
    async with SimulatedMeter(load_profile("sdm630"), lambda: said) as meter:
        building = Building(tmp_path)
        building.meter = meter
        building.configure()
        checked = await light_node("check", "--seconds", "0", "--json", cwd=tmp_path)

    findings = json.loads(checked.stdout)
    assert checked.returncode == 0, "to be looked at is not wrong"
    (said,) = [finding["said"] for finding in findings if finding["weight"] == "look"]
    assert said.startswith("L2 counts the other way than the others (-10.00 kW): its clamp is on")


@contextlib.asynccontextmanager
async def broker_and_ems(folder, *, ems="bms"):
    broker = start_mosquitto(folder)
    app = ReferenceApp(
        BrokerSettings(host="127.0.0.1", port=broker.port),
        Topics("hq", "node-1"),
        ems,
        core=ReferenceEms(rated_w=100_000, ramp_w_per_s=200_000),
        plant=Plant(),
        now=now,
        monotonic=asyncio.get_running_loop().time,
        step_s=0.05,
        heartbeat_s=0.5,
    )
    task = asyncio.create_task(app.run())
    try:
        yield broker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        broker.kill()


async def test_check_proves_that_an_ems_answers_at_the_broker(tmp_path):
    building = Building(tmp_path)
    async with building.meter, broker_and_ems(tmp_path) as broker:
        mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nems = "bms"\n'
        building.configure(mqtt)
        checked = await light_node("check", "--seconds", "0", cwd=tmp_path)
        building.configure(mqtt.replace(str(broker.port), "1"))
        without = await light_node("check", "--seconds", "0", cwd=tmp_path)

    assert checked.returncode == 0, checked.stdout
    assert "EMS: 'bms' is there" in checked.stdout
    assert without.returncode == 1
    assert "cannot be reached" in without.stderr


@contextlib.asynccontextmanager
async def running(building):
    try:
        await building.start()
        async with LocalClient(building.socket) as client:
            yield client
    finally:
        if building.node is not None and building.node.poll() is None:
            building.node.kill()
            building.node.wait()


async def test_a_building_that_feeds_in_with_an_inverter_as_second_meter(tmp_path):
    building = Building(tmp_path)
    building.watts = -7_500.0
    async with (
        building.meter,
        SimulatedMeter.sunspec([103], lambda: {"active_power": -20_000.0}) as inverter,
    ):
        building.configure(
            f"""
[[meter]]
id = "pv"
profile = "sunspec-inverter"
host = "127.0.0.1"
port = {inverter.port}
role = "sub"
"""
        )
        async with running(building) as client:
            rows = await collect(client, 4)
            page = await client.readings(meter="pv", wait_s=5)
            status = await building.ask("status")

    # A machine that is held up may be late or miss a tick; it never makes one up.
    assert {watts for _, _, watts, _ in rows} - {None} == {-7_500.0}
    assert set(page.watts) - {None} == {-20_000.0}
    flags = {
        flag for text in (*page.quality, *(row[3] for row in rows)) for flag in text.split("+")
    }
    assert flags <= {"good", "late", "missed"}
    assert (status.returncode, status.stdout.split("\n")[0]) == (0, "All is well.")
    assert "The building feeds in 7.5 kW; no set-point is held." in status.stdout


async def test_a_dead_neighbour_on_a_serial_line_does_not_delay_the_sites_meter(tmp_path):
    building = Building(tmp_path)
    async with (
        building.meter,
        SerialMeter(load_profile("sdm630"), lambda: LOAD_W, units=[1]) as line,
    ):
        building.configure(interval_s=2)
        path = tmp_path / "site.toml"
        text = path.read_text()
        tcp = text[text.index("host =") : text.index("[ring]")]
        site = text.replace(tcp, f'serial = "{line.port}"\n')
        dead = f'[[meter]]\nid = "dead"\nprofile = "em24"\nserial = "{line.port}"\nunit = 2\n'
        path.write_text(site + dead + 'role = "sub"\n')
        async with running(building) as client:
            rows = await collect(client, 4)
            dead_rows = await client.readings(meter="dead", wait_s=5)
            troubles = (await client.status()).troubles

    assert {(watts, quality) for _, _, watts, quality in rows} == {(LOAD_W, "good")}
    starts = [starts_at for _, starts_at, _, _ in rows]
    assert [b - a for a, b in itertools.pairwise(starts)] == [2.0] * (len(rows) - 1)
    assert set(dead_rows.quality) == {"comm"}, "each of its gaps is a row"
    assert any(said.startswith("Meter dead ") for said in troubles)


async def test_a_slow_a_lying_and_a_frozen_meter_are_each_called_by_name(tmp_path):
    building = Building(tmp_path)
    async with building.meter:
        building.configure("", interval_s=0.5)
        text = (tmp_path / "site.toml").read_text()
        (tmp_path / "site.toml").write_text(text.replace("[ring]", "frozen_s = 1\n[ring]", 1))
        async with running(building) as client:

            async def quality():
                return (await client.status()).meters[0].quality

            async def becomes(wanted):
                async def is_there():
                    return await quality() == wanted

                await until(is_there, wanted)

            await becomes("good")
            building.meter.delay_s = 2.0
            await becomes("comm")
            building.meter.delay_s = 0.0
            await becomes("good")
            building.meter._values = lambda: {"active_power": 5e4, "active_power_l1": 9e4}
            await becomes("implausible")
            (said,) = (await client.status()).troubles
            assert "says what cannot be" in said
            building.meter._values = lambda: {"active_power": building.watts}
            await becomes("good")
            building.meter.frozen = True
            await becomes("stale")
            building.meter.frozen = False
            await becomes("good")


async def test_a_hung_device_costs_one_timeout_not_twelve_seconds():
    async with SimulatedMeter(load_profile("sdm630"), dict) as meter:
        meter.silent = True
        bus = Bus.tcp("127.0.0.1", meter.port)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(MeterSilent):
            await bus.read(1, 4, 0, 2, until=begun + 3.2)
        bus.close()

    assert loop.time() - begun < 3.2
