from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_bridge.messages import decode, encode
from light_node.local import Delta, Keep, Limit, Share, Step
from light_node.setpoint import (
    Decision,
    GuardState,
    Held,
    Situation,
    decide,
    id_of,
    in_words,
    step_at,
    within_limits,
)
from light_node.settings import GuardTable

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
GUARD = GuardTable()


def after(seconds):
    return T0 + timedelta(seconds=seconds)


def step(start=0, end=600, target=None, *, event="e", priority=1, modification=0, ramp=None):
    return Step(
        event_id=event,
        modification_number=modification,
        priority=priority,
        starts_at=after(start),
        ends_at=None if end is None else after(end),
        target=target or Delta(watts=-50_000),
        ramp_w_per_s=ramp,
        signal_name="LOAD_DISPATCH",
        signal_type="delta",
        value=-50_000,
    )


class Loop:
    """Runs the guard as the node does: at each moment it asks for, remembering what it says."""

    def __init__(self, guard=GUARD, **situation):
        self.guard = guard
        self.held = Held()
        self.situation = Situation(now=T0, steps=(), level_w=100_000.0, ems_seen_at=T0)
        self.situation = replace(self.situation, **situation)
        self.sent = []
        self.decision = Decision(held=self.held)

    def look(self, seconds, **changes):
        """One decision; returns what it sends."""
        self.situation = replace(self.situation, now=after(seconds), **changes)
        self.decision = decide(self.held, self.situation, self.guard)
        self.held = self.decision.held
        self.situation = replace(self.situation, renew=False)
        if self.decision.send is not None:
            self.sent.append(self.decision.send)
        return self.decision.send

    def acknowledge(self):
        seq = self.held.seq
        self.situation = replace(self.situation, acknowledged_seq=seq, answered_seq=seq)

    def run(self, seconds, *, obeys=True):
        """Look at each moment asked for, for so long."""
        end = self.situation.now + timedelta(seconds=seconds)
        while True:
            self.look((self.situation.now - T0).total_seconds())
            if obeys:
                self.acknowledge()
                self.situation = replace(self.situation, ems_seen_at=self.situation.now)
            look_at = decide(self.held, self.situation, self.guard).look_at
            if look_at is None or look_at >= end:
                return
            self.situation = replace(self.situation, now=look_at)


def test_a_lease_is_made_when_its_step_begins_and_ends_soon():
    loop = Loop(steps=(step(),))

    lease = loop.look(0)

    assert lease.delta_w == -50_000
    assert (lease.not_before, lease.not_after, lease.ttl_s) == (T0, after(120), 120)
    assert (lease.reason.event_id, lease.reason.signal_name) == ("e", "LOAD_DISPATCH")
    assert loop.held.state is GuardState.LIMITED
    assert decode(encode(lease)) == lease


def test_before_its_step_nothing_is_sent_and_the_begin_is_awaited():
    loop = Loop(steps=(step(start=100),))

    assert loop.look(0) is None
    assert loop.decision.look_at == after(100)
    assert loop.held.state is GuardState.NORMAL


def test_a_lease_is_refreshed_under_its_id_and_the_last_ends_with_the_step():
    loop = Loop(steps=(step(end=200),))

    loop.run(300)

    leases = [sent for sent in loop.sent if not sent.release]
    assert [(lease.issued_at - T0).total_seconds() for lease in leases] == [0, 30, 60, 90]
    assert {lease.id for lease in leases} == {leases[0].id}
    assert leases[-1].not_after == after(200)
    (release,) = [sent for sent in loop.sent if sent.release]
    assert release.issued_at == after(200)
    assert release.id == leases[0].id
    assert loop.held.lease is None
    assert loop.held.state is GuardState.NORMAL


def test_an_unacknowledged_lease_is_made_anew_after_five_seconds():
    loop = Loop(steps=(step(),))
    first = loop.look(0)

    assert loop.decision.look_at == after(5)
    assert loop.look(4.9) is None
    assert loop.look(5).seq > first.seq


def test_a_rejected_lease_is_not_hammered():
    loop = Loop(steps=(step(),))
    loop.look(0)
    loop.situation = replace(loop.situation, answered_seq=loop.held.seq)

    assert loop.look(5) is None
    assert loop.decision.look_at == after(30)


