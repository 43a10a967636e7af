# SPDX-License-Identifier: Apache-2.0
"""A bad line to the light node's socket: messages come twice, late and in another order, or break.

A message is a line. Requests keep their order, as on any stream, but may come twice; answers may
also overtake one another; and now and then the connection ends in the middle of an answer.
"""

import asyncio
import contextlib
import random
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from light_node.local import LINE_LIMIT

_TWICE = 0.1
_LATE = 0.2
_LATE_S = 0.4
_BREAKS = 0.03


class SocketLine:
    """Listens at `path` and passes on to the socket `target`, in a thread of its own."""

    def __init__(self, path: Path, target: Path, *, seed: int) -> None:
        self._path = path
        self._target = target
        self._chance = random.Random(seed)  # noqa: S311 - weather, not secrets
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="socket line")
        self.passed = 0
        self.repeated = 0
        self.overtaken = 0
        self.broken = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(
            asyncio.start_unix_server(self._accept, self._path, limit=LINE_LIMIT)
        )
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            back, far = await asyncio.open_unix_connection(self._target, limit=LINE_LIMIT)
            try:
                ways = [
                    asyncio.create_task(self._ask(reader, far)),
                    asyncio.create_task(self._answer(back, near)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                far.close()
        near.close()

    async def _ask(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self._write(line, far)
            if self._chance.random() < _TWICE and b'"Watch"' not in line:
                self.repeated += 1
                self._write(line, far)
            await far.drain()

    async def _answer(self, back: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        late: set[asyncio.Task[None]] = set()
        while line := await back.readline():
            draw = self._chance.random()
            if draw < _BREAKS:
                self.broken += 1
                near.write(line[: len(line) // 2])
                return
            if draw < _BREAKS + _TWICE:
                self.repeated += 1
                self._write(line, near)
            elif draw < _BREAKS + _TWICE + _LATE:
                self.overtaken += 1
                task = asyncio.create_task(self._later(line, near))
                late.add(task)
                task.add_done_callback(late.discard)
                continue
            self._write(line, near)
            await near.drain()

    async def _later(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._chance.uniform(0, _LATE_S))
        if not writer.is_closing():
            self._write(line, writer)

    def _write(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        self.passed += 1
        writer.write(line)
