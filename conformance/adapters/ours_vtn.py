# SPDX-License-Identifier: Apache-2.0
"""Prepares the VTN of this project through its own command line.

Options: config=vtn.toml (required), serve=yes (start and restart it, too), log=FILE,
port=N (of the OpenADR listener, to wait for), contexts=URI,URI, resources=ID,ID.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from conformance.adapters.options import Options
from conformance.declaration import Ability
from conformance.errors import AdapterFault
from conformance.process import Service, listening, program, run
from oadr.event import Baseline, Event, Signal, SignalInterval
from oadr.moments import write_duration, write_instant
from oadr.report import ReportRequest
from oadr.units import Unit
from oadr.vocabulary import ResponseRequired, ScaleCode

START_S = 30.0


class OursVtn:
    """`vtn ... --json` as a subprocess for each act."""

    product = "demandflex VTN"

    def __init__(self, options: Mapping[str, str]) -> None:
        chosen = Options(options, "config", "serve", "log", "port", "contexts", "resources")
        self.config = chosen.required("config")
        self.market_contexts = chosen.several("contexts")
        self.resources = chosen.several("resources")
        self._port = int(chosen.get("port") or 8443)
        self._vtn = program("vtn")
        log = chosen.get("log")
        self._service = (
            Service([self._vtn, "serve", "--config", self.config], Path(log) if log else None)
            if chosen.get("serve") == "yes"
            else None
        )
        self.abilities = set(Ability) - {
            Ability.FRESH,
            Ability.OPT,
            Ability.OPT_SCHEDULE,
            Ability.SIGNATURES,
            Ability.EXPIRED,
            Ability.STRANGER,
        }
        if len(self.market_contexts) < 2:
            self.abilities.discard(Ability.CONTEXTS)
        if len(self.resources) < 2:
            self.abilities.discard(Ability.TARGETS)
        if self._service is None:
            self.abilities.discard(Ability.RESTART)

    async def open(self) -> None:
        if self._service is not None:
            await self._service.start()
            await listening("127.0.0.1", self._port, START_S, self._service)

    async def close(self) -> None:
        if self._service is not None:
            await self._service.stop()

    async def restart(self) -> None:
        assert self._service is not None
        await self._service.stop(kill=True)
        await self._service.start()
        await listening("127.0.0.1", self._port, START_S, self._service)

    async def publish(self, ven_id: str, event: Event) -> str:
        found = await self._ask_with("event", "import", body=order(ven_id, event))
        return str(found["event_id"])

    async def modify(self, event_id: str, event: Event) -> None:
        """Start and duration; what the tests change."""
        before = await self._ask("event", "show", event_id)
        change = ["--reason", "conformance"]
        if before["starts_at"] != write_instant(event.starts_at):
            change += ["--start", write_instant(event.starts_at)]
        change += ["--duration", _length(event.duration)]
        await self._ask("event", "modify", event_id, *change)

    async def cancel(self, event_id: str) -> None:
        await self._ask("event", "cancel", event_id)

    async def withdraw(self, ven_id: str, event_ids: Sequence[str]) -> None:  # noqa: ARG002 - Protocol
        for event_id in event_ids:
            with contextlib.suppress(AdapterFault):  # it is over, or the test called it off
                await self.cancel(event_id)

    async def answer(self, ven_id: str, event_id: str) -> str:
        found = await self._ask("event", "show", event_id)
        for one in found["vens"]:
            if one["ven_id"] == ven_id:
                return str(one.get("opt") or "")
        return ""

    async def request_report(self, ven_id: str, request: ReportRequest) -> str:
        before = await self._requested(ven_id)
        arguments = ["--granularity", _length(request.granularity, zero="0s")]
        arguments += ["--back", _length(request.report_back, zero="0s")]
        if request.interval is not None:
            arguments += ["--start", write_instant(request.interval.starts_at)]
            arguments += ["--duration", _length(request.interval.duration)]
        if request.report_specifier_id != "METADATA":
            for payload in request.payloads:
                arguments += ["--rid", payload.r_id]
        await self._ask("report", "request", ven_id, request.report_specifier_id, *arguments)
        made = [one for one in await self._requested(ven_id) if one not in before]
        if not made:
            raise AdapterFault("the VTN shows no new report request")
        return made[0]

    async def _requested(self, ven_id: str) -> list[str]:
        found = await self._ask("report", "list", ven_id)
        return [str(one["report_request_id"]) for one in found["requests"]]

    async def cancel_report(self, ven_id: str, report_request_id: str, *, to_follow: bool) -> None:
        follow = ["--to-follow"] if to_follow else []
        await self._ask("report", "cancel", ven_id, report_request_id, *follow)

    async def request_reregistration(self, ven_id: str) -> None:
        await self._ask("vens", "reregister", ven_id)

    async def cancel_registration(self, ven_id: str) -> None:
        await self._ask("vens", "deregister", ven_id)

    async def _ask(self, *words: str) -> Any:
        said = await run(self._vtn, *words, "--config", self.config, "--json")
        try:
            return json.loads(said)
        except ValueError as error:
            raise AdapterFault(f"vtn {' '.join(words[:2])} did not answer in JSON") from error

    async def _ask_with(self, *words: str, body: Mapping[str, Any]) -> Any:
        file = Path(self.config).with_name("conformance-event.json")
        file.write_text(json.dumps(body), encoding="utf-8")
        try:
            return await self._ask(*words, str(file))
        finally:
            file.unlink(missing_ok=True)


def order(ven_id: str, event: Event) -> dict[str, Any]:
    """The event as `vtn event import` reads it."""
    spans = {
        "notification": event.notification,
        "ramp_up": event.ramp_up,
        "recovery": event.recovery,
        "start_within": event.start_after,
    }
    said: dict[str, Any] = {
        "signals": [_signal(signal) for signal in event.signals],
        "start": write_instant(event.starts_at),
        "duration": _length(event.duration),
        "resources" if event.target.resource_ids else "vens": list(event.target.resource_ids)
        or [ven_id],
        "market_context": event.market_context,
        "priority": event.priority or 0,
        "response": "never" if event.response_required is ResponseRequired.NEVER else "always",
        "test": event.is_test,
    }
    said |= {key: write_duration(span) for key, span in spans.items() if span}
    if event.baseline is not None:
        said["baseline"] = _baseline(event.baseline)
    return said


def _signal(signal: Signal) -> dict[str, Any]:
    return {
        "name": signal.signal_name,
        "type": signal.signal_type.value,
        "unit": _unit(signal.unit),
        "intervals": _intervals(signal.intervals),
    }


def _baseline(baseline: Baseline) -> dict[str, Any]:
    return {
        "name": baseline.baseline_name,
        "start": write_instant(baseline.starts_at),
        "unit": _unit(baseline.unit),
        "intervals": _intervals(baseline.intervals),
    }


def _intervals(steps: tuple[SignalInterval, ...]) -> list[dict[str, Any]]:
    return [{"duration": _length(one.duration), "value": one.value} for one in steps]


_PER: Final = {"oadr:currencyPerKWh": "/kWh", "oadr:currencyPerKW": "/kW"}


def _unit(unit: Unit | None) -> str:
    if unit is None:
        return ""
    scale = "" if unit.scale is ScaleCode.NONE else unit.scale.value
    return f"{scale}{unit.symbol}{_PER.get(unit.kind, '')}"


def _length(length: timedelta | None, *, zero: str = "open") -> str:
    return write_duration(length) if length else zero
