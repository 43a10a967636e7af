# SPDX-License-Identifier: Apache-2.0
"""The VTN's disk is full for a while: it refuses with 503, and goes on when there is room.

As root on a small file system in memory that is filled up to the last byte; else, and said so in
the result, with a limit on the size of files (RLIMIT_FSIZE), which fails writes in the same way.
"""

import asyncio
import os
import subprocess
import time
from pathlib import Path
from typing import Protocol

from chaos.scene import scene
from chaos.small_disk import SmallDisk, small_disk
from chaos.trial import Bench, Trial
from chaos.utility import Utility
from chaos.verdict import Outcome, outcome

RUNS = 6
_FULL_S = 5.0
_SIZE = "24m"


class Disk(Protocol):
    """A disk that can be filled."""

    def fill(self) -> None: ...

    def free(self) -> None: ...


class _SmallFiles:
    """The VTN may make no file longer than a few bytes."""

    def __init__(self, utility: Utility) -> None:
        self._utility = utility

    def fill(self) -> None:
        """From now on every write of the VTN to a file fails."""
        self._limit("1")

    def free(self) -> None:
        """It may write again."""
        self._limit("unlimited")

    def _limit(self, size: str) -> None:
        pid = str(self._utility.vtn.pid)
        subprocess.run(["prlimit", "--pid", pid, f"--fsize={size}:unlimited"], check=True)


def _full(bench: Bench) -> Outcome:
    small = bench.folder / "small"
    if os.geteuid() == 0:
        with small_disk(small, size=_SIZE) as disk:
            utility = Utility(bench.folder, f"sqlite:///{small}/vtn.db")
            return asyncio.run(_fill(bench, utility, disk))
    utility = Utility(bench.folder, "sqlite:///vtn.db")
    utility.vtn.log = Path(os.devnull)  # its log is a file, too, that could not be written
    return asyncio.run(_fill(bench, utility, _SmallFiles(utility)))


async def _fill(bench: Bench, utility: Utility, disk: Disk) -> Outcome:
    runs = bench.times(RUNS)
    recoveries: list[float] = []
    died = 0
    async with scene(bench, utility) as stage:
        for number in range(runs):
            await asyncio.sleep(bench.chance.uniform(1, 2))
            await asyncio.to_thread(disk.fill)
            await asyncio.sleep(_FULL_S)
            freed_at = time.monotonic()
            await asyncio.to_thread(disk.free)
            if not utility.vtn.alive:
                died += 1
                utility.vtn.start()
                freed_at = utility.vtn.started_at
            recoveries.append(await stage.recovery_s(freed_at))
            bench.say(number + 1, runs)
    verdict = await asyncio.to_thread(stage.judge)
    refusals = sorted(s for ven in stage.vens for s in ven.ledger.refused_s)
    remarks = [f"the VTN died {died} times of it"] if died else []
    if not refusals:
        remarks.append("the VTN never refused")
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured=stage.measured()
        | {
            "refusals": len(refusals),
            "longest_refusal_s": round(refusals[-1], 3) if refusals else 0.0,
            "tmpfs": float(isinstance(disk, SmallDisk)),
        },
        remarks=remarks,
    )


TRIALS = (
    Trial(
        name="vtn-disk-full",
        what="the VTN's disk is full: 503 and no crash, nothing lost, goes on when there is room",
        run=_full,
        budget_s=240,
        usual_s=70,
        busy=True,
    ),
)
