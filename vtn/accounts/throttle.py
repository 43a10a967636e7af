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
from vtn.errors import CodeWanted, ProviderFault, TooOften
from vtn.store import Store, login_tries

Limit = tuple[int, timedelta]
"""So many wrong ones within so long."""
BY_CLIENT: Final[Limit] = (10, timedelta(minutes=1))
BY_NAME: Final[Limit] = (30, timedelta(minutes=15))
NOT_WRONG: Final = (CodeWanted, TooOften, ProviderFault)


class Throttle:
    """Wrong passwords of late."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    @contextlib.asynccontextmanager
    async def one_try(self, *, name: str = "", client: str = "") -> AsyncIterator[None]:
        """Around looking at a password; what refuses it is a wrong try, but NOT_WRONG.

        Raises TooOften where there were too many; nothing is looked at then, and it does not count.
        """
        by_name, by_client = sha256(f"name {name}"), sha256(f"client {client}")
        limits = {by_name: BY_NAME} if name else {}
        if client:
            limits[by_client] = BY_CLIENT
        await self._count(limits)
        try:
            yield
        except NOT_WRONG:
            await self._take_back(limits)
            raise
        await self._take_back({by_client}, forgotten=by_name)

    async def _count(self, limits: Mapping[str, Limit]) -> None:
        at = self._now()
        async with self._store.read() as connection:  # who is refused already costs no write
            for key, found in (await login_tries.standing(connection, limits, at=at)).items():
                _refuse_beyond(limits[key][0] - 1, *found, at)
        async with self._store.write() as connection:
            for key in sorted(limits):  # in one order, or two workers wait for each other
                most, within = limits[key]
                found = await login_tries.count(connection, key, at=at, ends_at=at + within)
                _refuse_beyond(most, *found, at)

    async def _take_back(self, keys: Iterable[str], *, forgotten: str = "") -> None:
        async with self._store.write() as connection:
            for key in sorted(keys):
                await login_tries.take_back(connection, key)
            await login_tries.forget(connection, forgotten, at=self._now())


def _refuse_beyond(most: int, tries: int, ends_at: datetime, at: datetime) -> None:
    if tries > most:
        wait_s = int((ends_at - at).total_seconds()) + 1
        raise TooOften(f"Too many wrong passwords; come again in {wait_s} s.")
