# SPDX-License-Identifier: Apache-2.0
"""EiReport of a VEN: R1 by pull, R0 by push. The harness is the VTN that asks."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from conformance import drafts
from conformance.declaration import ven_test
from conformance.errors import NotRun, expect
from conformance.ven_bench import VenBench
from oadr.report import (
    CancelReport,
    CreatedReport,
    RegisterReport,
    Report,
    ReportRequest,
    SpecifierPayload,
)

GRACE_S = 1.0
"""What was being sent when the VEN was told to stop may still arrive."""
STATUS, USAGE, HISTORY = "TELEMETRY_STATUS", "TELEMETRY_USAGE", "HISTORY_USAGE"


async def once(bench: VenBench, name: str, **narrowed: tuple[str, ...]) -> Report:
    """Ask once -> the one report; no second one may follow."""
    minutes = 0 if name == HISTORY else None
    request = bench.request(name, minutes=minutes, kinds=narrowed.get("kinds", ()))
    answer = await bench.create(request)
    report = await bench.update_of(request, bench.settle_s, rule=324)
    _named(report, name)
    await bench.quiet()
    found = bench.updates_of(request)
    expect(
        len(found) == 1, rule=324, seen=f"{len(found)} reports", wanted="one: it was asked for once"
    )
    assert answer.response.ok
    bench.forget(request.report_request_id)
    return report


def _named(report: Report, name: str) -> None:
    expect(report.report_name == name, rule=331, seen=f"{report.report_name}", wanted=name)


async def periodic(
    bench: VenBench,
    name: str,
    *,
    minutes: float = 5,
    back: float = 1,
    granularity: float | None = 1,
    delay: float = 0,
) -> ReportRequest:
    """Ask for a periodic report; it must be taken and stand among the pending ones."""
    request = bench.request(name, minutes=minutes, back=back, granularity=granularity, delay=delay)
    answer = await bench.create(request)
    pending(answer, request)
    return request


def pending(answer: CreatedReport, request: ReportRequest) -> None:
    """The request is among the pending reports (rule 329)."""
    expect(
        request.report_request_id in answer.pending_report_request_ids,
        rule=329,
        seen=f"pendingReports {answer.pending_report_request_ids}",
        wanted=request.report_request_id,
    )


def period_s(request: ReportRequest, times: float) -> float:
    """So many reporting periods, and what a slow machine may add, in s."""
    return request.report_back.total_seconds() * times + 15


async def updates(bench: VenBench, request: ReportRequest, count: int) -> None:
    """So many reports come, each after its period."""
    deadline = asyncio.get_running_loop().time() + period_s(request, count)
    while len(bench.updates_of(request)) < count:
        left = deadline - asyncio.get_running_loop().time()
        expect(
            left > 0,
            rule=324,
            seen=f"{len(bench.updates_of(request))} reports",
            wanted=f"{count} in {count} periods of {request.report_back}",
        )
        await asyncio.sleep(min(0.2, max(left, 0.01)))


async def ended(bench: VenBench, request: ReportRequest, *, rule: int) -> None:
    """No report for the request comes any more, but for one that was under way."""
    await asyncio.sleep(GRACE_S)
    since = bench.vtn.mark()
    await asyncio.sleep(request.report_back.total_seconds() * 2 + 2)
    found = bench.updates_of(request, since=since)
    expect(not found, rule=rule, seen=f"{len(found)} more reports", wanted="none any more")


@ven_test(
    pull="R1_3010",
    push="R0_8010",
    title="TELEMETRY_STATUS, once",
    rules=(300, 303, 304, 313, 324, 331, 334, 337, 510),
)
async def status_once(bench: VenBench) -> None:
    await once(bench, STATUS)


@ven_test(
    pull="R1_3020",
    push="R0_8020",
    title="TELEMETRY_STATUS each minute for five",
    rules=(313, 314, 324, 325, 329, 334),
    longest_s=600,
)
async def status_periodic(bench: VenBench) -> None:
    await updates(bench, await periodic(bench, STATUS), 2)


@ven_test(
    pull="R1_3025",
    push="R0_8025",
    title="TELEMETRY_STATUS on change, from two minutes on",
    rules=(317, 325),
    longest_s=600,
)
async def status_on_change(bench: VenBench) -> None:
    request = await periodic(bench, STATUS, granularity=0, delay=2)
    assert request.interval is not None
    await bench.until(request.interval.starts_at)
    early = bench.updates_of(request)
    expect(not early, rule=325, seen="a report before its start", wanted="none before dtstart")
    await bench.update_of(request, period_s(request, 2), rule=317)


@ven_test(
    pull="R1_3027",
    push="R0_8027",
    title="A periodic report of two periods: two updates, then none",
    rules=(324, 325),
    longest_s=600,
)
async def two_updates(bench: VenBench) -> None:
    request = bench.request(STATUS, minutes=0.001, back=1, granularity=1)
    await bench.create(request)
    await updates(bench, request, 2)
    await ended(bench, request, rule=325)
    found = bench.updates_of(request)
    expect(len(found) == 2, rule=325, seen=f"{len(found)} reports", wanted="two")
    bench.forget(request.report_request_id)


@ven_test(
    pull="R1_3030",
    push="R0_8030",
    title="Several periodic reports at once",
    rules=(300, 324, 329),
    longest_s=600,
)
async def several(bench: VenBench) -> None:
    first = await periodic(bench, STATUS)
    request = bench.request(USAGE, minutes=5, back=1, granularity=1)
    answer = await bench.create(request)
    pending(answer, first)
    pending(answer, request)
    await updates(bench, first, 1)
    await updates(bench, request, 1)


@ven_test(
    pull="R1_3040",
    push="R0_8040",
    title="The VTN cancels a periodic report",
    rules=(303, 329, 335),
    longest_s=300,
)
async def cancelled(bench: VenBench) -> None:
    request = await periodic(bench, USAGE)
    await updates(bench, request, 1)
    answer = await bench.cancel(request.report_request_id)
    expect(
        answer.response.ok and request.report_request_id not in answer.pending_report_request_ids,
        rule=329,
        seen=f"{answer.response.response_code}, pending {answer.pending_report_request_ids}",
        wanted="200, and it pends no more",
    )
    await ended(bench, request, rule=335)


@ven_test(
    pull="R1_3045",
    push="R0_8045",
    title="The VTN cancels an endless report and wants one more",
    rules=(325, 345),
    longest_s=300,
)
async def one_more(bench: VenBench) -> None:
    request = await periodic(bench, USAGE, minutes=0)
    await updates(bench, request, 1)
    since = bench.vtn.mark()
    await bench.cancel(request.report_request_id, to_follow=True)
    await bench.update_of(request, period_s(request, 2), since=since, rule=345)
    await ended(bench, request, rule=345)
    bench.forget(request.report_request_id)


async def metadata_asked(bench: VenBench, *, back: float = 0, minutes: float = 0) -> ReportRequest:
    """Ask for metadata (rule 327) -> the request; the metadata has come."""
    request = drafts.report_request(
        "METADATA",
        ["0"],
        back=bench.span(back) if back else drafts.ZERO,
        length=bench.span(minutes) if minutes else None,
    )
    since = bench.vtn.mark()
    await bench.create(request)
    await bench.vtn.received(RegisterReport, bench.settle_s, rule=327, since=since)
    return request


@ven_test(
    pull="R1_3050",
    push="R0_8050",
    title="A report request that rides along in oadrRegisteredReport",
    rules=(303, 329, 344),
    longest_s=300,
)
async def piggybacked(bench: VenBench) -> None:
    request = bench.request(STATUS, minutes=5, back=1, granularity=1)
    bench.vtn.piggyback = (request,)
    bench.asked.append(request.report_request_id)
    since = bench.vtn.mark()
    await metadata_asked(bench)
    await bench.vtn.received(
        CreatedReport,
        bench.settle_s,
        rule=344,
        where=lambda one: request.report_request_id in one.pending_report_request_ids,
        since=since,
    )
    await updates(bench, request, 1)


@ven_test(
    pull="R1_3060",
    push="R0_8060",
    title="A cancellation that rides along in oadrUpdatedReport",
    rules=(328, 335),
    longest_s=300,
)
async def piggybacked_cancel(bench: VenBench) -> None:
    request = await periodic(bench, STATUS)
    bench.vtn.cancel_in_update = CancelReport(
        request_id=drafts.fresh("cancel"),
        report_request_ids=(request.report_request_id,),
        ven_id=bench.vtn.ven_id,
    )
    await updates(bench, request, 1)
    await ended(bench, request, rule=328)
    bench.forget(request.report_request_id)


@ven_test(
    pull="R1_3070",
    push="R0_8070",
    title="The VTN asks for metadata, once",
    rules=(301, 305, 308, 311, 327),
)
async def metadata_once(bench: VenBench) -> None:
    await metadata_asked(bench)


@ven_test(
    pull="R1_3080",
    push="R0_8080",
    title="The VTN asks for metadata, each minute for five",
    rules=(301, 324, 327),
    longest_s=600,
)
async def metadata_periodic(bench: VenBench) -> None:
    since = bench.vtn.mark()
    request = await metadata_asked(bench, back=1, minutes=5)
    await bench.vtn.received(
        RegisterReport,
        period_s(request, 3),
        rule=324,
        where=lambda _one: len(bench.vtn.all_received(RegisterReport, since=since)) >= 2,
        since=since,
        wanted="metadata a second time",
    )


@ven_test(
    pull="R1_3090",
    push="R0_8090",
    title="The VTN asks for metadata, each minute for ten",
    rules=(301, 306, 324, 327),
    longest_s=600,
)
async def metadata_goes_on(bench: VenBench) -> None:
    since = bench.vtn.mark()
    request = await metadata_asked(bench, back=1, minutes=10)
    await bench.vtn.received(
        RegisterReport,
        period_s(request, 4),
        rule=324,
        where=lambda _one: len(bench.vtn.all_received(RegisterReport, since=since)) >= 3,
        since=since,
        wanted="metadata a third time",
    )


@ven_test(
    pull="R1_3100",
    push="R0_8100",
    title="The VTN cancels periodic metadata",
    rules=(303, 306, 335),
    longest_s=300,
)
async def metadata_cancelled(bench: VenBench) -> None:
    request = await metadata_asked(bench, back=1, minutes=5)
    answer = await bench.cancel(request.report_request_id)
    expect(
        answer.response.ok,
        rule=306,
        seen=f"{answer.response.response_code} {answer.response.description or ''}",
        wanted="200: metadata that was sent does not end periodic metadata",
    )
    await asyncio.sleep(GRACE_S)
    since = bench.vtn.mark()
    await asyncio.sleep(request.report_back.total_seconds() * 2 + 1)
    found = bench.vtn.all_received(RegisterReport, since=since)
    expect(not found, rule=335, seen="metadata after it was cancelled", wanted="none any more")


@ven_test(
    pull="R1_3120",
    push="R0_8120",
    title="Report requests that ride along with periodic metadata",
    rules=(303, 306, 329, 344),
    longest_s=600,
)
async def piggybacked_on_periodic(bench: VenBench) -> None:
    asked = await metadata_asked(bench, back=1, minutes=10)
    request = bench.request(USAGE)
    bench.vtn.piggyback = (request,)
    bench.asked.append(request.report_request_id)
    since = bench.vtn.mark()
    await bench.vtn.received(RegisterReport, period_s(asked, 2), rule=324, since=since)
    await bench.update_of(request, bench.settle_s, since=since, rule=344)
    bench.forget(request.report_request_id)


@ven_test(
    pull="R1_3130",
    push="R0_8130",
    title="HISTORY_USAGE, all of it",
    rules=(317, 324, 325),
)
async def whole_history(bench: VenBench) -> None:
    await once(bench, HISTORY)


@ven_test(
    pull="R1_3140",
    push="R0_8140",
    title="HISTORY_USAGE of half an hour, energy only",
    rules=(300, 324, 325),
)
async def half_an_hour(bench: VenBench) -> None:
    length = timedelta(minutes=30)
    request = bench.request(HISTORY, minutes=0, kinds=("power:energyReal",))
    begins_at = drafts.whole(drafts.utc_now()) - length
    assert request.interval is not None
    interval = replace(request.interval, starts_at=begins_at, duration=length)
    asked = replace(request, interval=interval)
    await bench.create(asked)
    report = await bench.update_of(asked, bench.settle_s)
    if report.intervals is not None and report.intervals.starts_at:
        first = report.intervals.starts_at[0]
        expect(
            first is not None and first >= begins_at,
            rule=325,
            seen=f"values from {first}",
            wanted=f"none before {begins_at}",
        )
    bench.forget(asked.report_request_id)


@ven_test(
    pull="R1_3150",
    push="R0_8150",
    title="TELEMETRY_USAGE, once, of all points",
    rules=(300, 317, 324, 330, 331, 337),
)
async def usage_once(bench: VenBench) -> None:
    await once(bench, USAGE)


@ven_test(
    pull="R1_3160",
    push="R0_8160",
    title="TELEMETRY_USAGE each minute, sent every two, power only",
    rules=(300, 314, 315, 317, 324, 325, 341),
    longest_s=900,
)
async def usage_periodic(bench: VenBench) -> None:
    request = bench.request(USAGE, minutes=10, back=2, granularity=1, kinds=("power:powerReal",))
    await bench.create(request)
    report = await bench.update_of(request, period_s(request, 2))
    found = report.intervals
    expect(found is not None and found.count >= 1, rule=325, seen="no interval", wanted="intervals")
    starts = [at for at in found.starts_at if at is not None] if found is not None else []
    steps = {other - one for one, other in pairwise(starts)}
    expect(
        not steps or steps == {request.granularity},
        rule=317,
        seen=f"steps of {', '.join(str(step) for step in sorted(steps))}",
        wanted=f"{request.granularity}",
    )


@ven_test(
    pull="R1_3170",
    push="R0_8170",
    title="New metadata ends the reports that were asked for",
    rules=(306, 336),
    longest_s=300,
)
async def metadata_ends_reports(bench: VenBench) -> None:
    request = await periodic(bench, STATUS)
    await updates(bench, request, 1)
    await metadata_asked(bench)
    await ended(bench, request, rule=306)
    answer = await bench.cancel(request.report_request_id)
    expect(
        not answer.response.ok,
        rule=336,
        seen=f"{answer.response.response_code} to the cancellation of an ended report",
        wanted="4xx",
    )


@ven_test(
    pull="R1_3180",
    push="R0_8180",
    title="Status and usage, once each, in one request",
    rules=(300, 324),
)
async def status_and_usage(bench: VenBench) -> None:
    both = bench.request(STATUS), bench.request(USAGE)
    await bench.create(*both)
    for request in both:
        await bench.update_of(request, bench.settle_s, rule=324)
        bench.forget(request.report_request_id)


# --- what a VEN must refuse ----------------------------------------------------------------------


async def refused(bench: VenBench, request: ReportRequest, codes: str, rule: int) -> None:
    """The request is answered with one of the codes, and nothing is sent for it."""
    answer = await bench.created(request)
    code = answer.response.response_code
    fitting = code[:1] == "4" if codes == "4xx" else code == codes
    expect(fitting, rule=rule, seen=f"responseCode {code}", wanted=codes)
    bench.forget(request.report_request_id)


@ven_test(
    pull="X_304_SPECIFIER", title="A reportSpecifierID that was never offered: 452", rules=(304, 33)
)
async def unknown_specifier(bench: VenBench) -> None:
    request = drafts.report_request("no-such-specifier", ["no-such-point"])
    await refused(bench, request, "452", 304)


@ven_test(pull="X_304_POINT", title="An rID that was never offered: 452", rules=(304, 33))
async def unknown_point(bench: VenBench) -> None:
    request = replace(bench.request(STATUS), payloads=(SpecifierPayload(r_id="no-such-point"),))
    await refused(bench, request, "452", 304)


@ven_test(pull="X_336_UNKNOWN", title="The cancellation of an unknown report", rules=(336, 304))
async def cancel_unknown(bench: VenBench) -> None:
    answer = await bench.cancel("no-such-report")
    expect(
        answer.response.response_code[:1] == "4",
        rule=336,
        seen=f"responseCode {answer.response.response_code}",
        wanted="4xx",
    )


@ven_test(pull="X_340_FINER", title="A finer granularity than is offered: 454", rules=(317, 340))
async def finer_than_offered(bench: VenBench) -> None:
    offer = bench.offer(USAGE)
    rate = offer.descriptions[0].sampling_rate
    if rate is None or rate.min_period <= drafts.SECOND:
        raise NotRun("the VEN offers the finest granularity there is")
    request = bench.request(USAGE, minutes=5, back=1)
    finer = replace(request, granularity=rate.min_period - drafts.SECOND)
    await refused(bench, finer, "454", 340)


@ven_test(
    pull="X_510_OFFERS",
    title="What every VEN must offer",
    rules=(510, 308, 312, 333),
)
async def least_offers(bench: VenBench) -> None:
    names = {
        (report.report_name or "").removeprefix("METADATA_")
        for report in bench.vtn.memory.offered.values()
    }
    for name in (STATUS, USAGE):
        expect(name in names, rule=510, seen=f"offers {sorted(names)}", wanted=name)
