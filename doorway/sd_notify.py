# SPDX-License-Identifier: Apache-2.0
"""The service manager (systemd): ready, stopping, and a sign of life while there is progress.

See sd_notify(3). Under another parent, or none, nothing happens.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

from doorway.logs import get_logger

log = get_logger()


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send `READY=1`, `STATUS=...` ...; False where nobody asked for it, or the manager has gone.

    >>> notify("READY=1", "STATUS=serves 3 VENs", environment={})
    False
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # systemd's way to write an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.setblocking(False)  # a manager that does not read must not stop the program
            line.connect(address)
            line.send("\n".join(lines).encode())
    except OSError as error:
        log.warning("service_manager_not_told", message=lines[0], why=str(error))
        return False
    return True


def period_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often a sign of life is wanted at least (WatchdogSec); None where none is."""
    text = environment.get("WATCHDOG_USEC", "")
    wanted_of = environment.get("WATCHDOG_PID", str(os.getpid()))
    if not text.isdigit() or int(text) == 0 or not environment.get("NOTIFY_SOCKET"):
        return None
    return int(text) / 1e6 if wanted_of == str(os.getpid()) else None


async def keep_alive(
    is_alive: Callable[[], Awaitable[bool]],
    environment: Mapping[str, str] = os.environ,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Say that the program lives, three times in a period, as long as `is_alive` says so.

    `is_alive` must look at progress, not at itself: that this task runs shows only that the event
    loop does. It has a third of a period to answer. Returns at once where nobody waits for a sign.
    """
    period = period_s(environment)
    if period is None:
        return
    while True:
        try:
            async with asyncio.timeout(period / 3):
                alive = await is_alive()
        except TimeoutError:
            alive = False
        if alive:
            notify("WATCHDOG=1", environment=environment)
        else:
            log.warning("no_progress", restart_within_s=period)
        await sleep(period / 3)
