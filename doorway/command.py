# SPDX-License-Identifier: Apache-2.0
"""The manners of every command line: exit status 0, 1 (refused or failed), 2 (wrong usage)."""

import sys
from typing import Any, NoReturn

import click
import msgspec

from doorway.errors import Fault


class Door(click.Group):
    """A click group that answers a Fault with one sentence on stderr and exit status 1."""

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


def show(text: str) -> None:
    """Print one line for a person on stdout."""
    click.echo(text)


def show_json(value: object) -> None:
    """Print a value (Structs, dataclasses, dicts) as indented JSON on stdout, for programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
