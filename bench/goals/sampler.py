# SPDX-License-Identifier: Apache-2.0
"""Goal 10: when `light-node run` really asks its meter, by the meter's own account."""

import asyncio
import shutil

from bench.errors import BenchFault
from bench.plan import Run
from bench.ratios import Row, at_most
from bench.site import Building
from bench.ticks import Starts, starts

FAST_S, SLOW_S = 0.25, 4.0
MOST_SLOW = 40
START_S = 4.0
LIMIT_MS = 20.0
DRIFT_MS = 2.0


async def measure(run: Run) -> None:
    """Adds the rows of goal 10. Two light nodes sample at once, and nothing else runs."""
    fast_ticks = run.amounts.ticks
    seconds = fast_ticks * FAST_S
    slow_ticks = min(MOST_SLOW, int(seconds / SLOW_S))
    run.tell(f"{fast_ticks:,} ticks of {FAST_S} s and {slow_ticks} of {SLOW_S:g} s: {seconds:g} s")
    found: dict[float, Starts] = {}
    buildings = {}
    for interval_s in (FAST_S, SLOW_S):
        folder = run.stage.folder / f"sampler-{interval_s:g}"
        shutil.rmtree(folder, ignore_errors=True)
        buildings[interval_s] = Building(folder, interval_s=interval_s)
    try:
        for building in buildings.values():
            await building.open()
        await asyncio.sleep(START_S + seconds + SLOW_S)
        for interval_s, building in buildings.items():
            building.check()
            wanted = fast_ticks if interval_s == FAST_S else slow_ticks
            asked_at = building.asked_at()
            begun = asked_at[0] + START_S if interval_s == FAST_S else asked_at[0]
            later = (at for at in asked_at if at >= begun)
            found[interval_s] = starts(later, interval_s, most=wanted)
            if len(found[interval_s].errors_s) < wanted:
                raise BenchFault(f"The light node sampled {len(found[interval_s].errors_s)} times.")
    finally:
        for building in buildings.values():
            building.close()
    for interval_s, each in found.items():
        ticks = f"{len(each.errors_s):,} ticks of {interval_s:g} s"
        note = f"{each.missed} ticks missed; by the meter's clock when the request reached it"
        run.rows.every += [
            Row(
                goal=10,
                what=f"sampler start error, p99 of {ticks}",
                unit="ms",
                ours=each.p99_s * 1000,
                peer_name="",
                target=at_most(LIMIT_MS, of="ours", text=f"<= {LIMIT_MS:g} ms"),
                note=note,
            ),
            Row(
                goal=10,
                what=f"drift over {ticks}: last quarter's median less the first's",
                unit="ms",
                ours=abs(each.drift_s) * 1000,
                peer_name="",
                target=at_most(DRIFT_MS, of="ours", text=f"no drift (<= {DRIFT_MS:g} ms)"),
                note=note,
            ),
        ]
