# SPDX-License-Identifier: Apache-2.0
"""The power of a site's computer is cut at random writes to its card.

The real stores work under strace; from their writes and syncs is worked out what a card may hold
after a cut at any of them, and the stores are opened on that.
"""

import random
import subprocess
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from chaos.field_writer import BATCH, Numbers, found_in
from chaos.program import command
from chaos.torn_disk import Act, Disk, acts, strace
from chaos.trial import Bench, Trial
from chaos.verdict import MOST_REMARKS, Outcome, Verdict, outcome

RUNS = 500
_ROUNDS = 1500
_MEMORY = Path("/dev/shm")  # noqa: S108 - only for speed; each cut gets a folder of its own there


def _cut(bench: Bench) -> Outcome:
    runs = bench.times(RUNS)
    folder, acks, trace = bench.folder / "disk", bench.folder / "acks", bench.folder / "trace"
    folder.mkdir()
    subprocess.run(
        [
            *strace(trace),
            *command("python", "-m", "chaos.field_writer", folder, acks, _ROUNDS, bench.seed),
        ],
        check=True,
    )
    done = [*acts(trace)]
    first = next(n for n, act in enumerate(done) if act.path.startswith(str(folder)))
    moments = Counter(bench.chance.choices(range(first, len(done)), k=runs))
    disk = Disk(folder)
    acknowledged = Numbers()
    lost = doubled = 0
    most_behind = 0
    remarks: list[str] = []
    struck = 0
    for number, act in enumerate(done):
        disk.take(act)
        acknowledged = _noted(act, acks) or acknowledged
        for _ in range(moments[number]):
            struck += 1
            bench.say(struck, runs)
            try:
                found = _found_after(disk, bench.chance)
            except Exception as error:  # noqa: BLE001 - whatever it was, the store did not open
                lost += 1
                remarks.append(f"cut at write {number}: {type(error).__name__}: {error}")
                continue
            for store in msgspec.structs.fields(Numbers):
                behind = getattr(acknowledged, store.name) - getattr(found, store.name)
                most_ahead = BATCH if store.name == "ring" else 1
                if behind > 0:
                    lost += behind
                    remarks.append(f"cut at write {number}: {store.name} lost {behind}")
                elif behind < -most_ahead:
                    doubled += 1
                    remarks.append(f"cut at write {number}: {store.name} is ahead by {-behind}")
            most_behind = max(most_behind, acknowledged.ring - found.ring)
    return outcome(
        bench.name,
        Verdict(lost=lost, doubled=doubled, remarks=tuple(remarks[:MOST_REMARKS])),
        runs=struck,
        wanted=runs,
        measured={
            "disk_acts": len(done),
            "syncs": sum(act.kind == "sync" for act in done),
            "readings_acknowledged": acknowledged.ring,
        },
    )


def _noted(act: Act, acks: Path) -> Numbers | None:
    if act.kind != "write" or act.path != str(acks):
        return None
    return msgspec.json.decode(act.written, type=Numbers)


def _found_after(disk: Disk, chance: random.Random) -> Numbers:
    with TemporaryDirectory(prefix="chaos-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        disk.cut_off(Path(name), chance)
        return found_in(Path(name))


TRIALS = (
    Trial(
        name="field-power-cut",
        what="Power cut at random writes to the node's card: what was acknowledged is there",
        run=_cut,
        budget_s=400,
        usual_s=40,
        busy=True,
    ),
)
