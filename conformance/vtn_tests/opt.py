# SPDX-License-Identifier: Apache-2.0
"""EiOpt of a VTN: P1 by pull, P0 by push. The harness is the VEN that opts."""

from datetime import timedelta

from conformance import drafts
from conformance.declaration import vtn_test
from conformance.vtn_bench import VtnBench
from oadr.opt import Availability, CancelOpt, CreateOpt, QualifiedEvent
from oadr.target import Target
from oadr.vocabulary import OptReason, OptType

_HOUR = timedelta(hours=1)


def schedule(
    bench: VtnBench,
    *,
    opt_id: str = "",
    opt: OptType = OptType.OPT_OUT,
    hours: tuple[int, ...] = (1,),
    length: timedelta = _HOUR,
    market_context: str | None = None,
    resources: tuple[str, ...] = (),
    device_class: str = "",
    whole_ven: bool = True,
) -> CreateOpt:
    """An opt schedule: from so many hours on, each for `length`."""
    ven_id = bench.ven.memory.ven_id
    now = drafts.whole(drafts.utc_now())
    return CreateOpt(
        opt_id=opt_id or drafts.fresh("opt"),
        opt_type=opt,
        opt_reason=OptReason.NOT_PARTICIPATING,
        market_context=market_context,
        ven_id=ven_id,
        schedule=tuple(
            Availability(starts_at=now + hour * _HOUR, duration=length) for hour in hours
        ),
        created_at=now,
        request_id=drafts.fresh("opt-request"),
        target=Target(
            ven_ids=(ven_id,) if whole_ven and not resources else (), resource_ids=resources
        ),
        device_class=Target(end_device_assets=(device_class,)) if device_class else None,
    )


async def cancel(bench: VtnBench, opt_id: str, *, code: str = "200", rule: int = 204) -> None:
    """Withdraw everything under an optID."""
    await bench.ven.ask(
        CancelOpt(
            request_id=drafts.fresh("opt-cancel"), opt_id=opt_id, ven_id=bench.ven.memory.ven_id
        ),
        code=code,
        rule=rule,
    )


@vtn_test(
    pull="P1_2010",
    push="P0_7010",
    title="A new opt schedule",
    rules=(200, 203, 205, 207),
)
async def new_schedule(bench: VtnBench) -> None:
    opt = schedule(bench, market_context=bench.context)
    await bench.ven.ask(opt, rule=203)
    await cancel(bench, opt.opt_id)


@vtn_test(
    pull="P1_2015",
    push="P0_7015",
    title="A schedule of several stretches, one of them open-ended",
    rules=(200, 210, 207),
)
async def several_stretches(bench: VtnBench) -> None:
    opt = schedule(bench, hours=(1, 3, 5))
    await bench.ven.ask(opt, rule=200)
    await cancel(bench, opt.opt_id)
    endless = schedule(bench, hours=(24,), length=timedelta(0), opt=OptType.OPT_IN)
    await bench.ven.ask(endless, rule=210)
    await cancel(bench, endless.opt_id)


@vtn_test(
    pull="P1_2020",
    push="P0_7020",
    title="A schedule for everything, then its cancellation",
    rules=(202, 204, 207),
)
async def for_everything(bench: VtnBench) -> None:
    opt = schedule(bench, whole_ven=False)
    await bench.ven.ask(opt, rule=202)
    await cancel(bench, opt.opt_id)
    await cancel(bench, opt.opt_id, code="452", rule=204)


@vtn_test(
    pull="P1_2030",
    push="P0_7030",
    title="A schedule of the VEN, then one of a device class",
    rules=(203, 209, 211),
)
async def device_class(bench: VtnBench) -> None:
    first = schedule(bench)
    await bench.ven.ask(first, rule=203)
    second = schedule(bench, device_class="Thermostat")
    await bench.ven.ask(second, rule=209)
    revised = schedule(bench, hours=(2,))
    await bench.ven.ask(revised, rule=203)
    await cancel(bench, second.opt_id)
    await cancel(bench, revised.opt_id)
    await cancel(bench, first.opt_id, rule=211)  # superseded by the revision, and no error


@vtn_test(
    pull="P1_2040",
    push="P0_7040",
    title="Two schedules under one optID, one cancellation for both",
    rules=(203, 204),
)
async def shared_id(bench: VtnBench) -> None:
    opt_id = drafts.fresh("opt")
    out = schedule(bench, opt_id=opt_id)
    back = schedule(bench, opt_id=opt_id, opt=OptType.OPT_IN, hours=(4,))
    await bench.ven.ask(out, rule=204)
    await bench.ven.ask(back, rule=203)
    await cancel(bench, opt_id)
    await cancel(bench, opt_id, code="452", rule=204)


@vtn_test(
    pull="P1_2050",
    push="P0_7050",
    title="Cancelling an optID that was never used",
    rules=(208, 33, 207),
)
async def unknown_id(bench: VtnBench) -> None:
    await cancel(bench, "no-such-opt", code="452", rule=208)


@vtn_test(
    pull="X_206_BOTH",
    title="An event together with a schedule is refused",
    rules=(206, 33),
)
async def event_and_schedule(bench: VtnBench) -> None:
    both = schedule(bench)
    message = CreateOpt(
        opt_id=both.opt_id,
        opt_type=both.opt_type,
        opt_reason=both.opt_reason,
        ven_id=both.ven_id,
        schedule=both.schedule,
        created_at=both.created_at,
        request_id=both.request_id,
        event=QualifiedEvent(event_id="no-such-event", modification_number=0),
    )
    await bench.ven.ask(message, code="4xx", rule=206)


@vtn_test(
    pull="X_206_UNKNOWN",
    title="An opt for an event that does not exist",
    rules=(21, 206, 33),
)
async def unknown_event(bench: VtnBench) -> None:
    message = CreateOpt(
        opt_id=drafts.fresh("opt"),
        opt_type=OptType.OPT_OUT,
        opt_reason=OptReason.ECONOMIC,
        ven_id=bench.ven.memory.ven_id,
        created_at=drafts.whole(drafts.utc_now()),
        request_id=drafts.fresh("opt-request"),
        event=QualifiedEvent(event_id="no-such-event", modification_number=0),
    )
    await bench.ven.ask(message, code="452", rule=21)


@vtn_test(
    pull="X_208_VEN",
    title="An opt under a venID that does not exist",
    rules=(208, 512),
)
async def unknown_ven(bench: VtnBench) -> None:
    await bench.ven.ask(bench.ven.swapped(schedule(bench)), code="452", rule=208)
