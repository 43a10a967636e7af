# SPDX-License-Identifier: Apache-2.0
"""The event tests of profile 2.0a that make sense in 2.0b: A_E3 by pull, A_E2 by push."""

from dataclasses import replace
from datetime import timedelta

from conformance import drafts
from conformance.declaration import Ability, vtn_test
from conformance.errors import AdapterFault, Failed, expect
from conformance.ven_player import find
from conformance.vtn_bench import VtnBench
from conformance.vtn_tests.event import published, recorded
from conformance.vtn_tests.registration import SOON_S
from oadr import EiResponse
from oadr.event import CreatedEvent, DistributeEvent, Event, EventResponse
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType, ResponseRequired, SignalType

EVENTS = (Ability.EVENTS,)
FAR, NEAR, ACTIVE = EventStatus.FAR, EventStatus.NEAR, EventStatus.ACTIVE
CANCELLED, COMPLETED = EventStatus.CANCELLED, EventStatus.COMPLETED


async def listed(bench: VtnBench, event_id: str) -> tuple[DistributeEvent, Event]:
    """The event as a fresh oadrRequestEvent shows it; it must be there."""
    message = await bench.ven.request_events()
    found = find(message, event_id)
    if found is None:
        raise Failed(50, seen=f"{event_id} is not listed", wanted="every live event")
    return message, found


async def activated(bench: VtnBench, event: Event) -> Event:
    """Publish, opt in, wait until it runs -> the event as it is shown then."""
    first = await published(bench, event)
    await bench.until(first.starts_at + drafts.SECOND)
    _, found = await listed(bench, first.event_id)
    expect(found.status is ACTIVE, rule=13, seen=found.status, wanted="active")
    return found


@vtn_test(
    pull="A_E3_0420",
    push="A_E2_0420",
    title="An active event",
    rules=(13, 14, 29, 114),
    needs=EVENTS,
)
async def active(bench: VtnBench) -> None:
    found = await activated(bench, bench.active_event(level=2))
    current = found.signals[0].current_value
    expect(current == 2, rule=29, seen=f"currentValue {current}", wanted="2, that of the interval")


@vtn_test(
    pull="A_E3_0430", push="A_E2_0430", title="A pending event", rules=(13, 14, 4), needs=EVENTS
)
async def pending(bench: VtnBench) -> None:
    event = bench.draft([drafts.simple(1, bench.span(5))])
    found = await published(bench, event)
    expect(found.status is FAR, rule=13, seen=found.status, wanted="far")


@vtn_test(
    pull="A_E3_0432",
    push="A_E2_0432",
    title="Three intervals, ramp-up, recovery and a randomised start",
    rules=(2, 8, 102, 103, 105),
    needs=(Ability.EVENTS, Ability.INTERVALS, Ability.RAMP_UP, Ability.START_AFTER),
)
async def three_intervals(bench: VtnBench) -> None:
    minute, five = bench.span(1), bench.span(5)
    event = replace(
        bench.draft([drafts.signal("SIMPLE", SignalType.LEVEL, [1, 2, 1], [five, five, five])]),
        ramp_up=minute,
        recovery=minute,
        start_after=minute,
    )
    found = await published(bench, event)
    for what, seen in (
        ("ramp-up", found.ramp_up),
        ("recovery", found.recovery),
        ("startafter", found.start_after),
    ):
        expect(seen == minute, rule=102, seen=f"{what} {seen}", wanted=f"{minute}")
    values = [one.value for one in found.signals[0].intervals]
    expect(values == [1, 2, 1], rule=8, seen=f"levels {values}", wanted="1, 2, 1")


@vtn_test(
    pull="A_E3_0435",
    push="A_E2_0435",
    title="Values of the eiTarget",
    rules=(22, 63, 510),
    needs=(Ability.EVENTS, Ability.TARGETS),
)
async def targets(bench: VtnBench) -> None:
    ven_id = bench.ven.memory.ven_id
    event = replace(
        bench.price_event(),
        target=Target(ven_ids=(ven_id,), resource_ids=bench.resources[:1]),
    )
    found = await published(bench, event)
    expect(
        ven_id in found.target.ven_ids
        or set(bench.resources[:1]) <= set(found.target.resource_ids),
        rule=510,
        seen=f"{found.target}",
        wanted=f"venID {ven_id} or its resource",
    )


