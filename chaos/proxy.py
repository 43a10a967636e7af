# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that makes weather: delay, narrow lines, resets, silence in one direction or both.

    client ── up ──▶ proxy ── up ──▶ target
    client ◀─ down ── proxy ◀─ down ── target

Bytes are never dropped out of the middle of a connection: TCP does not do that either. Silence
holds them back; when it ends they arrive, as after a cable was plugged in again. A whole request
comes twice where its answer is cut off (`on_chunk`): then the client sends it again.

The proxy runs in a thread with an event loop of its own, so that what is tried may block.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

_CHUNK = 16 * 1024
_WAITING = 256
"""Chunks under way in one direction of one connection; then the sender has to wait."""


class Direction(Enum):
    """Which way bytes go."""

    UP = "up"
    """From who connects to who listens."""
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the line does to every connection; the default does nothing."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to this much more, drawn evenly for each chunk; the order stays."""
    bytes_per_s: float | None = None
    """Bandwidth in each direction of each connection."""
    reset_after: int | None = None
    """A connection is reset when about so many bytes (half to three halves of it) have passed."""
    silent: frozenset[Direction] = frozenset()
    """Both: a black hole; one: half open."""
    close_after_s: float = 0.0
    """How long the end of a stream is kept to itself."""
    refuses: bool = False
    """New connections are reset at once."""


CLEAR = Weather()
BLACK_HOLE = Weather(silent=frozenset(Direction))

OnChunk = Callable[[Direction, bytes], bool]
"""Sees each chunk before it goes on; False: it does not, and its connection is reset."""


class _Link:
    """One connection through the proxy."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter, share: float) -> None:
        self.near = near
        self.far = far
        self.share = share
        """It lives for this much of the weather's `reset_after`."""
        self.passed = 0

    def reset(self) -> None:
        """RST to both sides."""
        for writer in (self.near, self.far):
            _reset(writer)


class FaultProxy:
    """Listens on `port` of loopback and carries bytes to and from `target` there.

    A context manager; or `open` and `close`. Give `seed` to draw the same weather again.
    """

    def __init__(self, target: int, *, seed: int = 0) -> None:
        self.target = target
        """May be changed at any time: it counts for new connections."""
        self.on_chunk: OnChunk | None = None
        """Called in the proxy's own thread."""
        self._random = random.Random(seed)  # noqa: S311 - weather, not secrets
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._weather = CLEAR
        self._links: set[_Link] = set()
        self._changed = asyncio.Event()
        """Set when the weather changes, and made anew for the next change."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="fault proxy")

    # --- acts (from any thread) ------------------------------------------------------------------

    @property
    def weather(self) -> Weather:
        """What the line does now."""
        return self._weather

    def becomes(self, weather: Weather) -> None:
        """Change the weather, for the connections there are, too."""

        def change() -> None:
            self._weather = weather
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

        self._call(change)

    def cut(self) -> None:
        """Reset every connection there is."""

        def reset() -> None:
            for link in tuple(self._links):
                link.reset()

        self._call(reset)

    def open(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Reset everything and stop; nothing listens on `port` any more."""
        if not self._thread.is_alive():
            self._listening.close()
            return
        self._call(self._loop.stop)
        self._thread.join()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside ----------------------------------------------------------------------------------

    def _call(self, act: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(act)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, sock=self._listening)
        )
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for link in tuple(self._links):
                link.reset()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self._weather.refuses:
            _reset(near)
            return
        try:
            back, far = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(near)
            return
        # A handler that ends cancelled is reported as an error by asyncio, also while it stops.
        with contextlib.suppress(asyncio.CancelledError):
            await self._join(reader, near, back, far)

    async def _join(
        self,
        reader: asyncio.StreamReader,
        near: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        far: asyncio.StreamWriter,
    ) -> None:
        """Carry between the two ends until both have ended, or one is reset."""
        link = _Link(near, far, self._random.uniform(0.5, 1.5))
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as tasks:
                for source, sink, direction in (
                    (reader, far, Direction.UP),
                    (back, near, Direction.DOWN),
                ):
                    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING)
                    tasks.create_task(self._take(source, under_way))
                    tasks.create_task(self._give(link, under_way, sink, direction))
        except* OSError:
            link.reset()
        finally:
            self._links.discard(link)
            for writer in (near, far):
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _take(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        """Read, and say when each chunk is due; b"" is the end."""
        chunk = b"..."
        through = time.monotonic()  # the line's own end of the last chunk
        while chunk:
            narrow = self._weather.bytes_per_s
            chunk = await reader.read(_CHUNK if narrow is None else max(1, int(narrow / 20)))
            weather = self._weather
            through = max(through, time.monotonic())
            if weather.bytes_per_s is not None:
                through += len(chunk) / weather.bytes_per_s
            pause_s = weather.delay_s + self._random.uniform(0, weather.jitter_s)
            await under_way.put((through + pause_s, chunk))

    async def _give(
        self,
        link: _Link,
        under_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        """Write what is due, in order. Raises ConnectionResetError where the weather says so."""
        while True:
            due, chunk = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._sound(direction)
            if not chunk:
                await asyncio.sleep(self._weather.close_after_s)
                writer.write_eof()
                return
            if self.on_chunk is not None and not self.on_chunk(direction, chunk):
                raise ConnectionResetError
            writer.write(chunk)
            await writer.drain()
            self._count(link, len(chunk))

    async def _sound(self, direction: Direction) -> None:
        """Come back when the direction is not silent (any more)."""
        while direction in self._weather.silent:
            await self._changed.wait()

    def _count(self, link: _Link, passed: int) -> None:
        link.passed += passed
        limit = self._weather.reset_after
        if limit is not None and link.passed > limit * link.share:
            raise ConnectionResetError


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a line does that has forgotten the connection."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
