# SPDX-License-Identifier: Apache-2.0
"""EiReport: what VENs offer, what is asked of them, and what they measured."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

import oadr
from oadr.poll import Response
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportRequest,
    SpecifierPayload,
    UpdatedReport,
    UpdateReport,
)
from vtn.errors import Rejected
from vtn.identity import fitting
from vtn.readings import data_name, instants, samples, step
from vtn.records import RequestRecord, RequestState, Samples
from vtn.replies import ok
from vtn.services.office import Caller, Office, known_ven, note_ven
from vtn.store import line, measurements, outbox, reports, subscriptions
from vtn.store.outbox import Waiting
from vtn.tally import Tally, counted, due_before, goes_on_at

METADATA = "METADATA"
"""The reportSpecifierID that asks for metadata (rule 327)."""
CURTAILMENT = "x-CURTAILMENT"
EFFECT = "x-effect"
"""Report type within it: what the node's own meter saw of the order: 1 reached, 0.5 in part, 0."""
HISTORY = "HISTORY_USAGE"
TELEMETRY = "TELEMETRY_USAGE"
SUBMETERED = "x-SUBMETER_USAGE"
"""What a node's sub-meters read: it is contained in TELEMETRY_USAGE, and never added to it."""
AUTOMATIC = (TELEMETRY, SUBMETERED, "TELEMETRY_STATUS", CURTAILMENT)
"""Asked of every VEN that offers them, unless the settings say no."""
GOES_BACK = timedelta(hours=72)
"""How far back a VEN goes that registers its reports anew: so long it stores and forwards."""

_TAKES_VALUES = (
    RequestState.ASKED,
    RequestState.ACTIVE,
    RequestState.CANCELLING,
    RequestState.FOLLOWING,
    RequestState.COMPLETED,  # the same values may be sent twice: the first answer can be lost
)
_METADATA_ID = "0"
_MOST_SUBSCRIPTIONS = 16
_MOST_WAITING = 64
"""Of our metadata for one VEN, asked for once each."""
_MOST_ASKED = 100
"""Requests that one registration of reports may bring forth."""
_LOOKS_BACK = 500
"""Requests among which that is looked for which a new one goes on from."""
_LONGEST_PERIOD = timedelta(days=366)
_USUAL_PERIOD = timedelta(seconds=60)


# --- what a VEN offers ---------------------------------------------------------------------------


async def register(office: Office, caller: Caller, message: RegisterReport) -> RegisteredReport:
    """Metadata replaces all that came before, and with it what was asked (rules 305, 306, 308).

    Requests for metadata itself stay: a periodic one goes on until its interval is over. The
    answer carries what is asked automatically; until the VEN confirms, that also waits in its
    queue: the answer may be lost.
    """
    _check_offers(message.reports)
    at = office.now()
    async with office.change() as (connection, news):
        await known_ven(connection, caller.ven_id, lock=True)
        answered = await _answered_metadata(connection, caller, message.report_request_id)
        await reports.replace_offers(connection, caller.ven_id, message.reports, at=at)
        kept = await reports.names(connection, caller.ven_id, report_name=METADATA)
        await reports.cancel_all(connection, caller.ven_id, remark="offered anew", keep=kept)
        stale = [
            one.number
            for one in await outbox.waiting(connection, caller.ven_id)
            if one.kind in ("oadrCreateReport", "oadrCancelReport")
            and not set(kept).issuperset(one.subjects)
        ]
        await outbox.remove(connection, stale)
        if answered is not None:
            await _note_metadata(connection, answered, at)
        earlier = await reports.latest(connection, caller.ven_id, limit=_LOOKS_BACK)
        asked = _automatic(office, caller, message.reports, earlier, at)
        for one in asked:
            await reports.ask(connection, one)
        requests = tuple(one.request for one in asked)
        if requests:
            await outbox.put(
                connection,
                caller.ven_id,
                CreateReport(
                    request_id=message.request_id, requests=requests, ven_id=caller.ven_id
                ),
                at=at,
                request_id=message.request_id,
                subjects=[one.report_request_id for one in requests],
                handed_at=at,
            )
        await note_ven(
            connection,
            caller,
            "offer reports",
            at=at,
            detail=", ".join(one.report_specifier_id for one in message.reports),
        )
        news.woken([caller.ven_id])
    return RegisteredReport(
        response=ok(message.request_id), requests=requests, ven_id=caller.ven_id
    )


