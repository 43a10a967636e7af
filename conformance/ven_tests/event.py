# SPDX-License-Identifier: Apache-2.0
"""EiEvent of a VEN: E1 by pull, E0 by push."""

from dataclasses import replace
from datetime import timedelta

from conformance import drafts
from conformance.declaration import Ability, Start, ven_test
from conformance.errors import Failed, NotRun, expect
from conformance.ven_bench import FIRST_CONTACT_S, VenBench
from oadr.event import CreatedEvent, Event, EventResponse, RequestEvent
from oadr.moments import write_instant
from oadr.opt import CreateOpt
from oadr.target import Target
from oadr.units import power, price_per_kwh
from oadr.vocabulary import OptType, ResponseRequired, SignalType

OK = "200"


async def answered(
    bench: VenBench,
    event: Event,
    *others: Event,
    opt: OptType | None = OptType.OPT_IN,
    code: str = OK,
    rule: int = 12,
) -> EventResponse:
    """Distribute the events; the first one must be answered so."""
    since = bench.vtn.mark()
    await bench.vtn.distribute(event, *others)
    return await answer_to(bench, event, opt=opt, code=code, rule=rule, since=since)


async def answer_to(
    bench: VenBench,
    event: Event,
    *,
    opt: OptType | None = OptType.OPT_IN,
    code: str = OK,
    rule: int = 12,
    since: int | None = None,
) -> EventResponse:
    """The VEN's answer to the event in this modification, with this opt and code."""
    found = await bench.vtn.response_to(event, bench.settle_s, rule=rule, since=since)
    fitting = found.response_code[:1] == "4" if code == "4xx" else found.response_code == code
    expect(
        fitting and opt in (None, found.opt_type),
        rule=rule,
        seen=f"{found.response_code} {found.opt_type} {found.description or ''}".strip(),
        wanted=f"{code} {opt or ''}".strip(),
    )
    return found


async def unanswered(bench: VenBench, *, rule: int, since: int) -> None:
    """No oadrCreatedEvent comes."""
    await bench.vtn.took_queue(bench.settle_s)
    await bench.quiet()
    found = bench.vtn.all_received(CreatedEvent, since=since)
    expect(not found, rule=rule, seen="an oadrCreatedEvent", wanted="no oadrCreatedEvent")


@ven_test(
    pull="E1_1010",
    push="E0_6010",
    title="An empty oadrDistributeEvent is not answered",
    rules=(12, 62),
)
async def no_events(bench: VenBench) -> None:
    since = bench.vtn.mark()
    await bench.vtn.distribute()
    await unanswered(bench, rule=62, since=since)


@ven_test(
    pull="E1_1020",
    push="E0_6020",
    title="A pending price event for the VEN's resources",
    rules=(12, 22, 35, 42, 510),
)
async def price(bench: VenBench) -> None:
    event = bench.price_event()
    target = Target(ven_ids=(bench.vtn.ven_id,), resource_ids=bench.resources[:2])
    await answered(bench, replace(event, target=target))


@ven_test(
    pull="E1_1025",
    push="E0_6025",
    title="LOAD_DISPATCH/setpoint in powerReal",
    rules=(12, 510),
)
async def dispatch(bench: VenBench) -> None:
    starts_at = bench.after(bench.span(1))
    await answered(
        bench, bench.draft([drafts.dispatch(40_000, bench.span(5))], starts_at=starts_at)
    )


@ven_test(
    pull="E1_1027",
    push="E0_6027",
    title="Two price intervals with the baseline of yesterday",
    rules=(12, 46),
)
async def with_baseline(bench: VenBench) -> None:
    hour = bench.span(60)
    event = bench.draft([drafts.price([3.14, 3.17], [hour, hour])])
    baseline = drafts.baseline(
        event.starts_at - timedelta(days=1), [3.05, 3.08], [hour, hour], price_per_kwh("EUR")
    )
    await answered(bench, replace(event, baseline=baseline))


