# SPDX-License-Identifier: Apache-2.0
"""`make fuzz`: every target for a while; findings go to fuzz/out/TARGET, and then it exits 1.

FUZZ_S=600 make fuzz                          ten minutes for each target
python -m fuzz --only gateway --seconds 60
python -m fuzz --again fuzz/out/gateway/crash-...     what it was, with its traceback
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import click

from fuzz.words import TARGETS, words_of

OUT = Path("fuzz/out")
LONGEST = 16_384
"""Bytes of one input."""
HANGS_S = 10
_ONE = (sys.executable, "-m", "fuzz.one")
_TRIED = "stat::number_of_executed_units"


@click.command()
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    envvar="FUZZ_S",
    default=60,
    show_default=True,
    help="For each target; FUZZ_S does the same.",
)
@click.option("--only", multiple=True, type=click.Choice(TARGETS), help="Repeatable.")
@click.option(
    "--again",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A finding: try it once more, alone.",
)
def main(*, seconds: int, only: tuple[str, ...], again: Path | None) -> None:
    """Fuzz what reads the words of strangers."""
    if again is not None:
        sys.exit(_run([*_ONE, again.parent.name, str(again)]).returncode)
    found = 0
    for name in only or TARGETS:
        began_s = time.monotonic()
        folder = OUT / name
        corpus = folder / "seen"
        corpus.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "tests.seeds", name, str(corpus)]).check_returncode()
        words = folder / "words.txt"
        words.write_text("".join(f'"{word}"\n' for word in words_of(name)))
        click.echo(f"{name:<10} for {seconds} s ...", nl=False)
        with (folder / "log.txt").open("wb") as log:
            done = _run(
                [
                    *(*_ONE, name, str(corpus), f"-max_total_time={seconds}", f"-dict={words}"),
                    *(f"-artifact_prefix={folder}/", f"-max_len={LONGEST}", f"-timeout={HANGS_S}"),
                    *("-rss_limit_mb=2048", "-print_final_stats=1"),
                ],
                log,
            )
        said = (folder / "log.txt").read_text(errors="replace").splitlines()
        tried = next((each.split()[-1] for each in said if _TRIED in each), "?")
        took_s = time.monotonic() - began_s
        verdict = "FINDING" if done.returncode else "ok"
        click.echo(f"\r{name:<10} {tried:>10} inputs in {took_s:3.0f} s  {verdict}")
        if done.returncode:
            found += 1
            told = (each for each in said if not each.startswith(("#", "INFO", "WARNING")))
            click.echo("\n".join(list(told)[-40:]))
            click.echo(f"once more: python -m fuzz --again {folder}/crash-... (or timeout-, oom-)")
    sys.exit(1 if found else 0)


def _run(words: list[str], log: IO[bytes] | None = None) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(words, check=False, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
