# SPDX-License-Identifier: Apache-2.0
"""Who is who, in memory: an idle poll needs no database.

Every change of a VEN in this process is entered here at once, revocation above all. The database
remains the truth: the directory is read from it at the start.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import oadr
from oadr.codec import escape
from vtn.records import Ven

SOON = datetime.min.replace(tzinfo=UTC)
"""Due at the very next poll."""

_IDLE_HEAD, _IDLE_TAIL = oadr.build(
    oadr.poll.Response(response=oadr.EiResponse(description="OK"), ven_id="\N{MIDDLE DOT}")
).split("\N{MIDDLE DOT}".encode())


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is known of one VEN without asking the database."""

    ven: Ven
    """As last read or changed; its `last_contact_at` is kept below."""
    due_at: datetime | None = SOON
    """From when a poll may find something; None: nothing waits."""
    wakes: int = 0
    """Counts what was put in for this VEN, so that a poll in between cannot miss it."""
    last_contact_at: datetime | None = None
    contact_is_new: bool = False
    unconfirmed: tuple[int, Mapping[str, int]] | None = None
    """Events that want no answer, just handed out: the connection, and modifications by eventID.

    A next message on the same connection shows that the VEN got them; on another it does not.
    """

    unreachable: bool = False
    """The last push did not arrive."""

    @property
    def idle(self) -> bytes:
        """The answer to a poll for which nothing waits."""
        return _IDLE_HEAD + escape(self.ven.ven_id).encode() + _IDLE_TAIL

    def is_due(self, now: datetime) -> bool:
        return self.due_at is not None and self.due_at <= now


def nobody_listens(_entry: Entry) -> None:
    """Who polls finds out by itself."""


class Directory:
    """All VENs by certificate and by venID."""

    def __init__(self, vens: Iterable[Ven] = ()) -> None:
        self._by_certificate: dict[str, Entry] = {}
        self._by_id: dict[str, Entry] = {}
        self.on_news: Callable[[Entry], None] = nobody_listens
        """Called whenever something was put in for a VEN, or has changed about it."""
        for ven in vens:
            self.put(ven)

    def __len__(self) -> int:
        return len(self._by_id)

    def by_certificate(self, sha256: str) -> Entry | None:
        """The VEN of a certificate (full SHA-256), unless it is revoked."""
        return self._by_certificate.get(sha256)

    def by_id(self, ven_id: str) -> Entry | None:
        return self._by_id.get(ven_id)

    def entries(self) -> Iterable[Entry]:
        return self._by_id.values()

    def put(self, ven: Ven) -> None:
        """Enter a VEN, or what has changed about it; it is due at its next poll."""
        entry = self._by_id.get(ven.ven_id)
        if entry is None:
            entry = Entry(ven=ven, last_contact_at=ven.last_contact_at)
            self._by_id[ven.ven_id] = entry
        entry.ven = ven
        if ven.revoked_at is None:
            self._by_certificate[ven.certificate_sha256] = entry
        else:
            self._by_certificate.pop(ven.certificate_sha256, None)
        self.wake([ven.ven_id])

    def wake(self, ven_ids: Iterable[str]) -> None:
        """Something was put in for these VENs."""
        for ven_id in ven_ids:
            entry = self._by_id.get(ven_id)
            if entry is not None:
                entry.due_at = SOON
                entry.wakes += 1
                self.on_news(entry)

    def touch(self, entry: Entry, now: datetime) -> None:
        """The VEN was heard of."""
        entry.last_contact_at = now
        entry.contact_is_new = True

    def new_contacts(self) -> dict[str, datetime]:
        """Contacts since the last call, by venID: to be written down."""
        found = {}
        for ven_id, entry in self._by_id.items():
            if entry.contact_is_new and entry.last_contact_at is not None:
                found[ven_id] = entry.last_contact_at
                entry.contact_is_new = False
        return found
