# SPDX-License-Identifier: Apache-2.0
"""Checks of what can be reported."""

from conformance.checks.check import ZERO, Says, check, doubles, only_devices
from conformance.knowledge import Look
from conformance.well_known import REPORTS
from oadr.codec import Element
from oadr.report import (
    RegisterReport,
)


@check(308, "each reportSpecifierID once, and each rID once in its report", RegisterReport)
def specifiers_unique(message: RegisterReport, _look: Look, _root: Element) -> Says:
    yield from doubles([one.report_specifier_id for one in message.reports], "reportSpecifierID")
    for report in message.reports:
        yield from doubles([one.r_id for one in report.descriptions], "rID")


@check(
    305,
    "descriptions, but neither intervals nor dtstart nor eiReportID in metadata",
    RegisterReport,
)
def metadata_describes(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if not report.descriptions:
            yield f"{report.report_specifier_id} describes nothing"
        for what, there in (
            ("intervals", report.intervals),
            ("a dtstart", report.starts_at),
            ("an eiReportID", report.report_id),
        ):
            if there is not None:
                yield f"{report.report_specifier_id} has {what}"


@check(311, "reportRequestID 0 in metadata", RegisterReport)
def metadata_request_id(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if report.report_request_id != "0":
            yield f"{report.report_specifier_id} has {report.report_request_id!r}"


@check(
    312, "a duration (the buffer) in metadata, not shorter than a sampling period", RegisterReport
)
def metadata_duration(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        if report.duration is None:
            yield f"{report.report_specifier_id} has none"
            continue
        for one in report.descriptions:
            if one.sampling_rate and one.sampling_rate.max_period > report.duration > ZERO:
                yield f"maxPeriod of {one.r_id} is longer than the {report.duration} of its report"


@check(
    333,
    "oadrSamplingRate for each point of telemetry, minPeriod not above maxPeriod",
    RegisterReport,
)
def telemetry_has_a_rate(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        for one in report.descriptions:
            rate = one.sampling_rate
            if rate is None and "TELEMETRY" in (report.report_name or ""):
                yield f"{one.r_id} has none"
            if rate is not None and rate.min_period > rate.max_period:
                yield f"minPeriod above maxPeriod at {one.r_id}"


@check(307, "only endDeviceAsset in reportSubject", RegisterReport)
def subject_is_a_device_class(_message: RegisterReport, _look: Look, root: Element) -> Says:
    yield from only_devices(root, "oadr:oadrReportDescription", "ei:reportSubject")


@check(
    331,
    "the names, types, units and reading types of the well-known reports, after METADATA_",
    RegisterReport,
)
def well_known_reports(message: RegisterReport, _look: Look, _root: Element) -> Says:
    for report in message.reports:
        name = report.report_name or ""
        if name.startswith("x-"):
            continue
        if not name.startswith("METADATA_"):
            yield f"metadata named {name!r}"
            continue
        known = REPORTS.get(name.removeprefix("METADATA_"))
        for one in report.descriptions if known else ():
            assert known is not None
            unit = one.unit.kind if one.unit is not None else ""
            if one.report_type not in known.report_types:
                yield f"reportType {one.report_type} of {one.r_id} in {name}"
            elif known.units and unit not in known.units:
                yield f"unit {unit or 'none'} of {one.r_id} in {name}"
            elif one.reading_type not in known.reading_types:
                yield f"readingType {one.reading_type} of {one.r_id} in {name}"
