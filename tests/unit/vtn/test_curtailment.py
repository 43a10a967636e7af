import math
from array import array
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr.event import Event, Signal, SignalInterval
from oadr.units import power
from oadr.vocabulary import EventStatus, ScaleCode, SignalType
from vtn import records
from vtn.curtailment import INTERVAL_S, Curtailment, Points, verified, verify

START = datetime(2030, 1, 9, 14, tzinfo=UTC)
FIRST = START.timestamp()
LATER = START + timedelta(hours=3)
NONE = Points(starts_at=(), values=())


def event(
    *steps: tuple[int, float],
    name: str = "LOAD_DISPATCH",
    kind: SignalType = SignalType.DELTA,
    scale: ScaleCode = ScaleCode.KILO,
    **said,
) -> Event:
    """An event of `(minutes, value)` steps."""
    measured = kind in (SignalType.DELTA, SignalType.SETPOINT)
    return Event(
        event_id="e",
        market_context="http://mc",
        created_at=START,
        status=EventStatus.ACTIVE,
        starts_at=START,
        duration=timedelta(minutes=sum(minutes for minutes, _ in steps)),
        signals=(
            Signal(
                signal_name=name,
                signal_type=kind,
                signal_id="s",
                unit=power(scale) if measured else None,
                intervals=tuple(
                    SignalInterval(duration=timedelta(minutes=minutes), value=value)
                    for minutes, value in steps
                ),
            ),
        ),
        **said,
    )


def series(first: float, last: float, step: float, value) -> Points:
    starts_at = [first + index * step for index in range(math.ceil((last - first) / step))]
    values = [value(at) if callable(value) else value for at in starts_at]
    return Points(starts_at=starts_at, values=values)


def result(
    order: Event,
    *,
    baseline=400_000.0,
    measured=200_000.0,
    deviation=-200_000.0,
    minutes: float = 10,
    now: datetime = LATER,
    **said,
) -> Curtailment:
    """Each of the three is a level in W, a function of the instant, or Points."""

    def points(what, step: float) -> Points:
        if isinstance(what, Points):
            return what
        return series(FIRST, FIRST + minutes * 60, step, what)

    return verify(
        order,
        baseline=points(baseline, INTERVAL_S),
        deviation=points(deviation, INTERVAL_S),
        measured=points(measured, 4),
        granularity_s=4,
        now=now,
        **said,
    )


def test_delivered_is_the_baseline_less_the_readings() -> None:
    found = result(event((10, -200)))

    assert found.ordered_w == 200_000
    assert found.delivered_w == 200_000
    assert found.fraction == 1
    assert found.claimed_w == 200_000
    assert (found.samples_expected, found.samples_received, found.samples_missing) == (150, 150, 0)
    assert found.final
    assert found.agrees
    assert found.remarks == ()
    assert len(found.steps) == 10
    assert {step.samples for step in found.steps} == {15}
    assert {step.delivered_w for step in found.steps} == {200_000}


@pytest.mark.parametrize(
    ("order", "ordered"),
    [
        (event((10, -0.2), scale=ScaleCode.MEGA), 200_000),
        (event((5, -200), (5, -100)), 150_000),
        (event((10, 250), kind=SignalType.SETPOINT), 150_000),
        (event((10, 500), kind=SignalType.SETPOINT), 0),
        (event((10, 0.6), kind=SignalType.MULTIPLIER), 160_000),
        (event((10, 2), name="SIMPLE", kind=SignalType.LEVEL), None),
        (event((10, 0.3), name="ELECTRICITY_PRICE", kind=SignalType.PRICE), None),
    ],
)
def test_what_was_ordered_comes_from_the_signal(order: Event, ordered: float | None) -> None:
    found = result(order)

    assert found.ordered_w == (None if ordered is None else pytest.approx(ordered))
    assert found.delivered_w == pytest.approx(200_000)
    assert (found.fraction is None) == (not ordered)
    assert found.agrees


def test_a_claim_that_the_readings_do_not_show_is_flagged() -> None:
    found = result(event((10, -200)), measured=395_000.0)

    assert found.delivered_w == pytest.approx(5_000)
    assert found.claimed_w == pytest.approx(200_000)
    assert not found.agrees
    assert found.remarks == (
        "The node claims 200.0 kW, its readings show 5.0 kW; within 4.0 kW they would agree.",
    )


@pytest.mark.parametrize(("claim", "agrees"), [(-196_001, True), (-195_900, False)])
def test_a_claim_agrees_within_two_percent_of_the_order(claim: float, agrees: bool) -> None:
    assert result(event((10, -200)), deviation=claim).agrees is agrees


@pytest.mark.parametrize(("claim", "agrees"), [(-9_100, True), (-8_900, False)])
def test_a_small_order_has_a_kilowatt_of_tolerance(claim: float, agrees: bool) -> None:
    found = result(event((10, -10)), measured=390_000.0, deviation=claim)

    assert found.agrees is agrees


