# SPDX-License-Identifier: Apache-2.0
"""The operator's desk: everything an operator can do or see.

Each act is one transaction with its audit line; a refusal is a VtnError and changes nothing.
`by` names the person or program that acts; it stands in the audit as `operator:BY`.
"""

import dataclasses
import re
import uuid
from array import array
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

import oadr
from oadr.event import Event
from oadr.fingerprint import sha256 as sha256_of
from oadr.registration import CancelPartyRegistration, RequestReregistration
from oadr.report import CancelReport, CreateReport, Report, ReportDescription, ReportRequest
from oadr.target import Target
from oadr.vocabulary import EventStatus
from vtn import eventbook, tally
from vtn.directory import Entry
from vtn.errors import Conflict, Invalid, InvalidReportRequest, Unknown
from vtn.readings import data_name
from vtn.records import (
    AuditLine,
    CurtailmentInputs,
    EventRecord,
    Group,
    Health,
    MarketContext,
    OptRecord,
    Point,
    ReportDay,
    Reports,
    RequestRecord,
    RequestState,
    RolledSeries,
    Series,
    Ven,
)
from vtn.services.office import Office, known_ven
from vtn.services.report import CURTAILMENT, HISTORY, METADATA
from vtn.store import (
    audit,
    events,
    groups,
    line,
    measurements,
    opts,
    outbox,
    reports,
    rollups,
    vens,
)

_SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST = 255
_MISSED_POLLS = 3
"""A VEN that was silent for so many poll intervals is offline."""


