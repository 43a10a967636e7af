from datetime import timedelta

import pytest

from light_node.local import Curtailment
from oadr.event import RequestEvent
from tests.unit.ven.makers import event, known
from ven.event_clock import EventClock, StepWatch

HOUR = timedelta(hours=1)


class Told:
    """What the machine and the VTN say."""

    sure = False
    ahead_s = None


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def event_clock(clock, told):
    return EventClock(now=clock.now, is_sure=lambda: told.sure, vtn_ahead_s=lambda: told.ahead_s)


def test_a_clock_that_is_right_is_believed_whatever_the_vtn_says(event_clock, clock, told):
    told.sure, told.ahead_s = True, 3600.0

    assert event_clock.now() == clock.now()


def test_a_clock_that_is_a_guess_goes_by_the_vtn(event_clock, clock, told):
    assert event_clock.now() == clock.now()  # it has not answered yet

    told.ahead_s = 86_400.0
    assert event_clock.now() == clock.now() + 24 * HOUR
    told.ahead_s = 86_401.0  # the Date of an answer has no fractions
    assert event_clock.now() == clock.now() + 24 * HOUR
    told.sure = True  # it was set
    assert event_clock.now() == clock.now()


def test_the_plan_is_moved_to_where_our_clock_believes_its_hours_to_be(ven, event_clock, told):
    start = ven.clock.now() + HOUR
    ven.state.put_event(known(event(starts_at=start, length_s=600)))
    plan = ven.desk.plan()
    assert event_clock.on_our_clock(plan) == plan

    told.ahead_s = 3600.0
    (step,), (notice,) = event_clock.on_our_clock(plan)

    assert step.starts_at == ven.clock.now()
    assert step.ends_at == ven.clock.now() + timedelta(seconds=600)
    assert (notice.starts_at, notice.ends_at) == (step.starts_at, step.ends_at)
    assert notice.values[0].starts_at == step.starts_at


def test_what_an_event_has_brought_is_moved_back(event_clock, clock, told):
    at = clock.now()
    found = Curtailment(
        n=1,
        event_id="e",
        modification_number=0,
        baseline_method="m",
        fallback=False,
        starts_at=at,
        ends_at=None,
        ordered_w=1.0,
        delivered_w=1.0,
        fraction=1.0,
        samples_expected=1,
        samples_received=1,
        baseline=[(at.timestamp(), 5.0)],
        delivered=[(at.timestamp(), 1.0)],
        setpoint_acknowledged=True,
        final=False,
    )
    assert event_clock.off_our_clock(found) == found

    told.ahead_s = 3600.0
    moved = event_clock.off_our_clock(found)

    assert moved.starts_at == at + HOUR
    assert moved.baseline == [(at.timestamp() + 3600, 5.0)]
    assert moved.delivered == [(at.timestamp() + 3600, 1.0)]


def test_that_the_clock_was_set_is_noticed_once(clock):
    watch = StepWatch(now=clock.now, monotonic=clock.monotonic)
    clock.advance(1000)
    assert not watch.has_stepped()

    clock.step(-60)
    assert watch.has_stepped()
    assert not watch.has_stepped()


async def test_events_are_asked_for_again_when_the_clock_was_set(ven):
    stepped = iter([False, True, False])
    ven.poller._has_clock_stepped = lambda: next(stepped)

    with pytest.raises(RuntimeError):  # the iterator above has come to its end
        await ven.poller.run()

    assert len(ven.vtn.of(RequestEvent)) == 2  # at its start, and after the step
