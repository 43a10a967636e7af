# SPDX-License-Identifier: Apache-2.0
"""The whole house on loopback, each program a process of its own that can be killed and restarted.

VTN (SQLite or PostgreSQL) ~ mutual TLS ~ VEN - light node ~ mosquitto with mutual TLS ~ EMS,
and a building whose own ledger says what its load really was.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from certs.authority import Authority, SiteRole
from chaos.brokers import ACL, RunningBroker, start_mosquitto
from chaos.ledgers import Load, building_loads, ems_answers
from chaos.muting import MutableLine
from chaos.program import START_S, Program, command, last_words, wait_for
from chaos.proxy import FaultProxy
from chaos.utility import CONTEXT, vtn_toml
from demo.load_series import AFTERNOON, ClockShift
from demo.ports import free_port
from light_node.local import LocalClient, Readings
from vtn import config, records
from vtn.errors import NoAnswer, RefusedByVtn
from vtn.operator_client import OperatorClient
from vtn.views import EventCurtailment, EventView, Measurements, Ven

VEN_ID, SITE, NODE, EMS = "0042", "hq", "node-1", "ems-1"
T = TypeVar("T")


class House:
    """Everything between an operator and a meter, in one folder."""

    def __init__(
        self,
        folder: Path,
        database: str,
        *,
        interval_s: int = 1,
        ven_settings: str = "",
        site_settings: str = "",
        sub_meter: str = "",
        ven_id: str = VEN_ID,
        energy: bool = True,
        proxied: bool = False,
        back_off_cap_s: int = 2,
        back_s: int = 4,
        seed: int = 0,
    ) -> None:
        """Write every settings file into `folder`, and start the broker; `open` starts the rest.

        `database` is the URL of an empty one. `ven_settings` go into [site] of ven.toml and behind
        it, `site_settings` behind the tables of site.toml. `sub_meter` names a second meter: the
        building's own, read the other way round. With `proxied` the VEN reaches the VTN through
        `vtn_line`, a fault proxy.
        """
        self.folder = folder
        self.ven_id = ven_id
        self.interval_s = interval_s
        self.shift = ClockShift.to_play(AFTERNOON, at=datetime.now(UTC))
        authority = Authority.create(folder / "certs")
        authority.vtn(["127.0.0.1"])
        self.authority = authority
        self.ven_cert = authority.ven(ven_id)
        broker_cert = authority.site("broker", SiteRole.BROKER, hosts=["127.0.0.1"])
        node_cert = authority.site(NODE, SiteRole.NODE)
        ems_cert = authority.site(EMS, SiteRole.EMS)
        self.openadr_port, self.operator_port = free_port(), free_port()
        self.meter_port, self.load_port = free_port(), free_port()
        self.meter_line = MutableLine(self.meter_port)
        self.vtn_line = FaultProxy(self.openadr_port, seed=seed) if proxied else None
        ven_to = self.vtn_line.port if self.vtn_line is not None else self.openadr_port
        self.broker: RunningBroker = start_mosquitto(
            folder,
            ca=authority.site_trust,
            cert=broker_cert.certificate,
            key=broker_cert.key,
            acl=ACL,
        )
        (folder / "vtn.toml").write_text(
            vtn_toml(
                openadr_port=self.openadr_port,
                operator_port=self.operator_port,
                authority=authority,
                database=database,
                back_s=back_s,
            )
        )
        (folder / "site.toml").write_text(f"""
