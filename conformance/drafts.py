# SPDX-License-Identifier: Apache-2.0
"""The events, reports and report requests that tests are made of."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from oadr.columns import Column, Intervals, LoadControl, ResourceStatus
from oadr.event import Baseline, Event, Signal, SignalInterval
from oadr.report import (
    Report,
    ReportDescription,
    ReportInterval,
    ReportRequest,
    SamplingRate,
    SpecifierPayload,
)
from oadr.target import Target
from oadr.units import Unit, energy, power, price_per_kwh
from oadr.vocabulary import EventStatus, SignalType

SECOND: Final = timedelta(seconds=1)
ZERO: Final = timedelta(0)


def fresh(prefix: str) -> str:
    """An identifier that was never used before: `event-5f0c…`."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def whole(at: datetime) -> datetime:
    """The next whole second, as instants stand on the wire."""
    cut = at.replace(microsecond=0)
    return cut if cut == at else cut + SECOND


# --- events --------------------------------------------------------------------------------------


def signal(
    name: str,
    kind: SignalType,
    values: Sequence[float],
    lengths: Sequence[timedelta],
    unit: Unit | None = None,
    *,
    signal_id: str = "",
    current_value: float | None = None,
) -> Signal:
    """A signal of consecutive intervals."""
    return Signal(
        intervals=steps(values, lengths),
        signal_name=name,
        signal_type=kind,
        signal_id=signal_id or fresh("signal"),
        unit=unit,
        current_value=current_value,
    )


def steps(values: Sequence[float], lengths: Sequence[timedelta]) -> tuple[SignalInterval, ...]:
    """Consecutive intervals with their uids."""
    return tuple(
        SignalInterval(duration=length, uid=str(index), value=value)
        for index, (value, length) in enumerate(zip(values, lengths, strict=True))
    )


def event(
    signals: Sequence[Signal],
    *,
    starts_at: datetime,
    market_context: str,
    priority: int = 0,
    ven_id: str = "",
    resources: Sequence[str] = (),
) -> Event:
    """An event with these signals; its duration is theirs."""
    lengths = [interval.duration or ZERO for interval in signals[0].intervals]
    return Event(
        event_id=fresh("event"),
        priority=priority,
        market_context=market_context,
        created_at=whole(utc_now()),
        status=EventStatus.FAR,
        starts_at=starts_at,
        duration=ZERO if not lengths[-1] else sum(lengths, ZERO),
        notification=ZERO,
        signals=tuple(signals),
        target=Target(ven_ids=(ven_id,) if ven_id else (), resource_ids=tuple(resources)),
    )


def simple(level: float, length: timedelta) -> Signal:
    """SIMPLE at one level."""
    return signal("SIMPLE", SignalType.LEVEL, [level], [length], current_value=0.0)


def price(values: Sequence[float], lengths: Sequence[timedelta]) -> Signal:
    """ELECTRICITY_PRICE/price in EUR per kWh."""
    return signal("ELECTRICITY_PRICE", SignalType.PRICE, values, lengths, price_per_kwh("EUR"))


def dispatch(watts: float, length: timedelta) -> Signal:
    """LOAD_DISPATCH/setpoint in W."""
    return signal("LOAD_DISPATCH", SignalType.SETPOINT, [watts], [length], power())


def baseline(
    starts_at: datetime, values: Sequence[float], lengths: Sequence[timedelta], unit: Unit
) -> Baseline:
    """A baseline of consecutive intervals."""
    return Baseline(
        starts_at=starts_at,
        duration=sum(lengths, ZERO),
        intervals=steps(values, lengths),
        baseline_id=fresh("baseline"),
        baseline_name="baseline",
        unit=unit,
    )


def stretched(before: Event, length: timedelta) -> Event:
    """The event with one interval of another length, as its next modification."""
    return modified(
        replace(
            before,
            duration=length,
            signals=tuple(
                replace(one, intervals=(replace(one.intervals[0], duration=length),))
                for one in before.signals
            ),
        )
    )


