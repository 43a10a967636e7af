# SPDX-License-Identifier: Apache-2.0
"""The clock of the VTN's machine jumps while it serves: hours ahead, back, a day back and forth.

libfaketime moves the wall clock of the process; the monotonic one goes on as in reality.
"""

import asyncio
import time
from pathlib import Path

from chaos.errors import SetUpFault
from chaos.scene import scene
from chaos.trial import Bench, Trial
from chaos.utility import Utility
from chaos.verdict import Outcome, outcome

_LIBRARIES = "*-linux-gnu/faketime/libfaketimeMT.so.1"
OFFSETS_S = (3600, 0, -3600, 0, -86_400, 0, 86_400, 3600, 1, 0)
"""One after the other; the last is the truth again."""
_EACH_S = 4.0


def _jumped(bench: Bench) -> Outcome:
    library = next(Path("/usr/lib").glob(_LIBRARIES), None)
    if library is None:
        raise SetUpFault("libfaketime is missing; run scripts/packages as root.")
    clock = bench.folder / "clock"
    _set(clock, 0)
    utility = Utility(bench.folder, "sqlite:///vtn.db")
    utility.vtn.environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return asyncio.run(_jump(bench, utility, clock))


async def _jump(bench: Bench, utility: Utility, clock: Path) -> Outcome:
    recoveries: list[float] = []
    async with scene(bench, utility) as stage:
        for number, offset_s in enumerate(OFFSETS_S):
            await asyncio.sleep(bench.chance.uniform(0.5, 1.0) * _EACH_S)
            await asyncio.to_thread(_set, clock, offset_s)
            jumped_at = time.monotonic()
            recoveries.append(await stage.recovery_s(jumped_at))
            bench.say(number + 1, len(OFFSETS_S))
        await asyncio.sleep(_EACH_S)
    verdict = await asyncio.to_thread(stage.judge)
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=len(OFFSETS_S),
        recoveries_s=recoveries,
        measured=stage.measured(),
    )


def _set(clock: Path, offset_s: int) -> None:
    """All at once: the file is read at any moment."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(f"{offset_s:+d}\n")
    fresh.replace(clock)


TRIALS = (
    Trial(
        name="vtn-clock",
        what="the VTN's clock jumps by hours and days: nothing lost, events stand as they were",
        run=_jumped,
        budget_s=200,
        usual_s=55,
        busy=True,
    ),
)
