# SPDX-License-Identifier: Apache-2.0
"""An unmodified openleadr VTN as a process of its own, prepared by JSON lines on its stdin.

What openleadr prints goes to stderr; stdout carries one answer per line. Only here, in a separate
process, is openleadr imported.
"""

import argparse
import asyncio
import json
import os
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from openleadr import OpenADRServer, enums, objects, utils

Plain = dict[str, Any]


class Vtn:
    """The openleadr server, and the handlers that its manual asks for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.ven_id: str = options.ven_id
        self.fingerprint: str = options.fingerprint
        self.registration_id: str | None = None
        self.opts: dict[str, str] = {}
        self.server = OpenADRServer(
            vtn_id="OPENLEADR-VTN",
            http_port=options.port,
            http_cert=options.cert,
            http_key=options.key,
            http_ca_file=options.ca,
            ven_lookup=self.look_up,
            verify_message_signatures=False,
            requested_poll_freq=timedelta(seconds=1),
        )
        self.server.add_handler("on_create_party_registration", self.on_register)
        self.server.add_handler("on_cancel_party_registration", self.on_cancel)
        self.server.add_handler("on_register_report", self.on_register_report)

    async def look_up(self, ven_id: str) -> Plain | None:
        if ven_id != self.ven_id:
            return None
        return {
            "ven_id": self.ven_id,
            "ven_name": "conformance",
            "fingerprint": self.fingerprint,
            "registration_id": self.registration_id,
        }

    async def on_register(self, _payload: Plain) -> tuple[str, str]:
        self.registration_id = self.registration_id or uuid.uuid4().hex
        return self.ven_id, self.registration_id

    async def on_cancel(self, payload: Plain) -> tuple[str, Plain]:
        self.registration_id = None
        return "oadrCanceledPartyRegistration", {
            "registration_id": payload["registration_id"],
            "ven_id": payload.get("ven_id"),
        }

    async def on_register_report(  # noqa: PLR0917 - as openleadr calls it
        self,
        ven_id: str,  # noqa: ARG002 - openleadr passes its arguments by these names
        resource_id: str | None,  # noqa: ARG002
        measurement: str,  # noqa: ARG002
        unit: str,  # noqa: ARG002
        scale: str,  # noqa: ARG002
        min_sampling_interval: timedelta,
        max_sampling_interval: timedelta,  # noqa: ARG002
    ) -> tuple[Any, timedelta, timedelta]:
        async def callback(_values: list[Any]) -> None:
            pass

        return callback, min_sampling_interval, min_sampling_interval

    async def on_opt(self, ven_id: str, event_id: str, opt_type: str) -> None:  # noqa: ARG002
        self.opts[event_id] = opt_type

    # --- acts ------------------------------------------------------------------------------------

    def publish(self, what: Plain) -> Plain:
        event_id = str(uuid.uuid4())
        event = self._event(what, event_id, modification=0)
        self.server.add_raw_event(what["ven_id"], event, callback=self.on_opt)
        return {"event_id": event_id}

    def modify(self, what: Plain) -> Plain:
        events = self.server.events[self.ven_id]
        before = self._find(what["event_id"])
        number = utils.getmember(before, "event_descriptor.modification_number") + 1
        event = self._event(what, what["event_id"], modification=number)
        events[events.index(before)] = event
        self.server.event_callbacks[what["event_id"]] = (event, self.on_opt)
        self.server.events_updated[self.ven_id] = True
        return {}

    def cancel(self, what: Plain) -> Plain:
        self._find(what["event_id"])
        self.server.cancel_event(self.ven_id, what["event_id"])
        return {}

    def withdraw(self, what: Plain) -> Plain:
        """Openleadr keeps cancelled events for ever where nobody answers: take them away."""
        events = self.server.events.get(self.ven_id, [])
        events[:] = [
            event
            for event in events
            if utils.getmember(event, "event_descriptor.event_id") not in what["event_ids"]
        ]
        return {}

    def answer(self, what: Plain) -> Plain:
        return {"opt": self.opts.get(what["event_id"], "")}

    def _find(self, event_id: str) -> Any:
        event = utils.find_by(
            self.server.events.get(self.ven_id, []), "event_descriptor.event_id", event_id
        )
        if event is None:
            raise ValueError(f"openleadr knows no event {event_id}")
        return event

    def _event(self, what: Plain, event_id: str, *, modification: int) -> objects.Event:
        starts_at = datetime.fromisoformat(what["starts_at"])
        spans = {name: timedelta(seconds=s) for name, s in what["spans"].items()}
        tolerance = {"startafter": spans["start_after"]} if "start_after" in spans else None
        targets = [{"resource_id": one} for one in what["resources"]] or [{"ven_id": self.ven_id}]
        return objects.Event(
            event_descriptor=objects.EventDescriptor(
                event_id=event_id,
                modification_number=modification,
                market_context=what["market_context"],
                event_status=enums.EVENT_STATUS.FAR,
                created_date_time=datetime.now(UTC),
                priority=what["priority"],
            ),
            active_period=objects.ActivePeriod(
                dtstart=starts_at,
                duration=timedelta(seconds=what["duration_s"]),
                tolerance=tolerance,
                notification_period=spans.get("notification"),
                ramp_up_period=spans.get("ramp_up"),
                recovery_period=spans.get("recovery"),
            ),
            event_signals=[_signal(one, starts_at) for one in what["signals"]],
            targets=targets,
            response_required=what["response_required"],
        )


def _signal(what: Plain, starts_at: datetime) -> objects.EventSignal:
    intervals = []
    for one in what["intervals"]:
        length = timedelta(seconds=one["duration_s"])
        intervals.append(
            objects.Interval(dtstart=starts_at, duration=length, signal_payload=one["value"])
        )
        starts_at += length
    return objects.EventSignal(
        intervals=intervals,
        signal_name=what["name"],
        signal_type=what["type"],
        signal_id=uuid.uuid4().hex,
        measurement=_measurement(what["unit"], what["symbol"]),
    )


def _measurement(unit: str, symbol: str) -> objects.Measurement | None:
    if unit == "powerReal":
        return objects.Measurement(
            name="powerReal",
            description="RealPower",
            unit="W",
            scale="none",
            power_attributes=objects.PowerAttributes(),
            ns="power",
        )
    if unit == "currencyPerKWh":
        return objects.Measurement(
            name="currencyPerKWh",
            description="currencyPerKWh",
            unit=symbol,
            scale="none",
            ns="oadr",
        )
    return None


async def main(options: argparse.Namespace) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # openleadr prints banners; stdout belongs to the answers
    vtn = Vtn(options)
    await vtn.server.run()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    acts = {
        "publish": vtn.publish,
        "modify": vtn.modify,
        "cancel": vtn.cancel,
        "withdraw": vtn.withdraw,
        "answer": vtn.answer,
    }
    while line := await reader.readline():
        what = json.loads(line)
        try:
            answer = acts[what.pop("do")](what)
        except (ValueError, KeyError, TypeError) as error:
            answer = {"error": f"openleadr: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    await vtn.server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    for name in ("cert", "key", "ca", "fingerprint", "ven-id"):
        parser.add_argument(f"--{name}", required=True)
    asyncio.run(main(parser.parse_args()))
