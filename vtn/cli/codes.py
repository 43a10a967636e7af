# SPDX-License-Identifier: Apache-2.0
"""vtn codes: one-time codes with which devices enrol."""

from pathlib import Path

import click

from certs.sheet import MadeCode, hand_over, write_sheet
from doorway import Door, show, show_json
from vtn import screens
from vtn.cli.asking import FILE, asks, current_time, example
from vtn.operator_client import OperatorClient
from vtn.views import Code


@click.group(cls=Door, epilog=example("vtn codes make hq --sheet hq.html"))
def codes() -> None:
    """One-time codes with which devices enrol."""


@codes.command(
    "make", epilog=example("vtn codes make hq --resource roof --group north --sheet hq.html")
)
@click.argument("ven_id")
@click.option("--name", default="", help="For people to read.  [default: the venID]")
@click.option("--resource", "resources", multiple=True, help="A resource behind it; repeatable.")
@click.option("--group", "groups", multiple=True, help="A group it belongs to; repeatable.")
@click.option("--hours", type=click.IntRange(1, 24 * 14), help="How long it is good for.")
@click.option(
    "--sheet", type=FILE, help="Write the installer's sheet there: .html (to print) or .svg."
)
@asks
def make(
    vtn: OperatorClient,
    *,
    ven_id: str,
    name: str,
    resources: tuple[str, ...],
    groups: tuple[str, ...],
    hours: int | None,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Make a code with which one device becomes VEN_ID, a new VEN or one that is known.

    It works once. Whoever has it can become that VEN: treat it like a key.
    """
    body: dict[str, object] = {
        "ven_id": ven_id,
        "name": name,
        "resources": resources,
        "groups": groups,
        "hours": hours,
    }
    made = vtn.post("enrolment-codes", into=MadeCode, body=body)
    if sheet is not None:
        write_sheet(made, sheet)
    show_json(made) if as_json else hand_over(made)


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
