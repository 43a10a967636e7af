# SPDX-License-Identifier: Apache-2.0
"""vtn codes: one-time codes with which devices enrol."""

import click

from certs.ordering import Order, orders_a_code
from certs.sheet import MadeCode
from doorway import Door, show, show_json
from vtn import screens
from vtn.cli.asking import asks, current_time, example
from vtn.operator_client import OperatorClient
from vtn.views import Code


@click.group(cls=Door, epilog=example("vtn codes make hq --sheet hq.html"))
def codes() -> None:
    """One-time codes with which devices enrol."""


@codes.command(
    "make", epilog=example("vtn codes make hq --resource roof --group north --sheet hq.html")
)
@click.argument("ven_id")
@orders_a_code
@asks
def make(vtn: OperatorClient, *, ven_id: str, order: Order, as_json: bool) -> None:
    """Make a code with which one device becomes VEN_ID, a new VEN or one that is known.

    It works once. Whoever has it can become that VEN: treat it like a key.
    """
    made = vtn.post("enrolment-codes", into=MadeCode, body=order.body(ven_id))
    order.deliver(made, as_json=as_json)


@codes.command("list", epilog=example("vtn codes list --json"))
@asks
def list_codes(vtn: OperatorClient, *, as_json: bool) -> None:
    """List the latest codes and what became of them; never what is secret."""
    found = vtn.get("enrolment-codes", into=list[Code])
    show_json(found) if as_json else screens.codes(found, now=current_time())


@codes.command("withdraw", epilog=example("vtn codes withdraw K7Q2M"))
@click.argument("code_id", metavar="CODE")
@asks
def withdraw(vtn: OperatorClient, *, code_id: str, as_json: bool) -> None:
    """Take a code back: its first five signs say which."""
    signs = code_id.replace("-", "").upper()[:5]
    found = vtn.post("enrolment-codes", signs, "withdraw", into=Code)
    show_json(found) if as_json else show(f"nobody enrols as {found.ven_id} with it any more")
