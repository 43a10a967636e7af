# SPDX-License-Identifier: Apache-2.0
"""The VTN is killed (-9) again and again while reports come in and events are published.

A quarter of the moments each: at random; as soon as the database is written to; while an act of the
operator is under way; and when the VTN has answered but the answer has not arrived (the proxy keeps
it).
"""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos.operator import BusyOperator
from chaos.program import Program
from chaos.proxy import Direction, FaultProxy
from chaos.scene import scene
from chaos.trial import Bench, Trial
from chaos.utility import Utility
from chaos.verdict import Outcome, outcome

RUNS = 100
_LULL_S = 0.7
"""Between a recovery and the next kill there is at most so much."""
_PATIENCE_S = 2.0
"""For an aimed moment; then it is a random one."""

_ACT_S = 0.03
"""About as long as an act of the operator takes."""

Kill = Callable[[Program], None]
"""Waits for its moment, and kills."""


def _on_sqlite(bench: Bench) -> Outcome:
    wal = bench.folder / "vtn.db-wal"
    return asyncio.run(_killed(bench, "sqlite:///vtn.db", lambda vtn: _as_written(vtn, wal)))


def _on_postgresql(bench: Bench) -> Outcome:
    with bench.postgres() as cluster, FaultProxy(cluster.port, seed=bench.seed) as line:
        name, _ = cluster.fresh()
        url = cluster.tcp_url(name, port=line.port)
        return asyncio.run(_killed(bench, url, lambda vtn: _as_committed(vtn, line, bench)))


async def _killed(bench: Bench, database: str, as_written: Kill) -> Outcome:
    runs = bench.times(RUNS)
    recoveries: list[float] = []
    utility = Utility(bench.folder, database)
    vtn = utility.vtn
    with FaultProxy(utility.openadr_port, seed=bench.seed) as line:
        async with scene(bench, utility, through=line.port) as stage:
            for number in range(runs):
                await asyncio.sleep(bench.chance.uniform(0, _LULL_S))
                if number % 4 == 1:
                    await asyncio.to_thread(as_written, vtn)
                elif number % 4 == 2:
                    await asyncio.to_thread(_as_ordered, vtn, stage.operator, bench)
                elif number % 4 == 3:
                    await asyncio.to_thread(_as_answered, vtn, line)
                vtn.kill()
                await asyncio.sleep(bench.chance.uniform(0, 0.2))
                vtn.start()
                recoveries.append(await stage.recovery_s(vtn.started_at))
                bench.say(number + 1, runs)
    verdict = await asyncio.to_thread(stage.judge)
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured=stage.measured() | spread(recoveries),
    )


def _as_written(vtn: Program, wal: Path) -> None:
    """Kill as soon as SQLite's log is written to: at the commit, or in the middle of it."""
    before = wal.stat().st_mtime_ns
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and wal.stat().st_mtime_ns == before:
        time.sleep(0.0002)
    vtn.signal(signal.SIGKILL)


def _as_committed(vtn: Program, line: FaultProxy, bench: Bench) -> None:
    """Kill when COMMIT is on its way to PostgreSQL, or when its confirmation is on its way back."""
    direction = bench.chance.choice(tuple(Direction))
    _kill_at(vtn, line, lambda way, chunk: way is direction and b"COMMIT" in chunk)


def _as_ordered(vtn: Program, operator: BusyOperator | None, bench: Bench) -> None:
    """Kill in the middle of a publication, a change or a cancellation."""
    if operator is not None and operator.acting.wait(_PATIENCE_S):
        time.sleep(bench.chance.uniform(0, _ACT_S))
    vtn.signal(signal.SIGKILL)


def _as_answered(vtn: Program, line: FaultProxy) -> None:
    """Kill when an answer has left the VTN; it does not arrive."""
    _kill_at(vtn, line, lambda way, _: way is Direction.DOWN)


def _kill_at(vtn: Program, line: FaultProxy, is_moment: Callable[[Direction, bytes], bool]) -> None:
    """Kill at the first chunk that is the moment; nothing goes on from then until it is dead."""
    struck = threading.Event()

    def on_chunk(direction: Direction, chunk: bytes) -> bool:
        if not struck.is_set() and is_moment(direction, chunk):
            vtn.signal(signal.SIGKILL)
            struck.set()
        return not struck.is_set()

    line.on_chunk = on_chunk
    struck.wait(_PATIENCE_S)
    if not struck.is_set():
        vtn.signal(signal.SIGKILL)
    line.on_chunk = None


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """The middle of some durations, and what one in twenty exceeds."""
    ordered = sorted(seconds)
    return {
        "recovery_median_s": round(ordered[len(ordered) // 2], 3),
        "recovery_p95_s": round(ordered[len(ordered) * 19 // 20], 3),
    }


TRIALS = (
    Trial(
        name="vtn-killed-sqlite",
        what="VTN killed -9 during reports and events, on SQLite: nothing lost or doubled",
        run=_on_sqlite,
        budget_s=900,
        usual_s=230,
        busy=True,
    ),
    Trial(
        name="vtn-killed-postgresql",
        what="VTN killed -9 during reports and events, on PostgreSQL: nothing lost or doubled",
        run=_on_postgresql,
        budget_s=900,
        usual_s=230,
        busy=True,
    ),
)
