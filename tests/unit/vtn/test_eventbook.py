import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oadr
from oadr.event import Baseline, Event, Signal, SignalInterval
from oadr.target import Target
from oadr.vocabulary import EventStatus, ResponseRequired, SignalType
from vtn import eventbook
from vtn.errors import InvalidEvent
from vtn.eventbook import Booking

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)
S = timedelta(seconds=1)
M = timedelta(minutes=1)
FAR, NEAR, ACTIVE, COMPLETED, CANCELLED = (
    EventStatus.FAR,
    EventStatus.NEAR,
    EventStatus.ACTIVE,
    EventStatus.COMPLETED,
    EventStatus.CANCELLED,
)
SECONDS = st.integers(0, 7200).map(lambda seconds: seconds * S)


def interval(minutes: float, value: float) -> SignalInterval:
    return SignalInterval(duration=minutes * M, value=value)


def dispatch(*intervals: SignalInterval, **changes) -> Signal:
    given = {
        "signal_name": "LOAD_DISPATCH",
        "signal_type": SignalType.DELTA,
        "signal_id": "",
        "unit": oadr.units.power(),
        "intervals": intervals,
    }
    return Signal(**{**given, **changes})


def simple(*intervals: SignalInterval) -> Signal:
    return dispatch(*intervals, signal_name="SIMPLE", signal_type=SignalType.LEVEL, unit=None)


def draft(**changes) -> Event:
    given = {
        "event_id": "",
        "market_context": "http://utility.example/peak",
        "created_at": NOW,
        "status": FAR,
        "starts_at": NOW + 10 * M,
        "duration": 5 * M,
        "signals": (dispatch(interval(5, -40.0)),),
    }
    return Event(**{**given, **changes})


def published(**changes) -> Event:
    return eventbook.drafted(draft(**changes), event_id="e", now=NOW)


@st.composite
def drafts(draw) -> Event:
    """Any draft that may be published at NOW."""
    lengths = draw(st.lists(st.integers(1, 3600), min_size=1, max_size=4))
    values = draw(st.lists(st.integers(0, 3), min_size=len(lengths), max_size=len(lengths)))
    intervals = [
        SignalInterval(duration=length * S, value=float(value))
        for length, value in zip(lengths, values, strict=True)
    ]
    duration = sum(lengths) * S
    if draw(st.booleans()):
        intervals[-1] = dataclasses.replace(intervals[-1], duration=timedelta(0))
        duration = timedelta(0)
    make = draw(st.sampled_from([simple, dispatch]))
    return draft(
        event_id=draw(st.sampled_from("abcdef")),
        starts_at=NOW + draw(SECONDS),
        duration=duration,
        start_after=draw(st.none() | SECONDS),
        ramp_up=draw(st.none() | SECONDS),
        priority=draw(st.none() | st.integers(0, 4)),
        signals=(make(*intervals),),
    )


def book(one: Event) -> Event:
    return eventbook.drafted(one, event_id=one.event_id or "e", now=NOW)


# --- status --------------------------------------------------------------------------------------


def test_the_status_follows_the_clock_and_near_begins_with_the_ramp_up():
    """Rule 13."""
    event = published(ramp_up=4 * M)

    at = {minutes: eventbook.status_at(event, NOW + minutes * M) for minutes in (0, 5.9, 6, 10, 15)}

    assert at == {0: FAR, 5.9: FAR, 6: NEAR, 10: ACTIVE, 15: COMPLETED}


def test_without_ramp_up_far_becomes_active():
    """Rule 13."""
    assert eventbook.status_at(published(), NOW + 10 * M - S) is FAR
    assert eventbook.status_at(published(), NOW + 10 * M) is ACTIVE


def test_an_open_ended_event_never_completes():
    """Rule 47."""
    event = published(duration=timedelta(0), signals=(dispatch(interval(0, -1.0)),))

    assert eventbook.status_at(event, NOW + timedelta(days=999)) is ACTIVE
    assert eventbook.over_at(event) is None


@given(drafts(), SECONDS, SECONDS)
def test_the_status_never_goes_back(one, first, second):
    order = [FAR, NEAR, ACTIVE, COMPLETED]
    event = book(one)
    early, late = sorted((first, second))

    assert order.index(eventbook.status_at(event, NOW + early)) <= order.index(
        eventbook.status_at(event, NOW + late)
    )


