# SPDX-License-Identifier: Apache-2.0
"""What the site behind a VEN is told: when an event really begins, ramps, changes and ends.

None of it can be seen on the wire; an adapter has to look it up.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from conformance import drafts
from conformance.adapter import Told
from conformance.declaration import Ability, ven_test
from conformance.errors import expect
from conformance.ven_bench import VenBench
from conformance.ven_tests.event import answered
from oadr.event import Event
from oadr.vocabulary import SignalType

TOLD = (Ability.TOLD,)
PATIENCE_S = 15.0
MINUTE = timedelta(minutes=1)
SHORT = timedelta(seconds=5)


async def told(
    bench: VenBench, event: Event, wanted: Callable[[Sequence[Told]], bool] = bool
) -> Sequence[Told]:
    """What the site is told of the event, as soon as it is as wanted, or else at last."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + PATIENCE_S
    while True:
        found = await bench.ven.told(event.event_id)
        if wanted(found) or clock.time() > deadline:
            return found
        await asyncio.sleep(0.2)


def active(found: Sequence[Told]) -> list[Told]:
    """Without the ramps."""
    return [one for one in found if one.part == "active"]


def in_words(found: Sequence[Told]) -> str:
    """For the finding."""
    return (
        "; ".join(
            f"{one.part} {one.value:g} {one.starts_at:%H:%M:%S} to "
            + (f"{one.ends_at:%H:%M:%S}" if one.ends_at else "further notice")
            for one in found
        )
        or "nothing"
    )


@ven_test(
    pull="X_30_OFFSET",
    title="A randomised start: within startafter, as long as ever, kept over a modification",
    rules=(30,),
    needs=TOLD,
)
async def stable_offset(bench: VenBench) -> None:
    event = replace(bench.simple_event(minutes=60), start_after=60 * MINUTE)
    await answered(bench, event)
    found = active(await told(bench, event))
    expect(found, rule=30, seen="nothing that the site was told", wanted="one step")
    first = found[0]
    latest = event.starts_at + 60 * MINUTE
    expect(
        event.starts_at <= first.starts_at <= latest
        and first.ends_at == first.starts_at + event.duration,
        rule=30,
        seen=in_words(found),
        wanted=f"a start from {event.starts_at:%H:%M:%S} to {latest:%H:%M:%S}, "
        f"lasting {event.duration}",
    )
    longer = drafts.stretched(event, event.duration + MINUTE)
    await answered(bench, longer)
    ends_at = first.starts_at + longer.duration
    after = active(
        await told(bench, event, lambda now: [one.ends_at for one in active(now)] == [ends_at])
    )
    expect(
        [(one.starts_at, one.ends_at) for one in after] == [(first.starts_at, ends_at)],
        rule=30,
        seen=in_words(after),
        wanted=f"the same start as before, {first.starts_at:%H:%M:%S}, to {ends_at:%H:%M:%S}",
    )


@ven_test(
    pull="X_30_RANDOM",
    title="Randomised starts differ from event to event",
    rules=(30,),
    needs=TOLD,
)
async def really_random(bench: VenBench) -> None:
    within = 60 * MINUTE
    start = bench.after(120 * MINUTE)
    events = [
        replace(
            bench.simple_event(starts_at=start + number * 2 * within, minutes=1), start_after=within
        )
        for number in range(4)
    ]
    await answered(bench, *events)
    offsets = set()
    for event in events:
        found = active(await told(bench, event))
        offsets |= {found[0].starts_at - event.starts_at} if found else set()
    expect(
        len(offsets) > 1,
        rule=30,
        seen=f"offsets {', '.join(map(str, offsets))} of four events",
        wanted="different ones: all the same by chance is one in 46 billion",
    )


@ven_test(
    pull="X_31_RAMP",
    title="Ramp-up before the event, recovery after it",
    rules=(31,),
    needs=TOLD,
)
async def ramps(bench: VenBench) -> None:
    event = replace(bench.simple_event(), ramp_up=2 * MINUTE, recovery=3 * MINUTE)
    event = replace(event, starts_at=bench.after(10 * MINUTE))
    await answered(bench, event)
    found = await told(bench, event)
    ends_at = event.starts_at + event.duration
    spans = {one.part: (one.starts_at, one.ends_at) for one in found}
    expect(
        spans
        == {
            "ramp_up": (event.starts_at - 2 * MINUTE, event.starts_at),
            "active": (event.starts_at, ends_at),
            "recovery": (ends_at, ends_at + 3 * MINUTE),
        },
        rule=31,
        seen=in_words(found),
        wanted=f"two minutes before {event.starts_at:%H:%M:%S}, three after {ends_at:%H:%M:%S}",
    )


@ven_test(
    pull="X_32_STEPS",
    title="Each interval with its own length and value",
    rules=(32,),
    needs=TOLD,
)
async def intervals(bench: VenBench) -> None:
    lengths = [2 * MINUTE, MINUTE, 3 * MINUTE]
    values = [1.0, 3.0, 2.0]
    event = bench.draft([drafts.signal("SIMPLE", SignalType.LEVEL, values, lengths)])
    await answered(bench, event)
    found = await told(bench, event)
    begin, wanted = event.starts_at, []
    for value, length in zip(values, lengths, strict=True):
        wanted.append((begin, begin + length, value))
        begin += length
    expect(
        [(one.starts_at, one.ends_at, one.value) for one in found] == wanted,
        rule=32,
        seen=in_words(found),
        wanted="levels 1, 3, 2 for 2, 1 and 3 minutes",
    )


@ven_test(
    pull="X_65_CANCEL",
    title="A running randomised event is cancelled: it ends at random, too",
    rules=(65, 36),
    needs=TOLD,
)
async def random_end(bench: VenBench) -> None:
    within = 60 * MINUTE
    event = replace(
        bench.simple_event(starts_at=bench.after(-2 * within)),
        start_after=within,
        duration=6 * within,
    )
    signal = drafts.simple(1, event.duration)
    event = replace(event, signals=(signal,))
    await answered(bench, event)
    before = active(await told(bench, event))
    expect(before, rule=31, seen="nothing that the site was told", wanted="a running event")
    await answered(bench, drafts.cancelled(event), opt=None, rule=36)
    now = drafts.utc_now()
    found = active(
        await told(
            bench, event, lambda steps: bool(steps) and steps[-1].ends_at != before[-1].ends_at
        )
    )
    ends_at = found[-1].ends_at if found else None
    expect(
        ends_at is not None and now + SHORT < ends_at <= now + within + SHORT,
        rule=65,
        seen=in_words(found),
        wanted=f"an end at random from now, {now:%H:%M:%S}, on, within {within} "
        "(less than 5 s by chance is one in 700)",
    )
