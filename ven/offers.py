# SPDX-License-Identifier: Apache-2.0
"""What this VEN can report, and whether a request asks for no more than that.

| specifier   | report           | points (rID)                         | sampling            |
| ----------- | ---------------- | ------------------------------------ | ------------------- |
| usage       | TELEMETRY_USAGE  | power [W], energy [Wh, a counter]    | every 4 s or longer |
| status      | TELEMETRY_STATUS | status                               | also on change      |
| curtailment | x-CURTAILMENT    | baseline [W], deviation [W], effect  | every 60 s          |
| history     | HISTORY_USAGE    | history-power, history-energy        | every 15 min        |
| history-raw | HISTORY_USAGE    | history-raw-power, -energy           | every 4 s           |
| pv.usage    | x-SUBMETER_USAGE | pv.power [W], pv.energy [Wh]         | every 4 s or longer |

The last is there once for each sub-meter (`[[reports.meter]]`), by its id. Its report has a name of
its own because its power is contained in the site's: who adds up TELEMETRY_USAGE must not count it
twice.

All reach back as far as the light node's ring does. Seven days of quarter hours fit one report;
the raw history of a day is about a hundred of them. deviation = measured minus baseline.

In metadata the names begin with METADATA_ (rule 331); the schema wants x- in front of names of
one's own, hence x-METADATA_CURTAILMENT.
"""

import hashlib
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import oadr
from oadr import units
from oadr.report import (
    CreateReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportRequest,
    SamplingRate,
)
from oadr.target import Target
from oadr.vocabulary import ReadingType, ReportName, ReportType
from ven.config import ReportsSettings, SubMeter
from ven.errors import Declined

USAGE = "usage"
STATUS = "status"
CURTAILMENT = "curtailment"
METADATA = "METADATA"
POWER = "power"
ENERGY = "energy"
HISTORY = "history"
HISTORY_RAW = "history-raw"
STATUS_POINT = "status"
BASELINE = "baseline"
DEVIATION = "deviation"
EFFECT = "effect"
EFFECT_TYPE = "x-effect"
EFFECT_VALUES = {"reached": 1.0, "partial": 0.5, "not reached": 0.0}
"""What the node's own meter saw of the newest lease that was judged."""
CURTAILMENT_NAME = "x-CURTAILMENT"
SUBMETER_NAME = "x-SUBMETER_USAGE"
CURTAILMENT_STEP = timedelta(seconds=60)
_REPORT_NAMES: dict[str, str] = {
    USAGE: ReportName.TELEMETRY_USAGE.value,
    STATUS: ReportName.TELEMETRY_STATUS.value,
    CURTAILMENT: CURTAILMENT_NAME,
    HISTORY: ReportName.HISTORY_USAGE.value,
    HISTORY_RAW: ReportName.HISTORY_USAGE.value,
}
_OF_A_METER = f".{USAGE}"

QUARTER = timedelta(minutes=15)
KEPT = timedelta(days=7)
"""How far back the light node's ring reaches (rule 312)."""
_SLOWEST = timedelta(hours=1)
_UNDATED = datetime.min.replace(tzinfo=UTC)
_SLACK = timedelta(minutes=1)
"""So far a clock may be ahead of ours and "the last half hour" still be what it says."""