async def registered(office: Office, caller: Caller, message: RegisteredReport) -> Response:
    """The VEN has our metadata; it may ask for it again (rule 344)."""
    at = office.now()
    async with office.change() as (connection, news):
        if message.requests:
            news.woken([caller.ven_id])
        queue = await outbox.waiting(connection, caller.ven_id)
        answered = _answered(queue, "oadrRegisterReport", message.response.request_id)
        await outbox.remove(connection, [one.number for one in answered])
        await _offer_ours(office, caller, connection, message.requests, at)
        await note_ven(
            connection,
            caller,
            "take our metadata",
            at=at,
            outcome=message.response.response_code,
        )
    return Response(response=ok(message.response.request_id), ven_id=caller.ven_id)


async def _answered_metadata(
    connection: AsyncConnection, caller: Caller, report_request_id: str | None
) -> RequestRecord | None:
    """The metadata request that this metadata answers, if any (rule 311)."""
    if report_request_id in (None, "", _METADATA_ID):
        return None
    assert report_request_id is not None
    known = await reports.requests(connection, caller.ven_id, ids=[report_request_id])
    if (
        not known
        or known[0].request.report_specifier_id != METADATA
        or known[0].state not in _TAKES_VALUES
    ):
        raise Rejected("452", f"No metadata is asked for under '{report_request_id}'.")
    return known[0]


async def _note_metadata(
    connection: AsyncConnection, answered: RequestRecord, at: datetime
) -> None:
    """What was asked once is completed; what is asked periodically goes on (rule 306)."""
    name = answered.request.report_request_id
    await reports.touch(connection, {name: answered.tally}, at=at)
    if not answered.request.report_back:
        await reports.set_state(connection, [name], RequestState.COMPLETED)
    await _one_more_came(connection, [name])


async def _one_more_came(connection: AsyncConnection, ids: Collection[str]) -> None:
    """The last report of a cancelled request has come (rule 345)."""
    await reports.set_state(
        connection,
        ids,
        RequestState.COMPLETED,
        remark="cancelled; its last report came",
        instead_of=(RequestState.FOLLOWING,),
    )


def _check_offers(offered: Sequence[Report]) -> None:
    specifiers = [fitting("reportSpecifierID", one.report_specifier_id) for one in offered]
    if len(set(specifiers)) != len(specifiers):
        raise Rejected("459", "Each report needs a reportSpecifierID of its own (rule 308).")
    kinds: dict[str, str] = {}
    for report in offered:
        if report.intervals is not None:
            raise Rejected("459", "Metadata has no intervals (rule 305).")
        ids = [fitting("rID", one.r_id) for one in report.descriptions]
        if len(set(ids)) != len(ids):
            raise Rejected(
                "459", f"The report '{report.report_specifier_id}' has a rID twice (rule 308)."
            )
        for one in report.descriptions:
            symbol = one.unit.symbol if one.unit else ""
            if kinds.setdefault(one.r_id, symbol) != symbol:
                raise Rejected("459", f"The rID '{one.r_id}' is offered in two units (rule 308).")
            if one.sampling_rate and one.sampling_rate.min_period > _LONGEST_PERIOD:
                raise Rejected("459", f"The rID '{one.r_id}' can be read less than once a year.")


def _automatic(
    office: Office,
    caller: Caller,
    offered: Iterable[Report],
    earlier: Sequence[RequestRecord],
    at: datetime,
) -> list[RequestRecord]:
    """What is asked without anybody asking: telemetry at its finest, from now on, for ever.

    Usage goes on where what came of `earlier` requests ends, so that what was measured meanwhile
    is not lost. Points that can be read at different rates are asked for one rate at a time (rule
    317).
    """
    if not office.settings.reports.automatic:
        return []
    start = at.replace(microsecond=0)
    asked = []
    for report in offered:
        name = data_name(report.report_name)
        if name not in AUTOMATIC or not report.descriptions:
            continue
        finest: dict[timedelta, list[ReportDescription]] = {}
        for one in report.descriptions:
            rate = one.sampling_rate
            finest.setdefault(rate.min_period if rate else _USUAL_PERIOD, []).append(one)
        for granularity, points in finest.items():
            request = ReportRequest(
                report_request_id=office.new_id(),
                report_specifier_id=report.report_specifier_id,
                granularity=granularity,
                report_back=max(timedelta(seconds=office.settings.reports.back_s), granularity),
                interval=ReportInterval(starts_at=start, duration=timedelta(0)),
                payloads=tuple(SpecifierPayload(r_id=one.r_id) for one in points),
            )
            if name in (TELEMETRY, SUBMETERED) and (
                before := _going_on_from(request, earlier, start)
            ):
                since = ReportInterval(starts_at=before, duration=timedelta(0))
                request = dataclasses.replace(request, interval=since)
            asked.append(
                RequestRecord(
                    ven_id=caller.ven_id,
                    request=request,
                    report_name=name,
                    state=RequestState.ASKED,
                    asked_at=at,
                    asked_by="system",
                )
            )
    if len(asked) > _MOST_ASKED:
        raise Rejected(
            "469", f"This VTN asks a VEN for {_MOST_ASKED} reports at most; offer fewer rates."
        )
    return asked


