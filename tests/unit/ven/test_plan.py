import itertools
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from light_node.local import Delta, Keep, Limit
from oadr.vocabulary import OptType, SignalType
from tests.unit.ven.makers import START, event, known, price, settings, signal, simple, site
from ven import plan

LEVELS = {"1": {"delta_w": -10_000}, "2": {"max_w": 50_000}, "3": {"share": 0.2}}
HERE = settings(site={"rated_w": 200_000, "simple_levels": LEVELS}).site


def at(seconds):
    return START + timedelta(seconds=seconds)


def spans(steps):
    return [
        (
            step.event_id,
            (step.starts_at - START).total_seconds(),
            (step.ends_at - START).total_seconds() if step.ends_at else None,
            step.target,
        )
        for step in steps
    ]


def test_the_intervals_of_a_signal_follow_each_other():
    asked = known(event(signals=(signal(-10, -20, lengths_s=[600, 3000]),)))

    assert [
        ("e", 0, 600, Delta(watts=-10_000)),
        ("e", 600, 3600, Delta(watts=-20_000)),
    ] == spans(plan.steps([asked], HERE))


def test_the_random_offset_moves_start_and_end():
    asked = known(event(start_after=timedelta(minutes=5)), offset_s=90)

    assert [("e", 90, 3690, Delta(watts=-40_000))] == spans(plan.steps([asked], HERE))


def test_an_open_ended_event_has_no_end():
    asked = known(event(length_s=0, signals=(signal(-1, lengths_s=[0]),)))

    assert [("e", 0, None, Delta(watts=-1000))] == spans(plan.steps([asked], HERE))


def test_an_event_opted_out_of_or_unusable_has_no_steps():
    out = known(opt=OptType.OPT_OUT)
    unusable = known(event("x"), response_code="460")

    assert plan.steps([out, unusable], HERE) == ()


def test_a_cancelled_event_ends_early():
    asked = known(ends_early_at=at(100))

    assert [("e", 0, 100, Delta(watts=-40_000))] == spans(plan.steps([asked], HERE))


def test_an_event_cancelled_before_it_began_has_no_steps():
    asked = known(event(recovery=timedelta(minutes=5)), ends_early_at=at(-100))

    assert plan.steps([asked], HERE) == ()


def test_priority_goes_before_start_and_0_is_the_lowest():  # rules 3 and 15
    low = known(event("low", priority=0))
    high = known(event("high", starts_at=at(600), length_s=600, priority=2))
    higher = known(event("higher", starts_at=at(900), length_s=600, priority=1))

    assert [found[:3] for found in spans(plan.steps([low, high, higher], HERE))] == [
        ("low", 0, 600),
        ("high", 600, 900),
        ("higher", 900, 1500),
        ("low", 1500, 3600),
    ]


def test_of_equal_priority_the_earlier_start_is_held():
    first, second = known(event("b", priority=1)), known(event("a", starts_at=at(60), priority=1))

    assert [found[:3] for found in spans(plan.steps([second, first], HERE))] == [
        ("b", 0, 3600),
        ("a", 3600, 3660),
    ]


def test_a_price_displaces_nothing():
    asking = known(event("asking", priority=0))
    cheap = known(event("price", priority=1, signals=(price(0.3),)))
    steps = plan.steps([asking, cheap], HERE)

    assert [("asking", 0, 3600, Delta(watts=-40_000)), ("price", 0, 3600, Keep())] == spans(steps)


def test_simple_beside_another_signal_gives_way_to_it():
    both = known(event(signals=(simple(2), signal(-40))))

    assert [("e", 0, 3600, Delta(watts=-40_000))] == spans(plan.steps([both], HERE))


def test_simple_goes_first_where_the_site_wants_it():
    both = known(event(signals=(signal(-40), simple(2))))
    here = settings(site={"simple_levels": LEVELS, "prefer_simple": True, "rated_w": 200_000}).site

    assert [("e", 0, 3600, Limit(max_watts=50_000))] == spans(plan.steps([both], here))


def test_simple_is_held_where_the_other_signal_asks_for_nothing():
    both = known(event(signals=(price(0.3), simple(1))))

    assert [("e", 0, 3600, Delta(watts=-10_000))] == spans(plan.steps([both], HERE))


def test_ramp_up_and_recovery_lead_in_and_out():  # rule 31
    asked = known(event(ramp_up=timedelta(seconds=200), recovery=timedelta(seconds=400)))
    steps = plan.steps([asked], HERE)

    assert [
        ("e", -200, 0, Delta(watts=-40_000)),
        ("e", 0, 3600, Delta(watts=-40_000)),
        ("e", 3600, 4000, Delta(watts=0)),
    ] == spans(steps)
    assert [step.ramp_w_per_s for step in steps] == [200.0, None, 100.0]
    assert [step.part for step in steps] == ["ramp_up", "active", "recovery"]


