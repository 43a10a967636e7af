# SPDX-License-Identifier: Apache-2.0
"""The door of `vtn`: all its commands.

init, check, serve, backup, restore, upgrade and copy work on this machine; all other commands speak
to the running `vtn serve` through its operator's API, found by the same settings file.
"""

import click

from doorway import Door
from vtn.cli.asking import example
from vtn.cli.codes import codes
from vtn.cli.events import event
from vtn.cli.keeping import backup, copy, restore, upgrade
from vtn.cli.machine import check, health, init, serve
from vtn.cli.reports import audit, curtailment, measurements, report
from vtn.cli.users import user
from vtn.cli.vens import contexts, groups, vens


@click.group(
    cls=Door,
    epilog=example(
        "vtn init && vtn check && vtn serve",
        "vtn vens add hq --cert hq.crt",
        "vtn event publish --ven hq --signal LOAD_DISPATCH --type delta --value -200 --unit kW \\",
        "    --start now+10m --duration 1h",
    ),
)
def main() -> None:
    """The utility's OpenADR 2.0b VTN, and its operator's command line."""


for _command in (
    init,
    check,
    serve,
    backup,
    restore,
    upgrade,
    copy,
    health,
    vens,
    codes,
    groups,
    contexts,
    event,
    curtailment,
    report,
    measurements,
    audit,
    user,
):
    main.add_command(_command)
