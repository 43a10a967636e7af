# SPDX-License-Identifier: Apache-2.0
"""How often somebody may try a password: by client address, and by name whoever tries."""

import time
from collections import deque
from collections.abc import Callable

from vtn.errors import TooOften

BY_CLIENT = (10, 60.0)
"""So many wrong ones within so many seconds."""
BY_NAME = (30, 900.0)
_MOST_KEYS = 10_000


class Throttle:
    """Wrong passwords of late; each process counts for itself."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failed: dict[str, deque[float]] = {}

    def refuse(self, *, client: str, name: str) -> None:
        """Raises TooOften where too many have failed; nothing is looked at then."""
        for key, (most, within_s) in self._keys(client, name):
            times = self._failed.get(key)
            if times and len(times) >= most and times[0] > self._monotonic() - within_s:
                wait_s = int(times[0] + within_s - self._monotonic()) + 1
                raise TooOften(f"Too many wrong passwords; come again in {wait_s} s.")

    def failed(self, *, client: str, name: str) -> None:
        for key, (most, _within_s) in self._keys(client, name):
            times = self._failed.pop(key, None) or deque(maxlen=most)
            self._failed[key] = times  # the latest last
            times.append(self._monotonic())
        while len(self._failed) > _MOST_KEYS:
            del self._failed[next(iter(self._failed))]

    def succeeded(self, *, name: str) -> None:
        self._failed.pop(f"name {name}", None)

    @staticmethod
    def _keys(client: str, name: str) -> tuple[tuple[str, tuple[int, float]], ...]:
        return (f"client {client}", BY_CLIENT), (f"name {name}", BY_NAME)
