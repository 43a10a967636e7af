# SPDX-License-Identifier: Apache-2.0
"""python -m bench.herd: a VTN is killed and comes back, and so do all its VENs.

Each VEN polls over a kept-alive connection of its own with a certificate of its own, and waits as
ours does where it gets no answer (ven.retry). With --crowd none waits: all call the moment the VTN
listens again. A poll's time counts from when the VEN wants it, so it includes the handshake.
"""

import asyncio
import contextlib
import itertools
import math
import os
import random
import signal
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop

import oadr
from bench import messages
from bench.conversation import introduce
from bench.load import Connection, Reply, post
from bench.servers import Ours
from bench.stage import Site, Stage
from doorway import Door, show
from oadr.poll import Response
from ven.retry import BackOff, at_least_s, jittered_s

WINDOW_S: Final = 5.0
GOAL_S: Final = 1.0
"""The p99 of polls that is to be reached again."""
ANSWER_S: Final = 10.0
"""A VEN waits so long for an answer (its [vtn] timeout_s)."""
JITTER: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One poll, or what became of it."""

    ended_s: float
    """On the monotonic clock."""
    took_s: float
    status: int
    """0 where there was no answer."""
    handshake: bool


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one window of time since the VTN listened again."""

    from_s: float
    polls: int
    handshakes: int
    turned_away: int
    """By 503."""
    failed: int
    """No connection, or no answer."""
    p50_s: float | None
    p99_s: float | None
    longest_s: float | None


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """How the VENs came back."""

    vens: int
    down_s: float
    crowd: bool
    workers: int
    started_in_s: float
    """From the start of the process until it listens."""
    all_answered_s: float | None
    """When every VEN had been answered once; None: not within the time."""
    settled_s: float | None
    """From when on each window's p99 was within GOAL_S; None: not within the time."""
    wrong: int
    """Answers that were no oadrResponse."""
    windows: list[Window]


@dataclass(slots=True)
class Herd:
    """The VENs, and all they saw."""

    sites: Sequence[Site]
    port: int
    interval_s: float
    crowd: bool
    polls: list[Poll] = field(default_factory=list)
    answered: dict[str, float] = field(default_factory=dict)
    """When each VEN was answered for the first time since `again`."""
    wrong: int = 0
    again: asyncio.Event = field(default_factory=asyncio.Event)
    """The VTN listens again."""
    whole: asyncio.Event = field(default_factory=asyncio.Event)
    """Every VEN has been answered since."""
    down: bool = False

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for site in self.sites:
                tasks.create_task(self._ven(site))

    async def _ven(self, site: Site) -> None:
        context = site.context()
        request = post(messages.POLL, messages.poll(site.ven_id))
        back_off, failures = BackOff(), 0
        connection: Connection | None = None
        await asyncio.sleep(random.random() * self.interval_s)  # noqa: S311 - no secret
        while True:
            fresh = connection is None or not connection.is_open
            began = time.monotonic()
            reply = None
            with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
                async with asyncio.timeout(ANSWER_S):
                    if connection is None or not connection.is_open:
                        connection = await Connection.open("127.0.0.1", self.port, context)
                    reply = await connection.ask(request)
            ended = time.monotonic()
            status = reply.status if reply is not None else 0
            self.polls.append(
                Poll(ended_s=ended, took_s=ended - began, status=status, handshake=fresh)
            )
            if reply is None and connection is not None:
                connection.abort()
            if reply is not None and status == 200:
                failures = 0
                self._look(site, reply, ended)
                pause_s = jittered_s(self.interval_s, JITTER, random.random)
            else:
                failures += 1
                pause_s = back_off.delay_s(failures, random.random)
                if reply is not None:
                    pause_s = max(pause_s, at_least_s(retry_after_s(reply), random.random))
            if self.crowd and self.down:
                await self.again.wait()
            else:
                await asyncio.sleep(pause_s)

    def _look(self, site: Site, reply: Reply, ended: float) -> None:
        message = oadr.parse(reply.body)
        if not isinstance(message, Response) or not message.response.ok:
            self.wrong += 1
        if self.again.is_set():
            self.answered.setdefault(site.ven_id, ended)
            if len(self.answered) == len(self.sites):
                self.whole.set()


def retry_after_s(reply: Reply) -> float:
    """How long a server asks to be left alone; 0 where it does not say."""
    for line in reply.head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"retry-after":
            return float(value)
    return 0.0


