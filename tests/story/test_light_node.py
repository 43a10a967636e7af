"""The light node as a process: a real meter's registers, a real broker, a real EMS, a real kill."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from chaos.brokers import start_mosquitto
from demo.ports import free_port
from ems_bridge import BrokerSettings, Topics
from ems_bridge.reference_app import ReferenceApp
from ems_bridge.reference_ems import PlantState, ReferenceEms
from light_node.errors import NodeRefused, NodeUnreachable, RingFault
from light_node.local import Delta, LocalClient, Step
from light_node.profile import load_profile
from light_node.ring import Ring
from light_node.simulator import SimulatedMeter

WAIT_S = 60.0
INTERVAL_S = 0.25
PROGRAM = [sys.executable, "-c", "from light_node.cli import main; main()"]


def now():
    return datetime.now(UTC)


class Building:
    """A meter in the test's own loop, whose load the test sets, and the node's folder."""

    def __init__(self, folder):
        self.folder = folder
        self.watts = 100_000.0
        self.meter = SimulatedMeter(
            load_profile("sdm630"),
            lambda: {"active_power": self.load(), "energy_import": 5_000_000.0},
            port=free_port(),
        )
        self.load = lambda: self.watts
        self.node = None
        self.ems = None

    @property
    def socket(self):
        return self.folder / "light-node.sock"

    def configure(self, more="", interval_s=INTERVAL_S, commit_s=1):
        (self.folder / "site.toml").write_text(
            f"""
