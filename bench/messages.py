# SPDX-License-Identifier: Apache-2.0
"""What the VENs of the benchmarks say: a site that offers its power and reports it every 4 s."""

import math
from datetime import datetime, timedelta

import oadr
from oadr.columns import Column, Intervals
from oadr.event import CreatedEvent, DistributeEvent, EventResponse
from oadr.poll import Poll
from oadr.registration import CreatePartyRegistration
from oadr.report import (
    CreatedReport,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportRequest,
    SamplingRate,
    SpecifierPayload,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import DataQuality, OptType, ServiceName

R_ID = "power"
SPECIFIER = "usage"
STEP = timedelta(seconds=4)
ROWS = 225
"""15 minutes at 4 s."""


def path(service: ServiceName) -> str:
    return oadr.endpoints.path(service)


POLL = path(ServiceName.POLL)
EVENT = path(ServiceName.EVENT)
REPORT = path(ServiceName.REPORT)
REGISTER = path(ServiceName.REGISTER_PARTY)


def poll(ven_id: str) -> bytes:
    return oadr.build(Poll(ven_id=ven_id))


def registration(ven_id: str, *, signs: bool) -> bytes:
    return oadr.build(
        CreatePartyRegistration(
            request_id="register",
            ven_id=ven_id,
            ven_name=ven_id,
            xml_signature=signs,
            http_pull_model=True,
        )
    )


def taken_metadata(ven_id: str, request_id: str) -> bytes:
    """The VTN's own (empty) metadata was received."""
    return oadr.build(RegisteredReport(response=EiResponse(request_id=request_id), ven_id=ven_id))


def metadata(now: datetime) -> Report:
    """What the site can report: its power, every 4 s."""
    power = ReportDescription(
        r_id=R_ID,
        report_type="usage",
        unit=oadr.units.power(),
        reading_type="Direct Read",
        data_source=Target(resource_ids=("site",)),
        sampling_rate=SamplingRate(min_period=STEP, max_period=STEP),
    )
    return Report(
        duration=timedelta(hours=1),
        descriptions=(power,),
        report_request_id="0",
        report_specifier_id=SPECIFIER,
        report_name="METADATA_TELEMETRY_USAGE",
        created_at=now.replace(microsecond=0),
    )


def offer(ven_id: str, now: datetime) -> bytes:
    """The VEN offers its power."""
    message = RegisterReport(request_id="offer", reports=(metadata(now),), ven_id=ven_id)
    return oadr.build(message)


def request(report_request_id: str, now: datetime) -> ReportRequest:
    """What a VTN asks for by itself: the power every 4 s, in pieces of 15 minutes, for ever."""
    return ReportRequest(
        report_request_id=report_request_id,
        report_specifier_id=SPECIFIER,
        granularity=STEP,
        report_back=STEP * ROWS,
        interval=ReportInterval(starts_at=now.replace(microsecond=0), duration=timedelta(0)),
        payloads=(SpecifierPayload(r_id=R_ID),),
    )


def created_report(ven_id: str, report_request_id: str) -> bytes:
    """The VEN takes the request on."""
    return oadr.build(
        CreatedReport(
            response=EiResponse(request_id="offer"),
            pending_report_request_ids=(report_request_id,),
            ven_id=ven_id,
        )
    )


def update(
    ven_id: str,
    report_request_id: str,
    starts_at: datetime,
    *,
    rows: int,
    request_id: str,
    quality: bool = False,
) -> bytes:
    """`rows` readings from `starts_at` on, each with start and duration: 72 kB for 225 of them.

    With `quality` each row says how good it is, too, as our VEN has it: 87 kB.
    """
    values = tuple(
        round(42_000 + 9_000 * math.sin(starts_at.timestamp() / 7_000 + row / 40) + row % 7, 1)
        for row in range(rows)
    )
    report = Report(
        starts_at=starts_at,
        duration=STEP * rows,
        report_request_id=report_request_id,
        report_specifier_id=SPECIFIER,
        report_name="TELEMETRY_USAGE",
        created_at=starts_at + STEP * rows,
        intervals=Intervals(
            count=rows,
            starts_at=tuple(starts_at + STEP * row for row in range(rows)),
            durations=(STEP,) * rows,
            columns=(
                Column(
                    r_id=R_ID,
                    values=values,
                    quality=(DataQuality.GOOD.value,) * rows if quality else (),
                ),
            ),
        ),
    )
    return oadr.build(UpdateReport(request_id=request_id, reports=(report,), ven_id=ven_id))


def opted_in(ven_id: str, told: DistributeEvent) -> bytes:
    """Opt in to every event of a message."""
    return oadr.build(
        CreatedEvent(
            response=EiResponse(request_id=told.request_id),
            event_responses=tuple(
                EventResponse(
                    request_id=told.request_id,
                    event_id=event.event_id,
                    modification_number=event.modification_number,
                    opt_type=OptType.OPT_IN,
                )
                for event in told.events
            ),
            ven_id=ven_id,
        )
    )
