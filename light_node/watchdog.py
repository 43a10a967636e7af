# SPDX-License-Identifier: Apache-2.0
"""The service manager's watchdog: "ready" once, then a sign of life while ticks are executed."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

PERIODS = 2.5
"""A tick older than this many intervals, and the node is to be restarted."""


def notify(message: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send one line to systemd, as sd_notify(3) does; False when nobody asked for it."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.connect(address)
        line.send(message.encode())
    return True


async def keep_alive(
    is_alive: Callable[[], bool], environment: Mapping[str, str] = os.environ
) -> None:
    """Ping at half the period systemd has set, as long as `is_alive`; return if it set none.

    A silent meter is an alarm, not a reason to restart: only the node's own ticks count.
    """
    period_us = environment.get("WATCHDOG_USEC", "")
    if not period_us.isdigit() or not environment.get("NOTIFY_SOCKET"):
        return
    while True:
        if is_alive():
            notify("WATCHDOG=1", environment)
        await asyncio.sleep(int(period_us) / 2e6)