class Desk:
    """All acts and views of the operator; shared by the API and later the console."""

    def __init__(self, office: Office) -> None:
        self._office = office

    # --- VENs ------------------------------------------------------------------------------------

    async def add_ven(
        self,
        *,
        ven_id: str | None,
        name: str,
        certificate_sha256: str,
        certificate_der: bytes | None = None,
        resources: Sequence[str] = (),
        groups: Sequence[str] = (),
        by: str,
    ) -> Ven:
        """Let a VEN in: with this certificate it may register; without `ven_id` one is made.

        Without `certificate_der` the certificate is kept when the VEN first shows it. Raises
        Conflict where the ID or the certificate is taken, Invalid for a fingerprint that is not 64
        hex digits, Unknown for a group.
        """
        sha256 = _digest(certificate_sha256, certificate_der)
        at = self._office.now()
        ven = Ven(
            ven_id=_identifier("venID", ven_id or uuid.uuid4().hex),
            name=name,
            certificate_sha256=sha256,
            certificate_der=certificate_der,
            added_at=at,
            added_by=by,
            resources=tuple(_identifier("resourceID", one) for one in resources),
        )
        async with self._office.change() as (connection, news):
            if await vens.find(connection, ven.ven_id) is not None:
                raise Conflict(f"There is a VEN '{ven.ven_id}' already; choose another venID.")
            await _nobodys(connection, sha256)
            await vens.add(connection, ven)
            for group_id in groups:
                await _known_group(connection, group_id)
                await _join(connection, group_id, [ven.ven_id])
            await self._note(connection, by, "add VEN", f"ven:{ven.ven_id}", at, detail=name)
            news.changed(ven.ven_id)
        return self._office.ven(ven.ven_id)

    async def vens(self, *, group: str | None = None) -> list[Ven]:
        """All VENs, or those of a group, by venID."""
        async with self._office.store.read() as connection:
            if group is not None:
                await _known_group(connection, group)
            found = await vens.every(connection, group=group)
        return [self._live(ven) for ven in found]

    async def ven(self, ven_id: str) -> Ven:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            return self._live(await known_ven(connection, ven_id))

    async def add_resource(self, ven_id: str, resource_id: str, *, by: str) -> Ven:
        async with self._office.change() as (connection, news):
            await known_ven(connection, ven_id, lock=True)
            await vens.add_resource(connection, ven_id, _identifier("resourceID", resource_id))
            await self._note(connection, by, "add resource", f"ven:{ven_id}", detail=resource_id)
            news.changed(ven_id)
        return self._office.ven(ven_id)

    async def revoke_ven(self, ven_id: str, *, by: str) -> Ven:
        """From the next request on its certificate is nobody's; what it sent stays."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            ven = await known_ven(connection, ven_id, lock=True)
            if ven.revoked_at is not None:
                raise Conflict(f"The VEN '{ven_id}' was revoked before.")
            await vens.revoke(connection, ven_id, at)
            await self._note(connection, by, "revoke VEN", f"ven:{ven_id}", at)
            news.changed(ven_id)
        return self._office.ven(ven_id)

    async def replace_certificate(
        self,
        ven_id: str,
        *,
        certificate_sha256: str,
        certificate_der: bytes | None = None,
        by: str,
    ) -> Ven:
        """From the next request on the VEN is whoever shows this certificate; the old one is shut
        out, and all that the VEN has stays. Raises as add_ven, and Conflict for a revoked VEN.
        """
        sha256 = _digest(certificate_sha256, certificate_der)
        async with self._office.change() as (connection, news):
            ven = await known_ven(connection, ven_id, lock=True)
            if ven.revoked_at is not None:
                raise Conflict(f"The VEN '{ven_id}' was revoked; let it in under another venID.")
            await _nobodys(connection, sha256)
            await vens.replace_certificate(connection, ven_id, sha256, certificate_der)
            await self._note(connection, by, "replace certificate", f"ven:{ven_id}", detail=sha256)
            news.changed(ven_id)
        return self._office.ven(ven_id)

    async def request_reregistration(self, ven_id: str, *, by: str) -> None:
        """Ask the VEN, at its next poll, to register again with its IDs."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            await _registered(connection, ven_id)
            waiting = await outbox.waiting(connection, ven_id)
            if not any(one.kind == "oadrRequestReregistration" for one in waiting):
                message = RequestReregistration(ven_id=ven_id)
                await outbox.put(connection, ven_id, message, at=at)
            await self._note(connection, by, "request re-registration", f"ven:{ven_id}", at)
            news.woken([ven_id])

    async def cancel_registration(self, ven_id: str, *, by: str) -> None:
        """End the VEN's registration at its next poll; once it confirms, all of it is forgotten."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            ven = await _registered(connection, ven_id)
            waiting = await outbox.waiting(connection, ven_id)
            if any(one.kind == "oadrCancelPartyRegistration" for one in waiting):
                raise Conflict(f"The registration of '{ven_id}' is being cancelled already.")
            assert ven.registration_id is not None
            request_id = self._office.new_id()
            message = CancelPartyRegistration(
                request_id=request_id, registration_id=ven.registration_id, ven_id=ven_id
            )
            await outbox.put(connection, ven_id, message, at=at, request_id=request_id)
            await self._note(connection, by, "cancel registration", f"ven:{ven_id}", at)
            news.woken([ven_id])

    # --- groups and market contexts --------------------------------------------------------------

    async def groups(self) -> list[Group]:
        async with self._office.store.read() as connection:
            return await groups.every(connection)

    async def add_group(
        self, group_id: str, name: str, *, ven_ids: Sequence[str] = (), by: str
    ) -> Group:
        """Raises Conflict where the groupID is taken, Unknown for a VEN."""
        async with self._office.change() as (connection, news):
            if await groups.find(connection, group_id) is not None:
                raise Conflict(f"There is a group '{group_id}' already; choose another groupID.")
            await groups.add(connection, _identifier("groupID", group_id), name)
            await _join(connection, group_id, ven_ids)
            await self._note(connection, by, "add group", f"group:{group_id}", detail=name)
            group = await _known_group(connection, group_id)
            news.changed(*ven_ids)
        return group

    async def add_to_group(self, group_id: str, ven_ids: Sequence[str], *, by: str) -> Group:
        """Raises Unknown for the group or a VEN."""
        async with self._office.change() as (connection, news):
            await _known_group(connection, group_id)
            await _join(connection, group_id, ven_ids)
            await self._note(
                connection, by, "add to group", f"group:{group_id}", detail=", ".join(ven_ids)
            )
            group = await _known_group(connection, group_id)
            news.changed(*ven_ids)
        return group

    async def remove_from_group(self, group_id: str, ven_ids: Sequence[str], *, by: str) -> Group:
        """Events already published to the group stay with these VENs. Raises Unknown."""
        async with self._office.change() as (connection, news):
            group = await _known_group(connection, group_id)
            strangers = set(ven_ids) - set(group.ven_ids)
            if strangers:
                raise Unknown(f"The VEN '{min(strangers)}' is not in the group '{group_id}'.")
            await groups.leave(connection, group_id, ven_ids)
            await self._note(
                connection, by, "remove from group", f"group:{group_id}", detail=", ".join(ven_ids)
            )
            group = await _known_group(connection, group_id)
            news.changed(*ven_ids)
        return group

    async def market_contexts(self) -> list[MarketContext]:
        async with self._office.store.read() as connection:
            return await groups.market_contexts(connection)

    async def add_market_context(self, uri: str, name: str, *, by: str) -> MarketContext:
        """An event's market context must be one of these. Raises Conflict, Invalid."""
        normal = eventbook.normal_context(uri)
        if not normal or re.search(r"\s", normal):
            raise Invalid("A market context is a URI, such as http://utility.example/programme.")
        context = MarketContext(uri=_identifier("market context", normal), name=name)
        async with self._office.store.write() as connection:
            if context.uri in {one.uri for one in await groups.market_contexts(connection)}:
                raise Conflict(f"There is a market context '{context.uri}' already.")
            await groups.add_market_context(connection, context)
            await self._note(
                connection, by, "add market context", f"context:{context.uri}", detail=name
            )
        return context

    # --- events ----------------------------------------------------------------------------------

    async def publish_event(self, event: Event, *, by: str) -> EventRecord:
        """Publish a draft: `event_id` may be "" (one is made), and so may each `signal_id`.

        The target may name venIDs, groupIDs (or groupNames) and resourceIDs; empty is every VEN
        that is not revoked. `status`, `created_at`, `modification_number`, `uid`s and
        `current_value`s of the draft count for nothing: the VTN sets them.
        Raises InvalidEvent with the rule it breaks, Unknown for a target or market context,
        Conflict where the eventID is taken or the event overlaps another one of the same market
        context at the same VEN.
        """
        at = self._office.now()
        event_id = _identifier("eventID", event.event_id or uuid.uuid4().hex)
        drafted = eventbook.drafted(event, event_id=event_id, now=at)
        async with self._office.change() as (connection, news):
            if await events.find(connection, event_id) is not None:
                raise Conflict(f"There is an event '{event_id}' already; choose another eventID.")
            targets = await self._targets(connection, drafted)
            await events.add(connection, drafted, targets, at=at, by=by)
            await self._note(
                connection, by, "publish event", f"event:{event_id}", at, detail=_signals(drafted)
            )
            record = await events.record(connection, event_id, at)
            news.woken(targets)
        assert record is not None
        return record

    async def modify_event(
        self, event_id: str, event: Event, *, expected_modification: int | None = None, by: str
    ) -> EventRecord:
        """Replace an event by a draft, as its next modification; the past may not change (rule 20).

        Raises Conflict where `expected_modification` is not the current one any more, else as
        publish_event does.
        """
        at = self._office.now()
        async with self._office.change() as (connection, news):
            current = await _known_event(connection, event_id)
            _refuse_stale(current, expected_modification)
            modified = eventbook.modified(current, event, now=at)
            targets = await self._targets(connection, modified)
            await events.change(connection, modified, targets, at=at, by=by)
            record = await self._changed(connection, modified, "modify event", at, by)
            news.woken(record.deliveries)
        return record

    async def cancel_event(
        self, event_id: str, *, expected_modification: int | None = None, by: str
    ) -> EventRecord:
        """Raises InvalidEvent where it is over or cancelled already, Conflict as modify_event."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            current = await _known_event(connection, event_id)
            _refuse_stale(current, expected_modification)
            cancelled = eventbook.cancelled(current, now=at)
            await events.change(connection, cancelled, None, at=at, by=by)
            record = await self._changed(connection, cancelled, "cancel event", at, by)
            news.woken(record.deliveries)
        return record

    async def events(
        self,
        *,
        status: EventStatus | None = None,
        ven_id: str | None = None,
        limit: int | None = None,
    ) -> list[EventRecord]:
        """Events, the one that starts last first."""
        async with self._office.store.read() as connection:
            if ven_id is not None:
                await known_ven(connection, ven_id)
            return await events.records(
                connection, self._office.now(), status=status, ven_id=ven_id, limit=limit
            )

    async def event(self, event_id: str) -> EventRecord:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            record = await events.record(connection, event_id, self._office.now())
        if record is None:
            raise _no_event(event_id)
        return record

    # --- reports, measurements, opts -------------------------------------------------------------

    async def reports(self, ven_id: str) -> Reports:
        """Raises Unknown."""
        now = self._office.now()
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            offers = await reports.offers(connection, ven_id)
            requests = await reports.requests(connection, ven_id)
        return Reports(
            offers=tuple(offers), requests=tuple(_accounted(one, now) for one in requests)
        )

    async def request_report(
        self, ven_id: str, request: ReportRequest, *, by: str
    ) -> RequestRecord:
        """Ask for a report at the next poll; `report_request_id` may be "" (one is made).

        The specifier "METADATA" asks for what the VEN offers (rule 327). Raises
        InvalidReportRequest where the offer does not cover it (rules 300, 317, 324, 340).
        """
        at = self._office.now()
        name = _identifier("reportRequestID", request.report_request_id or self._office.new_id())
        request = dataclasses.replace(request, report_request_id=name)
        async with self._office.change() as (connection, news):
            await _registered(connection, ven_id)
            offered = await reports.offers(connection, ven_id)
            offer = next(
                (
                    one.report
                    for one in offered
                    if one.report.report_specifier_id == request.report_specifier_id
                ),
                None,
            )
            _check_request(request, offer, ven_id)
            if await reports.is_taken(connection, name):
                raise Conflict(f"There is a report request '{name}' already; choose another ID.")
            record = RequestRecord(
                ven_id=ven_id,
                request=request,
                report_name=data_name(offer.report_name) if offer else METADATA,
                state=RequestState.ASKED,
                asked_at=at,
                asked_by=by,
            )
            await reports.ask(connection, record)
            request_id = self._office.new_id()
            message = CreateReport(request_id=request_id, requests=(request,), ven_id=ven_id)
            try:
                await outbox.put(
                    connection, ven_id, message, at=at, request_id=request_id, subjects=[name]
                )
            except oadr.Unbuildable as error:
                raise InvalidReportRequest(f"The request cannot be sent: {error}") from error
            await self._note(connection, by, "request report", f"report:{name}", at, detail=ven_id)
            news.woken([ven_id])
        return record

    async def cancel_report(
        self, ven_id: str, report_request_id: str, *, to_follow: bool = False, by: str
    ) -> RequestRecord:
        """Ask the VEN to stop; `to_follow` asks for one final report (rule 345).

        Raises Unknown, and Conflict where the report has ended or is being cancelled.
        """
        at = self._office.now()
        async with self._office.change() as (connection, news):
            await known_ven(connection, ven_id, lock=True)
            found = await reports.requests(connection, ven_id, ids=[report_request_id])
            if not found:
                raise Unknown(
                    f"Nothing was asked of '{ven_id}' under '{report_request_id}'; "
                    "see `vtn report list`."
                )
            if found[0].state not in (RequestState.ASKED, RequestState.ACTIVE):
                raise Conflict(f"The report '{report_request_id}' is {found[0].state.value}.")
            await outbox.ask_no_more(connection, ven_id, report_request_id)
            request_id = self._office.new_id()
            message = CancelReport(
                request_id=request_id,
                report_request_ids=(report_request_id,),
                report_to_follow=to_follow,
                ven_id=ven_id,
            )
            await outbox.put(
                connection,
                ven_id,
                message,
                at=at,
                request_id=request_id,
                subjects=[report_request_id],
            )
            await reports.set_state(connection, [report_request_id], RequestState.CANCELLING)
            if to_follow:
                await reports.want_one_more(connection, report_request_id)
            await self._note(
                connection, by, "cancel report", f"report:{report_request_id}", at, detail=ven_id
            )
            news.woken([ven_id])
        return dataclasses.replace(found[0], state=RequestState.CANCELLING)

    async def points(self, ven_id: str) -> list[Point]:
        """Every series that was ever stored of this VEN."""
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            return await measurements.points(connection, ven_id)

    async def measurements(
        self, ven_id: str, r_id: str, starts_at: datetime, ends_at: datetime, *, facet: str = ""
    ) -> Series:
        """Stored values of one point in [starts_at, ends_at). Raises Unknown for VEN or point."""
        async with self._office.store.read() as connection:
            point = await _known_point(connection, ven_id, r_id, facet)
            return await measurements.read(
                connection, point, starts_at.timestamp(), ends_at.timestamp()
            )

    async def rollups(
        self, ven_id: str, r_id: str, starts_at: datetime, ends_at: datetime, *, facet: str = ""
    ) -> RolledSeries:
        """The quarter hours of one point that begin in [starts_at, ends_at). Raises Unknown."""
        async with self._office.store.read() as connection:
            point = await _known_point(connection, ven_id, r_id, facet)
            span = starts_at.timestamp(), ends_at.timestamp()
            return await rollups.read_all(connection, point, *span)

    async def without_samples(
        self, ven_id: str, r_id: str, starts_at: datetime, ends_at: datetime, *, facet: str = ""
    ) -> int:
        """Of how many quarter hours in [starts_at, ends_at) only the rollup is left.

        Raises Unknown.
        """
        async with self._office.store.read() as connection:
            point = await _known_point(connection, ven_id, r_id, facet)
            span = starts_at.timestamp(), ends_at.timestamp()
            return await rollups.without_samples(connection, point, *span)

    async def report_days(self, ven_id: str, *, limit: int = 31) -> list[ReportDay]:
        """How much a VEN reported each day (UTC), the latest first. Raises Unknown."""
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            return await rollups.days(connection, ven_id, limit=limit)

    async def curtailment_inputs(
        self, event_id: str, ven_id: str, *, record: EventRecord | None = None
    ) -> CurtailmentInputs:
        """What is stored about an event at one of its VENs, over its active period until now.

        With the `record` of the event, where it has been read already: it lists every VEN of it.
        """
        now = self._office.now()
        async with self._office.store.read() as connection:
            if record is None:
                record = await events.record(connection, event_id, now)
            if record is None:
                raise _no_event(event_id)
            if ven_id not in record.deliveries:
                raise Unknown(f"The event '{event_id}' is not for the VEN '{ven_id}'.")
            event = record.event
            span = (
                event.starts_at.timestamp(),
                min(event.ends_at or now, now).timestamp(),
            )
            points = await measurements.points(connection, ven_id)
            wanted = set(event.target.resource_ids)
            measured = [
                await measurements.read(connection, point, *span)
                for point in points
                if point.report_name == "TELEMETRY_USAGE"
                and point.unit in ("W", "J/s")
                and (not wanted or not point.resource_ids or wanted & set(point.resource_ids))
            ]
            claims = {
                kind: [
                    await measurements.read(connection, point, *span)
                    for point in points
                    if point.report_name == CURTAILMENT and point.report_type == kind
                ]
                for kind in ("baseline", "deviation")
            }
            requests = await reports.requests(connection, ven_id)
        return CurtailmentInputs(
            record=record,
            ven_id=ven_id,
            measured=_summed(ven_id, measured),
            baseline=_summed(ven_id, claims["baseline"]),
            deviation=_summed(ven_id, claims["deviation"]),
            granularity_s=_granularity_s(requests, "TELEMETRY_USAGE"),
            claim_granularity_s=_granularity_s(requests, CURTAILMENT),
        )

    async def opts(self, ven_id: str, *, ended: bool = False) -> list[OptRecord]:
        """Opts in force, newest first; with `ended` also those that no longer are."""
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            return await opts.of_ven(connection, ven_id, ended=ended)

    # --- audit and health ------------------------------------------------------------------------

    async def audit(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        actor: str | None = None,
        subject: str | None = None,
    ) -> list[AuditLine]:
        """Newest first; `before` is the number of the last line already seen."""
        async with self._office.store.read() as connection:
            return await audit.lines(
                connection, limit=limit, before=before, actor=actor, subject=subject
            )

    async def health(self) -> Health:
        """Raises StoreUnavailable where the database does not answer."""
        now = self._office.now()
        entries = [one for one in self._office.directory.entries() if one.ven.revoked_at is None]
        async with self._office.store.read() as connection:
            statuses = await events.live_statuses(connection, now)
            waiting = await outbox.count(connection)
        return Health(
            at=now,
            database=self._office.store.database,
            vens=len(entries),
            registered=sum(one.ven.registered for one in entries),
            online=sum(self.is_online(one, now) for one in entries),
            events_active=statuses.count(EventStatus.ACTIVE),
            events_pending=statuses.count(EventStatus.NEAR) + statuses.count(EventStatus.FAR),
            messages_waiting=waiting,
        )

    # --- inside ----------------------------------------------------------------------------------

    def is_online(self, entry: Entry, now: datetime) -> bool:
        """Heard of within three poll intervals; one that is pushed to, unless a push failed."""
        ven, contact_at = entry.ven, entry.last_contact_at
        if not ven.registered or contact_at is None:
            return False
        if ven.push_address is not None and not entry.unreachable:
            return True
        patience = timedelta(seconds=_MISSED_POLLS * self._office.poll_interval_s(ven))
        return now - contact_at <= patience

    def _live(self, ven: Ven) -> Ven:
        """With the last contact as it is known in memory."""
        entry = self._office.directory.by_id(ven.ven_id)
        if entry is None or entry.last_contact_at is None:
            return ven
        return dataclasses.replace(ven, last_contact_at=entry.last_contact_at)

    async def _note(
        self,
        connection: AsyncConnection,
        by: str,
        act: str,
        subject: str,
        at: datetime | None = None,
        *,
        detail: str = "",
    ) -> None:
        await audit.note(
            connection,
            at=at or self._office.now(),
            actor=f"operator:{by}",
            act=act,
            subject=subject,
            detail=detail,
        )

    async def _changed(
        self, connection: AsyncConnection, event: Event, act: str, at: datetime, by: str
    ) -> EventRecord:
        """Note the act; the record of what has become of the event."""
        detail = f"modification {event.modification_number}"
        await self._note(connection, by, act, f"event:{event.event_id}", at, detail=detail)
        record = await events.record(connection, event.event_id, at)
        assert record is not None
        return record

    async def _targets(self, connection: AsyncConnection, event: Event) -> Mapping[str, Target]:
        """Whom the event is for, and what target each is shown; see `_resolved`."""
        await line.one_at_a_time(connection, f"context:{event.market_context}")
        contexts = [one.uri for one in await groups.market_contexts(connection)]
        if event.market_context not in contexts:
            raise Unknown(
                f"There is no market context '{event.market_context}'; "
                + (f"there is {', '.join(contexts)}." if contexts else "add one first.")
            )
        known = {one.ven_id: one for one in await vens.every(connection)}
        owners = await vens.owners(connection, event.target.resource_ids)
        targets = _resolved(event.target, known, await groups.every(connection), owners)
        for other, ven_id in await events.overlapping(connection, event, targets):
            if eventbook.overlap(event, other):
                raise Conflict(
                    f"The event overlaps '{other.event_id}' of the same market context at the VEN "
                    f"'{ven_id}'; choose another time or context, or modify that event."
                )
        return targets


# --- who an event is for -------------------------------------------------------------------------


def _resolved(
    target: Target,
    known: Mapping[str, Ven],
    all_groups: Sequence[Group],
    owners: Mapping[str, Sequence[str]],
) -> Mapping[str, Target]:
    """VEN -> the target it is shown: itself where it is meant as a whole, and its resources named.

    At most one venID stands in each (rule 63). Raises Unknown, naming what is not known; Invalid
    where nobody is left.
    """
    whole = set(target.ven_ids)
    if strangers := whole - known.keys():
        raise Unknown(f"There is no VEN '{min(strangers)}'; see `vtn vens list`.")
    for name in (*target.group_ids, *target.group_names):
        group = next((one for one in all_groups if name in (one.group_id, one.name)), None)
        if group is None:
            raise Unknown(f"There is no group '{name}'; see `vtn groups list`.")
        whole |= {ven_id for ven_id in group.ven_ids if _can_take_events(known[ven_id])}
    resources = _having(target, whole, owners)
    _refuse_other_kinds(target)
    if not target:
        whole = {ven_id for ven_id, ven in known.items() if _can_take_events(ven)}
    found = {
        ven_id: Target(
            ven_ids=(ven_id,) if ven_id in whole else (),
            resource_ids=tuple(resources.get(ven_id, ())),
        )
        for ven_id in sorted(whole | resources.keys())
    }
    for ven_id in found:
        if not _can_take_events(known[ven_id]):
            why = "revoked" if known[ven_id].revoked_at else "registered for reports only"
            raise Invalid(f"The VEN '{ven_id}' is {why} and takes no events.")
    if not found:
        raise Invalid("The event is for no VEN at all; add a VEN, or name another target.")
    return found


def _having(
    target: Target, whole: Collection[str], owners: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[str]]:
    """VEN -> those of its resources that are named; only of the VENs named, if any are."""
    resources: dict[str, list[str]] = {}
    for resource_id in target.resource_ids:
        having = [one for one in owners.get(resource_id, ()) if not target.ven_ids or one in whole]
        if not having:
            raise Unknown(
                f"No VEN{' of these' if target.ven_ids else ''} has the resource '{resource_id}'."
            )
        for ven_id in having:
            resources.setdefault(ven_id, []).append(resource_id)
    return resources


def _refuse_other_kinds(target: Target) -> None:
    understood = Target(
        ven_ids=target.ven_ids,
        group_ids=target.group_ids,
        group_names=target.group_names,
        resource_ids=target.resource_ids,
    )
    if target != understood:
        raise Invalid(
            "An event can be aimed at VENs, groups and resources only; "
            "the VTN cannot tell who else is meant."
        )


def _can_take_events(ven: Ven) -> bool:
    return ven.revoked_at is None and not ven.report_only


# --- what may be asked ---------------------------------------------------------------------------


def _check_request(request: ReportRequest, offer: Report | None, ven_id: str) -> None:
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


def _accounted(record: RequestRecord, now: datetime) -> RequestRecord:
    """With how many intervals should have come by now, or by the end of what was asked."""
    record = _by_the_clock(record, now)
    if record.report_name == METADATA:
        return record
    interval = record.request.interval
    goes_on = record.state in (
        RequestState.ASKED,
        RequestState.ACTIVE,
        RequestState.CANCELLING,
    )
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


# --- measured values -----------------------------------------------------------------------------


def _granularity_s(requests: Sequence[RequestRecord], report_name: str) -> float | None:
    """Of the latest request for a report of this name."""
    named = [one.request for one in requests if one.report_name == report_name]
    return named[-1].granularity.total_seconds() if named else None


def _summed(ven_id: str, series: Sequence[Series]) -> Series:
    """One series: the sum of several where all of them have a value; the worst quality word."""
    if len(series) == 1:
        return series[0]
    point = Point(ven_id=ven_id, r_id=" + ".join(one.point.r_id for one in series), unit="W")
    if not series:
        return Series(point=point, starts_at=array("d"), values=array("d"), quality=())
    columns = [
        dict(zip(one.starts_at, zip(one.values, one.quality, strict=True), strict=True))
        for one in series
    ]
    shared = sorted(set[float]().union(*columns).intersection(*columns))
    return Series(
        point=point,
        starts_at=array("d", shared),
        values=array("d", [sum(column[at][0] for column in columns) for at in shared]),
        quality=tuple(_worst([column[at][1] for column in columns]) for at in shared),
    )


def _worst(words: Collection[str]) -> str:
    """The first word that is not good, else the first."""
    return next((one for one in words if one and "Good" not in one), next(iter(words)))


# --- small checks --------------------------------------------------------------------------------


def _identifier(name: str, text: str) -> str:
    """An identifier from an operator: some text, of a length that can be kept and sent."""
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise Invalid(f"'{text}' cannot be a {name}; use letters, digits and signs.")
    if len(text) > _LONGEST:
        raise Invalid(f"A {name} has at most {_LONGEST} characters.")
    return text


def _digest(certificate_sha256: str, certificate_der: bytes | None) -> str:
    """The SHA-256 as it is kept. Raises Invalid."""
    sha256 = certificate_sha256.strip().replace(":", "").lower()
    if not _SHA256.fullmatch(sha256):
        raise Invalid(
            "The certificate's SHA-256 has 64 hex digits; "
            "the short OpenADR fingerprint is too few to tell friend from foe."
        )
    if certificate_der is not None and sha256_of(certificate_der) != sha256:
        raise Invalid("The certificate and its SHA-256 do not belong together; give one.")
    return sha256


async def _nobodys(connection: AsyncConnection, sha256: str) -> None:
    """Raises Conflict where the certificate is some VEN's."""
    owner = await vens.find_by_certificate(connection, sha256)
    if owner is not None:
        raise Conflict(f"This certificate is that of the VEN '{owner}' already.")


