# SPDX-License-Identifier: Apache-2.0
"""/vens, /groups, /market-contexts: who takes part."""

from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from litestar import Request, Response, Router, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from oadr.fingerprint import sha256
from vtn import records
from vtn.accounts import Act
from vtn.desk.grouping import seen_of
from vtn.errors import Invalid
from vtn.operations.bodies import (
    GroupEdit,
    MarketContextEdit,
    Members,
    NewCertificate,
    NewGroup,
    NewMarketContext,
    NewResource,
    NewVen,
)
from vtn.operations.needs import By, DeskHere
from vtn.operations.pages import MOST, Cursor, Limit, linked
from vtn.operations.versions import Seen, expected_digest, tagged
from vtn.views import Opt, Ven


@get("/vens", act=Act.VIEW)
async def list_vens(
    request: Request[Any, Any, State],
    desk: DeskHere,
    *,
    group: FromQuery[str | None] = None,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response[list[Ven]]:
    """VENs, or those of a group, by venID; `Link` leads to the next page."""
    found = await desk.vens(group=group, after=cursor or "", limit=limit + 1)
    return linked(request, found, limit=limit, key=lambda one: one.ven_id, view=Ven.of)


@post("/vens", act=Act.NODES)
async def add_ven(data: JSONBody[NewVen], desk: DeskHere, by: By) -> Ven:
    """Let a VEN in: with this certificate it may register."""
    der = _der(data.certificate) if data.certificate else None
    return Ven.of(
        await desk.add_ven(
            ven_id=data.ven_id,
            name=data.name or data.ven_id or "",
            certificate_sha256=data.certificate_sha256 or (sha256(der) if der else ""),
            certificate_der=der,
            resources=data.resources,
            groups=data.groups,
            by=by,
        )
    )


@get("/vens/{ven_id:str}", act=Act.VIEW)
async def show_ven(ven_id: FromPath[str], desk: DeskHere) -> Ven:
    """One VEN."""
    return Ven.of(await desk.ven(ven_id))


@post("/vens/{ven_id:str}/resources", act=Act.NODES)
async def add_resource(
    ven_id: FromPath[str], data: JSONBody[NewResource], desk: DeskHere, by: By
) -> Ven:
    """Name a resource behind a VEN."""
    return Ven.of(await desk.add_resource(ven_id, data.resource_id, by=by))


@post("/vens/{ven_id:str}/revoke", status_code=200, act=Act.REVOKE)
async def revoke_ven(ven_id: FromPath[str], desk: DeskHere, by: By) -> Ven:
    """Shut a VEN out, for good; what it sent stays."""
    return Ven.of(await desk.revoke_ven(ven_id, by=by))


@post("/vens/{ven_id:str}/certificate", status_code=200, act=Act.NODES)
async def replace_certificate(
    ven_id: FromPath[str], data: JSONBody[NewCertificate], desk: DeskHere, by: By
) -> Ven:
    """Give a VEN another certificate; the one before is shut out."""
    der = _der(data.certificate) if data.certificate else None
    return Ven.of(
        await desk.replace_certificate(
            ven_id,
            certificate_sha256=data.certificate_sha256 or (sha256(der) if der else ""),
            certificate_der=der,
            by=by,
        )
    )


@post("/vens/{ven_id:str}/reregister", status_code=200, act=Act.NODES)
async def reregister_ven(ven_id: FromPath[str], desk: DeskHere, by: By) -> Ven:
    """Ask a VEN to register again, at its next poll."""
    await desk.request_reregistration(ven_id, by=by)
    return Ven.of(await desk.ven(ven_id))


@post("/vens/{ven_id:str}/deregister", status_code=200, act=Act.NODES)
async def deregister_ven(ven_id: FromPath[str], desk: DeskHere, by: By) -> Ven:
    """End a VEN's registration, at its next poll."""
    await desk.cancel_registration(ven_id, by=by)
    return Ven.of(await desk.ven(ven_id))


@get("/vens/{ven_id:str}/opts", act=Act.VIEW)
async def list_opts(
    ven_id: FromPath[str], desk: DeskHere, *, ended: FromQuery[bool] = False
) -> list[Opt]:
    """A VEN's opts in force; with `ended` those before, too."""
    return [Opt.of(each) for each in await desk.opts(ven_id, ended=ended)]


@get("/vens/{ven_id:str}/days", act=Act.VIEW)
async def list_days(
    ven_id: FromPath[str],
    desk: DeskHere,
    limit: Annotated[int, QueryParameter(ge=1, le=4000)] = 31,
) -> list[records.ReportDay]:
    """How much a VEN reported each day (UTC), the latest first."""
    return await desk.report_days(ven_id, limit=limit)


@get("/groups", act=Act.VIEW)
async def list_groups(
    *,
    request: Request[Any, Any, State],
    desk: DeskHere,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response[list[records.Group]]:
    """Groups with their VENs, by groupID; `Link` leads to the next page."""
    found = await desk.groups(after=cursor or "", limit=limit + 1)
    return linked(request, found, limit=limit, key=lambda one: one.group_id, view=lambda one: one)


@post("/groups", act=Act.GROUPS)
async def add_group(data: JSONBody[NewGroup], desk: DeskHere, by: By) -> Response[records.Group]:
    """Make a group that events can be for."""
    name = data.name or data.group_id
    return _group(await desk.add_group(data.group_id, name, ven_ids=data.vens, by=by))


@get("/groups/{group_id:str}", act=Act.VIEW)
async def show_group(group_id: FromPath[str], desk: DeskHere) -> Response[records.Group]:
    """One group with its VENs."""
    return _group(await desk.group(group_id))


@put("/groups/{group_id:str}", act=Act.GROUPS)
async def edit_group(
    *,
    group_id: FromPath[str],
    data: JSONBody[GroupEdit],
    desk: DeskHere,
    by: By,
    seen: Seen = None,
) -> Response[records.Group]:
    """Give a group this name and these VENs in place of those it has.

    `If-Match` says what was looked at: 428 without, 412 where it has changed meanwhile. Events
    published already stay with whom they were for.
    """
    looked_at = expected_digest(seen)
    return _group(
        await desk.edit_group(group_id, name=data.name, ven_ids=data.vens, seen=looked_at, by=by)
    )


@post("/groups/{group_id:str}/members", status_code=200, act=Act.GROUPS)
async def add_members(
    group_id: FromPath[str], data: JSONBody[Members], desk: DeskHere, by: By
) -> Response[records.Group]:
    """Add VENs to a group."""
    return _group(await desk.add_to_group(group_id, data.vens, by=by))


@post("/groups/{group_id:str}/members/remove", status_code=200, act=Act.GROUPS)
async def remove_members(
    group_id: FromPath[str], data: JSONBody[Members], desk: DeskHere, by: By
) -> Response[records.Group]:
    """Remove VENs from a group."""
    return _group(await desk.remove_from_group(group_id, data.vens, by=by))


@get("/market-contexts", act=Act.VIEW)
async def list_contexts(
    *,
    request: Request[Any, Any, State],
    desk: DeskHere,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response[list[records.MarketContext]]:
    """Market contexts, by URI; `Link` leads to the next page."""
    found = await desk.market_contexts(after=cursor or "", limit=limit + 1)
    return linked(request, found, limit=limit, key=lambda one: one.uri, view=lambda one: one)


@post("/market-contexts", act=Act.GROUPS)
async def add_context(
    data: JSONBody[NewMarketContext], desk: DeskHere, by: By
) -> Response[records.MarketContext]:
    """Make a market context (a URI) that events can belong to."""
    return _context(await desk.add_market_context(data.uri, data.name or data.uri, by=by))


@get("/market-context", act=Act.VIEW)
async def show_context(uri: FromQuery[str], desk: DeskHere) -> Response[records.MarketContext]:
    """One market context."""
    return _context(await desk.market_context(uri))


@patch("/market-context", act=Act.GROUPS)
async def edit_context(
    *,
    uri: FromQuery[str],
    data: JSONBody[MarketContextEdit],
    desk: DeskHere,
    by: By,
    seen: Seen = None,
) -> Response[records.MarketContext]:
    """Give a market context another name; `If-Match` says what was looked at."""
    looked_at = expected_digest(seen)
    return _context(await desk.edit_market_context(uri, name=data.name, seen=looked_at, by=by))


def _group(group: records.Group) -> Response[records.Group]:
    return tagged(group, seen_of(group))


def _context(context: records.MarketContext) -> Response[records.MarketContext]:
    return tagged(context, seen_of(context))


def _der(pem: str) -> bytes:
    """The first certificate of a chain. Raises Invalid."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, x509.InvalidVersion) as error:
        raise Invalid("certificate: this is no certificate in PEM.") from error
    return found[0].public_bytes(Encoding.DER)


router = Router(
    "/",
    route_handlers=[
        list_vens,
        add_ven,
        show_ven,
        add_resource,
        replace_certificate,
        revoke_ven,
        reregister_ven,
        deregister_ven,
        list_opts,
        list_days,
        list_groups,
        add_group,
        show_group,
        edit_group,
        add_members,
        remove_members,
        list_contexts,
        add_context,
        show_context,
        edit_context,
    ],
    tags=["vens"],
)
