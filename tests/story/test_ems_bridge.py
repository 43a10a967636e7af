"""The line to the building's EMS, over real brokers: nothing lost, nothing late, nobody else's."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from chaos.brokers import ACL, RunningBroker, start_amqtt, start_mosquitto
from ems_bridge import (
    Acknowledgement,
    AckStatus,
    Bridge,
    BrokerSettings,
    EmsStatus,
    Reason,
    Received,
    SetPoint,
    Topics,
)
from ems_bridge.plant import SimulatedPlant
from ems_bridge.reference_app import ReferenceApp
from ems_bridge.reference_ems import PlantState, ReferenceEms

TOPICS = Topics("town-hall", "node-1")
EMS = "bms"
WAIT_S = 60.0


def now() -> datetime:
    return datetime.now(UTC)


def set_point(seq: int, *, lease="lease-1", watts=-2000.0, ttl_s=60.0, at=None, release=False):
    at = at or now()
    return SetPoint(
        id=lease,
        seq=seq,
        issued_at=at,
        not_before=at,
        not_after=at + timedelta(seconds=ttl_s),
        ttl_s=ttl_s,
        delta_w=None if release else watts,
        ramp_w_per_s=50_000.0,
        reason=Reason(
            event_id="event-1",
            modification_number=0,
            signal_name="LOAD_DISPATCH",
            signal_type="delta",
        ),
        release=release,
    )


async def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Site:
    """A broker and the certificates of those who may speak on it."""

    broker: RunningBroker
    folder: Path
    authority: trustme.CA | None = None

    def settings(self, name: str, **more) -> BrokerSettings:
        return BrokerSettings(
            host=self.broker.host, port=self.broker.port, **self.files(name), **more
        )

    def files(self, name: str) -> dict[str, Path]:
        if self.authority is None:
            return {}
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if not cert.exists():
            identity = self.authority.issue_cert(f"{name}.example", common_name=name)
            identity.cert_chain_pems[0].write_to_path(cert)
            identity.private_key_pem.write_to_path(key)
            key.chmod(0o600)
        return {"ca": self.folder / "ca.pem", "cert": cert, "key": key}


def secured_site(folder: Path) -> Site:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    identity = authority.issue_cert("127.0.0.1", common_name="broker")
    identity.cert_chain_pems[0].write_to_path(folder / "broker.pem")
    identity.private_key_pem.write_to_path(folder / "broker.key")
    broker = start_mosquitto(
        folder,
        ca=folder / "ca.pem",
        cert=folder / "broker.pem",
        key=folder / "broker.key",
        acl=ACL,
    )
    return Site(broker=broker, folder=folder, authority=authority)


@pytest.fixture
def secured(tmp_path):
    site = secured_site(tmp_path)
    yield site
    site.broker.kill()


@pytest.fixture
def plain(tmp_path):
    site = Site(broker=start_mosquitto(tmp_path), folder=tmp_path)
    yield site
    site.broker.kill()


class Node:
    """The light node's end: a bridge, and the ledger of what it heard."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.heard: list[Received] = []

    def statuses(self, seq: int) -> list[AckStatus]:
        acks = [r.message for r in self.heard if isinstance(r.message, Acknowledgement)]
        return [ack.status for ack in acks if ack.seq == seq]

    def presence(self) -> list[str]:
        return [r.message.state for r in self.heard if isinstance(r.message, EmsStatus)]

    async def order(self, setpoint: SetPoint, **more) -> None:
        await self.bridge.publish(TOPICS.limit_cmd, setpoint, supersedes="set-point", **more)


@asynccontextmanager
async def node_on(site: Site, name: str = "node-1", clock=now, **more) -> AsyncIterator[Node]:
    bridge = Bridge(
        site.settings(name, **more),
        TOPICS,
        outbox=site.folder / f"outbox-{name}.db",
        now=clock,
        boot="boot-1",
        version="1",
    )
    async with bridge:
        node = Node(bridge)

        async def listen() -> None:
            async for received in bridge.messages():
                node.heard.append(received)

        listening = asyncio.create_task(listen())
        try:
            await eventually(lambda: bridge.connected, f"{name} connected")
            yield node
        finally:
            listening.cancel()


class RecordingPlant(SimulatedPlant):
    """Keeps what it was told to do."""

    def __init__(self) -> None:
        super().__init__(rated_w=100_000, monotonic=lambda: 0.0)
        self.reductions: list[float] = []

    async def reduce(self, reduction_w: float) -> PlantState:
        self.reductions.append(reduction_w)
        return await super().reduce(reduction_w)


class RecordingEms(ReferenceEms):
    """Keeps the set-points that reach it, before it judges them."""

    def __init__(self) -> None:
        super().__init__(rated_w=100_000)
        self.reached: list[int] = []

    def receive(self, order, *, now, monotonic_s):
        self.reached.append(order.seq)
        return super().receive(order, now=now, monotonic_s=monotonic_s)


