# SPDX-License-Identifier: Apache-2.0
"""Events that wait for a second person: looked at, approved, declined."""

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from vtn.accounts import Act
from vtn.console import words
from vtn.console.board import name_of
from vtn.console.forms import Form
from vtn.console.shell import Shell, ShellHere, path_of, status_of
from vtn.desk import Desk
from vtn.errors import VtnError
from vtn.operations.access import second_person
from vtn.operations.needs import By, DeskHere, Who
from vtn.records import ProposalState


@get("/events/proposals/{proposal_id:str}", act=Act.VIEW)
async def show_proposal(proposal_id: FromPath[str], shell: ShellHere, desk: DeskHere) -> Template:
    return await _proposal(shell, desk, proposal_id)


async def _proposal(
    shell: Shell, desk: Desk, proposal_id: str, *, form: Form | None = None, status: int = 200
) -> Template:
    found = await desk.proposal(proposal_id)
    form = form or Form()
    event_id, modifies = found.event.event_id, found.expected_modification
    asked = "; ".join(words.order(one) for one in found.event.signals)
    waits = found.state is ProposalState.AWAITING
    preview = None
    if waits:
        try:
            replaced = event_id if modifies is not None else ""
            preview = await desk.preview_event(found.event, replaces=replaced)
        except VtnError as fault:  # it has become impossible since: its start has passed …
            form.refuse(str(fault))
    what = "proposes" if modifies is None else f"proposes to modify {name_of(found.event)}"
    return shell.page(
        "events/proposal.html",
        title="Proposal",
        here="events",
        first=f"{found.proposed_by} {what}: {asked}, from {words.moment(found.event.starts_at)}",
        found=found,
        waits=waits,
        modifies=modifies,
        preview=preview,
        needs_approval=False,
        unit=words.unit_for(*((preview.ordered_w, preview.taking_w) if preview else ())),
        own=shell.who is not None and shell.who.name == found.proposed_by,
        form=form,
        status=status,
    )


@post("/events/proposals/{proposal_id:str}/approve", act=Act.APPROVE)
async def approve(
    proposal_id: FromPath[str], shell: ShellHere, desk: DeskHere, who: Who
) -> Template | Redirect:
    try:
        record = await desk.approve(proposal_id, by=second_person(who))
    except VtnError as refusal:
        form = Form()
        form.refuse(str(refusal))
        return await _proposal(shell, desk, proposal_id, form=form, status=status_of(refusal))
    return shell.go(path_of("events", record.event.event_id), said="Approved and published.")


@post("/events/proposals/{proposal_id:str}/decline", act=Act.APPROVE)
async def decline(
    proposal_id: FromPath[str], shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        await desk.decline(proposal_id, remark=form.get("remark"), by=by)
    except VtnError as refusal:
        form.refuse(str(refusal))
        return await _proposal(shell, desk, proposal_id, form=form, status=status_of(refusal))
    return shell.go("/events", said="Declined; nothing was published.")


handlers = [show_proposal, approve, decline]
