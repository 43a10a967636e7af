# SPDX-License-Identifier: Apache-2.0
"""What every service works with, and how a VEN is forgotten."""

import asyncio
import dataclasses
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.config import Settings
from vtn.conversation import Conversation
from vtn.counts import Counts
from vtn.directory import Directory, Entry
from vtn.errors import Unknown
from vtn.handouts import HandOuts
from vtn.intake import Intake
from vtn.news import News, notices
from vtn.pressure import Pressure
from vtn.records import Ven
from vtn.shelf import Letters
from vtn.store import Store, audit, events, line, opts, outbox, reports, subscriptions, vens

LOOK_AGAIN = timedelta(seconds=60)
"""After all VENs were read anew, by when each has been looked for in the database."""

_LONGEST_DETAIL = 1000


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
    counts: Counts = field(default_factory=Counts)
    pressure: Pressure = field(default_factory=Pressure)
    intake: Intake = field(default_factory=Intake)
    handouts: HandOuts = field(default_factory=HandOuts)
    letters: Letters = field(init=False)
    conversation: Conversation = field(init=False)
    process_id: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells our own notices from those of other processes."""
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    """What was read before a change may not be entered after it: a revoked VEN would be back."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "letters", Letters(self.settings.vtn.id))
        object.__setattr__(self, "conversation", Conversation(self.settings.messages))

    @property
    def vtn_id(self) -> str:
        return self.settings.vtn.id

    @property
    def resend_after(self) -> timedelta:
        return timedelta(seconds=self.settings.openadr.resend_after_s)

    def poll_interval_s(self, ven: Ven) -> float:
        """How often this VEN is told to poll."""
        return ven.poll_interval_s or self.settings.openadr.poll_interval_s

    @asynccontextmanager
    async def change(self) -> AsyncIterator[tuple[AsyncConnection, News]]:
        """One transaction that puts something in for VENs, or changes them, and says so.

        What the block notes in its News is told to the other processes with the commit, and
        entered into our own directory after it. Raises what Store.write raises.
        """
        news = News()
        committing = False
        try:
            async with self.store.write() as connection:
                yield connection, news
                await self.announce(connection, news)
                committing = True
        except BaseException:
            if committing and news:  # nobody knows whether it was committed
                self.directory.doubt()
            raise
        await self.take(news)

    async def announce(self, connection: AsyncConnection, news: News) -> None:
        """The first half of `change`: before the commit, in its transaction."""
        if news and connection.dialect.name == "postgresql":
            payloads = notices(self.process_id, woken=news.to_wake, changed=news.to_read)
            await line.announce(connection, payloads)

    async def take(self, news: News) -> None:
        """The second half of `change`: right after the commit. Raises StoreUnavailable."""
        self.directory.wake(news.to_wake)
        if news.to_read:
            await self.refresh(news.to_read)

    async def refresh(self, ven_ids: Collection[str]) -> None:
        """Enter into the directory what the database says of these VENs now.

        Where it does not answer the directory is in doubt, and StoreUnavailable is raised: a VEN
        that was revoked may not go on as before.
        """
        try:
            async with self._refreshing:
                async with self.store.read() as connection:
                    found = await vens.some(connection, ven_ids)
                for ven in found:
                    self.directory.put(ven)
        except BaseException:
            self.directory.doubt()
            raise

    async def resynchronise(self) -> None:
        """Enter every VEN anew, and be in doubt no longer. Raises StoreUnavailable.

        For whom nothing waits the next poll need not look; within LOOK_AGAIN it does all the same,
        each VEN's at another moment, so that not all of them come to the database at once.
        """
        doubt = self.directory.doubts
        entered: list[tuple[Entry, int]] = []
        async with self._refreshing, self.store.read() as connection:
            async for part in vens.in_parts(connection):
                entered += [(entry, entry.wakes) for entry in map(self.directory.put, part)]
            waited_for = await outbox.waited_for(connection, self.now())
        now = self.now()
        for index, (entry, wakes) in enumerate(entered):
            if entry.wakes == wakes and entry.ven.ven_id not in waited_for:
                entry.due_at = now + LOOK_AGAIN * (index / len(entered))
        self.directory.dispel(doubt)

    def must_look_up(self, entry: Entry | None) -> bool:
        """Whether the database has to be asked whose certificate this is.

        While in doubt; and, where other processes may have let the VEN in or registered it a moment
        ago, before it is told that it is not.
        """
        if self.directory.in_doubt:
            return True
        return (entry is None or not entry.ven.registered) and self.store.database == "postgresql"

    async def look_up(self, sha256: str) -> Entry | None:
        """The VEN of a certificate, as the database has it; the directory is brought up to that.

        Raises StoreUnavailable.
        """
        async with self.store.read() as connection:
            ven_id = await vens.find_by_certificate(connection, sha256)
            found = await vens.some(connection, [ven_id] if ven_id is not None else [])
        entry = self.directory.by_certificate(sha256)
        known = entry.ven if entry is not None else None
        if known is not None and (not found or found[0].ven_id != known.ven_id):
            await self.refresh([known.ven_id])
        if found and (known is None or _without_contact(known) != _without_contact(found[0])):
            await self.refresh([found[0].ven_id])
        return self.directory.by_certificate(sha256)

    def may_be_due(self, entry: Entry) -> bool:
        """Whether something may wait for the VEN; False only where it is certain."""
        return self.directory.in_doubt or entry.is_due(self.now())

    def ven(self, ven_id: str) -> Ven:
        """A VEN as the directory knows it, which it does after a change. Raises Unknown."""
        entry = self.directory.by_id(ven_id)
        if entry is None:
            raise _no_ven(ven_id)
        return entry.ven

    async def remember_certificate(self, ven: Ven, der: bytes) -> None:
        """Keep the certificate of a VEN that was added by its fingerprint alone."""
        if hashlib.sha256(der).hexdigest() != ven.certificate_sha256:
            return
        async with self.change() as (connection, news):
            await vens.remember_certificate(connection, ven.ven_id, der)
            news.changed(ven.ven_id)

    async def take_up_certificate(self, ven: Ven, sha256: str) -> None:
        """The VEN has shown the certificate it renewed: the one before is nobody's from now on."""
        async with self.change() as (connection, news):
            found = await known_ven(connection, ven.ven_id, lock=True)
            if found.next_certificate_sha256 != sha256:
                return
            await vens.replace_certificate(
                connection, ven.ven_id, sha256, found.next_certificate_der
            )
            await audit.note(
                connection,
                at=self.now(),
                actor=f"ven:{ven.ven_id}",
                act="use renewed certificate",
                subject=f"ven:{ven.ven_id}",
                detail=sha256,
            )
            news.changed(ven.ven_id)


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
        raise _no_ven(ven_id)
    return ven


def _no_ven(ven_id: str) -> Unknown:
    return Unknown(f"There is no VEN '{ven_id}'; see `vtn vens list`.")


def _without_contact(ven: Ven) -> Ven:
    return dataclasses.replace(ven, last_contact_at=None)


async def forget(
    office: Office, connection: AsyncConnection, ven_id: str, *, at: datetime, remark: str
) -> None:
    """Erase what a registration has brought: offers, requests, queue, opts (rules 406, 407).

    What was measured and answered stays: it is the utility's.
    """
    await reports.replace_offers(connection, ven_id, (), at=at)
    await reports.cancel_all(connection, ven_id, remark=remark)
    await outbox.clear(connection, ven_id)
    await subscriptions.clear(connection, ven_id)
    await opts.end_all(connection, ven_id, at=at)
    await office.handouts.settle(connection, ven_id)
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
    """An audit line for what a VEN did; about itself unless `subject` says otherwise.

    Of a `detail` in which the VEN had much to say only the beginning is kept.
    """
    await audit.note(
        connection,
        at=at,
        actor=caller.actor,
        act=act,
        subject=subject or caller.actor,
        outcome=outcome,
        detail=detail[:_LONGEST_DETAIL],
    )
