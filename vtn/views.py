# SPDX-License-Identifier: Apache-2.0
"""What the operator's API says, read back by the command line; plain records go out as they are.

Power is in W, positive for consumption, lengths are in seconds, instants are UTC.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

import msgspec

from oadr.event import Event, Signal
from oadr.report import ReportDescription
from oadr.vocabulary import EventStatus, OptType
from vtn import records
from vtn.curtailment import Curtailment, Step
from vtn.orders import EventOrder
from vtn.quantities import unit_name


class Ven(msgspec.Struct, frozen=True, kw_only=True):
    """A VEN the operator has let in."""

    ven_id: str
    name: str
    state: str
    """registered, expected (added, not registered yet) or revoked."""
    certificate_sha256: str
    fingerprint: str
    """The short OpenADR fingerprint, for people to read out."""
    added_at: datetime
    added_by: str
    revoked_at: datetime | None
    registration_id: str | None
    registered_at: datetime | None
    report_only: bool
    transport: str
    """pull or push."""
    push_address: str | None
    xml_signature: bool
    """Whether it signs, and is answered signed."""
    certificate_known: bool
    """Whether the certificate itself is kept, not only its fingerprint."""
    next_certificate_sha256: str | None
    """Of a renewed certificate that was not used yet: it lets the VEN in, too."""
    poll_interval_s: float | None
    last_contact_at: datetime | None
    resources: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, ven: records.Ven) -> Self:
        state = "revoked" if ven.revoked_at else "registered" if ven.registered else "expected"
        return cls(
            ven_id=ven.ven_id,
            name=ven.name,
            state=state,
            certificate_sha256=ven.certificate_sha256,
            fingerprint=ven.fingerprint,
            added_at=ven.added_at,
            added_by=ven.added_by,
            revoked_at=ven.revoked_at,
            registration_id=ven.registration_id,
            registered_at=ven.registered_at,
            report_only=ven.report_only,
            transport="push" if ven.push_address else "pull",
            push_address=ven.push_address,
            xml_signature=ven.xml_signature,
            certificate_known=ven.certificate_der is not None,
            next_certificate_sha256=ven.next_certificate_sha256,
            poll_interval_s=ven.poll_interval_s,
            last_contact_at=ven.last_contact_at,
            resources=ven.resources,
            groups=ven.groups,
        )


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time enrolment code, without its secret."""

    code_id: str
    ven_id: str
    name: str
    state: str
    """open, used, expired, withdrawn or locked."""
    made_at: datetime
    made_by: str
    expires_at: datetime
    used_at: datetime | None
    wrong_tries: int

    @classmethod
    def of(cls, code: records.EnrolmentCode, now: datetime) -> Self:
        return cls(
            code_id=code.code_id,
            ven_id=code.ven_id,
            name=code.name,
            state=code.state(now),
            made_at=code.made_at,
            made_by=code.made_by,
            expires_at=code.expires_at,
            used_at=code.used_at,
            wrong_tries=code.wrong_tries,
        )


class Opt(msgspec.Struct, frozen=True, kw_only=True):
    """An opt of a VEN."""

    opt_id: str
    opt_type: str
    reason: str
    scope: str
    """The resource; "" for the whole VEN."""
    event_id: str
    """"" for a schedule."""
    market_context: str
    received_at: datetime
    ended_at: datetime | None
    ended_by: str

    @classmethod
    def of(cls, record: records.OptRecord) -> Self:
        opt = record.opt
        return cls(
            opt_id=opt.opt_id,
            opt_type=opt.opt_type,
            reason=opt.opt_reason,
            scope=record.scope,
            event_id=opt.event.event_id if opt.event else "",
            market_context=opt.market_context or "",
            received_at=record.received_at,
            ended_at=record.ended_at,
            ended_by=record.ended_by,
        )


