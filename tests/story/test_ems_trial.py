"""`ems-bridge check` on real EMSs: the reference passes, and each fault is found where it is."""

import asyncio
import contextlib
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from chaos.brokers import start_mosquitto
from demo.ports import free_port
from ems_bridge.broker import BrokerSettings
from ems_bridge.link import Outgoing
from ems_bridge.plant import SimulatedPlant
from ems_bridge.reference_app import ReferenceApp
from ems_bridge.reference_ems import PlantState, ReferenceEms, Step
from ems_bridge.settings import Settings
from ems_bridge.topics import Topics
from ems_bridge.trial.play import Report, Result, Trial, play, write
from ems_bridge.trial.scenarios import SCENARIOS

RATED_W = 100_000.0


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def broker(tmp_path):
    running = start_mosquitto(tmp_path)
    yield running
    running.kill()


class Believer(ReferenceEms):
    """Takes any seq for new."""

    def receive(self, order, *, now, monotonic_s):
        if self.setpoint is None or order.id != self.setpoint.id:
            self._seq = -1
        return super().receive(order, now=now, monotonic_s=monotonic_s)


class Holder(ReferenceEms):
    """Never lets go by itself."""

    def _expire(self, now, monotonic_s):
        return ()


class Hurried(ReferenceEms):
    """Begins at once, without a ramp."""

    def step(self, plant, *, now, monotonic_s) -> Step:
        held = self.setpoint
        early = held is not None and not held.release and now < held.not_before
        self._ramp = RATED_W * 100
        return super().step(plant, now=held.not_before if early else now, monotonic_s=monotonic_s)


class Believes3W(ReferenceEms):
    """Says that it holds what it was asked for, and holds nothing."""

    def step(self, plant: PlantState | None, *, now, monotonic_s) -> Step:
        step = super().step(plant, now=now, monotonic_s=monotonic_s)
        return Step(reduction_w=None, answers=step.answers)


class Lively(ReferenceEms):
    """Keeps its promises; its program does not beat, and leaves its answers on the topic."""


class Mute(ReferenceApp):
    async def _beat(self):
        await asyncio.Event().wait()

    async def _speak(self):
        publish = self._link.publish

        async def retained(letter: Outgoing) -> None:
            await publish(Outgoing(topic=letter.topic, payload=letter.payload, qos=1, retain=True))

        self._link.publish = retained
        await super()._speak()


def app_of(site: str, broker, port: int, *, core: ReferenceEms, plant, kind):
    return kind(
        BrokerSettings(host=broker.host, port=port),
        Topics(site, "trial"),
        "bms",
        core=core,
        plant=plant,
        now=now,
        monotonic=time.monotonic,
        heartbeat_s=0.5,
        step_s=0.1,
    )


async def tried(
    site: str, broker, core: type[ReferenceEms], *only: str, kind=ReferenceApp
) -> dict[str, Result]:
    """How this EMS does in these scenarios, under a site of its own."""
    plant = SimulatedPlant(rated_w=RATED_W, monotonic=lambda: 0.0)
    through = free_port()
    settings = Settings(
        site=site,
        node="trial",
        ems="bms",
        broker=BrokerSettings(host=broker.host, port=broker.port),
        rated_w=RATED_W,
    )
    trial = Trial(
        settings=settings,
        step_w=RATED_W * 0.05,
        patience_s=6.0,
        through=through,
        plant=plant,
        only=only,
    )
    running: list[asyncio.Task[None]] = []

    def ready(port: int) -> None:
        # a fresh one in each run, as fast as 10 % of its size a second
        ems = core(rated_w=RATED_W, ramp_w_per_s=RATED_W * 0.1)
        running.append(
            asyncio.create_task(app_of(site, broker, port, core=ems, plant=plant, kind=kind).run())
        )

    results = {}
    playing = play(trial, now=now, monotonic=time.monotonic, ready=ready)
    async with contextlib.aclosing(playing) as played:
        async for result in played:
            results[result.name] = result
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return results


async def test_the_reference_ems_passes_every_scenario(broker):
    names = list(SCENARIOS)
    shares = [names[start::4] for start in range(4)]
    tries = (tried(f"s{n}", broker, ReferenceEms, *share) for n, share in enumerate(shares))

    results = {name: one for share in await asyncio.gather(*tries) for name, one in share.items()}

    assert set(results) == set(names)
    assert {name: one.why for name, one in results.items() if one.outcome != "passed"} == {}
    assert len(names) >= 20
    course = [(noted.who, noted.said.split(" seq ")[0]) for noted in results["accept"].course]
    assert course[0] == ("node", "limit/cmd")
    assert ("EMS", "ems/bms/ack ACCEPTED") in course
    assert [said for who, said in _course(results["reconnect"]) if who == "line"] == [
        "cut",
        "mended",
    ]


def _course(result: Result) -> list[tuple[str, str]]:
    return [(noted.who, noted.said) for noted in result.course]


async def test_a_bad_ems_fails_where_it_is_bad_and_nowhere_else(broker):
    cases = {
        Believer: ({"replay"}, ("accept", "replay", "duplicate")),
        Holder: (
            {"runs out", "clock behind", "clock ahead", "node lost", "lets go"},
            ("runs out", "clock behind", "clock ahead", "node lost", "lets go", "refresh"),
        ),
        Hurried: ({"not yet", "ramp"}, ("progress", "not yet", "ramp")),
        Believes3W: ({"moves the load"}, ("progress", "moves the load")),
        Lively: (
            {"heartbeat", "well-formed"},
            ("reconnect", "malformed JSON", "heartbeat", "well-formed"),
        ),
    }
    tries = (
        tried(kind.__name__, broker, kind, *only, kind=Mute if kind is Lively else ReferenceApp)
        for kind, (_, only) in cases.items()
    )

    for (kind, (wrong, only)), results in zip(
        cases.items(), await asyncio.gather(*tries), strict=True
    ):
        failed = {name for name, one in results.items() if one.outcome == "failed"}
        passed = {name for name, one in results.items() if one.outcome == "passed"}
        assert (failed, passed) == (wrong, set(only) - wrong), (kind.__name__, results)


def test_without_an_ems_the_command_says_so_and_fails(broker, tmp_path):
    report, read = tmp_path / "report.json", tmp_path / "report.md"
    words = ["check", "--site", "hq", "--node", "trial", "--ems", "bms", "--only", "accept"]
    line = ["--broker", f"mqtt://{broker.host}:{broker.port}", "--report", report]

    done = subprocess.run(
        [Path(sys.executable).parent / "ems-bridge", *words, *line],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "no ACCEPTED within 5 s" in done.stdout
    assert done.stderr == "error: the EMS breaks 1 of its promises; docs/topics.md has each.\n"
    found = msgspec.json.decode(report.read_bytes(), type=Report)
    assert not found.passed
    write(found, read)
    told = read.read_text()
    assert "## accept: failed\n\nExpected: A set-point is ACCEPTED at once" in told
    assert "| node | limit/cmd seq " in told
