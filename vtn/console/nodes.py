# SPDX-License-Identifier: Apache-2.0
"""Nodes: one found among very many, let in, enrolled by a code."""

import re
from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from vtn.accounts import Act
from vtn.console import words
from vtn.console.asked import Asked
from vtn.console.forms import Form
from vtn.console.pem import der_of
from vtn.console.shell import AnyRequest, Shell, ShellHere, path_of, status_of
from vtn.desk import Desk
from vtn.desk.nodes import NodeOrder, NodePage, NodeQuery
from vtn.desk.room import NodeState
from vtn.errors import Invalid, VtnError
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.qr import qr_svg

_SIZE: Final = 50
KINDS: Final = {
    NodeState.ONLINE: "good",
    NodeState.LATE: "part",
    NodeState.SILENT: "bad",
    NodeState.EXPECTED: "info",
    NodeState.REVOKED: "none",
}
"""The shape and colour of each state."""
ORDERS: Final = (
    (NodeOrder.VEN_ID, "venID"),
    (NodeOrder.NAME, "name"),
    (NodeOrder.STATE, "what needs attention"),
    (NodeOrder.CONTACT, "silent the longest"),
)


@get("/nodes", act=Act.VIEW)
async def list_nodes(request: AnyRequest, shell: ShellHere, desk: DeskHere) -> Template:
    asked = Asked(request)
    order = asked.one_of("order", NodeOrder, NodeOrder.VEN_ID) or NodeOrder.VEN_ID
    found = await desk.find_nodes(
        NodeQuery(
            search=asked.text("q"),
            state=asked.one_of("state", NodeState),
            group=asked.text("group"),
            order=order,
            page=asked.page(),
            size=_SIZE,
        )
    )
    sparks = await desk.sparks([one.ven.ven_id for one in found.nodes])
    latest = {ven_id: _latest(line) for ven_id, line in sparks.items()}
    return shell.page(
        "nodes/list.html",
        title="Nodes",
        here="nodes",
        first=sentence(found),
        form=Form(asked.values()),
        found=found,
        groups=[("", "any group")] + [(one.group_id, one.name) for one in await desk.group_sizes()],
        states=[("", "any state")] + [(one.value, one.value) for one in NodeState],
        orders=[(one.value, text) for one, text in ORDERS],
        kinds=KINDS,
        sparks={ven_id: spark(line) for ven_id, line in sparks.items()},
        latest=latest,
        unit=words.unit_for(*latest.values()),
        before=asked.address(page=found.page - 1) if found.page > 1 else "",
        after=asked.address(page=found.page + 1) if found.page < found.pages else "",
        here_from=(found.page - 1) * _SIZE + 1,
    )


def sentence(found: NodePage) -> str:
    """The first line of the page."""
    by_state = found.by_state
    registered = sum(by_state[one] for one in (NodeState.ONLINE, NodeState.LATE, NodeState.SILENT))
    if not registered and not by_state[NodeState.EXPECTED]:
        return "No node is let in yet"
    heard = by_state[NodeState.ONLINE] + by_state[NodeState.LATE]
    silent = by_state[NodeState.SILENT]
    said = f"{heard:,} of {words.several(registered, 'node')} are online"
    if registered == 1:
        said = "The one node is online" if heard else "The one node is silent"
    elif silent:
        said += f", {silent:,} silent"
    waiting = by_state[NodeState.EXPECTED]
    return said + (f"; {waiting:,} never registered" if waiting else "")


def spark(line: tuple[float | None, ...]) -> str:
    """As static/sparks.js takes it: an empty place for a gap."""
    return ",".join("" if one is None else f"{one:.0f}" for one in line)


def _latest(line: tuple[float | None, ...]) -> float | None:
    return next((one for one in reversed(line) if one is not None), None)


# --- letting nodes in -----------------------------------------------------------------------------


@get("/add-node", act=Act.NODES)
async def show_add(shell: ShellHere, desk: DeskHere) -> Template:
    return await _add(shell, desk, Form())


