# SPDX-License-Identifier: Apache-2.0
"""Who may use the operator's API, and under which name they act."""

import hmac
import re
from collections.abc import Callable
from typing import Any

import structlog
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler

from vtn.errors import Invalid, Unauthorised

log = structlog.get_logger()

NAME_HEADER = "X-Operator"
"""The acting person's own word for who they are; the token is what is checked."""
_NAME = re.compile(r"[\w.@+-]{1,64}")

Guard = Callable[[ASGIConnection[Any, Any, Any, State], BaseRouteHandler], None]


def bearer(*tokens: str) -> Guard:
    """A guard that lets in who sends `Authorization: Bearer TOKEN`, with one of these.

    Raises Unauthorised.
    """
    wanted = [f"Bearer {token}".encode() for token in tokens]

    def guard(connection: ASGIConnection[Any, Any, Any, State], _handler: BaseRouteHandler) -> None:
        given = connection.headers.get("authorization", "").encode("latin-1", "replace")
        if not any(hmac.compare_digest(given, one) for one in wanted):
            log.warning("operator refused", path=connection.url.path, client=connection.client)
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
