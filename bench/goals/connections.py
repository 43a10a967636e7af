# SPDX-License-Identifier: Apache-2.0
"""Goal 5: memory of an idle connection, by difference, in fresh processes.

A process is fresh for each measurement, so that memory it has freed cannot stand in for new.
"""

import asyncio
from collections.abc import Sequence

from bench import honesty, messages
from bench.conversation import introduce
from bench.load import Connection, flat_out, open_all, post
from bench.plan import Run
from bench.ratios import Row, at_most, over
from bench.rounds import Figure
from bench.servers import Openleadr, Ours, Server
from bench.stage import Site

PER_VEN = 25
"""Connections of one certificate; our VTN takes 32."""
FRESH = 3
"""Processes of each server."""
REST_S = 1.0


async def measure(run: Run) -> None:
    """Adds the rows of goal 5: openleadr as its manual runs it, and on uvloop as everywhere here.

    The event loop decides: asyncio's TLS keeps a read buffer of 256 KiB for each connection.
    """
    sites = run.stage.sites(max(1, run.amounts.connections // PER_VEN))
    count = PER_VEN * len(sites)
    run.tell(f"memory of {count} idle connections")
    kib: dict[str, list[float]] = {"ours": [], "asyncio": [], "uvloop": []}
    for number in range(FRESH):
        servers = {
            "ours": Ours(run.stage, f"connections-ours-{number}"),
            **{
                loop: Openleadr(run.stage, f"connections-{loop}-{number}", loop=loop)
                for loop in ("asyncio", "uvloop")
            },
        }
        for name, server in servers.items():
            async with server:
                await introduce(server, sites, now=run.now())
                kib[name].append(await _kib_each(server, sites))
    mine = Figure.of(kib["ours"])
    for loop, target in (("asyncio", at_most(0.2, text="<= 1/5")), ("uvloop", None)):
        other = Figure.of(kib[loop]).value
        where = "as its manual runs it" if target else "on uvloop"
        run.rows.every.append(
            Row(
                goal=5,
                what=f"memory (RSS) of an idle mutual-TLS connection: ours / openleadr {where}",
                unit="KiB",
                ours=mine.value,
                peer=other,
                ratio=over(mine.value, other),
                target=target,
                spread=mine.spread,
                note=f"{count} connections opened after a warm-up, each with one poll answered; "
                f"median of {FRESH} fresh processes; openleadr on {loop}",
            )
        )


async def _kib_each(server: Server, sites: Sequence[Site]) -> float:
    for connection in await _polled(server, sites):
        connection.close()
    await asyncio.sleep(REST_S)
    before = server.rss_bytes()
    connections = await _polled(server, [site for site in sites for _ in range(PER_VEN)])
    await asyncio.sleep(REST_S)
    after = server.rss_bytes()
    for connection in connections:
        connection.close()
    return (after - before) / len(connections) / 1024


async def _polled(server: Server, sites: Sequence[Site]) -> list[Connection]:
    """Open connections, each with one poll answered and checked."""
    connections = await open_all("127.0.0.1", server.port, [site.context() for site in sites])
    polls = [post(messages.POLL, messages.poll(site.ven_id)) for site in sites]
    work = [(one, [poll]) for one, poll in zip(connections, polls, strict=True)]
    for site, came in zip(sites, await flat_out(work), strict=True):
        honesty.idle(came, site.ven_id, who=server.name)
    return connections
