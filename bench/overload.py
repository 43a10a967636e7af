# SPDX-License-Identifier: Apache-2.0
"""python -m bench.overload: far more VENs report at once than the VTN can store, and then none.

Each connection sends its next report of 225 rows the moment the last is answered:
first few connections, then hundreds, while other VENs poll. Who is turned away waits as long as it
is told, or, with --rude, not at all.
"""

import asyncio
import math
import random
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
from bench.herd import retry_after_s
from bench.load import Connection, Reply, open_all, paced, post
from bench.servers import Ours
from bench.stage import Site, Stage
from doorway import Door, show
from ven.retry import at_least_s

POLLS_PER_S: Final = 50.0
FEW: Final = 16
LANES: Final = 25
"""Connections of each VEN that reports; a certificate may have 32."""
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
    """By HTTP status; of polls from when each was due."""
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
        body = messages.update(
            site.ven_id, name, at, rows=messages.ROWS, request_id="update", quality=True
        )
        return post(messages.REPORT, body)

    def report(self, site: Site) -> bytes:
        """The next quarter of an hour of a site; after QUARTERS of them the first again."""
        self._turn[site.ven_id] += 1
        return self._reports[site.ven_id][self._turn[site.ven_id] % QUARTERS]


async def _hammer(
    lanes: Sequence[tuple[Connection, Site]], scene: _Scene, seconds: float, *, rude: bool
) -> list[Reply | ConnectionError]:
    """Every lane one report after another; those that are under way at the end come back."""
    until = time.perf_counter() + seconds
    found: list[Reply | ConnectionError] = []

    async def one(lane: Connection, site: Site) -> None:
        while time.perf_counter() < until:
            try:
                reply = await lane.ask(scene.report(site))
            except ConnectionError as error:
                found.append(error)
                return
            found.append(reply)
            if reply.status == 503 and not rude:
                left_s = until - time.perf_counter()
                pause_s = at_least_s(retry_after_s(reply), random.random)
                await asyncio.sleep(max(0.0, min(pause_s, left_s)))

    await asyncio.gather(*(one(*lane) for lane in lanes))
    return found


async def overload(vtn: Ours, *, connections: int, seconds: float, rude: bool) -> list[Phase]:
    """What came of reports and polls: few, too many, and after that."""
    now = datetime.now(UTC).replace(microsecond=0)
    senders = vtn.stage.sites(max(1, connections // LANES))
    pollers = vtn.stage.sites(POLLERS)
    asked = await introduce(vtn, senders, now=now - timedelta(days=300), reports=True)
    await introduce(vtn, pollers, now=now)
    scene = _Scene(senders, asked, now)
    owners = [site for _ in range(LANES) for site in senders]
    contexts = [site.context() for site in (*owners, *pollers)]
    polls = [post(messages.POLL, messages.poll(site.ven_id)) for site in pollers]

    async def both(phase: str, several: int, s: float) -> tuple[Phase, Phase]:
        # Anew each time: a connection on which nothing is asked is closed after some seconds.
        used = [*contexts[:several], *contexts[-POLLERS:]]
        opened = await open_all("127.0.0.1", vtn.port, used)
        lanes, polling = list(zip(opened, owners, strict=False)), opened[several:]
        count = int(s * POLLS_PER_S)
        work = [(polling[n % POLLERS], polls[n % POLLERS]) for n in range(count)]
        cpu_s, began = vtn.cpu_s(), time.perf_counter()
        reports, meanwhile = await asyncio.gather(
            _hammer(lanes[:several], scene, s, rude=rude), paced(work, per_second=POLLS_PER_S)
        )
        share = (vtn.cpu_s() - cpu_s) / (time.perf_counter() - began)
        show(f"{phase}: the VTN has {share:.2f} of a CPU")
        for connection in opened:
            connection.close()
        return _phase(phase, "report", reports, s), _phase(phase, "poll", meanwhile, s)

    return [
        *await both("few", FEW, seconds / 2),
        *await both("too many", len(owners), seconds),
        *await both("after", FEW, seconds / 2),
    ]


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="Example: python -m bench.overload --connections 800",
)
@click.option("--connections", type=click.IntRange(min=25), default=800, show_default=True)
@click.option("--seconds", type=float, default=10.0, show_default=True)
@click.option("--rude", is_flag=True, help="Nobody heeds Retry-After.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench/out/overload"),
    help="Where the run lives; what is there is replaced.",
)
def main(*, connections: int, seconds: float, rude: bool, out: Path) -> None:
    """Send a VTN more than it can store, and see what becomes of all."""
    folder = out.resolve()

    async def work() -> list[Phase]:
        async with Ours(Stage(folder)) as vtn:
            return await overload(vtn, connections=connections, seconds=seconds, rude=rude)

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
