# SPDX-License-Identifier: Apache-2.0
"""The desk: events are published, modified, cancelled, and looked at."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event
from oadr.target import Target
from oadr.vocabulary import EventStatus
from vtn import eventbook
from vtn.curtailment import most_ordered_w
from vtn.desk.aims import resolved
from vtn.desk.checks import identifier, known_event, no_event, refuse_stale
from vtn.desk.room import Room
from vtn.errors import Conflict, Invalid, NeedsApproval, Unknown
from vtn.news import News
from vtn.records import EventRecord, Repeat
from vtn.services.office import known_ven
from vtn.store import events, groups, headlines, line, plans, vens

STOP_WORD: Final = "STOP"
REMEMBERED: Final = timedelta(hours=24)
"""How long a request that comes again is known by its key."""


class EventDesk(Room):
    """What is asked of VENs."""

    async def publish_event(
        self, event: Event, *, repeat: Repeat | None = None, by: str
    ) -> EventRecord:
        """Publish a draft: `event_id` may be "" (one is made), and so may each `signal_id`.

        The target may name venIDs, groupIDs (or groupNames) and resourceIDs; empty is every VEN
        that is not revoked. `status`, `created_at`, `modification_number`, `uid`s and
        `current_value`s of the draft count for nothing: the VTN sets them.
        Raises InvalidEvent with the rule it breaks, Unknown for a target or market context,
        Conflict where the eventID is taken or the event overlaps another one of the same market
        context at the same VEN, NeedsApproval where a second person has to agree. With `repeat`
        the same request again is answered as before, and another one under its key is Invalid.
        """
        at = self._office.now()
        event_id = identifier("eventID", event.event_id or uuid.uuid4().hex)
        drafted = eventbook.drafted(event, event_id=event_id, now=at)
        self._refuse_alone(drafted)
        async with self._office.change() as (connection, news):
            if repeat is not None and (found := await self._repeated(connection, by, repeat)):
                kind, _, known_id = found.partition(":")
                if kind == "event" and (record := await events.record(connection, known_id, at)):
                    return record
            record = await self._publish(connection, news, drafted, at, by)
            if repeat is not None:
                await self._remember(connection, by, repeat, f"event:{event_id}", at)
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
            current = await known_event(connection, event_id)
            refuse_stale(current, expected_modification)
            modified = eventbook.modified(current, event, now=at)
            self._refuse_alone(modified)
            return await self._modify(connection, news, modified, "modify event", at=at, by=by)

    async def end_event(
        self, event_id: str, *, expected_modification: int | None = None, by: str
    ) -> EventRecord:
        """An active event ends a second from now: VENs go back as at its end, recovery included.

        Raises as cancel_event, and InvalidEvent where it is not active.
        """
        at = self._office.now()
        async with self._office.change() as (connection, news):
            current = await known_event(connection, event_id)
            refuse_stale(current, expected_modification)
            draft = eventbook.ended_early(current, now=at)
            modified = eventbook.modified(current, draft, now=at)
            return await self._modify(connection, news, modified, "end event early", at=at, by=by)

    async def stop_all(self, *, word: str, by: str) -> list[str]:
        """Cancel every event that is not over, in one transaction; their eventIDs.

        Raises Invalid unless the word is STOP.
        """
        if word != STOP_WORD:
            raise Invalid(f"word: type {STOP_WORD} to cancel every event.")
        at = self._office.now()
        stopped = []
        async with self._office.change() as (connection, news):
            await self._note(connection, by, "emergency stop", "event:*", at)
            for found in await headlines.going_on(connection, at):
                if found.event.status is EventStatus.COMPLETED:
                    continue
                current = await known_event(connection, found.event.event_id)
                cancelled = eventbook.cancelled(current, now=at)
                await events.change(connection, cancelled, None, at=at, by=by)
                record = await self._changed(connection, cancelled, "cancel event", at, by)
                news.woken(record.deliveries)
                stopped.append(current.event_id)
        return stopped

    async def cancel_event(
        self, event_id: str, *, expected_modification: int | None = None, by: str
    ) -> EventRecord:
        """Raises InvalidEvent where it is over or cancelled already, Conflict as modify_event."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            current = await known_event(connection, event_id)
            refuse_stale(current, expected_modification)
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
        after: str | None = None,
        limit: int | None = None,
    ) -> list[EventRecord]:
        """Events, the one that starts last first; so many `after` one.

        Raises Unknown where that one, or the VEN, is none of ours.
        """
        async with self._office.store.read() as connection:
            if ven_id is not None:
                await known_ven(connection, ven_id)
            place = None
            if after is not None:
                last = await events.find(connection, after)
                if last is None:
                    raise no_event(after)
                place = last.starts_at, after
            return await events.records(
                connection,
                self._office.now(),
                status=status,
                ven_id=ven_id,
                after=place,
                limit=limit,
            )

    async def event(self, event_id: str) -> EventRecord:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            record = await events.record(connection, event_id, self._office.now())
        if record is None:
            raise no_event(event_id)
        return record

    async def _publish(
        self, connection: AsyncConnection, news: News, drafted: Event, at: datetime, by: str
    ) -> EventRecord:
        event_id = drafted.event_id
        if await events.find(connection, event_id) is not None:
            raise Conflict(f"There is an event '{event_id}' already; choose another eventID.")
        targets = await self._targets(connection, drafted)
        await events.add(connection, drafted, targets, at=at, by=by)
        await self._note(
            connection, by, "publish event", f"event:{event_id}", at, detail=_signals(drafted)
        )
        record = await events.record(connection, event_id, at)
        assert record is not None
        news.woken(targets)
        return record

    async def _modify(
        self,
        connection: AsyncConnection,
        news: News,
        modified: Event,
        act: str,
        *,
        at: datetime,
        by: str,
    ) -> EventRecord:
        targets = await self._targets(connection, modified)
        await events.change(connection, modified, targets, at=at, by=by)
        record = await self._changed(connection, modified, act, at, by)
        news.woken(record.deliveries)
        return record

    async def _repeated(self, connection: AsyncConnection, by: str, repeat: Repeat) -> str | None:
        """What the same request came to before. Raises Invalid for another one under its key."""
        await line.one_at_a_time(connection, f"key:{by}:{repeat.key}")
        found = await plans.answered(connection, by, repeat.key)
        if found is None:
            return None
        if found[0] != repeat.body_sha256:
            raise Invalid(
                "Idempotency-Key: this key came with another body before; take a new one for "
                "another request."
            )
        return found[1]

    async def _remember(
        self, connection: AsyncConnection, by: str, repeat: Repeat, answer: str, at: datetime
    ) -> None:
        await plans.forget_answers(connection, before=at - REMEMBERED)
        await plans.remember(
            connection,
            actor=by,
            key=repeat.key,
            body_sha256=repeat.body_sha256,
            answer=answer,
            at=at,
        )

    # --- a second person -------------------------------------------------------------------------

    def needs_approval(self, event: Event) -> bool:
        """Whether a second person has to agree to this draft, by [operator] in the settings."""
        operator = self._office.settings.operator
        if operator.approval or operator.approval_above_mw is None:
            return operator.approval
        most_w = most_ordered_w(event)
        if most_w is None:
            return True
        return most_w * self._vens_of(event.target) > operator.approval_above_mw * 1e6

    def _vens_of(self, target: Target) -> int:
        """How many VENs a target may come to."""
        known = [one.ven for one in self._office.directory.entries() if one.ven.revoked_at is None]
        if not target:
            return len(known)
        groups_named = {*target.group_ids, *target.group_names}
        by_name = bool(target.group_names)
        return sum(
            ven.ven_id in target.ven_ids
            or by_name
            or not groups_named.isdisjoint(ven.groups)
            or not set(target.resource_ids).isdisjoint(ven.resources)
            for ven in known
        )

    def _refuse_alone(self, event: Event) -> None:
        if self.needs_approval(event):
            raise NeedsApproval(
                "This event waits for a second person; propose it, and have somebody else "
                "approve it."
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
        """Whom the event is for, and what target each is shown; see `resolved`."""
        await line.one_at_a_time(connection, f"context:{event.market_context}")
        contexts = [one.uri for one in await groups.market_contexts(connection)]
        if event.market_context not in contexts:
            raise Unknown(
                f"There is no market context '{event.market_context}'; "
                + (f"there is {', '.join(contexts)}." if contexts else "add one first.")
            )
        known = {one.ven_id: one for one in await vens.every(connection)}
        owners = await vens.owners(connection, event.target.resource_ids)
        targets = resolved(event.target, known, await groups.every(connection), owners)
        for other, ven_id in await events.overlapping(connection, event, targets):
            if eventbook.overlap(event, other):
                raise Conflict(
                    f"The event overlaps '{other.event_id}' of the same market context at the VEN "
                    f"'{ven_id}'; choose another time or context, or modify that event."
                )
        return targets


def _signals(event: Event) -> str:
    return ", ".join(f"{one.signal_name} {one.signal_type.value}" for one in event.signals)
