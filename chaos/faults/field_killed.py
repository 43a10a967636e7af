# SPDX-License-Identifier: Apache-2.0
"""The programs of a site are killed (-9) again and again while events run and readings go up.

A quarter of the moments is random, a quarter comes in a write to the program's disk, and for the
VEN a quarter each when it has said something and when it has been answered, and neither arrives.
"""

import time

from chaos.field import REDUCED_W, Field, field, kill_as_said, kill_as_written
from chaos.proxy import Direction
from chaos.site import judge_house
from chaos.trial import Bench, Trial
from chaos.verdict import Outcome, Verdict, outcome

VEN_RUNS = 100
NODE_RUNS = 40
LEASE_S = 12.0
"""As the house sets it."""
_LULL_S = 0.7
_FOLLOWS_WITHIN_S = {"let go": LEASE_S + 6.0, "held again": 8.0}
"""After the node has died, or started: the lease, and the lag of the EMS and the plant."""


def _ven(bench: Bench) -> Outcome:
    runs = bench.times(VEN_RUNS)
    recoveries: list[float] = []
    with field(bench, proxied=True) as site:
        ven = site.house.ven
        log = site.house.folder / "ven.db-wal"
        site.keep_busy()
        site.house.wait("the first event moves the load", lambda: site.reduction_w() > REDUCED_W)
        for number in range(runs):
            site.keep_busy()
            time.sleep(bench.chance.uniform(0, _LULL_S))
            match number % 4:
                case 0:
                    ven.kill()
                case 1:
                    kill_as_written(ven, log)
                case 2:
                    kill_as_said(ven, site.house, Direction.UP)
                case _:
                    kill_as_said(ven, site.house, Direction.DOWN)
            before = site.acknowledged()
            time.sleep(bench.chance.uniform(0, 0.2))
            ven.start()
            recoveries.append(site.recovery_s(ven.started_at, site.acknowledged, above=before))
            bench.say(number + 1, runs)
        site.wait_until_settled()
        verdict = judge_house(site.house, site.orders.values())
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured={
            "events": len(site.orders),
            "recovery_median_s": round(sorted(recoveries)[len(recoveries) // 2], 3),
        },
    )


def _node(bench: Bench) -> Outcome:
    runs = bench.times(NODE_RUNS)
    recoveries: list[float] = []
    vanished: set[tuple[int, float, float | None]] = set()
    with field(bench) as site:
        node = site.house.light_node
        logs = [site.house.folder / "ring.db-wal", site.house.folder / "plan.db-wal"]
        site.keep_busy()
        for number in range(runs):
            site.keep_busy()
            time.sleep(bench.chance.uniform(0, 2 * _LULL_S))
            if number % 2:
                kill_as_written(node, logs[number // 2 % 2])
            else:
                node.kill()
            before = site.rows()
            newest = max(row[0] for row in before)
            time.sleep(bench.chance.uniform(0, 0.2))
            node.start()
            recoveries.append(site.recovery_s(node.started_at, site.newest_row, above=newest))
            vanished |= before - site.rows()
            bench.say(number + 1, runs)
        site.wait_until_settled()
        verdict = judge_house(site.house, site.orders.values())
        let_go_s, held_again_s = _gone(site)
    return outcome(
        bench.name,
        verdict + Verdict(lost=len(vanished), remarks=tuple(f"gone: {row}" for row in vanished)),
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured={
            "events": len(site.orders),
            "recovery_median_s": round(sorted(recoveries)[len(recoveries) // 2], 3),
            "let_go_after_s": round(let_go_s, 1),
            "held_again_after_s": round(held_again_s, 1),
        },
        remarks=[
            f"the load was {what} only after {seconds:.1f} s"
            for what, seconds in (("let go", let_go_s), ("held again", held_again_s))
            if seconds > _FOLLOWS_WITHIN_S[what]
        ],
    )


def _gone(site: Field) -> tuple[float, float]:
    """Leave the node dead in an event, then start it again: how long the load takes to follow."""
    site.publish(starts_in_s=2, duration_s=120)
    site.house.wait("the load falls", lambda: site.reduction_w() > REDUCED_W)
    site.house.light_node.kill()
    killed_at = time.monotonic()
    site.house.wait("the load is let go", lambda: site.reduction_w() < REDUCED_W, within_s=60)
    let_go_s = time.monotonic() - killed_at
    site.house.light_node.start()
    started_at = site.house.light_node.started_at
    site.house.wait("the load falls again", lambda: site.reduction_w() > REDUCED_W)
    return let_go_s, time.monotonic() - started_at


TRIALS = (
    Trial(
        name="field-ven-killed",
        what="VEN killed -9 during reports and events: nothing lost or doubled, each event once",
        run=_ven,
        budget_s=600,
        usual_s=260,
    ),
    Trial(
        name="field-node-killed",
        what="Light node killed -9: its disk keeps all, the EMS falls back, the plan goes on",
        run=_node,
        budget_s=420,
        usual_s=180,
    ),
)
