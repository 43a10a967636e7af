from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_bridge.errors import MessageRefused
from ems_bridge.messages import AckStatus, Override, Reason, SetPoint
from ems_bridge.reference_ems import PLANT_PATIENCE_S, TOLERANCE, PlantState, ReferenceEms

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)
RATED_W = 100_000.0
RAMP = RATED_W * 0.02
ACCEPTED, REJECTED = AckStatus.ACCEPTED, AckStatus.REJECTED
STARTED, SUCCEEDED = AckStatus.STARTED, AckStatus.SUCCEEDED
ABORTED, REVOKED = AckStatus.ABORTED, AckStatus.REVOKED


class Building:
    """An EMS on a plant that does at once what it is told, a second a turn."""

    def __init__(self, natural_w=60_000.0):
        self.ems = ReferenceEms(rated_w=RATED_W)
        self.elapsed_s = 0.0
        self.natural_w = natural_w
        self.reduction_w = 0.0
        self.plant_answers = True
        self.said = []
        self.written = []

    @property
    def now(self):
        return AT + timedelta(seconds=self.elapsed_s)

    @property
    def load_w(self):
        return self.natural_w - self.reduction_w

    def lease(self, seq, *, lease_id="lease-1", starts_s=0.0, lasts_s=120.0, **more):
        begins = self.now + timedelta(seconds=starts_s)
        if not more.keys() & {"delta_w", "max_w", "min_w", "release"}:
            more["delta_w"] = -10_000.0
        return SetPoint(
            **{
                "id": lease_id,
                "seq": seq,
                "issued_at": self.now,
                "not_before": begins,
                "not_after": begins + timedelta(seconds=lasts_s),
                "ttl_s": starts_s + lasts_s,
                "reason": Reason(
                    event_id="e", modification_number=0, signal_name="n", signal_type="t"
                ),
                **more,
            }
        )

    def order(self, order):
        answers = self.ems.receive(order, now=self.now, monotonic_s=self.elapsed_s)
        self.said += answers
        return [answer.status for answer in answers]

    def override(self, *, active=True, until=None):
        word = Override(active=active, reason="fair in the hall", until=until, at=self.now)
        answers = self.ems.override(word, now=self.now)
        self.said += answers
        return [answer.status for answer in answers]

    def run(self, seconds):
        """Turns of one second; what was answered meanwhile."""
        answers = []
        for _ in range(seconds):
            self.elapsed_s += 1.0
            plant = PlantState(
                load_w=self.load_w, natural_w=self.natural_w, reduction_w=self.reduction_w
            )
            step = self.ems.step(
                plant if self.plant_answers else None, now=self.now, monotonic_s=self.elapsed_s
            )
            if step.reduction_w is not None:
                self.reduction_w = step.reduction_w
                self.written.append(step.reduction_w)
            answers += step.answers
        self.said += answers
        return [answer.status for answer in answers]


@pytest.fixture
def building():
    building = Building()
    building.run(1)
    return building


def test_a_lease_is_accepted_started_and_reached_by_a_believable_ramp(building):
    assert building.order(building.lease(1)) == [ACCEPTED]
    assert building.run(1) == [STARTED]
    assert building.reduction_w == pytest.approx(RAMP)
    assert building.run(4) == [SUCCEEDED]
    assert building.reduction_w == pytest.approx(10_000)
    assert building.said[-1].applied_w == -10_000


def test_a_plant_that_is_where_it_should_be_is_not_written_to(building):
    building.run(10)
    assert building.written == []

    building.order(building.lease(1))
    building.run(60)
    assert building.written == pytest.approx([2_000, 4_000, 6_000, 8_000, 10_000])

    building.reduction_w = 0.0  # somebody else has moved it
    building.run(1)
    assert building.reduction_w == pytest.approx(10_000)


def test_the_order_may_name_a_gentler_ramp(building):
    building.order(building.lease(1, ramp_w_per_s=500.0))
    building.run(10)

    assert building.reduction_w == pytest.approx(5_000)


def test_a_lease_waits_for_its_beginning(building):
    building.order(building.lease(1, starts_s=30))

    assert building.run(29) == []
    assert building.reduction_w == 0
    assert building.run(6) == [STARTED, SUCCEEDED]


def test_a_lease_ends_by_itself_and_the_load_is_let_go(building):
    building.order(building.lease(1, lasts_s=20))
    building.run(19)
    assert building.reduction_w == pytest.approx(10_000)

    building.run(1)
    assert building.reduction_w == pytest.approx(10_000 - RAMP)
    building.run(5)

    assert building.reduction_w == 0
    assert building.ems.setpoint is None
    assert building.said[-1].status is SUCCEEDED


