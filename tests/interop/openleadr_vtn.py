"""An unmodified openleadr VTN as a process of its own: prints what it sees, a JSON object a line.

python openleadr_vtn.py --port P --cert vtn.crt --key vtn.key --ca ca.crt --fingerprint AA:BB:..
"""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

from openleadr import OpenADRServer

VEN_ID, REGISTRATION_ID = "site-0042", "reg-0042"


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what, default=str) + "\n")
    sys.stdout.flush()


async def run(options: argparse.Namespace) -> None:
    registered = asyncio.Event()

    async def ven_lookup(ven_id: str) -> dict | None:
        if ven_id != VEN_ID:
            return None
        return {
            "ven_id": VEN_ID,
            "ven_name": "site",
            "fingerprint": options.fingerprint,
            "registration_id": REGISTRATION_ID if registered.is_set() else None,
        }

    async def on_create_party_registration(payload: dict) -> tuple[str, str]:
        say(saw="registration", ven_name=payload["ven_name"], ven_id=payload.get("ven_id"))
        registered.set()
        return VEN_ID, REGISTRATION_ID

    async def on_update(values: list, *, resource_id: str, measurement: str) -> None:
        for at, value in values:
            say(saw="reading", resource=resource_id, what=measurement, at=at, value=value)

    async def on_register_report(  # noqa: PLR0917 - as openleadr calls it
        ven_id, resource_id, measurement, unit, scale, min_sampling_interval, max_sampling_interval
    ):
        say(saw="offer", resource=resource_id, what=measurement, unit=unit)

        async def callback(values: list) -> None:
            await on_update(values, resource_id=resource_id, measurement=measurement)

        return callback, min_sampling_interval, timedelta(seconds=2)

    async def on_opt(ven_id: str, event_id: str, opt_type: str) -> None:
        say(saw="opt", ven_id=ven_id, event_id=event_id, opt=opt_type)

    server = OpenADRServer(
        vtn_id="OPENLEADR-VTN",
        http_port=options.port,
        http_cert=options.cert,
        http_key=options.key,
        http_ca_file=options.ca,
        ven_lookup=ven_lookup,
        verify_message_signatures=False,
        requested_poll_freq=timedelta(seconds=1),
    )
    server.add_handler("on_create_party_registration", on_create_party_registration)
    server.add_handler("on_register_report", on_register_report)
    server.add_event(
        ven_id=VEN_ID,
        event_id="peer-event",
        signal_name="SIMPLE",
        signal_type="level",
        market_context="http://market.example/peer",
        intervals=[
            {
                "dtstart": datetime.now(UTC) + timedelta(seconds=options.start_in_s),
                "duration": timedelta(seconds=8),
                "signal_payload": 1,
            }
        ],
        callback=on_opt,
    )
    await server.run()
    say(saw="listening", port=options.port)
    await asyncio.Event().wait()


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--start-in-s", type=float, default=20)
for name in ("cert", "key", "ca", "fingerprint"):
    parser.add_argument(f"--{name}", required=True)
asyncio.run(run(parser.parse_args()))
