import dataclasses
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

import oadr
from oadr.event import DistributeEvent, Event, Signal, SignalInterval
from oadr.target import Target
from oadr.vocabulary import EventStatus, ResponseRequired, SignalType
from vtn.eventbook import CANCEL_ATTEMPTS, Booking, drafted, listing
from vtn.handouts import HandOuts
from vtn.replies import ok
from vtn.shelf import ANYBODY, HOLE, Letters, holds, letter, meant_alone, shelf

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)
S = timedelta(seconds=1)
RESEND = 10 * S
SOME_SECONDS = st.integers(0, 900).map(lambda seconds: seconds * S)


def event(event_id: str = "e", *, start: timedelta = 600 * S, **changes: object) -> Event:
    lengths = (60 * S, 120 * S)
    signals = [
        Signal(
            signal_name=name,
            signal_type=SignalType.LEVEL,
            signal_id="",
            intervals=tuple(
                SignalInterval(duration=one, value=float(place))
                for place, one in enumerate(lengths)
            ),
        )
        for name in ("SIMPLE", "x-LEVEL")
    ]
    draft = Event(
        event_id="",
        market_context="http://utility.example/peak",
        created_at=NOW,
        status=EventStatus.FAR,
        starts_at=NOW + start,
        duration=180 * S,
        signals=tuple(signals),
        target=ANYBODY,
    )
    return dataclasses.replace(drafted(draft, event_id=event_id, now=NOW), **changes)


@st.composite
def events(draw: st.DrawFn, event_id: str) -> Event:
    found = event(event_id, start=draw(SOME_SECONDS))
    return dataclasses.replace(
        found,
        ramp_up=draw(st.none() | SOME_SECONDS),
        start_after=draw(st.none() | SOME_SECONDS),
        priority=draw(st.none() | st.integers(0, 3)),
        status=draw(st.sampled_from([EventStatus.FAR, EventStatus.CANCELLED])),
    )


def anew(bookings: list[Booking], ven_id: str, request_id: str, now: datetime) -> bytes:
    """What the way through the database makes of the same bookings."""
    told = [
        dataclasses.replace(one, target=Target(ven_ids=(ven_id,))) for one in listing(bookings, now)
    ]
    return oadr.build(
        DistributeEvent(response=ok(""), request_id=request_id, vtn_id="VTN-1", events=tuple(told))
    )


@given(st.tuples(*(events(name) for name in "abc")), SOME_SECONDS, SOME_SECONDS)
def test_a_letter_says_what_is_made_anew_for_as_long_as_it_holds(several, made, later):
    bookings = [Booking(event=one) for one in several]
    found = letter(bookings, NOW + made, vtn_id="VTN-1")

    for at in (NOW + made, NOW + made + later):
        if holds(found, at):
            said = found.filled(request_id="r<1>", ven_id="0042 & Co", now=at)
            assert said == anew(bookings, "0042 & Co", "r<1>", at)


def test_a_letter_holds_until_something_in_it_changes():
    found = letter([Booking(event=event())], NOW, vtn_id="VTN-1")

    assert found.until == NOW + 600 * S
    assert not holds(found, NOW + 600 * S)


def test_text_that_looks_like_a_hole_stays_as_it_is():
    strange = f"<ei:venID>{HOLE}</ei:venID> {HOLE} 0001-01-01T00:00:00Z"
    bookings = [Booking(event=event(vtn_comment=strange))]

    found = letter(bookings, NOW, vtn_id="VTN-1").filled(request_id="r", ven_id="a", now=NOW)

    assert found == anew(bookings, "a", "r", NOW)
    assert oadr.parse(found).events[0].vtn_comment == strange


def test_who_is_told_the_same_shares_a_letter():
    letters, told = Letters("VTN-1"), event()

    one, other = (shelf([Booking(event=told)], NOW, letters) for _ in range(2))
    third = shelf([Booking(event=event())], NOW, letters)

    assert one.letter is other.letter
    assert third.letter is not one.letter


def test_a_ven_that_is_meant_as_a_whole_is_anybody():
    assert meant_alone(Target(ven_ids=("a",)), "a") is ANYBODY
    for named in (Target(ven_ids=("a",), resource_ids=("r",)), Target(resource_ids=("r",))):
        assert meant_alone(named, "a") is named


def test_what_went_out_is_due_again_until_it_is_answered():
    found = shelf([Booking(event=event())], NOW, Letters("VTN-1"))
    assert found.due_at(NOW, resend_after=RESEND) == NOW

    marks = found.hand_out(NOW)
    assert (marks["e"].handed_at, marks["e"].attempts) == (NOW, 1)
    assert found.due_at(NOW, resend_after=RESEND) == NOW + RESEND
    assert found.hand_out(NOW + RESEND)["e"].attempts == 2

    found.answered({"e": 0})
    assert found.due_at(NOW + 2 * RESEND, resend_after=RESEND) is None
    assert found.hand_out(NOW + 2 * RESEND) == {}


def test_a_cancellation_that_nobody_answers_is_told_so_many_times():
    """Rule 52; what is given up is not in the letter any more."""
    gone = event("gone", status=EventStatus.CANCELLED, modification_number=1)
    letters = Letters("VTN-1")
    found = shelf([Booking(event=gone), Booking(event=event("stays"))], NOW, letters)
    told = []
    for turn in range(CANCEL_ATTEMPTS + 1):
        told.append([one.event_id for one in found.telling(NOW + turn * S, letters).events])
        found.hand_out(NOW + turn * S)

    assert told == [["stays", "gone"]] * CANCEL_ATTEMPTS + [["stays"]]


def test_what_wants_no_answer_and_what_is_long_has_no_shelf():
    silent = event(response_required=ResponseRequired.NEVER)
    long = event(vtn_comment="x" * 20_000)

    assert shelf([], NOW, Letters("VTN-1")) is None
    for one in (silent, long):
        assert shelf([Booking(event=one)], NOW, Letters("VTN-1")) is None


def test_a_hand_out_is_taken_once_in_its_last_state():
    handouts, booking = HandOuts(), Booking(event=event())
    handouts.note("a", {"e": booking})
    again = dataclasses.replace(booking, attempts=2)
    handouts.note("a", {"e": again})

    assert handouts.take("b", ["e"]) == {}
    assert handouts.take("a", ["e", "f"]) == {"e": again}
    assert handouts.take("a", ["e"]) == {}