async def _registered(connection: AsyncConnection, ven_id: str) -> Ven:
    ven = await known_ven(connection, ven_id, lock=True)
    if not ven.registered:
        raise Conflict(f"The VEN '{ven_id}' is not registered; it has to register first.")
    return ven


async def _known_point(connection: AsyncConnection, ven_id: str, r_id: str, facet: str) -> Point:
    await known_ven(connection, ven_id)
    point = await measurements.find(connection, ven_id, r_id, facet)
    if point is None:
        raise Unknown(f"The VEN '{ven_id}' has reported nothing under the rID '{r_id}'.")
    return point


async def _known_group(connection: AsyncConnection, group_id: str) -> Group:
    group = await groups.find(connection, group_id)
    if group is None:
        raise Unknown(f"There is no group '{group_id}'; see `vtn groups list`.")
    return group


async def _join(connection: AsyncConnection, group_id: str, ven_ids: Sequence[str]) -> None:
    for ven_id in ven_ids:
        await known_ven(connection, ven_id)
    await groups.join(connection, group_id, ven_ids)


async def _known_event(connection: AsyncConnection, event_id: str) -> Event:
    event = await events.find(connection, event_id, lock=True)
    if event is None:
        raise _no_event(event_id)
    return event


def _no_event(event_id: str) -> Unknown:
    return Unknown(f"There is no event '{event_id}'; see `vtn event list`.")


def _refuse_stale(current: Event, expected: int | None) -> None:
    if expected is not None and expected != current.modification_number:
        raise Conflict(
            f"The event '{current.event_id}' is at modification {current.modification_number}, "
            f"not {expected}: somebody else changed it; look at it again."
        )


def _signals(event: Event) -> str:
    return ", ".join(f"{one.signal_name} {one.signal_type.value}" for one in event.signals)
