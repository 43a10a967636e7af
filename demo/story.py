# SPDX-License-Identifier: Apache-2.0
"""The story: each act of the demonstration, from an empty folder to verified curtailment."""

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from demo.cast import Cast, run
from demo.errors import DemoFault, StepFailed
from demo.plot import Picture, draw
from demo.stage import EMS, MARKET_CONTEXT, NODE, RATED_KW, SITE, VEN_ID, Stage
from demo.view import View
from doorway import Fault
from light_node.local import Curtailment, LocalClient
from vtn import config, records
from vtn.errors import NoAnswer, RefusedByVtn
from vtn.operator_client import OperatorClient
from vtn.views import EventCurtailment, EventView, Measurements, Ven, VenCurtailment

REDUCTION_KW = 60
DURATION_S = 32
NOTICE_S = 10
RAMP_UP_S = 8
SAMPLE_S = 4.0
BEFORE_S = 24
AFTER_S = 8
"""How much is shown before the event's start and after its end."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What `result.json` says; a reduction is positive."""

    event_id: str
    ven_id: str
    opt: str
    ordered_w: float
    delivered_w: float
    fraction: float
    baseline_method: str
    samples_expected: int
    samples_received: int
    setpoint_acknowledged: bool
    max_start_error_ms: float
    duration_s: float

    @property
    def sentence(self) -> str:
        return (
            f"verified curtailment: ordered {self.ordered_w / 1000:.1f} kW, "
            f"delivered {self.delivered_w / 1000:.1f} kW ({self.fraction:.0%}), "
            f"{self.samples_received} of {self.samples_expected} samples"
        )