[site]
id = "hq"
[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
port = {self.meter.port}
[ring]
path = "ring.db"
commit_s = {commit_s}
[sampling]
interval_s = {interval_s}
{more}
"""
        )

    def command(self, *words):
        return subprocess.run(
            [*PROGRAM, *words, "--config", str(self.folder / "site.toml")],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    async def ask(self, *words):
        """Run a command line without holding up the meter in this loop."""
        return await asyncio.to_thread(self.command, *words)

    def begin(self):
        command = [*PROGRAM, "run", "--config", str(self.folder / "site.toml")]
        with (self.folder / "node.log").open("ab") as log:
            self.node = subprocess.Popen(command, stdout=log, stderr=log)

    async def start(self):
        self.begin()
        deadline = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(NodeUnreachable):
                async with LocalClient(self.socket):
                    return
            assert self.node.poll() is None, (self.folder / "node.log").read_text()
            assert time.monotonic() < deadline, "the node does not open its socket"
            await asyncio.sleep(0.02)

    async def end(self, number):
        self.node.send_signal(number)
        return await asyncio.to_thread(self.node.wait, WAIT_S)


@contextlib.asynccontextmanager
async def a_building(folder):
    """A building with its settings; the node is begun by the test and ended here."""
    building = Building(folder)
    async with building.meter:
        building.configure()
        yield building
        if building.node is not None and building.node.poll() is None:
            building.node.kill()
            building.node.wait()


@pytest.fixture
async def building(tmp_path):
    async with a_building(tmp_path) as building:
        yield building


async def collect(client, count, *, after=0):
    """Readings from `after` on, until there are so many rows."""
    rows = []
    deadline = time.monotonic() + WAIT_S
    while len(rows) < count:
        assert time.monotonic() < deadline, f"only {len(rows)} of {count} rows came"
        page = await client.readings(after=rows[-1][0] if rows else after, wait_s=5)
        rows += zip(page.ids, page.starts_at, page.watts, page.quality, strict=True)
    return rows


async def collect_good(client, count, *, after=0):
    """Readings from `after` on, until so many of them are good.

    On a machine that is held up some are late or miss their tick, and say so.
    """
    rows = []
    while sum(quality == "good" for *_, quality in rows) < count:
        rows += await collect(client, 1, after=rows[-1][0] if rows else after)
    return rows


def flags_of(rows):
    return {flag for *_, quality in rows for flag in quality.split("+")}


async def until(condition, what):
    deadline = time.monotonic() + WAIT_S
    while not await condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        await asyncio.sleep(0.05)


def step(seconds, *, watts=-40_000.0, event="event-1", ramp=None):
    begin = now()
    return Step(
        event_id=event,
        modification_number=0,
        priority=1,
        starts_at=begin,
        ends_at=begin + timedelta(seconds=seconds),
        target=Delta(watts=watts),
        ramp_w_per_s=ramp,
        signal_name="LOAD_DISPATCH",
        signal_type="delta",
        value=watts,
    )


async def test_readings_lie_on_the_grid_and_are_taken_in_time(building):
    await building.start()
    async with LocalClient(building.socket) as client:
        rows = await collect_good(client, 20)
    assert await building.end(signal.SIGTERM) == 0

    ticks = [at / INTERVAL_S for _, at, _, _ in rows]
    assert ticks == list(range(int(ticks[0]), int(ticks[0]) + len(ticks)))
    assert {watts for _, _, watts, _ in rows} - {None} == {100_000.0}
    assert flags_of(rows) <= {"good", "late", "missed", "comm"}
    assert len(rows) < 30  # the machine is held up now and then, not at each of them
    with contextlib.closing(sqlite3.connect(building.folder / "ring.db")) as db:
        late_ms = sorted(row[0] for row in db.execute("SELECT start_error_us / 1000 FROM reading"))
    # An idle machine stays below 5 ms; this bound only tells a grid from a drift.
    assert late_ms[len(late_ms) // 2] < 50


async def test_a_silent_meter_leaves_gaps_that_say_so_and_is_back_by_itself(building):
    await building.start()
    async with LocalClient(building.socket) as client:
        before = await collect(client, 4)

        building.meter.silent = True
        gaps = await collect(client, 8, after=before[-1][0])
        status = await client.status()
        assert not status.meters[0].online
        assert status.meters[0].last_watts == 100_000.0

        building.meter.silent = False
        rows = await collect_good(client, 4, after=gaps[-1][0])

    everything = [*before, *gaps, *rows]
    ticks = [round(at / INTERVAL_S) for _, at, _, _ in everything]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    silent = [row for row in everything if row[2] is None]
    assert len([row for row in gaps if row in silent]) >= 6
    assert all(flags_of([row]) & {"comm", "missed"} for row in silent)
    assert {watts for _, _, watts, _ in everything} == {None, 100_000.0}
    assert flags_of(everything) <= {"good", "comm", "late", "missed"}


async def test_a_meter_that_loses_its_power_is_back_when_it_has_it_again(building):
    await building.start()
    async with LocalClient(building.socket) as client:
        await collect(client, 2)
        await building.meter.stop()

        async def is_online(*, wanted):
            return (await client.status()).meters[0].online == wanted

        await until(lambda: is_online(wanted=False), "the meter shown as silent")
        await building.meter.start()
        await until(lambda: is_online(wanted=True), "the meter shown as back")


async def test_what_was_handed_out_survives_a_kill_and_numbers_go_on(building):
    await building.start()
    plan = step(600)
    async with LocalClient(building.socket) as client:
        await client.put_plan(5, (plan,))  # near an event each reading is on the disk at once
        handed_out = await collect(client, 12)
        boot = (await client.status()).boot
    await building.end(signal.SIGKILL)

    await building.start()
    async with LocalClient(building.socket) as client:
        rows = await collect(client, len(handed_out) + 8)
        status = await client.status()

    assert rows[: len(handed_out)] == handed_out
    ids = [row[0] for row in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert status.boot != boot
    assert (status.plan_version, status.plan_steps) == (5, 1)
    assert await building.end(signal.SIGTERM) == 0
    assert not building.socket.exists()


async def test_a_clean_end_puts_the_last_readings_on_the_disk(building):
    building.configure(commit_s=600)
    await building.start()
    async with LocalClient(building.socket) as client:

        async def has_read():
            return (await client.status()).meters[0].last_watts is not None

        await until(has_read, "a reading")
        assert (await client.readings()).ids == []

    await building.end(signal.SIGINT)

    with contextlib.closing(sqlite3.connect(building.folder / "ring.db")) as db:
        assert db.execute("SELECT count(*) FROM reading").fetchone()[0] > 0


def history(path, *, days=30, watts=100_000):
    """Earlier days of the building, quarter by quarter, up to an hour ago."""
    end = int(now().timestamp()) // 900 * 900 - 3600
    with path.open("w") as file:
        file.write("starts_at,watts\n")
        for at in range(end - days * 86_400, end, 900):
            file.write(f"{datetime.fromtimestamp(at, UTC).isoformat()},{watts}\n")
    return path


class Plant:
    """A building of 100 kW that does what it is told at once."""

    def __init__(self):
        self.state = PlantState(load_w=100_000.0, natural_w=100_000.0, reduction_w=0.0)

    async def read(self):
        return self.state

    async def reduce(self, reduction_w):
        self.state = PlantState(
            load_w=100_000.0 - reduction_w, natural_w=100_000.0, reduction_w=reduction_w
        )
        return self.state

    async def close(self):
        """Nothing is open."""


def begin_ems(broker, plant):
    """An EMS that obeys, as a task."""
    ems = ReferenceApp(
        BrokerSettings(host="127.0.0.1", port=broker.port),
        Topics("hq", "node-1"),
        "bms",
        core=ReferenceEms(rated_w=100_000, ramp_w_per_s=200_000),
        plant=plant,
        now=now,
        monotonic=time.monotonic,
        step_s=0.05,
    )
    return asyncio.create_task(ems.run())


@contextlib.asynccontextmanager
async def site_with_ems(building, *, guard="", interval_s=INTERVAL_S):
    """A broker, an EMS that obeys, and the node: yields (broker, plant, client)."""
    broker = start_mosquitto(building.folder)
    building.configure(
        f"""
[mqtt]
host = "127.0.0.1"
port = {broker.port}
ems = "bms"
[guard]
refresh_s = 2
{guard}
""",
        interval_s=interval_s,
    )
    plant = Plant()
    building.load = lambda: plant.state.load_w
    building.ems = begin_ems(broker, plant)
    try:
        await building.start()
        async with LocalClient(building.socket) as client:
            yield broker, plant, client
    finally:
        building.ems.cancel()
        await asyncio.gather(building.ems, return_exceptions=True)
        broker.kill()


async def lease_obeyed(client, *, after=0):
    """The lease in force once the EMS has begun to follow one made after `after`."""
    deadline = time.monotonic() + WAIT_S
    while True:
        lease = (await client.status()).lease
        if (
            lease is not None
            and lease.seq > after
            and lease.acknowledged in {"STARTED", "SUCCEEDED"}
        ):
            return lease
        assert time.monotonic() < deadline, f"the EMS does not follow: {lease}"
        await asyncio.sleep(0.05)


async def test_an_event_reaches_the_ems_and_its_curtailment_is_verified(building, tmp_path):
    taken = await building.ask("history", "import", str(history(tmp_path / "earlier.csv")))
    assert taken.returncode == 0, taken.stderr
    guard = "max_reduction_w = 30000"
    async with site_with_ems(building, guard=guard, interval_s=1.0) as (_, plant, client):
        await collect(client, 2)

        # The installer's limit lets 30 of the 40 kW through.
        order = step(12, ramp=200_000.0)
        await client.put_plan(1, (order,))

        lease = await lease_obeyed(client)
        assert (lease.delta_w, lease.event_id) == (-30_000.0, "event-1")

        async def is_reduced():
            return plant.state.reduction_w == 30_000

        await until(is_reduced, "the load reduced")
        reduced_at = now()

        async def is_over():
            return (await client.curtailment("event-1")).final

        await until(is_over, "the end of the event")
        result = await client.curtailment("event-1")

        async def is_let_go():
            return (await client.status()).lease is None

        await until(is_let_go, "the end of the lease")

    assert result.baseline_method.startswith("high 5 of 10")
    assert result.ordered_w == 40_000
    # Of 12 readings one may be lost to the way down, and one to the way up.
    least_w = 30_000 * ((order.ends_at - reduced_at).total_seconds() - 2) / 12
    assert least_w < result.delivered_w <= 30_100
    assert result.fraction == pytest.approx(result.delivered_w / 40_000)
    assert result.samples_expected == pytest.approx(12, abs=1)
    assert result.samples_received == result.samples_expected
    assert result.setpoint_acknowledged
    assert {watts for _, watts in result.baseline} == {100_000.0}


async def test_a_broker_killed_in_the_middle_of_an_event_is_told_again(building):
    async with site_with_ems(building) as (broker, plant, client):
        await collect(client, 4)
        await client.put_plan(1, (step(120, ramp=200_000.0),))
        before = await lease_obeyed(client)

        await asyncio.to_thread(broker.restart)

        after = await lease_obeyed(client, after=before.seq)
        assert after.delta_w == -40_000.0
        assert (await client.status()).ems.broker_connected

        await client.put_plan(2, ())

        async def is_free():
            return plant.state.reduction_w == 0 and (await client.status()).lease is None

        await until(is_free, "the load let go after the cancellation")


async def test_a_node_killed_in_the_middle_of_an_event_goes_on_where_it_was(building):
    async with site_with_ems(building) as (_, plant, client):
        await collect(client, 4)
        await client.put_plan(1, (step(120, ramp=200_000.0),))
        before = await lease_obeyed(client)

        await building.end(signal.SIGKILL)
        await building.start()

        # Nobody has put the plan again: the node holds it by itself.
        async with LocalClient(building.socket) as again:
            after = await lease_obeyed(again, after=before.seq)
            assert (after.event_id, after.delta_w) == (before.event_id, before.delta_w)
            assert (await again.curtailment("event-1")).setpoint_acknowledged

        async def is_reduced():
            return plant.state.reduction_w == 40_000

        await until(is_reduced, "the load reduced as before")


async def test_an_override_in_the_building_releases_the_load(building):
    async with site_with_ems(building) as (_, plant, client):
        await collect(client, 4)
        await client.put_plan(1, (step(120, ramp=200_000.0),))
        await lease_obeyed(client)

        await client.set_override(active=True, reason="visitors")

        async def is_free():
            return plant.state.reduction_w == 0

        await until(is_free, "the load let go")
        assert (await client.status()).lease is None
        await client.set_override(active=False)
        await lease_obeyed(client)


async def test_an_override_on_the_spot_is_told_to_who_watches(building):
    await building.start()
    async with LocalClient(building.socket) as client:
        watch = client.watch()
        assert not (await anext(watch)).override.active

        done = await building.ask("override", "on", "--reason", "boiler service", "--for", "2h")
        assert done.returncode == 0, done.stderr

        async for status in watch:
            if status.override.active:
                break
        assert (status.override.reason, status.override.source) == ("boiler service", "local")
        assert status.override.until > now() + timedelta(minutes=119)

        assert (await building.ask("override", "off")).returncode == 0
        async for status in watch:
            if not status.override.active:
                break


async def test_what_makes_no_sense_is_refused_and_changes_nothing(building):
    await building.start()
    async with LocalClient(building.socket) as client:
        await client.put_plan(1, (step(600),))
        wrong = step(600)
        with pytest.raises(NodeRefused, match="two steps overlap"):
            await client.put_plan(2, (wrong, wrong))
        with pytest.raises(NodeRefused, match="nothing was ever ordered for event 'x'"):
            await client.curtailment("x")
        with pytest.raises(NodeRefused, match="there is no meter 'x'; known are main"):
            await client.readings(meter="x")
        assert (await client.status()).plan_version == 1


async def test_history_does_not_replace_what_was_measured(building, tmp_path):
    await building.start()
    async with LocalClient(building.socket) as client:
        await collect(client, 4)
    await building.end(signal.SIGTERM)
    quarter = int(now().timestamp()) // 900 * 900
    with contextlib.closing(sqlite3.connect(building.folder / "ring.db")) as db:
        db.execute("UPDATE quarter SET starts_at = starts_at - 7200")  # as if two hours had passed
        db.commit()
        (measured,) = db.execute("SELECT max(starts_at) FROM quarter").fetchone()
    assert measured < quarter
    earlier = history(tmp_path / "earlier.csv", days=1)

    refused = await building.ask("history", "import", str(earlier))

    assert refused.returncode == 1
    assert "overlaps what this node has measured" in refused.stderr


async def test_history_comes_in_while_the_node_runs_and_alone_it_has_the_ring(building, tmp_path):
    building.configure("[guard]\nread_only = true")
    await building.start()
    earlier = history(tmp_path / "earlier.csv", days=12)

    taken = await building.ask("history", "import", str(earlier))

    assert "1152 quarters of an hour (12.0 days) are in." in taken.stdout, taken.stderr
    with pytest.raises(RingFault, match="another program has it open"):
        await asyncio.to_thread(
            Ring, building.folder / "ring.db", boot="another", interval_s=INTERVAL_S
        )
    late = tmp_path / "late.csv"
    late.write_text("starts_at,watts\n2099-01-01T00:00:00Z,1\n2099-01-01T00:15:00Z,1\n")
    refused = await building.ask("history", "import", str(late))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "reaches into the future" in refused.stderr


async def test_check_and_read_and_status_say_what_an_installer_wants_to_know(building):
    checked = await building.ask("check")
    assert checked.returncode == 0, checked.stderr
    assert "meter main: 100.0 kW, 27 points" in checked.stdout

    read = await building.ask("read", "--json")
    assert json.loads(read.stdout)[0]["values"]["active_power"] == 100_000.0

    alone = await building.ask("status")
    assert alone.returncode == 1
    assert alone.stderr.count("\n") == 1
    assert "light-node run" in alone.stderr

    await building.start()
    status = json.loads((await building.ask("status", "--json")).stdout)
    assert status["meters"][0]["id"] == "main"
    assert "guard" in (await building.ask("status")).stdout


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "commit_s",
            "comit_s",
            "there is no setting 'comit_s' in [ring]; did you mean 'commit_s'?",
        ),
        ('"sdm630"', '"sdm631"', "there is no meter profile 'sdm631'"),
        ('"127.0.0.1"', '"127.0.0.1"\nserial = "/dev/ttyUSB0"', "either host"),
    ],
)
async def test_a_wrong_setting_gets_one_sentence(building, old, new, sentence):
    path = building.folder / "site.toml"
    path.write_text(path.read_text().replace(old, new))

    for words in (("check",), ("run",)):
        refused = await building.ask(*words)

        assert refused.returncode == 1
        assert sentence in refused.stderr
        assert refused.stderr.count("\n") == 1


async def test_a_meter_that_is_not_there_fails_the_check_with_its_name(building):
    await building.meter.stop()

    refused = await building.ask("check")

    assert refused.returncode == 1
    assert "[[meter]] 'main'" in refused.stderr
    assert "no connection" in refused.stderr
    await building.meter.start()


async def test_a_second_node_on_one_folder_is_refused(building):
    await building.start()
    refused = await building.ask("run")

    assert refused.returncode == 1
    assert "another light node is running there" in refused.stderr
    assert await building.end(signal.SIGTERM) == 0
    with contextlib.closing(sqlite3.connect(building.folder / "ring.db")) as db:
        assert db.execute("SELECT count(*) FROM boot").fetchone() == (1,)
