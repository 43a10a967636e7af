# SPDX-License-Identifier: Apache-2.0
"""The listening sockets, bound once for all workers.

Each worker has sockets of its own at the same addresses (SO_REUSEPORT): the kernel deals
connections out evenly, where workers that share one socket leave most of them to whoever wakes
first. The supervisor keeps every one of them open, so that what waits at the door of a worker that
was killed is served by its successor (docs/decisions/0006-workers.md).
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vtn.config import Settings
from vtn.listener import bind, listening


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The sockets of one worker."""

    openadr: Sequence[socket.socket]
    """For VENs; then, where there is one, that of the TLS front."""
    operator: socket.socket
    enrolment: Sequence[socket.socket] = ()
    """For devices that enrol, where [enrolment] says so."""

    def every(self) -> tuple[socket.socket, ...]:
        return (*self.enrolment, *self.openadr, self.operator)

    def close(self) -> None:
        for one in self.every():
            one.close()

    def shut(self) -> None:
        """Let the kernel deal nothing out to these any more: what waits at them comes again.

        A Unix socket stays: all workers share it.
        """
        for one in self.every():
            if one.family != socket.AF_UNIX:
                one.close()


def open_doors(settings: Settings) -> Doors:
    """For one process alone. Raises ListenerFault."""
    opened = [*listening(settings.openadr)]
    enrolment = settings.enrolment
    try:
        opened.append(
            bind(settings.operator.host, settings.operator.port, whose="The listener for operators")
        )
        enrolling = (
            [bind(enrolment.host, enrolment.port, whose="The listener for devices that enrol")]
            if enrolment is not None
            else []
        )
    except BaseException:
        for one in opened:
            one.close()
        raise
    return Doors(openadr=opened[:-1], operator=opened[-1], enrolment=enrolling)


def open_for(settings: Settings, workers: int) -> list[Doors]:
    """For several workers. Raises ListenerFault, also where another program listens there."""
    first = open_doors(settings)  # alone: it finds out who else listens, and which ports are free
    named = [(one, one.getsockname()) for one in first.every()]
    for one, _ in named:
        if one.family != socket.AF_UNIX:
            one.close()
    return [_beside(named, len(first.enrolment)) for _ in range(workers)]


def open_beside(others: Doors) -> Doors:
    """For a worker that was shut out, at the addresses of `others`. Raises ListenerFault."""
    named = [(one, one.getsockname()) for one in others.every()]
    return _beside(named, len(others.enrolment))


def _beside(named: Sequence[tuple[socket.socket, Any]], enrolling: int) -> Doors:
    """Sockets of their own at these addresses, but for Unix sockets: those are shared."""
    sockets = [
        one
        if one.family == socket.AF_UNIX
        else bind(address[0], address[1], whose="A worker's listener", shared=True)
        for one, address in named
    ]
    return Doors(enrolment=sockets[:enrolling], openadr=sockets[enrolling:-1], operator=sockets[-1])