def test_an_ems_that_comes_back_is_told_again_at_once():
    loop = Loop(steps=(step(end=100),))
    loop.look(0)
    loop.acknowledge()

    assert loop.look(1) is None
    assert loop.look(2, renew=True) is not None


def test_a_cancelled_plan_releases():
    loop = Loop(steps=(step(),))
    lease = loop.look(0)

    release = loop.look(10, steps=())

    assert release.release
    assert release.id == lease.id
    assert release.seq > lease.seq
    assert (release.delta_w, release.max_w, release.min_w) == (None, None, None)
    assert loop.look(11) is None


def test_an_override_releases_and_holds_nothing_until_it_ends():
    loop = Loop(steps=(step(),))
    loop.look(0)

    assert loop.look(10, overridden=True).release
    assert loop.look(40, overridden=True) is None
    assert loop.look(50, overridden=False).delta_w == -50_000


def test_a_modified_event_gets_a_new_lease_without_a_release_between():
    loop = Loop(steps=(step(),))
    first = loop.look(0)
    loop.acknowledge()

    second = loop.look(5, steps=(step(target=Delta(watts=-20_000), modification=1),))

    assert not second.release
    assert second.id != first.id
    assert second.delta_w == -20_000


def test_a_step_that_is_cut_short_gets_a_shorter_lease_at_once():
    loop = Loop(steps=(step(),))
    loop.look(0)
    loop.acknowledge()

    assert loop.look(5, steps=(step(end=60),)).not_after == after(60)


def test_a_step_follows_another_without_a_release_between():
    loop = Loop(steps=(step(end=60), step(start=60, end=120, target=Delta(watts=-10_000))))

    loop.run(200)

    assert [s.delta_w for s in loop.sent] == [-50_000, -10_000, None] or [
        s.release for s in loop.sent
    ] == [False] * (len(loop.sent) - 1) + [True]


def test_an_open_ended_step_goes_on_until_the_plan_changes():
    loop = Loop(steps=(step(end=None),))

    loop.run(3600)

    assert not any(sent.release for sent in loop.sent)
    assert loop.sent[-1].not_after - loop.sent[-1].issued_at == timedelta(seconds=120)


def test_a_clock_that_was_set_back_renews_the_lease():
    loop = Loop(steps=(step(start=-7200, end=7200),))
    loop.look(0)
    loop.acknowledge()

    assert loop.look(-3600).not_after == after(-3600 + 120)


def test_the_step_of_the_highest_priority_is_held_and_none_has_the_lowest():
    low, high, none = (step(event=name, priority=p) for name, p in (("a", 5), ("b", 1), ("c", 0)))

    assert step_at((none, low, high), T0) == high
    assert step_at((none, low), T0) == low
    assert step_at((none,), T0) == none
    assert step_at((step(target=Keep()),), T0) is None


def test_a_step_begins_with_its_start_and_ends_before_its_end():
    steps = (step(start=0, end=10),)

    assert step_at(steps, after(-0.001)) is None
    assert step_at(steps, after(0)) == steps[0]
    assert step_at(steps, after(9.999)) == steps[0]
    assert step_at(steps, after(10)) is None


@pytest.mark.parametrize(
    ("guard", "target", "expected"),
    [
        (GuardTable(max_reduction_w=30e3), Delta(watts=-50e3), Delta(watts=-30e3)),
        (GuardTable(min_load_w=80e3), Delta(watts=-50e3), Delta(watts=-20e3)),
        (GuardTable(min_load_w=120e3), Delta(watts=-50e3), Delta(watts=0)),
        (GuardTable(max_load_w=110e3), Delta(watts=50e3), Delta(watts=10e3)),
        (GuardTable(max_load_w=90e3), Delta(watts=50e3), Delta(watts=0)),
        (GuardTable(min_load_w=80e3), Limit(max_watts=50e3), Limit(max_watts=80e3)),
        (GuardTable(max_reduction_w=30e3), Limit(max_watts=50e3), Limit(max_watts=70e3)),
        (GuardTable(max_load_w=90e3), Limit(max_watts=120e3), Limit(max_watts=90e3)),
        (GuardTable(max_load_w=90e3), Limit(min_watts=120e3), Limit(min_watts=90e3)),
        (GuardTable(), Share(of_baseline=0.75), Delta(watts=-25e3)),
        (GuardTable(max_reduction_w=10e3), Share(of_baseline=0.0), Delta(watts=-10e3)),
        (GuardTable(), Keep(), None),
    ],
)
def test_the_installers_limits_bound_each_target(guard, target, expected):
    assert within_limits(target, guard, 100e3) == expected


