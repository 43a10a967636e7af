"""An unmodified openleadr VEN as a process of its own: prints what it sees, a JSON object a line.

python openleadr_ven.py --url https://... --cert ven.crt --key ven.key --ca ca.crt --ven-id X
    [--vtn-fingerprint AA:BB:..]
"""

import argparse
import asyncio
import json
import sys
from datetime import timedelta

from openleadr import OpenADRClient


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what, default=str) + "\n")
    sys.stdout.flush()


async def run(options: argparse.Namespace) -> None:
    client = OpenADRClient(
        ven_name=options.ven_id,
        vtn_url=options.url,
        cert=options.cert,
        key=options.key,
        ca_file=options.ca,
        ven_id=options.ven_id,
        disable_signature=not options.vtn_fingerprint,
        vtn_fingerprint=options.vtn_fingerprint,
        show_fingerprint=False,
    )
    readings = iter(range(1000, 10**6))

    async def on_event(event: dict) -> str:
        descriptor = event["event_descriptor"]
        say(
            saw="event",
            event_id=descriptor["event_id"],
            modification_number=descriptor["modification_number"],
            status=descriptor["event_status"],
            signal=event["event_signals"][0]["signal_name"],
            value=event["event_signals"][0]["intervals"][0]["signal_payload"],
        )
        return "optIn"

    async def on_update_event(event: dict) -> str:
        return await on_event(event)

    async def read_power() -> int:
        value = next(readings)
        say(saw="reading", value=value)
        return value

    client.add_handler("on_event", on_event)
    client.add_handler("on_update_event", on_update_event)
    client.add_report(
        read_power,
        resource_id="roof",
        measurement="REAL_POWER",
        report_type="usage",
        sampling_rate=timedelta(seconds=1),
        report_duration=timedelta(hours=1),
    )
    client.add_hook("after_parse_xml", lambda name, payload: say(saw="message", name=name))
    await client.run()
    say(saw="registered", registration_id=client.registration_id, ven_id=client.ven_id)
    await asyncio.Event().wait()


parser = argparse.ArgumentParser()
for name in ("url", "cert", "key", "ca", "ven-id"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--vtn-fingerprint", help="sign, and verify what the VTN signs with this")
asyncio.run(run(parser.parse_args()))
