# SPDX-License-Identifier: Apache-2.0
"""The embedded broker, where no mosquitto is installed: amqtt on loopback, MQTT 3.1.1 only.

It admits everybody, keeps nothing over a restart, and is for demonstrations and tests alone.
"""

import asyncio
import contextlib
import logging
import signal
import socket

import click
from amqtt.broker import Broker

from doorway import show


@click.command(epilog="Example: python -m demo.broker --port 1883")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=1883, show_default=True)
def main(host: str, port: int) -> None:
    """Run the embedded MQTT broker until SIGTERM or Ctrl-C; port 0 picks a free one and says it."""
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_serve(host, port or _free_port(host)))


async def _serve(host: str, port: int) -> None:
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await broker.start()
    show(f"listening on {host}:{port}")
    await stop.wait()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(broker.shutdown(), 5.0)


def _free_port(host: str) -> int:
    """A port that was free a moment ago: amqtt does not tell which one it got for 0."""
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
