# SPDX-License-Identifier: Apache-2.0
"""A VEN's shelf: its events in memory, as bytes, ready for its next poll. Pure.

    wake (something was put in) ──▶ no shelf: the next poll asks the database
         │
         ▼ some milliseconds later (vtn.shelving)
    what the database says of the VEN ──▶ shelf ──poll──▶ letter, marked as handed out
                                            │
    oadrCreatedEvent, kept ─────────────────┴──▶ nothing due any more: no shelf

A letter is one oadrDistributeEvent with holes for its requestID, the venID and the moment at which
it is sent. It holds until a status or a current value in it changes, and one letter serves every
VEN that is told the same.
"""

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import oadr
from oadr.codec import escape
from oadr.event import DistributeEvent, Event
from oadr.moments import write_instant
from oadr.target import Target
from oadr.vocabulary import ResponseRequired
from vtn.eventbook import Booking, changes_at, due_at, is_listed, listing
from vtn.replies import ok

LONGEST = 14 * 1024
"""Longer letters are not kept: they are made for each poll."""

HOLE = "\N{MIDDLE DOT}"
"""The venID in the target of events that many VENs share; see `meant_alone`."""
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
# No text within an element can look like one of these: it would be escaped.
_HOLES = re.compile(
    f"(?<=<pyld:requestID>)({HOLE})(?=</pyld:requestID>)"
    f"|(?<=<ei:createdDateTime>)({re.escape(write_instant(_EPOCH))})(?=</ei:createdDateTime>)"
    f"|(?<=<ei:venID>)({HOLE})(?=</ei:venID>)"
)
_REQUEST, _NOW, _VEN = 0, 1, 2

ANYBODY = Target(ven_ids=(HOLE,))


def meant_alone(target: Target, ven_id: str) -> Target:
    """`ANYBODY` for the target of a VEN that is meant as a whole: it stands for each of them."""
    return ANYBODY if target == Target(ven_ids=(ven_id,)) else target


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Letter:
    """An oadrDistributeEvent that only has to be filled in."""

    events: tuple[Event, ...]
    """What it tells of, in its order, as they stand in the book."""
    until: datetime | None
    """From when something in it is another; None: never."""
    pieces: tuple[str | int, ...]
    """Text, and the holes in it."""
    length: int
    """About how many bytes it will have."""

    def filled(self, *, request_id: str, ven_id: str, now: datetime) -> bytes:
        """The whole payload."""
        values = (escape(request_id), write_instant(now), escape(ven_id))
        return "".join(
            [values[one] if isinstance(one, int) else one for one in self.pieces]
        ).encode()


def letter(bookings: Sequence[Booking], now: datetime, *, vtn_id: str) -> Letter:
    """What a VEN with these bookings is told at `now` (rules 15, 27, 40, 41, 50)."""
    told = listing(bookings, now)
    body = oadr.build(
        DistributeEvent(
            response=ok(""),
            request_id=HOLE,
            vtn_id=vtn_id,
            events=tuple(dataclasses.replace(one, created_at=_EPOCH) for one in told),
        )
    )
    of = {one.event.event_id: one.event for one in bookings}
    events = tuple(of[one.event_id] for one in told)
    changes = [at for at in (changes_at(one, now) for one in events) if at is not None]
    return Letter(
        events=events,
        until=min(changes, default=None),
        pieces=tuple(_cut(body.decode())),
        length=len(body),
    )


def _cut(text: str) -> list[str | int]:
    pieces: list[str | int] = []
    end = 0
    for hole in _HOLES.finditer(text):
        pieces += [sys.intern(text[end : hole.start()]), (hole.lastindex or 0) - 1]
        end = hole.end()
    return [*pieces, text[end:]]


class Letters:
    """Letters in use: who is told the same at the same time is told it by one letter."""

    def __init__(self, vtn_id: str) -> None:
        self._vtn_id = vtn_id
        self._letters: WeakValueDictionary[tuple[int, ...], Letter] = WeakValueDictionary()

    def of(self, bookings: Sequence[Booking], now: datetime) -> Letter:
        """The letter for these bookings at `now`."""
        # Who keeps a letter keeps its events: while it is here, no other event has these numbers.
        key = tuple(sorted(id(one.event) for one in bookings if is_listed(one, now)))
        found = self._letters.get(key)
        if found is None or not holds(found, now):
            found = self._letters[key] = letter(bookings, now, vtn_id=self._vtn_id)
        return found


def holds(letter: Letter, now: datetime) -> bool:
    """Whether it says what is so at `now`."""
    return letter.until is None or now < letter.until


@dataclass(slots=True, kw_only=True)
class Shelf:
    """All that waits for one VEN: events, and nothing in its queue."""

    bookings: tuple[Booking, ...]
    letter: Letter

    def telling(self, now: datetime, letters: Letters) -> Letter:
        """What the VEN is told at `now`."""
        listed = sum(is_listed(one, now) for one in self.bookings)
        if not holds(self.letter, now) or listed != len(self.letter.events):  # it never grows
            self.letter = letters.of(self.bookings, now)
        return self.letter

    def due_at(self, now: datetime, *, resend_after: timedelta) -> datetime | None:
        """From when it is to be told without asking; None: not again."""
        dues = [due_at(one, now, resend_after=resend_after) for one in self.bookings]
        return min((at for at in dues if at is not None), default=None)

    def hand_out(self, now: datetime) -> dict[str, Booking]:
        """All that is listed goes out now; what that makes of the bookings, by eventID."""
        marks = {
            one.event.event_id: dataclasses.replace(
                one,
                handed_modification=one.event.modification_number,
                handed_at=now,
                attempts=one.attempts + 1 if one.handed else 1,
            )
            for one in self.bookings
            if is_listed(one, now) and not one.settled
        }
        self.bookings = tuple([marks.get(one.event.event_id, one) for one in self.bookings])
        return marks

    def current(self) -> dict[str, int]:
        """Which modification of each event the VEN is to see."""
        return {one.event.event_id: one.event.modification_number for one in self.bookings}

    def answered(self, modifications: Mapping[str, int]) -> None:
        """The VEN has answered these modifications of these events."""
        self.bookings = tuple(
            [
                dataclasses.replace(one, acknowledged_modification=modifications[event_id])
                if (event_id := one.event.event_id) in modifications
                else one
                for one in self.bookings
            ]
        )


def shelf(bookings: Sequence[Booking], now: datetime, letters: Letters) -> Shelf | None:
    """A shelf for these bookings; None where the way through the database is the better one.

    What wants no answer is known to have arrived by the next message on the same connection only;
    what is very long would take too much memory.
    """
    if not bookings or any(
        one.event.response_required is ResponseRequired.NEVER for one in bookings
    ):
        return None
    found = letters.of(bookings, now)
    return Shelf(bookings=tuple(bookings), letter=found) if found.length <= LONGEST else None
