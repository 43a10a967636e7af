# SPDX-License-Identifier: Apache-2.0
"""An event is modified: previewed as a new one is, and proposed where a second one must agree."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from oadr.event import Event
from vtn import orders
from vtn.accounts import Act
from vtn.console import words
from vtn.console.asking import KINDS, form_of, signal_of
from vtn.console.board import name_of
from vtn.console.events import Line, expected_of
from vtn.console.forms import Form
from vtn.console.shell import Shell, ShellHere, path_of, status_of
from vtn.console.wizard import sentence
from vtn.desk import Desk
from vtn.desk.checks import refuse_stale
from vtn.desk.preview import Preview
from vtn.errors import Invalid, InvalidEvent, VtnError
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.orders import EventChange

_ASKED: Final = ("value", "unit", "kind", "duration", "comment", "reason", "modification")
_FIELDS: Final[Mapping[str, str]] = {
    **{name: name for name in ("value", "duration", "comment", "reason")},
    "unit": "value",
    "kind": "value",
    "start": "duration",
    "ends": "duration",
}
_PLACES: Final = (("levels of a SIMPLE", "value"), ("vtn_comment: ", "comment"))
"""Which field a refusal of the desk speaks of."""


@get("/events/{event_id:str}/modify", act=Act.EVENTS)
async def show_modify(
    event_id: FromPath[str], shell: ShellHere, desk: DeskHere
) -> Template | Redirect:
    event = (await desk.outline(event_id)).event
    try:
        form = form_of(event)
    except InvalidEvent as fault:
        return shell.go(path_of("events", event_id), said=str(fault), bad=True)
    form.put("modification", str(event.modification_number))
    return await _page(shell, desk, event_id, form)


@post("/events/{event_id:str}/modify", act=Act.EVENTS)
async def modify(
    event_id: FromPath[str], shell: ShellHere, desk: DeskHere, now: NowHere, by: By
) -> Template | Redirect:
    """`step` is preview or publish."""
    form = await shell.form()
    event = (await desk.outline(event_id)).event
    expected = expected_of(form)
    if expected is None:
        expected = event.modification_number
    try:
        refuse_stale(event, expected)
        draft = _drafted(form, event, now())
        preview = await desk.preview_event(draft, replaces=event_id)
        needs_approval = desk.needs_approval(draft)
        if form.get("step") == "publish" and form.get("previewed") != _digest(form):
            form.refuse("You have changed it since: look at what would happen now, then go on.")
        elif form.get("step") == "publish" and needs_approval:
            proposal = await desk.propose_event(draft, modifies=expected, by=by)
            return shell.go(
                path_of("events", "proposals", proposal.proposal_id),
                said="The change is proposed; it holds once somebody else approves it.",
            )
        elif form.get("step") == "publish":
            changed = await desk.modify_event(
                event_id, draft, expected_modification=expected, by=by
            )
            number = changed.event.modification_number
            return shell.go(
                path_of("events", event_id),
                said=f"Modified (modification {number}); nodes will be told.",
            )
    except VtnError as refusal:
        form.refuse_at(str(refusal), _PLACES, fields=_FIELDS)
        return await _page(shell, desk, event_id, form, status=status_of(refusal))
    form.put("previewed", _digest(form))
    return await _page(shell, desk, event_id, form, preview=preview, needs_approval=needs_approval)


def _drafted(form: Form, event: Event, now: datetime) -> Event:
    """The event as it would be. Raises Invalid where nothing differs from how it is."""
    as_it_was = form_of(event)
    signals = None
    if any(form.get(name) != as_it_was.get(name) for name in ("value", "unit", "kind")):
        signal = signal_of(form)
        signals = (msgspec.structs.replace(signal, id=event.signals[0].signal_id),)

    def given(name: str) -> str | None:
        return form.get(name) if form.get(name) != as_it_was.get(name) else None

    change = EventChange(
        reason=form.get("reason"),
        signals=signals,
        duration=given("duration"),
        comment=given("comment"),
    )
    if change.duration == "":
        raise InvalidEvent("duration: how long? Give a duration like 1h30m, or open.")
    if (change.signals, change.duration, change.comment) == (None, None, None):
        raise Invalid("Nothing differs from what the event says already; change something.")
    return orders.changed(event, change, now=now)


def _digest(form: Form) -> str:
    asked = [(name, form.get(name)) for name in _ASKED]
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


async def _page(
    shell: Shell,
    desk: Desk,
    event_id: str,
    form: Form,
    *,
    preview: Preview | None = None,
    needs_approval: bool = False,
    status: int = 200,
) -> Template:
    headline = await desk.headline(event_id)
    name = name_of(headline.event)
    return shell.page(
        "events/modify.html",
        title="Modify event",
        here="events",
        first=f"{name} would be: {sentence(preview)}"
        if preview
        else f"Modify {name}: a new value holds from now on",
        line=Line.of(headline),
        form=form,
        kinds=dict(KINDS),
        preview=preview,
        needs_approval=needs_approval,
        unit=words.unit_for(*((preview.ordered_w, preview.taking_w) if preview else ())),
        status=status,
    )


handlers = [show_modify, modify]
