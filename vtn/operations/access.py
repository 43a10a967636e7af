# SPDX-License-Identifier: Apache-2.0
"""Who comes in at the operators' listener, under which name, and whether they may do this.

Every route says what it does (`act=Act.VIEW`); `admit` stands before all of them and holds that
against vtn.accounts.PERMISSIONS. Who comes with a token needs no cookie, and the other way round.
"""

import contextlib
import hmac
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler
from litestar.handlers.http_handlers.base import HTTPRouteHandler
from litestar.middleware.csrf import CSRFMiddleware
from litestar.types import Receive, Scope, Send

from doorway import get_logger
from vtn.accounts import Act, Person, Role
from vtn.accounts.accounts import COOKIE, Accounts
from vtn.errors import Forbidden, Invalid, MustChangePassword, TooOften, Unauthorised

log = get_logger()

NAME_HEADER = "X-Operator"
"""The acting person's own word for who they are; the token is what is checked."""
MOST = 10
"""Wrong tokens of one client within WITHIN_S; more are refused unheard (429) and not logged."""
WITHIN_S = 60.0
_MOST_CLIENTS = 1000
_NAME = re.compile(r"[\w.@+-]{1,64}")
_FOR_PROGRAMS: Final = ("/api/", "/metrics")

AnyConnection = ASGIConnection[Any, Any, Any, State]


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


class Access:
    """The guard before every route of the operators' listener."""

    def __init__(
        self,
        token: str,
        *,
        metrics_token: str | None = None,
        accounts: Accounts | None = None,
        failures: Failures | None = None,
    ) -> None:
        """Without `accounts` the token is the only way in."""
        self._token = f"Bearer {token}".encode()
        self._metrics_token = None if metrics_token is None else f"Bearer {metrics_token}".encode()
        self._accounts = accounts
        self._failures = failures or Failures()

    async def admit(self, connection: AnyConnection, handler: BaseRouteHandler) -> None:
        """A guard of Litestar's; sets `request.user`, None where nobody need be anybody.

        Raises Unauthorised, TooOften, Forbidden, MustChangePassword.
        """
        connection.scope["user"] = None
        if isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}:
            return
        act = handler.opt.get("act")
        if not isinstance(act, Act):
            raise Forbidden("This route does not say what it does, so nobody may use it.")
        if act is Act.OPEN:
            connection.scope["user"] = await self._whoever(connection)
            return
        person = await self._person(connection)
        connection.scope["user"] = person
        if person.must_change and act is not Act.OWN:
            raise MustChangePassword("Choose a password of your own first.")
        if not person.may(act):
            roles = ", ".join(sorted(person.roles))
            raise Forbidden(f"This is not for {roles}; ask an admin for the right role.")

    async def _whoever(self, connection: AnyConnection) -> Person | None:
        """Who is logged in, where nobody need be."""
        cookie = connection.cookies.get(COOKIE)
        if cookie and self._accounts is not None:
            with contextlib.suppress(Unauthorised):
                return await self._accounts.identify(cookie)
        return None

    async def _person(self, connection: AnyConnection) -> Person:
        given = connection.headers.get("authorization")
        cookie = connection.cookies.get(COOKIE)
        if given is None and self._accounts is not None:
            if cookie:
                return await self._accounts.identify(cookie)
            if not connection.url.path.startswith(_FOR_PROGRAMS):
                raise Unauthorised("Log in to see this.")
        return self._by_token(connection, given or "")

    def _by_token(self, connection: AnyConnection, given: str) -> Person:
        token = given.encode("latin-1", "replace")
        if hmac.compare_digest(token, self._token):
            name = connection.headers.get(NAME_HEADER, "api")
            if not _NAME.fullmatch(name):
                raise Invalid(
                    f"{NAME_HEADER}: a name has up to 64 letters, digits or any of . @ + - _"
                )
            return Person(name=name, roles=frozenset({Role.ADMIN}))
        if self._metrics_token is not None and hmac.compare_digest(token, self._metrics_token):
            scrape = frozenset({Act.SCRAPE})
            return Person(name="metrics", roles=frozenset({Role.ADMIN}), limited_to=scrape)
        failed = self._failures.count(connection.client.host if connection.client else "")
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


class Csrf(CSRFMiddleware):
    """Litestar's, for browsers: another site can send our cookies, but no Authorization."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"authorization" for name, _ in scope["headers"]):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def person(request: Request[Any, Any, State]) -> Person:
    """Who acts; behind every route but the open ones there is somebody. Raises Unauthorised."""
    found = request.scope.get("user")
    if not isinstance(found, Person):
        raise Unauthorised("Log in to see this.")
    return found


def second_person(who: Person) -> str:
    """The name of who may approve what another has proposed. Raises Forbidden for a token."""
    if who.session_id is None:
        raise Forbidden(
            "A token gives any name it likes, so it cannot be the second person; log in."
        )
    return who.name


def operator(request: Request[Any, Any, State]) -> str:
    """The name that stands in the audit; `api` for a program that gives none."""
    return person(request).name
