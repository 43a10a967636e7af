# SPDX-License-Identifier: Apache-2.0
"""Logging in and out, and one's own password and second factor."""

from http import HTTPStatus
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Redirect, Template

from vtn.accounts import Act, Person
from vtn.accounts.accounts import Accounts
from vtn.console.shell import LOGOUT, Shell, ShellHere, inside, status_of
from vtn.errors import CodeWanted, Invalid, LoginRefused, TooOften
from vtn.operations.needs import AccountsHere, Who

_TITLE = "Log in"


def login_page(shell: Shell, accounts: Accounts, *, then: str = "/", **more: Any) -> Template:
    """The log-in, by password and at the provider, if there is one."""
    return shell.page(
        "account/login.html",
        title=_TITLE,
        **{
            "then": then,
            "wants_code": False,
            "provider": accounts.provider.name if accounts.provider else "",
            "gone": False,
            **more,
        },
    )


@get("/login", act=Act.OPEN)
async def show_login(
    *,
    shell: ShellHere,
    accounts: AccountsHere,
    next_: Annotated[str, QueryParameter(name="next")] = "/",
    gone: FromQuery[bool] = False,
) -> Template:
    """`gone`: they were logged out here, and are logged in at the provider still."""
    gone = gone and accounts.provider is not None
    return login_page(shell, accounts, then=inside(next_), gone=gone)


@post("/login", act=Act.OPEN)
async def log_in(
    request: Request[Person | None, None, State], shell: ShellHere, accounts: AccountsHere
) -> Template | Redirect:
    form = await shell.form()
    then = inside(form.get("next", "/"))
    client = client_of(request)
    wants_code = bool(form.get("wants_code"))
    try:
        found = await accounts.log_in(
            form.get("name"), form.get("password"), code=form.get("code"), client=client
        )
    except CodeWanted:
        return login_page(shell, accounts, form=form, then=then, wants_code=True)
    except (LoginRefused, TooOften) as refusal:
        form.refuse(str(refusal))
        status = 429 if isinstance(refusal, TooOften) else HTTPStatus.UNAUTHORIZED
        return login_page(
            shell, accounts, form=form, then=then, wants_code=wants_code, status=int(status)
        )
    on = Redirect(then, status_code=303)
    on.cookies.append(accounts.cookie(found.token))
    return on


@post(LOGOUT, act=Act.OWN)
async def log_out(who: Who, accounts: AccountsHere) -> Redirect:
    by_provider = await accounts.log_out(who)
    gone = Redirect("/login?gone=true" if by_provider else "/login", status_code=303)
    gone.cookies.append(accounts.no_cookie())
    return gone


@get("/account/password", act=Act.OWN)
async def show_password(shell: ShellHere, who: Who) -> Template:
    return _password(shell, who)


@post("/account/password", act=Act.OWN)
async def change_password(
    shell: ShellHere, who: Who, accounts: AccountsHere
) -> Template | Redirect:
    form = await shell.form()
    if form.get("new") != form.get("again"):
        form.refuse("again: it is not the same as above; type the new password twice.")
        return _password(shell, who, form=form, status=422)
    try:
        await accounts.change_password(who, form.get("old"), form.get("new"))
    except LoginRefused as refusal:
        form.refuse(f"old: {refusal}")
        return _password(shell, who, form=form, status=status_of(refusal))
    except (Invalid, TooOften) as refusal:
        form.refuse(f"new: {refusal}")
        return _password(shell, who, form=form, status=status_of(refusal))
    return shell.go("/", said="Your password is changed; your other sessions have ended.")


def _password(shell: Shell, who: Person, **more: Any) -> Template:
    first = (
        "Choose a password of your own: the one you have is good for this only"
        if who.must_change
        else "Change your password"
    )
    return shell.page("account/password.html", title="Password", first=first, **more)


@get("/account", act=Act.OWN)
async def show_account(shell: ShellHere, who: Who, accounts: AccountsHere) -> Template:
    return await _account(shell, who, accounts)


async def _account(shell: Shell, who: Person, accounts: AccountsHere, **more: Any) -> Template:
    user = await accounts.user(who.name)
    return shell.page(
        "account/account.html",
        title="Your account",
        first=f"You are {who.name}: {', '.join(sorted(who.roles)) or 'no role yet'}",
        **{
            "user": user,
            "sessions": await accounts.sessions(who.name),
            "offer": None,
            "codes": (),
            **more,
        },
    )


@post("/account/totp", act=Act.OWN)
async def begin_totp(shell: ShellHere, who: Who, accounts: AccountsHere) -> Template:
    return await _account(shell, who, accounts, offer=await accounts.begin_totp(who))


@post("/account/totp/confirm", act=Act.OWN)
async def confirm_totp(shell: ShellHere, who: Who, accounts: AccountsHere) -> Template:
    form = await shell.form()
    try:
        codes = await accounts.confirm_totp(who, form.get("secret"), form.get("code"))
    except Invalid as refusal:
        form.refuse(f"code: {refusal}")
        offer = await accounts.begin_totp(who)
        return await _account(shell, who, accounts, offer=offer, form=form, status=422)
    return await _account(shell, who, accounts, codes=codes)


@post("/account/totp/drop", act=Act.OWN)
async def drop_totp(shell: ShellHere, who: Who, accounts: AccountsHere) -> Template | Redirect:
    form = await shell.form()
    try:
        await accounts.drop_totp(who, form.get("password"))
    except (LoginRefused, TooOften) as refusal:
        form.refuse(f"password: {refusal}")
        return await _account(shell, who, accounts, form=form, status=422)
    return shell.go("/account", said="You have no second factor any more.")


@post("/account/sessions/{session_id:str}/end", act=Act.OWN)
async def end_session(
    session_id: FromPath[str], shell: ShellHere, who: Who, accounts: AccountsHere
) -> Redirect:
    await accounts.end_session(session_id, of=who.name, by=who.name)
    return shell.go("/account", said="That session has ended.")


def client_of(request: Request[Person | None, None, State]) -> str:
    """Address and browser, as they say."""
    browser = "".join(filter(str.isprintable, request.headers.get("user-agent", "")))[:200]
    return f"{request.client.host if request.client else ''} {browser}"


handlers = [
    show_login,
    log_in,
    log_out,
    show_password,
    change_password,
    show_account,
    begin_totp,
    confirm_totp,
    drop_totp,
    end_session,
]
