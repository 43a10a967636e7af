# SPDX-License-Identifier: Apache-2.0
"""Goal 7: how long a poll takes while reports of 225 rows come in, at the same load for both."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from bench import honesty, messages
from bench.conversation import introduce
from bench.errors import WrongAnswer
from bench.goals.reports import PLAIN, Feed
from bench.load import Connection, Reply, flat_out, open_all, paced, post
from bench.plan import Run
from bench.ratios import Row, at_most, over
from bench.rounds import interleaved, percentile
from bench.servers import Openleadr, Ours, Server
from bench.stage import Site

POLLERS = 50
REPORTERS = 10
POLLS_PER_S = 200
REPORTS_PER_S = 20
"""Some 30 to 45 % of what openleadr can take on one core of a usual machine."""


async def measure(run: Run) -> None:
    """Adds the row of goal 7."""
    sites = run.stage.sites(POLLERS + REPORTERS)
    async with (
        Ours(run.stage, "mixed-ours") as ours,
        Openleadr(run.stage, "mixed-openleadr") as peer,
    ):
        feeds: dict[str, list[Feed]] = {}
        for server in (ours, peer):
            await introduce(server, sites[:POLLERS], now=run.now())
            asked = await introduce(server, sites[POLLERS:], now=run.now(), reports=True)
            feeds[server.name] = _feeds(run, sites[POLLERS:], asked)
        run.tell(f"{POLLS_PER_S} polls and {REPORTS_PER_S} reports of 225 rows a second")
        figures = await interleaved(
            {
                one.name: partial(_round, run, one, sites[:POLLERS], feeds[one.name])
                for one in (ours, peer)
            },
            rounds=run.amounts.rounds,
        )
    mine, other = figures["ours"].value, figures["openleadr"].value
    run.rows.every.append(
        Row(
            goal=7,
            what="p99 of a poll while reports of 225 rows come in: ours / openleadr",
            unit="ms",
            ours=mine,
            peer=other,
            ratio=over(mine, other),
            target=at_most(0.1, text="<= 1/10"),
            spread=figures["ours"].spread,
            note=f"{POLLS_PER_S} polls/s of {POLLERS} VENs and {REPORTS_PER_S} reports/s of "
            f"{REPORTERS} VENs offered to each alike; median of the rounds' p99, as the load "
            "generator saw it, its own work included",
        )
    )


def _feeds(run: Run, sites: Sequence[Site], asked: Mapping[str, str]) -> list[Feed]:
    return [Feed(site, asked[site.ven_id], run, PLAIN) for site in sites]


async def _round(
    run: Run, server: Server, pollers: Sequence[Site], feeds: Sequence[Feed], _number: int
) -> float:
    """P99 of polls, ms."""
    seconds = run.amounts.mixed_s
    polling = await _open(server, pollers)
    reporting = await _open(server, [feed.site for feed in feeds])
    batches = [feed.take(-(-int(REPORTS_PER_S * seconds) // len(feeds))) for feed in feeds]
    polls = [post(messages.POLL, messages.poll(site.ven_id)) for site in pollers]
    asked = [
        (polling[number % POLLERS], polls[number % POLLERS])
        for number in range(int(POLLS_PER_S * seconds))
    ]
    told = [
        (reporting[number % len(feeds)], batches[number % len(feeds)][number // len(feeds)][1])
        for number in range(int(REPORTS_PER_S * seconds))
    ]
    answers, taken = await asyncio.gather(
        paced(asked, per_second=POLLS_PER_S), paced(told, per_second=REPORTS_PER_S)
    )
    for connection in (*polling, *reporting):
        connection.close()
    for number, reply in enumerate(_come(server, taken)):
        feed = feeds[number % len(feeds)]
        request_id = batches[number % len(feeds)][number // len(feeds)][0]
        honesty.updated(reply, feed.site.ven_id, request_id, who=server.name)
    came = _come(server, answers)
    for lane, site in enumerate(pollers):
        honesty.idle(came[lane::POLLERS], site.ven_id, who=server.name)
    return percentile([reply.took_s for reply in came], 0.99) * 1000


async def _open(server: Server, sites: Sequence[Site]) -> list[Connection]:
    """Connections that have been polled on once."""
    connections = await open_all("127.0.0.1", server.port, [site.context() for site in sites])
    polls = [post(messages.POLL, messages.poll(site.ven_id)) for site in sites]
    await flat_out([(one, [poll]) for one, poll in zip(connections, polls, strict=True)])
    return connections


def _come(server: Server, replies: Sequence[Reply | ConnectionError]) -> list[Reply]:
    found = [reply for reply in replies if isinstance(reply, Reply)]
    if len(found) < len(replies):
        raise WrongAnswer(f"{server.name} closed a connection under load.")
    return found