def test_a_node_that_only_says_so_has_verified_nothing() -> None:
    found = result(event((10, -200)), measured=NONE)

    assert found.delivered_w is None
    assert found.fraction is None
    assert found.claimed_w == 200_000
    assert found.ordered_w == 200_000
    assert found.samples_received == 0
    assert found.samples_expected == 150
    assert not found.agrees
    assert "No reading of the event is stored: nothing is verified." in found.remarks


def test_without_a_baseline_there_is_nothing_to_compare_with() -> None:
    found = result(event((10, -200)), baseline=NONE)

    assert found.delivered_w is None
    assert found.samples_received == 150
    assert not found.agrees
    assert "The node has reported no baseline: nothing can be compared with." in found.remarks


def test_readings_beside_which_no_baseline_stands_do_not_count_and_are_named() -> None:
    half = series(FIRST, FIRST + 300, INTERVAL_S, 400_000.0)
    found = result(event((10, -200)), baseline=half)

    assert found.delivered_w == 200_000
    assert not found.agrees
    assert "75 readings have no baseline beside them." in found.remarks


def test_missing_readings_are_counted_and_named() -> None:
    half = series(FIRST + 300, FIRST + 600, 4, 200_000.0)
    found = result(event((10, -200)), measured=half)

    assert (found.samples_received, found.samples_expected) == (75, 150)
    assert found.delivered_w == 200_000
    assert not found.agrees
    assert "75 of 150 readings are missing." in found.remarks


def test_a_few_missing_readings_are_counted_but_no_reproach() -> None:
    most = series(FIRST + 12, FIRST + 600, 4, 200_000.0)
    found = result(event((10, -200)), measured=most)

    assert found.samples_missing == 3
    assert found.agrees


def test_no_claim_is_no_agreement() -> None:
    found = result(event((10, -200)), deviation=NONE)

    assert found.delivered_w == 200_000
    assert found.claimed_w is None
    assert found.remarks == ("The node has not said what it delivered.",)


def test_readings_outside_of_the_event_do_not_count() -> None:
    wide = series(FIRST - 600, FIRST + 1200, 4, lambda at: 0 if at < FIRST else 200_000)
    found = result(event((10, -200)), measured=wide)

    assert found.samples_received == 150
    assert found.delivered_w == 200_000


def test_what_is_still_on_its_way_is_not_missed() -> None:
    now = START + timedelta(minutes=5)
    arrived = series(FIRST, FIRST + 280, 4, 200_000.0)
    based = series(FIRST, FIRST + 240, INTERVAL_S, 400_000.0)
    claimed = series(FIRST, FIRST + 240, INTERVAL_S, -200_000.0)
    found = result(event((10, -200)), baseline=based, measured=arrived, deviation=claimed, now=now)

    assert not found.final
    assert (found.samples_received, found.samples_expected) == (70, 70)
    assert found.agrees


def test_what_is_complete_is_final_at_once() -> None:
    over = START + timedelta(minutes=10)

    assert result(event((10, -200)), now=over).final
    most = series(FIRST, FIRST + 596, 4, 200_000.0)
    assert not result(event((10, -200)), measured=most, now=over).final
    unsaid = series(FIRST, FIRST + 540, INTERVAL_S, -200_000.0)
    assert not result(event((10, -200)), deviation=unsaid, now=over).final


def test_a_node_that_fell_silent_is_missed_while_the_event_runs() -> None:
    now = START + timedelta(minutes=8)
    arrived = series(FIRST, FIRST + 60, 4, 200_000.0)
    found = result(event((10, -200)), measured=arrived, now=now)

    assert (found.samples_received, found.samples_expected) == (15, 98)
    assert not found.agrees


def test_before_the_event_nothing_is_said() -> None:
    found = result(
        event((10, -200)),
        baseline=NONE,
        measured=NONE,
        deviation=NONE,
        now=START - timedelta(minutes=1),
    )

    assert found.remarks == ("The event has not begun.",)
    assert found.ordered_w == 200_000
    assert found.samples_expected == 0
    assert found.steps == ()


def test_a_cancelled_event_counts_until_it_was_cancelled() -> None:
    found = result(event((10, -200)), ended_at=START + timedelta(minutes=4))

    assert found.ends_at == START + timedelta(minutes=4)
    assert found.samples_expected == 60
    assert len(found.steps) == 4


def test_an_event_cancelled_before_its_start_has_no_period() -> None:
    found = result(event((10, -200)), ended_at=START - timedelta(minutes=4), minutes=0)

    assert found.ends_at == found.starts_at
    assert found.samples_expected == 0
    assert found.final
    assert found.remarks == ("The event was cancelled before it began.",)


def test_an_open_ended_event_counts_until_now() -> None:
    order = event((0, -200))
    found = result(order, now=START + timedelta(minutes=10))

    assert found.ends_at is None
    assert not found.final
    assert found.delivered_w == 200_000


