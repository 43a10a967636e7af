from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.errors import PlanFault
from light_node.local import Delta, Keep, Limit, Step
from light_node.plan import Order, check, orders_of, revised

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
TARGETS = (Delta(watts=-1.0), Delta(watts=-2.0), Limit(max_watts=3.0))


def after(seconds):
    return T0 + timedelta(seconds=seconds)


def step(start, end, target=TARGETS[0], event="e", modification=0):
    return Step(
        event_id=event,
        modification_number=modification,
        priority=1,
        starts_at=after(start),
        ends_at=None if end is None else after(end),
        target=target,
        signal_name="s",
        signal_type="t",
        value=0.0,
    )


def order(*steps):
    return Order(event_id="e", modification_number=0, steps=steps)


def held_at(order, seconds):
    at = after(seconds)
    return [
        s.target
        for s in (order.steps if order else ())
        if s.starts_at <= at and (s.ends_at is None or at < s.ends_at)
    ]


def test_a_plan_whose_steps_overlap_is_refused_with_the_instant():
    with pytest.raises(PlanFault, match="event 'e': two steps overlap"):
        check([step(0, 10), step(9, 20)])
    with pytest.raises(PlanFault, match="two steps overlap"):
        check([step(0, None), step(100, 110)])


def test_a_step_without_length_is_refused():
    with pytest.raises(PlanFault, match="ends at or before its start"):
        check([step(5, 5)])


@pytest.mark.parametrize(
    ("starts_at", "ends_at"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), T0),
        (datetime(9999, 12, 31, tzinfo=UTC), None),
        (T0, datetime(9999, 12, 31, 23, 59, tzinfo=UTC)),
    ],
)
def test_a_step_beyond_any_calendar_is_refused(starts_at, ends_at):
    odd = msgspec.structs.replace(step(0, 10), starts_at=starts_at, ends_at=ends_at)
    with pytest.raises(PlanFault, match="between the years"):
        check([odd])


def test_steps_of_different_events_may_overlap():
    check([step(0, 10), step(5, 15, event="f"), step(10, 20)])


def test_an_event_that_holds_nothing_orders_nothing():
    orders = orders_of([step(0, 10, Keep(), event="price"), step(0, 10), step(10, 20, Keep())])

    assert list(orders) == ["e"]
    assert len(orders["e"].steps) == 2


def test_ramp_up_and_recovery_are_held_but_not_ordered():
    active = step(0, 60)
    ramp = msgspec.structs.replace(step(-30, 0), part="ramp_up")
    recovery = msgspec.structs.replace(step(60, 90, Delta(watts=0.0)), part="recovery")

    orders = orders_of([ramp, active, recovery])

    assert (active,) == orders["e"].steps


def test_the_first_plan_is_the_order_also_when_it_comes_late():
    new = order(step(-100, 100))

    assert revised(None, new, T0) == new


def test_the_same_plan_again_changes_nothing():
    old = order(step(-100, 100))

    assert revised(old, order(step(-100, 100)), T0) is old


def test_a_plan_without_its_past_steps_changes_nothing():
    old = order(step(-100, 50), step(50, 100, TARGETS[1]))

    assert revised(old, order(step(50, 100, TARGETS[1])), after(60)) == old
    assert revised(old, None, after(200)) == old


def test_an_event_taken_back_ends_at_that_moment():
    assert revised(order(step(-100, 100)), None, T0) == order(step(-100, 0))
    assert revised(order(step(10, 100)), None, T0).steps == ()


def test_a_modification_keeps_what_was_ordered_until_then():
    new = Order(
        event_id="e", modification_number=1, steps=(step(-100, 200, TARGETS[1], modification=1),)
    )

    changed = revised(order(step(-100, 100)), new, T0)

    assert changed.modification_number == 1
    assert changed.steps == (step(-100, 0), step(0, 200, TARGETS[1], modification=1))


@st.composite
def orders(draw):
    at = draw(st.integers(-60, 60))
    steps = []
    for _ in range(draw(st.integers(0, 4))):
        end = at + draw(st.integers(1, 40))
        steps.append(step(at, end, draw(st.sampled_from(TARGETS))))
        at = end + draw(st.sampled_from([0, 0, 5]))
    return order(*steps)


@given(orders(), st.none() | orders(), st.integers(-80, 80), st.integers(-100, 200))
def test_the_past_stays_and_the_future_is_the_new_plan(old, new, now, instant):
    changed = revised(old, new, after(now))

    assert held_at(changed, instant) == held_at(old if instant < now else new, instant)
    check(changed.steps)
    assert revised(changed, new, after(now)) == changed or new is None
