# SPDX-License-Identifier: Apache-2.0
"""A Modbus meter as a process of its own that prints the wall time of each request it gets."""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping

from light_node.profile import load_profile
from light_node.simulator import SimulatedMeter


async def serve(options: argparse.Namespace) -> None:
    """Answer, and print epoch seconds a line, until the process is ended."""

    def values() -> Mapping[str, float]:
        sys.stdout.write(f"{time.time():.6f}\n")
        return {"active_power": 42_000.0}

    async with SimulatedMeter(load_profile("sdm630"), values, port=options.port):
        while True:
            await asyncio.sleep(1)
            sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args()))
