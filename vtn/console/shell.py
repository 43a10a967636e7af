# SPDX-License-Identifier: Apache-2.0
"""The frame around every page: bar, header, flash line, forms, and what is said of a refusal."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie, State
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, PermissionDeniedException, ValidationException
from litestar.params import SkipValidation
from litestar.response import Redirect, Template

from doorway import get_logger
from vtn.accounts import Act, Person
from vtn.console.board import Board, Running
from vtn.console.forms import Form
from vtn.errors import (
    Conflict,
    Forbidden,
    MustChangePassword,
    ProviderFault,
    StoreUnavailable,
    TooOften,
    Unauthorised,
    Unknown,
    VtnError,
)
from vtn.operations.needs import NowHere
from vtn.operations.problems import Refusals
from vtn.operations.problems import sentence as sentence_of

log = get_logger()

AnyRequest = Request[Any, Any, State]

STATIC: Final = Path(__file__).parent / "static"
LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
PASSWORD: Final = "/account/password"  # noqa: S105 - the page where it is changed
_FLASH: Final = "said"
_FLASH_S: Final = 60
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer but the static files, which may be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A page of the bar at the left."""

    here: str
    """As `page(here=...)` names it."""
    name: str
    path: str
    act: Act


NAV: Final = (
    Entry(here="now", name="Now", path="/", act=Act.VIEW),
    Entry(here="events", name="Events", path="/events", act=Act.VIEW),
    Entry(here="nodes", name="Nodes", path="/nodes", act=Act.VIEW),
    Entry(here="reports", name="Reports", path="/reports", act=Act.VIEW),
    Entry(here="messages", name="Messages", path="/messages", act=Act.MESSAGES),
    Entry(here="audit", name="Audit", path="/audit", act=Act.AUDIT),
    Entry(here="health", name="Health", path="/health", act=Act.VIEW),
    Entry(here="users", name="Users", path="/users", act=Act.USERS),
)


def _digest() -> str:
    whole = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


STATIC_PATH: Final = f"/static/{_digest()}"
"""Changes with what is in it, so that a browser may keep it for ever."""


def static(name: str) -> str:
    """The address of a file of the static folder."""
    return f"{STATIC_PATH}/{name}"


class Shell:
    """What one request needs to answer with a page."""

    def __init__(
        self,
        request: AnyRequest,
        now: datetime,
        running: tuple[Running, ...] | None,
        board: Board | None = None,
        asked: float = 0.0,
    ) -> None:
        """`running` are the events that are active; None where it was not looked up.

        `asked` is the moment of the `board` at which the request came.
        """
        self._board = board
        self._asked = asked
        self._request = request
        self._running = running
        self.now = now
        user = request.scope.get("user")
        self.who: Person | None = user if isinstance(user, Person) else None

    def may(self, act: Act) -> bool:
        return self.who is not None and self.who.may(act)

    async def form(self) -> Form:
        """The form that was sent, with everything that was typed."""
        sent = await self._request.form()
        found: dict[str, list[str]] = {}
        for name, value in sent.multi_items():
            if isinstance(value, str):
                found.setdefault(name, []).append(value)
        return Form(found)

    def page(
        self,
        template: str,
        *,
        title: str,
        here: str = "",
        first: str = "",
        status: int = 200,
        form: Form | None = None,
        kept: Sequence[Hashable] = (),
        **context: Any,  # whatever the template of that page shows
    ) -> Template:
        """A page; `first` is the sentence that answers its question.

        `kept` names what the board was asked for, besides the events that are active.
        """
        said, bad = _flash_of(self._request)
        return Template(
            template,
            status_code=status,
            context={
                "title": title,
                "here": here,
                "first": first or title,
                "form": form or Form(),
                "who": self.who,
                "may": self.may,
                "Act": Act,
                "nav": [one for one in NAV if self.may(one.act)],
                "now": self.now,
                "running": self._running,
                "behind": self._board is not None
                and self._board.is_behind(self._asked, "running", *kept),
                "path": self._request.url.path,
                "said": said,
                "said_bad": bad,
                **context,
            },
            cookies=[_flash("", 0)] if said else None,
            headers=HEADERS,
        )

    def go(self, to: str, *, said: str = "", bad: bool = False) -> Redirect:
        """On to another page, which says what has happened."""
        cookies = [_flash(said, _FLASH_S, bad=bad)] if said else None
        return Redirect(to, status_code=303, cookies=cookies)


