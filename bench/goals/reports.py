# SPDX-License-Identifier: Apache-2.0
"""Goals 3 and 8: reports of 225 rows, validated and committed before the answer.

Each VEN sends one quarter hour after the other, as it would over a day: no message is sent twice.
"""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from bench import gauge, honesty, messages
from bench.conversation import introduce
from bench.errors import BenchFault
from bench.load import flat_out, open_all, post
from bench.plan import Run
from bench.ratios import Row, at_least, at_most, over
from bench.rounds import CpuPer, Figure, interleaved
from bench.servers import Openleadr, Ours, Server
from bench.stage import Site
from chaos.postgres import PostgresCluster
from demo.ports import free_port
from vtn.views import Measurements

LANES = 32
BLOCKS, CONVERSATION = "measurement_blocks", "conversation"
"""Tables of our database; the names of their indexes hold theirs."""
QUARTER = timedelta(minutes=15)
SHOWN = timedelta(days=7)
"""What one answer of the operator's API holds at most: 672 reports of a VEN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the reports of a feed look like; each shape has a week of its own."""

    rows: int
    quality: bool
    weeks_ago: int


SINGLE = Shape(rows=1, quality=False, weeks_ago=1)
PLAIN = Shape(rows=messages.ROWS, quality=False, weeks_ago=2)
"""The message that the goal was set with, 72 kB."""
TOLD = Shape(rows=messages.ROWS, quality=True, weeks_ago=3)
"""As our VEN sends it, 87 kB."""


class Feed:
    """One VEN's endless readings as requests, and what must be stored of them."""

    def __init__(self, site: Site, report_request_id: str, run: Run, shape: Shape) -> None:
        self.site = site
        self._report_request_id = report_request_id
        self._shape = shape
        midnight = run.now().replace(hour=0, minute=0, second=0, microsecond=0)
        self.began_at = self._next_at = midnight - shape.weeks_ago * SHOWN - timedelta(days=1)
        self._number = 0

    def take(self, count: int) -> list[tuple[str, bytes]]:
        """The next reports: requestID and whole request."""
        taken = []
        for _ in range(count):
            self._number += 1
            request_id = f"{self.site.ven_id}-{self._shape.weeks_ago}-{self._number}"
            body = messages.update(
                self.site.ven_id,
                self._report_request_id,
                self._next_at,
                rows=self._shape.rows,
                request_id=request_id,
                quality=self._shape.quality,
            )
            self._next_at += QUARTER
            taken.append((request_id, post(messages.REPORT, body)))
        return taken

    @property
    def sent(self) -> int:
        """Values so far."""
        return self._number * self._shape.rows


