# SPDX-License-Identifier: Apache-2.0
"""vtn user: who may log in at the console."""

import click

from doorway import Door, show, show_json
from vtn import screens
from vtn.accounts import Role
from vtn.accounts.views import OneTime, UserView
from vtn.cli.asking import asks, current_time, example
from vtn.operator_client import OperatorClient

_ROLE = click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice([role.value for role in Role]),
    help="What they may do; repeatable.",
)


@click.group(cls=Door, epilog=example("vtn user list"))
def user() -> None:
    """Users of the console."""


@user.command("add", epilog=example("vtn user add anna --role operator --role approver"))
@click.argument("name")
@_ROLE
@click.option("--subject", default="", help="Who they are at the OpenID Connect provider.")
@asks
def user_add(
    vtn: OperatorClient, *, name: str, roles: tuple[str, ...], subject: str, as_json: bool
) -> None:
    """Let somebody in; prints a one-time password, which they must change.

    With --subject they log in at the provider of [operator.oidc] and have no password here.
    """
    body = {"name": name, "roles": roles, "subject": subject}
    made = vtn.post("users", into=OneTime, body=body)
    _tell(made, as_json=as_json)


@user.command("list", epilog=example("vtn user list --json"))
@asks
def user_list(vtn: OperatorClient, *, as_json: bool) -> None:
    """List users."""
    found = vtn.every("users", into=UserView, key=lambda one: one.name)
    show_json(found) if as_json else screens.users(found, now=current_time())


@user.command("reset", epilog=example("vtn user reset admin"))
@click.argument("name")
@asks
def user_reset(vtn: OperatorClient, *, name: str, as_json: bool) -> None:
    """Give a new one-time password; sessions and second factor are gone."""
    _tell(vtn.post("users", name, "reset", into=OneTime), as_json=as_json)


@user.command("roles", epilog=example("vtn user roles anna --role viewer"))
@click.argument("name")
@_ROLE
@asks
def user_roles(vtn: OperatorClient, *, name: str, roles: tuple[str, ...], as_json: bool) -> None:
    """Give somebody these roles in place of those they have."""
    _change(vtn, name, {"roles": roles}, as_json=as_json)


@user.command("disable", epilog=example("vtn user disable anna"))
@click.argument("name")
@asks
def user_disable(vtn: OperatorClient, *, name: str, as_json: bool) -> None:
    """Shut somebody out, and log them out at once."""
    _change(vtn, name, {"disabled": True}, as_json=as_json)


@user.command("enable", epilog=example("vtn user enable anna"))
@click.argument("name")
@asks
def user_enable(vtn: OperatorClient, *, name: str, as_json: bool) -> None:
    """Let somebody in again, with the password they had."""
    _change(vtn, name, {"disabled": False}, as_json=as_json)


def _change(vtn: OperatorClient, name: str, body: object, *, as_json: bool) -> None:
    version = vtn.get("users", name, into=UserView).version
    found = vtn.patch("users", name, into=UserView, body=body, version=version)
    if as_json:
        show_json(found)
    else:
        show(f"{found.name} is {found.state}: {', '.join(found.roles)}")


def _tell(made: OneTime, *, as_json: bool) -> None:
    if as_json:
        show_json(made)
    elif not made.password:
        show(f"{made.name} logs in at the provider")
    else:
        show(f"one-time password of {made.name}, shown only now: {made.password}")
