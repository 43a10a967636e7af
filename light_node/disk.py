# SPDX-License-Identifier: Apache-2.0
"""The disk: one thread for everything that may have to wait for a memory card."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Disk:
    """Runs calls one after the other, off the event loop: a slow card never delays a tick."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")

    async def run(self, act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `act` after all earlier calls. Once begun it runs to its end, even if cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: act(*args, **kwargs))

    def close(self) -> None:
        self._thread.shutdown()
