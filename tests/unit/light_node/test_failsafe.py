"""The cap in silence. Names with a number are clauses of the EEBUS limitation use case."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.capping import FAILSAFE_EVENT, GridCap
from light_node.errors import PlanFault
from light_node.failsafe import (
    CapState,
    Stated,
    advanced,
    begun,
    heard,
    held_w,
    holds_failsafe,
    next_change,
    stated,
)
from light_node.local import Delta, Limit, Step
from light_node.settings import GridCapTable

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
TABLE = GridCapTable(market_contexts=("http://grid",), failsafe_max_w=4200.0)


def after(seconds):
    return T0 + timedelta(seconds=seconds)


class Site:
    """A cap with its clock."""

    def __init__(self):
        self.now = T0
        self.cap = begun(T0)

    def wait(self, seconds, *, beating=False):
        for _ in range(int(seconds // 10)):
            self.now += timedelta(seconds=10)
            if beating:
                self.beat()
            self.cap = advanced(self.cap, self.now, TABLE)

    def beat(self):
        self.cap = heard(self.cap, self.now)

    def state(self, watts, lasts_s=None):
        ends_at = None if lasts_s is None else self.now + timedelta(seconds=lasts_s)
        self.cap = stated(self.cap, Stated(watts=watts, ends_at=ends_at), self.now)

    @property
    def watts(self):
        return held_w(self.cap, TABLE)


@pytest.fixture
def site():
    return Site()


@pytest.fixture
def limited(site):
    site.beat()
    site.state(3000.0)
    return site


@pytest.fixture
def lost(limited):
    limited.wait(120)
    assert limited.cap.state is CapState.FAILSAFE
    return limited


def test_lpc_ts_017_at_start_the_failsafe_cap_holds_until_the_first_statement(site):
    assert site.watts == 4200.0
    site.beat()
    site.wait(60, beating=True)
    assert site.watts == 4200.0

    site.state(3000.0)

    assert (site.cap.state, site.watts) == (CapState.LIMITED, 3000.0)


def test_lpc_ts_017_a_first_statement_without_the_utility_s_heartbeat_does_not_count(site):
    site.state(None)

    assert site.watts == 4200.0


def test_lpc_031_without_a_heartbeat_for_120_s_the_failsafe_cap_holds(limited):
    limited.wait(110)
    assert limited.watts == 3000.0

    limited.wait(10)

    assert (limited.cap.state, limited.watts) == (CapState.FAILSAFE, 4200.0)


def test_lpc_031_holds_without_a_limit_too(site):
    site.beat()
    site.state(None)
    assert site.watts is None

    site.wait(120)

    assert site.watts == 4200.0


def test_lpc_916_the_heartbeat_alone_ends_no_failsafe(lost):
    lost.beat()
    lost.wait(110, beating=True)

    assert lost.watts == 4200.0


def test_lpc_916_a_statement_alone_ends_no_failsafe(lost):
    lost.state(2000.0)
    lost.wait(60)

    assert lost.watts == 4200.0


def test_lpc_916_a_statement_that_came_before_the_heartbeat_does_not_count(lost):
    lost.state(2000.0)
    lost.beat()
    lost.wait(60, beating=True)

    assert lost.watts == 4200.0


@pytest.mark.parametrize(
    ("said", "state"), [(2000.0, "limited"), (None, "normal"), (0.0, "limited")]
)
def test_lpc_916_heartbeat_and_a_following_statement_end_failsafe(lost, said, state):
    lost.beat()
    lost.wait(10, beating=True)
    lost.state(said)

    assert (lost.cap.state, lost.watts) == (state, said)


def test_lpc_921_after_the_heartbeat_s_return_the_statement_is_awaited_120_s(lost):
    lost.beat()
    lost.wait(110, beating=True)
    assert lost.watts == 4200.0

    lost.wait(10, beating=True)

    assert (lost.cap.state, lost.watts) == (CapState.NORMAL, None)


def test_a_heartbeat_that_comes_once_and_goes_again_does_not_end_failsafe(lost):
    lost.beat()
    lost.wait(130)

    assert lost.cap.state is CapState.FAILSAFE


def test_in_lasting_silence_the_failsafe_cap_holds_for_its_least_duration_and_no_longer(lost):
    lost.wait(7190)
    assert lost.watts == 4200.0
    lost.wait(10)
    assert (lost.cap.state, lost.watts) == (CapState.NORMAL, None)

    lost.wait(600)

    assert lost.cap.state is CapState.NORMAL


def test_a_duration_that_is_absent_does_not_expire(limited):
    limited.wait(86_400, beating=True)

    assert limited.watts == 3000.0


def test_a_duration_that_is_given_expires(site):
    site.beat()
    site.state(3000.0, lasts_s=60)
    site.wait(50, beating=True)
    assert site.watts == 3000.0
    site.wait(10, beating=True)
    assert (site.cap.state, site.watts) == (CapState.NORMAL, None)


@pytest.mark.parametrize("watts", [-0.1, -5000.0, float("nan")])
def test_a_negative_limit_is_refused(watts):
    with pytest.raises(PlanFault, match="refused"):
        Stated(watts=watts)


def test_no_word_zero_and_no_limit_are_three_things(limited):
    assert limited.watts == 3000.0  # no word: what was said goes on
    limited.state(0.0)
    assert limited.watts == 0.0
    limited.state(None)
    assert limited.watts is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 400),
            st.sampled_from(["beat", "limit", "zero", "none", "restart", "nothing"]),
        ),
        max_size=30,
    )
)
def test_whatever_happens_silence_never_leaves_a_site_without_its_failsafe_cap(acts):
    cap, now, heard_at = begun(T0), T0, None
    given_up = False
    for seconds, act in acts:
        now += timedelta(seconds=seconds)
        before = cap
        cap = advanced(cap, now, TABLE)
        due = next_change(before, TABLE)
        if cap.state is not before.state:
            assert due is not None
            assert due <= now
            # After its least duration in silence, until it is heard again.
            given_up |= holds_failsafe(before) and cap.heard_at is None
        match act:
            case "beat":
                cap, heard_at = heard(cap, now), now
            case "limit" | "zero" | "none":
                watts = {"limit": 3000.0, "zero": 0.0, "none": None}[act]
                cap = stated(cap, Stated(watts=watts), now)
            case "restart":
                cap, heard_at = begun(now), None
        cap = advanced(cap, now, TABLE)
        if act in ("beat", "restart"):
            given_up = False
        silent = heard_at is not None and (now - heard_at).total_seconds() >= TABLE.heartbeat_s
        if silent and not given_up:
            assert holds_failsafe(cap)
        watts = held_w(cap, TABLE)
        assert watts is None or watts >= 0


# --- of the plan -------------------------------------------------------------------------------


def step(start=0, end=600, *, target=None, context="http://grid", event="e"):
    return Step(
        event_id=event,
        modification_number=0,
        priority=1,
        starts_at=after(start),
        ends_at=after(end),
        target=target or Limit(max_watts=3000.0),
        signal_name="LOAD_DISPATCH",
        signal_type="setpoint",
        value=3000.0,
        market_context=context,
    )


class Planned:
    def __init__(self, table=TABLE):
        self.passed_s = self.off_s = 0
        self.cap = GridCap(
            table,
            now=lambda: after(self.passed_s + self.off_s),
            monotonic=lambda: float(self.passed_s),
        )

    def events(self, *steps, seconds=0):
        self.passed_s = seconds
        return [each.event_id for each in self.cap.steps(steps)]


def test_without_a_table_every_event_is_voluntary_and_nothing_holds_in_silence():
    planned = Planned(table=None)

    assert planned.events(step(), seconds=9999) == ["e"]
    assert planned.cap.state == ""
    assert planned.cap.next_change() is None
    assert not planned.cap.is_cap(step())


def test_the_failsafe_cap_takes_the_plan_s_place_until_a_plan_states_something():
    planned = Planned()
    assert planned.events(step()) == [FAILSAFE_EVENT]
    planned.cap.hear()

    planned.cap.take((step(),))

    assert planned.events(step()) == ["e"]
    assert planned.cap.state == "limited"
    assert planned.events(step(), seconds=60) == ["e"]
    assert planned.events(step(), seconds=120) == [FAILSAFE_EVENT]
    (held,) = planned.cap.steps((step(),))
    assert held.target == Limit(max_watts=4200.0)


@pytest.mark.parametrize("off_s", [3600, -3600, 400_000_000])
def test_a_clock_that_is_set_neither_begins_nor_ends_nor_puts_off_the_failsafe_cap(off_s):
    planned = Planned()
    assert planned.events() == [FAILSAFE_EVENT]
    planned.off_s = off_s
    assert planned.events(seconds=60) == [FAILSAFE_EVENT]
    (held,) = planned.cap.steps(())
    assert planned.events(seconds=90) == [FAILSAFE_EVENT]
    assert planned.cap.steps(()) == (held,), "one and the same step, and so one lease"

    planned.cap.hear()
    planned.cap.take(())
    assert planned.cap.state == "normal"
    planned.off_s = 0
    assert planned.events(seconds=209) == []
    assert planned.cap.next_change() == after(210)
    assert planned.events(seconds=210) == [FAILSAFE_EVENT]


def test_a_cap_that_begins_by_the_plan_s_own_clock_is_a_statement_made_before():
    planned = Planned()
    planned.cap.hear()
    planned.cap.take((step(start=30),))
    assert planned.cap.state == "normal"
    planned.events(step(start=30), seconds=40)
    assert planned.cap.state == "limited"


def test_a_voluntary_event_is_no_cap_and_a_negative_cap_is_refused():
    planned = Planned()
    planned.cap.hear()
    voluntary = step(context="http://other", target=Delta(watts=-5.0), event="v")
    negative = step(target=Limit(max_watts=-1.0), event="n")
    planned.cap.take((voluntary, negative))

    assert planned.events(voluntary, negative) == ["v"]
    assert planned.cap.state == "normal"
    assert not planned.cap.is_cap(voluntary)
