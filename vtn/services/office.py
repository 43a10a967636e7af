# SPDX-License-Identifier: Apache-2.0
"""What every service works with, and how a VEN is forgotten."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.config import Settings
from vtn.directory import Directory, Entry
from vtn.errors import Unknown
from vtn.records import Ven
from vtn.store import Store, audit, events, opts, outbox, reports, subscriptions, vens


def _new_id() -> str:
    return secrets.token_hex(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """The settings, the store, the directory, the clock: shared by services and desk."""

    settings: Settings
    store: Store
    directory: Directory
    now: Callable[[], datetime]
    new_id: Callable[[], str] = _new_id
    """Makes requestIDs, registrationIDs ...; never the same twice."""
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    """What was read before a change may not be entered after it: a revoked VEN would be back."""

    @property
    def vtn_id(self) -> str:
        return self.settings.vtn.id

    @property
    def resend_after(self) -> timedelta:
        return timedelta(seconds=self.settings.openadr.resend_after_s)

    def poll_interval_s(self, ven: Ven) -> float:
        """How often this VEN is told to poll."""
        return ven.poll_interval_s or self.settings.openadr.poll_interval_s

    async def refresh(self, ven_id: str) -> Ven:
        """Enter into the directory what the database says of a VEN now."""
        async with self._refreshing:
            async with self.store.read() as connection:
                ven = await known_ven(connection, ven_id)
            self.directory.put(ven)
        return ven

    async def remember_certificate(self, ven: Ven, der: bytes) -> None:
        """Keep the certificate of a VEN that was added by its fingerprint alone."""
        if hashlib.sha256(der).hexdigest() != ven.certificate_sha256:
            return
        async with self.store.write() as connection:
            await vens.remember_certificate(connection, ven.ven_id, der)
        await self.refresh(ven.ven_id)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a message, and over which connection."""

    entry: Entry
    connection: int

    @property
    def ven_id(self) -> str:
        return self.entry.ven.ven_id

    @property
    def actor(self) -> str:
        """As the audit names it."""
        return f"ven:{self.ven_id}"


async def known_ven(connection: AsyncConnection, ven_id: str, *, lock: bool = False) -> Ven:
    """Raises Unknown."""
    ven = await vens.find(connection, ven_id, lock=lock)
    if ven is None:
        raise Unknown(f"There is no VEN '{ven_id}'; see `vtn vens list`.")
    return ven


async def forget(connection: AsyncConnection, ven_id: str, *, at: datetime, remark: str) -> None:
    """Erase what a registration has brought: offers, requests, queue, opts (rules 406, 407).

    What was measured and answered stays: it is the utility's.
    """
    await reports.replace_offers(connection, ven_id, (), at=at)
    await reports.cancel_all(connection, ven_id, remark=remark)
    await outbox.clear(connection, ven_id)
    await subscriptions.clear(connection, ven_id)
    await opts.end_all(connection, ven_id, at=at)
    await events.forget_deliveries(connection, ven_id)


async def note_ven(
    connection: AsyncConnection,
    caller: Caller,
    act: str,
    *,
    at: datetime,
    subject: str | None = None,
    outcome: str = "ok",
    detail: str = "",
) -> None:
    """An audit line for what a VEN did; about itself unless `subject` says otherwise."""
    await audit.note(
        connection,
        at=at,
        actor=caller.actor,
        act=act,
        subject=subject or caller.actor,
        outcome=outcome,
        detail=detail,
    )
