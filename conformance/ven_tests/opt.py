# SPDX-License-Identifier: Apache-2.0
"""EiOpt of a VEN: P1 by pull, P0 by push."""

from datetime import timedelta

from conformance.declaration import Ability, ven_test
from conformance.errors import expect
from conformance.ven_bench import VenBench
from oadr.opt import CancelOpt, CreateOpt
from oadr.vocabulary import OptType

HOUR = timedelta(hours=1)
SCHEDULE = (Ability.OPT_SCHEDULE,)


async def scheduled(bench: VenBench, *, opt: OptType = OptType.OPT_OUT) -> CreateOpt:
    """A person says when the site is not there -> the oadrCreateOpt."""
    starts_at = bench.after(HOUR)
    since = bench.vtn.mark()
    await bench.ven.opt_schedule(starts_at, starts_at + HOUR, opt_in=opt is OptType.OPT_IN)
    message = await bench.vtn.received(CreateOpt, bench.settle_s, rule=200, since=since)
    expect(
        message.opt_type is opt and message.schedule,
        rule=200,
        seen=f"{message.opt_type} with {len(message.schedule)} stretches",
        wanted=f"{opt} with a schedule",
    )
    return message


@ven_test(
    pull="P1_2010",
    push="P0_7010",
    title="A new opt schedule",
    rules=(200, 204),
    needs=SCHEDULE,
)
async def new_schedule(bench: VenBench) -> None:
    await scheduled(bench)
    await bench.ven.cancel_opt_schedule()


@ven_test(
    pull="P1_2015",
    push="P0_7015",
    title="A schedule that opts in",
    rules=(200, 204),
    needs=SCHEDULE,
)
async def opted_in(bench: VenBench) -> None:
    await scheduled(bench, opt=OptType.OPT_IN)
    await bench.ven.cancel_opt_schedule()


@ven_test(
    pull="P1_2020",
    push="P0_7020",
    title="A schedule is cancelled",
    rules=(204, 208),
    needs=SCHEDULE,
)
async def cancelled(bench: VenBench) -> None:
    message = await scheduled(bench)
    since = bench.vtn.mark()
    await bench.ven.cancel_opt_schedule()
    found = await bench.vtn.received(CancelOpt, bench.settle_s, rule=204, since=since)
    expect(
        found.opt_id == message.opt_id,
        rule=204,
        seen=f"optID {found.opt_id}",
        wanted=message.opt_id,
    )