def _going_on_from(
    request: ReportRequest, earlier: Sequence[RequestRecord], at: datetime
) -> datetime | None:
    """Where the latest like request has its first gap of the last days; None without one."""
    for one in reversed(earlier):
        old, interval = one.request, one.request.interval
        alike = (old.payloads, old.granularity) == (request.payloads, request.granularity)
        if alike and interval is not None and old.report_back and one.tally.ranges:
            wanted_from = max(interval.starts_at, at - GOES_BACK)
            on = goes_on_at(one.tally, wanted_from=int(wanted_from.timestamp()))
            return None if on is None or on >= at.timestamp() else datetime.fromtimestamp(on, UTC)
    return None


# --- what is asked of a VEN ----------------------------------------------------------------------


async def created(office: Office, caller: Caller, message: CreatedReport) -> Response:
    """The VEN takes a request on, or refuses it (rule 329)."""
    at = office.now()
    pending = set(message.pending_report_request_ids)
    async with office.store.write() as connection:
        known = await reports.requests(connection, caller.ven_id, ids=pending)
        strangers = pending - {one.request.report_request_id for one in known}
        if strangers:
            raise Rejected("452", f"No report was asked for under '{min(strangers)}'.")
        queue = await outbox.waiting(connection, caller.ven_id)
        answered = [
            one
            for one in queue
            if one.kind == "oadrCreateReport"
            and (one.request_id == message.response.request_id or pending.issuperset(one.subjects))
        ]
        await outbox.remove(connection, [one.number for one in answered])
        subjects = {subject for one in answered for subject in one.subjects}
        if message.response.ok:
            await reports.set_state(
                connection,
                subjects | pending,
                RequestState.ACTIVE,
                instead_of=(RequestState.ASKED,),
            )
        else:
            await reports.set_state(
                connection,
                subjects - pending,
                RequestState.REFUSED,
                remark=message.response.description or message.response.response_code,
                instead_of=(RequestState.ASKED,),
            )
        await note_ven(
            connection,
            caller,
            "answer report request",
            at=at,
            outcome=message.response.response_code,
            detail=", ".join(sorted(subjects | pending)),
        )
    return Response(response=ok(message.response.request_id), ven_id=caller.ven_id)


async def canceled(office: Office, caller: Caller, message: CanceledReport) -> Response:
    """The VEN has stopped a report, or did not know it: either way it is over.

    But for the one last report, where that was asked for (rule 345).
    """
    at = office.now()
    async with office.store.write() as connection:
        queue = await outbox.waiting(connection, caller.ven_id)
        answered = _answered(queue, "oadrCancelReport", message.response.request_id)
        await outbox.remove(connection, [one.number for one in answered])
        subjects = [subject for one in answered for subject in one.subjects]
        known = await reports.requests(connection, caller.ven_id, ids=subjects)
        following = [one.request.report_request_id for one in known if one.to_follow]
        if message.response.ok:
            await reports.set_state(
                connection,
                following,
                RequestState.FOLLOWING,
                instead_of=(RequestState.CANCELLING,),
            )
        await reports.set_state(
            connection, subjects, RequestState.CANCELLED, instead_of=(RequestState.CANCELLING,)
        )
        await note_ven(
            connection,
            caller,
            "stop report",
            at=at,
            outcome=message.response.response_code,
            detail=", ".join(subjects),
        )
    return Response(response=ok(message.response.request_id), ven_id=caller.ven_id)


# --- what was measured ---------------------------------------------------------------------------


async def update(office: Office, caller: Caller, message: UpdateReport) -> UpdatedReport:
    """Values, stored durably before the answer, or not at all (rules 304, 346).

    Every reportRequestID, specifier and rID must be one that was asked of this VEN (452).
    A cancellation that waits rides along (rule 328). It is counted, not audited: the tally of each
    request says exactly what has come.
    """
    at = office.now()
    ids = {one.report_request_id for one in message.reports}
    async with office.store.write() as connection:
        known = {
            one.request.report_request_id: one
            for one in await reports.requests(connection, caller.ven_id, ids=ids, lock=True)
        }
        found, tallies = await _read(connection, caller, message.reports, known, at)
        count = await measurements.store(connection, found)
        await reports.touch(connection, tallies, at=at)
        last = [name for name, one in known.items() if one.state is RequestState.FOLLOWING]
        if last:
            await _one_more_came(connection, last)
        once = [name for name, one in known.items() if not one.request.report_back]
        if once:
            await reports.set_state(
                connection, once, RequestState.COMPLETED, instead_of=(RequestState.ACTIVE,)
            )
        cancel = await _cancel_due(office, caller, connection, at)
    office.intake.count(caller.ven_id, count, at)
    ends = [one.last_at + one.step_s for one in tallies.values() if one.last_at is not None]
    office.counts.report(samples=count, newest_at=max(ends, default=None), now=at)
    return UpdatedReport(response=ok(message.request_id), cancel=cancel, ven_id=caller.ven_id)