[site]
id = "{SITE}"
node = "{NODE}"
timezone = "{self.shift.timezone}"
working_days = {json.dumps(list(self.shift.working_days))}
[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
port = {self.meter_line.port}
[mqtt]
host = "127.0.0.1"
port = {self.broker.port}
ca = "{authority.site_trust}"
cert = "{node_cert.certificate}"
key = "{node_cert.key}"
ems = "{EMS}"
[ring]
path = "ring.db"
commit_s = 2
[guard]
lease_s = 12
refresh_s = 4
[sampling]
interval_s = {interval_s}
{site_settings}
""")
        if sub_meter:
            with (folder / "site.toml").open("a") as file:
                file.write(f"""
[[meter]]
id = "{sub_meter}"
profile = "sdm630"
host = "127.0.0.1"
port = {self.meter_port}
role = "sub"
invert = true
""")
        (folder / "ven.toml").write_text(f"""
[ven]
name = "hq"
cert = "{self.ven_cert.certificate}"
key = "{self.ven_cert.key}"
state = "ven.db"
[vtn]
url = "https://127.0.0.1:{ven_to}"
ca = "{authority.vtn_trust}"
back_off_cap_s = {back_off_cap_s}
[node]
socket = "light-node.sock"
[reports]
event_batch_s = {max(2, interval_s)}
min_period_s = {interval_s}
energy = {str(energy).lower()}
[site]
resource_id = "building"
{ven_settings}
""")
        self.vtn = self._program("vtn", "vtn", "serve", "--config", folder / "vtn.toml")
        self.ven = self._program("ven", "ven", "run", "--config", folder / "ven.toml")
        self.light_node = self._program(
            "light-node", "light-node", "run", "--config", folder / "site.toml"
        )
        self.building = self._program(
            "building",
            *("python", "-m", "demo.building", "--shift", self.shift),
            *("--meter-port", self.meter_port, "--load-port", self.load_port),
            *("--ledger", folder / "ledger.jsonl"),
        )
        self.ems = self._program(
            "ems",
            *("ems-bridge", "reference", "--site", SITE, "--node", NODE, "--ems", EMS),
            *("--broker", f"mqtts://127.0.0.1:{self.broker.port}"),
            *("--ca", authority.site_trust),
            *("--cert", ems_cert.certificate, "--key", ems_cert.key),
            *("--plant", f"tcp://127.0.0.1:{self.load_port}", "--rated-kw", 600),
        )

    def _program(self, name: str, *words: object) -> Program:
        return Program(name, command(*words), self.folder)

    # --- acts ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start everything and wait until the VEN is registered and the meter is read."""
        if self.vtn_line is not None:
            self.vtn_line.open()
        self.open_vtn()
        self.open_site()
        self.ven.start()
        self.wait("the VEN registers", self.registered, within_s=START_S)
        self.wait("readings arrive", lambda: self.readings().starts_at, within_s=START_S)

    def open_vtn(self) -> None:
        """Start the VTN and let the VEN in."""
        self.cli("vtn", "init", "--config", self.folder / "vtn.toml")
        self.vtn.start()
        self.operator = OperatorClient.at(config.load(self.folder / "vtn.toml"))
        self.wait("the VTN answers", lambda: self.ask(records.Health, "health"), within_s=START_S)
        self.cli("vtn", "contexts", "add", CONTEXT, "--name", "Peak")
        cert = self.ven_cert.certificate
        self.cli("vtn", "vens", "add", self.ven_id, "--cert", cert, "--resource", "building")

    def open_site(self) -> None:
        """Start the building, its EMS and the light node."""
        self.building.start()
        self.meter_line.__enter__()
        past = self.folder / "history.csv"
        self.cli("python", "-m", "demo.building", "history", "--shift", self.shift, "--out", past)
        self.cli("light-node", "history", "import", past, "--config", self.folder / "site.toml")
        self.ems.start()
        self.light_node.start()

    def close(self) -> None:
        """Stop everything that runs."""
        for program in (self.ven, self.light_node, self.ems, self.building, self.vtn):
            program.stop()
        self.broker.stop()
        self.meter_line.__exit__()
        if self.vtn_line is not None:
            self.vtn_line.close()

    def publish(self, *, kw: float, starts_in_s: int, duration_s: int) -> EventView:
        """An event through the operator's own command line."""
        said = self.cli(
            *("vtn", "event", "publish", "--signal", "LOAD_DISPATCH", "--type", "delta"),
            *("--value", kw, "--unit", "kW", "--ven", self.ven_id),
            *("--start", f"now+{starts_in_s}s", "--duration", f"{duration_s}s", "--json"),
        )
        return self.event(json.loads(said)["event_id"])

    def cli(self, *words: object) -> str:
        """Run one of our command lines; it must succeed."""
        line = command(*words)
        if words[0] == "vtn" and "--config" not in words:
            line += ["--config", str(self.folder / "vtn.toml")]
        done = subprocess.run(line, capture_output=True, text=True, timeout=START_S, check=False)
        assert done.returncode == 0, f"{' '.join(line)}: {done.stderr}{self.last_words()}"
        return done.stdout

    # --- what is seen ----------------------------------------------------------------------------

    def ask(self, into: type[T], *path: str, **query: object) -> T | None:
        """GET from the operator's API; None while it does not answer or does not know."""
        try:
            return self.operator.get(*path, into=into, **query)
        except (NoAnswer, RefusedByVtn):
            return None

    def registered(self) -> Ven | None:
        ven = self.ask(Ven, "vens", self.ven_id)
        return ven if ven is not None and ven.state == "registered" else None

    def event(self, event_id: str) -> EventView:
        found = self.ask(EventView, "events", event_id)
        assert found is not None
        return found

    def curtailment(self, event_id: str) -> EventCurtailment:
        found = self.ask(EventCurtailment, "curtailments", event_id)
        assert found is not None
        return found

    def power(self) -> str:
        """The rID under which the VEN reports its power; "" while nothing is stored."""
        points = self.points()
        return next((p.r_id for p in points if p.unit == "W" and p.report_type == "usage"), "")

    def readings(self, r_id: str = "power") -> Measurements:
        """What the VTN holds of the site's power, all of this run."""
        now = datetime.now(UTC)
        found = self.ask(
            Measurements,
            "measurements",
            ven=self.ven_id,
            rid=r_id,
            from_=(now - timedelta(minutes=30)).isoformat(),
            to=(now + timedelta(minutes=1)).isoformat(),
        )
        nothing = records.Point(ven_id=self.ven_id, r_id=r_id)
        return found or Measurements(point=nothing, starts_at=[], values=[], quality=[])

    def points(self) -> list[records.Point]:
        """Every series that the VTN holds of the VEN."""
        return self.ask(list[records.Point], "points", ven=self.ven_id) or []

    def loads(self) -> list[Load]:
        """The building's own ledger: what its load really was, each second."""
        return building_loads(self.folder / "ledger.jsonl")

    def answers(self) -> list[dict[str, Any]]:
        """What the EMS answered, in its own log."""
        return ems_answers(self.ems.log)

    def wait(self, what: str, ask: Callable[[], T | None], *, within_s: float = 60.0) -> T:
        """Ask until the answer is something. Raises InVain with everybody's last words."""
        return wait_for(what, ask, within_s=within_s, words=self.last_words)

    def sleep_until(self, at: datetime) -> None:
        time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))

    def last_words(self) -> str:
        """The ends of all logs."""
        return last_words(self.folder)

    # --- what must hold --------------------------------------------------------------------------

    def settled(self, event: EventView) -> EventCurtailment:
        """Wait until everything about the event is at the VTN, and return its verdict."""

        def complete() -> EventCurtailment | None:
            found = self.ask(EventCurtailment, "curtailments", event.event_id)
            if found is None or found.delivered_w is None or not found.vens:
                return None
            whole = found.samples_received >= found.samples_expected
            return found if whole and found.vens[0].claimed_w is not None else None

        return self.wait("the event is settled", complete, within_s=90)

    def assert_each_reading_is_held_once(self, starts_at: datetime, ends_at: datetime) -> None:
        """Every row of the node's ring is at the VTN, once, with its value."""
        ring = self._ring(starts_at, ends_at)

        def here() -> dict[float, float | None] | None:
            held = self.readings()
            assert len(held.starts_at) == len(set(held.starts_at)), "a reading stands twice"
            found = dict(zip(held.starts_at, held.values, strict=True))
            return found if set(ring) <= set(found) else None

        held = self.wait(f"all {len(ring)} readings are at the VTN", here, within_s=90)
        assert ring
        for at, watts in ring.items():
            if watts is not None:
                value = held[at]
                assert value is not None
                assert abs(value - watts) < 0.1, f"at {at}: {value} is not {watts}"

    def _ring(self, starts_at: datetime, ends_at: datetime) -> dict[float, float | None]:
        async def read() -> Readings:
            async with LocalClient(self.folder / "light-node.sock") as node:
                return await node.span(starts_at, ends_at)

        rows = asyncio.run(read())
        return dict(zip(rows.starts_at, rows.watts, strict=True))

    def assert_load_fell_and_came_back(self, event: EventView, *, watts: float) -> None:
        """By the building's own ledger: reduced within the event, its own again after the end."""
        assert event.ends_at is not None
        grace = timedelta(seconds=12)
        within = [
            line.reduction_w
            for line in self.loads()
            if event.starts_at + grace <= line.at < event.ends_at
        ]
        assert within
        assert max(within) > 0.9 * watts
        after = [line.reduction_w for line in self.loads() if line.at >= event.ends_at + grace]
        assert after, "the ledger ends too early"
        assert max(after) < 0.1 * watts

    def assert_set_points_are_in_order(self) -> None:
        """The EMS never obeyed an older set-point after a newer one; it may say a thing twice."""
        accepted = [line["seq"] for line in self.answers() if line["status"] == "ACCEPTED"]
        assert accepted
        assert all(before <= after for before, after in pairwise(accepted))