@given(drafts(), SECONDS)
def test_an_event_at_an_instant_keeps_the_rules_of_current_values(one, later):
    """Rules 14, 29, 110 and 115."""
    event = eventbook.as_of(book(one), NOW + later)

    signal = event.signals[0]
    if event.status is ACTIVE:
        assert signal.current_value in {step.value for step in signal.intervals}
    elif signal.signal_name == "SIMPLE":
        assert signal.current_value == 0
    else:
        assert signal.current_value is None
    assert event.created_at == NOW + later
    oadr.build(oadr.event.DistributeEvent(request_id="r", vtn_id="v", events=(event,)))


def test_the_current_value_is_that_of_the_running_interval():
    """Rule 29."""
    event = published(duration=3 * M, signals=(simple(interval(1, 1.0), interval(2, 3.0)),))

    values = [
        eventbook.as_of(event, NOW + minutes * M).signals[0].current_value
        for minutes in (9, 10, 10.9, 11, 12.9, 13)
    ]

    assert values == [0, 1, 1, 3, 3, 0]


# --- order ---------------------------------------------------------------------------------------


def test_active_events_come_by_priority_then_start_and_pending_by_start():
    """Rules 3 and 15."""

    def event(name, start, priority=None):
        hours = timedelta(hours=9)
        return dataclasses.replace(
            published(duration=hours, priority=priority, signals=(dispatch(interval(540, 1.0)),)),
            event_id=name,
            starts_at=NOW + start * M,
        )

    events = [
        event("pending-late", 60, 1),
        event("pending-soon", 50),
        event("no-priority", -9),
        event("zero", -8, 0),
        event("second", -30, 2),
        event("first", -1, 1),
    ]

    names = [one.event_id for one in eventbook.in_order(events, NOW)]

    assert names == ["first", "second", "no-priority", "zero", "pending-soon", "pending-late"]


@given(st.lists(drafts().map(book), max_size=6), SECONDS, st.integers(1, 6))
def test_a_limited_listing_is_the_head_of_the_whole_one(events, later, limit):
    """Rules 15 and 27."""
    bookings = [Booking(event=event) for event in events]

    whole = eventbook.listing(bookings, NOW + later)

    assert eventbook.listing(bookings, NOW + later, limit=limit) == whole[:limit]
    assert eventbook.listing(list(reversed(bookings)), NOW + later) == whole or len(
        {event.event_id for event in events}
    ) < len(events)


@given(drafts().map(book), drafts().map(book))
def test_events_overlap_both_ways_or_not_at_all(one, other):
    assert eventbook.overlap(one, other) is eventbook.overlap(other, one)
    assert eventbook.overlap(one, one)


def test_adjacent_events_do_not_overlap_unless_a_start_is_tolerant():
    """Rule 18."""
    first = published()
    second = published(starts_at=NOW + 15 * M)

    assert not eventbook.overlap(first, second)
    assert eventbook.overlap(dataclasses.replace(first, start_after=S), second)


# --- drafts --------------------------------------------------------------------------------------


@given(drafts())
def test_a_published_event_has_everything_the_vtn_sets(one):
    """Rules 2, 4, 101, 105 and 107."""
    event = book(one)

    assert event.modification_number == 0
    assert event.notification is not None
    assert [signal.signal_id for signal in event.signals] == ["signal-0"]
    for signal in event.signals:
        assert [step.uid for step in signal.intervals] == [
            str(index) for index in range(len(signal.intervals))
        ]


def test_signal_ids_that_were_given_stay_and_others_differ_from_them():
    """Rule 107."""
    step = interval(5, 1.0)
    event = published(signals=(dispatch(step, signal_id="signal-0"), simple(step), simple(step)))

    ids = [signal.signal_id for signal in event.signals]

    assert ids == ["signal-0", "signal-1", "signal-2"]