ShellHere = NamedDependency[SkipValidation[Shell]]
BoardHere = NamedDependency[SkipValidation[Board]]


async def shell(request: AnyRequest, board: BoardHere, now: NowHere) -> Shell:
    """Provided to every handler of the console as `shell`."""
    if request.scope.get("user") is None:
        return Shell(request, now(), None)
    asked = board.moment()
    return Shell(request, now(), await board.running(), board, asked)


def path_of(*parts: str) -> str:
    """`path_of("events", event_id)` -> "/events/..." with what an address cannot bear escaped."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def inside(path: str) -> str:
    """An address of ours, for where to go on after the log-in; "/" for any other."""
    good = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if good else "/"


# --- the flash line -------------------------------------------------------------------------------


def _flash(said: str, seconds: int, *, bad: bool = False) -> Cookie:
    value = base64.urlsafe_b64encode(msgspec.json.encode([said[:1000], bad])).decode()
    return Cookie(
        key=_FLASH,
        value=value if said else "",
        max_age=seconds,
        httponly=True,
        samesite="strict",
    )


def _flash_of(request: AnyRequest) -> tuple[str, bool]:
    text = request.cookies.get(_FLASH, "")
    try:
        said, bad = msgspec.json.decode(base64.urlsafe_b64decode(text), type=tuple[str, bool])
    except (binascii.Error, ValueError):
        return "", False
    return said, bad


# --- refusals as pages ----------------------------------------------------------------------------

_STATUS: Final[tuple[tuple[type[VtnError], HTTPStatus], ...]] = (
    (Unknown, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (TooOften, HTTPStatus.TOO_MANY_REQUESTS),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (ProviderFault, HTTPStatus.SERVICE_UNAVAILABLE),
)


def status_of(fault: VtnError) -> int:
    return next(
        (code for kind, code in _STATUS if isinstance(fault, kind)), HTTPStatus.UNPROCESSABLE_ENTITY
    )


def refusals(now: Callable[[], datetime]) -> Refusals:
    """What browsers are shown where a handler has refused: pages, and the way to the log-in."""

    def refusal(request: AnyRequest, status: int, sentence: str) -> Template:
        return Shell(request, now(), None).page(
            "refused.html", title=HTTPStatus(status).phrase, first=sentence, status=status
        )

    def logged_out(request: AnyRequest, _fault: Unauthorised) -> Response[Any]:
        return _logged_out(request, now())

    def refused(request: AnyRequest, fault: VtnError) -> Response[Any]:
        return refusal(request, status_of(fault), str(fault))

    def unfit(request: AnyRequest, fault: HTTPException) -> Response[Any]:
        if fault.status_code == HTTPStatus.NOT_FOUND:
            return refusal(request, fault.status_code, f"There is no page {request.url.path}.")
        if isinstance(fault, PermissionDeniedException):  # the CSRF token
            sentence = "The page was open for too long, or came from elsewhere; open it again."
        elif isinstance(fault, ValidationException):
            sentence = sentence_of(request, fault)
        else:
            sentence = f"{fault.detail.removesuffix('.')}."
        return refusal(request, fault.status_code, sentence)

    def broken(request: AnyRequest, fault: Exception) -> Response[Any]:
        log.error("page failed", path=request.url.path, exc_info=fault)
        sentence = "The VTN made a mistake; its log says more."
        return refusal(request, HTTPStatus.INTERNAL_SERVER_ERROR, sentence)

    return {
        Unauthorised: logged_out,
        MustChangePassword: _to_password,
        VtnError: refused,
        HTTPException: unfit,
        Exception: broken,
    }


def _logged_out(request: AnyRequest, at: datetime) -> Response[Any]:
    """The log-in, then on to where they wanted to go.

    A form that was sent too late is not lost: a browser sends it again when it reloads.
    """
    if request.method != "GET" and request.url.path != LOGOUT:
        return Shell(request, at, None).page(
            "account/logged_out.html",
            title="Logged out",
            first="Your session has ended; nothing was changed",
            status=HTTPStatus.UNAUTHORIZED,
        )
    if request.method != "GET":
        return Redirect(LOGIN, status_code=303)
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return Redirect(f"{LOGIN}?{urlencode({'next': wanted})}", status_code=303)


def _to_password(_request: AnyRequest, _fault: MustChangePassword) -> Response[Any]:
    return Redirect(PASSWORD, status_code=303)


async def guarded(response: Response[Any]) -> Response[Any]:
    """An after-request hook: what nothing of ours may do in a browser, whatever stands in it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
