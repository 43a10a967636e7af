# SPDX-License-Identifier: Apache-2.0
"""What every part of the desk stands in: the office, how a VEN stands, and how an act is noted."""

import dataclasses
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.directory import Entry
from vtn.records import Ven
from vtn.services.office import Office
from vtn.store import audit

_MISSED_POLLS = 3
"""A VEN that was silent for so many poll intervals is offline."""
_LATE_POLLS = 1.5


class NodeState(StrEnum):
    """How a node stands, by when it was heard of."""

    ONLINE = "online"
    LATE = "late"
    """Missed a poll, and may still come."""
    SILENT = "silent"
    """Missed three, or a push."""
    EXPECTED = "expected"
    """Let in, and never registered yet."""
    REVOKED = "revoked"


class Room:
    """The office, who is online, and the audit line of an act."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def is_online(self, entry: Entry, now: datetime) -> bool:
        """Heard of within three poll intervals; one that is pushed to, unless a push failed."""
        ven, contact_at = entry.ven, entry.last_contact_at
        if not ven.registered or contact_at is None:
            return False
        if ven.push_address is not None and not entry.unreachable:
            return True
        patience = timedelta(seconds=_MISSED_POLLS * self._office.poll_interval_s(ven))
        return now - contact_at <= patience

    def state(self, entry: Entry, now: datetime) -> NodeState:
        """How it stands at this moment."""
        ven, contact_at = entry.ven, entry.last_contact_at
        if ven.revoked_at is not None:
            return NodeState.REVOKED
        if not ven.registered:
            return NodeState.EXPECTED
        if not self.is_online(entry, now):
            return NodeState.SILENT
        patience_s = _LATE_POLLS * self._office.poll_interval_s(ven)
        late = contact_at is not None and (now - contact_at).total_seconds() > patience_s
        return NodeState.LATE if late and ven.push_address is None else NodeState.ONLINE

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
