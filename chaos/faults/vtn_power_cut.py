# SPDX-License-Identifier: Apache-2.0
"""The power of the VTN's machine goes at random writes: SQLite opens, and holds what was answered.

The VTN's own stack runs once under strace; from its writes and syncs we work out what its disk may
hold after a cut at any moment (chaos.torn_disk), open that, and judge it.
"""

import sqlite3
import subprocess
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from chaos.program import command
from chaos.scripted_ven import R_ID, meter_w
from chaos.torn_disk import Disk, acts, strace
from chaos.trial import Bench, Trial
from chaos.verdict import CLEAN, Outcome, Reading, Series, judge_samples, outcome
from chaos.vtn_writer import VENS, Acknowledged
from vtn.blocks import unpack

RUNS = 200
_ROUNDS = 60
_MEMORY = Path("/dev/shm")  # noqa: S108 - only for speed; each cut gets a folder of its own there


def _cut(bench: Bench) -> Outcome:
    runs = bench.times(RUNS)
    folder, acks, trace = bench.folder / "disk", bench.folder / "acks", bench.folder / "trace"
    folder.mkdir()
    writer = command("python", "-m", "chaos.vtn_writer", folder, acks, _ROUNDS, bench.seed)
    subprocess.run([*strace(trace, threads=True), *writer], check=True, capture_output=True)
    done = [*acts(trace)]
    said = _said(acks.read_bytes())
    # From the first acknowledged report on: what is there before is the making of the tables.
    first = next(number for number, act in enumerate(done) if act.path == str(acks))
    moments = Counter(bench.chance.choices(range(first, len(done)), k=runs))
    disk = Disk(folder)
    acknowledged: dict[Series, set[float]] = {}
    verdict = CLEAN
    broken: list[str] = []
    struck = 0
    for number, act in enumerate(done):
        disk.take(act)
        if act.kind == "write" and act.path == str(acks):
            for series, instants in _said(act.written).items():
                acknowledged.setdefault(series, set()).update(instants)
        for _ in range(moments[number]):
            struck += 1
            bench.say(struck, runs)
            with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as name:
                disk.cut_off(Path(name), bench.chance)
                try:
                    held = _held(Path(name) / "vtn.db")
                except sqlite3.Error as error:
                    broken.append(f"cut at {number}: the database does not open: {error}")
                else:
                    verdict += judge_samples(said, acknowledged, held)
    return outcome(
        bench.name,
        verdict,
        runs=struck,
        wanted=runs,
        measured={
            "disk_acts": len(done),
            "syncs": sum(act.kind == "sync" for act in done),
            "samples_acknowledged": sum(map(len, said.values())),
            "reports_acknowledged": VENS * _ROUNDS,
        },
        remarks=broken,
    )


def _said(lines: bytes) -> Mapping[Series, dict[float, float]]:
    found: dict[Series, dict[float, float]] = {}
    for line in lines.splitlines():
        one = msgspec.json.decode(line, type=Acknowledged)
        readings = found.setdefault((one.ven_id, R_ID), {})
        for at in range(one.first, one.first + one.rows):
            readings[float(at)] = meter_w(one.ven_id, at)
    return found


def _held(database: Path) -> list[Reading]:
    """Every reading in a database as the cut has left it. Raises sqlite3.Error."""
    with closing(sqlite3.connect(database)) as connection:
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)
        rows = connection.execute(
            "SELECT s.ven_id, s.r_id, b.starts_at, b.samples FROM measurement_blocks b"
            " JOIN series s ON s.number = b.series"
        ).fetchall()
    found: list[Reading] = []
    for ven_id, r_id, starts_at, samples in rows:
        block = unpack(samples)
        found += [
            ((ven_id, r_id), float(starts_at + offset), value)
            for offset, value in zip(block.offsets, block.values, strict=True)
        ]
    return found


TRIALS = (
    Trial(
        name="vtn-power-cut",
        what="power cut at random writes of a VTN on SQLite: what was answered is there",
        run=_cut,
        budget_s=300,
        usual_s=45,
        busy=True,
    ),
)
