# SPDX-License-Identifier: Apache-2.0
"""Prepares an unmodified openleadr VTN: the example to copy.

openleadr is a library, so the VTN is a small program around it (openleadr_vtn_process.py), and we
talk to it in JSON lines. Options: port, cert, key, ca, fingerprint (of the VEN), ven_id.
"""

# ruff: noqa: ARG002 - the names of the arguments are those of the Protocol
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.adapters.options import Options
from conformance.declaration import Ability
from conformance.errors import AdapterFault
from conformance.process import listening
from oadr.event import Event
from oadr.moments import write_instant
from oadr.report import ReportRequest

ANSWER_S = 15.0


class OpenleadrVtn:
    """One process, one JSON object a line in both directions."""

    product = "openleadr 0.5.36 VTN"
    abilities = frozenset(
        {
            Ability.EVENTS,
            Ability.NEVER,
            Ability.RAMP_UP,
            Ability.START_AFTER,
            Ability.PRIORITY,
            Ability.TARGETS,
            Ability.INTERVALS,
            Ability.MODIFY,
            Ability.CONTEXTS,
            Ability.ANSWERS,
        }
    )
    market_contexts = ("http://market.example/one", "http://market.example/two")
    resources = ("roof", "cellar")

    def __init__(self, options: Mapping[str, str]) -> None:
        chosen = Options(options, "port", "cert", "key", "ca", "fingerprint", "ven_id")
        self._port = int(chosen.required("port"))
        names = ("port", "cert", "key", "ca", "fingerprint", "ven_id")
        self._command = [sys.executable, str(Path(__file__).with_name("openleadr_vtn_process.py"))]
        for name in names:
            self._command += [f"--{name.replace('_', '-')}", chosen.required(name)]
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await listening("127.0.0.1", self._port, ANSWER_S)

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def publish(self, ven_id: str, event: Event) -> str:
        answer = await self._ask(do="publish", ven_id=ven_id, **_plain(event))
        return str(answer["event_id"])

    async def modify(self, event_id: str, event: Event) -> None:
        await self._ask(do="modify", **_plain(event) | {"event_id": event_id})

    async def cancel(self, event_id: str) -> None:
        await self._ask(do="cancel", event_id=event_id)

    async def withdraw(self, ven_id: str, event_ids: Sequence[str]) -> None:
        await self._ask(do="withdraw", event_ids=list(event_ids))

    async def answer(self, ven_id: str, event_id: str) -> str:
        answer = await self._ask(do="answer", ven_id=ven_id, event_id=event_id)
        return str(answer["opt"])

    async def request_report(self, ven_id: str, request: ReportRequest) -> str:
        raise AdapterFault("openleadr asks for reports in oadrRegisteredReport only")

    async def cancel_report(self, ven_id: str, report_request_id: str, *, to_follow: bool) -> None:
        raise AdapterFault("openleadr cancels no reports")

    async def request_reregistration(self, ven_id: str) -> None:
        raise AdapterFault("openleadr does not ask for re-registration of its own accord")

    async def cancel_registration(self, ven_id: str) -> None:
        raise AdapterFault("openleadr cancels no registrations")

    async def restart(self) -> None:
        raise AdapterFault("openleadr keeps nothing on disk")

    async def _ask(self, **what: Any) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise AdapterFault("the openleadr VTN does not run")
        process.stdin.write(json.dumps(what).encode() + b"\n")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), ANSWER_S)
            answer: dict[str, Any] = json.loads(line)
        except (TimeoutError, ValueError) as error:
            raise AdapterFault("the openleadr VTN does not answer its adapter") from error
        if "error" in answer:
            raise AdapterFault(str(answer["error"]))
        return answer


def _plain(event: Event) -> dict[str, Any]:
    """The event in JSON, durations in seconds."""
    spans = {
        "ramp_up": event.ramp_up,
        "recovery": event.recovery,
        "start_after": event.start_after,
        "notification": event.notification,
    }
    return {
        "event_id": event.event_id,
        "priority": event.priority or 0,
        "market_context": event.market_context,
        "starts_at": write_instant(event.starts_at),
        "duration_s": event.duration.total_seconds(),
        "resources": list(event.target.resource_ids),
        "response_required": event.response_required.value,
        "spans": {name: span.total_seconds() for name, span in spans.items() if span is not None},
        "signals": [
            {
                "name": signal.signal_name,
                "type": signal.signal_type.value,
                "unit": signal.unit.kind.partition(":")[2] if signal.unit is not None else "",
                "symbol": signal.unit.symbol if signal.unit is not None else "",
                "intervals": [
                    {
                        "duration_s": (one.duration or event.duration).total_seconds(),
                        "value": one.value,
                    }
                    for one in signal.intervals
                ],
            }
            for signal in event.signals
        ],
    }
