# SPDX-License-Identifier: Apache-2.0
"""A bell: wakes every loop that waits for a change, and loses no ring between look and wait.

seen = bell.rings
...look at the world...
await bell.wait(seen, at_most_s=30)     # returns at once if it rang since `seen`
"""

import asyncio


class Bell:
    """Rung where something changed; waited on by any number of tasks of one event loop."""

    def __init__(self) -> None:
        self.rings = 0
        self._next = asyncio.Event()

    def ring(self) -> None:
        self.rings += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, seen: int, *, at_most_s: float | None = None) -> bool:
        """Wait until there are more rings than `seen`; False when the time ran out first."""
        if self.rings != seen:
            return True
        try:
            async with asyncio.timeout(at_most_s):
                await self._next.wait()
        except TimeoutError:
            return False
        return True
