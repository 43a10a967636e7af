# SPDX-License-Identifier: Apache-2.0
"""An unmodified openleadr VEN as a process of its own; it opts in to everything.

Only here, in a separate process, is openleadr imported.
"""

import argparse
import asyncio
from datetime import timedelta
from typing import Any

from openleadr import OpenADRClient, enums


async def main(options: argparse.Namespace) -> None:
    client = OpenADRClient(
        ven_name="conformance",
        vtn_url=f"{options.url}/OpenADR2/Simple/2.0b",
        cert=options.cert,
        key=options.key,
        ca_file=options.ca,
        disable_signature=True,
        show_fingerprint=False,
        allow_jitter=False,
    )

    async def on_event(_event: dict[str, Any]) -> str:
        return "optIn"

    async def read_power() -> float:
        return 1000.0

    client.add_handler("on_event", on_event)
    client.add_handler("on_update_event", on_event)
    client.add_report(
        read_power,
        resource_id="roof",
        measurement="powerReal",
        sampling_rate=timedelta(seconds=1),
        report_duration=timedelta(hours=1),
    )
    client.add_report(
        read_power,
        resource_id="roof",
        report_name=enums.REPORT_NAME.TELEMETRY_STATUS,
        report_type="x-resourceStatus",
        reading_type="x-notApplicable",
        sampling_rate=timedelta(seconds=1),
        report_duration=timedelta(hours=1),
    )
    await client.run()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("url", "cert", "key", "ca"):
        parser.add_argument(f"--{name}", required=True)
    asyncio.run(main(parser.parse_args()))
