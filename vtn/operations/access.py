# SPDX-License-Identifier: Apache-2.0
"""Who may use the operator's API, and under which name they act."""

import hmac
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler

from vtn.errors import Invalid, TooOften, Unauthorised

log = structlog.get_logger()

NAME_HEADER = "X-Operator"
"""The acting person's own word for who they are; the token is what is checked."""
MOST = 10
"""Wrong tokens of one client within WITHIN_S; more are refused unheard (429) and not logged."""
WITHIN_S = 60.0
_MOST_CLIENTS = 1000
_NAME = re.compile(r"[\w.@+-]{1,64}")

Guard = Callable[[ASGIConnection[Any, Any, Any, State], BaseRouteHandler], None]


class Failures:
    """Wrong tokens by client address; a right one is never held up by the wrong ones of others.

    A token made by `vtn init` cannot be guessed; what is spared is the log, and our time.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._by_client: dict[str, deque[float]] = {}

    def count(self, client: str) -> int:
        """One more wrong token; how many there were within WITHIN_S, MOST + 1 at most."""
        now = self._monotonic()
        times = self._by_client.pop(client, None) or deque(maxlen=MOST + 1)
        self._by_client[client] = times  # the latest last
        if len(self._by_client) > _MOST_CLIENTS:
            del self._by_client[next(iter(self._by_client))]
        while times and times[0] <= now - WITHIN_S:
            times.popleft()
        times.append(now)
        return len(times)


def bearer(*tokens: str, failures: Failures | None = None) -> Guard:
    """A guard that lets in who sends `Authorization: Bearer TOKEN`, with one of these.

    Raises Unauthorised; TooOften for more than MOST wrong tokens of one client within WITHIN_S.
    """
    wanted = [f"Bearer {token}".encode() for token in tokens]
    failures = failures or Failures()

    def guard(connection: ASGIConnection[Any, Any, Any, State], _handler: BaseRouteHandler) -> None:
        given = connection.headers.get("authorization", "").encode("latin-1", "replace")
        if not any(hmac.compare_digest(given, one) for one in wanted):
            failed = failures.count(connection.client.host if connection.client else "")
            if failed > MOST:
                raise TooOften(f"Too many wrong tokens; come again in {WITHIN_S:g} s.")
            log.warning(
                "operator refused",
                path=connection.url.path,
                client=connection.client,
                more="not told" if failed == MOST else "told",
            )
            raise Unauthorised(
                "The operator's token is missing or wrong; send it as Authorization: Bearer."
            )

    return guard


def operator(request: Request[Any, Any, State]) -> str:
    """The name that stands in the audit; `api` for who gives none. Raises Invalid."""
    name = request.headers.get(NAME_HEADER, "api")
    if not _NAME.fullmatch(name):
        raise Invalid(f"{NAME_HEADER}: a name has up to 64 letters, digits or any of . @ + - _")
    return name
