# SPDX-License-Identifier: Apache-2.0
"""Health: what /readyz, the metrics and `vtn check` know, in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from litestar import get
from litestar.response import Template

from vtn import checkup
from vtn.accounts import Act
from vtn.console import words
from vtn.console.shell import ShellHere
from vtn.counts import SECONDS, Tallied
from vtn.operations.needs import DeskHere, VitalsHere

_PORT: Final = " port"
"""Ends what `vtn check` says of ports that are to be free: while we serve, ours are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was looked at."""

    subject: str
    kind: str
    """good, part or bad."""
    word: str
    sentence: str


@get("/health", act=Act.VIEW)
async def show_health(shell: ShellHere, desk: DeskHere, vitals: VitalsHere) -> Template:
    problems = await vitals.problems()
    warnings = vitals.warnings()
    health = await desk.health() if not problems else None
    tallied = vitals.all_tallied()
    rows = [
        *(
            Row(subject="at this moment", kind="bad", word="wrong", sentence=one)
            for one in problems
        ),
        *(
            Row(subject="at this moment", kind="part", word="see to it", sentence=one)
            for one in warnings
        ),
        *[
            Row(
                subject=one.subject,
                kind="good" if one.ok and not one.warning else "part" if one.ok else "bad",
                word="well" if one.ok and not one.warning else "see to it" if one.ok else "wrong",
                sentence=one.sentence,
            )
            for one in await checkup.check(vitals.office.settings, now=shell.now)
            if not one.subject.endswith(_PORT)
        ],
    ]
    rows.sort(key=lambda one: ("bad", "part", "good").index(one.kind))
    disk = vitals.disk()
    return shell.page(
        "health/health.html",
        title="Health",
        here="health",
        first=sentence(rows),
        rows=rows,
        health=health,
        disk=disk,
        figures=figures(tallied),
        rejected=sorted(sum((Counter(one.rejected) for one in tallied), Counter[str]()).items()),
        workers=[
            (
                one.worker,
                one.gauges.get("connections_open", 0.0),
                one.gauges.get("process_resident_memory_bytes", 0.0) / 2**20,
                sum(one.requests.values()),
            )
            for one in tallied
        ],
    )


def sentence(rows: Sequence[Row]) -> str:
    """The first line of the page."""
    bad = [one for one in rows if one.kind == "bad"]
    part = [one for one in rows if one.kind == "part"]
    if bad:
        many = "One thing is" if len(bad) == 1 else f"{len(bad)} things are"
        return f"{many} wrong: {bad[0].sentence}"[:300]
    if part:
        return f"The VTN serves; {words.several(len(part), 'thing')} should be seen to"
    return "The VTN serves, and nothing wants attention"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one OpenADR service did since the start of the processes."""

    name: str
    requests: int
    refused: int
    """Answered by another HTTP status than 200."""
    mean_ms: float | None
    slowest: str
    """Within what nearly all (99 %) were answered."""


def figures(tallied: Sequence[Tallied]) -> list[Service]:
    """By service, over all workers."""
    requests: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for one in tallied:
        for key, number in one.requests.items():
            service, code = key.rsplit(" ", 1)
            requests[service] += number
            refused[service] += number if code != "200" else 0
    found = []
    for service in sorted(requests):
        counts = [0] * (len(SECONDS) + 1)
        total = 0.0
        for one in tallied:
            several, seconds = one.seconds.get(service, ([], 0.0))
            counts = [a + b for a, b in zip(counts, several or [0] * len(counts), strict=True)]
            total += seconds
        timed = sum(counts)
        found.append(
            Service(
                name=service,
                requests=requests[service],
                refused=refused[service],
                mean_ms=total / timed * 1000 if timed else None,
                slowest=_within(counts),
            )
        )
    return found


def _within(counts: Sequence[int]) -> str:
    timed, sofar = sum(counts), 0
    if not timed:
        return words.NONE
    for bound, number in zip(SECONDS, counts, strict=False):
        sofar += number
        if sofar >= 0.99 * timed:
            return f"{bound * 1000:g} ms" if bound < 1 else f"{bound:g} s"
    return f"over {SECONDS[-1]:g} s"


handlers = [show_health]
