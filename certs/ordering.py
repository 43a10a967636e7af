# SPDX-License-Identifier: Apache-2.0
"""What is said when a one-time code is ordered: by `certs code` and by `vtn codes make` alike."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from certs.sheet import KINDS, MadeCode, hand_over, write_sheet
from doorway import show_json
from doorway.values import value

Command = Callable[..., None]


@value
class Order:
    """Whose code it is to be, and how it is handed over."""

    name: str
    resources: tuple[str, ...]
    groups: tuple[str, ...]
    hours: int | None
    sheet: Path | None

    def body(self, ven_id: str) -> dict[str, object]:
        """As the VTN's API takes it."""
        said: dict[str, object] = {
            "ven_id": ven_id,
            "name": self.name,
            "resources": self.resources,
            "groups": self.groups,
        }
        return said if self.hours is None else {**said, "hours": self.hours}

    def deliver(self, made: MadeCode, *, as_json: bool) -> None:
        """Print the code, and write the sheet where one is wanted. Raises CodeRefused."""
        show_json(made) if as_json else hand_over(made)
        if self.sheet is not None:
            write_sheet(made, self.sheet)


def _named_like_a_sheet(
    _context: click.Context, _option: click.Parameter, file: Path | None
) -> Path | None:
    """Refused before a code is made that nobody would get to see."""
    if file is not None and file.suffix not in KINDS:
        raise click.BadParameter(f"{file}: name it {' or '.join(f'*{kind}' for kind in KINDS)}.")
    return file


_OPTIONS = (
    click.option("--name", default="", help="For people to read.  [default: the venID]"),
    click.option(
        "--resource", "resources", multiple=True, help="A resource behind it; repeatable."
    ),
    click.option("--group", "groups", multiple=True, help="A group it belongs to; repeatable."),
    click.option("--hours", type=click.IntRange(1, 24 * 14), help="How long it is good for."),
    click.option(
        "--sheet",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_named_like_a_sheet,
        help="Write the installer's sheet there: .html (to print) or .svg (the QR alone).",
    ),
)


def orders_a_code(command: Command) -> Command:
    """A command that gets what is said about a code as `order`."""

    @functools.wraps(command)
    def ordering(
        *,
        name: str,
        resources: tuple[str, ...],
        groups: tuple[str, ...],
        hours: int | None,
        sheet: Path | None,
        **rest: Any,  # what the command itself is told
    ) -> None:
        order = Order(name=name, resources=resources, groups=groups, hours=hours, sheet=sheet)
        command(order=order, **rest)

    with_options: Command = ordering
    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options
