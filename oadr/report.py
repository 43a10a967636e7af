# SPDX-License-Identifier: Apache-2.0
"""EiReport: what can be reported, what is asked for, and what was measured."""

from datetime import datetime, timedelta

from doorway.values import value
from oadr.codec import URI, Word, at, many, maybe, some
from oadr.columns import INTERVALS, Intervals
from oadr.messages import message
from oadr.response import EiResponse
from oadr.target import Target
from oadr.units import UNIT, Unit
from oadr.vocabulary import ReadingType, ReportName, ReportType


@value
class SamplingRate:
    """How often a point can be read (rule 333)."""

    min_period: timedelta = at("oadr:oadrMinPeriod")
    max_period: timedelta = at("oadr:oadrMaxPeriod")
    on_change: bool = at("oadr:oadrOnChange", default=False)


@value
class ReportDescription:
    """One data point that a report can carry (rule 305)."""

    r_id: str = at("ei:rID")
    subject: Target | None = maybe("ei:reportSubject")
    """endDeviceAsset only (rule 307)."""
    data_source: Target | None = maybe("ei:reportDataSource")
    report_type: str = at("ei:reportType", Word(ReportType))
    unit: Unit | None = maybe("emix:itemBase", UNIT)
    reading_type: str = at("ei:readingType", Word(ReadingType))
    market_context: str | None = maybe("emix:marketContext", URI)
    sampling_rate: SamplingRate | None = maybe("oadr:oadrSamplingRate")


@value
class Report:
    """One oadrReport: metadata (descriptions, no intervals) or measured values (rules 305, 313)."""

    starts_at: datetime | None = maybe("xcal:dtstart/xcal:date-time")
    duration: timedelta | None = maybe("xcal:duration/xcal:duration")
    intervals: Intervals | None = maybe("strm:intervals", INTERVALS)
    report_id: str | None = maybe("ei:eiReportID")
    """Ignored on receipt (rule 339)."""
    descriptions: tuple[ReportDescription, ...] = many("oadr:oadrReportDescription")
    report_request_id: str = at("ei:reportRequestID")
    """"0" in metadata (rule 311)."""
    report_specifier_id: str = at("ei:reportSpecifierID")
    report_name: str | None = maybe("ei:reportName", Word(ReportName))
    created_at: datetime = at("ei:createdDateTime")


@value
class SpecifierPayload:
    """One data point that is asked for; reading type x-notApplicable (rule 338)."""

    r_id: str = at("ei:rID")
    unit: Unit | None = maybe("emix:itemBase", UNIT)
    reading_type: str = at("ei:readingType", Word(ReadingType), default=ReadingType.NOT_APPLICABLE)


@value
class ReportInterval:
    """From when and for how long reports are wanted; zero duration is for ever (rule 325)."""

    starts_at: datetime = at("xcal:properties/xcal:dtstart/xcal:date-time")
    duration: timedelta = at("xcal:properties/xcal:duration/xcal:duration")


@value
class ReportRequest:
    """Please report: which points, how fine, how often (rules 317, 324, 325)."""

    report_request_id: str = at("ei:reportRequestID")
    report_specifier_id: str = at("ei:reportSpecifier/ei:reportSpecifierID")
    """ "METADATA" asks for metadata (rule 327)."""
    granularity: timedelta = at("ei:reportSpecifier/xcal:granularity/xcal:duration")
    """Zero: on change."""
    report_back: timedelta = at("ei:reportSpecifier/ei:reportBackDuration/xcal:duration")
    """Zero: once, now."""
    interval: ReportInterval | None = maybe("ei:reportSpecifier/ei:reportInterval")
    payloads: tuple[SpecifierPayload, ...] = some("ei:reportSpecifier/ei:specifierPayload")


@message("oadr:oadrRegisterReport")
@value
class RegisterReport:
    """What can be reported; replaces all metadata sent before (rule 306)."""

    request_id: str = at("pyld:requestID")
    reports: tuple[Report, ...] = many("oadr:oadrReport")
    ven_id: str | None = maybe("ei:venID")
    report_request_id: str | None = maybe("ei:reportRequestID")


@message("oadr:oadrRegisteredReport")
@value
class RegisteredReport:
    response: EiResponse = at("ei:eiResponse")
    requests: tuple[ReportRequest, ...] = many("oadr:oadrReportRequest")
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrCreateReport")
@value
class CreateReport:
    request_id: str = at("pyld:requestID")
    requests: tuple[ReportRequest, ...] = some("oadr:oadrReportRequest")
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrCreatedReport")
@value
class CreatedReport:
    response: EiResponse = at("ei:eiResponse")
    pending_report_request_ids: tuple[str, ...] = many(
        "oadr:oadrPendingReports!/ei:reportRequestID"
    )
    """All reports still to come (rule 329)."""
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrUpdateReport")
@value
class UpdateReport:
    """Measured values."""

    request_id: str = at("pyld:requestID")
    reports: tuple[Report, ...] = many("oadr:oadrReport")
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrCancelReport")
@value
class CancelReport:
    request_id: str = at("pyld:requestID")
    report_request_ids: tuple[str, ...] = some("ei:reportRequestID")
    report_to_follow: bool = at("pyld:reportToFollow", default=False)
    """One final report is wanted (rule 345)."""
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrCanceledReport")
@value
class CanceledReport:
    response: EiResponse = at("ei:eiResponse")
    pending_report_request_ids: tuple[str, ...] = many(
        "oadr:oadrPendingReports!/ei:reportRequestID"
    )
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrUpdatedReport")
@value
class UpdatedReport:
    """Values taken; a cancel may ride along (rule 328)."""

    response: EiResponse = at("ei:eiResponse")
    cancel: CancelReport | None = maybe("oadr:oadrCancelReport")
    ven_id: str | None = maybe("ei:venID")
