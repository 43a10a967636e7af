# SPDX-License-Identifier: Apache-2.0
"""What exactly one process of the VTN does, however many serve: push, roll up, tidy up.

A duty is `async def run() -> None`: it goes on for ever, and is cancelled when this process is no
longer the one on duty. For a moment two may be on duty, one that does not know yet that it has
lost its line to the database and one that has taken over: what a duty does twice does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from doorway import get_logger

log = get_logger()

Duty = Callable[[], Awaitable[None]]

AGAIN_S = 5.0
"""A duty that fails is begun again after this."""


class Duties:
    """Begins and ends all duties together."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._duties = duties
        self._running: list[asyncio.Task[None]] = []

    @property
    def on(self) -> bool:
        """Whether this process is on duty."""
        return bool(self._running)

    def begin(self) -> None:
        self._running = [asyncio.create_task(_go_on(duty)) for duty in self._duties]

    async def end(self) -> None:
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


async def _go_on(duty: Duty) -> None:
    while True:
        try:
            await duty()
        except Exception:
            log.exception("a duty failed", duty=getattr(duty, "__qualname__", str(duty)))
        await asyncio.sleep(AGAIN_S)
