# SPDX-License-Identifier: Apache-2.0
"""G1 by pull, G0 by push: polling, back-off and TLS of a VEN."""

import asyncio
from datetime import timedelta
from itertools import pairwise

from conformance import drafts
from conformance.declaration import Ability, ven_test
from conformance.errors import expect
from conformance.ven_bench import FIRST_CONTACT_S, VenBench
from conformance.ven_tests.event import answer_to, longer
from oadr.poll import Poll
from oadr.report import CreatedReport, CreateReport, UpdateReport

SILENCE_S = 8.0
"""How long a VEN is listened to that should say nothing."""


@ven_test(
    pull="G1_4010",
    push="G0_9010",
    title="TLS 1.2 or later, with a certificate; an event and its modification over it",
    rules=(67, 68),
)
async def over_tls(bench: VenBench) -> None:
    version = bench.vtn.tls_version
    expect(version in ("TLSv1.2", "TLSv1.3"), rule=67, seen=version or "no TLS", wanted="TLSv1.2")
    await longer(bench)


@ven_test(pull="G1_4011", title="Polls go on while nothing waits", rules=(37, 500, 501))
async def polls_go_on(bench: VenBench) -> None:
    await bench.vtn.polled(3)


@ven_test(
    pull="G1_4015",
    title="An event and a report request wait together: both are fetched and answered",
    rules=(50, 500),
)
async def both_wait(bench: VenBench) -> None:
    event = bench.price_event()
    request = bench.request("TELEMETRY_STATUS")
    message = CreateReport(
        request_id=drafts.fresh("request"), requests=(request,), ven_id=bench.vtn.ven_id
    )
    since = bench.vtn.mark()
    await bench.vtn.distribute(event)
    await bench.vtn.deliver(message)
    await answer_to(bench, event, since=since)
    await bench.vtn.received(CreatedReport, bench.settle_s, rule=500, since=since)
    await bench.update_of(request, bench.settle_s, since=since)


@ven_test(
    pull="G1_4020",
    push="G0_9020",
    title="An event and a report without any reconfiguration in between",
    rules=(12, 300),
)
async def as_it_is(bench: VenBench) -> None:
    event = bench.price_event()
    since = bench.vtn.mark()
    await bench.vtn.distribute(event)
    await answer_to(bench, event, since=since)
    request = bench.request("TELEMETRY_STATUS")
    await bench.create(request)
    await bench.update_of(request, bench.settle_s)


@ven_test(
    pull="X_500_DRAIN",
    title="What waits is fetched at once, not at the pace of polls",
    rules=(500,),
)
async def drains(bench: VenBench) -> None:
    event = bench.price_event()
    since = bench.vtn.mark()
    for _ in range(6):
        await bench.vtn.distribute(event)
    began = drafts.utc_now()
    await bench.vtn.took_queue(bench.settle_s)
    taken = drafts.utc_now() - began
    most = timedelta(seconds=bench.setup.poll_s * 3)
    expect(
        taken <= most,
        rule=500,
        seen=f"six messages fetched in {taken.total_seconds():.1f} s",
        wanted=f"within {most.total_seconds():g} s at a poll interval of {bench.setup.poll_s} s",
    )
    await answer_to(bench, event, since=since)


@ven_test(
    pull="X_503_BACK_OFF",
    title="HTTP 503: polls become rarer, and everything goes on after it",
    rules=(53, 500),
    longest_s=180,
)
async def backs_off(bench: VenBench) -> None:
    bench.vtn.unavailable_for(timedelta(seconds=9))
    tries = await bench.vtn.refused_until_over()
    expect(
        1 <= len(tries) <= 7,
        rule=53,
        seen=f"{len(tries)} requests in 9 s of HTTP 503",
        wanted="a back-off that doubles from 1 s: at most 7",
    )
    await bench.vtn.polled(within_s=60)


@ven_test(
    pull="X_503_KEEPS",
    title="HTTP 503 while reports are due: none is lost",
    rules=(318, 346),
    needs=(),
    longest_s=240,
)
async def keeps_reports(bench: VenBench) -> None:
    request = bench.request("TELEMETRY_USAGE", minutes=0, back=0.05)
    await bench.create(request)
    first = await bench.update_of(request, bench.settle_s)
    since = bench.vtn.mark()
    bench.vtn.unavailable_for(timedelta(seconds=6))
    await bench.vtn.refused_until_over()
    await bench.until(drafts.utc_now() + timedelta(seconds=3) + 3 * request.report_back)
    await bench.update_of(request, 60, since=since)
    starts = sorted(
        {
            at
            for report in [first, *bench.updates_of(request, since=since)]
            for at in (report.intervals.starts_at if report.intervals else ())
            if at is not None
        }
    )
    steps = [other - one for one, other in pairwise(starts)]
    widest = max(steps, default=timedelta(0))
    step = max(request.granularity, drafts.SECOND)
    expect(
        widest <= step,
        rule=318,
        seen=f"a gap of {widest} between intervals",
        wanted=f"an interval (or a placeholder) each {step}",
    )


@ven_test(
    pull="X_53_GARBAGE",
    title="An answer that is no payload does not stop the VEN",
    rules=(53, 33),
)
async def survives_garbage(bench: VenBench) -> None:
    bench.vtn.garbage(b"<html>502 Bad Gateway</html>", times=2)
    await bench.vtn.polled(3, within_s=60)
    event = bench.price_event()
    since = bench.vtn.mark()
    await bench.vtn.distribute(event)
    await answer_to(bench, event, since=since)


@ven_test(
    pull="X_516_EXPIRED",
    title="A VTN whose certificate is over is not spoken to",
    rules=(516, 68),
    needs=(Ability.EXPIRED, Ability.RESTART),
)
async def expired_vtn(bench: VenBench) -> None:
    assert bench.setup.expired is not None
    bench.show(bench.setup.expired)
    try:
        await bench.ven.restart(forget=False)
        since = bench.vtn.mark()
        await asyncio.sleep(SILENCE_S)
        found = bench.vtn.mark() - since
    finally:
        bench.show(bench.setup.keys)
    expect(not found, rule=516, seen=f"{found} messages", wanted="none")
    await bench.vtn.anything_within(FIRST_CONTACT_S, rule=401)


@ven_test(
    push="X_51_PUSH",
    title="A push VEN does not poll",
    rules=(51,),
)
async def does_not_poll(bench: VenBench) -> None:
    since = bench.vtn.mark()
    await bench.quiet()
    expect(
        not bench.vtn.all_received(Poll, since=since),
        rule=51,
        seen="an oadrPoll",
        wanted="no oadrPoll with push",
    )


@ven_test(
    pull="X_RESTART",
    title="A VEN that is restarted goes on with the reports it owes",
    rules=(325, 401),
    needs=(Ability.RESTART,),
    longest_s=240,
)
async def restarted(bench: VenBench) -> None:
    request = bench.request("TELEMETRY_STATUS", minutes=0, back=0.05)
    await bench.create(request)
    await bench.update_of(request, bench.settle_s)
    await bench.ven.restart(forget=False)
    since = bench.vtn.mark()
    await bench.update_of(request, 60, since=since)
    assert bench.vtn.all_received(UpdateReport, since=since)
