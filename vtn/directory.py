# SPDX-License-Identifier: Apache-2.0
"""Who is who, in memory: an idle poll needs no database.

Every change of a VEN in this process is entered here at once, revocation above all; what other
processes change is entered when they tell (vtn.following). The database remains the truth: the
directory is read from it at the start, and whenever something may have been missed. Until that is
done it is in doubt, and each request looks at the database.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import oadr
from oadr.codec import escape
from vtn.records import Ven
from vtn.shelf import Shelf

LEFT_ON_DISK = b""
"""In place of a certificate that every request of its VEN shows again: a third of its weight."""

SOON = datetime.min.replace(tzinfo=UTC)
"""Due at the very next poll."""

_IDLE_HEAD, _IDLE_TAIL = oadr.build(
    oadr.poll.Response(response=oadr.EiResponse(description="OK"), ven_id="\N{MIDDLE DOT}")
).split("\N{MIDDLE DOT}".encode())


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is known of one VEN without asking the database."""

    ven: Ven
    """As last read or changed; its `last_contact_at` is kept below.

    Its certificate is here where we speak to it first (push) or it signs; else LEFT_ON_DISK.
    """
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
    shelf: Shelf | None = None
    """What waits for the VEN, if that is known for sure; None: ask the database."""
    stirs: int = 0
    """Counts what makes a shelf untrue, so that none is put up that was read before it."""

    def stir(self) -> None:
        """What waits for the VEN, or was delivered to it, is another than its shelf says."""
        self.shelf = None
        self.stirs += 1

    @property
    def idle(self) -> bytes:
        """The answer to a poll for which nothing waits."""
        return _IDLE_HEAD + escape(self.ven.ven_id).encode() + _IDLE_TAIL

    def is_due(self, now: datetime) -> bool:
        return self.due_at is not None and self.due_at <= now


def nobody_listens(_entry: Entry) -> None:
    """Who polls finds out by itself."""


def nobody_shelves(_ven_ids: Iterable[str]) -> None:
    """Every poll asks the database."""


def nothing_is_open(_sha256: str) -> None:
    """No connection to close."""


class Directory:
    """All VENs by certificate and by venID."""

    def __init__(self, vens: Iterable[Ven] = ()) -> None:
        self._by_certificate: dict[str, Entry] = {}
        self._by_id: dict[str, Entry] = {}
        self.on_news: Callable[[Entry], None] = nobody_listens
        """Called whenever something was put in for a VEN, or has changed about it."""
        self.on_woken: Callable[[Iterable[str]], None] = nobody_shelves
        """Called with the VENs for whom something was put in."""
        self.on_shut_out: Callable[[str], object] = nothing_is_open
        """Called with the SHA-256 of a certificate that was a VEN's and is nobody's from now on."""
        self._doubts = 0
        self._dispelled = 0
        self._untold: dict[str, Entry] | None = None
        self._untold_reach: dict[str, bool] = {}
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

    @property
    def in_doubt(self) -> bool:
        """Something may have changed that was not entered here: ask the database."""
        return self._doubts != self._dispelled

    def doubt(self) -> int:
        """From now on the directory is in doubt; the number of this doubt."""
        self._doubts += 1
        return self._doubts

    @property
    def doubts(self) -> int:
        """The number of the latest doubt; remember it before all VENs are read again."""
        return self._doubts

    def dispel(self, doubt: int) -> None:
        """All VENs were read and entered, beginning after this doubt arose."""
        self._dispelled = doubt

    def put(self, ven: Ven) -> Entry:
        """Enter a VEN, or what has changed about it; it is due at its next poll."""
        if ven.certificate_der and not ven.xml_signature and ven.push_address is None:
            ven = dataclasses.replace(ven, certificate_der=LEFT_ON_DISK)
        entry = self._by_id.get(ven.ven_id)
        if entry is None:
            entry = Entry(ven=ven)
            self._by_id[ven.ven_id] = entry
        before, entry.ven = entry.ven, ven
        if ven.last_contact_at is not None:
            self._contact(entry, ven.last_contact_at)
        if before.registered_at != ven.registered_at:
            entry.unconfirmed = None  # what was handed out before is forgotten
        for sha256 in set(before.certificates).difference(ven.certificates):
            if self._by_certificate.pop(sha256, None) is not None:
                self.on_shut_out(sha256)
        for sha256 in ven.certificates:
            self._by_certificate[sha256] = entry
        self.wake([ven.ven_id])
        return entry

    def wake(self, ven_ids: Iterable[str]) -> None:
        """Something was put in for these VENs."""
        woken = [entry for one in ven_ids if (entry := self._by_id.get(one)) is not None]
        for entry in woken:
            entry.due_at = SOON
            entry.wakes += 1
            entry.stir()
            self.on_news(entry)
        if woken:
            self.on_woken([entry.ven.ven_id for entry in woken])

    def wake_all(self) -> None:
        """Something may have been put in for any VEN."""
        self.wake(tuple(self._by_id))

    # --- when each was last heard of -------------------------------------------------------------

    def touch(self, entry: Entry, now: datetime) -> None:
        """The VEN was heard of, by this process."""
        entry.last_contact_at = now
        entry.contact_is_new = True
        if self._untold is not None:
            self._untold[entry.ven.ven_id] = entry

    def heard(self, ven_id: str, at: datetime) -> None:
        """Another process has heard of the VEN, and writes it down."""
        entry = self._by_id.get(ven_id)
        if entry is not None:
            self._contact(entry, at)

    def reach(self, entry: Entry, *, arrived: bool) -> None:
        """Whether the last push to the VEN, by this process, arrived."""
        if entry.unreachable == arrived:
            self._untold_reach[entry.ven.ven_id] = arrived
        entry.unreachable = not arrived

    def reached(self, ven_id: str, *, arrived: bool) -> None:
        """As `reach`, by another process."""
        entry = self._by_id.get(ven_id)
        if entry is not None:
            entry.unreachable = not arrived

    def new_contacts(self) -> dict[str, datetime]:
        """Contacts since the last call, by venID: to be written down."""
        found = {}
        for ven_id, entry in self._by_id.items():
            if entry.contact_is_new and entry.last_contact_at is not None:
                found[ven_id] = entry.last_contact_at
                entry.contact_is_new = False
        return found

    def untold(self) -> tuple[dict[str, float], dict[str, bool]]:
        """News since the last call, by venID: contacts (seconds since 1970), and pushes.

        To be told to other processes; kept from the first call on.
        """
        heard = {
            ven_id: entry.last_contact_at.timestamp()
            for ven_id, entry in (self._untold or {}).items()
            if entry.last_contact_at is not None
        }
        reached, self._untold_reach = self._untold_reach, {}
        self._untold = {}
        return heard, reached

    @staticmethod
    def _contact(entry: Entry, at: datetime) -> None:
        if entry.last_contact_at is None or at > entry.last_contact_at:
            entry.last_contact_at = at