class Side:
    """One server and the VENs that report to it."""

    def __init__(self, run: Run, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self._run = run
        self._feeds: dict[Shape, list[Feed]] = {}

    async def introduce(self, sites: Sequence[Site]) -> None:
        """The VENs will report in every shape, one after the other."""
        asked = await introduce(self.server, sites, now=self._run.now(), reports=True)
        for shape in (SINGLE, PLAIN, TOLD):
            self._feeds[shape] = [
                Feed(site, asked[site.ven_id], self._run, shape) for site in sites
            ]

    @property
    def feeds(self) -> list[Feed]:
        return [feed for some in self._feeds.values() for feed in some]

    def sent(self, *shapes: Shape) -> int:
        """Values in reports of these shapes."""
        return sum(feed.sent for shape in shapes for feed in self._feeds[shape])

    async def round(self, shape: Shape, _number: int) -> float:
        """CPU us per report; every answer is checked."""
        feeds = self._feeds[shape]
        share = 10 if isinstance(self.server, Openleadr) else 1
        count = max(1, self._run.amounts.reports // share // len(feeds))
        batches = [feed.take(count) for feed in feeds]
        contexts = [feed.site.context() for feed in feeds]
        connections = await open_all("127.0.0.1", self.server.port, contexts)
        polls = [post(messages.POLL, messages.poll(feed.site.ven_id)) for feed in feeds]
        await flat_out([(one, [poll]) for one, poll in zip(connections, polls, strict=True)])
        lanes = [
            (connection, [request for _, request in batch])
            for connection, batch in zip(connections, batches, strict=True)
        ]
        with CpuPer(self.server, count * len(feeds)) as cost:
            replies = await flat_out(lanes)
        for connection in connections:
            connection.close()
        for feed, batch, came in zip(feeds, batches, replies, strict=True):
            for (request_id, _), reply in zip(batch, came, strict=True):
                honesty.updated(reply, feed.site.ven_id, request_id, who=self.name)
        return cost.us


class PostgresSide(Side):
    """Ours on PostgreSQL; keeps what PostgreSQL itself spent on each report of 225 rows."""

    def __init__(self, run: Run, server: Server, name: str, cluster: PostgresCluster) -> None:
        super().__init__(run, server, name)
        self._cluster = cluster
        self.spent_us: list[float] = []

    async def round(self, shape: Shape, _number: int) -> float:
        before_s, sent = gauge.cpu_s(self._cluster.pid), self.sent(shape)
        us = await super().round(shape, _number)
        reports = (self.sent(shape) - sent) // shape.rows
        if shape is PLAIN:
            self.spent_us.append((gauge.cpu_s(self._cluster.pid) - before_s) * 1e6 / reports)
        return us


async def measure(run: Run) -> None:
    """Adds the rows of goals 3 and 8."""
    sites = run.stage.sites(LANES)
    with _postgres() as cluster:
        url = cluster.tcp_url(cluster.fresh()[0])
        async with (
            Ours(run.stage, "reports-ours") as ours,
            Openleadr(run.stage, "reports-openleadr") as peer,
            Ours(run.stage, "reports-postgres", url=url) as second,
        ):
            postgres = PostgresSide(run, second, "postgres", cluster)
            sides = (Side(run, ours, "ours"), Side(run, peer, "openleadr"), postgres)
            for side in sides:
                await side.introduce(sites)
            run.tell("reports of 1 row")
            single = await _played(run, sides, SINGLE)
            before = await asyncio.to_thread(_on_disk, ours)
            run.tell(f"reports of {messages.ROWS} rows")
            whole = await _played(run, sides, PLAIN)
            grown = await asyncio.to_thread(_on_disk, ours)
            grown.subtract(before)
            run.tell("the same with the quality of each row")
            told = await _played(run, sides, TOLD)
            for side in sides:
                await _assert_kept(side)
            values = sides[0].sent(PLAIN)
    _tell_reports(run, single, whole, told, Figure.of(postgres.spent_us).value)
    _tell_throughput(run, whole)
    _tell_bytes(run, grown, values)


async def _played(run: Run, sides: Sequence[Side], shape: Shape) -> dict[str, Figure]:
    return await interleaved(
        {side.name: partial(side.round, shape) for side in sides}, rounds=run.amounts.rounds
    )


def _tell_reports(
    run: Run,
    single: Mapping[str, Figure],
    whole: Mapping[str, Figure],
    told: Mapping[str, Figure],
    postgres_us: float,
) -> None:
    note = "ours commits with fsync before the answer; openleadr's handler keeps values in memory"
    beside = f"the CPU time of the VTN; PostgreSQL itself, with fsync, takes {postgres_us:,.0f} us"
    for name, figures, what, target, more in (
        ("ours", whole, "report of 225 rows, stored before the answer (SQLite)", 12.0, note),
        ("ours", told, "the same with the quality of each row, as our VEN sends it", None, note),
        ("ours", single, "report of 1 row, stored before the answer (SQLite)", None, note),
        ("postgres", whole, "report of 225 rows, stored (PostgreSQL)", None, beside),
        ("postgres", single, "report of 1 row, stored (PostgreSQL)", None, ""),
    ):
        mine, other = figures[name], figures["openleadr"].value
        run.rows.every.append(
            Row(
                goal=3,
                what=what,
                unit="CPU us",
                ours=mine.value,
                peer=other,
                ratio=over(other, mine.value),
                target=at_least(target) if target else None,
                spread=mine.spread,
                note=more,
            )
        )


def _tell_throughput(run: Run, whole: Mapping[str, Figure]) -> None:
    mine, other = whole["ours"].value, whole["openleadr"].value
    run.rows.every.append(
        Row(
            goal=8,
            what="XML to stored samples, reports of 225 rows",
            unit="rows/s/core",
            ours=messages.ROWS / mine * 1e6,
            peer=messages.ROWS / other * 1e6,
            ratio=over(other, mine),
            target=at_least(200_000, of="ours"),
            note="225 rows over the CPU time of a report of goal 3: TLS, HTTP and commit included",
        )
    )


def _tell_bytes(run: Run, grown: Counter[str], values: int) -> None:
    kept_a_day = sum(size for name, size in grown.items() if CONVERSATION in name)
    blocks = sum(size for name, size in grown.items() if BLOCKS in name)
    stays = grown.total() - kept_a_day
    run.rows.every += [
        Row(
            goal=8,
            what="bytes on disk for each sample (SQLite)",
            unit="bytes",
            ours=stays / values,
            peer_name="",
            target=at_most(6.0, of="ours"),
            note="growth of all pages over all rounds, by dbstat, its WAL written back, divided by "
            "the samples; tallies, audit and free pages included, messages kept for a day not",
        ),
        Row(
            goal=8,
            what="the same, the samples' blocks alone (bytes)",
            unit="bytes",
            ours=blocks / values,
            peer_name="",
        ),
        Row(
            goal=8,
            what="the same, with the messages that are kept for a day (bytes)",
            unit="bytes",
            ours=grown.total() / values,
            peer_name="",
            note="how many of them are kept is bounded by time and a second, not by the samples",
        ),
    ]


@contextlib.contextmanager
def _postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL of this run that commits with fsync."""
    cluster = PostgresCluster(free_port(), durable=True)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def checkpoint(server: Ours) -> None:
    """Write SQLite's WAL back into the database file."""
    connection = sqlite3.connect(server.database)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _on_disk(server: Ours) -> Counter[str]:
    """Bytes of the database file by table and index, its WAL written back; "" are free pages."""
    checkpoint(server)
    with contextlib.closing(sqlite3.connect(server.database)) as connection:
        sizes = Counter(
            dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        )
    sizes[""] = server.database.stat().st_size - sizes.total()
    return sizes


async def _assert_kept(side: Side) -> None:
    """Raise BenchFault unless the server holds every value that it said yes to."""
    if isinstance(side.server, Openleadr):
        held = (await side.server.say(do="kept"))["values"]
    else:
        assert isinstance(side.server, Ours)
        held = await asyncio.to_thread(stored_values, side.server, side.feeds)
    told = side.sent(SINGLE, PLAIN, TOLD)
    if held != told:
        raise BenchFault(f"{side.name} holds {held} values of {told} it said yes to.")


def stored_values(server: Ours, feeds: Sequence[Feed]) -> int:
    """How many values the operator's API gives back for these VENs."""
    total = 0
    for feed in feeds:
        found = server.operator.get(
            "measurements",
            into=Measurements,
            ven=feed.site.ven_id,
            rid=messages.R_ID,
            from_=feed.began_at.isoformat(),
            to=(feed.began_at + SHOWN).isoformat(),
        )
        if any(value is None for value in found.values):
            raise BenchFault("Our VTN holds a value that is none.")
        total += len(set(found.starts_at))
    return total
