# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL dies and comes back a minute later; its line is cut in the middle of commits.

While the database is away the VTN must say so at once (503), and go on by itself afterwards: the
recovery counts from the moment at which PostgreSQL takes connections again.
"""

import asyncio
import threading
import time

from chaos.house import House
from chaos.postgres import PostgresCluster
from chaos.proxy import BLACK_HOLE, CLEAR, Direction, FaultProxy
from chaos.scene import scene
from chaos.site import energy_remarks, judge_house, newest_held, order
from chaos.trial import Bench, Trial
from chaos.utility import Utility
from chaos.verdict import Outcome, outcome

DOWN_S = 60.0
CUTS = 60
_PATIENCE_S = 2.0
_SILENT_S = 8.0
_REFUSED_WITHIN_S = 1.0
"""A 503 that takes longer is not fast."""


def _down(bench: Bench) -> Outcome:
    with bench.postgres() as cluster:
        return asyncio.run(_killed(bench, cluster))


async def _killed(bench: Bench, cluster: PostgresCluster) -> Outcome:
    name, _ = cluster.fresh()
    utility = Utility(bench.folder, cluster.tcp_url(name))
    async with scene(bench, utility) as stage:
        await asyncio.sleep(3)
        await asyncio.to_thread(cluster.kill)
        for second in range(round(DOWN_S * bench.scale)):
            await asyncio.sleep(1)
            bench.say(second + 1, round(DOWN_S * bench.scale))
        await asyncio.to_thread(cluster.run)
        up_at = time.monotonic()
        recovery_s = await stage.recovery_s(up_at)
        await asyncio.sleep(3)
    verdict = await asyncio.to_thread(stage.judge)
    refusals = sorted(s for ven in stage.vens for s in ven.ledger.refused_s)
    late = refusals[int(len(refusals) * 0.99)] if refusals else 0.0
    remarks = [] if refusals else ["the VTN never said 503"]
    if late > _REFUSED_WITHIN_S:
        remarks.append(f"1 % of the refusals took longer than {late:.2f} s")
    return outcome(
        bench.name,
        verdict,
        runs=1,
        recoveries_s=[recovery_s],
        measured=stage.measured() | {"refusals": len(refusals), "refusal_p99_s": round(late, 3)},
        remarks=remarks,
    )


def _house_down(bench: Bench) -> Outcome:
    """The database is away before, at and after the start of an event that the VEN knows of."""
    with bench.postgres() as cluster:
        name, _ = cluster.fresh()
        house = House(
            bench.folder, cluster.tcp_url(name), back_off_cap_s=1, back_s=1, seed=bench.seed
        )
        try:
            house.open()
            event = house.publish(kw=-60, starts_in_s=15, duration_s=40)
            house.wait("the VEN opts in", lambda: house.event(event.event_id).vens[0].opt)
            newest = newest_held(house)
            cluster.kill()
            down_s = round(DOWN_S * bench.scale)
            for second in range(down_s):
                time.sleep(1)
                bench.say(second + 1, down_s)
            cluster.run()
            up_at = time.monotonic()
            house.wait("a reading is acknowledged", lambda: newest_held(house) > newest)
            recovery_s = time.monotonic() - up_at
            house.wait(
                "the backlog is there", lambda: newest_held(house) > time.time() - 4, within_s=120
            )
            caught_up_s = time.monotonic() - up_at
            house.sleep_until(order(event).ends_at)
            time.sleep(16)
            verdict = judge_house(house, [order(event)])
            energy, why = energy_remarks(house)
        finally:
            house.close()
    if caught_up_s > 2 * down_s:
        why.append("catching up took longer than twice the outage")
    return outcome(
        bench.name,
        verdict,
        runs=1,
        recoveries_s=[recovery_s],
        measured={"down_s": down_s, "caught_up_s": round(caught_up_s, 1)} | energy,
        remarks=why,
    )


def _cut(bench: Bench) -> Outcome:
    with bench.postgres() as cluster, FaultProxy(cluster.port, seed=bench.seed) as line:
        return asyncio.run(_cut_in_commits(bench, cluster, line))


async def _cut_in_commits(bench: Bench, cluster: PostgresCluster, line: FaultProxy) -> Outcome:
    cuts = bench.times(CUTS)
    name, _ = cluster.fresh()
    recoveries: list[float] = []
    async with scene(bench, Utility(bench.folder, cluster.tcp_url(name, port=line.port))) as stage:
        for number in range(cuts):
            await asyncio.sleep(bench.chance.uniform(0, 0.3))
            await asyncio.to_thread(_cut_one, line, bench.chance.choice(tuple(Direction)))
            recoveries.append(await stage.recovery_s(time.monotonic()))
            bench.say(number + 1, cuts)
        line.becomes(BLACK_HOLE)
        await asyncio.sleep(_SILENT_S)
        line.becomes(CLEAR)
        recoveries.append(await stage.recovery_s(time.monotonic()))
    verdict = await asyncio.to_thread(stage.judge)
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=cuts + 1,
        recoveries_s=recoveries,
        measured=stage.measured(),
    )


def _cut_one(line: FaultProxy, direction: Direction) -> None:
    """Reset every connection to the database when a COMMIT, or its confirmation, is under way."""
    struck = threading.Event()

    def on_chunk(way: Direction, chunk: bytes) -> bool:
        if way is direction and b"COMMIT" in chunk:
            struck.set()
        return not struck.is_set()

    line.on_chunk = on_chunk
    struck.wait(_PATIENCE_S)
    line.cut()
    line.on_chunk = None


TRIALS = (
    Trial(
        name="database-down",
        what="PostgreSQL away for 60 s: 503 at once, nothing lost, goes on by itself",
        run=_down,
        budget_s=240,
        usual_s=85,
        busy=True,
    ),
    Trial(
        name="house-database-down",
        what="PostgreSQL away for 60 s around the start of an event: held, and all readings come",
        run=_house_down,
        budget_s=300,
        usual_s=110,
    ),
    Trial(
        name="database-cut",
        what="the line to PostgreSQL reset in the middle of commits, then silent: nothing lost",
        run=_cut,
        budget_s=240,
        usual_s=60,
        busy=True,
    ),
)