@ven_test(
    pull="E1_1030",
    push="E0_6030",
    title="A longer event is answered again",
    rules=(12, 57),
)
async def longer(bench: VenBench) -> None:
    event = bench.price_event()
    await answered(bench, event)
    await answered(bench, drafts.stretched(event, bench.span(15)), rule=57)


@ven_test(
    pull="E1_1040",
    push="E0_6040",
    title="Two events, SIMPLE and price, both answered",
    rules=(12, 62, 510),
)
async def two_events(bench: VenBench) -> None:
    simple = bench.simple_event(2)
    later = simple.starts_at + simple.duration
    price_event = bench.price_event(starts_at=later)
    await answered(bench, simple, price_event)
    await answer_to(bench, price_event)


@ven_test(
    pull="E1_1050",
    push="E0_6050",
    title="The VEN asks for its events after registration, and answers them",
    rules=(23, 405, 12),
    start=Start.FRESH,
    needs=(Ability.FRESH,),
)
async def asks_for_events(bench: VenBench) -> None:
    event = bench.simple_event()
    bench.vtn.events = [event]
    bench.vtn.keep_events = True
    await bench.vtn.received(RequestEvent, FIRST_CONTACT_S, rule=405)
    await answer_to(bench, event)


@ven_test(
    pull="E1_1060",
    push="E0_6060",
    title="oadrCreateOpt: optOut for one of the two resources of an event",
    rules=(17, 204, 206),
    needs=(Ability.OPT, Ability.OPT_RESOURCE),
)
async def opts_out_of_one(bench: VenBench) -> None:
    roof, *others = bench.resources
    if not others:
        raise NotRun("the VEN has one resource only")
    target = Target(ven_ids=(bench.vtn.ven_id,), resource_ids=bench.resources)
    event = replace(bench.price_event(), target=target)
    await answered(bench, event)
    since = bench.vtn.mark()
    await bench.ven.opt(event.event_id, opt_in=False, resource=roof)
    message = await bench.vtn.received(CreateOpt, bench.settle_s, rule=206, since=since)
    named = message.event.event_id if message.event is not None else "no event"
    expect(
        (message.opt_type, named, message.target.resource_ids)
        == (OptType.OPT_OUT, event.event_id, (roof,)),
        rule=206,
        seen=f"{message.opt_type} of {named} for {', '.join(message.target.resource_ids)}",
        wanted=f"optOut of {event.event_id} for {roof} alone",
    )


@ven_test(
    pull="X_17_LATER",
    title="The VEN opts out of a whole event that it opted in to",
    rules=(17, 204, 206),
    needs=(Ability.OPT,),
)
async def opts_out(bench: VenBench) -> None:
    event = bench.price_event()
    await answered(bench, event)
    since = bench.vtn.mark()
    await bench.ven.opt(event.event_id, opt_in=False)
    message = await bench.vtn.received(
        object,
        bench.settle_s,
        rule=206,
        where=lambda one: _opts_out(one, event),
        since=since,
        wanted="an oadrCreateOpt or an oadrCreatedEvent with optOut",
    )
    if isinstance(message, CreateOpt) and message.event is not None:
        expect(
            message.event.event_id == event.event_id,
            rule=206,
            seen=message.event.event_id,
            wanted=event.event_id,
        )


def _opts_out(message: object, event: Event) -> bool:
    if isinstance(message, CreateOpt):
        return message.event is not None and message.opt_type is OptType.OPT_OUT
    return isinstance(message, CreatedEvent) and any(
        one.event_id == event.event_id and one.opt_type is OptType.OPT_OUT
        for one in message.event_responses
    )


@ven_test(
    pull="E1_1065",
    push="E0_6065",
    title="An event is modified after the VEN opted out: still answered",
    rules=(12, 206),
    needs=(Ability.OPT,),
)
async def modified_after_opt_out(bench: VenBench) -> None:
    event = bench.price_event()
    await answered(bench, event)
    await bench.ven.opt(event.event_id, opt_in=False)
    await answered(bench, drafts.stretched(event, bench.span(15)), opt=None)


