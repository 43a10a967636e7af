# SPDX-License-Identifier: Apache-2.0
"""python -m chaos: real processes under faults, judged from independent ledgers."""

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console

from chaos import faults, runner
from chaos.errors import ChaosFault
from chaos.screen import Screen, verdict
from chaos.trial import Trial
from chaos.verdict import Outcome
from doorway import Door, show

_SEED = click.option("--seed", type=int, help="Draw the same moments again; else others each time.")
_SCALE = click.option(
    "--scale", default=1.0, show_default=True, help="The share of all runs: 0.1 for a quick look."
)


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="\b\nExamples:\n  make chaos\n  python -m chaos --only vtn-killed --scale 0.1 --seed 7",
)
@click.option("--only", multiple=True, help="Only trials whose names begin so; may be repeated.")
@_SEED
@_SCALE
@click.option("--lanes", default=runner.LANES, show_default=True, help="So many trials at once.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("chaos/out"),
    show_default=True,
    help="Where result.json goes.",
)
@click.pass_context
def main(
    context: click.Context,
    *,
    only: Sequence[str],
    seed: int | None,
    scale: float,
    lanes: int,
    out: Path,
) -> None:
    """Try every fault of the table against real processes; 0 where everything has held, else 1.

    Takes about half an hour in all. `python -m chaos list` names the faults.
    """
    if context.invoked_subcommand is not None:
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the trials, too
    chosen = _chosen(only)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    console = Console()
    machine = {"processors": os.cpu_count(), "load_before": os.getloadavg()[0]}
    console.print(f"{len(chosen)} faults, seed {seed}", highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "result.json"
    file.unlink(missing_ok=True)
    outcomes: list[Outcome] = []
    try:
        with Screen(console, len(chosen)) as screen:
            watched = runner.run(chosen, screen, outcomes, seed=seed, scale=scale, lanes=lanes)
            asyncio.run(watched)
    finally:  # what has ended counts, also where the rest was interrupted
        result = {"seed": seed, "scale": scale, "machine": machine, "faults": outcomes}
        file.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    broken = [one for one in outcomes if not one.held]
    for one in broken:
        console.print(f"{one.name}: {verdict(one)}", style="red", highlight=False, markup=False)
    console.print(f"{len(outcomes) - len(broken)} of {len(outcomes)} held; {file}", highlight=False)
    context.exit(1 if broken else 0)


@main.command("list", epilog="\b\nExample:\n  python -m chaos list")
def show_list() -> None:
    """Name every fault, and say what must hold."""
    for trial in faults.every():
        show(f"{trial.name:28} {trial.what}")


@main.command("play", hidden=True)
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=int, required=True)
@_SCALE
def play(*, name: str, folder: Path, seed: int, scale: float) -> None:
    """Run one trial in this process; the runner starts it so."""
    trial = next(each for each in faults.every() if each.name == name)
    runner.play(trial, folder, seed=seed, scale=scale)


def _chosen(only: Sequence[str]) -> list[Trial]:
    every = faults.every()
    for name in only:
        if not any(trial.name.startswith(name) for trial in every):
            raise ChaosFault(f"No fault is named {name}; see them all with: python -m chaos list.")
    return [trial for trial in every if not only or trial.name.startswith(tuple(only))]


if __name__ == "__main__":
    main(prog_name="python -m chaos")