# --- events ---------------------------------------------------------------------------------------


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a signal; half open."""

    starts_at: datetime
    ends_at: datetime | None
    """None: until cancelled."""
    value: float


class SignalView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    type: str
    unit: str
    current_value: float | None
    intervals: tuple[Interval, ...]
    device_classes: tuple[str, ...]

    @classmethod
    def of(cls, signal: Signal, starts_at: datetime) -> Self:
        intervals = []
        for step in signal.intervals:
            length = step.duration or timedelta(0)
            ends_at = starts_at + length if length else None
            intervals.append(Interval(starts_at=starts_at, ends_at=ends_at, value=step.value))
            starts_at += length
        return cls(
            id=signal.signal_id,
            name=signal.signal_name,
            type=signal.signal_type,
            unit=unit_name(signal.unit),
            current_value=signal.current_value,
            intervals=tuple(intervals),
            device_classes=signal.target.end_device_assets if signal.target else (),
        )


class VenInEvent(msgspec.Struct, frozen=True, kw_only=True):
    """How far an event has come to one VEN, and how the VEN stands to it."""

    ven_id: str
    opt: str
    """optIn, optOut, or "" while it has not answered."""
    answered_modification: int | None
    answered_at: datetime | None
    response_code: str
    description: str
    resources: dict[str, str]
    """Resources that stand otherwise."""
    handed_modification: int | None
    """The last modification handed out."""
    handed_at: datetime | None
    attempts: int
    withdrawn: bool
    """No longer targeted."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One modification of an event."""

    modification_number: int
    modified_at: datetime | None
    reason: str
    cancelled: bool
    starts_at: datetime
    ends_at: datetime | None


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One event as of now, with how each VEN stands to it."""

    event_id: str
    modification_number: int
    status: EventStatus
    market_context: str
    starts_at: datetime
    ends_at: datetime | None
    """None: until cancelled."""
    start_within_s: float
    notification_s: float
    ramp_up_s: float
    recovery_s: float
    priority: int
    test: bool
    response: str
    comment: str
    signals: tuple[SignalView, ...]
    targets: dict[str, tuple[str, ...]]
    """As the operator gave them: vens, groups, resources; all empty: everyone."""
    vens: tuple[VenInEvent, ...]
    published_at: datetime
    published_by: str
    history: tuple[Version, ...]

    @classmethod
    def of(cls, record: records.EventRecord) -> Self:
        event = record.event
        target = event.target
        return cls(
            event_id=event.event_id,
            modification_number=event.modification_number,
            status=event.status,
            market_context=event.market_context,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            start_within_s=_seconds(event.start_after),
            notification_s=_seconds(event.notification),
            ramp_up_s=_seconds(event.ramp_up),
            recovery_s=_seconds(event.recovery),
            priority=event.priority or 0,
            test=event.is_test,
            response=event.response_required,
            comment=event.vtn_comment or "",
            signals=tuple(SignalView.of(signal, event.starts_at) for signal in event.signals),
            targets={
                "vens": target.ven_ids,
                "groups": (*target.group_ids, *target.group_names),
                "resources": target.resource_ids,
            },
            vens=tuple(
                _ven_in_event(record, ven_id)
                for ven_id in sorted({*record.ven_ids, *record.answers, *record.deliveries})
            ),
            published_at=record.published_at,
            published_by=record.published_by,
            history=tuple(_version(each) for each in record.history),
        )


def _ven_in_event(record: records.EventRecord, ven_id: str) -> VenInEvent:
    answer = record.answers.get(ven_id)
    delivery = record.deliveries.get(ven_id)
    return VenInEvent(
        ven_id=ven_id,
        opt=answer.opt_type if answer else "",
        answered_modification=answer.modification_number if answer else None,
        answered_at=answer.at if answer else None,
        response_code=answer.response_code if answer else "",
        description=answer.description if answer else "",
        resources={name: str(opt) for name, opt in answer.resources.items()} if answer else {},
        handed_modification=delivery.handed_modification if delivery else None,
        handed_at=delivery.handed_at if delivery else None,
        attempts=delivery.attempts if delivery else 0,
        withdrawn=bool(delivery and delivery.withdrawn),
    )


def _version(event: Event) -> Version:
    cancelled = event.status is EventStatus.CANCELLED
    return Version(
        modification_number=event.modification_number,
        modified_at=event.modified_at,
        # A cancellation carries the reason of the modification before it.
        reason="" if cancelled else event.modification_reason or "",
        cancelled=cancelled,
        starts_at=event.starts_at,
        ends_at=event.ends_at,
    )


def _seconds(length: timedelta | None) -> float:
    return length.total_seconds() if length else 0.0


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """What the emergency stop has cancelled."""

    events: tuple[str, ...]


class ProposalView(msgspec.Struct, frozen=True, kw_only=True):
    """An event, or a modification of one, that waits for a second person."""

    proposal_id: str
    event_id: str
    state: str
    """awaiting approval, approved or declined."""
    modifies: int | None
    """The modification of the event that it changes; null for a new event."""
    starts_at: datetime
    ends_at: datetime | None
    signals: tuple[SignalView, ...]
    targets: dict[str, tuple[str, ...]]
    comment: str
    proposed_at: datetime
    proposed_by: str
    decided_at: datetime | None
    decided_by: str
    remark: str

    @classmethod
    def of(cls, proposal: records.Proposal) -> Self:
        event = proposal.event
        target = event.target
        return cls(
            proposal_id=proposal.proposal_id,
            event_id=event.event_id,
            state=proposal.state,
            modifies=proposal.expected_modification,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            signals=tuple(SignalView.of(signal, event.starts_at) for signal in event.signals),
            targets={
                "vens": target.ven_ids,
                "groups": (*target.group_ids, *target.group_names),
                "resources": target.resource_ids,
            },
            comment=event.vtn_comment or "",
            proposed_at=proposal.proposed_at,
            proposed_by=proposal.proposed_by,
            decided_at=proposal.decided_at,
            decided_by=proposal.decided_by,
            remark=proposal.remark,
        )


class TemplateView(msgspec.Struct, frozen=True, kw_only=True):
    """An order to begin from."""

    name: str
    version: int
    order: EventOrder
    changed_at: datetime
    changed_by: str

    @classmethod
    def of(cls, template: records.Template) -> Self:
        return cls(
            name=template.name,
            version=template.version,
            order=template.order,
            changed_at=template.changed_at,
            changed_by=template.changed_by,
        )


# --- reports and measurements ---------------------------------------------------------------------


class OfferedPoint(msgspec.Struct, frozen=True, kw_only=True):
    r_id: str
    type: str
    unit: str
    reading_type: str
    min_period_s: float | None
    max_period_s: float | None
    resources: tuple[str, ...]

    @classmethod
    def of(cls, point: ReportDescription) -> Self:
        rate = point.sampling_rate
        return cls(
            r_id=point.r_id,
            type=point.report_type,
            unit=unit_name(point.unit),
            reading_type=point.reading_type,
            min_period_s=rate.min_period.total_seconds() if rate else None,
            max_period_s=rate.max_period.total_seconds() if rate else None,
            resources=point.data_source.resource_ids if point.data_source else (),
        )


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A report the VEN can make."""

    specifier: str
    name: str
    received_at: datetime
    points: tuple[OfferedPoint, ...]

    @classmethod
    def of(cls, offer: records.Offer) -> Self:
        return cls(
            specifier=offer.report.report_specifier_id,
            name=offer.report.report_name or "",
            received_at=offer.received_at,
            points=tuple(OfferedPoint.of(each) for each in offer.report.descriptions),
        )


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A report that was asked of the VEN."""

    report_request_id: str
    specifier: str
    name: str
    state: str
    points: tuple[str, ...]
    granularity_s: float
    back_s: float
    starts_at: datetime | None
    ends_at: datetime | None
    asked_at: datetime
    asked_by: str
    last_update_at: datetime | None
    expected: int | None
    """Intervals that should have come by now; None where nothing regular was asked for."""
    received: int
    """Different intervals that came."""
    missing: int | None
    """Of the expected ones."""
    duplicates: int
    """Intervals that came again, and replaced what was there."""
    late: int
    """Intervals that came when they were missing already."""
    last_interval_at: datetime | None
    """Start of the newest interval."""
    remark: str

    @classmethod
    def of(cls, record: records.RequestRecord) -> Self:
        request = record.request
        span = request.interval
        last = record.tally.last_at
        return cls(
            report_request_id=request.report_request_id,
            specifier=request.report_specifier_id,
            name=record.report_name,
            state=record.state,
            points=tuple(payload.r_id for payload in request.payloads),
            granularity_s=request.granularity.total_seconds(),
            back_s=request.report_back.total_seconds(),
            starts_at=span.starts_at if span else None,
            ends_at=span.starts_at + span.duration if span and span.duration else None,
            asked_at=record.asked_at,
            asked_by=record.asked_by,
            last_update_at=record.last_update_at,
            expected=record.expected,
            received=record.tally.received,
            missing=record.missing,
            duplicates=record.tally.duplicates,
            late=record.tally.late,
            last_interval_at=datetime.fromtimestamp(last, UTC) if last is not None else None,
            remark=record.remark,
        )


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    ven_id: str
    offers: tuple[Offer, ...]
    requests: tuple[Request, ...]

    @classmethod
    def of(cls, ven_id: str, reports: records.Reports) -> Self:
        return cls(
            ven_id=ven_id,
            offers=tuple(Offer.of(each) for each in reports.offers),
            requests=tuple(Request.of(each) for each in reports.requests),
        )


Resolution = Literal["raw", "15min"]


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    """Stored values as columns of equal length, ascending."""

    point: records.Point
    starts_at: list[float]
    """Seconds since 1970 (UTC)."""
    values: list[float | None]
    """In the point's unit; None where the VEN had no valid value. Of quarter hours the mean."""
    quality: list[str]
    """Of quarter hours the worst word."""
    resolution: Resolution = "raw"
    """As measured, or rolled up to quarter hours; only then the columns below are filled."""
    without_samples: int = 0
    """Quarter hours of which only the rollup is left: they are missing in what is raw."""
    minimum: list[float | None] = []
    maximum: list[float | None] = []
    energy_wh: list[float | None] = []
    """Of a power in W: its mean times the time covered; else None."""
    counts: list[int] = []
    """Usable values in the quarter hour."""
    covered_s: list[int] = []
    """For how many seconds of it they speak."""

    @classmethod
    def of(cls, series: records.Series, *, without_samples: int = 0) -> Self:
        return cls(
            point=series.point,
            starts_at=list(series.starts_at),
            values=[None if math.isnan(value) else value for value in series.values],
            quality=list(series.quality),
            without_samples=without_samples,
        )

    @classmethod
    def rolled(cls, series: records.RolledSeries) -> Self:
        found, is_power = series.rollups, series.point.unit in ("W", "J/s")
        return cls(
            point=series.point,
            starts_at=list(map(float, series.starts_at)),
            values=[one.mean for one in found],
            quality=[one.quality for one in found],
            resolution="15min",
            minimum=[one.minimum for one in found],
            maximum=[one.maximum for one in found],
            energy_wh=[one.energy_wh if is_power else None for one in found],
            counts=[one.usable for one in found],
            covered_s=[one.covered_s for one in found],
        )