@vtn_test(
    pull="A_E3_0440",
    push="A_E2_0440",
    title="Two events, one after the other",
    rules=(15, 18, 50, 70),
    needs=EVENTS,
)
async def one_after_the_other(bench: VtnBench) -> None:
    await adjacent(bench, gap=bench.span(5))


@vtn_test(
    pull="A_E3_0450",
    push="A_E2_0450",
    title="Two events, the second begins when the first ends",
    rules=(15, 18, 50),
    needs=EVENTS,
)
async def end_to_start(bench: VtnBench) -> None:
    await adjacent(bench, gap=timedelta(0))


async def adjacent(bench: VtnBench, *, gap: timedelta) -> None:
    """Two events of one market context that do not overlap (rule 18: the end is exclusive)."""
    first = bench.price_event()
    later = bench.price_event(starts_at=first.starts_at + first.duration + gap)
    one = await published(bench, first)
    other = await published(bench, later)
    message = await bench.ven.request_events()
    for event in (one, other):
        expect(find(message, event.event_id), rule=50, seen="one is missing", wanted="both events")


@vtn_test(
    pull="A_E3_0452",
    push="A_E2_0452",
    title="A pending event, optIn",
    rules=(16,),
    needs=EVENTS,
)
async def opted_in(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event())
    await recorded(bench, found.event_id, "optIn", rule=16)


@vtn_test(
    pull="A_E3_0454",
    push="A_E2_0454",
    title="A pending event, optOut",
    rules=(16,),
    needs=EVENTS,
)
async def opted_out(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event(), opt=OptType.OPT_OUT)
    await recorded(bench, found.event_id, "optOut", rule=16)


@vtn_test(
    pull="A_E3_0464",
    push="A_E2_0464",
    title="An unchanged event is shown unchanged",
    rules=(5, 50, 115),
    needs=EVENTS,
)
async def shown_again(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event())
    _, again = await listed(bench, found.event_id)
    expect(
        again.modification_number == found.modification_number,
        rule=5,
        seen=f"modificationNumber {again.modification_number}",
        wanted=f"{found.modification_number}",
    )


@vtn_test(
    pull="A_E3_0466",
    push="A_E2_0466",
    title="An unchanged event that is answered a second time",
    rules=(16, 17),
    needs=EVENTS,
)
async def answered_again(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event())
    message, event = await listed(bench, found.event_id)
    await bench.ven.ask(answer_to(bench, message, event, OptType.OPT_IN), rule=17)
    await recorded(bench, found.event_id, "optIn", rule=16)


def answer_to(
    bench: VtnBench, message: DistributeEvent, event: Event, opt: OptType, *, step: int = 0
) -> CreatedEvent:
    """An answer to one event, to a modification that is `step` further than it is."""
    return CreatedEvent(
        response=EiResponse(),
        event_responses=(
            EventResponse(
                request_id=message.request_id,
                event_id=event.event_id,
                modification_number=event.modification_number + step,
                opt_type=opt,
            ),
        ),
        ven_id=bench.ven.memory.ven_id,
    )


@vtn_test(
    pull="A_E3_0468",
    push="A_E2_0468",
    title="An event that wants no answer",
    rules=(12, 50),
    needs=(Ability.EVENTS, Ability.NEVER),
)
async def never(bench: VtnBench) -> None:
    event = replace(bench.price_event(), response_required=ResponseRequired.NEVER)
    event_id = await bench.publish(event)
    _, found = await bench.ven.wait_event(event_id, SOON_S)
    expect(
        found.response_required is ResponseRequired.NEVER,
        rule=12,
        seen="oadrResponseRequired always",
        wanted="never",
    )
    await listed(bench, event_id)


