# SPDX-License-Identifier: Apache-2.0
"""/me, /users and /sessions: who may come in, and one's own account."""

import dataclasses
from typing import Any

from litestar import Request, Response, Router, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from vtn.accounts import Act
from vtn.accounts.views import Me, NewPassword, NewUser, OneTime, SessionView, UserChange, UserView
from vtn.operations.needs import AccountsHere, By, Who
from vtn.operations.pages import MOST, Cursor, Limit, linked
from vtn.operations.versions import Seen, expected_version, tagged


@get("/me", act=Act.OWN)
async def show_me(who: Who) -> Me:
    """Who asks, and what they may do."""
    return Me.of(who)


@post("/me/password", status_code=200, act=Act.OWN)
async def change_password(data: JSONBody[NewPassword], accounts: AccountsHere, who: Who) -> Me:
    """Choose another password; all other sessions of this user end."""
    await accounts.change_password(who, data.old, data.new)
    return Me.of(dataclasses.replace(who, must_change=False))


@get("/users", act=Act.USERS)
async def list_users(
    *,
    request: Request[Any, Any, State],
    accounts: AccountsHere,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response[list[UserView]]:
    """Users, by name; `Link` leads to the next page."""
    found = await accounts.users(after=cursor or "", limit=limit + 1)
    return linked(request, found, limit=limit, key=lambda one: one.name, view=UserView.of)


@post("/users", act=Act.USERS)
async def add_user(data: JSONBody[NewUser], accounts: AccountsHere, by: By) -> OneTime:
    """Let somebody in."""
    user, password = await accounts.add_user(data.name, data.roles, subject=data.subject, by=by)
    return OneTime(name=user.name, password=password)


@get("/users/{name:str}", act=Act.USERS)
async def show_user(name: FromPath[str], accounts: AccountsHere) -> Response[UserView]:
    """One user."""
    user = await accounts.user(name)
    return tagged(UserView.of(user), user.version)


@patch("/users/{name:str}", act=Act.USERS)
async def change_user(
    name: FromPath[str],
    data: JSONBody[UserChange],
    accounts: AccountsHere,
    by: By,
    seen: Seen = None,
) -> Response[UserView]:
    """Give other roles, disable or enable; 412 where somebody else was first."""
    user = await accounts.change_user(
        name,
        roles=data.roles,
        disabled=data.disabled,
        expected=expected_version(seen),
        by=by,
    )
    return tagged(UserView.of(user), user.version)


@post("/users/{name:str}/reset", status_code=200, act=Act.USERS)
async def reset_user(
    name: FromPath[str], accounts: AccountsHere, by: By, seen: Seen = None
) -> OneTime:
    """Give a new one-time password; their sessions and second factor are gone.

    With If-Match only where nobody else has changed the user since.
    """
    expected = None if seen is None else expected_version(seen)
    password = await accounts.reset_user(name, expected=expected, by=by)
    return OneTime(name=name, password=password)


@get("/sessions", act=Act.USERS)
async def list_sessions(accounts: AccountsHere, limit: Limit = MOST) -> list[SessionView]:
    """Who is logged in, the latest first."""
    return [SessionView.of(one) for one in await accounts.sessions(limit=limit)]


@post("/sessions/{session_id:str}/end", status_code=204, act=Act.USERS)
async def end_session(session_id: FromPath[str], accounts: AccountsHere, by: By) -> None:
    """Log somebody out."""
    await accounts.end_session(session_id, by=by)


router = Router(
    "/",
    route_handlers=[
        show_me,
        change_password,
        list_users,
        add_user,
        show_user,
        change_user,
        reset_user,
        list_sessions,
        end_session,
    ],
    tags=["users"],
)