@ven_test(
    pull="E1_1080",
    push="E0_6080",
    title="A vtnID in the other letters is another VTN",
    rules=(21, 512),
)
async def other_letters(bench: VenBench) -> None:
    event = bench.price_event()
    bench.vtn.events = [event]
    message = bench.vtn.distribute_event()
    bench.vtn.events = []
    since = bench.vtn.mark()
    await bench.vtn.deliver(replace(message, vtn_id=message.vtn_id.swapcase()))
    await bench.vtn.took_queue(bench.settle_s)
    await bench.quiet()
    for answer in bench.vtn.all_received(CreatedEvent, since=since):
        accepted = answer.response.ok and any(
            one.response_code == OK for one in answer.event_responses
        )
        expect(not accepted, rule=512, seen="200", wanted="452 or no answer")


# --- what every VEN must do with events ----------------------------------------------------------


@ven_test(pull="X_12_NEVER", title="An event that wants no answer gets none", rules=(12, 62))
async def never(bench: VenBench) -> None:
    since = bench.vtn.mark()
    event = replace(bench.price_event(), response_required=ResponseRequired.NEVER)
    await bench.vtn.distribute(event)
    await unanswered(bench, rule=12, since=since)


@ven_test(
    pull="X_12_AGAIN",
    title="An unchanged event that wants an answer is answered each time",
    rules=(12, 42, 43, 62),
)
async def answered_each_time(bench: VenBench) -> None:
    event = bench.price_event()
    await answered(bench, event)
    since = bench.vtn.mark()
    await bench.vtn.distribute(event)
    await answer_to(bench, event, since=since)


@ven_test(
    pull="X_43_SAME",
    title="Two payloads with the same requestID are both acted on",
    rules=(43, 56),
)
async def same_request_id(bench: VenBench) -> None:
    first = bench.price_event()
    later = first.starts_at + 2 * first.duration
    second = bench.price_event(starts_at=later)
    since = bench.vtn.mark()
    await bench.vtn.distribute(first, request_id="the-same")
    await answer_to(bench, first, rule=43, since=since)
    await bench.vtn.distribute(first, second, request_id="the-same")
    await answer_to(bench, second, rule=43, since=since)


@ven_test(pull="X_22_EMPTY", title="An empty eiTarget means this VEN", rules=(22,))
async def empty_target(bench: VenBench) -> None:
    await answered(bench, replace(bench.price_event(), target=Target()), rule=22)


@ven_test(
    pull="X_36_CANCEL",
    title="A cancellation is acknowledged, and the event forgotten",
    rules=(12, 36, 56, 59),
)
async def cancelled(bench: VenBench) -> None:
    event = bench.price_event()
    await answered(bench, event)
    gone = drafts.cancelled(event)
    await answered(bench, gone, opt=None, rule=36)
    await bench.vtn.distribute()
    await bench.vtn.took_queue(bench.settle_s)
    await answered(bench, event, rule=59)  # it was forgotten: modification 0 is new again


@ven_test(pull="X_36_ACTIVE", title="An active event is cancelled", rules=(12, 36), longest_s=180)
async def active_cancelled(bench: VenBench) -> None:
    event = bench.simple_event(minutes=30, starts_at=bench.after(2 * drafts.SECOND))
    await answered(bench, event)
    await bench.until(event.starts_at + drafts.SECOND)
    await answered(bench, drafts.cancelled(event), opt=None, rule=36)


@ven_test(
    pull="X_60_UNKNOWN",
    title="The cancellation of an unknown event is acknowledged",
    rules=(21, 60),
)
async def unknown_cancelled(bench: VenBench) -> None:
    await answered(bench, drafts.cancelled(bench.price_event()), opt=None, rule=60)


