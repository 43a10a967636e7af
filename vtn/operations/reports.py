# SPDX-License-Identifier: Apache-2.0
"""/vens/…/reports, /points and /measurements: what VENs report, and what of it is stored."""

import dataclasses
import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from vtn import export, orders, records, spoken_times
from vtn.accounts import Act
from vtn.errors import Invalid
from vtn.operations.bodies import CancelReport
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.operations.pages import MOST, Cursor, Limit, linked, next_page, of_pair, pair, placed
from vtn.orders import ReportOrder
from vtn.views import Measurements, Reports

LONGEST: Final = timedelta(days=7)
"""Of one answer: 151 200 values at 4 s; who wants more asks for one stretch after another."""
LONGEST_ROLLED: Final = timedelta(days=92)
"""Of one answer in quarter hours: 8 832 of them."""
_LINES: Final = 2000
"""Of CSV, in one piece of the answer."""
_TOO_LONG = "to: one answer holds {} at most; ask for one stretch after another."


@get("/vens/{ven_id:str}/reports", act=Act.VIEW)
async def list_reports(
    *,
    request: Request[Any, Any, State],
    ven_id: FromPath[str],
    desk: DeskHere,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response[Reports]:
    """What a VEN offers, and what was asked of it, oldest first; `Link` leads to what follows."""
    await desk.ven(ven_id)
    with placed(cursor):
        found = await desk.reports(ven_id, after=cursor, limit=limit + 1)
    shown = dataclasses.replace(found, requests=found.requests[:limit])
    more = len(found.requests) > limit
    last = shown.requests[-1].request.report_request_id if more else ""
    headers = next_page(request, last) if more else None
    return Response(Reports.of(ven_id, shown), headers=headers)


@post("/vens/{ven_id:str}/reports", act=Act.REPORTS)
async def request_report(
    ven_id: FromPath[str], data: JSONBody[ReportOrder], desk: DeskHere, now: NowHere, by: By
) -> Reports:
    """Ask for a report at the next poll; without points all that the specifier offers."""
    if not data.points:
        offers = (await desk.reports(ven_id)).offers
        data = msgspec.structs.replace(
            data,
            points=tuple(
                point.r_id
                for offer in offers
                if offer.report.report_specifier_id == data.specifier
                for point in offer.report.descriptions
            ),
        )
    await desk.request_report(ven_id, orders.report_request(data, now=now()), by=by)
    return Reports.of(ven_id, await desk.reports(ven_id))


@post("/vens/{ven_id:str}/reports/{report_request_id:str}/cancel", status_code=200, act=Act.REPORTS)
async def cancel_report(
    ven_id: FromPath[str],
    report_request_id: FromPath[str],
    data: JSONBody[CancelReport],
    desk: DeskHere,
    by: By,
) -> Reports:
    """Ask a VEN to stop a report, at its next poll."""
    await desk.cancel_report(ven_id, report_request_id, to_follow=data.to_follow, by=by)
    return Reports.of(ven_id, await desk.reports(ven_id))


@get("/points", act=Act.VIEW)
async def list_points(
    *,
    request: Request[Any, Any, State],
    ven: FromQuery[str],
    desk: DeskHere,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response[list[records.Point]]:
    """The series that are stored of a VEN, by rID and facet; `Link` leads to the next page."""
    found = await desk.points(ven, after=pair(cursor), limit=limit + 1)
    return linked(
        request,
        found,
        limit=limit,
        key=lambda one: of_pair(one.r_id, one.facet),
        view=lambda one: one,
    )


@get("/measurements", response_description="JSON, or CSV with format=csv", act=Act.VIEW)
async def show_measurements(
    ven: FromQuery[str],
    rid: FromQuery[str],
    *,
    from_: Annotated[str, QueryParameter(name="from")],
    to: FromQuery[str],
    desk: DeskHere,
    now: NowHere,
    facet: FromQuery[str] = "",
    resolution: FromQuery[Literal["auto", "raw", "15min"]] = "auto",
    format_: Annotated[Literal["json", "csv"], QueryParameter(name="format")] = "json",
) -> Response[Measurements] | Stream:
    """Stored values of one point in [from, to): as measured, or rolled up to quarter hours.

    Raw is seven days at most, quarter hours 92 days. `auto` is raw where that is possible and
    nothing of it has been deleted yet; the answer says which it is.
    """
    starts_at = spoken_times.instant(from_, now=now(), past=True, what="from")
    ends_at = spoken_times.instant(to, now=now(), past=True, what="to")
    if ends_at <= starts_at:
        raise Invalid("to: this is not after from; give a later time.")
    span, period = (ven, rid, starts_at, ends_at), ends_at - starts_at
    gone = await desk.without_samples(*span, facet=facet) if period <= LONGEST else 0
    if resolution == "raw" or (resolution == "auto" and period <= LONGEST and not gone):
        if period > LONGEST:
            raise Invalid(_TOO_LONG.format("seven days"))
        raw = await desk.measurements(*span, facet=facet)
        found = Measurements.of(raw, without_samples=gone)
    else:
        if period > LONGEST_ROLLED:
            raise Invalid(_TOO_LONG.format("92 days of quarter hours"))
        found = Measurements.rolled(await desk.rollups(*span, facet=facet))
    if format_ == "csv":
        return Stream(_csv(found), media_type="text/csv")
    return Response(found)


def _csv(found: Measurements) -> Iterator[str]:
    """Some lines at a time: the whole may be ten times as large as the values."""
    yield export.head(found.resolution)
    lines = iter(export.csv_lines(found))
    while part := "".join(itertools.islice(lines, _LINES)):
        yield part


router = Router(
    "/",
    route_handlers=[list_reports, request_report, cancel_report, list_points, show_measurements],
    tags=["reports"],
)
