# SPDX-License-Identifier: Apache-2.0
"""Goals 3 and 8: reports of 225 rows, validated and committed before the answer.

Each VEN sends one quarter hour after the other, as it would over a day: no message is sent twice.
"""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from bench import honesty, messages
from bench.conversation import introduce
from bench.errors import BenchFault
from bench.load import flat_out, open_all, post
from bench.plan import Run
from bench.ratios import Row, at_least, at_most, over
from bench.rounds import CpuPer, Round, interleaved
from bench.servers import Openleadr, Ours, Server
from bench.stage import Site
from vtn.views import Measurements

LANES = 32
QUARTER = timedelta(minutes=15)
SHOWN = timedelta(days=7)
"""What one answer of the operator's API holds at most: 672 reports of a VEN."""


class Feed:
    """One VEN's endless readings as requests, and what must be stored of them."""

    def __init__(self, site: Site, report_request_id: str, run: Run, *, rows: int) -> None:
        self.site = site
        self._report_request_id = report_request_id
        self._rows = rows
        midnight = run.now().replace(hour=0, minute=0, second=0, microsecond=0)
        self.began_at = self._next_at = midnight - SHOWN - timedelta(days=1)
        self._number = 0

    def take(self, count: int) -> list[tuple[str, bytes]]:
        """The next reports: requestID and whole request."""
        taken = []
        for _ in range(count):
            self._number += 1
            request_id = f"{self.site.ven_id}-{self._rows}-{self._number}"
            body = messages.update(
                self.site.ven_id,
                self._report_request_id,
                self._next_at,
                rows=self._rows,
                request_id=request_id,
            )
            self._next_at += QUARTER
            taken.append((request_id, post(messages.REPORT, body)))
        return taken

    @property
    def sent(self) -> int:
        """Values so far."""
        return self._number * self._rows


async def measure(run: Run) -> None:
    """Adds the rows of goals 3 and 8."""
    sites = run.stage.sites(2 * LANES)
    few, many = sites[:LANES], sites[LANES:]
    ours = Ours(run.stage, "reports-ours")
    peer = Openleadr(run.stage, "reports-openleadr")
    async with ours, peer:
        feeds: dict[str, dict[int, list[Feed]]] = {}
        for server in (ours, peer):
            asked = await introduce(server, sites, now=run.now(), reports=True)
            feeds[server.name] = {
                1: [Feed(site, asked[site.ven_id], run, rows=1) for site in few],
                messages.ROWS: [
                    Feed(site, asked[site.ven_id], run, rows=messages.ROWS) for site in many
                ],
            }
        run.tell("reports of 1 row")
        single = await interleaved(_sides(run, (ours, peer), feeds, rows=1), rounds=_rounds(run))
        await asyncio.to_thread(checkpoint, ours)
        before = ours.database.stat().st_size
        run.tell(f"reports of {messages.ROWS} rows")
        whole = await interleaved(
            _sides(run, (ours, peer), feeds, rows=messages.ROWS), rounds=_rounds(run)
        )
        await asyncio.to_thread(checkpoint, ours)
        grown = ours.database.stat().st_size - before
        values = sum(feed.sent for feed in feeds["ours"][messages.ROWS])
        every = [feed for some in feeds["ours"].values() for feed in some]
        stored = await asyncio.to_thread(stored_values, ours, every)
        given = sum(feed.sent for feed in every)
        if stored != given:
            raise BenchFault(f"Our VTN holds {stored} values of {given} it said yes to.")
        kept = (await peer.say(do="kept"))["values"]
        told = sum(feed.sent for every in feeds["openleadr"].values() for feed in every)
        if kept != told:
            raise BenchFault(f"openleadr holds {kept} values of {told} it said yes to.")
    mine, other = whole["ours"].value, whole["openleadr"].value
    note = "ours commits with fsync before the answer; openleadr's handler keeps values in memory"
    run.rows.every += [
        Row(
            goal=3,
            what="report of 225 rows, stored before the answer (SQLite)",
            unit="CPU us",
            ours=mine,
            peer=other,
            ratio=over(other, mine),
            target=at_least(12.0),
            spread=whole["ours"].spread,
            note=note,
        ),
        Row(
            goal=3,
            what="report of 1 row, stored before the answer (SQLite)",
            unit="CPU us",
            ours=single["ours"].value,
            peer=single["openleadr"].value,
            ratio=over(single["openleadr"].value, single["ours"].value),
            spread=single["ours"].spread,
            note=note,
        ),
        Row(
            goal=8,
            what="XML to stored samples, reports of 225 rows",
            unit="rows/s/core",
            ours=messages.ROWS / mine * 1e6,
            peer=messages.ROWS / other * 1e6,
            ratio=over(other, mine),
            target=at_least(200_000, of="ours"),
            note="225 rows over the CPU time of a report of goal 3: TLS, HTTP and commit included",
        ),
        Row(
            goal=8,
            what="bytes on disk for each sample (SQLite)",
            unit="bytes",
            ours=grown / values,
            target=at_most(6.0, of="ours"),
            note="growth of the database file over all rounds, its WAL written back, divided by "
            "the samples; audit, tallies and free pages included",
        ),
    ]


def _rounds(run: Run) -> int:
    return run.amounts.rounds


def _sides(
    run: Run,
    servers: Sequence[Server],
    feeds: Mapping[str, Mapping[int, Sequence[Feed]]],
    *,
    rows: int,
) -> dict[str, Round]:
    return {one.name: partial(round_of, run, one, feeds[one.name][rows]) for one in servers}


async def round_of(run: Run, server: Server, feeds: Sequence[Feed], _number: int) -> float:
    """CPU us per report; every answer is checked."""
    count = max(1, run.amounts.reports // (10 if isinstance(server, Openleadr) else 1) // LANES)
    batches = [feed.take(count) for feed in feeds]
    connections = await open_all("127.0.0.1", server.port, [one.site.context() for one in feeds])
    polls = [post(messages.POLL, messages.poll(one.site.ven_id)) for one in feeds]
    await flat_out([(one, [poll]) for one, poll in zip(connections, polls, strict=True)])
    lanes = [
        (connection, [request for _, request in batch])
        for connection, batch in zip(connections, batches, strict=True)
    ]
    with CpuPer(server, count * len(feeds)) as cost:
        replies = await flat_out(lanes)
    for connection in connections:
        connection.close()
    for feed, batch, came in zip(feeds, batches, replies, strict=True):
        for (request_id, _), reply in zip(batch, came, strict=True):
            honesty.updated(reply, feed.site.ven_id, request_id, who=server.name)
    return cost.us


def checkpoint(server: Ours) -> None:
    """Write SQLite's WAL back into the database file."""
    connection = sqlite3.connect(server.database)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


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
