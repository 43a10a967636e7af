# SPDX-License-Identifier: Apache-2.0
"""The manners of every command line: exit status 0, 1 (refused or failed), 2 (wrong usage)."""

import math
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
import msgspec

from doorway.errors import Fault
from doorway.version import version


def _say_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        show(f"{ctx.info_name}, version {version()}")
        ctx.exit()


class Door(click.Group):
    """A click group that answers a Fault with one sentence on stderr and exit status 1.

    It knows --version.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: click's own arguments
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_say_version,
                help="Say which version this is.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Fault as fault:
            _refuse(str(fault))
        except BrokenPipeError:
            sys.stderr.close()  # the reader (head, less) has gone; nothing is left to say
            sys.exit(0)


def _refuse(sentence: str) -> NoReturn:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {sentence}", err=True)
    sys.exit(1)


class Finite(click.FloatRange):
    """A number within bounds, as click.FloatRange, and neither nan nor inf."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:  # Any: as click has it
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def show(text: str) -> None:
    """Print one line for a person on stdout."""
    click.echo(text)


def show_verdict(troubles: Sequence[str]) -> None:
    """Begin a status: whether all is well, and if not, what is wrong and what to do."""
    match troubles:
        case []:
            show(click.style("All is well.", fg="green", bold=True))
        case [only]:
            show(click.style(only, fg="red", bold=True))
        case _:
            show(click.style(f"{len(troubles)} things are not well:", fg="red", bold=True))
            for trouble in troubles:
                show(f"  {click.style('!', fg='red')} {trouble}")


def show_json(value: object) -> None:
    """Print a value (Structs, dataclasses, dicts) as indented JSON on stdout, for programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
