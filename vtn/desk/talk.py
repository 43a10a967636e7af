# SPDX-License-Identifier: Apache-2.0
"""The desk: what was said with VENs, word by word, and lines of the audit looked for."""

import re
from datetime import datetime
from typing import Final

from vtn.desk.room import Room
from vtn.errors import Unknown
from vtn.records import AuditLine
from vtn.store import audit, conversation
from vtn.store.conversation import Said

_NO_NUMBER: Final = 2**63
"""Databases count no further."""
_CREATED: Final = re.compile(rb"createdDateTime>\s*([0-9T:.+Z-]{10,40})\s*<")


class TalkDesk(Room):
    """The conversation with VENs, and with strangers who would be some."""

    async def conversation(
        self,
        *,
        ven_id: str | None = None,
        search: str = "",
        wrong: bool = False,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Said]:
        """The newest first, without the messages themselves; see vtn.store.conversation.latest."""
        office = self._office
        await office.conversation.flush(office.store, office.now())
        async with office.store.read() as connection:
            return await conversation.latest(
                connection,
                ven_id=ven_id,
                search=search,
                wrong=wrong,
                before=before,
                limit=limit,
            )

    async def said(self, number: int) -> Said:
        """One exchange with its messages. Raises Unknown for one that is no longer kept."""
        found = None
        if number < _NO_NUMBER:
            async with self._office.store.read() as connection:
                found = await conversation.find(connection, number)
        if found is None:
            raise Unknown("This message is no longer kept; [messages] keep_hours says how long.")
        return found

    async def written_before_s(self, ven_id: str) -> float | None:
        """By how many seconds a VEN's last report that is kept was older than its arrival.

        By the clocks of both: much less than 0, and its clock is ahead; None for no such report.
        """
        async with self._office.store.read() as connection:
            found = await conversation.latest(
                connection, ven_id=ven_id, search="oadrUpdateReport oadrUpdatedReport", limit=1
            )
            whole = await conversation.find(connection, found[0].number) if found else None
        match = _CREATED.search(whole.request) if whole is not None else None
        if whole is None or match is None:
            return None
        try:
            created_at = datetime.fromisoformat(match[1].decode())
        except ValueError:
            return None
        return (whole.at - created_at).total_seconds() if created_at.tzinfo else None

    @property
    def message_hours(self) -> int:
        """For how long messages are kept; 0: not at all."""
        return self._office.settings.messages.keep_hours

    async def find_acts(
        self,
        search: str = "",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[AuditLine]:
        """Lines of the audit in which each word stands, in [since, until), the newest first.

        `before` is the number of the last line already seen.
        """
        async with self._office.store.read() as connection:
            return await audit.found(
                connection,
                words=search.split(),
                since=since,
                until=until,
                before=before,
                limit=limit,
            )
