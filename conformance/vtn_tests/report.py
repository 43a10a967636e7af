# SPDX-License-Identifier: Apache-2.0
"""EiReport of a VTN: R1 by pull, R0 by push. The harness is the VEN that reports."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from conformance import drafts
from conformance.declaration import Ability, Transport, vtn_test
from conformance.drafts import HISTORY, POINTS, STATUS, USAGE
from conformance.errors import Failed, expect
from conformance.vtn_bench import VtnBench
from conformance.vtn_tests.registration import SOON_S
from oadr import EiResponse
from oadr.columns import Column
from oadr.report import (
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisterReport,
    Report,
    ReportRequest,
    UpdatedReport,
)

REPORTS = (Ability.REPORTS,)


async def one_shot(bench: VtnBench, specifier: str, *r_ids: str) -> ReportRequest:
    """The VTN asks once, gets its values, and nothing is left."""
    granularity = drafts.ZERO if specifier == HISTORY else bench.span(1)
    length = drafts.ZERO if specifier == HISTORY else None
    request = await bench.request(
        drafts.report_request(
            specifier, r_ids or POINTS[specifier], granularity=granularity, length=length
        )
    )
    expect(
        not request.report_back,
        rule=324,
        seen=f"reportBackDuration {request.report_back}",
        wanted="0: once, now",
    )
    await bench.ven.report(request, rows=3 if specifier == HISTORY else 1)
    bench.ven.memory.requested.pop(request.report_request_id, None)
    return request


async def periodic(
    bench: VtnBench,
    specifier: str,
    *r_ids: str,
    minutes: float,
    back: float = 1,
    granularity: float = 1,
    delay: float = 0,
) -> ReportRequest:
    """The VTN asks for a periodic report -> the request as it came."""
    return await bench.request(
        drafts.report_request(
            specifier,
            r_ids or POINTS[specifier],
            granularity=bench.span(granularity) if granularity else drafts.ZERO,
            back=bench.span(back),
            starts_at=bench.after(bench.span(delay)) if delay else None,
            length=bench.span(minutes) if minutes else drafts.ZERO,
        )
    )


async def serve(bench: VtnBench, request: ReportRequest, updates: int) -> UpdatedReport | None:
    """Send so many updates, one each reportBackDuration."""
    answer = None
    for _ in range(updates):
        await asyncio.sleep(request.report_back.total_seconds())
        step = request.granularity or request.report_back
        rows = max(1, request.report_back // step)
        answer = await bench.ven.report(request, rows=rows, step=step)
    return answer


@vtn_test(
    pull="R1_3010",
    push="R0_8010",
    title="TELEMETRY_STATUS, once",
    rules=(300, 303, 304, 321, 322, 324, 338),
    needs=REPORTS,
)
async def status_once(bench: VtnBench) -> None:
    await one_shot(bench, STATUS)


@vtn_test(
    pull="R1_3020",
    push="R0_8020",
    title="TELEMETRY_STATUS each minute for five",
    rules=(303, 317, 324, 325),
    needs=REPORTS,
    longest_s=600,
)
async def status_periodic(bench: VtnBench) -> None:
    request = await periodic(bench, STATUS, minutes=5)
    interval = request.interval
    expect(
        interval is not None and interval.duration == bench.span(5),
        rule=325,
        seen=f"reportInterval {interval}",
        wanted=f"a duration of {bench.span(5)}",
    )
    await serve(bench, request, 2)


@vtn_test(
    pull="R1_3025",
    push="R0_8025",
    title="TELEMETRY_STATUS on change, from two minutes on",
    rules=(317, 324, 325),
    needs=REPORTS,
    longest_s=600,
)
async def status_on_change(bench: VtnBench) -> None:
    request = await periodic(bench, STATUS, minutes=5, granularity=0, delay=2)
    expect(
        not request.granularity,
        rule=317,
        seen=f"granularity {request.granularity}",
        wanted="0: on change",
    )
    assert request.interval is not None
    await bench.until(request.interval.starts_at)
    await serve(bench, request, 1)


@vtn_test(
    pull="R1_3027",
    push="R0_8027",
    title="A periodic report of two minutes: two updates, then none",
    rules=(324, 325),
    needs=REPORTS,
    longest_s=300,
)
async def two_updates(bench: VtnBench) -> None:
    request = await periodic(bench, STATUS, minutes=2)
    await serve(bench, request, 2)


@vtn_test(
    pull="R1_3030",
    push="R0_8030",
    title="Several periodic reports at once",
    rules=(322, 329),
    needs=REPORTS,
    longest_s=600,
)
async def several(bench: VtnBench) -> None:
    first = await periodic(bench, STATUS, minutes=5)
    second = await periodic(bench, USAGE, minutes=5)
    expect(
        first.report_request_id != second.report_request_id,
        rule=322,
        seen=first.report_request_id,
        wanted="another reportRequestID",
    )
    await serve(bench, first, 1)
    await bench.ven.report(second)


@vtn_test(
    pull="R1_3040",
    push="R0_8040",
    title="The VTN cancels a periodic report",
    rules=(328, 329, 335),
    needs=REPORTS,
    longest_s=300,
)
async def cancelled(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, minutes=5)
    await bench.ven.report(request)
    message = await bench.cancel_report(request.report_request_id)
    assert message is not None
    expect(
        not message.report_to_follow,
        rule=345,
        seen="reportToFollow true",
        wanted="no report to follow",
    )


@vtn_test(
    pull="R1_3045",
    push="R0_8045",
    title="The VTN cancels an endless report and wants one more",
    rules=(325, 345),
    needs=REPORTS,
    longest_s=300,
)
async def one_more(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, minutes=0)
    message = await bench.cancel_report(request.report_request_id, to_follow=True)
    assert message is not None
    expect(
        message.report_to_follow,
        rule=345,
        seen="reportToFollow false",
        wanted="reportToFollow true",
    )
    await bench.ven.report(request, rule=345)


@vtn_test(
    pull="R1_3050",
    push="R0_8050",
    title="Report requests in oadrRegisteredReport are well-formed",
    rules=(300, 317, 324, 338, 344),
)
async def piggybacked(bench: VtnBench) -> None:
    answer = await bench.ven.offer_reports()
    for request in answer.requests:
        await bench.ven.report(request, rows=1)


@vtn_test(
    pull="R1_3060",
    push="R0_8060",
    title="A cancelled report ends, piggybacked or not",
    rules=(328, 335),
    needs=REPORTS,
    longest_s=300,
)
async def piggybacked_cancel(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, minutes=5)
    await bench.vtn.cancel_report(
        bench.ven.memory.ven_id, request.report_request_id, to_follow=False
    )
    if bench.transport is Transport.PULL:
        answer = await bench.ven.report(request)
        if answer.cancel is not None:
            return
    message = await bench.ven.wait_for(CancelReport, SOON_S, rule=335)  # by push it comes at once
    await bench.ven.answer(message)


@vtn_test(
    pull="R1_3070",
    push="R0_8070",
    title="The VEN asks the VTN for metadata",
    rules=(301, 303, 327, 308),
)
async def metadata_of_the_vtn(bench: VtnBench) -> None:
    request = drafts.report_request("METADATA", ["0"])
    await bench.ven.ask(
        CreateReport(
            request_id=drafts.fresh("metadata-request"),
            requests=(request,),
            ven_id=bench.ven.memory.ven_id,
        ),
        rule=327,
    )
    message = await bench.ven.wait_for(RegisterReport, SOON_S, rule=301)
    await bench.ven.answer(message)


async def metadata_asked(bench: VtnBench, *, back: float, minutes: float) -> ReportRequest:
    """The VTN asks the VEN for metadata -> the request; it is answered with metadata."""
    request = await bench.request(
        drafts.report_request(
            "METADATA",
            ["0"],
            back=bench.span(back) if back else drafts.ZERO,
            length=bench.span(minutes) if minutes else None,
        )
    )
    expect(
        request.report_specifier_id == "METADATA",
        rule=327,
        seen=f"reportSpecifierID {request.report_specifier_id}",
        wanted="METADATA",
    )
    await bench.ven.offer_reports(answering=request.report_request_id)
    return request


@vtn_test(
    pull="R1_3080",
    push="R0_8080",
    title="The VTN asks for metadata, each minute for five",
    rules=(301, 308, 324, 327),
    needs=(Ability.METADATA,),
    longest_s=600,
)
async def metadata_periodic(bench: VtnBench) -> None:
    request = await metadata_asked(bench, back=1, minutes=5)
    await asyncio.sleep(request.report_back.total_seconds())
    await bench.ven.offer_reports(answering=request.report_request_id)


@vtn_test(
    pull="R1_3090",
    push="R0_8090",
    title="The VTN asks for metadata once",
    rules=(301, 308, 327),
    needs=(Ability.METADATA,),
)
async def metadata_once(bench: VtnBench) -> None:
    await metadata_asked(bench, back=0, minutes=0)


@vtn_test(
    pull="R1_3100",
    push="R0_8100",
    title="The VTN cancels periodic metadata",
    rules=(306, 328),
    needs=(Ability.METADATA,),
    longest_s=300,
)
async def metadata_cancelled(bench: VtnBench) -> None:
    request = await metadata_asked(bench, back=1, minutes=5)
    await bench.cancel_report(request.report_request_id)


@vtn_test(
    pull="R1_3120",
    push="R0_8120",
    title="Metadata that is sent again is answered again",
    rules=(306, 344),
)
async def metadata_again(bench: VtnBench) -> None:
    await bench.ven.offer_reports()
    answer = await bench.ven.offer_reports()
    for request in answer.requests:
        await bench.ven.report(request)


@vtn_test(
    pull="R1_3130",
    push="R0_8130",
    title="HISTORY_USAGE, all of it, power and energy",
    rules=(300, 317, 324, 325),
    needs=REPORTS,
)
async def whole_history(bench: VtnBench) -> None:
    request = await one_shot(bench, HISTORY)
    expect(
        request.interval is not None and not request.interval.duration,
        rule=325,
        seen=f"reportInterval {request.interval}",
        wanted="a duration of 0: all there is",
    )


@vtn_test(
    pull="R1_3140",
    push="R0_8140",
    title="HISTORY_USAGE of half an hour, energy only",
    rules=(300, 324, 325),
    needs=REPORTS,
)
async def half_an_hour(bench: VtnBench) -> None:
    length = timedelta(minutes=30)
    request = await bench.request(
        drafts.report_request(
            HISTORY,
            ["history-energy"],
            starts_at=drafts.whole(drafts.utc_now()) - length,
            length=length,
        )
    )
    points = [payload.r_id for payload in request.payloads]
    expect(points == ["history-energy"], rule=300, seen=f"rIDs {points}", wanted="history-energy")
    await bench.ven.report(request, rows=3, step=timedelta(minutes=1))


@vtn_test(
    pull="R1_3150",
    push="R0_8150",
    title="TELEMETRY_USAGE, once, of two points",
    rules=(300, 317, 324, 330),
    needs=REPORTS,
)
async def usage_once(bench: VtnBench) -> None:
    request = await one_shot(bench, USAGE)
    expect(
        len(request.payloads) == 2,
        rule=300,
        seen=f"{len(request.payloads)} points",
        wanted="both points",
    )


@vtn_test(
    pull="R1_3160",
    push="R0_8160",
    title="TELEMETRY_USAGE each minute, sent every two, for ten",
    rules=(300, 317, 324, 325),
    needs=REPORTS,
    longest_s=900,
)
async def usage_periodic(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, "usage-power", minutes=10, back=2)
    await serve(bench, request, 2)


@vtn_test(
    pull="R1_3170",
    push="R0_8170",
    title="New metadata ends the reports that were asked for",
    rules=(306, 304, 336),
    needs=REPORTS,
    longest_s=300,
)
async def metadata_ends_reports(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, minutes=5)
    await bench.ven.report(request)
    await bench.ven.offer_reports()
    bench.ven.memory.requested.pop(request.report_request_id, None)
    await bench.ven.report(request, code="4xx", rule=306)


@vtn_test(
    pull="R1_3180",
    push="R0_8180",
    title="Status and usage, once each",
    rules=(300, 322, 324),
    needs=REPORTS,
)
async def status_and_usage(bench: VtnBench) -> None:
    await one_shot(bench, STATUS)
    await one_shot(bench, USAGE, "usage-power")


# --- what a VTN must refuse ----------------------------------------------------------------------


@vtn_test(
    pull="X_304_REQUEST",
    title="Values for a reportRequestID that was never asked for",
    rules=(304, 33),
)
async def unknown_request(bench: VtnBench) -> None:
    request = drafts.report_request(USAGE, POINTS[USAGE])
    await bench.ven.report(request, code="452", rule=304)


@vtn_test(
    pull="X_304_POINT",
    title="Values for an rID that was never asked for",
    rules=(304, 300),
    needs=REPORTS,
)
async def unknown_point(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, "usage-power", minutes=5)
    report = _with_point(drafts.values(request, "TELEMETRY_USAGE", rows=1, step=bench.span(1)))
    await bench.ven.ask(bench.ven.update(report), code="452", rule=304)


def _with_point(report: Report) -> Report:
    assert report.intervals is not None
    stray = Column(r_id="zz-no-such-point", values=(1.0,) * report.intervals.count)
    columns = (*report.intervals.columns, stray)
    return replace(report, intervals=replace(report.intervals, columns=columns))


@vtn_test(
    pull="X_304_SPECIFIER",
    title="Values under another reportSpecifierID",
    rules=(304,),
    needs=REPORTS,
)
async def wrong_specifier(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, minutes=5)
    report = drafts.values(request, "TELEMETRY_USAGE", rows=1, step=bench.span(1))
    wrong = replace(report, report_specifier_id="no-such-specifier")
    await bench.ven.ask(bench.ven.update(wrong), code="452", rule=304)


@vtn_test(
    pull="X_318_BAD",
    title="Placeholders of bad quality are taken like values",
    rules=(318, 314),
    needs=REPORTS,
)
async def bad_quality(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, "usage-power", minutes=5)
    report = drafts.values(request, "TELEMETRY_USAGE", rows=3, step=bench.span(1))
    assert report.intervals is not None
    column = replace(
        report.intervals.columns[0],
        values=(1000.0, 0.0, 1002.0),
        quality=(
            "Quality Good - Non Specific",
            "Quality Bad - Comm Failure",
            "Quality Good - Non Specific",
        ),
    )
    gap = replace(report, intervals=replace(report.intervals, columns=(column,)))
    await bench.ven.ask(bench.ven.update(gap), rule=318)


@vtn_test(
    pull="X_346_AGAIN",
    title="Values that are sent a second time are no error",
    rules=(346, 339),
    needs=REPORTS,
)
async def sent_twice(bench: VtnBench) -> None:
    request = await periodic(bench, USAGE, "usage-power", minutes=5)
    report = drafts.values(request, "TELEMETRY_USAGE", rows=2, step=bench.span(1))
    await bench.ven.ask(bench.ven.update(report), rule=346)
    await bench.ven.ask(bench.ven.update(replace(report, report_id="again")), rule=339)


@vtn_test(
    pull="X_336_UNKNOWN",
    title="The VEN cancels a report of the VTN that does not exist",
    rules=(336, 304, 33),
)
async def cancel_unknown(bench: VtnBench) -> None:
    await bench.ven.ask(
        CancelReport(
            request_id=drafts.fresh("cancel"),
            report_request_ids=("no-such-report",),
            ven_id=bench.ven.memory.ven_id,
        ),
        code="4xx",
        rule=336,
    )


@vtn_test(
    pull="X_340_MORE",
    title="The VEN asks the VTN for a report that it does not offer",
    rules=(340, 304, 33),
)
async def more_than_offered(bench: VtnBench) -> None:
    answer = await bench.ven.say(
        CreateReport(
            request_id=drafts.fresh("request"),
            requests=(drafts.report_request("no-such-specifier", ["no-such-point"]),),
            ven_id=bench.ven.memory.ven_id,
        )
    )
    if not isinstance(answer, CreatedReport) or answer.response.ok:
        raise Failed(340, seen=f"{answer}", wanted="oadrCreatedReport with 4xx")


@vtn_test(
    pull="X_343_ALL",
    title="Metadata without source, subject and context is taken",
    rules=(302, 343, 301),
)
async def bare_metadata(bench: VtnBench) -> None:
    bare = tuple(
        replace(
            report,
            descriptions=tuple(
                replace(one, data_source=None, subject=None, market_context=None)
                for one in report.descriptions
            ),
        )
        for report in drafts.metadata(())
    )
    await bench.ven.offer_reports(bare)


@vtn_test(
    pull="X_301_NOTHING",
    title="oadrRegisterReport with nothing to report is taken",
    rules=(301,),
)
async def nothing_to_report(bench: VtnBench) -> None:
    await bench.ven.offer_reports([])


@vtn_test(
    pull="X_340_REFUSED",
    title="A VEN that refuses a request is not asked for ever",
    rules=(340, 33),
    needs=REPORTS,
)
async def refused_request(bench: VtnBench) -> None:
    ven = bench.ven
    draft = drafts.report_request(USAGE, ["usage-power"], granularity=bench.span(1))
    request_id = await bench.vtn.request_report(ven.memory.ven_id, draft)
    message = await ven.wait_for(
        CreateReport,
        SOON_S,
        rule=324,
        where=lambda one: request_id in [r.report_request_id for r in one.requests],
    )
    ven.memory.requested.pop(request_id, None)
    refusal = CreatedReport(
        response=EiResponse(
            response_code="454", description="not offered", request_id=message.request_id
        ),
        pending_report_request_ids=tuple(ven.memory.requested),
        ven_id=ven.memory.ven_id,
    )
    await ven.ask(refusal, rule=340)
    came = await ven.drain()
    expect(
        not any(isinstance(one, CreateReport) for one in came),
        rule=340,
        seen="the refused oadrCreateReport once more",
        wanted="a refusal taken as an answer",
    )
