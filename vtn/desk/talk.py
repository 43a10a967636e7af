# SPDX-License-Identifier: Apache-2.0
"""The desk: what was said with VENs, word by word, and lines of the audit looked for."""

from datetime import datetime

from vtn.desk.room import Room
from vtn.errors import Unknown
from vtn.records import AuditLine
from vtn.store import audit, conversation
from vtn.store.conversation import Said


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
        async with self._office.store.read() as connection:
            found = await conversation.find(connection, number)
        if found is None:
            raise Unknown("This message is no longer kept; [messages] keep_hours says how long.")
        return found

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
