# SPDX-License-Identifier: Apache-2.0
"""EiEvent of a VTN: E1 by pull, E0 by push."""

from dataclasses import replace
from datetime import timedelta

from conformance import drafts
from conformance.declaration import Ability, vtn_test
from conformance.errors import NotRun, expect
from conformance.ven_player import find
from conformance.vtn_bench import VtnBench
from conformance.vtn_tests.registration import SOON_S
from oadr import EiResponse
from oadr.event import CreatedEvent, Event, EventResponse, RequestEvent
from oadr.opt import CreateOpt, QualifiedEvent
from oadr.target import Target
from oadr.units import power, price_per_kwh
from oadr.vocabulary import OptReason, OptType, SignalType


async def published(bench: VtnBench, event: Event, *, opt: OptType = OptType.OPT_IN) -> Event:
    """Publish, wait until it comes, answer it -> the event as the VTN sent it."""
    event_id = await bench.publish(event)
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    expect(
        found.modification_number == 0,
        rule=4,
        seen=f"modificationNumber {found.modification_number} of a new event",
        wanted="0",
    )
    await bench.ven.respond(message, opt)
    return found


async def recorded(bench: VtnBench, event_id: str, opt: str, *, rule: int) -> None:
    """Where the VTN can be looked into: it has recorded this opt."""
    if Ability.ANSWERS in bench.vtn.abilities:
        found = await bench.vtn.answer(bench.ven.memory.ven_id, event_id)
        expect(found == opt, rule=rule, seen=f"the VTN recorded {found or 'nothing'}", wanted=opt)


@vtn_test(
    pull="E1_1010",
    push="E0_6010",
    title="No events: an empty oadrDistributeEvent",
    rules=(40, 41, 50),
)
async def no_events(bench: VtnBench) -> None:
    message = await bench.ven.request_events()
    expect(not message.events, rule=50, seen=f"{len(message.events)} events", wanted="none")


@vtn_test(
    pull="E1_1020",
    push="E0_6020",
    title="A pending price event for two resources",
    rules=(2, 4, 8, 16, 22, 100, 102, 104, 105, 510),
    needs=(Ability.EVENTS,),
)
async def price_for_two(bench: VtnBench) -> None:
    event = replace(bench.price_event(), target=_target(bench, *bench.resources[:2]))
    found = await published(bench, event)
    signal = found.signals[0]
    expect(
        (signal.signal_name, signal.signal_type) == ("ELECTRICITY_PRICE", "price"),
        rule=104,
        seen=f"{signal.signal_name}/{signal.signal_type}",
        wanted="ELECTRICITY_PRICE/price",
    )
    if bench.resources and Ability.TARGETS in bench.vtn.abilities:
        expect(
            set(bench.resources[:2]) <= set(found.target.resource_ids),
            rule=510,
            seen=f"resources {found.target.resource_ids}",
            wanted=f"{bench.resources[:2]}",
        )
    await recorded(bench, found.event_id, "optIn", rule=16)


def _target(bench: VtnBench, *resources: str) -> Target:
    return Target(ven_ids=(bench.ven.memory.ven_id,), resource_ids=resources)


@vtn_test(
    pull="E1_1025",
    push="E0_6025",
    title="LOAD_DISPATCH/setpoint in powerReal",
    rules=(104, 510, 16),
    needs=(Ability.EVENTS,),
)
async def dispatch(bench: VtnBench) -> None:
    event = bench.draft(
        [drafts.dispatch(40_000, bench.span(5))], starts_at=bench.after(bench.span(1))
    )
    found = await published(bench, event)
    signal = found.signals[0]
    factor = signal.unit.factor if signal.unit is not None else 0.0
    expect(
        signal.signal_type == "setpoint"
        and signal.unit is not None
        and signal.unit.kind == "power:powerReal"
        and abs(signal.intervals[0].value * factor - 40_000) < 1,
        rule=104,
        seen=f"{signal.signal_type} {signal.intervals[0].value:g} in {signal.unit}",
        wanted="setpoint of 40 kW in powerReal",
    )


@vtn_test(
    pull="E1_1027",
    push="E0_6027",
    title="Two price intervals with the baseline of yesterday",
    rules=(2, 8, 100, 101, 102, 108),
    needs=(Ability.EVENTS, Ability.BASELINE, Ability.INTERVALS),
)
async def with_baseline(bench: VtnBench) -> None:
    hour = bench.span(60)
    event = bench.draft([drafts.price([3.14, 3.17], [hour, hour])])
    event = replace(
        event,
        baseline=drafts.baseline(
            event.starts_at - timedelta(days=1), [3.05, 3.08], [hour, hour], price_per_kwh("EUR")
        ),
    )
    found = await published(bench, event)
    values = [one.value for one in found.signals[0].intervals]
    expect(values == [3.14, 3.17], rule=100, seen=f"{values}", wanted="3.14 and 3.17")
    kept = found.baseline
    expect(kept is not None, rule=101, seen="no baseline", wanted="the baseline of the event")
    assert kept is not None
    values = [one.value for one in kept.intervals]
    expect(values == [3.05, 3.08], rule=101, seen=f"{values}", wanted="3.05 and 3.08")


