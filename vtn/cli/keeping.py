# SPDX-License-Identifier: Apache-2.0
"""vtn backup, restore, upgrade, copy: what keeps this machine's VTN for years."""

import asyncio
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from doorway import configure_logs, show
from vtn import config as settings_file
from vtn.cli.asking import CONFIG, FILE, VERBOSE, current_time, example
from vtn.errors import BackupFault, Invalid

if TYPE_CHECKING:
    from vtn.backup import Backup, Progress


@click.command(
    epilog=example(
        "vtn backup /backups/vtn-$(date +%F).db",
        "cd /backups && sha256sum -c vtn-2030-01-09.db.sha256",
    )
)
@click.argument("file", type=FILE)
@click.option("--verify", is_flag=True, help="Read it back from beginning to end.")
@CONFIG
@VERBOSE
def backup(file: Path, config: Path, *, verify: bool, verbose: bool) -> None:
    """Write a backup of the database to FILE, while the VTN serves.

    One state of everything: SQLite as one database file, PostgreSQL as a custom archive of
    pg_dump. Beside it stands FILE.sha256. Keep vtn.toml, the token and the certificates with it.
    """
    configure_logs(verbose=verbose)
    # Waits for its use: the commands that speak to a running VTN start in half the time.
    from vtn import backup as backups  # noqa: PLC0415

    url = settings_file.load(config).store.url
    with _watched("copying") as progress:
        made = asyncio.run(backups.back_up(url, file, progress=progress))
    if verify:
        made = asyncio.run(backups.verify(file))
    show(f"wrote {file}: {_described(made)}" + (", read back" if verify else ""))


@click.command(epilog=example("vtn restore /backups/vtn-2030-01-09.db --force"))
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Also where there is a database; it is kept beside.")
@click.option("--check", "only_check", is_flag=True, help="Only read FILE; change nothing.")
@CONFIG
@VERBOSE
def restore(file: Path, config: Path, *, force: bool, only_check: bool, verbose: bool) -> None:
    """Put a backup in the place of the database; stop `vtn serve` first.

    It is brought to this version, and every VEN is asked again for the readings that were
    acknowledged after the backup was made.
    """
    configure_logs(verbose=verbose)
    from vtn import backup as backups  # noqa: PLC0415 - as in backup

    if only_check:
        show(f"{file} is whole: {_described(asyncio.run(backups.verify(file)))}")
        return
    url = settings_file.load(config).store.url
    asyncio.run(_restored(url, file, force=force))


async def _restored(url: str, file: Path, *, force: bool) -> None:
    from vtn import backup as backups  # noqa: PLC0415 - as in backup
    from vtn.recovery import ask_again  # noqa: PLC0415 - as in backup
    from vtn.store import Store, migrate  # noqa: PLC0415 - as in backup

    kept = await backups.restore(url, file, force=force, now=current_time())
    show(f"restored {file}" + (f"; what was there before is kept as {kept}" if kept else ""))
    before, after = await migrate(url)
    if before != after:
        show(f"brought the database from version {before} to {after}")
    store = await Store.open(url)
    try:
        asked = await ask_again(store, now=current_time(), new_id=lambda: secrets.token_hex(10))
    finally:
        await store.close()
    if asked.since is not None:
        show(
            f"{asked.vens} VENs will be asked again for {asked.reports} reports, from "
            f"{asked.since:%Y-%m-%dT%H:%M:%SZ} on; their nodes still hold the last seven days"
        )
    show(
        "What operators did after the backup is not in it: look through your own records for VENs "
        "let in or revoked and events published, modified or cancelled since, and do it again."
    )


@click.command(epilog=example("vtn upgrade && vtn check && vtn serve"))
@click.option(
    "--backup", "wanted", type=FILE, help="Where the backup goes.  [default: beside the database]"
)
@click.option("--no-backup", is_flag=True, help="There is one already.")
@CONFIG
@VERBOSE
def upgrade(config: Path, wanted: Path | None, *, no_backup: bool, verbose: bool) -> None:
    """Bring an older database to this version; stop `vtn serve` first.

    A backup is made before. All happens in one transaction: interrupted, nothing has changed.
    """
    configure_logs(verbose=verbose)
    url = settings_file.load(config).store.url
    asyncio.run(upgraded(url, wanted, no_backup=no_backup))


async def upgraded(url: str, wanted: Path | None = None, *, no_backup: bool = False) -> None:
    """As the command does; raises NewerSchema, and BackupFault where there is no backup."""
    from vtn import backup as backups  # noqa: PLC0415 - as in backup
    from vtn.store import migrate  # noqa: PLC0415 - as in backup
    from vtn.store.engine import refuse_newer, revision, sqlite_file  # noqa: PLC0415 - as in backup

    before, after = await revision(url)
    if before is None:
        raise BackupFault("There is no database to upgrade; run vtn init.")
    refuse_newer(url, before)
    if before == after:
        show(f"the database is at version {after} already")
        return
    await backups.have_for_ourselves(url)
    if not no_backup:
        database = sqlite_file(url)
        stamp = current_time().strftime("%Y%m%dT%H%M%SZ")
        name = f"{database.name if database else 'vtn.pgdump'}.version-{before}-{stamp}"
        file = wanted or (database.parent if database else Path()) / name
        with _watched("backing up") as progress:
            made = await backups.back_up(url, file, progress=progress)
        show(f"wrote {file}: {_described(made)}")
    await migrate(url, step=lambda version, caption: show(f"version {version}: {caption}"))
    show(f"brought the database from version {before} to {after}")


@click.command(epilog=example("vtn copy --to postgresql://vtn@db.example/vtn"))
@click.option("--to", "target", required=True, help="sqlite:///FILE or postgresql://USER@HOST/NAME")
@CONFIG
@VERBOSE
def copy(config: Path, target: str, *, verbose: bool) -> None:
    """Copy everything into another, empty database; stop `vtn serve` first.

    The database of the settings stays as it is. Then name the other one in [store] url.
    """
    configure_logs(verbose=verbose)
    from vtn import copying  # noqa: PLC0415 - as in backup

    url = settings_file.load(config).store.url
    try:
        other = settings_file.store_url(target, folder=Path.cwd())
    except ValueError as error:
        raise Invalid(f"--to: {error}") from error
    with _watched("copying") as progress:
        copied = asyncio.run(
            copying.copy(url, other, progress=lambda _name, done, whole: progress(done, whole))
        )
    rows = f"{sum(copied.values())} rows of {len(copied)} tables"
    show(f"copied {rows}; now set [store] url in {config}")


@contextmanager
def _watched(word: str) -> "Iterator[Progress]":
    """Shows on a terminal how far it has come, in one line; says nothing into a file."""
    if not sys.stderr.isatty():
        yield lambda _done, _whole: None
        return

    def tell(done: int, whole: int) -> None:
        share = f"{done / whole:.0%}" if whole else str(done)
        click.echo(f"\r{word} {share} ", nl=False, err=True)

    yield tell
    click.echo("\r\033[K", nl=False, err=True)


def _described(made: "Backup") -> str:
    size = f"{made.size_bytes / 1e6:.1f} MB"
    return f"{size} of {made.kind}" + (f", version {made.version}" if made.version else "")