async def come_back(
    vtn: Ours,
    sites: Sequence[Site],
    *,
    interval_s: float,
    down_s: float,
    watch_s: float,
    crowd: bool,
    workers: int = 1,
    patience_s: float = 0.0,
) -> Return:
    """Kill the VTN under its registered VENs, start it after `down_s`, and watch for `watch_s`.

    It is watched for `patience_s` where that is longer and not every VEN was answered before.
    """
    herd = Herd(sites, vtn.port, interval_s, crowd)
    running = asyncio.create_task(herd.run())
    await asyncio.sleep(2 * interval_s)
    herd.down = True
    os.kill(vtn.program.pid, signal.SIGTERM if workers > 1 else signal.SIGKILL)
    vtn.program.stop()
    await asyncio.sleep(down_s)
    began = time.monotonic()
    vtn.program.start()
    await vtn.program.listening(vtn.operator_port)
    await vtn.program.listening(vtn.port)
    listens = time.monotonic()
    herd.down = False
    herd.again.set()
    await asyncio.sleep(watch_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, patience_s - watch_s)):
            await herd.whole.wait()
    watch_s = time.monotonic() - listens
    running.cancel()
    await asyncio.wait([running])
    windows = _windows([one for one in herd.polls if one.ended_s >= listens], listens, watch_s)
    answered = sorted(at - listens for at in herd.answered.values())
    return Return(
        vens=len(sites),
        down_s=down_s,
        crowd=crowd,
        workers=workers,
        started_in_s=listens - began,
        all_answered_s=answered[-1] if len(answered) == len(sites) else None,
        settled_s=_settled_s(windows),
        wrong=herd.wrong,
        windows=windows,
    )


def _windows(polls: Sequence[Poll], begin: float, watch_s: float) -> list[Window]:
    found = []
    for number in range(math.ceil(watch_s / WINDOW_S)):
        first = begin + number * WINDOW_S
        within = [one for one in polls if first <= one.ended_s < first + WINDOW_S]
        took = sorted(one.took_s for one in within if one.status == 200)
        found.append(
            Window(
                from_s=number * WINDOW_S,
                polls=len(took),
                handshakes=sum(one.handshake and one.status > 0 for one in within),
                turned_away=sum(one.status == 503 for one in within),
                failed=sum(one.status not in (200, 503) for one in within),
                p50_s=_share(took, 0.5),
                p99_s=_share(took, 0.99),
                longest_s=took[-1] if took else None,
            )
        )
    return found


def _share(took: Sequence[float], share: float) -> float | None:
    return took[max(0, math.ceil(share * len(took)) - 1)] if took else None


def _settled_s(windows: Sequence[Window]) -> float | None:
    late = itertools.dropwhile(
        lambda one: one.p99_s is not None and one.p99_s <= GOAL_S and not one.failed,
        reversed(windows),
    )
    last_bad = next(late, None)
    if last_bad is None:
        return 0.0
    return last_bad.from_s + WINDOW_S if last_bad is not windows[-1] else None


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="Example: python -m bench.herd --vens 1000 --crowd",
)
@click.option("--vens", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--interval", "interval_s", type=float, default=10.0, help="Between two polls, s.")
@click.option("--down", "down_s", type=float, default=5.0, help="How long the VTN is away, s.")
@click.option("--watch", "watch_s", type=float, default=60.0, help="How long to watch, s.")
@click.option("--crowd", is_flag=True, help="All call the moment the VTN listens.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="More want --url.")
@click.option("--url", default="sqlite:///vtn.db", help="The database of the VTN.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench/out/herd"),
    help="Where the run lives; what is there is replaced.",
)
def herd(
    *,
    vens: int,
    interval_s: float,
    down_s: float,
    watch_s: float,
    crowd: bool,
    workers: int,
    url: str,
    out: Path,
) -> None:
    """Kill a VTN, start it again, and see how its VENs come back."""
    folder = out.resolve()

    async def work() -> Return:
        stage = Stage(folder)
        serve = ["--workers", str(workers)] if workers > 1 else []
        settings = {"poll_interval_s": round(interval_s)}
        async with Ours(stage, url=url, openadr=settings, serve=serve) as vtn:
            sites = stage.sites(vens)
            show(f"{vens} VENs register ...")
            await introduce(vtn, sites, now=datetime.now(UTC))
            show(f"they poll every {interval_s:g} s; the VTN is killed, and back in {down_s:g} s")
            return await come_back(
                vtn,
                sites,
                interval_s=interval_s,
                down_s=down_s,
                watch_s=watch_s,
                crowd=crowd,
                workers=workers,
            )

    found = uvloop.run(work())
    (out / "herd.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    _print(found)


def _print(found: Return) -> None:
    show(" from s   polls  handshakes   503  failed    p50 ms    p99 ms   longest ms")
    for one in found.windows:
        times = (one.p50_s, one.p99_s, one.longest_s)
        p50, p99, longest = ("-" if t is None else f"{1000 * t:.1f}" for t in times)
        show(
            f"{one.from_s:7.0f} {one.polls:7} {one.handshakes:11} {one.turned_away:5} "
            f"{one.failed:7} {p50:>9} {p99:>9} {longest:>12}"
        )
    settled = "not within the time" if found.settled_s is None else f"{found.settled_s:.0f} s"
    answered = "not all" if found.all_answered_s is None else f"{found.all_answered_s:.1f} s"
    show(f"all answered: {answered}; p99 within {GOAL_S:g} s from: {settled}; wrong: {found.wrong}")


if __name__ == "__main__":
    herd()