@pytest.mark.parametrize(
    ("guard", "target"),
    [
        (GuardTable(), Share(of_baseline=0.5)),
        (GuardTable(min_load_w=1.0), Delta(watts=-1.0)),
        (GuardTable(max_load_w=1.0), Delta(watts=1.0)),
        (GuardTable(max_reduction_w=1.0), Limit(max_watts=1.0)),
    ],
)
def test_limits_that_cannot_be_judged_hold_nothing_and_say_why(guard, target):
    loop = Loop(guard, steps=(step(target=target),), level_w=None)

    assert loop.look(0) is None
    assert "not known what the building would use" in loop.decision.hindrance


def test_the_gentler_of_two_ramps_is_asked_for():
    assert Loop(GuardTable(ramp_w_per_s=500), steps=(step(ramp=900),)).look(0).ramp_w_per_s == 500
    assert Loop(GuardTable(), steps=(step(ramp=900),)).look(0).ramp_w_per_s == 900
    assert Loop(GuardTable(), steps=(step(),)).look(0).ramp_w_per_s is None


def test_the_failsafe_limit_travels_with_each_lease():
    loop = Loop(GuardTable(failsafe_max_w=4200), steps=(step(),))

    assert loop.look(0).fallback_w == 4200


# --- failsafe: after the EEBUS limitation use case -----------------------------------------------


def test_an_ems_silent_for_two_minutes_means_failsafe_and_leases_go_on():
    loop = Loop(steps=(step(),))
    loop.run(120, obeys=False)
    assert loop.held.state is GuardState.LIMITED

    before = len(loop.sent)
    loop.run(60, obeys=False)

    assert loop.held.state is GuardState.FAILSAFE
    assert len(loop.sent) > before


def test_an_ems_that_is_lost_means_failsafe_at_once():
    loop = Loop(steps=(step(),))
    loop.look(0)

    loop.look(1, ems_lost=True)

    assert loop.held.state is GuardState.FAILSAFE


def test_failsafe_is_left_only_with_an_acknowledgement_of_a_later_lease():
    loop = Loop(steps=(step(),))
    loop.look(0)
    loop.acknowledge()
    loop.look(1, ems_lost=True)

    loop.look(2, ems_lost=False)
    assert loop.held.state is GuardState.FAILSAFE
    loop.look(3, renew=True)
    assert loop.held.state is GuardState.FAILSAFE
    loop.acknowledge()
    loop.look(4)
    assert loop.held.state is GuardState.LIMITED


def test_failsafe_ends_with_the_event():
    loop = Loop(steps=(step(end=10),))
    loop.look(0)
    loop.look(1, ems_lost=True)

    loop.look(10)

    assert loop.held.state is GuardState.NORMAL


def test_an_idle_node_is_not_in_failsafe_because_its_ems_is_away():
    loop = Loop(steps=(), ems_seen_at=None, ems_lost=True)

    loop.look(10_000)

    assert loop.held.state is GuardState.NORMAL


def test_a_guard_that_was_never_asked_is_in_init():
    assert Held().state is GuardState.INIT


# --- what must hold whatever happens -------------------------------------------------------------

targets = st.one_of(
    st.builds(Delta, watts=st.floats(-1e6, 1e6)),
    st.builds(Limit, max_watts=st.floats(0, 1e6)),
    st.builds(Limit, min_watts=st.floats(0, 1e6)),
    st.builds(Share, of_baseline=st.floats(0, 2)),
    st.just(Keep()),
)


@st.composite
def plans(draw):
    steps = []
    for name in draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3)):
        start = draw(st.integers(-600, 600))
        for _ in range(draw(st.integers(1, 3))):
            length = draw(st.integers(1, 400))
            steps.append(
                step(
                    start,
                    start + length,
                    draw(targets),
                    event=name,
                    priority=draw(st.integers(0, 3)),
                    modification=draw(st.integers(0, 2)),
                )
            )
            start += length + draw(st.sampled_from([0, 0, 30]))
    return tuple(steps)


