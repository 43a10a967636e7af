# SPDX-License-Identifier: Apache-2.0
"""python -m bench.overload: reports come faster than the VTN can store them, and then no more.

First it is found out how many reports of 225 rows a second are stored at best. Then so many times
as many are sent, whether or not they are answered, while other VENs poll; then the reports stop.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop

from bench import messages
from bench.conversation import introduce
from bench.errors import BenchFault
from bench.load import Reply, flat_out, open_all, paced, post
from bench.servers import Ours
from bench.stage import Site, Stage
from doorway import Door, show

CALIBRATION_S: Final = 5.0
POLLS_PER_S: Final = 50.0
SENDERS: Final = 16
LANES: Final = 25
"""Connections of each sender; a certificate may have 32."""
POLLERS: Final = 50
QUARTERS: Final = 40


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one kind of message in one phase."""

    phase: str
    what: str
    answered: dict[str, int]
    """By HTTP status; "0" where the connection was lost."""
    stored_per_s: float | None
    p50_ms: dict[str, float]
    """By HTTP status, from when the message was due."""
    p99_ms: dict[str, float]


def _phase(phase: str, what: str, replies: Sequence[Reply | ConnectionError], s: float) -> Phase:
    took: dict[str, list[float]] = {}
    for one in replies:
        status = "0" if isinstance(one, ConnectionError) else str(one.status)
        took.setdefault(status, []).append(0.0 if isinstance(one, ConnectionError) else one.took_s)
    return Phase(
        phase=phase,
        what=what,
        answered={status: len(several) for status, several in sorted(took.items())},
        stored_per_s=len(took.get("200", ())) / s if what == "report" else None,
        p50_ms={status: _share(several, 0.5) for status, several in sorted(took.items())},
        p99_ms={status: _share(several, 0.99) for status, several in sorted(took.items())},
    )


def _share(took: Sequence[float], share: float) -> float:
    return round(1000 * sorted(took)[max(0, math.ceil(share * len(took)) - 1)], 1)


class _Scene:
    """Sites that report over many connections, and sites that poll."""

    def __init__(self, sites: Sequence[Site], asked: dict[str, str], now: datetime) -> None:
        self._asked = asked
        self._turn = Counter[str]()
        begin = now - timedelta(days=300)
        self._reports = {
            site.ven_id: [
                self._made(site, begin + messages.STEP * messages.ROWS * quarter)
                for quarter in range(QUARTERS)
            ]
            for site in sites
        }

    def _made(self, site: Site, at: datetime) -> bytes:
        name = self._asked[site.ven_id]
        body = messages.update(site.ven_id, name, at, rows=messages.ROWS, request_id="update")
        return post(messages.REPORT, body)

    def report(self, site: Site) -> bytes:
        """The next quarter of an hour of a site; after QUARTERS of them the first again."""
        self._turn[site.ven_id] += 1
        return self._reports[site.ven_id][self._turn[site.ven_id] % QUARTERS]


async def overload(vtn: Ours, *, times: float, seconds: float) -> list[Phase]:
    """Raises BenchFault where the VTN cannot be measured."""
    now = datetime.now(UTC).replace(microsecond=0)
    senders = vtn.stage.sites(SENDERS)
    pollers = vtn.stage.sites(POLLERS)
    asked = await introduce(vtn, senders, now=now - timedelta(days=300), reports=True)
    await introduce(vtn, pollers, now=now)
    scene = _Scene(senders, asked, now)
    contexts = [site.context() for site in senders for _ in range(LANES)]
    owners = [site for site in senders for _ in range(LANES)]
    lanes = await open_all("127.0.0.1", vtn.port, contexts)
    polling = await open_all("127.0.0.1", vtn.port, [site.context() for site in pollers])
    polls = [post(messages.POLL, messages.poll(site.ven_id)) for site in pollers]

    async def poll_for(s: float) -> list[Reply | ConnectionError]:
        count = int(s * POLLS_PER_S)
        work = [(polling[n % POLLERS], polls[n % POLLERS]) for n in range(count)]
        return await paced(work, per_second=POLLS_PER_S)

    few = list(zip(lanes, owners, strict=True))[:: LANES // 2]
    each = [[scene.report(site) for _ in range(12)] for _, site in few]
    began = time.perf_counter()
    replies = await flat_out(
        [(lane, requests) for (lane, _), requests in zip(few, each, strict=True)]
    )
    took_s = time.perf_counter() - began
    best = [reply for several in replies for reply in several]
    if any(reply.status != 200 for reply in best):
        raise BenchFault("The VTN turns reports away before it is overloaded.")
    capacity = len(best) / took_s
    show(f"stored at best: {capacity:.0f} reports of {messages.ROWS} rows a second")

    count = int(capacity * times * seconds)
    work = [(lanes[n % len(lanes)], scene.report(owners[n % len(lanes)])) for n in range(count)]
    reports, meanwhile = await asyncio.gather(
        paced(work, per_second=capacity * times), poll_for(seconds)
    )
    after = await poll_for(5.0)
    open_lanes = [lane for lane in lanes if lane.is_open]
    again = await paced(
        [(lane, scene.report(owners[lanes.index(lane)])) for lane in open_lanes[:: LANES // 2]],
        per_second=max(1.0, capacity / 4),
    )
    for connection in (*lanes, *polling):
        connection.close()
    return [
        _phase("at best", "report", best, took_s),
        _phase(f"x {times:g}", "report", reports, seconds),
        _phase(f"x {times:g}", "poll", meanwhile, seconds),
        _phase("after", "poll", after, 5.0),
        _phase("after", "report", again, len(again) / max(1.0, capacity / 4)),
    ]


@click.group(
    cls=Door, invoke_without_command=True, epilog="Example: python -m bench.overload --times 3"
)
@click.option("--times", type=float, default=3.0, show_default=True, help="Times what it can do.")
@click.option("--seconds", type=float, default=15.0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench/out/overload"),
    help="Where the run lives; what is there is replaced.",
)
def main(*, times: float, seconds: float, out: Path) -> None:
    """Send a VTN more than it can store, and see what becomes of all."""
    folder = out.resolve()

    async def work() -> list[Phase]:
        async with Ours(Stage(folder)) as vtn:
            return await overload(vtn, times=times, seconds=seconds)

    found = uvloop.run(work())
    (folder / "overload.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    show("phase      what     answered                        p50 ms                 p99 ms")
    for one in found:
        answered = " ".join(f"{status}: {n}" for status, n in one.answered.items())
        p50 = " ".join(f"{status}: {ms}" for status, ms in one.p50_ms.items())
        p99 = " ".join(f"{status}: {ms}" for status, ms in one.p99_ms.items())
        rate = f" ({one.stored_per_s:.0f}/s stored)" if one.stored_per_s is not None else ""
        show(f"{one.phase:10} {one.what:8} {answered + rate:31} {p50:22} {p99}")


if __name__ == "__main__":
    main()
