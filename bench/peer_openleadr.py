# SPDX-License-Identifier: Apache-2.0
"""An unmodified openleadr VTN as a process of its own, in its best conditions: uvloop, no logs.

With `--loop asyncio` it runs on the event loop that its manual uses. JSON lines on its stdin
prepare it; what openleadr prints goes to stderr. Only here is openleadr imported. Its handlers are
those its manual shows: VENs, opts and values are kept in memory.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from openleadr import OpenADRServer

Plain = dict[str, Any]


class Vtn:
    """The openleadr server, and the handlers that its manual asks for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.fingerprints: dict[str, str] = {}
        self.registrations: dict[str, str] = {}
        self.opts: dict[str, str] = {}
        self.values: dict[str, list[Any]] = {}
        signing = {"cert": options.cert, "key": options.key} if options.signs else {}
        self.server = OpenADRServer(
            vtn_id="OPENLEADR-VTN",
            http_port=options.port,
            http_cert=options.cert,
            http_key=options.key,
            http_ca_file=options.ca,
            ven_lookup=self.look_up,
            verify_message_signatures=options.signs,
            show_fingerprint=False,
            **signing,
        )
        self.server.add_handler("on_create_party_registration", self.on_register)
        self.server.add_handler("on_register_report", self.on_register_report)

    async def look_up(self, ven_id: str) -> Plain | None:
        if ven_id not in self.fingerprints:
            return None
        return {
            "ven_id": ven_id,
            "ven_name": ven_id,
            "fingerprint": self.fingerprints[ven_id],
            "registration_id": self.registrations.get(ven_id),
        }

    async def on_register(self, payload: Plain) -> tuple[str, str]:
        ven_id = payload["ven_id"]
        registration_id = self.registrations.setdefault(ven_id, f"registration-{ven_id}")
        return ven_id, registration_id

    async def on_register_report(  # noqa: PLR0917 - as openleadr calls it
        self,
        ven_id: str,
        resource_id: str | None,  # noqa: ARG002 - openleadr passes its arguments by these names
        measurement: str,  # noqa: ARG002
        unit: str,  # noqa: ARG002
        scale: str,  # noqa: ARG002
        min_sampling_interval: timedelta,
        max_sampling_interval: timedelta,  # noqa: ARG002
    ) -> tuple[Any, timedelta, timedelta]:
        kept = self.values.setdefault(ven_id, [])

        async def on_values(values: list[Any]) -> None:
            kept.extend(values)

        return on_values, min_sampling_interval, timedelta(minutes=15)

    async def on_opt(self, ven_id: str, event_id: str, opt_type: str) -> None:
        self.opts[f"{ven_id} {event_id}"] = opt_type

    # --- acts ------------------------------------------------------------------------------------

    def admit(self, what: Plain) -> Plain:
        """Let VENs in: their certificates' fingerprints by venID."""
        self.fingerprints |= what["fingerprints"]
        if what["registered"]:
            self.registrations |= {one: f"registration-{one}" for one in what["fingerprints"]}
        return {}

    def publish(self, what: Plain) -> Plain:
        """One event for each of some VENs; the event IDs in their order."""
        starts_at = datetime.now(UTC) + timedelta(hours=1)
        interval = {
            "dtstart": starts_at,
            "duration": timedelta(minutes=15),
            "signal_payload": 1,
        }
        return {
            "event_ids": [
                self.server.add_event(
                    ven_id=ven_id,
                    signal_name="SIMPLE",
                    signal_type="level",
                    market_context="http://market.example/bench",
                    intervals=[dict(interval)],
                    callback=self.on_opt,
                )
                for ven_id in what["ven_ids"]
            ]
        }

    def kept(self, _what: Plain) -> Plain:
        """What is in memory: how many values, how many opted in."""
        opted_in = list(self.opts.values()).count("optIn")
        return {"values": sum(map(len, self.values.values())), "opts": opted_in}


async def run(options: argparse.Namespace) -> None:
    """Serve, and obey, until stdin ends."""
    vtn = Vtn(options)
    await vtn.server.run()
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    acts = {"admit": vtn.admit, "publish": vtn.publish, "kept": vtn.kept}
    while line := await lines.readline():
        what = json.loads(line)
        answers.write(json.dumps(acts[what["do"]](what)) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--signs", action="store_true")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    for name in ("cert", "key", "ca"):
        parser.add_argument(f"--{name}", required=True)
    # openleadr prints to stdout: that is kept for answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    chosen = parser.parse_args()
    (uvloop if chosen.loop == "uvloop" else asyncio).run(run(chosen))
