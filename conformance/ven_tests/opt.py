# SPDX-License-Identifier: Apache-2.0
"""EiOpt of a VEN: P1 by pull, P0 by push."""

from dataclasses import replace
from datetime import timedelta

from conformance import drafts
from conformance.declaration import Ability, ven_test
from conformance.errors import NotRun, expect
from conformance.ven_bench import VenBench
from conformance.ven_tests.event import answered
from oadr.opt import CancelOpt, CreateOpt
from oadr.target import Target
from oadr.vocabulary import OptType

HOUR = timedelta(hours=1)
SCHEDULE = (Ability.OPT_SCHEDULE,)
DEVICES = "Thermostat"


async def scheduled(
    bench: VenBench,
    opt_id: str,
    *,
    opt: OptType = OptType.OPT_OUT,
    delay: timedelta = HOUR,
    devices: str = "",
    length: timedelta = HOUR,
) -> CreateOpt:
    """A person says when the site is not there -> the oadrCreateOpt; zero length has no end."""
    starts_at = bench.after(delay)
    since = bench.vtn.mark()
    await bench.ven.opt_schedule(
        opt_id,
        starts_at,
        starts_at + length if length else None,
        opt_in=opt is OptType.OPT_IN,
        device_class=devices,
    )
    message = await bench.vtn.received(CreateOpt, bench.settle_s, rule=200, since=since)
    expect(
        message.opt_type is opt
        and [(one.starts_at, one.duration) for one in message.schedule] == [(starts_at, length)],
        rule=200,
        seen=f"{message.opt_type} with {message.schedule}",
        wanted=f"{opt} from {starts_at:%H:%M:%S} on for {length}",
    )
    expect(message.opt_id == opt_id, rule=204, seen=f"optID {message.opt_id}", wanted=opt_id)
    expect(message.event is None, rule=206, seen="a qualified event", wanted="a schedule alone")
    return message


async def taken_back(bench: VenBench, opt_id: str) -> None:
    """The person takes it back: one oadrCancelOpt with the optID."""
    since = bench.vtn.mark()
    await bench.ven.cancel_opt_schedule(opt_id)
    found = await bench.vtn.received(CancelOpt, bench.settle_s, rule=204, since=since)
    expect(found.opt_id == opt_id, rule=204, seen=f"optID {found.opt_id}", wanted=opt_id)


@ven_test(
    pull="P1_2010",
    push="P0_7010",
    title="A new opt schedule",
    rules=(200, 204, 207),
    needs=SCHEDULE,
)
async def new_schedule(bench: VenBench) -> None:
    name = drafts.fresh("opt")
    await scheduled(bench, name)
    await taken_back(bench, name)


@ven_test(
    pull="P1_2015",
    push="P0_7015",
    title="A schedule that opts in",
    rules=(200, 204),
    needs=SCHEDULE,
)
async def opted_in(bench: VenBench) -> None:
    name = drafts.fresh("opt")
    await scheduled(bench, name, opt=OptType.OPT_IN)
    await taken_back(bench, name)


@ven_test(
    pull="P1_2020",
    push="P0_7020",
    title="A schedule without market context is made and cancelled",
    rules=(202, 204, 208),
    needs=SCHEDULE,
)
async def cancelled(bench: VenBench) -> None:
    name = drafts.fresh("opt")
    message = await scheduled(bench, name)
    expect(
        message.market_context is None and not message.target.resource_ids,
        rule=202,
        seen=f"{message.market_context}, {message.target}",
        wanted="no market context and no resource: for everything",
    )
    await taken_back(bench, name)


@ven_test(
    pull="P1_2030",
    push="P0_7030",
    title="A schedule for the whole VEN, then one for a class of devices",
    rules=(200, 202, 209),
    needs=SCHEDULE,
)
async def by_device_class(bench: VenBench) -> None:
    whole, part = drafts.fresh("opt"), drafts.fresh("opt")
    await scheduled(bench, whole)
    message = await scheduled(bench, part, devices=DEVICES, delay=3 * HOUR)
    found = message.device_class.end_device_assets if message.device_class is not None else ()
    expect(
        found == (DEVICES,), rule=209, seen=f"devices {found}", wanted=f"endDeviceAsset {DEVICES}"
    )
    await taken_back(bench, part)
    await taken_back(bench, whole)


@ven_test(
    pull="P1_2040",
    push="P0_7040",
    title="Two schedules under one optID; one cancellation for both",
    rules=(204,),
    needs=SCHEDULE,
)
async def two_under_one(bench: VenBench) -> None:
    name = drafts.fresh("opt")
    await scheduled(bench, name)
    await scheduled(bench, name, delay=3 * HOUR)
    since = bench.vtn.mark()
    await taken_back(bench, name)
    await bench.quiet()
    found = bench.vtn.all_received(CancelOpt, since=since)
    expect(len(found) == 1, rule=204, seen=f"{len(found)} oadrCancelOpt", wanted="one for both")


@ven_test(
    pull="P1_2050",
    push="P0_7050",
    title="The VTN does not know the optID that is cancelled: 452 ends the matter",
    rules=(208, 33),
    needs=SCHEDULE,
)
async def unknown_at_the_vtn(bench: VenBench) -> None:
    name = drafts.fresh("opt")
    await scheduled(bench, name)
    bench.vtn.refuse_opt_cancels = True
    since = bench.vtn.mark()
    await taken_back(bench, name)
    await bench.quiet()
    found = bench.vtn.all_received(CancelOpt, since=since)
    expect(
        len(found) == 1,
        rule=208,
        seen=f"{len(found)} oadrCancelOpt",
        wanted="one: what was refused is not asked for again and again",
    )
    bench.vtn.refuse_opt_cancels = False
    other = drafts.fresh("opt")
    await scheduled(bench, other)  # and the VEN goes on
    await taken_back(bench, other)


@ven_test(
    pull="X_210_OPEN",
    title="A schedule without an end has zero duration",
    rules=(210, 200),
    needs=SCHEDULE,
)
async def open_ended(bench: VenBench) -> None:
    name = drafts.fresh("opt")
    await scheduled(bench, name, length=drafts.ZERO)
    await taken_back(bench, name)


@ven_test(
    pull="X_211_BACK",
    title="An opt for a resource of an event is taken back by another one, not by oadrCancelOpt",
    rules=(206, 211),
    needs=(Ability.OPT_RESOURCE,),
)
async def back_in(bench: VenBench) -> None:
    if not bench.resources:
        raise NotRun("the VEN names no resources")
    target = Target(ven_ids=(bench.vtn.ven_id,), resource_ids=bench.resources)
    event = replace(bench.price_event(), target=target)
    await answered(bench, event)
    await bench.ven.opt(event.event_id, opt_in=False, resource=bench.resources[0])
    await bench.vtn.received(CreateOpt, bench.settle_s, rule=206)
    since = bench.vtn.mark()
    await bench.ven.opt(event.event_id, opt_in=True, resource=bench.resources[0])
    message = await bench.vtn.received(CreateOpt, bench.settle_s, rule=206, since=since)
    expect(
        message.opt_type is OptType.OPT_IN,
        rule=206,
        seen=f"{message.opt_type}",
        wanted="oadrCreateOpt with optIn",
    )
    await bench.quiet()
    found = bench.vtn.all_received(CancelOpt)
    expect(not found, rule=211, seen="oadrCancelOpt", wanted="none for an opt of an event")
