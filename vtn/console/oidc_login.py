# SPDX-License-Identifier: Apache-2.0
"""Logging in at the identity provider: the way there, the way back, and out of it."""

from http import HTTPStatus
from typing import Annotated, Final

from litestar import Request, get
from litestar.datastructures import Cookie, State
from litestar.params import QueryParameter
from litestar.response import Redirect, Template

from vtn.accounts import Act, Person
from vtn.accounts.accounts import Accounts
from vtn.accounts.oidc import BACK, WITHIN_S, Oidc
from vtn.console.forms import Form
from vtn.console.login import client_of, login_page
from vtn.console.shell import Shell, ShellHere, inside, status_of
from vtn.errors import LoginRefused, ProviderFault, Unknown, VtnError
from vtn.operations.needs import AccountsHere

_FLOW: Final = "vtn_oidc"


def _provider(accounts: Accounts) -> Oidc:
    if accounts.provider is None:
        raise Unknown("No identity provider is set up here; log in with a password.")
    return accounts.provider


def _flow_cookie(accounts: Accounts, value: str) -> Cookie:
    """Lax, for the browser comes back from another site; "" takes it away."""
    return Cookie(
        key=_FLOW,
        value=value,
        max_age=WITHIN_S if value else 0,
        path="/login/oidc",
        httponly=True,
        samesite="lax",
        secure=accounts.cookie("").secure,
    )


@get("/login/oidc", act=Act.OPEN)
async def go_there(
    shell: ShellHere,
    accounts: AccountsHere,
    next_: Annotated[str, QueryParameter(name="next")] = "/",
) -> Template | Redirect:
    """On to the provider."""
    try:
        url, kept = await _provider(accounts).begin(inside(next_))
    except ProviderFault as fault:
        return _refused(shell, accounts, fault)
    there = Redirect(url, status_code=303)
    there.cookies.append(_flow_cookie(accounts, kept))
    return there


@get(BACK, act=Act.OPEN)
async def come_back(
    request: Request[Person | None, None, State], shell: ShellHere, accounts: AccountsHere
) -> Template:
    """What the provider sends browsers back to; whatever comes of it, it is good once."""
    provider = _provider(accounts)
    try:
        kept = request.cookies.get(_FLOW, "")
        query = dict(request.query_params.items())
        login, then = await accounts.come_back(provider, kept, query, client=client_of(request))
    except VtnError as fault:
        answer = _refused(shell, accounts, fault)
    else:
        answer = shell.page(
            "account/back.html",
            title="Logged in",
            first=f"You are logged in as {login.person.name}",
            then=inside(then),
        )
        answer.cookies.append(accounts.cookie(login.token))
    answer.cookies.append(_flow_cookie(accounts, ""))
    return answer


@get("/login/oidc/out", act=Act.OPEN)
async def log_out_there(shell: ShellHere, accounts: AccountsHere) -> Template | Redirect:
    """Out of the provider, which may ask first; out of here they are already."""
    provider = _provider(accounts)
    try:
        url = await provider.end_url()
    except ProviderFault as fault:
        return _refused(shell, accounts, fault)
    if not url:
        said = f"{provider.name} offers no way out from here; log out on its own pages."
        return _refused(shell, accounts, LoginRefused(said), status=HTTPStatus.OK)
    return Redirect(url, status_code=303)


def _refused(
    shell: Shell, accounts: Accounts, fault: VtnError, *, status: HTTPStatus | None = None
) -> Template:
    form = Form()
    form.refuse(str(fault))
    if status is None:
        refused = isinstance(fault, LoginRefused)
        status = HTTPStatus.UNAUTHORIZED if refused else HTTPStatus(status_of(fault))
    return login_page(shell, accounts, form=form, status=int(status))


handlers = [go_there, come_back, log_out_there]
