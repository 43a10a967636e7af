# SPDX-License-Identifier: Apache-2.0
"""Groups of nodes and market contexts, edited by one operator at a time."""

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from vtn.accounts import Act
from vtn.console import words
from vtn.console.forms import Form
from vtn.console.shell import Shell, ShellHere, path_of, status_of
from vtn.desk import Desk
from vtn.desk.grouping import seen_of
from vtn.errors import Stale, Unknown, VtnError
from vtn.operations.needs import By, DeskHere
from vtn.records import Group


@get("/groups", act=Act.VIEW)
async def list_groups(shell: ShellHere, desk: DeskHere) -> Template:
    return await _list(shell, desk, Form())


async def _list(shell: Shell, desk: Desk, form: Form, *, status: int = 200) -> Template:
    groups, contexts = await desk.group_sizes(), await desk.market_contexts()
    return shell.page(
        "groups/list.html",
        title="Groups",
        here="nodes",
        first=f"{words.several(len(groups), 'group')} of nodes, "
        f"{words.several(len(contexts), 'market context')}",
        status=status,
        form=form,
        groups=groups,
        contexts=[(one, seen_of(one)) for one in contexts],
    )


@post("/groups", act=Act.GROUPS)
async def add_group(shell: ShellHere, desk: DeskHere, by: By) -> Template | Redirect:
    form = await shell.form()
    group_id = form.get("group_id")
    try:
        name = form.get("name") or group_id
        await desk.add_group(group_id, name, ven_ids=form.words("vens"), by=by)
    except VtnError as fault:
        field = "vens" if isinstance(fault, Unknown) else "group_id"
        form.refuse(str(fault) if str(fault).startswith("name: ") else f"{field}: {fault}")
        return await _list(shell, desk, form, status=status_of(fault))
    return shell.go(path_of("groups", group_id), said=f"The group {group_id} is there.")


@get("/groups/{group_id:str}", act=Act.VIEW)
async def show_group(group_id: FromPath[str], shell: ShellHere, desk: DeskHere) -> Template:
    group = await desk.group(group_id)
    form = Form.of(name=group.name, vens="\n".join(group.ven_ids), seen=seen_of(group))
    return _group(shell, group, form)


def _group(shell: Shell, group: Group, form: Form, *, status: int = 200) -> Template:
    return shell.page(
        "groups/group.html",
        title=group.name or group.group_id,
        here="nodes",
        first=f"{group.name or group.group_id} holds {words.several(len(group.ven_ids), 'node')}",
        status=status,
        form=form,
        group=group,
    )


@post("/groups/{group_id:str}", act=Act.GROUPS)
async def edit_group(
    group_id: FromPath[str], shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        await desk.edit_group(
            group_id,
            name=form.get("name") or group_id,
            ven_ids=form.words("vens"),
            seen=form.get("seen"),
            by=by,
        )
    except Stale as fault:
        group = await desk.group(group_id)
        form.refuse(
            f"{fault} Your entries are kept below: look, and save again to put them in its place."
        )
        form.put("seen", seen_of(group))
        return _group(shell, group, form, status=status_of(fault))
    except VtnError as fault:
        group = await desk.group(group_id)
        form.refuse(str(fault) if str(fault).startswith("name: ") else f"vens: {fault}")
        return _group(shell, group, form, status=status_of(fault))
    return shell.go(path_of("groups", group_id), said=f"The group {group_id} is changed.")


@post("/contexts", act=Act.GROUPS)
async def add_context(shell: ShellHere, desk: DeskHere, by: By) -> Template | Redirect:
    form = await shell.form()
    try:
        context = await desk.add_market_context(
            form.get("uri"), form.get("context_name") or form.get("uri"), by=by
        )
    except VtnError as fault:
        sentence = str(fault)
        form.refuse(
            sentence.replace("name: ", "context_name: ", 1)
            if sentence.startswith("name: ")
            else f"uri: {sentence}"
        )
        return await _list(shell, desk, form, status=status_of(fault))
    return shell.go("/groups", said=f"Events may belong to {context.name} now.")


@post("/contexts/edit", act=Act.GROUPS)
async def edit_context(shell: ShellHere, desk: DeskHere, by: By) -> Template | Redirect:
    form = await shell.form()
    uri = form.get("of")
    try:
        context = await desk.edit_market_context(
            uri, name=form.get("new_name") or uri, seen=form.get("seen"), by=by
        )
    except VtnError as fault:
        # Beside the field of that context, if it is there still; else above all.
        known = uri in {one.uri for one in await desk.market_contexts()}
        sentence = str(fault).removeprefix("name: ")
        form.refuse(f"new_name: {sentence}" if known else sentence)
        return await _list(shell, desk, form, status=status_of(fault))
    return shell.go("/groups", said=f"The market context is called {context.name} now.")


handlers = [list_groups, add_group, show_group, edit_group, add_context, edit_context]