@vtn_test(
    pull="E1_1030",
    push="E0_6030",
    title="A longer event: modification 1, answered again",
    rules=(5, 20, 50, 115, 16),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def longer(bench: VtnBench) -> None:
    first = await published(bench, bench.price_event())
    await bench.vtn.modify(first.event_id, drafts.stretched(first, bench.span(15)))
    message, second = await bench.ven.wait_event(
        first.event_id, SOON_S, rule=5, modification=first.modification_number + 1
    )
    expect(
        second.duration == bench.span(15),
        rule=20,
        seen=f"a duration of {second.duration}",
        wanted=f"{bench.span(15)}",
    )
    expect(
        second.created_at >= first.created_at,
        rule=115,
        seen=f"createdDateTime {second.created_at}, before {first.created_at}",
        wanted="a new createdDateTime",
    )
    await bench.ven.respond(message)


@vtn_test(
    pull="E1_1040",
    push="E0_6040",
    title="Two events, SIMPLE and price, both answered",
    rules=(15, 50, 106, 16),
    needs=(Ability.EVENTS, Ability.CONTEXTS),
)
async def two_events(bench: VtnBench) -> None:
    one, other = bench.contexts
    simple = bench.draft([drafts.simple(2, bench.span(5))], market_context=one)
    first = await published(bench, simple)
    second = await published(bench, bench.price_event(context=other))
    message = await bench.ven.request_events()
    for event in (first, second):
        expect(
            find(message, event.event_id),
            rule=50,
            seen=f"{event.event_id} is missing",
            wanted="both events",
        )
        await recorded(bench, event.event_id, "optIn", rule=16)


@vtn_test(
    pull="E1_1050",
    push="E0_6050",
    title="The VEN asks for events of its own accord",
    rules=(23, 40, 50),
    needs=(Ability.EVENTS,),
)
async def unsolicited_request(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event())
    message = await bench.ven.request_events()
    expect(
        find(message, found.event_id),
        rule=50,
        seen=f"{len(message.events)} events without it",
        wanted=found.event_id,
    )
    expect(
        message.response is not None and message.response.ok,
        rule=40,
        seen="no eiResponse",
        wanted="eiResponse 200",
    )


def opt_for(bench: VtnBench, event: Event, opt: OptType, *resources: str) -> CreateOpt:
    """An opt for some resources of an event (rule 206)."""
    return CreateOpt(
        opt_id=drafts.fresh("opt"),
        opt_type=opt,
        opt_reason=OptReason.OVERRIDE_STATUS,
        ven_id=bench.ven.memory.ven_id,
        created_at=drafts.whole(drafts.utc_now()),
        request_id=drafts.fresh("opt-request"),
        event=QualifiedEvent(
            event_id=event.event_id, modification_number=event.modification_number
        ),
        target=Target(resource_ids=resources),
    )


@vtn_test(
    pull="E1_1060",
    push="E0_6060",
    title="One of two resources opts out by oadrCreateOpt",
    rules=(206, 207, 204),
    needs=(Ability.EVENTS, Ability.TARGETS),
)
async def one_resource_out(bench: VtnBench) -> None:
    first, second = _two_resources(bench)
    event = replace(bench.price_event(), target=_target(bench, first, second))
    found = await published(bench, event)
    await bench.ven.ask(opt_for(bench, found, OptType.OPT_OUT, second), rule=206)


@vtn_test(
    pull="X_206_SUBSET",
    title="oadrCreateOpt for a resource that the event does not name",
    rules=(206, 33),
    needs=(Ability.EVENTS, Ability.TARGETS),
)
async def foreign_resource_out(bench: VtnBench) -> None:
    first, _ = _two_resources(bench)
    event = replace(bench.price_event(), target=_target(bench, first))
    found = await published(bench, event)
    await bench.ven.ask(
        opt_for(bench, found, OptType.OPT_OUT, "no-such-resource"), code="4xx", rule=206
    )


def _two_resources(bench: VtnBench) -> tuple[str, str]:
    if len(bench.resources) < 2:
        raise NotRun("the VTN knows no two resources of this VEN")
    return bench.resources[0], bench.resources[1]


@vtn_test(
    pull="E1_1065",
    push="E0_6065",
    title="oadrCreateOpt outweighs a later oadrCreatedEvent",
    rules=(206, 16),
    needs=(Ability.EVENTS,),
)
async def opt_then_created(bench: VtnBench) -> None:
    event_id = await bench.publish(bench.price_event())
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    await bench.ven.ask(opt_for(bench, found, OptType.OPT_OUT), rule=206)
    await bench.ven.respond(message, OptType.OPT_IN)
    await recorded(bench, event_id, "optOut", rule=206)


@vtn_test(
    pull="E1_1080",
    push="E0_6080",
    title="A venID in the other letters is another venID",
    rules=(512, 21),
)
async def other_letters(bench: VtnBench) -> None:
    request = RequestEvent(request_id=drafts.fresh("events"), ven_id=bench.ven.memory.ven_id)
    await bench.ven.ask(bench.ven.swapped(request), code="4xx", rule=512)


@vtn_test(
    pull="X_16_MIXED",
    title="Each eventResponse is looked at, a faulty one does not spoil the others",
    rules=(25, 16, 48),
    needs=(Ability.EVENTS, Ability.CONTEXTS),
)
async def each_answer_counts(bench: VtnBench) -> None:
    one, other = bench.contexts
    first = await bench.publish(bench.price_event(context=one))
    second = await bench.publish(bench.price_event(context=other))
    await bench.ven.wait_event(second, SOON_S)
    message = await bench.ven.request_events()
    answers = tuple(
        EventResponse(
            request_id=message.request_id,
            event_id=event.event_id,
            modification_number=event.modification_number,
            opt_type=OptType.OPT_OUT if event.event_id == first else OptType.OPT_IN,
        )
        for event in message.events
    )
    answer = CreatedEvent(
        response=EiResponse(), event_responses=answers, ven_id=bench.ven.memory.ven_id
    )
    await bench.ven.ask(answer, rule=16)
    bench.ven.remember_answers(answer)
    await recorded(bench, first, "optOut", rule=16)
    await recorded(bench, second, "optIn", rule=16)


@vtn_test(
    pull="X_25_FAILED",
    title="eventResponses of a failed oadrCreatedEvent do not count",
    rules=(25,),
    needs=(Ability.EVENTS, Ability.ANSWERS),
)
async def failed_answers_ignored(bench: VtnBench) -> None:
    event_id = await bench.publish(bench.price_event())
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    answer = CreatedEvent(
        response=EiResponse(response_code="459", description="cannot"),
        event_responses=(
            EventResponse(
                request_id=message.request_id,
                event_id=event_id,
                modification_number=found.modification_number,
                opt_type=OptType.OPT_OUT,
            ),
        ),
        ven_id=bench.ven.memory.ven_id,
    )
    await bench.ven.say(answer)
    await recorded(bench, event_id, "", rule=25)


_KINDS = (
    ("LOAD_DISPATCH", "delta", -1000.0, power()),
    ("LOAD_DISPATCH", "multiplier", 0.8, None),
    ("LOAD_DISPATCH", "level", -3.0, None),
    ("LOAD_CONTROL", "x-loadControlCapacity", 0.5, None),
    ("LOAD_CONTROL", "x-loadControlLevelOffset", 1.0, None),
    ("LOAD_CONTROL", "x-loadControlPercentOffset", -10.0, None),
    ("ELECTRICITY_PRICE", "priceRelative", 0.02, price_per_kwh("EUR")),
    ("ELECTRICITY_PRICE", "priceMultiplier", 1.5, None),
)


@vtn_test(
    pull="X_104_TABLE",
    title="Every well-known signal with its type and unit",
    rules=(104, 100, 107),
    needs=(Ability.EVENTS,),
    longest_s=240,
)
async def every_signal(bench: VtnBench) -> None:
    for name, kind, value, unit in _KINDS:
        signal = drafts.signal(name, SignalType(kind), [value], [bench.span(5)], unit)
        found = await published(bench, bench.draft([signal]))
        sent = found.signals[0]
        expect(
            (sent.signal_name, sent.signal_type) == (name, kind)
            and abs(sent.intervals[0].value * (sent.unit.factor if sent.unit else 1) - value)
            < 1e-3,
            rule=104,
            seen=f"{sent.signal_name}/{sent.signal_type} {sent.intervals[0].value:g}",
            wanted=f"{name}/{kind} {value:g}",
        )
        await bench.tidy()


@vtn_test(
    pull="X_106_BOTH",
    title="SIMPLE beside another signal",
    rules=(106, 107, 14),
    needs=(Ability.EVENTS,),
)
async def simple_beside(bench: VtnBench) -> None:
    length = bench.span(5)
    event = bench.draft([drafts.simple(1, length), drafts.price([3.14], [length])])
    found = await published(bench, event)
    names = {signal.signal_name for signal in found.signals}
    expect(
        names == {"SIMPLE", "ELECTRICITY_PRICE"},
        rule=106,
        seen=f"signals {sorted(names)}",
        wanted="both signals",
    )


@vtn_test(
    pull="X_47_OPEN",
    title="An open-ended event stays until it is cancelled",
    rules=(47, 52, 10),
    needs=(Ability.EVENTS,),
)
async def open_ended(bench: VtnBench) -> None:
    event = bench.draft([drafts.simple(1, timedelta(0))], starts_at=bench.after())
    found = await published(bench, event)
    expect(not found.duration, rule=47, seen=f"a duration of {found.duration}", wanted="duration 0")
    await bench.until(found.starts_at + 2 * drafts.SECOND)
    message = await bench.ven.request_events()
    expect(
        find(message, found.event_id), rule=47, seen="it is gone", wanted="listed until cancelled"
    )
