# SPDX-License-Identifier: Apache-2.0
"""A new event in the operator's words: how much, where, from when to when, what notice, who."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.params import FromQuery, QueryParameter
from litestar.response import Redirect, Template

from oadr.event import Event
from vtn import orders
from vtn.accounts import Act
from vtn.console import words
from vtn.console.asking import ASKED, KINDS, SHARES, UNITS, empty, form_of, form_of_order, order_of
from vtn.console.forms import Form
from vtn.console.shell import Shell, ShellHere, path_of, status_of
from vtn.desk import Desk
from vtn.desk.preview import Preview
from vtn.errors import Conflict, VtnError
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.orders import EventOrder

_FIELDS: Final[Mapping[str, str]] = {
    "start": "starts",
    "starts": "starts",
    "ends": "ends",
    "duration": "duration",
    "notification": "notice",
    "ramp_up": "ramp_up",
    "recovery": "recovery",
    "start_within": "start_within",
    "value": "value",
    "priority": "priority",
    "unit": "unit",
    "market_context": "market_context",
    "nodes": "nodes",
    "comment": "comment",
    "zone": "zone",
    "kind": "kind",
}
_PLACES: Final = (
    ("template", "template_name"),
    ("levels of a SIMPLE", "value"),
    ("vtn_comment: ", "comment"),
    ("market context", "market_context"),
    ("resource", "resources"),
    ("the group", "groups"),
    ("no group", "groups"),
    ("The VEN", "nodes"),
    ("no VEN '", "nodes"),
    ("would have started", "starts"),
)
"""Which field a refusal of the desk speaks of."""
_MOST_LISTED: Final = 200


@get("/events/new", act=Act.EVENTS)
async def show_wizard(
    shell: ShellHere,
    desk: DeskHere,
    from_: Annotated[str, QueryParameter(name="from")] = "",
    template: FromQuery[str] = "",
) -> Template:
    """An empty wizard, or one that begins as an earlier event or a template."""
    form = empty()
    if from_:
        form = form_of((await desk.outline(from_)).event)
    elif template:
        found = await desk.template(template)
        form = form_of_order(found.order)
    return await _wizard(shell, desk, form)


@post("/events/new", act=Act.EVENTS)
async def use_wizard(shell: ShellHere, desk: DeskHere, now: NowHere, by: By) -> Template | Redirect:
    """`step` is preview, publish or template."""
    form = await shell.form()
    step = form.get("step", "preview")
    try:
        draft, order, preview = await _drafted(desk, form, now())
        if step == "template":
            name = form.get("template_name")
            if name in {one.name for one in await desk.templates()}:
                raise Conflict(
                    "template_name: there is one of this name; choose another, or remove that one."
                )
            await desk.put_template(name, order, expected=0, by=by)
            return shell.go("/events", said=f"The template '{name}' is kept.")
        if step == "publish" and form.get("previewed") != _digest(form, preview):
            form.refuse(
                "This is not what you looked at: you have changed it since, or others have changed "
                "who is asked. Look at what would happen now, then publish."
            )
        elif step == "publish":
            if desk.needs_approval(draft):
                proposal = await desk.propose_event(draft, by=by)
                return shell.go(
                    path_of("events", "proposals", proposal.proposal_id),
                    said="The event is proposed; it is published once somebody else approves it.",
                )
            record = await desk.publish_event(draft, by=by)
            return shell.go(
                path_of("events", record.event.event_id),
                said=f"Published: {words.several(len(record.ven_ids), 'node')} will be told.",
            )
    except VtnError as refusal:
        if step == "publish" and isinstance(refusal, Conflict):
            event_id = form.get("event_id")
            if await _is_there(desk, event_id):  # sent twice: it is published
                return shell.go(path_of("events", event_id), said="The event is published already.")
        form.refuse_at(str(refusal), _PLACES, fields=_FIELDS)
        return await _wizard(shell, desk, form, status=status_of(refusal))
    form.put("previewed", _digest(form, preview))
    return await _wizard(shell, desk, form, preview=preview, draft=draft)


def _digest(form: Form, preview: Preview) -> str:
    """Of what was previewed: what is published is that, and nothing that was typed after it.

    And at the same nodes: groups may have changed meanwhile, or somebody have opted out.
    """
    asked = [(name, form.all(name)) for name in ASKED]
    whole = (asked, preview.ven_ids, preview.opted_out)
    return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()


@post("/events/templates/remove", act=Act.EVENTS)
async def remove_template(shell: ShellHere, desk: DeskHere, by: By) -> Redirect:
    name = (await shell.form()).get("name")
    try:
        await desk.drop_template(name, by=by)
    except VtnError as fault:
        return shell.go("/events/new", said=str(fault), bad=True)
    return shell.go("/events/new", said=f"The template '{name}' is removed.")


async def _is_there(desk: Desk, event_id: str) -> bool:
    try:
        await desk.event(event_id)
    except VtnError:
        return False
    return True


async def _wizard(
    shell: Shell,
    desk: Desk,
    form: Form,
    *,
    preview: Preview | None = None,
    draft: Event | None = None,
    status: int = 200,
) -> Template:
    contexts = await desk.market_contexts()
    if preview is not None and draft is not None:
        first = sentence(preview)
    else:
        first = "What should happen, where, when, and who is asked?"
    return shell.page(
        "events/wizard.html",
        title="New event",
        here="events",
        first=first,
        status=status,
        form=form,
        kinds=KINDS,
        units=UNITS,
        shares=SHARES,
        zones=dict.fromkeys(("UTC", form.get("zone") or "UTC")),
        contexts=[(one.uri, one.name or one.uri) for one in contexts],
        groups=(await desk.group_sizes())[:_MOST_LISTED],
        preview=preview,
        needs_approval=draft is not None and desk.needs_approval(draft),
        templates=await desk.templates(),
        unit=words.unit_for(*((preview.ordered_w, preview.taking_w) if preview else ())),
    )


def sentence(preview: Preview) -> str:
    """What will happen, to whom, when: in one sentence."""
    event = preview.event
    until = f"until {words.moment(event.ends_at)} UTC" if event.ends_at else "until it is ended"
    asked = "; ".join(words.order(one) for one in event.signals)
    total = ""
    if preview.ordered_w is not None:
        unit = words.unit_for(preview.ordered_w)
        total = f", {words.power(preview.ordered_w, unit)} {unit} in all"
    whom = words.several(len(preview.ven_ids), "node")
    if preview.opted_out:
        whom += f" ({len(preview.opted_out):,} of them opted out)"
    return f"{asked} at {whom}{total}, from {words.moment(event.starts_at)} {until}"


async def _drafted(desk: Desk, form: Form, now: datetime) -> tuple[Event, EventOrder, Preview]:
    """What the form asks for. Raises VtnError, naming the field where it can."""
    contexts = await desk.market_contexts()
    only = contexts[0].uri if len(contexts) == 1 else ""
    order = order_of(form, now)
    draft = orders.draft(order, now=now, market_context=only)
    preview = await desk.preview_event(draft)
    if form.get("share") == "all" and form.get("kind") in ("reduce", "increase"):
        # Every VEN is asked for the whole value of a signal, so the parts are made here; those
        # that have opted out beforehand carry none of it.
        part = msgspec.structs.replace(
            order.signals[0], value=(order.signals[0].value or 0.0) / preview.counted_on
        )
        order = msgspec.structs.replace(order, signals=(part,))
        draft = orders.draft(order, now=now, market_context=only)
        preview = await desk.preview_event(draft)
    return draft, order, preview


handlers = [show_wizard, use_wizard, remove_template]