PRICE = oadr.units.price_per_kwh("EUR")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"starts_at": NOW - 2 * M}, "in the past"),
        ({"starts_at": NOW.replace(microsecond=1)}, "whole second"),
        ({"market_context": " "}, "needs a market context"),
        ({"signals": ()}, "needs a signal"),
        ({"signals": (dispatch(interval(4, 1.0)),)}, "last 0:04:00 together"),
        ({"signals": (dispatch(),)}, "has no interval"),
        ({"signals": (dispatch(interval(0, 1.0), interval(5, 1.0)),)}, "only the last"),
        ({"duration": timedelta(0)}, "only the last interval of an open-ended"),
        (
            {"signals": (dispatch(SignalInterval(starts_at=NOW, duration=5 * M, value=1.0)),)},
            "no start of their own",
        ),
        ({"signals": (dispatch(SignalInterval(value=1.0)),)}, "needs a duration"),
        (
            {
                "signals": (
                    dispatch(interval(5, 1.0), signal_id="x"),
                    simple(dataclasses.replace(interval(5, 1.0))),
                    dispatch(interval(5, 1.0), signal_id="x"),
                )
            },
            "signalID of its own",
        ),
        ({"signals": (simple(interval(5, 4.0)),)}, "0, 1, 2 and 3"),
        ({"signals": (simple(interval(5, 0.5)),)}, "0, 1, 2 and 3"),
        ({"signals": (dispatch(interval(5, 1.0), signal_name="OTHER"),)}, "no signal 'OTHER'"),
        (
            {"signals": (dispatch(interval(5, 1.0), signal_type=SignalType.PRICE),)},
            "has no type 'price'",
        ),
        ({"signals": (dispatch(interval(5, 1.0), unit=None),)}, "powerReal .* not in no unit"),
        (
            {"signals": (dispatch(interval(5, 1.0), unit=oadr.units.energy()),)},
            "not in power:energyReal",
        ),
        (
            {
                "signals": (
                    dispatch(
                        interval(5, 11.0),
                        signal_type=SignalType.LEVEL,
                        unit=None,
                    ),
                )
            },
            "between -10 and 10",
        ),
        (
            {"signals": (dataclasses.replace(simple(interval(5, 1.0)), unit=PRICE),)},
            "has no unit",
        ),
        (
            {"signals": (dispatch(interval(5, 1.0), target=Target(resource_ids=("r",))),)},
            "device classes",
        ),
        ({"start_after": -S}, "startafter"),
        (
            {
                "duration": timedelta(days=10**6),
                "signals": (dispatch(SignalInterval(duration=timedelta(days=10**6), value=1.0)),),
            },
            "3660 days",
        ),
        ({"starts_at": NOW.replace(year=9999, month=12, day=31)}, "after 9000"),
        ({"starts_at": NOW.replace(tzinfo=None)}, "time zone"),
        ({"vtn_comment": "\x00"}, "cannot be sent"),
        ({"market_context": "not a uri"}, "cannot be sent"),
        ({"ramp_up": timedelta(microseconds=5)}, "ramp-up"),
        (
            {
                "baseline": Baseline(
                    starts_at=NOW,
                    duration=9 * M,
                    intervals=(interval(5, 1.0),),
                    baseline_id="b",
                    baseline_name="b",
                )
            },
            "baseline last 0:05:00",
        ),
    ],
)
def test_a_draft_that_breaks_a_rule_is_refused_with_a_sentence(changes, sentence):
    """Rules 1, 3, 8, 9, 47, 100, 102, 103, 104, 107, 111 and 116."""
    with pytest.raises(InvalidEvent, match=sentence):
        published(**changes)


def test_what_the_standard_does_not_know_but_admits_is_let_through():
    own = dispatch(interval(5, 99.0), signal_name="x-own", unit=None)
    assets = Target(end_device_assets=("Thermostat",))

    event = published(signals=(own, dispatch(interval(5, 1.0), target=assets)))

    assert [signal.signal_name for signal in event.signals] == ["x-own", "LOAD_DISPATCH"]


def test_a_start_a_moment_ago_is_now():
    assert published(starts_at=NOW - 30 * S).starts_at == NOW - 30 * S


# --- modification and cancellation ---------------------------------------------------------------


def test_a_modification_counts_up_and_a_cancellation_too():
    """Rules 5 and 10."""
    event = published()
    modified = eventbook.modified(
        event, draft(duration=8 * M, signals=(dispatch(interval(8, -40.0)),)), now=NOW + M
    )
    cancelled = eventbook.cancelled(modified, now=NOW + 2 * M)

    assert [one.modification_number for one in (event, modified, cancelled)] == [0, 1, 2]
    assert (modified.event_id, modified.modified_at) == ("e", NOW + M)
    assert cancelled.status is CANCELLED
    assert eventbook.status_at(cancelled, NOW + 999 * M) is CANCELLED


def active(*values: float) -> Event:
    """Active for three minutes at LATER, in steps of two."""
    steps = tuple(interval(2, value) for value in values)
    return published(starts_at=NOW, duration=2 * len(values) * M, signals=(dispatch(*steps),))


LATER = NOW + 3 * M


