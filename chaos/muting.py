# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that can fall silent: connections stay open, and what is sent is lost."""

import socket
import threading
from typing import Self


class MutableLine:
    """Listens on `port` and carries bytes to and from `target` on loopback, unless `muted`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.muted = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with source, sink:
            try:
                while chunk := source.recv(65536):
                    if not self.muted.is_set():
                        sink.sendall(chunk)
                sink.shutdown(socket.SHUT_RDWR)
            except OSError:
                return