def metadata(settings: ReportsSettings, resource_id: str, now: datetime) -> tuple[Report, ...]:
    """The reports as oadrRegisterReport lists them (rules 305, 308, 311, 312)."""
    finest = timedelta(seconds=settings.min_period_s)
    rates = {
        USAGE: SamplingRate(min_period=finest, max_period=_SLOWEST),
        HISTORY: SamplingRate(min_period=QUARTER, max_period=QUARTER),
        HISTORY_RAW: SamplingRate(min_period=finest, max_period=finest),
    }
    metered = {
        specifier_id: [
            _description(
                r_id,
                ReportType.USAGE,
                resource_id,
                unit=units.energy() if is_energy(r_id) else units.power(),
                reading=ReadingType.DIRECT_READ,
                sampling=rate,
            )
            for r_id in points(specifier_id, settings)
        ]
        for specifier_id, rate in rates.items()
    }
    sub_metered = [
        _metadata(
            specifier_of(meter),
            "x-METADATA_SUBMETER_USAGE",
            [
                _description(
                    r_id,
                    ReportType.USAGE,
                    meter.resource_id or resource_id,
                    unit=units.energy() if is_energy(r_id) else units.power(),
                    reading=ReadingType.DIRECT_READ,
                    sampling=rates[USAGE],
                )
                for r_id in points(specifier_of(meter), settings)
            ],
            now,
        )
        for meter in settings.sub_meters
    ]
    status = _description(
        STATUS_POINT,
        ReportType.RESOURCE_STATUS,
        resource_id,
        unit=None,
        reading=ReadingType.NOT_APPLICABLE,
        sampling=SamplingRate(
            min_period=finest,
            max_period=_SLOWEST,
            on_change=True,
        ),
    )
    curtailment = [
        _description(
            r_id,
            report_type,
            resource_id,
            unit=units.power(),
            reading=ReadingType.DERIVED,
            sampling=SamplingRate(min_period=CURTAILMENT_STEP, max_period=CURTAILMENT_STEP),
        )
        for r_id, report_type in (
            (BASELINE, ReportType.BASELINE),
            (DEVIATION, ReportType.DEVIATION),
        )
    ]
    curtailment.append(
        _description(
            EFFECT,
            EFFECT_TYPE,
            resource_id,
            unit=None,
            reading=ReadingType.DERIVED,
            sampling=SamplingRate(min_period=CURTAILMENT_STEP, max_period=CURTAILMENT_STEP),
        )
    )
    return (
        _metadata(USAGE, ReportName.METADATA_TELEMETRY_USAGE, metered[USAGE], now),
        _metadata(STATUS, ReportName.METADATA_TELEMETRY_STATUS, [status], now),
        _metadata(CURTAILMENT, "x-METADATA_CURTAILMENT", curtailment, now),
        _metadata(HISTORY, ReportName.METADATA_HISTORY_USAGE, metered[HISTORY], now),
        _metadata(HISTORY_RAW, ReportName.METADATA_HISTORY_USAGE, metered[HISTORY_RAW], now),
        *sub_metered,
    )


def stamp(reports: Collection[Report]) -> str:
    """What tells one offer from another, whenever they were made."""
    undated = [replace(report, created_at=_UNDATED) for report in reports]
    return hashlib.sha256(repr(undated).encode()).hexdigest()[:16]


def points(specifier_id: str, settings: ReportsSettings) -> tuple[str, ...]:
    """The rIDs of a specifier; empty for one that is not offered."""
    metered = (POWER, ENERGY) if settings.energy else (POWER,)
    sub_metered = {
        specifier_of(meter): tuple(
            f"{meter.id}.{point}" for point in (POWER, ENERGY) if meter.energy or point == POWER
        )
        for meter in settings.sub_meters
    }
    return {
        **sub_metered,
        USAGE: metered,
        STATUS: (STATUS_POINT,),
        CURTAILMENT: (BASELINE, DEVIATION, EFFECT),
        HISTORY: tuple(f"{HISTORY}-{point}" for point in metered),
        HISTORY_RAW: tuple(f"{HISTORY_RAW}-{point}" for point in metered),
    }.get(specifier_id, ())


def specifier_of(meter: SubMeter) -> str:
    """The reportSpecifierID of a sub-meter."""
    return f"{meter.id}{_OF_A_METER}"


def meter_of(specifier_id: str) -> str:
    """The sub-meter that a report is about; "" = the site's own meter."""
    return specifier_id.removesuffix(_OF_A_METER) if specifier_id.endswith(_OF_A_METER) else ""


def report_name(specifier_id: str) -> str:
    """The reportName of the report that is offered under a specifier."""
    return SUBMETER_NAME if meter_of(specifier_id) else _REPORT_NAMES[specifier_id]


def is_energy(r_id: str) -> bool:
    """Whether a metered point is the energy counter; else it is power."""
    return r_id.endswith(ENERGY)


def check(request: ReportRequest, settings: ReportsSettings) -> None:
    """Whether a request can be served. Raises Declined with the code to answer.

    452 for an ID that is not offered (rule 304), 454 for finer data than is offered (rule 340) and
    for times that contradict each other (rule 317).
    """
    try:
        oadr.build(CreateReport(request_id="0", requests=(request,)))
    except oadr.Unbuildable as error:
        raise _refusal("454", f"The request cannot be kept: {error}") from error
    if request.report_specifier_id == METADATA:
        return
    offered = points(request.report_specifier_id, settings)
    if not offered:
        raise _refusal("452", f"There is no report '{request.report_specifier_id}' here.")
    for payload in request.payloads:
        if payload.r_id not in offered:
            raise _refusal(
                "452",
                f"Report '{request.report_specifier_id}' has no point '{payload.r_id}'.",
            )
    if request.report_specifier_id in (HISTORY, HISTORY_RAW):
        _check_history(request, settings)
    else:
        _check_times(request, settings)


