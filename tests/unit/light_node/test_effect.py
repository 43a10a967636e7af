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
    return [effect.see(T0 + timedelta(seconds=4 * (n + 1)), w) for n, w in enumerate(loads)]


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
