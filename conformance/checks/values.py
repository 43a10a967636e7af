# SPDX-License-Identifier: Apache-2.0
"""Checks of what is reported."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

from conformance.checks.check import DRIFT, ZERO, Says, check, uids_count
from conformance.knowledge import Look
from oadr.codec import Element
from oadr.opt import CreateOpt
from oadr.report import (
    RegisterReport,
    Report,
    UpdatedReport,
    UpdateReport,
)


@check(313, "dtstart, intervals and reportName in a data report, and no description", UpdateReport)
def values_are_framed(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        for what, there in (
            ("dtstart", report.starts_at is not None),
            ("intervals", report.intervals is not None),
            ("reportName", bool(report.report_name)),
        ):
            if not there:
                yield f"{report.report_request_id} has no {what}"
        if report.descriptions:
            yield f"{report.report_request_id} has descriptions"


@check(331, "a reportName without METADATA_ in a data report", UpdateReport)
def data_is_not_metadata(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if (report.report_name or "").startswith("METADATA_"):
            yield f"{report.report_name} in {report.report_request_id}"


@check(304, "the reportRequestID, reportSpecifierID and rIDs of a request in force", UpdateReport)
def values_were_asked_for(message: UpdateReport, look: Look, _root: Element) -> Says:
    for report in message.reports:
        request = look.requested.get(report.report_request_id)
        if request is None:
            yield f"reportRequestID {report.report_request_id!r}"
            continue
        if report.report_specifier_id != request.report_specifier_id:
            yield f"reportSpecifierID {report.report_specifier_id!r}"
        known = {payload.r_id for payload in request.payloads}
        for r_id in _r_ids(report) - known:
            yield f"rID {r_id!r}"


@check(300, "every point that was asked for", UpdateReport)
def all_points_reported(message: UpdateReport, look: Look, _root: Element) -> Says:
    for report in message.reports:
        request = look.requested.get(report.report_request_id)
        if request is not None and report.intervals is not None:
            for r_id in {payload.r_id for payload in request.payloads} - _r_ids(report):
                yield f"{r_id} is not in {report.report_request_id}"


@check(
    314,
    "dtstart in all intervals or none, ascending, the first one that of the report",
    UpdateReport,
)
def intervals_ascend(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        starts = report.intervals.starts_at if report.intervals is not None else ()
        if not starts:
            continue
        present = [at for at in starts if at is not None]
        if len(present) != len(starts):
            yield f"{len(present)} of {len(starts)} intervals have a dtstart"
        elif any(one >= other for one, other in pairwise(present)):
            yield "dtstarts that do not ascend"
        elif report.starts_at is not None and report.starts_at != present[0]:
            yield f"dtstart {report.starts_at:%H:%M:%S}, first interval {present[0]:%H:%M:%S}"


@check(316, "uid 0, 1, 2 ... where intervals have no dtstart", UpdateReport)
def uids_without_starts(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        found = report.intervals
        if found is not None and not found.starts_at:
            yield from uids_count(
                list(found.uids) or [None] * found.count, report.report_request_id
            )


@check(
    315,
    "durations in all intervals or none, and a report that is as long as they reach",
    UpdateReport,
)
def durations_all_or_none(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        found = report.intervals
        if found is None or not found.durations:
            continue
        lengths = [length for length in found.durations if length is not None]
        if len(lengths) != found.count:
            yield f"{len(lengths)} of {found.count} intervals have a duration"
        elif report.duration is not None and report.duration < _reach(report, lengths):
            yield f"the report is {report.duration} long, its intervals {_reach(report, lengths)}"


@check(342, "no duration of a report with a single point in time", UpdateReport)
def no_duration_for_points(message: UpdateReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        found = report.intervals
        if (
            found is not None
            and found.durations
            and found.starts_at == ()
            and report.starts_at is None
        ):
            yield f"{report.report_request_id} has durations but no start"


@check(334, "the same parts of oadrLoadControlState in all intervals", UpdateReport)
def same_control_states(message: UpdateReport, _look: Look, _root: Element) -> Says:
    parts = ("capacity", "level_offset", "percent_offset", "set_point")
    for report in message.reports:
        for column in report.intervals.columns if report.intervals is not None else ():
            kinds = {
                tuple(part for part in parts if getattr(value, part) is not None)
                for value in column.values
                if value is not None and not isinstance(value, float)
            }
            if len(kinds) > 1:
                yield f"{len(kinds)} different sets at {column.r_id}"


@check(512, "createdDateTime within five minutes of now", RegisterReport, UpdateReport, CreateOpt)
def created_about_now(message: Any, look: Look, _root: Element) -> Says:
    for at in (
        [message.created_at]
        if isinstance(message, CreateOpt)
        else [report.created_at for report in message.reports]
    ):
        if abs(at - look.now) > DRIFT:
            yield f"createdDateTime {at.isoformat()}"


@check(328, "reportRequestIDs in force in a piggybacked cancel", UpdatedReport)
def piggyback_cancels_what_runs(message: UpdatedReport, look: Look, _root: Element) -> Says:
    if message.cancel is not None:
        for one in message.cancel.report_request_ids:
            if look.requested and one not in look.requested:
                yield f"reportRequestID {one!r}"


def _r_ids(report: Report) -> set[str]:
    return {column.r_id for column in report.intervals.columns} if report.intervals else set()


def _reach(report: Report, lengths: list[timedelta]) -> timedelta:
    starts = [at for at in report.intervals.starts_at if at] if report.intervals else []
    if starts and len(starts) == len(lengths):
        return starts[-1] + lengths[-1] - starts[0]
    return sum(lengths, ZERO)