async def _read(
    connection: AsyncConnection,
    caller: Caller,
    given: Iterable[Report],
    known: dict[str, RequestRecord],
    at: datetime,
) -> tuple[list[Samples], dict[str, Tally]]:
    """What the reports say, and what has come of each request with them."""
    offers = {
        one.report.report_specifier_id: one.report
        for one in await reports.offers(
            connection,
            caller.ven_id,
            specifier_ids={one.request.report_specifier_id for one in known.values()},
        )
    }
    found: list[Samples] = []
    tallies = {name: one.tally for name, one in known.items()}
    for report in given:
        record = known.get(report.report_request_id)
        if record is None or record.state not in _TAKES_VALUES:
            raise Rejected("452", f"No report is asked for under '{report.report_request_id}'.")
        specifier = record.request.report_specifier_id
        offer = offers.get(specifier)
        if report.report_specifier_id != specifier or offer is None:
            raise Rejected(
                "452",
                f"The report asked for under '{report.report_request_id}' is '{specifier}', "
                f"not '{report.report_specifier_id}'.",
            )
        asked = {payload.r_id for payload in record.request.payloads}
        granularity = record.request.granularity
        starts_at = instants(report, granularity)
        tally = tallies[report.report_request_id]
        tallies[report.report_request_id] = counted(
            tally,
            starts_at,
            step_s=step(report, granularity),
            late_before=due_before(record.request, tally, at),
        )
        found += samples(
            report,
            {one.r_id: one for one in offer.descriptions if one.r_id in asked},
            ven_id=caller.ven_id,
            report_name=record.report_name,
            starts_at=starts_at,
        )
    return found, tallies


async def _cancel_due(
    office: Office, caller: Caller, connection: AsyncConnection, at: datetime
) -> CancelReport | None:
    """The first cancellation that was not handed out yet."""
    if not office.may_be_due(caller.entry):
        return None
    await line.one_at_a_time(connection, caller.ven_id)
    for one in await outbox.waiting(connection, caller.ven_id):
        if one.kind == "oadrCancelReport" and one.handed_at is None:
            message = oadr.parse(await outbox.hand_out(connection, one.number, at=at))
            assert isinstance(message, CancelReport)
            return message
    return None


# --- what a VEN asks of us -----------------------------------------------------------------------


async def create(office: Office, caller: Caller, message: CreateReport) -> CreatedReport:
    """A VEN asks for our metadata, once or periodically (rules 301, 324, 327); there is no other.

    The answer lists all that is still to come (rule 329).
    """
    at = office.now()
    async with office.change() as (connection, news):
        await _offer_ours(office, caller, connection, message.requests, at)
        pending = await _pending(connection, caller)
        await note_ven(connection, caller, "ask for our metadata", at=at)
        news.woken([caller.ven_id])
    return CreatedReport(
        response=ok(message.request_id), pending_report_request_ids=pending, ven_id=caller.ven_id
    )


async def cancel(office: Office, caller: Caller, message: CancelReport) -> CanceledReport:
    """A VEN no longer wants our metadata; one that never asked gets 452 (rule 336).

    With reportToFollow one more is sent (rule 345).
    """
    wanted = set(message.report_request_ids)
    async with office.change() as (connection, news):
        waiting = [
            one
            for one in await outbox.waiting(connection, caller.ven_id)
            if one.kind == "oadrRegisterReport" and wanted.intersection(one.subjects)
        ]
        periodic = {
            one.request.report_request_id
            for one in await subscriptions.of_ven(connection, caller.ven_id)
        }
        strangers = wanted - periodic - {subject for one in waiting for subject in one.subjects}
        if strangers:
            raise Rejected("452", f"Nothing is asked of us under '{min(strangers)}'.")
        await subscriptions.remove(connection, caller.ven_id, wanted)
        if message.report_to_follow:
            underway = {subject for one in waiting for subject in one.subjects}
            for name in sorted(wanted - underway):
                await offer_ours(office, connection, caller.ven_id, name)
        else:
            await outbox.remove(connection, [one.number for one in waiting])
        pending = await _pending(connection, caller)
        await note_ven(connection, caller, "want our metadata no longer", at=office.now())
        news.woken([caller.ven_id])
    return CanceledReport(
        response=ok(message.request_id), pending_report_request_ids=pending, ven_id=caller.ven_id
    )


