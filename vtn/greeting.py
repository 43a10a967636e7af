# SPDX-License-Identifier: Apache-2.0
"""Takes connections at the VENs' door, and counts those whose TLS handshake is under way.

Who has no certificate gets no further than this, but each handshake costs some 50 KiB while it
lasts. So only MOST are under way at once. The next waits outside (in the kernel's queue) until one
is done, or until the oldest has taken STALLED_S and is cut off. A crowd of honest VENs comes in one
after the other; stallers cost a bounded amount of memory, and make each other wait.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

from doorway import get_logger

log = get_logger()

MOST = 2000
STALLED_S = 5.0
AGAIN_S = 0.05
"""How long it waits when there is no room."""
NO_FILES_S = 1.0
"""How long it waits when this process may open no more files."""
_AT_ONCE = 64
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Greeting:
    """Accepts on a listening socket; `open` to begin, `close` to end (and to close the socket)."""

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        *,
        handshake_s: float,
        shutdown_s: float,
    ) -> None:
        """`make` makes the protocol of each connection, as for `loop.create_server`."""
        self._listening = listening
        self._make = make
        self._options: dict[str, Any] = {
            "ssl": context,
            "ssl_handshake_timeout": handshake_s,
            "ssl_shutdown_timeout": shutdown_s,
        }
        self._under_way: dict[asyncio.Task[None], float] = {}  # the oldest first, since when
        self._waiting: asyncio.TimerHandle | None = None
        self._open = False

    def __len__(self) -> int:
        """How many handshakes are under way."""
        return len(self._under_way)

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._go_on()

    def close(self) -> None:
        """Handshakes under way are broken off; connections that were made stay."""
        self._open = False
        self._loop.remove_reader(self._listening)
        if self._waiting is not None:
            self._waiting.cancel()
        for task in list(self._under_way):
            task.cancel()
        self._listening.close()

    def _go_on(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listening, self._accept)

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._waiting = self._loop.call_later(seconds, self._go_on)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if len(self._under_way) >= MOST and not self._cut_off():
                self._wait(AGAIN_S)
                return
            try:
                taken, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_FILES:
                    raise
                log.warning("no connection can be taken", reason=error.strerror)
                self._wait(NO_FILES_S)
                return
            taken.setblocking(False)
            task = self._loop.create_task(self._greet(taken))
            self._under_way[task] = self._loop.time()
            task.add_done_callback(self._done)

    def _cut_off(self) -> bool:
        """Break off the oldest handshake, if it has taken too long."""
        oldest, since = next(iter(self._under_way.items()))
        if self._loop.time() - since < STALLED_S:
            return False
        del self._under_way[oldest]
        oldest.cancel()
        return True

    async def _greet(self, taken: socket.socket) -> None:
        with contextlib.suppress(OSError):  # no TLS, no good certificate, too slow, or gone
            await self._loop.connect_accepted_socket(self._make, taken, **self._options)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a handshake failed", exc_info=error)
