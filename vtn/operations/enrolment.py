# SPDX-License-Identifier: Apache-2.0
"""/enrolment-codes: one-time codes with which devices enrol."""

from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from certs.sheet import MadeCode, made_code
from vtn.accounts import Act
from vtn.operations.bodies import NewCode
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.operations.pages import Cursor, Limit, linked, placed
from vtn.views import Code


@post("/enrolment-codes", act=Act.NODES)
async def make_code(data: JSONBody[NewCode], desk: DeskHere, by: By) -> MadeCode:
    """Make a one-time code; what is secret in it is told this once."""
    invitation, code = await desk.make_code(
        data.ven_id,
        name=data.name,
        resources=data.resources,
        groups=data.groups,
        hours=data.hours,
        by=by,
    )
    return made_code(invitation, ven_id=code.ven_id, name=code.name, expires_at=code.expires_at)


@get("/enrolment-codes", act=Act.NODES)
async def list_codes(
    *,
    request: Request[Any, Any, State],
    desk: DeskHere,
    now: NowHere,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[list[Code]]:
    """The latest codes and what became of them, the newest first; `Link` leads to the next page."""
    with placed(cursor):
        found = await desk.codes(after=cursor, limit=limit + 1)
    at = now()
    return linked(
        request, found, limit=limit, key=lambda one: one.code_id, view=lambda one: Code.of(one, at)
    )


@post("/enrolment-codes/{code_id:str}/withdraw", status_code=200, act=Act.NODES)
async def withdraw_code(code_id: FromPath[str], desk: DeskHere, by: By, now: NowHere) -> Code:
    """Take a code back that was not used yet."""
    return Code.of(await desk.withdraw_code(code_id, by=by), now())


router = Router("/", route_handlers=[make_code, list_codes, withdraw_code], tags=["enrolment"])
