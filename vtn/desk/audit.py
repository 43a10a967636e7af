# SPDX-License-Identifier: Apache-2.0
"""The desk: the audit, and how the VTN is doing."""

from oadr.vocabulary import EventStatus
from vtn.desk.room import Room
from vtn.records import AuditLine, Health
from vtn.store import audit, events, outbox


class AuditDesk(Room):
    """What was done, and how things stand."""

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