# --- curtailment ----------------------------------------------------------------------------------


class VenCurtailment(msgspec.Struct, frozen=True, kw_only=True):
    """What one VEN delivered; see vtn.curtailment.Curtailment."""

    ven_id: str
    opt: str
    starts_at: datetime
    ends_at: datetime | None
    final: bool
    ordered_w: float | None
    delivered_w: float | None
    fraction: float | None
    claimed_w: float | None
    samples_expected: int
    samples_received: int
    fallback: bool
    agrees: bool
    remarks: tuple[str, ...]
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, ven_id: str, opt: str, found: Curtailment) -> Self:
        return cls(
            ven_id=ven_id,
            opt=opt,
            starts_at=found.starts_at,
            ends_at=found.ends_at,
            final=found.final,
            ordered_w=found.ordered_w,
            delivered_w=found.delivered_w,
            fraction=found.fraction,
            claimed_w=found.claimed_w,
            samples_expected=found.samples_expected,
            samples_received=found.samples_received,
            fallback=found.fallback,
            agrees=found.agrees,
            remarks=found.remarks,
            steps=found.steps,
        )


class EventCurtailment(msgspec.Struct, frozen=True, kw_only=True):
    """What an event brought; the sums leave out VENs that opted out."""

    event_id: str
    modification_number: int
    status: EventStatus
    test: bool
    starts_at: datetime
    ends_at: datetime | None
    ordered_w: float | None
    delivered_w: float | None
    fraction: float | None
    samples_expected: int
    samples_received: int
    agrees: bool
    """Every VEN that did not opt out agrees."""
    final: bool
    vens: tuple[VenCurtailment, ...]

    @classmethod
    def of(cls, record: records.EventRecord, vens: tuple[VenCurtailment, ...]) -> Self:
        event = record.event
        asked = [ven for ven in vens if ven.opt != OptType.OPT_OUT]
        ordered = _sum([ven.ordered_w for ven in asked])
        delivered = _sum([ven.delivered_w for ven in asked])
        return cls(
            event_id=event.event_id,
            modification_number=event.modification_number,
            status=event.status,
            test=event.is_test,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            ordered_w=ordered,
            delivered_w=delivered,
            fraction=delivered / ordered if delivered is not None and ordered else None,
            samples_expected=sum(ven.samples_expected for ven in asked),
            samples_received=sum(ven.samples_received for ven in asked),
            agrees=bool(asked) and all(ven.agrees for ven in asked),
            final=all(ven.final for ven in asked),
            vens=vens,
        )


def _sum(parts: list[float | None]) -> float | None:
    """What there is; None where there is nothing at all."""
    there = [part for part in parts if part is not None]
    return sum(there) if there else None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that `vtn check` looked at."""

    subject: str
    sentence: str
    ok: bool = True
    """False: `vtn serve` will not start, or VENs will be refused."""
    warning: bool = False
    """It works, and should still be seen to."""