def test_an_ems_whose_clock_is_wrong_still_ends_the_lease_by_its_ttl(building):
    order = building.lease(1, lasts_s=20)
    building.order(msgspec.structs.replace(order, not_after=order.not_after + timedelta(days=1)))
    building.run(26)

    assert building.reduction_w == 0


def test_a_fallback_is_held_after_the_lease_ran_out_until_a_newer_word(building):
    building.order(building.lease(1, lasts_s=20, fallback_w=45_000.0))
    building.run(60)
    assert building.load_w == pytest.approx(45_000)

    building.order(building.lease(2, release=True))
    building.run(20)

    assert building.load_w == building.natural_w


def test_what_it_could_not_reach_in_time_it_says_when_the_lease_ends(building):
    building.order(building.lease(1, lasts_s=3, delta_w=-50_000.0))

    assert building.run(4) == [STARTED, ABORTED]
    assert "ran out" in building.said[-1].reason


def test_a_release_ends_the_lease_and_says_when_the_load_is_back(building):
    building.order(building.lease(1))
    building.run(6)

    assert building.order(building.lease(2, release=True)) == [ACCEPTED]
    assert building.run(10) == [STARTED, SUCCEEDED]
    assert building.reduction_w == 0


def test_a_release_is_obeyed_even_if_it_comes_late(building):
    building.order(building.lease(1))
    building.run(6)
    late = building.lease(2, release=True)
    building.run(6)

    assert building.order(msgspec.structs.replace(late, ttl_s=0.0, not_after=AT)) == [ACCEPTED]


def test_limits_are_kept_while_the_building_lives_on(building):
    building.order(building.lease(1, max_w=40_000.0, min_w=30_000.0))
    building.run(12)
    assert building.load_w == pytest.approx(40_000)

    building.natural_w = 70_000.0
    building.run(6)
    assert building.load_w == pytest.approx(40_000)
    building.natural_w = 35_000.0
    building.run(30)
    assert building.load_w == pytest.approx(35_000)
    building.natural_w = 20_000.0
    building.run(30)

    assert building.load_w == pytest.approx(30_000)


def test_it_sheds_no_more_than_there_is_and_says_so(building):
    building.order(building.lease(1, delta_w=-90_000.0))
    building.run(60)

    assert building.load_w == pytest.approx(0)
    assert building.said[-1].status is SUCCEEDED
    assert building.said[-1].applied_w == pytest.approx(-60_000)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"delta_w": -100_001.0}, "more than the plant's rated 100.0 kW"),
        ({"max_w": -1.0}, "cannot feed in"),
        ({"min_w": 100_001.0}, "more than the plant's rated"),
        ({"lasts_s": 5.0, "starts_s": -5.0, "ttl_s": 5.0}, "expired"),
    ],
)
def test_nonsense_is_rejected_and_changes_nothing(building, order, reason):
    building.order(building.lease(1))
    building.run(6)

    assert building.order(building.lease(2, lease_id="lease-2", **order)) == [REJECTED]
    assert reason in building.said[-1].reason
    building.run(5)
    assert building.reduction_w == pytest.approx(10_000)
    assert building.order(building.lease(2, delta_w=-1000.0)) == [ACCEPTED]


def test_a_replayed_set_point_is_rejected_and_a_repeated_one_answered_again(building):
    old = building.lease(1)
    building.order(old)
    newer = building.lease(2)
    building.order(newer)
    building.run(6)

    assert building.order(newer) == [SUCCEEDED]
    assert building.order(old) == [REJECTED]
    assert "not newer" in building.said[-1].reason
    assert building.order(building.lease(2, lease_id="another")) == [REJECTED]
    assert building.run(3) == []


def test_a_refreshed_lease_goes_on_from_where_the_load_is(building):
    building.order(building.lease(1, lasts_s=20))
    building.run(15)

    assert building.order(building.lease(2, lasts_s=20)) == [ACCEPTED]
    assert building.run(1) == [STARTED, SUCCEEDED]
    building.run(14)
    assert building.reduction_w == pytest.approx(10_000)


def test_another_lease_revokes_the_one_in_hand(building):
    building.order(building.lease(1))
    building.run(6)

    assert building.order(building.lease(2, lease_id="lease-2", delta_w=-4_000.0)) == [
        REVOKED,
        ACCEPTED,
    ]
    assert (building.said[-2].id, building.said[-2].seq) == ("lease-1", 1)
    assert building.run(3) == [STARTED, SUCCEEDED]
    assert building.reduction_w == pytest.approx(4_000)


def test_a_persons_override_wins_until_it_is_withdrawn(building):
    building.order(building.lease(1))
    building.run(6)

    assert building.override() == [ABORTED]
    assert "fair in the hall" in building.said[-1].reason
    building.run(6)
    assert building.reduction_w == 0
    assert building.order(building.lease(2)) == [REJECTED]

    assert building.override(active=False) == []
    assert building.order(building.lease(2)) == [ACCEPTED]