class Story:
    """Plays all acts on one stage, with one cast, told to one view."""

    def __init__(self, stage: Stage, cast: Cast, view: View) -> None:
        self._stage = stage
        self._cast = cast
        self._view = view
        self._began = time.monotonic()

    async def play(self) -> Result:
        """Every act in turn. Raises StepFailed, which names the act."""
        operator = await self._open_the_vtn()
        await self._open_the_building()
        await self._wake_the_site(operator)
        event = await self._publish(operator)
        await self._follow(operator, event)
        return await self._settle(operator, event)

    # --- the acts --------------------------------------------------------------------------------

    async def _open_the_vtn(self) -> OperatorClient:
        config_file = str(self._stage.vtn_toml)
        async with self._step("start the VTN"):
            await run(["vtn", "init", "--config", config_file])
            await self._cast.start("vtn", ["vtn", "serve", "--config", config_file])
            operator = OperatorClient.at(config.load(self._stage.vtn_toml))
            await self._until(lambda: _ask(operator, records.Health, "health"), "the VTN answers")
            self._view.tell("vtn", f"serves OpenADR 2.0b on port {self._stage.ports.openadr}")
        async with self._step("let the VEN in"):
            operate = ["--config", config_file]
            await run(["vtn", "contexts", "add", MARKET_CONTEXT, "--name", "Demo", *operate])
            await run(
                [
                    *("vtn", "vens", "add", VEN_ID),
                    *("--cert", str(self._stage.ven_certificate)),
                    *("--resource", "building"),
                    *operate,
                ]
            )
            self._view.tell("operator", f"lets the VEN {VEN_ID} in by its certificate")
        return operator

    async def _open_the_building(self) -> None:
        stage = self._stage
        broker_port = str(stage.ports.broker)
        async with self._step("start the MQTT broker"):
            mosquitto = find_mosquitto()
            if mosquitto:
                conf = stage.site_toml.with_name("mosquitto.conf")
                conf.write_text(
                    f"listener {broker_port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                )
                await self._cast.start("broker", [mosquitto, "-c", str(conf)])
            else:
                broker = ["python", "-m", "demo.broker", "--port", broker_port]
                await self._cast.start("broker", broker)
            await self._listening(stage.ports.broker)
            name = "mosquitto" if mosquitto else "the embedded amqtt"
            self._view.tell("broker", f"{name} listens on port {broker_port}")
        async with self._step("start the building"):
            await self._cast.start(
                "building",
                [
                    *("python", "-m", "demo.building", "--shift", str(stage.shift)),
                    *("--meter-port", str(stage.ports.meter)),
                    *("--load-port", str(stage.ports.load)),
                    *("--ledger", str(stage.logs / "building-ledger.jsonl")),
                ],
            )
            await self._listening(stage.ports.meter)
            played = stage.shift.recorded(datetime.now(UTC))
            self._view.tell("building", f"plays {played:%A %H:%M} of a real commercial building")
        async with self._step("start the EMS"):
            await self._cast.start(
                "ems",
                [
                    *("ems-bridge", "reference", "--site", SITE, "--node", NODE, "--ems", EMS),
                    *("--broker", f"mqtt://127.0.0.1:{broker_port}"),
                    *("--plant", f"tcp://127.0.0.1:{stage.ports.load}"),
                    *("--rated-kw", str(RATED_KW)),
                ],
            )
        async with self._step("give the light node the building's earlier days"):
            past = str(stage.history)
            shift = str(stage.shift)
            await run(["python", "-m", "demo.building", "history", "--shift", shift, "--out", past])
            said = await run(
                ["light-node", "history", "import", past, "--config", str(stage.site_toml)]
            )
            self._view.tell("light-node", said.strip().splitlines()[-1])

    async def _wake_the_site(self, operator: OperatorClient) -> None:
        stage = self._stage
        async with self._step("start the light node"):
            await self._cast.start(
                "light-node", ["light-node", "run", "--config", str(stage.site_toml)]
            )
            await self._until(self._meter_answers, "the light node reads the meter")
            self._view.tell("light-node", "reads the meter every 4 s")
        async with self._step("start the VEN"):
            await self._cast.start("ven", ["ven", "run", "--config", str(stage.ven_toml)])

            async def registered() -> Ven | None:
                ven = await _ask(operator, Ven, "vens", VEN_ID)
                return ven if ven is not None and ven.state == "registered" else None

            ven = await self._until(registered, "the VEN registers")
            self._view.tell("ven", f"registered ({ven.registration_id}) over mutual TLS")

            async def measured() -> Measurements | None:
                found = await self._measured(operator, seconds=60)
                return found if found is not None and found.starts_at else None

            await self._until(measured, "the first readings arrive at the VTN", within_s=45)
            self._view.tell("vtn", "has the first 4-second readings")

    async def _publish(self, operator: OperatorClient) -> EventView:
        async with self._step("publish the event"):
            said = await run(
                [
                    *("vtn", "event", "publish", "--signal", "LOAD_DISPATCH", "--type", "delta"),
                    *("--value", str(-REDUCTION_KW), "--unit", "kW", "--ven", VEN_ID),
                    *("--start", f"now+{NOTICE_S}s", "--duration", f"{DURATION_S}s"),
                    *("--ramp-up", f"{RAMP_UP_S}s"),
                    *("--comment", "demonstration", "--json"),
                    *("--config", str(self._stage.vtn_toml)),
                ]
            )
            event_id = json.loads(said)["event_id"]
            event = await _ask(operator, EventView, "events", event_id)
            if event is None:
                raise DemoFault(f"the VTN does not know the event {event_id} it has published.")
            clock = event.starts_at.strftime("%H:%M:%S")
            self._view.tell(
                "operator", f"orders {REDUCTION_KW} kW less for {DURATION_S} s from {clock} UTC"
            )
            return event

    async def _follow(self, operator: OperatorClient, event: EventView) -> None:
        """Watch until the event is over, and the load's return with it."""
        assert event.ends_at is not None
        told: set[str] = set()
        async with self._step("follow the event"):
            while True:
                now = datetime.now(UTC)
                await self._look(operator, event, now)
                await self._tell_progress(operator, event, told)
                newest = self._view.figures.newest_at or 0.0
                shown = newest >= event.ends_at.timestamp() + AFTER_S - SAMPLE_S
                if shown and await self._all_here(operator, event):
                    break
                if now > event.ends_at + timedelta(seconds=AFTER_S + 15):
                    break  # what is missing then, the result says
                self._cast.check()
                await asyncio.sleep(0.5)
            if "opted" not in told:
                raise DemoFault(f"{VEN_ID} never answered the event.")

    async def _settle(self, operator: OperatorClient, event: EventView) -> Result:
        async with self._step("verify the curtailment"):

            async def settled() -> VenCurtailment | None:
                found = await _ask(operator, EventCurtailment, "curtailments", event.event_id)
                ven = found.vens[0] if found is not None and found.vens else None
                return ven if ven is not None and ven.delivered_w is not None else None

            ven = await self._until(settled, "the VTN has baseline and readings", within_s=20)
            async with LocalClient(self._stage.socket) as node:
                claim = await node.curtailment(event.event_id)
                rows = await node.span(event.starts_at, event.ends_at or datetime.now(UTC))
            if ven.ordered_w is None or ven.delivered_w is None or ven.fraction is None:
                raise DemoFault("the VTN cannot say what was ordered and delivered.")
            result = Result(
                event_id=event.event_id,
                ven_id=VEN_ID,
                opt=ven.opt,
                ordered_w=round(ven.ordered_w, 1),
                delivered_w=round(ven.delivered_w, 1),
                fraction=round(ven.fraction, 4),
                baseline_method=claim.baseline_method,
                samples_expected=ven.samples_expected,
                samples_received=ven.samples_received,
                setpoint_acknowledged=claim.setpoint_acknowledged,
                max_start_error_ms=max(rows.start_error_ms, default=0.0),
                duration_s=round(time.monotonic() - self._began, 1),
            )
            await self._paint(operator, event, claim, result)
            self._view.tell("vtn", result.sentence)
            for remark in ven.remarks:
                self._view.tell("vtn", f"remarks: {remark}")
            return result

    # --- what is looked at meanwhile -------------------------------------------------------------

    async def _look(self, operator: OperatorClient, event: EventView, now: datetime) -> None:
        figures = self._view.figures
        assert event.ends_at is not None
        figures.starts_in_s = (event.starts_at - now).total_seconds()
        if now >= event.starts_at:
            whole = (event.ends_at - event.starts_at).total_seconds()
            figures.progress = min(1.0, (now - event.starts_at).total_seconds() / whole)
        figures.ordered_w = REDUCTION_KW * 1000.0
        found = await self._measured(operator, seconds=150)
        if found is not None and found.starts_at:
            known = [value for value in found.values if value is not None]
            figures.trace.clear()
            figures.trace.extend(known)
            figures.measured_w = known[-1] if known else None
            figures.newest_at = found.starts_at[-1]
            figures.age_s = now.timestamp() - found.starts_at[-1]
        with contextlib.suppress(Fault):  # the node has no baseline before the event has begun
            async with LocalClient(self._stage.socket) as node:
                baseline = (await node.curtailment(event.event_id)).baseline
            figures.baseline_w = baseline[-1][1] if baseline else None

    async def _tell_progress(
        self, operator: OperatorClient, event: EventView, told: set[str]
    ) -> None:
        def tell(once: str, who: str, what: str) -> None:
            if once not in told:
                told.add(once)
                self._view.tell(who, what)

        seen = await _ask(operator, EventView, "events", event.event_id)
        ven = seen.vens[0] if seen is not None and seen.vens else None
        if ven is not None and ven.handed_at is not None:
            tell("handed", "vtn", "handed the event to the VEN")
        if ven is not None and ven.opt:
            tell("opted", "ven", f"answers {ven.opt}")
        with contextlib.suppress(Fault):
            async with LocalClient(self._stage.socket) as node:
                lease = (await node.status()).lease
            if lease is not None and lease.event_id == event.event_id:
                tell("leased", "light-node", f"sends the set-point over MQTT: {lease.target}")
                if lease.acknowledged:
                    tell("acknowledged", "ems", "acknowledges the set-point")
                if lease.acknowledged == "SUCCEEDED":
                    tell("reached", "ems", "has moved the load")
        reduction = self._view.figures.reduction_w
        if reduction is not None and reduction > 0.8 * REDUCTION_KW * 1000:
            tell("fallen", "meter", f"shows {reduction / 1000:.0f} kW less than the baseline")
        if seen is not None and seen.status == "completed":
            tell("over", "vtn", "the event is over")

    async def _all_here(self, operator: OperatorClient, event: EventView) -> bool:
        found = await _ask(operator, EventCurtailment, "curtailments", event.event_id)
        if found is None or not found.vens:
            return False
        ven = found.vens[0]
        return ven.samples_received >= DURATION_S / SAMPLE_S and ven.claimed_w is not None

    async def _measured(self, operator: OperatorClient, *, seconds: float) -> Measurements | None:
        points = await _ask(operator, list[records.Point], "points", ven=VEN_ID)
        power = next((p for p in points or () if p.report_type == "usage" and p.unit == "W"), None)
        if power is None:
            return None
        now = datetime.now(UTC)
        return await _ask(
            operator,
            Measurements,
            "measurements",
            ven=VEN_ID,
            rid=power.r_id,
            from_=(now - timedelta(seconds=seconds)).isoformat(),
            to=(now + timedelta(seconds=1)).isoformat(),
        )

    async def _paint(
        self, operator: OperatorClient, event: EventView, claim: Curtailment, result: Result
    ) -> None:
        assert event.ends_at is not None
        since = event.starts_at - timedelta(seconds=BEFORE_S)
        elapsed_s = (datetime.now(UTC) - since).total_seconds()
        found = await self._measured(operator, seconds=elapsed_s)
        measured = [
            (at, value)
            for at, value in zip(
                found.starts_at if found else (), found.values if found else (), strict=True
            )
            if value is not None
        ]
        self._stage.picture.write_text(
            draw(
                Picture(
                    title=result.sentence,
                    starts_at=event.starts_at.timestamp(),
                    ends_at=event.ends_at.timestamp(),
                    measured=measured,
                    interval_s=SAMPLE_S,
                    baseline=claim.baseline,
                    ordered_w=result.ordered_w,
                )
            )
        )

    # --- waiting ---------------------------------------------------------------------------------

    async def _meter_answers(self) -> bool:
        try:
            async with LocalClient(self._stage.socket) as node:
                return any(meter.online for meter in (await node.status()).meters)
        except Fault:
            return False

    async def _listening(self, port: int) -> None:
        async def connects() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await self._until(connects, f"something listens on port {port}")

    async def _until(
        self, ask: Callable[[], Awaitable[T | None]], what: str, *, within_s: float = 20.0
    ) -> T:
        """Ask again and again until the answer is something; never longer than `within_s`."""
        deadline = time.monotonic() + within_s
        while True:
            answer = await ask()
            if answer:
                return answer
            self._cast.check()
            if time.monotonic() > deadline:
                raise DemoFault(f"waited {within_s:.0f} s in vain until {what}.")
            await asyncio.sleep(0.2)

    @contextlib.asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        """Whatever goes wrong in here is told as this step's failure."""
        try:
            yield
        except (Fault, OSError) as fault:
            why = str(fault)
            try:
                self._cast.check()
            except DemoFault as dead:  # whose end is why, whatever failed for want of it
                why = str(dead)
            raise StepFailed(name, why, self._stage.logs) from fault


def find_mosquitto() -> str | None:
    """The mosquitto broker of this machine; Debian keeps it where users do not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def write_result(result: Result, path: Path) -> None:
    """Write result.json."""
    fields = {name: getattr(result, name) for name in Result.__dataclass_fields__}
    path.write_text(json.dumps(fields, indent=2) + "\n")


async def _ask(operator: OperatorClient, into: type[T], *path: str, **query: object) -> T | None:
    """GET from the operator's API; None while it does not answer or does not know."""

    def get() -> T | None:
        try:
            return operator.get(*path, into=into, **query)
        except (NoAnswer, RefusedByVtn):
            return None

    return await asyncio.to_thread(get)
