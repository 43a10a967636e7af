# SPDX-License-Identifier: Apache-2.0
"""The utility's side under load: a VTN, light VENs that report without pause, a busy operator."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from chaos import ledgers
from chaos.errors import InVain
from chaos.operator import BusyOperator
from chaos.scripted_ven import OverTls, ScriptedVen
from chaos.trial import Bench
from chaos.utility import Utility
from chaos.verdict import EventLedger, Verdict, judge_events, judge_samples

_ACT_EVERY_S = 0.15


class Scene:
    """Everything that goes on while a fault strikes; made by `scene`."""

    def __init__(
        self, utility: Utility, vens: list[ScriptedVen], operator: BusyOperator | None
    ) -> None:
        self.utility = utility
        self.vens = vens
        self.operator = operator

    @property
    def samples(self) -> int:
        """Acknowledged so far."""
        return sum(len(ven.ledger.acknowledged) for ven in self.vens)

    def acknowledged_after(self, at: float) -> float | None:
        """When the first report after `at` (time.monotonic) was acknowledged; None: not yet."""
        recent = (later for ven in self.vens for later in ven.ledger.acknowledged_at[-50:])
        return min((later for later in recent if later > at), default=None)

    async def recovery_s(self, since: float, *, within_s: float = 40.0) -> float:
        """Wait for the first sample acknowledged after `since`; how long after. Raises InVain."""
        deadline = time.monotonic() + within_s
        while (at := self.acknowledged_after(since)) is None:
            if time.monotonic() > deadline:
                words = self.utility.last_words()
                raise InVain(f"Nothing was acknowledged within {within_s:g} s{words}")
            await asyncio.sleep(0.01)
        return at - since

    def judge(self) -> Verdict:
        """By the VTN's database, once everything has ended."""
        url = self.utility.store_url
        verdict = judge_samples(
            {ven.series: ven.ledger.said for ven in self.vens},
            {ven.series: ven.ledger.acknowledged for ven in self.vens},
            ledgers.held_readings(url),
        )
        if self.operator is None:
            return verdict
        return verdict + judge_events(
            EventLedger(
                acknowledged=self.operator.acknowledged,
                held=ledgers.held_events(url),
                told={ven.ven_id: ven.ledger.told for ven in self.vens},
                answered={
                    (ven.ven_id, event_id): number
                    for ven in self.vens
                    for event_id, number in ven.ledger.answered.items()
                },
                held_answers=ledgers.held_answers(url),
            )
        )

    def measured(self) -> dict[str, float]:
        """How much went on."""
        found: dict[str, float] = {
            "samples_acknowledged": self.samples,
            "messages_repeated": sum(ven.ledger.repeats for ven in self.vens),
        }
        if self.operator is not None:
            found["operator_acts"] = self.operator.acts
            found["operator_acts_unanswered"] = self.operator.unanswered
        return found


@contextlib.asynccontextmanager
async def scene(
    bench: Bench,
    utility: Utility,
    *,
    vens: int = 6,
    events: bool = True,
    through: int | None = None,
) -> AsyncIterator[Scene]:
    """Open the VTN, and let `vens` report and an operator act while the block lasts.

    `through`: the port of a proxy to speak through. When the block ends, the VENs repeat what is
    not acknowledged yet and poll until nothing comes, and the VTN stops; then `judge`.

    Raises Forgotten where the VTN refuses what it has acknowledged before.
    """
    try:
        await asyncio.to_thread(utility.open)
        names = [f"ven-{number}" for number in range(vens)]
        issued = await asyncio.to_thread(utility.let_in, names)
        roots = str(utility.authority.vtn_trust)
        port = through or utility.openadr_port
        operator = BusyOperator(utility.operator, names, seed=bench.seed) if events else None
        async with contextlib.AsyncExitStack() as sessions:
            fleet = []
            for name, one in zip(names, issued, strict=True):
                line = OverTls(one, port=port, roots=roots)
                post = await sessions.enter_async_context(line)
                fleet.append(ScriptedVen(name, post, seed=bench.seed))
            await asyncio.gather(*(ven.introduce() for ven in fleet))
            found = Scene(utility, fleet, operator)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                acting = tasks.create_task(_act(operator, stop)) if operator else None
                quiet = asyncio.Event()
                for ven in fleet:
                    tasks.create_task(ven.live(quiet))
                yield found
                stop.set()
                if acting is not None:
                    await acting
                quiet.set()
    finally:
        await asyncio.to_thread(utility.close)


async def _act(operator: BusyOperator, stop: asyncio.Event) -> None:
    """One act after the other; at the end until nothing is unsure."""
    while not stop.is_set() or operator.unsure:
        await asyncio.to_thread(operator.act)
        await asyncio.sleep(_ACT_EVERY_S)
