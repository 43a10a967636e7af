from datetime import UTC, datetime, timedelta

import pytest

from ems_bridge.messages import Reason, SetPoint
from light_node.effect import Effect

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)


def effect(**target):
    return Effect(
        lease=SetPoint(
            id="e:1",
            seq=1,
            issued_at=T0,
            not_before=T0,
            not_after=T0 + timedelta(seconds=120),
            ttl_s=120,
            reason=Reason(event_id="e", modification_number=0, signal_name="s", signal_type="t"),
            **target,
        ),
        before_w=100.0,
    )


def see(effect, *loads):
    """Show it the loads, one in 4 s; which of them were news, each told at once."""
    news = []
    for n, watts in enumerate(loads, 1):
        news.append(effect.see(after(4 * n), watts))
        if news[-1]:
            effect.told = effect.word
    return news


def after(seconds):
    return T0 + timedelta(seconds=seconds)


def test_a_target_is_reached_when_three_readings_are_there():
    watched = effect(delta_w=-50.0)

    assert see(watched, 90.0, 52.0, 51.0, 50.0, 50.0) == [False, False, False, True, False]
    verdict = watched.verdict(T0)
    assert (verdict.verdict, verdict.reached_after_s) == ("reached", 16.0)
    assert (verdict.baseline_w, verdict.target_w) == (100.0, 50.0)


def test_one_dip_does_not_count():
    watched = effect(delta_w=-50.0)

    assert not any(see(watched, 50.0, 100.0, 50.0, 100.0, 50.0))


@pytest.mark.parametrize(("load", "word"), [(100.0, "not reached"), (80.0, "partial")])
def test_what_is_not_reached_is_told_as_such(load, word):
    watched = effect(delta_w=-50.0)
    see(watched, load, load, load)

    verdict = watched.verdict(T0)

    assert (verdict.verdict, verdict.reached_after_s, verdict.actual_w) == (word, None, load)


def test_without_a_reading_nothing_was_reached():
    assert effect(delta_w=-50.0).verdict(T0).verdict == "not reached"


def test_a_limit_that_already_holds_is_reached():
    watched = effect(max_w=150.0)
    see(watched, 100.0, 100.0, 100.0)

    assert watched.target_w == 100.0
    assert watched.verdict(T0).verdict == "reached"


def test_a_limit_from_below_asks_for_more_load():
    assert effect(min_w=150.0).target_w == 150.0


def test_who_says_yes_and_moves_nothing_is_found_out_in_five_readings():
    watched = effect(delta_w=-50.0)
    watched.obeyed(after(1))

    assert see(watched, *[100.0] * 6) == [False] * 4 + [True, False]
    assert watched.is_idle_word
    assert watched.verdict(T0).verdict == "not reached"


def test_without_a_word_of_the_ems_nobody_is_accused():
    watched = effect(delta_w=-50.0)

    assert not any(see(watched, *[100.0] * 20))
    assert not watched.is_judged
    assert not watched.is_idle_word


def test_the_lease_s_own_ramp_gives_time():
    watched = effect(delta_w=-50.0, ramp_w_per_s=1.0)
    watched.obeyed(after(0))

    news = see(watched, *[100.0] * 30)

    assert news.index(True) == 16  # 50 s of ramp, and five readings


def test_who_is_slow_is_given_its_due_later():
    watched = effect(delta_w=-50.0)
    watched.obeyed(after(0))

    assert see(watched, 100.0, 100.0, 100.0, 90.0, 75.0, 50.0, 50.0, 50.0).count(True) == 3
    assert watched.told == "reached"
    see(watched, 100.0, 100.0, 100.0)
    assert watched.word == "reached"
