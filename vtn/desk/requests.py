# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a VEN, and where a request stands by the clock."""

import dataclasses
from datetime import datetime, timedelta

from oadr.report import Report, ReportDescription, ReportRequest
from vtn import tally
from vtn.errors import InvalidReportRequest
from vtn.readings import data_name
from vtn.records import RequestRecord, RequestState
from vtn.services.report import HISTORY, METADATA


def check_request(request: ReportRequest, offer: Report | None, ven_id: str) -> None:
    """Rules 300, 317, 324, 340. Raises InvalidReportRequest."""
    if request.report_specifier_id == METADATA:
        _check_periodic(request)
        return
    if offer is None:
        raise InvalidReportRequest(
            f"The VEN '{ven_id}' offers no report '{request.report_specifier_id}'; "
            "see `vtn report list`."
        )
    if not request.payloads:
        raise InvalidReportRequest("A report request names at least one rID.")
    if data_name(offer.report_name) == HISTORY:
        _check_history(request)
    points = {one.r_id: one for one in offer.descriptions}
    for payload in request.payloads:
        if payload.r_id not in points:
            raise InvalidReportRequest(
                f"The report '{request.report_specifier_id}' has no rID '{payload.r_id}'; "
                f"it has {', '.join(points)}."
            )
        _check_rate(request.granularity, points[payload.r_id])
    if request.report_back and request.granularity > request.report_back:
        raise InvalidReportRequest(
            "The granularity may not be longer than the report-back duration (rule 317)."
        )
    _check_periodic(request)


def _check_rate(granularity: timedelta, point: ReportDescription) -> None:
    rate = point.sampling_rate
    if rate is None or not granularity:
        return
    if granularity < rate.min_period:
        raise InvalidReportRequest(
            f"'{point.r_id}' can be read every {rate.min_period} at best, "
            f"not every {granularity} (rule 317)."
        )
    if granularity > rate.max_period:
        raise InvalidReportRequest(
            f"'{point.r_id}' is read every {rate.max_period} at least, "
            f"not every {granularity} (rule 317)."
        )


def _check_history(request: ReportRequest) -> None:
    if request.granularity:
        raise InvalidReportRequest(
            "History is asked for with the granularity 0: as it was kept (rule 317)."
        )
    if request.interval is None:
        raise InvalidReportRequest("History needs a report interval (rule 324).")


def _check_periodic(request: ReportRequest) -> None:
    if request.report_back and request.interval is None:
        raise InvalidReportRequest("A periodic report needs a report interval (rule 324).")


def accounted(record: RequestRecord, now: datetime) -> RequestRecord:
    """With how many intervals should have come by now, or by the end of what was asked."""
    record = _by_the_clock(record, now)
    if record.report_name == METADATA:
        return record
    interval = record.request.interval
    goes_on = record.state in (RequestState.ASKED, RequestState.ACTIVE, RequestState.CANCELLING)
    by_itself = record.state is RequestState.COMPLETED and interval and interval.duration
    ended = not goes_on and not by_itself
    until = min(now, record.last_update_at or record.asked_at) if ended else now
    return dataclasses.replace(
        record,
        expected=tally.expected(record.request, record.tally, until),
        missing=tally.missing(record.request, record.tally, until),
    )


def _by_the_clock(record: RequestRecord, now: datetime) -> RequestRecord:
    """A periodic request whose interval is over has been completed."""
    interval = record.request.interval
    if record.state is not RequestState.ACTIVE or interval is None or not interval.duration:
        return record
    if interval.starts_at + interval.duration + record.request.report_back > now:
        return record
    return dataclasses.replace(record, state=RequestState.COMPLETED)
