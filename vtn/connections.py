# SPDX-License-Identifier: Apache-2.0
"""Who is connected, and who has to go when there are too many: of the idle, the longest idle.

One more connection than a certificate may have costs that certificate one; one more than all may
have costs whoever has said nothing for longest. Who is in the middle of a request stays.
"""

import itertools
from typing import Generic, Protocol, TypeVar


class Connected(Protocol):
    """One connection."""

    @property
    def certificate(self) -> str | None:
        """The full SHA-256 of the other end's certificate."""

    def abort(self) -> None:
        """Close it at once; `Connections.leave` follows, now or later."""


C = TypeVar("C", bound=Connected)


class Connections(Generic[C]):
    """Every open connection, by certificate and by how long it has been idle."""

    def __init__(self, *, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._silences = itertools.count()
        self._idle: dict[C, int] = {}  # in the order in which they fell silent, which is numbered
        self._all: dict[C, None] = {}
        self._by_certificate: dict[str | None, set[C]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: C) -> bool:
        """Take in a new connection, which is idle; False where there is no room for it."""
        same = self._by_certificate.get(connection.certificate, ())
        if len(same) >= self._most_of_one:
            silent = [one for one in same if one in self._idle]
            out = min(silent, key=self._idle.__getitem__, default=None)
        elif len(self._all) >= self._most:
            out = next(iter(self._idle), None)
        else:
            self._take(connection)
            return True
        if out is None:
            return False
        self.leave(out)
        out.abort()
        self._take(connection)
        return True

    def busy(self, connection: C) -> None:
        """A request has begun."""
        self._idle.pop(connection, None)

    def idle(self, connection: C) -> None:
        """Its request is answered."""
        if connection in self._all:
            self._idle[connection] = next(self._silences)

    def leave(self, connection: C) -> None:
        """It is closed, or about to be; again does no harm."""
        if connection not in self._all:
            return
        del self._all[connection]
        self._idle.pop(connection, None)
        same = self._by_certificate[connection.certificate]
        same.discard(connection)
        if not same:
            del self._by_certificate[connection.certificate]

    def of(self, certificate: str) -> tuple[C, ...]:
        """All connections of one certificate."""
        return tuple(self._by_certificate.get(certificate, ()))

    def every(self) -> tuple[C, ...]:
        return tuple(self._all)

    def _take(self, connection: C) -> None:
        self._all[connection] = None
        self.idle(connection)
        self._by_certificate.setdefault(connection.certificate, set()).add(connection)