@post("/add-node", act=Act.NODES)
async def add(shell: ShellHere, desk: DeskHere, by: By) -> Template | Redirect:
    form = await shell.form()
    sha256 = form.get("certificate_sha256")
    try:
        der, pem_sha256 = der_of(form.get("certificate"), "certificate")
        if not sha256 and not pem_sha256:
            raise Invalid("certificate_sha256: give the certificate, or its SHA-256.")
        ven = await desk.add_ven(
            ven_id=form.get("ven_id") or None,
            name=form.get("name") or form.get("ven_id"),
            certificate_sha256=sha256 or pem_sha256,
            certificate_der=der,
            resources=form.words("resources"),
            groups=form.all("groups"),
            by=by,
        )
    except VtnError as fault:
        form.refuse_at(str(fault), _PLACES, fields=_FIELDS)
        return await _add(shell, desk, form, status=status_of(fault))
    said = f"{ven.ven_id} is let in; it may register with its certificate now."
    return shell.go(path_of("nodes", ven.ven_id), said=said)


async def _add(shell: Shell, desk: Desk, form: Form, *, status: int = 200) -> Template:
    return shell.page(
        "nodes/add.html",
        title="Let a node in",
        here="nodes",
        status=status,
        form=form,
        groups=await desk.group_sizes(),
    )


_PLACES: Final = (
    ("SHA-256", "certificate_sha256"),
    ("certificate is that of", "certificate_sha256"),
    ("be a venID", "ven_id"),
    ("A venID", "ven_id"),
    ("a venID", "ven_id"),
    ("the VEN", "ven_id"),
    ("a VEN", "ven_id"),
    ("resourceID", "resources"),
    ("group", "groups"),
)
"""Which field a refusal of the desk speaks of."""
_FIELDS: Final = {
    name: name
    for name in ("ven_id", "certificate", "certificate_sha256", "resources", "groups", "hours")
}


@get("/enrolment", act=Act.NODES)
async def show_codes(shell: ShellHere, desk: DeskHere, now: NowHere) -> Template:
    return await _codes(shell, desk, now, Form())


@post("/enrolment", act=Act.NODES)
async def make_code(shell: ShellHere, desk: DeskHere, now: NowHere, by: By) -> Template:
    """The code is told in the answer to this request, and never again."""
    form = await shell.form()
    try:
        invitation, code = await desk.make_code(
            form.get("ven_id"),
            name=form.get("name"),
            resources=form.words("resources"),
            groups=form.all("groups"),
            hours=_hours(form.get("hours")),
            by=by,
        )
    except VtnError as fault:
        form.refuse_at(str(fault), _PLACES, fields=_FIELDS)
        return await _codes(shell, desk, now, form, status=status_of(fault))
    return shell.page(
        "nodes/code.html",
        title=f"Code for {code.ven_id}",
        here="nodes",
        first=f"Enrol {code.name} with this code; it is shown only now",
        invitation=invitation,
        code=code,
        qr=qr_svg(str(invitation)),
    )


@post("/enrolment/{code_id:str}/withdraw", act=Act.NODES)
async def withdraw_code(
    code_id: FromPath[str], shell: ShellHere, desk: DeskHere, by: By
) -> Redirect:
    try:
        code = await desk.withdraw_code(code_id, by=by)
    except VtnError as fault:
        return shell.go("/enrolment", said=str(fault), bad=True)
    return shell.go("/enrolment", said=f"Nobody enrols as {code.ven_id} with this code any more.")


async def _codes(
    shell: Shell, desk: Desk, now: NowHere, form: Form, *, status: int = 200
) -> Template:
    codes = await desk.codes()
    waiting = sum(one.state(now()) == "open" for one in codes)
    return shell.page(
        "nodes/codes.html",
        title="Enrolment",
        here="nodes",
        first=f"{words.several(waiting, 'code')} wait for their device"
        if waiting != 1
        else "1 code waits for its device",
        status=status,
        form=form,
        codes=[(one, one.state(now())) for one in codes],
        groups=await desk.group_sizes(),
    )


def _hours(text: str) -> int | None:
    """Raises Invalid."""
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= 24 * 14:
        raise Invalid("hours: give whole hours from 1 to 336.")
    return int(text)


handlers = [list_nodes, show_add, add, show_codes, make_code, withdraw_code]
