# SPDX-License-Identifier: Apache-2.0
"""python -m bench: openleadr's VTN, ours and a bare echo side by side, as one table of ratios."""

import asyncio
import importlib
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop
from rich.console import Console

from bench.errors import BenchFault
from bench.machine import machine
from bench.plan import QUICK, WHOLE, Run
from bench.ratios import Row, Rows, markdown, table
from bench.stage import Stage
from doorway import Door, Fault

MODULES: Final[Mapping[int, str]] = {
    1: "polls",
    2: "events",
    3: "reports",
    4: "signed",
    5: "connections",
    6: "registered",
    7: "mixed",
    8: "reports",
    9: "field",
    10: "sampler",
}
"""Goal -> the module of bench.goals that measures it; some measure two."""


def _goals(_ctx: click.Context, _param: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        chosen = tuple(int(word) for word in text.split(",") if word)
    except ValueError:
        raise click.BadParameter(f"'{text}' is not like 1,3.") from None
    unknown = sorted(set(chosen) - set(MODULES))
    if unknown:
        raise click.BadParameter(f"there is no goal {unknown[0]}; there are 1 to {max(MODULES)}.")
    return chosen or tuple(MODULES)


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="\b\nExample:\n  python -m bench --only 1,3 --quick",
)
@click.option("--only", default="", callback=_goals, help="Goals like 1,3.  [default: all]")
@click.option("--quick", is_flag=True, help="Fewer and shorter rounds: rougher figures.")
@click.option("--profile", is_flag=True, help="Say in OUT/profiles where our VTN's time goes.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench/out"),
    show_default=True,
    help="Where ratios.json and the logs go; what is there is replaced.",
)
def main(*, only: tuple[int, ...], quick: bool, profile: bool, out: Path) -> None:
    """Measure the goals of docs/performance.md on this machine.

    Exit status 0 when every answer was right, met or missed; 1 when one was wrong or something
    did not run.
    """
    console = Console()
    began = time.monotonic()
    started_at = datetime.now(UTC)
    where = machine()

    def tell(text: str) -> None:
        console.print(
            f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {text}", highlight=False, soft_wrap=True
        )

    rows = Rows()
    out = out.resolve()
    run = Run(
        stage=Stage(out / "work", profiles=out / "profiles" if profile else None),
        amounts=QUICK if quick else WHOLE,
        rows=rows,
        tell=tell,
    )
    chosen = dict.fromkeys(MODULES[goal] for goal in sorted(set(only)))
    try:
        failed = uvloop.run(_measure(run, list(chosen), console))
    except asyncio.CancelledError:  # what was measured till then is written all the same
        failed = ["the run was interrupted"]
    result = {
        "goals": [row.plain() for row in rows.goals],
        "also": [row.plain() for row in rows.also],
        "failed": failed,
        "quick": quick,
        "profiled": profile,
        "started_at": started_at.isoformat(timespec="seconds"),
        "duration_s": round(time.monotonic() - began, 1),
        "machine": where,
    }
    file = out / "ratios.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    every = sorted(rows.every, key=_order)
    (out / "table.md").write_text(markdown(every) + "\n", encoding="utf-8")
    console.print(table(every))
    for row in rows.missed:
        console.print(f"missed: goal {row.goal}, {row.what}", highlight=False, soft_wrap=True)
    console.print(f"{file}", highlight=False)
    if failed:
        raise BenchFault("; ".join(failed))


def _order(row: Row) -> tuple[int, bool]:
    return row.goal, row.target is None


async def _measure(run: Run, modules: list[str], console: Console) -> list[str]:
    """Each module in turn; the sentences of those that failed."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):  # so that what was started is ended, too
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    failed = []
    for name in modules:
        module = importlib.import_module(f"bench.goals.{name}")
        began = time.monotonic()
        try:
            await module.measure(run)
        except (Fault, OSError) as error:  # TimeoutError is an OSError
            failed.append(f"{name}: {str(error) or type(error).__name__}")
            console.print(f"[red]failed[/red]: {failed[-1]}", highlight=False, soft_wrap=True)
        else:
            run.tell(f"{name} took {time.monotonic() - began:.1f} s")
    return failed


if __name__ == "__main__":
    main(prog_name="python -m bench")
