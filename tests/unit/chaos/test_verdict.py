"""The judge finds what was planted, and accuses nobody of what is right."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chaos.verdict import (
    CANCELLED,
    EventLedger,
    Order,
    Patience,
    Verdict,
    Version,
    energy_error,
    judge_events,
    judge_order,
    judge_samples,
    judge_site,
    outcome,
)

SERIES = ("0042", "power")
NOON = datetime(2030, 1, 9, 12, tzinfo=UTC)

ledgers = st.dictionaries(
    st.integers(0, 10_000).map(float),
    st.floats(0, 1e6, allow_nan=False),
    min_size=1,
    max_size=30,
)


def held_as_said(said):
    return [(SERIES, at, value) for at, value in said.items()]


@given(ledgers, st.data())
def test_what_is_held_as_it_was_said_is_clean_acknowledged_or_not(said, data):
    acknowledged = data.draw(st.sets(st.sampled_from(sorted(said))))

    assert judge_samples({SERIES: said}, {SERIES: acknowledged}, held_as_said(said)).clean


@given(ledgers, st.data())
def test_every_planted_loss_is_found(said, data):
    gone = data.draw(st.sets(st.sampled_from(sorted(said))))
    held = [one for one in held_as_said(said) if one[1] not in gone]

    assert judge_samples({SERIES: said}, {SERIES: set(said)}, held).lost == len(gone)


@given(ledgers, st.data())
def test_a_loss_that_nobody_acknowledged_is_none(said, data):
    gone = data.draw(st.sets(st.sampled_from(sorted(said))))
    held = [one for one in held_as_said(said) if one[1] not in gone]

    assert judge_samples({SERIES: said}, {SERIES: set(said) - gone}, held).clean


@given(ledgers, st.data())
def test_every_planted_double_is_found(said, data):
    twice = data.draw(st.lists(st.sampled_from(held_as_said(said)), max_size=5))

    verdict = judge_samples({SERIES: said}, {SERIES: set(said)}, held_as_said(said) + twice)

    assert (verdict.lost, verdict.doubled) == (0, len(twice))


@given(ledgers, st.data())
def test_another_value_is_a_loss_and_one_that_nobody_said_a_double(said, data):
    at = data.draw(st.sampled_from(sorted(said)))
    held = [(SERIES, t, v + (t == at)) for t, v in said.items()] + [(SERIES, -1.0, 5.0)]

    verdict = judge_samples({SERIES: said}, {SERIES: set(said)}, held)

    assert (verdict.lost, verdict.doubled) == (1, 1)


def test_energy_is_compared_where_both_ledgers_say_something():
    true = {1.0: 100.0, 2.0: 100.0, 3.0: 100.0}

    assert energy_error({1.0: 100.0, 2.0: 101.0, 9.0: 5.0}, true) == 1 / 200
    assert energy_error({9.0: 5.0}, true) == math.inf


FIRST, SECOND = Version(modification=0, what="-40"), Version(modification=1, what="-60")


def ledger(**changes):
    fine = EventLedger(
        acknowledged={"e": SECOND},
        held={"e": SECOND},
        told={"0042": [("e", FIRST), ("e", FIRST), ("e", SECOND)]},
        answered={("0042", "e"): 1},
        held_answers={("0042", "e"): 1},
    )
    return replace(fine, **changes)


def test_an_event_that_went_its_way_is_clean():
    assert judge_events(ledger()).clean


def test_each_way_to_apply_an_event_wrongly_is_found():
    called_off = {"e": Version(modification=2, what=CANCELLED)}
    wrong = {
        "forgotten": ledger(held={}),
        "an old modification held": ledger(held={"e": FIRST}, told={"0042": [("e", FIRST)]}),
        "another content held": ledger(held={"e": replace(SECOND, what="-10")}, told={}),
        "never told": ledger(told={"0042": []}),
        "an old modification told last": ledger(told={"0042": [("e", FIRST)]}),
        "told backwards": ledger(told={"0042": [("e", SECOND), ("e", FIRST)]}),
        "two things under one number": ledger(
            told={"0042": [("e", replace(SECOND, what="-10")), ("e", SECOND)]}
        ),
        "the answer forgotten": ledger(held_answers={}),
        "not told that it is off": ledger(held=called_off),
    }

    assert {
        name: judge_events(one).applied_wrongly for name, one in wrong.items()
    } == dict.fromkeys(wrong, 1)


def test_an_act_that_was_not_acknowledged_may_have_happened():
    assert judge_events(ledger(acknowledged={"e": FIRST})).clean
    assert judge_events(ledger(acknowledged={})).clean


def test_an_event_that_was_called_off_before_a_ven_asked_is_nothing_to_it():
    called_off = {"e": Version(modification=2, what=CANCELLED)}

    assert judge_events(ledger(held=called_off, told={"0042": []})).clean


ORDER = Order(event_id="e", starts_at=NOON, ends_at=NOON + timedelta(seconds=60), watts=60_000.0)
EXACT = Patience(settle=timedelta(seconds=5))


def load(*spans):
    """A line a second for two minutes, reduced within the spans (seconds after noon)."""
    return [
        (NOON + timedelta(seconds=s), 60_000.0 * any(a <= s < b for a, b in spans))
        for s in range(-30, 90)
    ]


def test_an_order_that_is_held_once_is_clean():
    assert judge_site(load((4, 63)), [ORDER], EXACT).clean


def test_each_second_outside_and_each_further_time_is_found():
    assert judge_site(load((4, 70)), [ORDER], EXACT).applied_wrongly == 5
    assert judge_site(load((-3, 60)), [ORDER], EXACT).applied_wrongly == 3
    assert judge_site(load((4, 20), (30, 60)), [ORDER], EXACT).applied_wrongly == 1
    assert judge_site(load(), [ORDER], EXACT).applied_wrongly == 1
    again = replace(EXACT, most_times=2)
    assert judge_site(load((4, 20), (30, 60)), [ORDER], again).clean


def test_a_site_without_orders_is_to_be_left_alone():
    assert judge_site(load((4, 10)), [], EXACT).applied_wrongly == 6
    assert judge_site(load(), [], EXACT).clean


@given(st.lists(st.integers(0, 50), max_size=12))
def test_set_points_in_order_are_clean_and_each_step_back_is_found(numbers):
    back = sum(b < a for a, b in pairwise(numbers))

    assert judge_order(sorted(numbers)).clean
    assert judge_order(numbers).applied_wrongly == back


def test_an_outcome_holds_only_when_nothing_is_wrong_in_time_and_as_often_as_meant():
    clean = Verdict()

    assert outcome("x", clean, runs=2, wanted=2, recoveries_s=[1.0, 2.9]).held
    assert outcome("x", clean, runs=2, wanted=2).max_recovery_s is None
    assert not outcome("x", clean, runs=1, wanted=2).held
    assert not outcome("x", clean, runs=2, recoveries_s=[3.1]).held
    assert not outcome("x", Verdict(lost=1), runs=2).held
    assert not outcome("x", clean, runs=2, remarks=["it died"]).held
