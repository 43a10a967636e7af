# SPDX-License-Identifier: Apache-2.0
"""The desk: events are published, modified, cancelled, and looked at."""

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event
from oadr.target import Target
from oadr.vocabulary import EventStatus
from vtn import eventbook
from vtn.desk.aims import resolved
from vtn.desk.checks import identifier, known_event, no_event, refuse_stale
from vtn.desk.room import Room
from vtn.errors import Conflict, Unknown
from vtn.records import EventRecord
from vtn.services.office import known_ven
from vtn.store import events, groups, line, vens


class EventDesk(Room):
    """What is asked of VENs."""

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
        event_id = identifier("eventID", event.event_id or uuid.uuid4().hex)
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
            current = await known_event(connection, event_id)
            refuse_stale(current, expected_modification)
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
            raise no_event(event_id)
        return record

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
