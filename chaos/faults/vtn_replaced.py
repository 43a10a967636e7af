# SPDX-License-Identifier: Apache-2.0
"""The VTN is replaced under load (SIGTERM, then a new process), and stands still for a while."""

import asyncio
import signal
import time

from chaos.scene import scene
from chaos.trial import Bench, Trial
from chaos.utility import Utility
from chaos.verdict import Outcome, outcome

RUNS = 20
STILLS = 5
_STILL_S = 7.0
"""Longer than a VEN waits for an answer."""


def _replaced(bench: Bench) -> Outcome:
    return asyncio.run(_replace(bench))


async def _replace(bench: Bench) -> Outcome:
    runs = bench.times(RUNS)
    recoveries: list[float] = []
    pauses: list[float] = []
    statuses: list[int] = []
    utility = Utility(bench.folder, "sqlite:///vtn.db")
    async with scene(bench, utility) as stage:
        for number in range(runs):
            await asyncio.sleep(bench.chance.uniform(0.2, 1))
            asked_at = time.monotonic()
            statuses.append(await asyncio.to_thread(utility.vtn.stop))
            utility.vtn.start()
            recoveries.append(await stage.recovery_s(utility.vtn.started_at))
            pauses.append(time.monotonic() - asked_at)
            bench.say(number + 1, runs)
    verdict = await asyncio.to_thread(stage.judge)
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured=stage.measured() | {"longest_pause_s": round(max(pauses), 3)},
        remarks=[f"it ended with status {status}" for status in statuses if status],
    )


def _frozen(bench: Bench) -> Outcome:
    return asyncio.run(_freeze(bench))


async def _freeze(bench: Bench) -> Outcome:
    runs = bench.times(STILLS)
    recoveries: list[float] = []
    utility = Utility(bench.folder, "sqlite:///vtn.db")
    async with scene(bench, utility) as stage:
        for number in range(runs):
            await asyncio.sleep(bench.chance.uniform(0.5, 2))
            utility.vtn.signal(signal.SIGSTOP)
            await asyncio.sleep(_STILL_S)
            utility.vtn.signal(signal.SIGCONT)
            recoveries.append(await stage.recovery_s(time.monotonic()))
            bench.say(number + 1, runs)
    verdict = await asyncio.to_thread(stage.judge)
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured=stage.measured(),
    )


TRIALS = (
    Trial(
        name="vtn-replaced",
        what="a VTN that answers is replaced by a new one: VENs notice a pause, no more",
        run=_replaced,
        budget_s=240,
        usual_s=60,
        busy=True,
    ),
    Trial(
        name="vtn-frozen",
        what="the VTN stands still for 7 s (SIGSTOP) and goes on: nothing lost or doubled",
        run=_frozen,
        budget_s=200,
        usual_s=60,
        busy=True,
    ),
)
