# SPDX-License-Identifier: Apache-2.0
"""Goal 4: a poll signed both ways, by RSA-2048 and by P-256, and what it costs at a high rate."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench import honesty, messages
from bench.conversation import Talk
from bench.errors import WrongAnswer
from bench.load import Connection, Reply, flat_out, open_all, paced, post
from bench.plan import Run
from bench.ratios import Row, at_least, at_most, over
from bench.rounds import CpuPer, Figure, interleaved
from bench.servers import Openleadr, Ours, Server
from bench.stage import Site
from oadr.signature import Signer

LANES = 16
LOW, HIGH = 100, 2000
"""Messages per second."""
KEPT_UP = 0.9
"""Less of the high rate answered, and nothing was measured at it."""
SHARE_OF_PEER = {"rsa": 25, "ecc": 5}
"""How many times fewer the peer is asked: it refuses what was signed more than 5 s ago."""


@dataclass(frozen=True, slots=True)
class Signing:
    """A VEN that signs."""

    site: Site
    signer: Signer


async def measure(run: Run) -> None:
    """Adds the rows of goal 4."""
    await _against_openleadr(run, "rsa", "RSA-2048", 60)
    await _against_openleadr(run, "ecc", "P-256", 2.5)
    await _flatness(run)


async def _against_openleadr(run: Run, kind: str, called: str, target: float) -> None:
    vens = _vens(run, LANES, rsa=kind == "rsa")
    async with (
        Ours(run.stage, f"signed-{kind}-ours") as ours,
        Openleadr(run.stage, f"signed-{kind}-openleadr", kind=kind, signs=True) as peer,
    ):
        sides = Side(run, ours, vens), Side(run, peer, vens)
        for side in sides:
            await side.introduce()
        fewer = run.amounts.signed // SHARE_OF_PEER[kind]
        run.tell(f"polls signed both ways by {called}")
        figures = await interleaved(
            {
                "ours": partial(sides[0].flat_out, run.amounts.signed),
                "openleadr": partial(sides[1].flat_out, fewer),
            },
            rounds=run.amounts.rounds,
        )
    mine, other = figures["ours"].value, figures["openleadr"].value
    run.rows.every.append(
        Row(
            goal=4,
            what=f"poll signed both ways by {called} over mutual TLS",
            unit="CPU us",
            ours=mine,
            peer=other,
            ratio=over(other, mine),
            target=at_least(target),
            spread=figures["ours"].spread,
            note="ours commits the nonce with fsync before the answer; openleadr's nonces are "
            "in memory",
        )
    )


async def _flatness(run: Run) -> None:
    vens = _vens(run, 16, rsa=False)
    async with Ours(run.stage, "signed-rates") as ours:
        side = Side(run, ours, vens)
        await side.introduce()
        run.tell(f"signed polls at {LOW} and at {HIGH:,} a second")
        reached: list[float] = []
        figures = await interleaved(
            {
                "low": partial(side.at_rate, LOW, []),
                "high": partial(side.at_rate, HIGH, reached),
            },
            rounds=run.amounts.rounds,
        )
    rate = Figure.of(reached).value
    kept_up = rate >= KEPT_UP * HIGH
    dear, cheap = figures["high"], figures["low"].value
    flat = Row(
        goal=4,
        what=f"poll signed by P-256: cost at {HIGH:,}/s / cost at {LOW}/s",
        unit="CPU us",
        ours=dear.value if kept_up else None,
        peer_name=f"ours at {LOW}/s",
        peer=cheap,
        ratio=over(dear.value, cheap) if kept_up else None,
        target=at_most(1.15),
        spread=dear.spread,
        note=f"{HIGH:,}/s were offered to one process and {rate:,.0f}/s answered",
    )
    run.rows.every.append(flat)
    if not kept_up:
        run.rows.every.append(
            replace(
                flat,
                what=f"poll signed by P-256: cost at all it can take, {rate:,.0f}/s, / at {LOW}/s",
                ours=dear.value,
                ratio=over(dear.value, cheap),
                target=None,
            )
        )


def _vens(run: Run, count: int, *, rsa: bool) -> list[Signing]:
    return [Signing(site, site.signer()) for site in run.stage.sites(count, rsa=rsa)]


class Side:
    """VENs that sign, at one server."""

    def __init__(self, run: Run, server: Server, vens: Sequence[Signing]) -> None:
        self._run = run
        self._server = server
        self._vens = vens
        self._verifier = run.stage.vtn_verifier()

    async def introduce(self) -> None:
        """Admit and register them, signed from the first message on."""
        await self._server.admit([ven.site for ven in self._vens])
        for ven, connection in zip(self._vens, await self._connected(), strict=True):
            talk = Talk(
                self._server,
                ven.site,
                connection,
                now=self._run.now(),
                signer=ven.signer,
                verifier=self._verifier,
            )
            await talk.register()
            connection.close()

    async def flat_out(self, count: int, _number: int) -> float:
        """CPU us per poll, each VEN as fast as it is answered."""
        each = max(1, count // len(self._vens))
        connections = await self._connected()
        lanes = list(zip(connections, self._vens, strict=True))
        await flat_out([(one, self._polls(ven, 1)) for one, ven in lanes])
        work = [(one, self._polls(ven, each)) for one, ven in lanes]
        with CpuPer(self._server, each * len(self._vens)) as cost:
            replies = await flat_out(work)
        for connection in connections:
            connection.close()
        for ven, came in zip(self._vens, replies, strict=True):
            self._check(ven, came)
        return cost.us

    async def at_rate(self, rate: int, reached: list[float], _number: int) -> float:
        """CPU us per poll at a rate; the rate that was answered goes into `reached`."""
        lanes = len(self._vens)
        connections = await self._connected()
        count = max(lanes, int(rate * self._run.amounts.rate_s))
        ready = [self._polls(ven, -(-count // lanes)) for ven in self._vens]
        work = [
            (connections[number % lanes], ready[number % lanes][number // lanes])
            for number in range(count)
        ]
        began = time.monotonic()
        with CpuPer(self._server, count) as cost:
            replies = await paced(work, per_second=rate)
        reached.append(count / (time.monotonic() - began))
        for connection in connections:
            connection.close()
        came = [reply for reply in replies if isinstance(reply, Reply)]
        if len(came) < count:
            raise WrongAnswer(f"{self._server.name} closed a connection at {rate} messages/s.")
        for lane, ven in enumerate(self._vens):
            self._check(ven, came[lane::lanes])
        return cost.us

    async def _connected(self) -> list[Connection]:
        contexts = [ven.site.context() for ven in self._vens]
        return await open_all("127.0.0.1", self._server.port, contexts)

    def _polls(self, ven: Signing, count: int) -> list[bytes]:
        body = messages.poll(ven.site.ven_id)
        now = self._run.now()
        return [post(messages.POLL, ven.signer.sign(body, now=now)) for _ in range(count)]

    def _check(self, ven: Signing, replies: Sequence[Reply]) -> None:
        honesty.idle(replies, ven.site.ven_id, who=self._server.name, verifier=self._verifier)
