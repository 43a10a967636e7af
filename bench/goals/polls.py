# SPDX-License-Identifier: Apache-2.0
"""Goal 1: an idle poll over mutual TLS, against openleadr and against bare aiohttp."""

from collections.abc import Sequence
from functools import partial

from bench import honesty, messages
from bench.conversation import introduce
from bench.errors import WrongAnswer
from bench.load import Reply, flat_out, open_all, post
from bench.plan import Run
from bench.ratios import Row, at_least, at_most, over
from bench.rounds import CpuPer, interleaved
from bench.servers import Echo, Openleadr, Ours, Server
from bench.stage import Site

LANES = 8
WARM = 20


async def measure(run: Run) -> None:
    """Adds the rows of goal 1."""
    sites = run.stage.sites(LANES)
    async with (
        Ours(run.stage, "polls-ours") as ours,
        Openleadr(run.stage, "polls-openleadr") as peer,
        Echo(run.stage, "polls-echo") as echo,
    ):
        for server in (ours, peer):
            await introduce(server, sites, now=run.now())
        run.tell("idle polls on connections that are kept")
        servers: tuple[Server, ...] = (ours, peer, echo)
        kept = await interleaved(
            {one.name: partial(_kept, run, one, sites) for one in servers},
            rounds=run.amounts.rounds,
        )
        run.tell("idle polls, each on a connection of its own")
        fresh = await interleaved(
            {one.name: partial(_fresh, run, one, sites) for one in servers},
            rounds=run.amounts.rounds,
        )
    us = {name: figure.value for name, figure in kept.items()}
    what = "idle poll over mutual TLS, kept connection"
    run.rows.every += [
        Row(
            goal=1,
            what=f"{what}: openleadr / ours",
            unit="CPU us",
            ours=us["ours"],
            peer=us["openleadr"],
            ratio=over(us["openleadr"], us["ours"]),
            target=at_least(4.0),
            spread=kept["ours"].spread,
        ),
        Row(
            goal=1,
            what=f"{what}: ours / bare aiohttp echo",
            unit="CPU us",
            ours=us["ours"],
            peer_name="echo",
            peer=us["echo"],
            ratio=over(us["ours"], us["echo"]),
            target=at_most(1.5),
            spread=kept["ours"].spread,
            note="the echo is aiohttp's low-level server over the same mutual TLS",
        ),
    ]
    for name in ("openleadr", "echo"):
        run.rows.every.append(
            Row(
                goal=1,
                what=f"idle poll over mutual TLS, new connection: {name} / ours",
                unit="CPU us",
                ours=fresh["ours"].value,
                peer_name=name,
                peer=fresh[name].value,
                ratio=over(fresh[name].value, fresh["ours"].value),
            )
        )


async def _kept(run: Run, server: Server, sites: Sequence[Site], _number: int) -> float:
    count = run.amounts.polls // (4 if isinstance(server, Openleadr) else 1) // LANES
    connections = await open_all("127.0.0.1", server.port, [site.context() for site in sites])
    requests = [post(messages.POLL, messages.poll(site.ven_id)) for site in sites]
    lanes = list(zip(connections, requests, strict=True))
    await flat_out([(connection, [request] * WARM) for connection, request in lanes])
    with CpuPer(server, count * LANES) as cost:
        replies = await flat_out([(connection, [request] * count) for connection, request in lanes])
    for connection in connections:
        connection.close()
    for site, came in zip(sites, replies, strict=True):
        check(server, site, came)
    return cost.us


async def _fresh(run: Run, server: Server, sites: Sequence[Site], _number: int) -> float:
    """Handshake, poll and close, one after another."""
    count = run.amounts.handshakes
    contexts = [site.context() for site in sites]
    requests = [post(messages.POLL, messages.poll(site.ven_id)) for site in sites]
    replies: list[tuple[Site, Reply]] = []
    with CpuPer(server, count) as cost:
        for number in range(count):
            which = number % LANES
            (connection,) = await open_all("127.0.0.1", server.port, [contexts[which]])
            replies.append((sites[which], await connection.ask(requests[which])))
            connection.close()
    for site, reply in replies:
        check(server, site, [reply])
    return cost.us


def check(server: Server, site: Site, replies: Sequence[Reply]) -> None:
    """Raise WrongAnswer unless each is the answer to an idle poll; of the echo, the poll itself."""
    if not isinstance(server, Echo):
        honesty.idle(replies, site.ven_id, who=server.name)
        return
    body = messages.poll(site.ven_id)
    if any(reply.status != 200 or reply.body != body for reply in replies):
        raise WrongAnswer("The echo answered something else than it was sent.")
