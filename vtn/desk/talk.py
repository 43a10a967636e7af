# SPDX-License-Identifier: Apache-2.0
"""The desk: what was said with VENs, word by word."""

from vtn.desk.room import Room
from vtn.errors import Unknown
from vtn.store import conversation
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