def test_an_override_ends_at_its_time(building):
    building.override(until=building.now + timedelta(seconds=10))
    assert building.order(building.lease(1)) == [REJECTED]
    building.run(10)

    assert building.order(building.lease(1)) == [ACCEPTED]


def test_a_release_is_obeyed_under_an_override(building):
    building.override()

    assert building.order(building.lease(1, release=True)) == [ACCEPTED]


def test_a_plant_that_is_silent_for_a_moment_is_forgiven(building):
    building.order(building.lease(1))
    building.run(3)
    building.plant_answers = False
    assert building.run(int(PLANT_PATIENCE_S)) == []
    building.plant_answers = True

    assert building.run(10) == [SUCCEEDED]


def test_a_plant_that_comes_back_changed_is_taken_as_it_is(building):
    building.order(building.lease(1))
    building.run(6)
    building.plant_answers = False
    building.run(2)
    building.plant_answers, building.reduction_w = True, 0.0
    building.run(1)

    assert building.reduction_w == pytest.approx(RAMP)


def test_a_plant_that_stays_silent_aborts_the_lease(building):
    building.order(building.lease(1))
    building.run(6)
    building.plant_answers = False

    assert building.run(int(PLANT_PATIENCE_S) + 1) == [ABORTED]
    assert "does not answer" in building.said[-1].reason
    building.plant_answers = True
    building.run(10)
    assert building.reduction_w == 0


def test_an_ems_that_restarts_takes_over_the_load_where_it_is():
    building = Building()
    building.reduction_w = 10_000.0
    building.run(1)
    assert building.reduction_w == pytest.approx(10_000)
    building.run(3)

    assert building.reduction_w == pytest.approx(10_000 - 3 * RAMP)


def test_after_a_stall_the_ramp_goes_on_and_does_not_jump(building):
    building.order(building.lease(1, delta_w=-50_000.0))
    building.elapsed_s += 60
    building.run(1)

    assert building.reduction_w == pytest.approx(5 * RAMP)


def test_a_plant_of_no_size_is_refused():
    with pytest.raises(MessageRefused, match="give its size"):
        ReferenceEms(rated_w=0.0)


acts = st.one_of(
    st.tuples(
        st.just("order"),
        st.integers(0, 12),
        st.sampled_from(["a", "b"]),
        st.sampled_from(
            [
                {"delta_w": -30_000.0},
                {"delta_w": 20_000.0},
                {"delta_w": -99_000.0},
                {"max_w": 25_000.0},
                {"min_w": 80_000.0},
                {"max_w": 50_000.0, "fallback_w": 40_000.0},
                {"release": True},
            ]
        ),
        st.sampled_from([0.0, 7.0]),
    ),
    st.tuples(st.just("override"), st.booleans()),
    st.tuples(st.just("plant"), st.booleans()),
    st.tuples(st.just("run"), st.integers(1, 30)),
    st.tuples(st.just("natural"), st.floats(0, RATED_W)),
)


@given(st.lists(acts, max_size=25))
def test_whatever_happens_the_load_stays_possible_and_each_lease_tells_a_sound_story(story):
    building = Building()
    building.run(1)
    for act, *words in story:
        match act, words:
            case "order", [seq, lease_id, target, starts_s]:
                building.order(
                    building.lease(
                        seq, lease_id=lease_id, starts_s=starts_s, lasts_s=20.0, **target
                    )
                )
            case "override", [active]:
                building.override(active=active)
            case "plant", [answers]:
                building.plant_answers = answers
            case "natural", [natural_w]:
                building.natural_w = natural_w
            case "run", [seconds]:
                for _ in range(seconds):
                    before = building.reduction_w
                    building.run(1)
                    assert abs(building.reduction_w - before) <= RAMP + 1e-6

    building.plant_answers = True
    building.natural_w = 60_000.0
    building.override(active=False)
    building.order(building.lease(99, release=True))
    building.run(100)

    assert abs(building.reduction_w) <= RATED_W * TOLERANCE
    assert building.ems.setpoint is None
    seqs = [a.seq for a in building.said if a.status is ACCEPTED]
    assert seqs == sorted(seqs)
    for seq in set(seqs):
        told = [a.status for a in building.said if a.seq == seq and a.status is not REJECTED]
        fresh = [s for n, s in enumerate(told) if n == 0 or s != told[n - 1]]
        assert fresh[0] is ACCEPTED
        assert fresh.count(STARTED) <= 1
        assert SUCCEEDED not in fresh or STARTED in fresh[: fresh.index(SUCCEEDED)]