def test_a_ramp_to_a_limit_needs_the_rated_load():
    limit = signal(40, kind=SignalType.SETPOINT)
    asked = known(event(signals=(limit,), ramp_up=timedelta(seconds=100)))

    assert plan.steps([asked], HERE)[0].ramp_w_per_s == 1600.0
    assert plan.steps([asked], site())[0].ramp_w_per_s is None


def test_recovery_gives_way_to_any_event():
    first = known(event("first", priority=1, recovery=timedelta(seconds=600)))
    second = known(event("second", starts_at=at(3700), length_s=600, priority=0))

    assert [found[:3] for found in spans(plan.steps([first, second], HERE))] == [
        ("first", 0, 3600),
        ("first", 3600, 3700),
        ("second", 3700, 4300),
    ]


def test_a_test_event_moves_nothing_unless_the_site_wants_it():  # rule 6
    drill = known(event(test_event="yes"))

    assert [("e", 0, 3600, Keep())] == spans(plan.steps([drill], HERE))
    assert [("e", 0, 3600, Delta(watts=-40_000))] == spans(
        plan.steps([drill], site(act_on_tests=True))
    )
    assert all(step.test for step in plan.steps([drill], HERE))
    not_a_test = known(event(test_event="false"))
    assert Delta(watts=-40_000) == plan.steps([not_a_test], HERE)[0].target


@st.composite
def overlapping(draw):
    events = []
    for number in range(draw(st.integers(1, 4))):
        length = draw(st.sampled_from([0, 600, 1200]))
        signals = [draw(st.sampled_from([signal, price, simple]))(1.0, lengths_s=[length])]
        if draw(st.booleans()):
            signals.append(simple(draw(st.integers(0, 3)), lengths_s=[length]))
        made = event(
            f"e{number}",
            starts_at=at(60 * draw(st.integers(0, 30))),
            length_s=length,
            signals=tuple(signals),
            priority=draw(st.integers(0, 3)),
            ramp_up=timedelta(seconds=draw(st.sampled_from([0, 120]))),
            recovery=timedelta(seconds=draw(st.sampled_from([0, 120]))),
        )
        ends = draw(st.one_of(st.none(), st.integers(0, 40)))
        events.append(
            known(
                made,
                offset_s=draw(st.integers(0, 300)),
                ends_early_at=None if ends is None else at(60 * ends),
            )
        )
    return events


@given(overlapping())
def test_at_any_instant_at_most_one_step_asks_for_something(events):
    asking = [s for s in plan.steps(events, HERE) if not isinstance(s.target, Keep)]
    for before, after in itertools.pairwise(asking):
        assert before.ends_at is not None
        assert before.starts_at < before.ends_at <= after.starts_at


@given(overlapping())
def test_the_steps_of_one_event_ascend_and_stay_within_it(events):
    steps = plan.steps(events, HERE)
    for each in events:
        own = [step for step in steps if step.event_id == each.event_id]
        for before, after in itertools.pairwise(own):
            assert before.ends_at is not None
            assert before.ends_at <= after.starts_at
        for step in own:
            assert step.starts_at >= each.ramps_at
            end = each.recovered_at
            assert end is None or (step.ends_at is not None and step.ends_at <= end)


def test_notices_tell_the_ems_of_every_signal_also_when_opted_out():
    both = known(event(signals=(price(0.2, 0.3), simple(1))), opt=OptType.OPT_OUT)
    first, second = plan.notices([both], HERE, at(10))

    assert (
        first.signal_name,
        first.signal_type,
        first.unit,
        first.status,
        first.opt,
    ) == ("ELECTRICITY_PRICE", "price", "EUR/kWh", "active", "optOut")
    assert [(at(0), at(1800), 0.2), (at(1800), at(3600), 0.3)] == [
        (value.starts_at, value.ends_at, value.value) for value in first.values
    ]
    assert second.signal_name == "SIMPLE"


def test_an_unusable_event_is_no_news_for_the_ems():
    assert plan.notices([known(response_code="462")], HERE, START) == ()


def test_the_load_moves_from_the_ramp_until_it_has_settled():
    asked = known(event(ramp_up=timedelta(seconds=60)))
    steps = plan.steps([asked], HERE)
    settle = timedelta(seconds=60)

    assert [plan.is_moving(steps, at(s), settle=settle) for s in (-61, -60, 0, 3659, 3660)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_price_moves_nothing():
    steps = plan.steps([known(event(signals=(price(1.0),)))], HERE)

    assert not plan.is_moving(steps, START, settle=timedelta(0))


def test_the_value_of_the_moment():
    asked = known(event(signals=(price(0.2, 0.3),)))
    shown = asked.event.signals[0]

    assert [plan.value_at(asked, shown, at(s)) for s in (-10, 0, 1800, 3600)] == [
        0.2,
        0.2,
        0.3,
        None,
    ]
