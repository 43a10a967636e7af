# SPDX-License-Identifier: Apache-2.0
"""How often somebody may try a password: by client address, and by name whoever tries.

Counted in the database, for all workers together and through every restart. A try counts from its
beginning on and is taken back when it was right: many at once get no further than one after the
other. What it is counted by is kept as its SHA-256, for people type passwords where names belong.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from vtn.accounts.secrets import sha256
from vtn.errors import CodeWanted, TooOften
from vtn.store import Store, login_tries

BY_CLIENT: Final = (10, timedelta(minutes=1))
"""So many wrong ones within so long."""
BY_NAME: Final = (30, timedelta(minutes=15))


class Throttle:
    """Wrong passwords of late."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    @contextlib.asynccontextmanager
    async def one_try(self, *, name: str, client: str = "") -> AsyncIterator[None]:
        """Around looking at a password; what refuses it is a wrong try.

        CodeWanted and TooOften are none. Raises TooOften where there were too many; nothing is
        looked at then, and it does not count.
        """
        by_name, by_client = sha256(f"name {name}"), sha256(f"client {client}")
        limits = {by_name: BY_NAME} | ({by_client: BY_CLIENT} if client else {})
        await self._count(limits)
        try:
            yield
        except (CodeWanted, TooOften):
            await self._take_back(limits)
            raise
        await self._take_back({by_client}, forgotten=by_name)

    async def _count(self, limits: Mapping[str, tuple[int, timedelta]]) -> None:
        at = self._now()
        async with self._store.write() as connection:
            for key in sorted(limits):  # in one order, or two workers wait for each other
                most, within = limits[key]
                tries, ends_at = await login_tries.count(
                    connection, key, at=at, ends_at=at + within
                )
                if tries > most:
                    wait_s = int((ends_at - at).total_seconds()) + 1
                    raise TooOften(f"Too many wrong passwords; come again in {wait_s} s.")

    async def _take_back(self, keys: Iterable[str], *, forgotten: str = "") -> None:
        async with self._store.write() as connection:
            for key in sorted(keys):
                await login_tries.take_back(connection, key)
            await login_tries.forget(connection, forgotten, at=self._now())
