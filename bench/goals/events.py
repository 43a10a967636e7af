# SPDX-License-Identifier: Apache-2.0
"""Goal 2: a fresh event, from the poll that fetches it to the opt that answers it."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

from bench import honesty, messages
from bench.conversation import introduce
from bench.errors import BenchFault
from bench.load import Connection, Reply, flat_out, open_all, post
from bench.plan import Run
from bench.ratios import Row, at_least, over
from bench.rounds import CpuPer, interleaved
from bench.servers import Openleadr, Ours, Server
from bench.stage import Site
from oadr.poll import Response

AT_ONCE = 32
REST_S = 0.5
"""After publishing: what that leaves to be done is not the VENs' doing."""


async def measure(run: Run) -> None:
    """Adds the row of goal 2. VENs are fresh in each round, so each message holds one event."""
    count = run.amounts.events
    async with (
        Ours(run.stage, "events-ours") as ours,
        Openleadr(run.stage, "events-openleadr") as peer,
    ):
        crowds = {
            server.name: iter([run.stage.sites(count) for _ in range(run.amounts.rounds + 1)])
            for server in (ours, peer)
        }
        run.tell(f"events: poll and oadrCreatedEvent of {count} VENs in each round")
        figures = await interleaved(
            {one.name: partial(_round, run, one, crowds[one.name]) for one in (ours, peer)},
            rounds=run.amounts.rounds,
        )
        told = count * (run.amounts.rounds + 1)
        for server in (ours, peer):
            if (held := await server.opted_in()) != told:
                raise BenchFault(f"{server.name} holds {held} opts of {told} it said yes to.")
    us = {name: figure.value for name, figure in figures.items()}
    run.rows.every.append(
        Row(
            goal=2,
            what="event: poll to oadrDistributeEvent, then oadrCreatedEvent; per message",
            unit="CPU us",
            ours=us["ours"],
            peer=us["openleadr"],
            ratio=over(us["openleadr"], us["ours"]),
            target=at_least(6.0),
            spread=figures["ours"].spread,
            note="ours stores the opt, committed with fsync, before its answer, and writes down "
            "a moment later that the event went out; openleadr keeps both in memory",
        )
    )


async def _round(run: Run, server: Server, crowds: Iterator[Sequence[Site]], _number: int) -> float:
    sites = next(crowds)
    await introduce(server, sites, now=run.now())
    connections = await open_all("127.0.0.1", server.port, [site.context() for site in sites])
    polls = [post(messages.POLL, messages.poll(site.ven_id)) for site in sites]
    quiet = await flat_out(
        [(connection, [request]) for connection, request in zip(connections, polls, strict=True)]
    )
    for site, came in zip(sites, quiet, strict=True):
        honesty.idle(came, site.ven_id, who=server.name)
    await server.publish(sites)
    await asyncio.sleep(REST_S)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(site: Site, connection: Connection, request: bytes) -> Reply:
        async with gate:
            told = await connection.ask(request)
            event = honesty.distributed(told, server.vtn_id, who=server.name)
            answer = messages.opted_in(site.ven_id, event)
            return await connection.ask(post(messages.EVENT, answer))

    with CpuPer(server, 2 * len(sites)) as cost:
        replies = await asyncio.gather(
            *(one(*lane) for lane in zip(sites, connections, polls, strict=True))
        )
    for connection in connections:
        connection.close()
    for reply in replies:
        found = honesty.message(reply, Response, who=server.name)
        honesty.ok(found.response, who=server.name)
    return cost.us