def _check_times(request: ReportRequest, settings: ReportsSettings) -> None:
    granularity, back = request.granularity, request.report_back
    if granularity < _finest(request.report_specifier_id, settings) and (
        granularity or request.report_specifier_id != STATUS
    ):
        raise _refusal(
            "454",
            f"A granularity of {granularity.total_seconds():.0f} s is finer than this report's "
            f"{_finest(request.report_specifier_id, settings).total_seconds():.0f} s.",
        )
    if granularity > _SLOWEST:
        raise _refusal("454", "The granularity is longer than this report's longest, one hour.")
    if back and granularity > back:
        raise _refusal("454", "The granularity is longer than the report back duration.")
    if not back and request.report_specifier_id == CURTAILMENT:
        raise _refusal("454", "Curtailment is reported periodically only; give a report back.")


def _check_history(request: ReportRequest, settings: ReportsSettings) -> None:
    step = history_step(request, settings)
    if request.granularity not in (timedelta(0), step):
        raise _refusal(
            "454",
            f"Report '{request.report_specifier_id}' comes in steps of "
            f"{step.total_seconds():.0f} s only; ask with granularity 0.",
        )
    if request.report_back:
        raise _refusal("454", "History is reported once; ask with report back duration 0.")


def history_step(request: ReportRequest, settings: ReportsSettings) -> timedelta:
    """The length of one interval of a history."""
    is_raw = request.report_specifier_id == HISTORY_RAW
    return timedelta(seconds=settings.min_period_s) if is_raw else QUARTER


def history_span(request: ReportRequest, asked_at: datetime) -> tuple[datetime, datetime]:
    """From when until before when a history is wanted, at most KEPT back (rule 325).

    Duration 0, or no interval, is all there is up to dtstart. Else it is the time from dtstart on
    or, where that is not over yet, the time before dtstart: VTNs write it both ways.
    """
    interval = request.interval
    oldest = asked_at - KEPT
    if interval is None:
        return oldest, asked_at
    start, length = interval.starts_at, interval.duration
    if not length:
        start, end = oldest, start
    elif start + length <= asked_at + _SLACK:
        end = start + length
    else:
        start, end = start - length, start
    return max(start, oldest), min(end, asked_at)


def completed(request: ReportRequest, now: datetime) -> ReportRequest:
    """A periodic request without a report interval (rule 324) is taken from now on, for ever.

    openleadr asks like that, and what it means is plain.
    """
    if not request.report_back or request.interval is not None:
        return request
    from_now = ReportInterval(starts_at=now.replace(microsecond=0), duration=timedelta(0))
    return replace(request, interval=from_now)


def asked_points(request: ReportRequest) -> tuple[str, ...]:
    """The rIDs a request asks for, in the order of the wire."""
    return tuple(sorted({payload.r_id for payload in request.payloads}))


def pending(requests: Collection[ReportRequest]) -> tuple[str, ...]:
    """All reports still to come, in the order of their IDs (rule 329)."""
    return tuple(sorted(request.report_request_id for request in requests))


def _finest(specifier_id: str, settings: ReportsSettings) -> timedelta:
    if specifier_id == CURTAILMENT:
        return CURTAILMENT_STEP
    return timedelta(seconds=settings.min_period_s)


def _refusal(code: str, sentence: str) -> Declined:
    return Declined(sentence, response_code=code)


def _description(
    r_id: str,
    report_type: str,
    resource_id: str,
    *,
    unit: units.Unit | None,
    reading: ReadingType,
    sampling: SamplingRate,
) -> ReportDescription:
    return ReportDescription(
        r_id=r_id,
        data_source=Target(resource_ids=(resource_id,)),
        report_type=report_type,
        unit=unit,
        reading_type=reading,
        sampling_rate=sampling,
    )


def _metadata(
    specifier_id: str, name: str, descriptions: list[ReportDescription], now: datetime
) -> Report:
    return Report(
        duration=KEPT,
        descriptions=tuple(descriptions),
        report_request_id="0",
        report_specifier_id=specifier_id,
        report_name=name,
        created_at=now,
    )
