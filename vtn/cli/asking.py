# SPDX-License-Identifier: Apache-2.0
"""What commands share: the settings, the running VTN, how to print, the worked example."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from doorway import configure_logs
from vtn import config as settings_file
from vtn.operator_client import OperatorClient

Command = Callable[..., None]
FILE = click.Path(path_type=Path, dir_okay=False)


def current_time() -> datetime:
    return datetime.now(UTC)


def example(*lines: str) -> str:
    r"""An epilog whose lines click leaves alone (its \b)."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


CONFIG = click.option(
    "--config",
    type=FILE,
    envvar="VTN_CONFIG",
    default=Path("vtn.toml"),
    show_default=True,
    help="The settings file; or VTN_CONFIG in the environment.",
)
VERBOSE = click.option("--verbose", is_flag=True, help="Log more.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def asks(command: Command) -> Command:
    """A command that speaks to the running VTN: it gets `vtn`, and how to print as `as_json`."""

    @functools.wraps(command)
    def asking(*, config: Path, verbose: bool, **rest: Any) -> None:
        configure_logs(verbose=verbose)
        command(vtn=OperatorClient.at(settings_file.load(config)), **rest)

    return CONFIG(VERBOSE(JSON(asking)))


def options(*several: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Options that several commands have, as one decorator; shown in this order."""

    def with_options(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return with_options
