# SPDX-License-Identifier: Apache-2.0
"""What every part of the desk stands in: the office, and how an act is noted."""

import dataclasses
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.directory import Entry
from vtn.records import Ven
from vtn.services.office import Office
from vtn.store import audit

_MISSED_POLLS = 3
"""A VEN that was silent for so many poll intervals is offline."""


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