@ven_test(
    pull="X_61_IMPLIED",
    title="An event that is missing in the payload is cancelled",
    rules=(56, 61),
)
async def implied(bench: VenBench) -> None:
    event = replace(bench.price_event(), modification_number=3)
    await answered(bench, event)
    await bench.vtn.distribute()
    await bench.vtn.took_queue(bench.settle_s)
    again = replace(event, modification_number=0)
    await answered(bench, again, rule=61)  # were it still known, this would be out of sequence


@ven_test(pull="X_58_LOWER", title="A lower modificationNumber is out of sequence", rules=(58, 33))
async def lower(bench: VenBench) -> None:
    event = replace(bench.price_event(), modification_number=2)
    await answered(bench, event)
    await answered(bench, replace(event, modification_number=1), opt=None, code="450", rule=58)


@ven_test(pull="X_6_TEST", title="A test event is answered", rules=(6, 12))
async def test_event(bench: VenBench) -> None:
    await answered(bench, replace(bench.simple_event(), test_event="only a test"), opt=None)


@ven_test(
    pull="X_30_MANY",
    title="Ramp-up, recovery, tolerance, several intervals, an open end",
    rules=(30, 31, 32, 47),
)
async def everything(bench: VenBench) -> None:
    minute = bench.span(1)
    steps = drafts.signal("SIMPLE", SignalType.LEVEL, [1, 2, 1], [minute] * 3)
    event = replace(bench.draft([steps]), ramp_up=minute, recovery=minute, start_after=minute)
    await answered(bench, event, opt=None, rule=31)
    endless = bench.draft([drafts.simple(1, timedelta(0))])
    await answered(bench, endless, opt=None, rule=47)


@ven_test(
    pull="X_66_RANDOM",
    title="A randomised event that is completed at the VTN needs no new answer",
    rules=(30, 65, 66),
    longest_s=180,
)
async def completed_while_random(bench: VenBench) -> None:
    length = 3 * drafts.SECOND
    event = replace(
        bench.draft([drafts.simple(1, length)], starts_at=bench.after(2 * drafts.SECOND)),
        start_after=6 * drafts.SECOND,
    )
    await answered(bench, event, opt=None)
    await bench.until(event.starts_at + length + drafts.SECOND)
    await answered(bench, event, opt=None, rule=66)


_SIGNALS = (
    ("LOAD_DISPATCH", "setpoint", 40_000.0, power()),
    ("ELECTRICITY_PRICE", "price", 0.31, price_per_kwh("EUR")),
    ("SIMPLE", "level", 1.0, None),
)


@ven_test(
    pull="X_510_LEAST",
    title="The three signals that every VEN must know",
    rules=(510, 12),
)
async def least_signals(bench: VenBench) -> None:
    for name, kind, value, unit in _SIGNALS:
        one = drafts.signal(name, SignalType(kind), [value], [bench.span(5)], unit)
        found = await answered(bench, bench.draft([one]), opt=None, rule=510)
        if found.response_code != OK:
            raise Failed(510, seen=f"{found.response_code} to {name}/{kind}", wanted=OK)


@ven_test(pull="X_63_HUNDRED", title="Many events in one payload, all answered", rules=(12, 62))
async def many_events(bench: VenBench) -> None:
    start = bench.after(bench.span(60))
    length = bench.span(1)
    events = [
        bench.draft([drafts.simple(1, length)], starts_at=start + number * length)
        for number in range(20)
    ]
    since = bench.vtn.mark()
    await bench.vtn.distribute(*events)
    for event in events:
        await answer_to(bench, event, opt=None, rule=62, since=since)


@ven_test(pull="X_1_FRACTION", title="An instant with fractions of a second is taken", rules=(1,))
async def fractions(bench: VenBench) -> None:
    event = bench.price_event()
    bench.vtn.events = [event]
    message = bench.vtn.distribute_event()
    stamp = write_instant(event.starts_at)
    since = bench.vtn.mark()
    await bench.vtn.deliver_edited(message, stamp, stamp.replace("Z", ".250Z"))
    await answer_to(bench, event, rule=1, since=since)