async def _offer_ours(
    office: Office,
    caller: Caller,
    connection: AsyncConnection,
    wanted: Sequence[ReportRequest],
    at: datetime,
) -> None:
    """Queue our (empty) metadata for each request for it."""
    count = len(await subscriptions.of_ven(connection, caller.ven_id))
    waiting = len(await _underway(connection, caller.ven_id)) if wanted else 0
    for one in wanted:
        if one.report_specifier_id != METADATA:
            raise Rejected(
                "452", f"This VTN offers no report '{one.report_specifier_id}', only METADATA."
            )
        if any(payload.r_id != _METADATA_ID for payload in one.payloads):
            raise Rejected("454", "METADATA has the rID 0 and no other (rules 308 and 340).")
        name = fitting("reportRequestID", one.report_request_id)
        if not one.report_back:
            waiting += 1
            if waiting > _MOST_WAITING:
                raise Rejected(
                    "469", "Too much of our metadata waits for this VEN; poll and answer it first."
                )
            await offer_ours(office, connection, caller.ven_id, name)
            continue
        if one.interval is None:
            raise Rejected("459", "A periodic report needs a reportInterval (rule 324).")
        _check_calendar(one.report_back, one.interval)
        count += 1
        if count > _MOST_SUBSCRIPTIONS:
            raise Rejected(
                "469", f"This VTN keeps {_MOST_SUBSCRIPTIONS} periodic requests of a VEN at most."
            )
        await subscriptions.put(connection, caller.ven_id, subscriptions.first(one, at))


def _check_calendar(back: timedelta, interval: ReportInterval) -> None:
    try:
        _ = interval.starts_at + interval.duration + back
    except OverflowError as error:
        raise Rejected("459", "The reportInterval ends after all calendars.") from error
    if back > _LONGEST_PERIOD:
        raise Rejected("459", "The reportBackDuration is longer than a year.")


async def offer_ours(
    office: Office, connection: AsyncConnection, ven_id: str, report_request_id: str
) -> None:
    """Queue our (empty) metadata in answer to one request (rule 311)."""
    request_id = office.new_id()
    await outbox.put(
        connection,
        ven_id,
        RegisterReport(request_id=request_id, ven_id=ven_id, report_request_id=report_request_id),
        at=office.now(),
        request_id=request_id,
        subjects=[report_request_id],
    )


async def offer_due(office: Office, connection: AsyncConnection, ven_id: str) -> datetime | None:
    """Queue our metadata where it is wanted periodically and due; from when more will be."""
    now = office.now()
    underway: set[str] | None = None
    for one in await subscriptions.of_ven(connection, ven_id):
        if one.next_at > now:
            return one.next_at
        name = one.request.report_request_id
        if underway is None:
            underway = set(await _underway(connection, ven_id))
        if name not in underway:  # what was not answered yet comes again by itself
            await offer_ours(office, connection, ven_id, name)
        left = one.after(now)
        if left is None:
            await subscriptions.remove(connection, ven_id, [name])
        else:
            await subscriptions.put(connection, ven_id, left)
    following = await subscriptions.of_ven(connection, ven_id)
    return following[0].next_at if following else None


async def _pending(connection: AsyncConnection, caller: Caller) -> tuple[str, ...]:
    """Every report of ours that is still to come (rule 329)."""
    queued = await _underway(connection, caller.ven_id)
    periodic = [
        one.request.report_request_id
        for one in await subscriptions.of_ven(connection, caller.ven_id)
    ]
    return tuple(dict.fromkeys((*queued, *periodic)))


async def _underway(connection: AsyncConnection, ven_id: str) -> list[str]:
    """The reportRequestIDs for which our metadata waits in the queue, or for its answer."""
    return [
        subject
        for one in await outbox.waiting(connection, ven_id)
        if one.kind == "oadrRegisterReport"
        for subject in one.subjects
    ]


def _answered(queue: Sequence[Waiting], kind: str, request_id: str) -> list[Waiting]:
    """The message that an answer is to: by its requestID, else the oldest one handed out."""
    alike = [one for one in queue if one.kind == kind]
    named = [one for one in alike if one.request_id == request_id]
    return named or [one for one in alike if one.handed_at is not None][:1]