@pytest.mark.parametrize(
    ("values", "fine"),
    [
        ((1.0, 2.0, 9.0), True),
        ((1.0, 2.0, 3.0, 4.0), True),
        ((1.0, 2.0), True),
        ((9.0, 2.0, 3.0), False),
        ((1.0, 9.0, 3.0), False),
        ((1.0,), False),
    ],
)
def test_the_past_of_an_active_event_may_not_change(values, fine):
    """Rule 20."""
    current = active(1.0, 2.0, 3.0)
    wanted = draft(
        starts_at=NOW,
        duration=2 * len(values) * M,
        signals=(dispatch(*(interval(2, value) for value in values)),),
    )

    if fine:
        assert eventbook.modified(current, wanted, now=LATER).modification_number == 1
    else:
        with pytest.raises(InvalidEvent):
            eventbook.modified(current, wanted, now=LATER)


def test_an_active_event_moves_into_the_future_but_not_within_the_past():
    """Rule 20."""
    current = active(1.0, 2.0)

    moved = eventbook.modified(current, draft(starts_at=LATER + M), now=LATER)

    assert moved.starts_at == LATER + M
    with pytest.raises(InvalidEvent, match="rule 20"):
        eventbook.modified(current, draft(starts_at=NOW + M), now=LATER)


def test_a_pending_event_is_not_moved_into_the_past():
    """Rule 20."""
    with pytest.raises(InvalidEvent, match="into the past"):
        eventbook.modified(published(), draft(starts_at=NOW - 3 * M), now=NOW)


def test_what_is_over_or_cancelled_is_not_changed():
    for current, later in ((published(), 20 * M), (eventbook.cancelled(published(), now=NOW), M)):
        with pytest.raises(InvalidEvent):
            eventbook.modified(current, draft(), now=NOW + later)
        with pytest.raises(InvalidEvent):
            eventbook.cancelled(current, now=NOW + later)


# --- who is told, and when -----------------------------------------------------------------------

RESEND = 10 * S


def due(booking: Booking, later: timedelta = timedelta(0)):
    return eventbook.due_at(booking, NOW + later, resend_after=RESEND)


def test_an_event_is_due_at_once_then_after_a_while_until_it_is_answered():
    event = published()
    handed = {"handed_modification": 0, "handed_at": NOW, "attempts": 1}

    assert due(Booking(event=event)) == NOW
    assert due(Booking(event=event, **handed)) == NOW + RESEND
    assert due(Booking(event=event, **handed, acknowledged_modification=0)) is None
    newer = dataclasses.replace(event, modification_number=1)
    assert due(Booking(event=newer, **handed, acknowledged_modification=0)) == NOW
    assert due(Booking(event=event), 15 * M) is None


def test_a_cancellation_is_listed_until_answered_over_or_given_up():
    """Rules 50 and 52."""
    event = eventbook.cancelled(published(), now=NOW)

    def listed(later=timedelta(0), **known):
        return eventbook.is_listed(Booking(event=event, **known), NOW + later)

    assert listed()
    assert not listed(acknowledged_modification=1)
    assert not listed(15 * M)
    assert listed(handed_modification=1, attempts=9)
    assert not listed(handed_modification=1, attempts=10)
    assert listed(handed_modification=0, attempts=10)


def test_what_wants_no_answer_is_handed_out_a_bounded_number_of_times():
    event = published(response_required=ResponseRequired.NEVER)
    handed = {"handed_modification": 0, "handed_at": NOW}

    assert due(Booking(event=event, **handed, attempts=2)) == NOW + RESEND
    assert due(Booking(event=event, **handed, attempts=3)) is None
    assert eventbook.is_listed(Booking(event=event, **handed, attempts=3), NOW)


@given(drafts().map(book), SECONDS)
def test_what_is_due_is_listed(event, later):
    booking = Booking(event=event)

    if due(booking, later) is not None:
        assert eventbook.listing([booking], NOW + later)


@pytest.mark.parametrize(
    ("given_uri", "normal"),
    [
        ("HTTP://Utility.EXAMPLE/Peak", "http://utility.example/Peak"),
        ("http://utility.example/", "http://utility.example"),
        (" http://utility.example ", "http://utility.example"),
        ("urn:x:Y", "urn:x:Y"),
        ("plain", "plain"),
    ],
)
def test_a_market_context_is_compared_in_its_normal_form(given_uri, normal):
    """Rule 512."""
    assert eventbook.normal_context(given_uri) == normal
    assert eventbook.normal_context(normal) == normal
