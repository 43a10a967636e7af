# SPDX-License-Identifier: Apache-2.0
"""Ports of loopback for programs that are started a moment later."""

import itertools
import os
import socket
from collections import deque

from demo.errors import DemoFault

_PORTS = range(20_000, 32_000)
"""Who asks for any port gets none of them: on Linux those begin at 32768."""
_CLAIMS = 64
_claims: deque[int] = deque()
_turns = itertools.count(os.getpid() * 61)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free and that nobody else who asks here gets meanwhile.

    Each is claimed by the name of an abstract Unix socket: so programs that pick ports side by side
    (the workers of a test run, a demonstration within one) never pick the same. A claim ends with
    this process, or when it has asked for _CLAIMS more.
    """
    for turn in itertools.islice(_turns, len(_PORTS)):
        port = _PORTS[turn % len(_PORTS)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim, socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                claim.bind(f"\0demandflex-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _claims.append(claim.detach())
        if len(_claims) > _CLAIMS:
            os.close(_claims.popleft())
        return port
    raise DemoFault(f"No port of 127.0.0.1 from {_PORTS[0]} to {_PORTS[-1]} is free.")
