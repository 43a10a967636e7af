# SPDX-License-Identifier: Apache-2.0
"""100,000 samples, each sent twice or three times, in random order, by several messages at once."""

import asyncio
import random
from collections.abc import Sequence

from chaos.scene import scene
from chaos.scripted_ven import ScriptedVen
from chaos.trial import Bench, Trial
from chaos.utility import Utility
from chaos.verdict import Outcome, outcome

SAMPLES = 100_000
_VENS = 4
_ROWS = 225
_AT_ONCE = 4
"""Messages of one VEN under way."""
_FIRST_AT = 1_700_000_000
"""Long before what the VENs report by themselves."""


def _replayed(bench: Bench) -> Outcome:
    return asyncio.run(_replay(bench))


async def _replay(bench: Bench) -> Outcome:
    each = bench.times(SAMPLES) // _VENS
    sent = 0
    async with scene(bench, Utility(bench.folder, "sqlite:///vtn.db"), vens=_VENS) as stage:
        queues = {ven.ven_id: _shuffled(bench.chance, each) for ven in stage.vens}
        total = sum(len(queue) for queue in queues.values())

        async def send(ven: ScriptedVen, queue: list[Sequence[int]]) -> None:
            nonlocal sent
            while queue:
                starts = queue.pop()
                await ven.send(starts)
                sent += len(starts)
                bench.say(total - sum(len(queue) for queue in queues.values()), total)

        await asyncio.gather(
            *(send(ven, queues[ven.ven_id]) for ven in stage.vens for _ in range(_AT_ONCE))
        )
    verdict = await asyncio.to_thread(stage.judge)
    return outcome(
        bench.name,
        verdict,
        runs=sent,
        wanted=each * _VENS * 2,
        measured=stage.measured(),
    )


def _shuffled(chance: random.Random, count: int) -> list[Sequence[int]]:
    """`count` instants, each twice or three times, in reports of mixed up rows."""
    every = [_FIRST_AT + number for number in range(count)]
    rows = every * 2 + chance.sample(every, count // 2)
    chance.shuffle(rows)
    return [rows[first : first + _ROWS] for first in range(0, len(rows), _ROWS)]


TRIALS = (
    Trial(
        name="duplicates",
        what="100,000 samples two or three times, in random order and side by side: 0 doubled",
        run=_replayed,
        budget_s=300,
        usual_s=60,
        busy=True,
    ),
)
