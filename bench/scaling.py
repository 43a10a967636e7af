# SPDX-License-Identifier: Apache-2.0
"""python -m bench.scaling: what several workers on PostgreSQL serve on this machine.

    python -m bench.scaling --workers 1,2

PostgreSQL is a throw-away cluster that syncs every commit to the disk, unless --url names an empty
database and a superuser. The load generator runs on the same machine: its share is printed beside
what was served, because the three compete for the same cores. Every answer is checked.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import asyncpg
import click
import uvloop
from rich.console import Console
from rich.table import Table

from bench import gauge, honesty, messages
from bench.conversation import introduce
from bench.load import Connection, Reply, flat_out, open_all, post
from bench.servers import Ours
from bench.stage import Site, Stage
from chaos.postgres import PostgresCluster
from demo.ports import free_port
from doorway import Door
from oadr.poll import Response
from oadr.report import UpdatedReport

VENS = 64
POLLS = 400
"""Of each VEN in a round."""
REPORTS = 8
"""Of each VEN in a round."""
ROWS = (225, 15)
"""15 minutes in one report; and one minute, which a VTN asks for by itself."""
REPORTING = 16
"""VENs that report at the same time."""
MORE_CONNECTIONS = 1000
ROUNDS = 3


class _Share:
    """`with _Share(...) as share:`: wall and CPU time of everybody meanwhile."""

    def __init__(self, server: Ours, postgres: int, count: int) -> None:
        self._server = server
        self._postgres = postgres
        self._count = count

    def _now(self) -> tuple[float, float, float, float, float]:
        return (
            time.perf_counter(),
            self._server.cpu_s(),
            gauge.cpu_s(self._postgres),
            time.process_time(),
            _machine_s(),
        )

    def __enter__(self) -> Self:
        self._before = self._now()
        return self

    def __exit__(self, *_exc: object) -> None:
        after = self._now()
        wall_s, ours_s, postgres_s, load_s, machine_s = (
            now - then for now, then in zip(after, self._before, strict=True)
        )
        self.per_s = self._count / wall_s
        self.us = ours_s * 1e6 / self._count
        self.postgres_us = postgres_s * 1e6 / self._count
        others_s = machine_s - ours_s - postgres_s - load_s
        self.busy = tuple(one / wall_s for one in (ours_s, postgres_s, load_s, others_s))


def _machine_s() -> float:
    """Seconds that all processors together were at work since the machine started."""
    user, nice, system, _idle, _waiting, irq, soft, steal = map(
        int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _pss_bytes(pid: int) -> int:
    """Memory of the whole tree; a page that several processes share is counted once."""
    total = 0
    for one in gauge.tree(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="\b\nExample:\n  python -m bench.scaling --workers 1,2",
)
@click.option("--url", help="An empty database: postgresql://USER@HOST/NAME.")
@click.option("--workers", default="1,2", show_default=True, help="Counts to try.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("bench/out/scaling")
)
def main(*, url: str | None, workers: str, out: Path) -> None:
    """Polls and reports a second, CPU and memory, by the number of workers."""
    counts = [int(word) for word in workers.split(",")]
    if url is not None:
        uvloop.run(_measure(url, counts, Stage(out)))
        return
    cluster = PostgresCluster(free_port(), durable=True)
    cluster.start()
    try:
        url = cluster.tcp_url(cluster.fresh()[0]).replace("+asyncpg", "")
        uvloop.run(_measure(url, counts, Stage(out)))
    finally:
        cluster.stop()


async def _measure(url: str, counts: Sequence[int], stage: Stage) -> None:
    sites = stage.sites(VENS)
    postmaster = await _postmaster(url)
    async with Ours(stage, "introducing", url=url) as server:
        asked = await introduce(server, sites, now=datetime.now(UTC), reports=True)
    table = Table("workers", "what", "per s", "CPU us", "PostgreSQL us", "cores busy", "range")
    console = Console(width=150)
    for count in counts:
        started = time.perf_counter()
        async with Ours(
            stage, f"workers-{count}", url=url, serve=("--workers", str(count))
        ) as server:
            console.print(f"{count} workers listen after {time.perf_counter() - started:.2f} s")
            contexts = [site.context() for site in sites]
            opened = await open_all("127.0.0.1", server.port, contexts)
            lanes = dict(zip(sites, opened, strict=True))
            for rows in (0, *ROWS):
                what = f"reports of {rows} rows" if rows else "polls"
                shares = [
                    await _reports(server, postmaster, lanes, asked, number, rows=rows)
                    if rows
                    else await _polls(server, postmaster, lanes)
                    for number in range(ROUNDS + 1)  # the first to warm up
                ]
                best = sorted(shares[1:], key=lambda one: one.per_s)
                middle = best[len(best) // 2]
                table.add_row(
                    str(count),
                    what,
                    f"{middle.per_s:,.0f}",
                    f"{middle.us:,.0f}",
                    f"{middle.postgres_us:,.0f}",
                    _cores(middle),
                    f"{best[0].per_s:,.0f} to {best[-1].per_s:,.0f}",
                )
            console.print(f"{count} workers: {await _connections(server, sites)}")
            for connection in opened:
                connection.close()
    console.print(table)


def _cores(share: _Share) -> str:
    ours, postgres, load, others = share.busy
    return f"ours {ours:.2f}, PostgreSQL {postgres:.2f}, load {load:.2f}, others {others:.2f}"


async def _postmaster(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int((await connection.fetchval("SELECT pg_read_file('postmaster.pid')")).split()[0])
    finally:
        await connection.close()


Lanes = Mapping[Site, Connection]


async def _polls(server: Ours, postmaster: int, lanes: Lanes) -> _Share:
    work = [
        (connection, [post(messages.POLL, messages.poll(site.ven_id))] * POLLS)
        for site, connection in lanes.items()
    ]
    with _Share(server, postmaster, POLLS * len(lanes)) as share:
        replies = await flat_out(work)
    for came in replies:
        for reply in came:
            honesty.message(reply, Response, who=server.name)
    return share


async def _reports(
    server: Ours,
    postmaster: int,
    lanes: Lanes,
    asked: Mapping[str, str],
    number: int,
    *,
    rows: int,
) -> _Share:
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    span = messages.STEP * rows

    def request(site: Site, index: int) -> bytes:
        starts_at = first + span * (number * REPORTS + index)
        body = messages.update(
            site.ven_id,
            asked[site.ven_id],
            starts_at,
            rows=rows,
            request_id=f"u{index}",
            quality=True,
        )
        return post(messages.REPORT, body)

    work = [
        (connection, [request(site, index) for index in range(REPORTS)])
        for site, connection in lanes.items()
    ]
    replies: list[list[Reply]] = []
    with _Share(server, postmaster, REPORTS * len(lanes)) as share:
        for start in range(0, len(work), REPORTING):
            replies += await flat_out(work[start : start + REPORTING])
    for came in replies:
        for index, reply in enumerate(came):
            found = honesty.message(reply, UpdatedReport, who=server.name)
            honesty.ok(found.response, who=server.name, request_id=f"u{index}")
    return share


async def _connections(server: Ours, sites: Sequence[Site]) -> str:
    """How evenly connections are dealt out, and what each takes."""
    before = _pss_bytes(server.pid)
    contexts = [sites[index % len(sites)].context() for index in range(MORE_CONNECTIONS)]
    opened = await open_all("127.0.0.1", server.port, contexts)
    await flat_out(
        [
            (connection, [post(messages.POLL, messages.poll(sites[index % len(sites)].ven_id))])
            for index, connection in enumerate(opened)
        ]
    )
    after = _pss_bytes(server.pid)
    held = Counter(_sockets(pid) for pid in gauge.tree(server.pid))
    for connection in opened:
        connection.close()
    return (
        f"{before / 2**20:.0f} MiB, and {(after - before) / MORE_CONNECTIONS / 1024:.0f} KiB for "
        f"each of {MORE_CONNECTIONS} connections; sockets by process: {sorted(held.elements())}"
    )


def _sockets(pid: int) -> int:
    return sum(
        str(one.readlink()).startswith("socket:") for one in Path(f"/proc/{pid}/fd").iterdir()
    )


if __name__ == "__main__":
    main(prog_name="python -m bench.scaling")
