# SPDX-License-Identifier: Apache-2.0
"""The emergency stop: every event that runs or is to come is called off."""

from typing import Final

from litestar import get, post
from litestar.response import Redirect, Template

from oadr.vocabulary import EventStatus
from vtn.accounts import Act
from vtn.console import words
from vtn.console.events import Line
from vtn.console.forms import Form
from vtn.console.shell import Shell, ShellHere, status_of
from vtn.desk import Desk
from vtn.errors import Invalid, VtnError
from vtn.operations.needs import By, DeskHere

WORD: Final = "STOP"
"""To be typed before everything is stopped."""
_LIVE: Final = (EventStatus.ACTIVE, EventStatus.NEAR, EventStatus.FAR)


@get("/stop", act=Act.STOP)
async def show_stop(shell: ShellHere, desk: DeskHere) -> Template:
    return await _stop(shell, desk)


@post("/stop", act=Act.STOP)
async def stop(shell: ShellHere, desk: DeskHere, by: By) -> Template | Redirect:
    form = await shell.form()
    try:
        if form.get("word") != WORD:
            raise Invalid(f"word: type {WORD} in capital letters; nothing is stopped yet.")
        stopped = await desk.stop_all(word=form.get("word"), by=by)
    except VtnError as refusal:
        form.refuse(str(refusal))
        return await _stop(shell, desk, form=form, status=status_of(refusal))
    return shell.go("/", said=f"Stopped: {words.several(len(stopped), 'event')}; nodes are told.")


async def _stop(
    shell: Shell, desk: Desk, *, form: Form | None = None, status: int = 200
) -> Template:
    found = [one for one in await desk.going_on() if one.event.status in _LIVE]
    nodes = await desk.count_asked([one.event.event_id for one in found])
    first = (
        f"Stop everything: {words.several(len(found), 'event')} would be called off at "
        f"{words.several(nodes, 'node')}, now"
        if found
        else "There is nothing to stop: no event is active or to come"
    )
    return shell.page(
        "events/stop.html",
        title="Emergency stop",
        first=first,
        lines=[Line.of(one) for one in found],
        word=WORD,
        form=form,
        status=status,
    )


handlers = [show_stop, stop]