def modified(changed: Event) -> Event:
    """The event with the next modificationNumber and a new createdDateTime (rules 5, 115)."""
    return replace(
        changed,
        modification_number=changed.modification_number + 1,
        created_at=whole(utc_now()),
    )


def cancelled(before: Event) -> Event:
    """The event called off (rule 10)."""
    return replace(modified(before), status=EventStatus.CANCELLED)


# --- reports -------------------------------------------------------------------------------------

USAGE, STATUS, HISTORY = "usage", "status", "history"
POINTS: Final = {
    USAGE: ("usage-power", "usage-energy"),
    STATUS: ("status",),
    HISTORY: ("history-power", "history-energy"),
}
_RATE: Final = SamplingRate(min_period=SECOND, max_period=timedelta(hours=1), on_change=True)
_UNITS: Final = (power(), energy())


def metadata(resources: Sequence[str], market_context: str | None = None) -> tuple[Report, ...]:
    """What the harness as a VEN can report: usage, status and history."""
    source = Target(resource_ids=tuple(resources[:1])) if resources else None
    offers = []
    for specifier, r_ids in POINTS.items():
        descriptions = tuple(
            ReportDescription(
                r_id=r_id,
                data_source=source,
                report_type="x-resourceStatus" if specifier == STATUS else "usage",
                unit=None if specifier == STATUS else _UNITS[index],
                reading_type="x-notApplicable" if specifier == STATUS else "Direct Read",
                market_context=market_context,
                sampling_rate=_RATE,
            )
            for index, r_id in enumerate(r_ids)
        )
        name = "HISTORY_USAGE" if specifier == HISTORY else f"TELEMETRY_{specifier.upper()}"
        offers.append(
            Report(
                duration=timedelta(hours=2),
                descriptions=descriptions,
                report_request_id="0",
                report_specifier_id=specifier,
                report_name=f"METADATA_{name}",
                created_at=whole(utc_now()),
            )
        )
    return tuple(offers)


def report_request(
    specifier: str,
    r_ids: Sequence[str],
    *,
    granularity: timedelta = ZERO,
    back: timedelta = ZERO,
    starts_at: datetime | None = None,
    length: timedelta | None = None,
) -> ReportRequest:
    """A request as rules 324, 325 and 338 want it; with a length it has a reportInterval."""
    interval = (
        ReportInterval(starts_at=starts_at or whole(utc_now()), duration=length)
        if length is not None
        else None
    )
    return ReportRequest(
        report_request_id=fresh("request"),
        report_specifier_id=specifier,
        granularity=granularity,
        report_back=back,
        interval=interval,
        payloads=tuple(SpecifierPayload(r_id=r_id) for r_id in r_ids),
    )


def values(request: ReportRequest, name: str, *, rows: int, step: timedelta) -> Report:
    """`rows` intervals of plausible values up to now, for each point that was asked for."""
    last = whole(utc_now()) - SECOND
    starts = tuple(last - step * (rows - index) for index in range(rows))
    status = ResourceStatus(
        online=True,
        manual_override=False,
        capacity=LoadControl(current=1000.0),
    )
    columns = tuple(
        Column(
            r_id=r_id,
            values=tuple(
                status if name == "TELEMETRY_STATUS" else 1000.0 + index for index in range(rows)
            ),
            quality=("Quality Good - Non Specific",) * rows,
        )
        for r_id in sorted(payload.r_id for payload in request.payloads)
    )
    return Report(
        starts_at=starts[0],
        duration=step * rows,
        intervals=Intervals(
            count=rows,
            starts_at=starts,
            durations=(step,) * rows,
            columns=columns,
        ),
        report_request_id=request.report_request_id,
        report_specifier_id=request.report_specifier_id,
        report_name=name,
        created_at=whole(utc_now()),
    )