guards = st.builds(
    GuardTable,
    max_reduction_w=st.none() | st.floats(1, 1e5),
    min_load_w=st.none() | st.floats(0, 5e4),
    max_load_w=st.none() | st.floats(6e4, 2e5),
    lease_s=st.sampled_from([60.0, 120.0]),
)
happenings = st.lists(
    st.fixed_dictionaries(
        {"passes": st.floats(0.01, 90)},
        optional={
            "steps": plans(),
            "overridden": st.booleans(),
            "ems_lost": st.booleans(),
            "renew": st.booleans(),
            "level_w": st.none() | st.floats(0, 2e5),
            "acknowledges": st.booleans(),
        },
    ),
    min_size=1,
    max_size=25,
)


@given(guards, plans(), happenings)
def test_no_lease_ever_breaks_a_promise(guard, steps, happenings):
    loop = Loop(guard, steps=steps)
    at = 0.0
    seqs = []
    for happening in happenings:
        at += happening["passes"]
        if happening.get("acknowledges"):
            loop.acknowledge()
        changes = {k: v for k, v in happening.items() if k not in {"passes", "acknowledges"}}

        sent = loop.look(at, **changes)

        now = loop.situation.now
        held = step_at(loop.situation.steps, now)
        if loop.decision.look_at is not None:
            assert loop.decision.look_at > now
        if held is None or loop.situation.overridden:
            assert loop.held.lease is None
            assert sent is None or sent.release
        if sent is None:
            continue
        seqs.append(sent.seq)
        assert decode(encode(sent)) == sent
        if sent.release:
            assert loop.held.lease is None
            continue
        assert held is not None
        assert sent.id == id_of(held)
        assert sent.not_after <= held.ends_at
        assert sent.not_after <= now + timedelta(seconds=guard.lease_s)
        assert_within(sent, guard, loop.situation.level_w)
    assert seqs == sorted(set(seqs))


def assert_within(sent, guard, level_w):
    if sent.delta_w is not None and sent.delta_w < 0:
        assert guard.max_reduction_w is None or sent.delta_w >= -guard.max_reduction_w
        assert guard.min_load_w is None or level_w + sent.delta_w >= guard.min_load_w - 1e-6
    if sent.delta_w is not None and sent.delta_w > 0:
        assert guard.max_load_w is None or level_w + sent.delta_w <= guard.max_load_w + 1e-6
    for limit in (sent.max_w, sent.min_w):
        if limit is not None:
            assert guard.max_load_w is None or limit <= guard.max_load_w
    if sent.max_w is not None:
        assert guard.min_load_w is None or sent.max_w >= guard.min_load_w


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Delta(watts=-50_000), "reduce by 50.0 kW"),
        (Delta(watts=1500), "increase by 1.5 kW"),
        (Limit(max_watts=80_000, min_watts=10_000), "at most 80.0 kW and at least 10.0 kW"),
    ],
)
def test_a_lease_reads_well(target, words):
    assert in_words(Loop(steps=(step(target=target),)).look(0)) == words


def test_numbers_go_on_rising_when_the_clock_is_set_back_and_when_the_node_is_replaced():
    loop = Loop(steps=(step(start=-7200, end=7200),))
    first = loop.look(0)
    replaced = Loop(steps=(step(start=-7200, end=7200),))

    assert loop.look(-3600).seq == first.seq + 1
    assert replaced.look(60).seq > loop.held.seq


def test_a_step_of_which_too_little_is_left_is_not_begun():
    loop = Loop(guard=GuardTable(min_on_s=300), steps=(step(start=0, end=600),))

    assert loop.look(301) is None
    assert loop.held.lease is None
    assert loop.look(200) is not None


def test_after_a_release_the_load_rests_before_the_next_step():
    loop = Loop(
        guard=GuardTable(min_off_s=300),
        steps=(step(start=0, end=100), step(start=150, end=900, event="f")),
    )
    loop.run(100)
    assert loop.look(100).release

    assert loop.look(150) is None
    assert loop.decision.look_at == after(400)

    assert loop.look(400).reason.event_id == "f"


def test_the_failsafe_cap_is_lowered_at_once_and_without_knowing_the_load():
    guard = GuardTable(max_reduction_w=10_000, ramp_w_per_s=500, min_off_s=600, min_load_w=5_000)
    loop = Loop(guard=guard, steps=(step(end=None, target=Limit(max_watts=4_200)),))
    loop.held = replace(loop.held, released_at=T0)

    lease = loop.look(1, level_w=None, is_failsafe=True)

    assert (lease.max_w, lease.ramp_w_per_s) == (5_000, None)