@asynccontextmanager
async def ems_on(site: Site, clock=now) -> AsyncIterator[tuple[RecordingEms, RecordingPlant]]:
    core, plant = RecordingEms(), RecordingPlant()
    app = ReferenceApp(
        site.settings(EMS),
        TOPICS,
        EMS,
        core=core,
        plant=plant,
        now=clock,
        monotonic=asyncio.get_running_loop().time,
        step_s=0.05,
    )
    running = asyncio.create_task(app.run())
    try:
        yield core, plant
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def command_line(site: Site, verb: str, *more: str, name: str = EMS) -> list[str]:
    files = [f"--{option}={path}" for option, path in site.files(name).items()]
    scheme = "mqtts" if files else "mqtt"
    place = ["--site", TOPICS.site, "--node", TOPICS.node, "--ems", EMS]
    url = f"--broker={scheme}://127.0.0.1:{site.broker.port}"
    program = [sys.executable, "-c", "from ems_bridge.cli import main; main()"]
    return [*program, verb, *more, *place, url, *files]


def _start_reference(site: Site, *more: str) -> subprocess.Popen[bytes]:
    with (site.folder / "reference.log").open("ab") as log:
        return subprocess.Popen(command_line(site, "reference", *more), stdout=log, stderr=log)


@asynccontextmanager
async def reference_process(site: Site, *more: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    process = _start_reference(site, *more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _round_trip(site: Site, **more) -> None:
    async with node_on(site, **more) as node, reference_process(site) as process:
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        lease = set_point(1)

        await node.order(lease)
        await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(1), "the lease obeyed")
        await node.order(set_point(2, release=True))
        await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(2), "the release obeyed")
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: process.poll() is not None, "the EMS's end")
        await eventually(lambda: node.presence()[-1] == "offline", "the EMS's goodbye")

    whole = [AckStatus.ACCEPTED, AckStatus.STARTED, AckStatus.SUCCEEDED]
    assert process.returncode == 0
    assert node.statuses(1) == whole
    assert node.statuses(2) == whole


async def obeyed(node, lease) -> None:
    """Say it once and wait until it is: after a broker's return the node may be back before the
    EMS, and then nobody listens; the bridge says it again when the EMS is there.
    """
    await eventually(lambda: node.bridge.connected, "the node back")
    await node.order(lease)
    await eventually(
        lambda: AckStatus.SUCCEEDED in node.statuses(lease.seq), f"set-point {lease.seq} obeyed"
    )


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_a_set_point_is_obeyed_and_answered_over_mosquitto_with_mutual_tls(secured, protocol):
    await _round_trip(secured, protocol=protocol)


async def test_a_set_point_is_obeyed_and_answered_over_the_embedded_broker(tmp_path):
    site = Site(broker=start_amqtt(tmp_path), folder=tmp_path)
    try:
        await _round_trip(site)
    finally:
        site.broker.kill()


async def test_a_set_point_outlives_the_death_of_the_broker_and_is_applied_once(secured):
    async with node_on(secured) as node, ems_on(secured) as (ems, plant):
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        secured.broker.kill()
        await eventually(lambda: not node.bridge.connected, "the loss noticed")
        lease = set_point(7)
        await node.order(lease)

        secured.broker.start()
        await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(7), "the lease obeyed")
        before = len(node.statuses(7))
        await node.order(lease)
        await eventually(lambda: len(node.statuses(7)) > before, "the answer to the repetition")

    assert set(ems.reached) == {7}
    assert node.statuses(7).count(AckStatus.STARTED) == 1
    assert max(plant.reductions) == pytest.approx(2000)


async def test_what_a_dead_broker_forgot_is_said_again_to_the_ems_that_comes(secured):
    async with node_on(secured) as node:
        lease = set_point(3)
        await node.order(lease)
        await eventually(lambda: len(node.bridge._opened()) == 0, "the broker's PUBACK")
        secured.broker.restart()

        async with ems_on(secured) as (ems, _):
            await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(3), "the lease obeyed")

            assert set(ems.reached) == {3}


async def test_a_set_point_that_nobody_hears_is_noticed_and_reaches_the_ems_that_comes(secured):
    async with node_on(secured, protocol="5") as node:
        await node.order(set_point(1))
        await eventually(lambda: node.bridge.unheard, "the broker's word that nobody listens")
        assert len(node.bridge._opened()) == 1

        async with ems_on(secured) as (ems, _):
            await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(1), "the lease obeyed")
            await eventually(lambda: not node.bridge.unheard, "the broker's word that one does")

            assert set(ems.reached) == {1}


