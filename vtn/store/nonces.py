# SPDX-License-Identifier: Apache-2.0
"""Nonces of signed messages, for as long as they could be replayed (oadr.replay).

A nonce is on the disk before its message is acted on: a replay is refused after a power cut, too.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, select

from oadr.replay import Nonce
from vtn.store.engine import Store
from vtn.store.hot import insert_once
from vtn.store.tables import NonceRow

_KEEP = insert_once(NonceRow, ("sender", "value", "sent_at"))


class Nonces:
    """The oadr.replay.NonceStore in our database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def recall(self, since: datetime) -> Iterable[Nonce]:
        query = select(NonceRow.sender, NonceRow.value, NonceRow.sent_at).where(
            NonceRow.sent_at >= since
        )
        async with self._store.read() as connection:
            rows = (await connection.execute(query)).all()
        return [Nonce(sender=sender, value=value, sent_at=at) for sender, value, at in rows]

    async def keep(self, nonce: Nonce) -> bool:
        async with self._store.write() as connection:
            kept = await _KEEP.run(
                connection, sender=nonce.sender, value=nonce.value, sent_at=nonce.sent_at
            )
        return kept > 0

    async def forget(self, before: datetime) -> None:
        async with self._store.write() as connection:
            await connection.execute(delete(NonceRow).where(NonceRow.sent_at < before))
