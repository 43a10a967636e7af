# SPDX-License-Identifier: Apache-2.0
"""Users: who may log in, as what, and who is logged in now."""

from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from vtn.accounts import Act, Role
from vtn.accounts.accounts import Accounts
from vtn.accounts.permissions import PERMISSIONS
from vtn.accounts.records import User
from vtn.console import words
from vtn.console.forms import Form
from vtn.console.shell import Shell, ShellHere, path_of, status_of
from vtn.errors import Invalid, Stale, VtnError
from vtn.operations.needs import AccountsHere, By

ROLES: Final = {
    Role.VIEWER: "sees everything but the audit and messages, changes nothing",
    Role.OPERATOR: "publishes, changes and stops events",
    Role.APPROVER: "approves what somebody else has proposed",
    Role.INSTALLER: "lets nodes in and looks after them",
    Role.AUDITOR: "reads the audit and the messages",
    Role.ADMIN: "may do everything, users too",
}


@get("/users", act=Act.USERS)
async def list_users(shell: ShellHere, accounts: AccountsHere) -> Template:
    return await _list(shell, accounts, Form())


async def _list(shell: Shell, accounts: Accounts, form: Form, *, status: int = 200) -> Template:
    users, sessions = await accounts.users(), await accounts.sessions()
    able = sum(one.disabled_at is None for one in users)
    within = len({one.user for one in sessions})
    return shell.page(
        "users/list.html",
        title="Users",
        here="users",
        first=f"{words.several(able, 'user')} may log in, "
        f"{within} {'is' if within == 1 else 'are'} logged in now",
        status=status,
        form=form,
        users=[(one, state_of(one)) for one in users],
        provider=accounts.provider.name if accounts.provider else "",
        sessions=sessions,
        roles=ROLES,
    )


def state_of(user: User) -> tuple[str, str]:
    """Its shape and its word."""
    if user.disabled_at is not None:
        return "none", "disabled"
    return ("info", "invited") if user.must_change else ("good", "active")


def _roles(form: Form) -> list[Role]:
    """Raises Invalid."""
    found = [role for role in Role if role.value in form.all("roles")]
    if not found:
        raise Invalid("roles: tick at least one.")
    return found


@post("/users", act=Act.USERS)
async def add_user(shell: ShellHere, accounts: AccountsHere, by: By) -> Template | Redirect:
    """The password is told in the answer to this request, and never again."""
    form = await shell.form()
    try:
        user, password = await accounts.add_user(
            form.get("name"), _roles(form), subject=form.get("subject"), by=by
        )
    except VtnError as fault:
        text = str(fault)
        form.refuse(
            text if text.startswith(("roles:", "subject:")) else f"name: {text}",
            fields={"roles": "roles"},
        )
        return await _list(shell, accounts, form, status=status_of(fault))
    if not password:
        return shell.go("/users", said=f"{user.name} may log in at the provider.")
    return _password(shell, user.name, password)


def _password(shell: Shell, name: str, password: str) -> Template:
    return shell.page(
        "users/password.html",
        title=f"Password of {name}",
        here="users",
        first=f"Give {name} this password; it is shown only now",
        name=name,
        password=password,
    )


@get("/users/{name:str}", act=Act.USERS)
async def show_user(name: FromPath[str], shell: ShellHere, accounts: AccountsHere) -> Template:
    user = await accounts.user(name)
    form = Form({"roles": sorted(user.roles), "version": [str(user.version)]})
    return await _user(shell, accounts, user, form)


async def _user(
    shell: Shell, accounts: Accounts, user: User, form: Form, *, status: int = 200
) -> Template:
    kind, word = state_of(user)
    provider = accounts.provider
    return shell.page(
        "users/user.html",
        title=user.name,
        here="users",
        first=f"{user.name} is {word}: {', '.join(sorted(user.roles))}",
        status=status,
        form=form,
        user=user,
        kind=kind,
        word=word,
        roles=ROLES,
        provider=provider.name if provider else "the provider",
        by_group=provider is not None and bool(provider.settings.roles),
        may_do=[act.value for act in PERMISSIONS if user.roles & PERMISSIONS[act]],
        sessions=await accounts.sessions(user.name),
    )


@post("/users/{name:str}", act=Act.USERS)
async def change_user(
    name: FromPath[str], shell: ShellHere, accounts: AccountsHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    disabled = {"disable": True, "enable": False}.get(form.get("act"))
    try:
        await accounts.change_user(
            name,
            roles=_roles(form) if disabled is None else None,
            disabled=disabled,
            expected=_version(form),
            by=by,
        )
    except VtnError as fault:
        user = await accounts.user(name)
        form.refuse(str(fault), fields={"roles": "roles"})
        if isinstance(fault, Stale):
            form.put("version", str(user.version))
        elif disabled is not None:
            form = Form({"roles": sorted(user.roles), "version": [str(user.version)]})
            form.refuse(str(fault))
        return await _user(shell, accounts, user, form, status=status_of(fault))
    said = {True: f"{name} may log in no more, and is logged out.", False: f"{name} may log in."}
    return shell.go(
        path_of("users", name),
        said=f"The roles of {name} are changed." if disabled is None else said[disabled],
    )


def _version(form: Form) -> int | None:
    text = form.get("version")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


@post("/users/{name:str}/reset", act=Act.USERS)
async def reset_user(
    name: FromPath[str], shell: ShellHere, accounts: AccountsHere, by: By
) -> Template | Redirect:
    try:
        password = await accounts.reset_user(name, by=by)
    except VtnError as fault:
        return shell.go("/users", said=str(fault), bad=True)
    return _password(shell, name, password)


@post("/users/sessions/{session_id:str}/end", act=Act.USERS)
async def end_session(
    session_id: FromPath[str], shell: ShellHere, accounts: AccountsHere, by: By
) -> Redirect:
    try:
        await accounts.end_session(session_id, by=by)
    except VtnError as fault:
        return shell.go("/users", said=str(fault), bad=True)
    return shell.go("/users", said="They are logged out there.")


handlers = [list_users, add_user, show_user, change_user, reset_user, end_session]