async def test_an_expired_set_point_is_never_delivered_late(plain):
    offset = timedelta()

    def clock() -> datetime:
        return now() + offset

    async with node_on(plain, clock=clock) as node, ems_on(plain, clock=clock) as (ems, plant):
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        plain.broker.kill()
        await eventually(lambda: not node.bridge.connected, "the loss noticed")
        late = set_point(1, ttl_s=60, at=clock())
        await node.bridge.publish(TOPICS.limit_cmd, late, expires_at=late.not_after)
        offset = timedelta(seconds=61)
        plain.broker.start()
        await obeyed(node, set_point(2, watts=-500.0, at=clock()))

        assert set(ems.reached) == {2}
        assert max(plant.reductions) == pytest.approx(500)


async def test_a_newer_set_point_takes_the_place_of_one_that_still_waits(plain):
    async with node_on(plain) as node, ems_on(plain) as (ems, _):
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        plain.broker.kill()
        await eventually(lambda: not node.bridge.connected, "the loss noticed")
        for seq in (1, 2, 3):
            await node.order(set_point(seq))
        plain.broker.start()
        await obeyed(node, set_point(3))

        assert set(ems.reached) == {3}


async def test_a_foreign_node_cannot_write_and_does_not_count_as_delivered(secured):
    async with (
        node_on(secured) as node,
        ems_on(secured) as (ems, _),
        node_on(secured, "node-2", protocol="5") as foreign,
    ):
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        await foreign.order(set_point(9))
        await eventually(lambda: bool(foreign.bridge.denied), "the broker's refusal")

        assert len(foreign.bridge._opened()) == 1

        await node.order(set_point(1))
        await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(1), "the own lease obeyed")

        assert ems.reached == [1]


async def test_nobody_without_a_certificate_of_the_site_gets_in(secured, tmp_path):
    stranger_folder = tmp_path / "stranger"
    stranger_folder.mkdir()
    stranger = Site(broker=secured.broker, folder=stranger_folder, authority=trustme.CA())
    (stranger_folder / "ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    done = await asyncio.to_thread(
        subprocess.run,
        command_line(stranger, "watch", "--json", name="node-1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert done.stdout == ""


async def test_an_ems_that_dies_is_told_as_lost_by_its_last_will(plain):
    async with node_on(plain) as node, reference_process(plain) as process:
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        process.kill()
        await eventually(lambda: node.presence()[-1] == "lost", "the last will")


async def test_a_frozen_broker_is_left_and_found_again(plain):
    async with node_on(plain, keepalive_s=2) as node, ems_on(plain) as (_, _):
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        plain.broker.freeze()
        await eventually(lambda: not node.bridge.connected, "the silence noticed")
        await node.order(set_point(1))
        plain.broker.thaw()
        await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(1), "the lease obeyed")


async def test_the_load_port_of_a_building_is_driven(plain):
    reductions: list[float] = []

    async def load_port(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = 0.0
        while line := await reader.readline():
            asked = json.loads(line)
            if "reduction_w" in asked:
                held = asked["reduction_w"]
                reductions.append(held)
            answer = {"load_w": 60_000 - held, "natural_w": 60_000.0, "reduction_w": held}
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    server = await asyncio.start_server(load_port, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        node_on(plain) as node,
        reference_process(plain, "--plant", f"tcp://127.0.0.1:{port}") as process,
    ):
        await eventually(lambda: "online" in node.presence(), "the EMS online")
        await node.order(set_point(1, watts=-3000.0))
        await eventually(lambda: AckStatus.SUCCEEDED in node.statuses(1), "the lease obeyed")
        assert reductions[-1] == pytest.approx(3000)

        process.send_signal(signal.SIGTERM)
        await eventually(lambda: process.poll() is not None, "the EMS's end")
        assert reductions[-1] == 0.0


def _cli(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(
        command_line(site, *words),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


async def test_an_installer_probes_overrides_and_watches_by_hand(plain):
    async with node_on(plain) as node, reference_process(plain):
        await eventually(lambda: "online" in node.presence(), "the EMS online")

        sent = await asyncio.to_thread(
            _cli, plain, "send", "--delta-kw", "-4", "--for", "1", "--json"
        )
        overridden = await asyncio.to_thread(_cli, plain, "override", "on", "--reason", "fair")
        refused = await asyncio.to_thread(_cli, plain, "send", "--delta-kw", "-4", "--for", "1")
        watched = await asyncio.to_thread(_cli, plain, "watch", "--json", "--count", "3")

    said = [json.loads(line) for line in sent.stdout.splitlines()]
    assert sent.returncode == 0, sent.stderr
    assert [s["status"] for s in said if "status" in s][-1] == "SUCCEEDED"
    assert said[0]["delta_w"] == -4000
    assert any(s.get("release") for s in said)
    assert overridden.returncode == 0, overridden.stderr
    assert refused.returncode == 1
    assert "override: fair" in refused.stderr
    lines = [json.loads(line) for line in watched.stdout.splitlines()]
    assert {line["message"]["schema"] for line in lines if line["retained"]} == {
        "df/v1/node-status",
        "df/v1/ems-status",
        "df/v1/override",
    }