def test_a_random_start_is_taken_from_the_nodes_own_baseline() -> None:
    order = event((10, -200), start_after=timedelta(minutes=5))

    def late(value: float, before: float, step: float) -> Points:
        return series(FIRST, FIRST + 900, step, lambda at: value if at >= FIRST + 90 else before)

    shifted = Points(
        starts_at=[FIRST + 90 + index * 60 for index in range(10)], values=[400_000.0] * 10
    )
    claims = Points(starts_at=shifted.starts_at, values=[-200_000.0] * 10)
    found = result(
        order, baseline=shifted, deviation=claims, measured=late(200_000.0, 400_000.0, 4)
    )

    assert found.starts_at == START + timedelta(seconds=90)
    assert found.ends_at == START + timedelta(minutes=11, seconds=30)
    assert found.delivered_w == 200_000
    assert found.agrees


def test_the_cut_interval_at_the_end_weighs_less_in_the_claim() -> None:
    claims = Points(starts_at=(FIRST, FIRST + 60), values=(-100.0, -400.0))
    found = result(
        event((10, -1), scale=ScaleCode.NONE),
        deviation=claims,
        ended_at=START + timedelta(seconds=90),
    )

    assert found.claimed_w == pytest.approx(200.0)


WATTS = st.floats(min_value=-1e6, max_value=1e6).map(lambda value: round(value, 1))


@given(
    levels=st.lists(WATTS, min_size=1, max_size=6),
    values=st.lists(st.one_of(st.none(), WATTS), min_size=90, max_size=90),
    delta=WATTS,
)
def test_the_result_is_the_mean_of_its_readings(levels, values, delta) -> None:
    base = Points(starts_at=[FIRST + i * 60 for i in range(len(levels))], values=levels)
    stored = [(FIRST + 4 * i, value) for i, value in enumerate(values) if value is not None]
    measured = Points(starts_at=[at for at, _ in stored], values=[value for _, value in stored])
    found = result(
        event((6, delta), scale=ScaleCode.NONE),
        baseline=base,
        measured=measured,
        deviation=NONE,
        minutes=6,
    )
    by_hand = [
        levels[int((at - FIRST) // 60)] - value
        for at, value in stored
        if at < FIRST + 60 * len(levels)
    ]

    assert found.samples_expected == 90
    assert found.samples_received == len(stored)
    assert (found.delivered_w is None) == (not by_hand)
    if by_hand:
        assert found.delivered_w == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-3)
        assert found.ordered_w == pytest.approx(-delta)


@given(
    noise=st.lists(st.floats(-500, 500), min_size=6, max_size=6),
    delivered=st.floats(min_value=-100_000, max_value=300_000),
)
def test_an_honest_node_always_agrees(noise, delivered) -> None:
    """Its claim is the mean of the same readings it sent, however uneven they are."""

    def reading(at: float) -> float:
        return 400_000 - delivered + noise[int((at - FIRST) // 60)]

    claims = series(FIRST, FIRST + 360, 60, lambda at: reading(at) - 400_000)
    found = result(event((6, -200)), measured=reading, deviation=claims, minutes=6)

    assert found.agrees
    assert found.claimed_w == pytest.approx(found.delivered_w, abs=1e-3)


@given(
    now=st.integers(min_value=-100, max_value=2000),
    upto=st.integers(min_value=0, max_value=600),
    shift=st.floats(min_value=0, max_value=3.9),
)
def test_expected_is_never_less_than_received_and_at_most_one_reading_a_tick(
    now: int, upto: int, shift: float
) -> None:
    measured = series(FIRST + shift, FIRST + max(shift, upto), 4, 1.0)
    found = result(
        event((10, -200)), measured=measured, now=START + timedelta(seconds=max(now, upto))
    )

    assert 0 <= found.samples_received <= found.samples_expected <= 150


@pytest.mark.parametrize(
    ("word", "delivered", "fallback"),
    [
        ("Quality Good - Non Specific", 100.0, False),
        ("Quality Uncertain - Non Specific", 100.0, True),
        ("Quality Bad - Non Specific", None, False),
    ],
)
def test_a_fallback_baseline_counts_and_is_shown_as_such(word, delivered, fallback) -> None:
    def series(r_id: str, step: float, values: list[float], quality: str) -> records.Series:
        return records.Series(
            point=records.Point(ven_id="v", r_id=r_id, unit="W"),
            starts_at=array("d", (START.timestamp() + step * n for n in range(len(values)))),
            values=array("d", values),
            quality=(quality,) * len(values),
        )

    record = records.EventRecord(
        event=event((10, -200)),
        ven_ids=("v",),
        published_at=START,
        published_by="anna",
        history=(),
        answers={},
        deliveries={},
    )
    inputs = records.CurtailmentInputs(
        record=record,
        ven_id="v",
        baseline=series("baseline", 60, [500.0] * 10, word),
        deviation=series("deviation", 60, [-100.0] * 10, word),
        measured=series("power", 4, [400.0] * 150, "Quality Good - Non Specific"),
        granularity_s=4.0,
        claim_granularity_s=60.0,
    )

    found = verified(inputs, now=START + timedelta(hours=1))

    assert (delivered, fallback) == (found.delivered_w, found.fallback)
