# SPDX-License-Identifier: Apache-2.0
"""One of three workers of `vtn serve --workers 3` is killed (-9), again and again.

Faster than they are started anew, for the supervisor takes its time with a worker that dies often.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

from chaos.errors import InVain
from chaos.postgres import PostgresCluster
from chaos.scene import Scene, scene
from chaos.trial import Bench, Trial
from chaos.utility import Utility
from chaos.verdict import Outcome, outcome

RUNS = 40
_WORKERS = 3
_WITHIN_S = 30.0


def _killed(bench: Bench) -> Outcome:
    with bench.postgres() as cluster:
        return asyncio.run(_kill(bench, cluster))


async def _kill(bench: Bench, cluster: PostgresCluster) -> Outcome:
    runs = bench.times(RUNS)
    recoveries: list[float] = []
    name, _ = cluster.fresh()
    utility = Utility(bench.folder, cluster.tcp_url(name), workers=_WORKERS)
    async with scene(bench, utility) as stage:
        for number in range(runs):
            await asyncio.sleep(bench.chance.uniform(0, 0.7))
            worker = bench.chance.choice(await _workers(utility.vtn.pid))
            struck_at = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            recoveries.append(await _all_again_s(stage, struck_at))
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


async def _workers(supervisor: int) -> list[int]:
    """The workers that run, once more than one does: the last one is left alone. Raises InVain."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        found = _children(supervisor)
        if len(found) > 1:
            return found
        await asyncio.sleep(0.02)
    raise InVain(f"There are not two workers within {_WITHIN_S:g} s.")


def _children(pid: int) -> list[int]:
    """The processes that a process has started, and that still run."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _all_again_s(stage: Scene, since: float) -> float:
    """How long until every VEN has had a sample acknowledged that it sent after `since`."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        last = [max(ven.ledger.acknowledged_at[-1:], default=0.0) for ven in stage.vens]
        if min(last) > since:
            return min(last) - since
        await asyncio.sleep(0.01)
    raise InVain(f"A VEN is not answered within {_WITHIN_S:g} s{stage.utility.last_words()}")


TRIALS = (
    Trial(
        name="worker-killed",
        what="one of three workers killed -9: the others answer, every VEN within 3 s",
        run=_killed,
        budget_s=300,
        usual_s=70,
        busy=True,
    ),
)