@vtn_test(
    pull="A_E3_0470",
    push="A_E2_0470",
    title="A pending event is moved",
    rules=(5, 20, 115),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def moved(bench: VtnBench) -> None:
    await move(bench)


async def move(bench: VtnBench, *, wanted: ResponseRequired = ResponseRequired.ALWAYS) -> Event:
    """Publish, then start five minutes later -> the event as it is after that."""
    draft = replace(bench.price_event(), response_required=wanted)
    event_id = await bench.publish(draft)
    message, first = await bench.ven.wait_event(event_id, SOON_S)
    await bench.ven.answer(message)
    later = first.starts_at + bench.span(5)
    await bench.vtn.modify(event_id, drafts.modified(replace(first, starts_at=later)))
    message, second = await bench.ven.wait_event(
        event_id, SOON_S, rule=5, modification=first.modification_number + 1
    )
    expect(
        second.starts_at == later, rule=20, seen=f"dtstart {second.starts_at}", wanted=f"{later}"
    )
    await bench.ven.answer(message)
    return second


@vtn_test(
    pull="A_E3_0474",
    push="A_E2_0474",
    title="A pending event is moved twice",
    rules=(5, 20),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def moved_twice(bench: VtnBench) -> None:
    second = await move(bench)
    back = second.starts_at - bench.span(2)
    await bench.vtn.modify(second.event_id, drafts.modified(replace(second, starts_at=back)))
    message, third = await bench.ven.wait_event(
        second.event_id, SOON_S, rule=5, modification=second.modification_number + 1
    )
    expect(third.starts_at == back, rule=20, seen=f"dtstart {third.starts_at}", wanted=f"{back}")
    await bench.ven.respond(message)


@vtn_test(
    pull="A_E3_0476",
    push="A_E2_0476",
    title="A moved event is shown unchanged after that",
    rules=(5, 50),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def moved_and_shown(bench: VtnBench) -> None:
    second = await move(bench)
    _, again = await listed(bench, second.event_id)
    expect(
        again.modification_number == second.modification_number,
        rule=5,
        seen=f"modificationNumber {again.modification_number}",
        wanted=f"{second.modification_number}",
    )


@vtn_test(
    pull="A_E3_0478",
    push="A_E2_0478",
    title="A moved event, optOut of what was opted in",
    rules=(5, 16),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def moved_and_out(bench: VtnBench) -> None:
    first = await published(bench, bench.price_event())
    later = first.starts_at + bench.span(5)
    await bench.vtn.modify(first.event_id, drafts.modified(replace(first, starts_at=later)))
    message, _ = await bench.ven.wait_event(
        first.event_id, SOON_S, rule=5, modification=first.modification_number + 1
    )
    await bench.ven.respond(message, OptType.OPT_OUT)
    await recorded(bench, first.event_id, "optOut", rule=16)


@vtn_test(
    pull="A_E3_0480",
    push="A_E2_0480",
    title="An event that wants no answer is moved",
    rules=(5, 20),
    needs=(Ability.EVENTS, Ability.MODIFY, Ability.NEVER),
)
async def moved_unanswered(bench: VtnBench) -> None:
    await move(bench, wanted=ResponseRequired.NEVER)


@vtn_test(
    pull="A_E3_0484",
    push="A_E2_0484",
    title="An active event is moved into the future, where the VTN allows it",
    rules=(5, 13, 20),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def active_moved(bench: VtnBench) -> None:
    found = await activated(bench, bench.active_event())
    later = bench.after(bench.span(10))
    try:
        await bench.vtn.modify(found.event_id, drafts.modified(replace(found, starts_at=later)))
    except AdapterFault:
        return
    message, moved_on = await bench.ven.wait_event(
        found.event_id, SOON_S, rule=5, modification=found.modification_number + 1
    )
    expect(
        moved_on.starts_at == later,
        rule=20,
        seen=f"dtstart {moved_on.starts_at}",
        wanted=f"{later}",
    )
    await bench.ven.respond(message)


@vtn_test(
    pull="X_20_PAST",
    title="The start of an active event cannot be moved further into the past",
    rules=(20,),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def past_not_moved(bench: VtnBench) -> None:
    found = await activated(bench, bench.active_event())
    earlier = found.starts_at - timedelta(minutes=5)
    try:
        await bench.vtn.modify(found.event_id, drafts.modified(replace(found, starts_at=earlier)))
    except AdapterFault:
        return
    _, after = await listed(bench, found.event_id)
    expect(
        after.starts_at == found.starts_at,
        rule=20,
        seen=f"the event now begins at {after.starts_at}",
        wanted="the past stays as it was",
    )


@vtn_test(
    pull="A_E3_0490",
    push="A_E2_0490",
    title="An active event is lengthened",
    rules=(5, 20, 29),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def active_lengthened(bench: VtnBench) -> None:
    found = await activated(bench, bench.active_event())
    length = found.duration + bench.span(10)
    await bench.vtn.modify(found.event_id, drafts.stretched(found, length))
    message, second = await bench.ven.wait_event(
        found.event_id, SOON_S, rule=5, modification=found.modification_number + 1
    )
    expect(second.duration == length, rule=20, seen=f"{second.duration}", wanted=f"{length}")
    expect(second.status is ACTIVE, rule=13, seen=second.status, wanted="active")
    await bench.ven.respond(message)


async def call_off(bench: VtnBench, event: Event, *, opt: OptType = OptType.OPT_IN) -> None:
    """Cancel, see it cancelled with the next modification, acknowledge, see it go."""
    await bench.vtn.cancel(event.event_id)
    message, found = await bench.ven.wait_event(event.event_id, SOON_S, rule=10, status=[CANCELLED])
    expect(
        found.modification_number == event.modification_number + 1,
        rule=10,
        seen=f"modificationNumber {found.modification_number}",
        wanted=f"{event.modification_number + 1}",
    )
    if found.response_required is ResponseRequired.ALWAYS:
        await bench.ven.respond(message, opt)
        after = await bench.ven.request_events()
        expect(
            find(after, event.event_id) is None,
            rule=52,
            seen="still listed after it was acknowledged",
            wanted="no cancelled event that is acknowledged",
        )


@vtn_test(
    pull="A_E3_0492",
    push="A_E2_0492",
    title="A pending event is cancelled",
    rules=(5, 10, 50, 52),
    needs=EVENTS,
)
async def pending_cancelled(bench: VtnBench) -> None:
    await call_off(bench, await published(bench, bench.price_event()))


@vtn_test(
    pull="A_E3_0494",
    push="A_E2_0494",
    title="An active event is cancelled",
    rules=(10, 52),
    needs=EVENTS,
)
async def active_cancelled(bench: VtnBench) -> None:
    await call_off(bench, await activated(bench, bench.active_event()))


@vtn_test(
    pull="A_E3_0496",
    push="A_E2_0496",
    title="A cancellation that is not acknowledged is shown again",
    rules=(50, 52),
    needs=EVENTS,
)
async def cancelled_shown_again(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event())
    await bench.vtn.cancel(found.event_id)
    await bench.ven.wait_event(found.event_id, SOON_S, rule=10, status=[CANCELLED])
    message, again = await listed(bench, found.event_id)
    expect(again.status is CANCELLED, rule=52, seen=again.status, wanted="cancelled")
    await bench.ven.respond(message)


@vtn_test(
    pull="A_E3_0498",
    push="A_E2_0498",
    title="An event that wants no answer is cancelled",
    rules=(10, 52),
    needs=(Ability.EVENTS, Ability.NEVER),
)
async def never_cancelled(bench: VtnBench) -> None:
    event = replace(bench.price_event(), response_required=ResponseRequired.NEVER)
    event_id = await bench.publish(event)
    _, found = await bench.ven.wait_event(event_id, SOON_S)
    await call_off(bench, found)


@vtn_test(
    pull="A_E3_0500",
    push="A_E2_0500",
    title="The VEN changes its mind later",
    rules=(17,),
    needs=EVENTS,
)
async def changed_mind(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event())
    message, event = await listed(bench, found.event_id)
    await bench.ven.ask(answer_to(bench, message, event, OptType.OPT_OUT), rule=17)
    await recorded(bench, found.event_id, "optOut", rule=17)


async def four_events(bench: VtnBench) -> list[str]:
    """Priorities 2 and 0 in one market context, 1 and 0 in the other -> in the rules' order."""
    one, other = bench.contexts
    length = timedelta(seconds=30)
    start = bench.after(timedelta(seconds=6))

    def of(level: float, context: str, priority: int, later: timedelta) -> Event:
        return bench.draft(
            [drafts.simple(level, length)],
            starts_at=start + later,
            market_context=context,
            priority=priority,
        )

    second = await bench.publish(of(1, one, 2, timedelta(0)))
    fourth = await bench.publish(of(1, one, 0, timedelta(minutes=20)))
    first = await bench.publish(of(2, other, 1, drafts.SECOND))
    third = await bench.publish(of(2, other, 0, timedelta(minutes=10)))
    await bench.ven.drain()
    await bench.until(start + 2 * drafts.SECOND)
    return [first, second, third, fourth]


@vtn_test(
    pull="A_E3_0510",
    push="A_E2_0510",
    title="Order by priority: two active and two pending events",
    rules=(3, 15),
    needs=(Ability.EVENTS, Ability.CONTEXTS, Ability.PRIORITY),
)
async def in_order(bench: VtnBench) -> None:
    wanted = await four_events(bench)
    message = await bench.ven.request_events()
    found = [event.event_id for event in message.events if event.event_id in wanted]
    expect(found == wanted, rule=15, seen=_places(found, wanted), wanted="1, 2, 3, 4")


def _places(found: list[str], wanted: list[str]) -> str:
    places = [str(wanted.index(one) + 1) if one in wanted else "another" for one in found]
    return ", ".join(places) or "none of them"


@vtn_test(
    pull="A_E3_0520",
    push="A_E2_0520",
    title="The order is the same under a replyLimit",
    rules=(15, 27),
    needs=(Ability.EVENTS, Ability.CONTEXTS, Ability.PRIORITY),
)
async def in_order_limited(bench: VtnBench) -> None:
    wanted = await four_events(bench)
    for limit in (1, 2, 3):
        message = await bench.ven.request_events(limit)
        found = [event.event_id for event in message.events]
        expect(
            found == wanted[:limit],
            rule=27,
            seen=f"{len(found)} events: {_places([one for one in found if one in wanted], wanted)}",
            wanted=f"the first {limit} of four",
        )


@vtn_test(
    pull="A_E3_0525",
    push="A_E2_0525",
    title="The earlier of two events is cancelled, the other stays",
    rules=(10, 50),
    needs=EVENTS,
)
async def earlier_cancelled(bench: VtnBench) -> None:
    draft = bench.price_event()
    first = await published(bench, draft)
    later = bench.price_event(starts_at=draft.starts_at + draft.duration + bench.span(5))
    second = await published(bench, later)
    await call_off(bench, first)
    await listed(bench, second.event_id)


@vtn_test(
    pull="A_E3_0527",
    push="A_E2_0527",
    title="An event is near from its ramp-up on",
    rules=(13,),
    needs=(Ability.EVENTS, Ability.RAMP_UP),
)
async def near(bench: VtnBench) -> None:
    ramp = bench.span(4) + timedelta(seconds=10)
    event = bench.draft(
        [drafts.simple(1, bench.span(5))],
        starts_at=bench.after(ramp + timedelta(seconds=3)),
    )
    found = await published(bench, replace(event, ramp_up=ramp))
    await bench.until(found.starts_at - ramp + drafts.SECOND)
    _, again = await listed(bench, found.event_id)
    expect(again.status is NEAR, rule=13, seen=again.status, wanted="near")


@vtn_test(
    pull="A_E3_0530",
    push="A_E2_0530",
    title="Overlapping events of one market context cannot be published",
    rules=(18,),
    needs=EVENTS,
)
async def overlapping(bench: VtnBench) -> None:
    first = bench.price_event()
    await published(bench, first)
    over = bench.price_event(starts_at=first.starts_at + first.duration - drafts.SECOND)
    try:
        event_id = await bench.publish(over)
    except AdapterFault:
        return
    raise Failed(18, seen=f"{event_id} was published", wanted="a refusal")


async def three_events(bench: VtnBench) -> list[str]:
    """Three pending events, one after the other -> their IDs in order."""
    start = bench.after(bench.span(10))
    step = bench.span(5)
    ids = [
        await bench.publish(bench.price_event(starts_at=start + 2 * number * step))
        for number in range(3)
    ]
    await bench.ven.drain()
    return ids


@vtn_test(
    pull="A_E3_0655",
    push="A_E2_0655",
    title="Three events and a replyLimit",
    rules=(15, 27),
    needs=EVENTS,
)
async def three_limited(bench: VtnBench) -> None:
    ids = await three_events(bench)
    message = await bench.ven.request_events(2)
    found = [event.event_id for event in message.events]
    expect(found == ids[:2], rule=27, seen=f"{len(found)} events", wanted="the first two")
    message = await bench.ven.request_events()
    expect(
        [event.event_id for event in message.events] == ids,
        rule=15,
        seen=f"{len(message.events)} events or another order",
        wanted="all three by their start",
    )


@vtn_test(
    pull="A_E3_0657",
    push="A_E2_0657",
    title="A started event is cancelled and acknowledged by optOut",
    rules=(10, 36, 52),
    needs=EVENTS,
)
async def started_cancelled(bench: VtnBench) -> None:
    found = await activated(bench, bench.active_event())
    await call_off(bench, found, opt=OptType.OPT_OUT)


@vtn_test(
    pull="A_E3_0660",
    push="A_E2_0660",
    title="A second event while the first one runs",
    rules=(15, 50, 502),
    needs=(Ability.EVENTS, Ability.CONTEXTS),
)
async def second_while_first_runs(bench: VtnBench) -> None:
    one, other = bench.contexts
    first = await activated(bench, bench.active_event(context=one))
    second = await published(bench, bench.price_event(context=other))
    message = await bench.ven.request_events()
    found = [event.event_id for event in message.events]
    wanted = [first.event_id, second.event_id]
    expect(found == wanted, rule=15, seen=_places(found, wanted), wanted="active, then pending")


@vtn_test(
    pull="A_E3_0680",
    push="A_E2_0680",
    title="An event is added later: all are still listed",
    rules=(50, 502),
    needs=EVENTS,
)
async def added_later(bench: VtnBench) -> None:
    ids = await three_events(bench)
    fourth = await bench.publish(
        bench.price_event(starts_at=bench.after(bench.span(10) + 8 * bench.span(5)))
    )
    message, _ = await bench.ven.wait_event(fourth, SOON_S, rule=502)
    for event_id in ids:
        expect(
            find(message, event_id),
            rule=50,
            seen=f"{event_id} is missing beside the new one",
            wanted="all events",
        )
    await bench.ven.respond(message)


@vtn_test(
    pull="A_E3_0685",
    push="A_E2_0685",
    title="A randomised event stays listed until its last possible end",
    rules=(18, 66),
    needs=(Ability.EVENTS, Ability.START_AFTER),
)
async def randomised(bench: VtnBench) -> None:
    length = timedelta(seconds=3)
    slack = max(bench.span(2), timedelta(seconds=8))
    draft = bench.draft([drafts.simple(1, length)], starts_at=bench.after())
    event_id = await bench.publish(replace(draft, start_after=slack))
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    await bench.ven.respond(message)
    await bench.until(found.starts_at + length + 2 * drafts.SECOND)
    _, still = await listed(bench, event_id)
    expect(
        still.status in (ACTIVE, COMPLETED),
        rule=66,
        seen=still.status,
        wanted="active or completed",
    )
    await bench.until(found.starts_at + length + slack + 2 * drafts.SECOND)
    gone = find(await bench.ven.request_events(), event_id)
    expect(
        gone is None or gone.status is COMPLETED,
        rule=66,
        seen=gone.status if gone else "",
        wanted="completed or gone",
    )


@vtn_test(
    pull="A_E3_0710",
    push="A_E2_0710",
    title="An answer to an eventID that does not exist",
    rules=(21, 33, 48),
    needs=EVENTS,
)
async def unknown_event(bench: VtnBench) -> None:
    event_id = await bench.publish(bench.price_event())
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    stray = replace(found, event_id="no-such-event")
    await bench.ven.ask(answer_to(bench, message, stray, OptType.OPT_IN), code="452", rule=48)


@vtn_test(
    pull="A_E3_0720",
    push="A_E2_0720",
    title="An answer to another modificationNumber",
    rules=(33, 48),
    needs=EVENTS,
)
async def unknown_modification(bench: VtnBench) -> None:
    event_id = await bench.publish(bench.price_event())
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    await bench.ven.ask(
        answer_to(bench, message, found, OptType.OPT_IN, step=7), code="4xx", rule=48
    )


@vtn_test(
    pull="A_E3_0730",
    push="A_E2_0730",
    title="An answer under another venID",
    rules=(21, 512, 517),
    needs=EVENTS,
)
async def unknown_ven(bench: VtnBench) -> None:
    event_id = await bench.publish(bench.price_event())
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    answer = answer_to(bench, message, found, OptType.OPT_OUT)
    await bench.ven.ask(replace(answer, ven_id="no-such-ven"), code="452", rule=512)
    await recorded(bench, event_id, "", rule=21)


@vtn_test(
    pull="A_E3_0750",
    push="A_E2_0750",
    title="A replyLimit of one",
    rules=(27,),
    needs=EVENTS,
)
async def one_at_most(bench: VtnBench) -> None:
    ids = await three_events(bench)
    message = await bench.ven.request_events(1)
    found = [event.event_id for event in message.events]
    expect(found == ids[:1], rule=27, seen=f"{len(found)} events", wanted="the first one")


@vtn_test(
    pull="A_E3_0780",
    push="A_E2_0780",
    title="An error of the VEN leaves the event as it was",
    rules=(25, 33, 50),
    needs=EVENTS,
)
async def error_of_the_ven(bench: VtnBench) -> None:
    event_id = await bench.publish(bench.price_event())
    await bench.ven.wait_event(event_id, SOON_S)
    await bench.ven.say(
        CreatedEvent(
            response=EiResponse(response_code="459", description="cannot read it"),
            ven_id=bench.ven.memory.ven_id,
        )
    )
    await listed(bench, event_id)
