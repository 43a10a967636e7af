# SPDX-License-Identifier: Apache-2.0
"""vtn init, check, serve, health: this machine's VTN."""

import asyncio
from pathlib import Path

import click

from doorway import LOG_FORMAT, LogFormat, configure_logs, show, show_json
from vtn import config as settings_file
from vtn import records, screens
from vtn.cli.asking import CONFIG, FILE, JSON, VERBOSE, asks, current_time, example
from vtn.cli.keeping import upgraded
from vtn.config import Settings
from vtn.credential import create_token
from vtn.errors import Invalid
from vtn.operator_client import OperatorClient

_SETTINGS = """\
# Settings of the VTN; `vtn check` says what is missing. Paths are relative to this file.

[vtn]
id = "vtn"                          # the vtnID in every message; case matters
url = "https://127.0.0.1:8443/OpenADR2/Simple/2.0b"
workers = 1                         # processes that serve; more than one needs PostgreSQL

[openadr]                           # where VENs connect, with their certificates
host = "0.0.0.0"
port = 8443
client_ca = "pki/ven-ca.crt"        # made by: certs init --out pki; certs vtn --dir pki --host ...
# crl = ["pki/ven-ca.crl"]          # who was shut out by: certs revoke; read again when it changes
certificates = [
    { cert = "pki/vtn-ecc.crt", key = "pki/vtn-ecc.key" },
    { cert = "pki/vtn-rsa.crt", key = "pki/vtn-rsa.key" },
]
poll_interval_s = 10                # what VENs are told to poll at
signatures = "when the VEN signs"   # XML signatures; or "required" of everybody, or "off"
window_s = 60                       # how wrong the clock of a VEN that signs may be

[store]
url = "sqlite:///vtn.db"            # or postgresql://USER@HOST/NAME

[operator]                          # the operator's API; keep it on this machine
host = "127.0.0.1"
port = 8444
token_file = "operator.token"
# cert = "pki/vtn-ecc.crt"          # with key: HTTPS; without it passwords go in the clear
# key = "pki/vtn-ecc.key"
# approval = true                   # every event waits for a second person; or only large ones:
# approval_above_mw = 5.0
# metrics_token_file = "metrics.token"  # for a Prometheus that may read /metrics and nothing else
# [operator.oidc]                   # log in at an OpenID Connect provider: see docs/operator.md

# [enrolment]                       # where devices get and renew certificates (certs enrolment)
# port = 8446
# cert = "pki/enrolment-ca.crt"
# key = "pki/enrolment-ca.key"
# trust = "pki/vtn-ca.crt"          # what devices are given to trust

[reports]                           # asked of every VEN that registers its reports
automatic = true
back_s = 60

[retention]                         # days; 0 keeps for ever
samples_days = 400                  # values as measured; then their 15-minute rollups are left
event_days = 1130                   # values around events, for settlement disputes
rollup_days = 3660
audit_days = 3660
"""


@click.command(epilog=example("vtn init --dir /etc/demandflex", "vtn init && vtn check"))
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where vtn.toml is, or shall be.  [default: here]",
)
@click.option("--config", type=FILE, envvar="VTN_CONFIG", help="Another settings file than that.")
@VERBOSE
def init(folder: Path, config: Path | None, *, verbose: bool) -> None:
    """Make what `vtn serve` needs: settings, database, token.

    What is there already is never overwritten; an older database is brought to this version, as by
    `vtn upgrade`.
    """
    configure_logs(verbose=verbose)
    # Waits for its use: the commands that speak to a running VTN start in half the time.
    from vtn.store import migrate  # noqa: PLC0415
    from vtn.store.engine import revision  # noqa: PLC0415

    file = config or folder / "vtn.toml"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(_SETTINGS)
        show(f"wrote {file}; look through it")
    except FileExistsError:
        show(f"kept {file}")
    except OSError as error:
        raise Invalid(f"{file}: the settings cannot be written: {error.strerror}.") from error
    settings = settings_file.load(file)
    before, after = asyncio.run(revision(settings.store.url))
    if before is None:
        asyncio.run(migrate(settings.store.url))
        show("made the database")
    elif before == after:
        show(f"kept the database, at version {after}")
    else:
        asyncio.run(upgraded(settings.store.url))
    if (password := asyncio.run(_first_admin(settings))) is not None:
        show(password)
    for token in (settings.operator.token_file, settings.operator.metrics_token_file):
        if token is not None:
            show(f"wrote {token}" if create_token(token) else f"kept {token}")


async def _first_admin(settings: Settings) -> str | None:
    """What to say of the first user, where there was none."""
    from vtn.accounts.accounts import FIRST_WORDS, first_admin  # noqa: PLC0415 - as in init
    from vtn.store import Store  # noqa: PLC0415 - as in init

    store = await Store.open(settings.store.url)
    try:
        password = await first_admin(store, now=current_time)
    finally:
        await store.close()
    return None if password is None else FIRST_WORDS.format(password)


@click.command(epilog=example("vtn check --config /etc/demandflex/vtn.toml"))
@CONFIG
@VERBOSE
@JSON
@click.pass_context
def check(ctx: click.Context, config: Path, *, verbose: bool, as_json: bool) -> None:
    """Say in plain words what is missing before `vtn serve`; change nothing."""
    configure_logs(verbose=verbose)
    from vtn.checkup import check as look  # noqa: PLC0415 - as in init

    found = asyncio.run(look(settings_file.load(config), now=current_time()))
    if as_json:
        show_json(found)
    else:
        screens.checkup(found)
    if not all(each.ok for each in found):
        ctx.exit(1)


@click.command(
    epilog=example("vtn serve --config /etc/demandflex/vtn.toml", "vtn serve --workers 4")
)
@CONFIG
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that serve, on PostgreSQL; [vtn] workers in the settings.  [default: 1]",
)
@VERBOSE
@LOG_FORMAT
def serve(config: Path, workers: int | None, *, verbose: bool, log_format: LogFormat) -> None:
    """Serve VENs and operators until SIGTERM or Ctrl-C."""
    configure_logs(verbose=verbose, log_format=log_format)
    from vtn.app import serve as run  # noqa: PLC0415 - as in init
    from vtn.supervisor import supervise  # noqa: PLC0415 - as in init

    settings = settings_file.load(config)
    count = workers or settings.vtn.workers
    if count == 1:
        run(settings)
    else:
        supervise(settings, count)


@click.command(epilog=example("vtn health --json"))
@asks
def health(vtn: OperatorClient, *, as_json: bool) -> None:
    """How the running VTN is doing."""
    found = vtn.get("health", into=records.Health)
    show_json(found) if as_json else screens.health(found)
