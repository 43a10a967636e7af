import asyncio
from datetime import timedelta

import pytest

from ems_bridge.bridge import Received
from ems_bridge.errors import OutboxFault
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    EmsStatus,
    EventNotice,
    Heartbeat,
    Offer,
    Override,
    SetPoint,
    Verdict,
)
from ems_bridge.topics import Topics
from light_node.capping import FAILSAFE_EVENT, GridCap
from light_node.disk import Disk
from light_node.local import Delta, Notice, NoticeValue, OverrideState, Step
from light_node.plan import Plan
from light_node.quality import Quality
from light_node.reading import Reading
from light_node.setpoint import GuardState
from light_node.settings import GridCapTable, GuardTable
from light_node.steering import Steering
from light_node.store import Store
from light_node.writing import EmsWriter, Writers

TOPICS = Topics("hq", "node-1")


class Link:
    """A line to an EMS that remembers what it was given."""

    def __init__(self):
        self.sent = []
        self.retained = {}
        self.incoming = asyncio.Queue()
        self.connections = asyncio.Queue()
        self.fault = None

    async def publish(self, topic, message, *, qos=1, retain=False, expires_at=None, supersedes=""):
        if self.fault:
            raise self.fault
        self.sent.append((topic, message))
        if retain:
            self.retained[topic] = message

    async def clear(self, topic):
        self.retained.pop(topic, None)

    async def messages(self):
        while True:
            yield await self.incoming.get()

    async def connected_changes(self):
        while True:
            yield await self.connections.get()

    async def line_changes(self):
        yield False, frozenset()
        yield True, frozenset({TOPICS.verify})

    def of(self, kind):
        return [message for _, message in self.sent if isinstance(message, kind)]


class Bench:
    """Steering that is run one pass at a time."""

    def __init__(self, folder, clock, link):
        self.clock = clock
        self.link = link
        self.folder = folder
        self.changes = 0
        self.level_w = 100_000.0
        self.writers = Writers() if link is None else Writers(ems=EmsWriter(link, TOPICS))
        self.cap_table = None
        self.disk = Disk()
        self.open()

    def open(self):
        self.store = Store(self.folder / "plan.db")
        self.steering = Steering(
            guard=GuardTable(),
            store=self.store,
            disk=self.disk,
            link=self.link,
            topics=TOPICS,
            ems="ems-1",
            boot="b",
            now=self.clock.now,
            level_of=self.level_of,
            changed=self.count,
            writers=self.writers,
            grid_cap=GridCap(self.cap_table, now=self.clock.now, monotonic=self.clock.monotonic),
        )

    async def level_of(self, step):
        return self.level_w

    def count(self):
        self.changes += 1

    def close(self):
        self.store.close()
        self.disk.close()

    def restart(self):
        self.store.close()
        self.open()

    async def plan(self, *steps, notices=()):
        plan = Plan(version=1, steps=steps, notices=notices)
        await self.disk.run(self.store.save_plan, plan, {}, now=self.clock.now())
        self.steering.take_plan(plan)

    async def steer(self, seconds=0.0):
        self.clock.advance(seconds)
        return await self.steering._steer()

    async def say(self, message, kind="ack", *, ems="ems-1", retained=False):
        received = Received(
            topic="t",
            kind=kind,
            ems=ems,
            message=message,
            at=self.clock.now(),
            retained=retained,
        )
        await self.steering._take(received)

    async def acknowledge(self, status=AckStatus.ACCEPTED, seq=None):
        lease = self.link.of(SetPoint)[-1]
        ack = Acknowledgement(
            id=lease.id,
            seq=lease.seq if seq is None else seq,
            status=status,
            applied_w=lease.delta_w,
            at=self.clock.now(),
        )
        await self.say(ack)

    def step(self, length=600, start=0, watts=-50_000.0):
        begin = self.clock.now() + timedelta(seconds=start)
        return Step(
            event_id="e",
            modification_number=0,
            priority=1,
            starts_at=begin,
            ends_at=begin + timedelta(seconds=length),
            target=Delta(watts=watts),
            signal_name="LOAD_DISPATCH",
            signal_type="delta",
            value=watts,
        )

    def measure(self, watts, times=1, quality=Quality.GOOD):
        for _ in range(times):
            at = self.clock.now().timestamp()
            reading = Reading(
                meter="main",
                seq=1,
                k=int(at // 4),
                starts_at=at,
                quality=quality,
                values={"active_power": watts, "power_factor": 1.0},
            )
            self.steering.see(reading, {"active_power": "W", "power_factor": "1"})
            self.clock.advance(4)


@pytest.fixture
def link():
    return Link()


@pytest.fixture
def bench(tmp_path, clock, link):
    bench = Bench(tmp_path, clock, link)
    yield bench
    bench.close()


async def test_a_lease_goes_out_and_stays_retained_until_its_release(bench, link):
    await bench.plan(bench.step(60))

    await bench.steer()
    (lease,) = link.of(SetPoint)[:1]
    assert link.sent[0] == (TOPICS.limit_cmd, lease)
    assert link.retained[TOPICS.limit_state] == lease

    await bench.steer(60)
    release = link.of(SetPoint)[-1]
    assert release.release
    assert TOPICS.limit_state not in link.retained


async def test_a_lease_is_on_the_disk_before_it_is_sent(bench, link, monkeypatch):
    await bench.plan(bench.step())
    seen = []
    publish = link.publish

    async def look_first(topic, message, **how):
        if isinstance(message, SetPoint):
            seen.append(bench.store.held().seq == message.seq)
        await publish(topic, message, **how)

    monkeypatch.setattr(link, "publish", look_first)
    await bench.steer()

    assert seen == [True, True]


async def test_a_restarted_node_goes_on_with_its_plan_and_its_numbers(bench, link):
    await bench.plan(bench.step())
    await bench.steer()
    first = link.of(SetPoint)[0]
    bench.restart()

    await bench.steer(10)

    last = link.of(SetPoint)[-1]
    assert last.seq > first.seq
    assert last.id == first.id


async def test_a_restarted_node_releases_what_is_no_longer_ordered(bench, link):
    await bench.plan(bench.step(60))
    await bench.steer()
    bench.restart()

    await bench.steer(90)

    assert link.of(SetPoint)[-1].release


async def test_the_ems_word_is_shown_and_kept(bench):
    await bench.plan(bench.step())
    await bench.steer()
    assert bench.steering.lease_state().acknowledged == ""

    await bench.acknowledge()
    await bench.acknowledge(AckStatus.STARTED)

    lease = bench.steering.lease_state()
    assert (lease.acknowledged, lease.applied_w) == ("STARTED", -50_000)
    assert lease.target == "reduce by 50.0 kW"
    assert bench.store.is_acknowledged("e")


async def test_an_acknowledgement_of_something_never_sent_is_ignored(bench):
    await bench.plan(bench.step())
    await bench.steer()

    await bench.acknowledge(seq=2**52)

    assert bench.steering.lease_state().acknowledged == ""
    assert not bench.store.is_acknowledged("e")


async def test_a_lease_is_no_longer_shown_after_it_has_ended(bench):
    await bench.plan(bench.step())
    await bench.steer()
    bench.clock.advance(121)

    assert bench.steering.lease_state() is None


async def test_an_override_of_the_ems_releases_and_is_told(bench, link):
    await bench.plan(bench.step())
    await bench.steer()
    changes = bench.changes
    override = Override(active=True, reason="too warm", at=bench.clock.now())

    await bench.say(override, "override")
    await bench.steer()

    assert link.of(SetPoint)[-1].release
    assert bench.changes > changes
    state = bench.steering.override_state()
    assert (state.active, state.reason, state.source) == (True, "too warm", "ems")

    await bench.say(None, "override")
    await bench.steer()
    assert not link.of(SetPoint)[-1].release


async def test_an_override_ends_by_itself(bench, link):
    await bench.plan(bench.step())
    until = bench.clock.now() + timedelta(seconds=60)
    await bench.steering.set_override(
        "local", OverrideState(active=True, reason="r", until=until, source="local")
    )

    assert await bench.steer() <= until
    assert link.of(SetPoint) == []

    await bench.steer(60)
    assert link.of(SetPoint)[-1].delta_w == -50_000


async def test_an_override_outlives_a_restart(bench):
    await bench.steering.set_override(
        "local", OverrideState(active=True, reason="r", source="local")
    )
    bench.restart()

    assert bench.steering.override_state().active


async def test_a_broker_that_comes_back_is_told_again(bench, link):
    await bench.plan(bench.step())
    await bench.steer()
    await bench.acknowledge()
    following = asyncio.create_task(bench.steering.follow_broker())
    link.connections.put_nowait(True)
    while not bench.steering.ems_state().broker_connected:
        await bench.disk.run(lambda: None)
    following.cancel()
    before = len(link.sent)

    await bench.steer(1)

    kinds = [type(message) for _, message in link.sent[before:]]
    assert kinds.count(SetPoint) == 2
    assert EventNotice in kinds


async def test_an_ems_that_says_it_is_lost_means_failsafe_until_it_obeys_again(bench):
    await bench.plan(bench.step())
    await bench.steer()
    await bench.acknowledge()

    await bench.say(EmsStatus(state="lost", at=bench.clock.now()), "ems-status")
    await bench.steer(1)
    assert bench.steering.guard_state is GuardState.FAILSAFE
    assert bench.steering.ems_state().online is False

    await bench.say(EmsStatus(state="online", at=bench.clock.now()), "ems-status")
    await bench.steer(1)
    await bench.acknowledge()
    await bench.steer(1)
    assert bench.steering.guard_state is GuardState.LIMITED
    assert bench.steering.ems_state().online is True


async def test_an_ems_whose_heartbeat_stops_is_shown_offline(bench):
    assert bench.steering.ems_state().online is None
    await bench.say(Heartbeat(counter=1, at=bench.clock.now()), "hb")
    assert bench.steering.ems_state().online is True
    await bench.steer()
    changes = bench.changes

    await bench.steer(40)

    assert bench.steering.ems_state().online is False
    assert bench.changes > changes


async def test_what_the_broker_kept_is_no_sign_of_life(bench):
    status = EmsStatus(state="online", at=bench.clock.now())

    await bench.say(status, "ems-status", retained=True)

    assert bench.steering.ems_state().online is None


async def test_another_ems_is_not_listened_to(bench, link):
    hearing = asyncio.create_task(bench.steering.hear())
    for ems, reason in (("intruder", "no"), ("ems-1", "yes")):
        override = Override(active=True, reason=reason, at=bench.clock.now())
        link.incoming.put_nowait(
            Received(topic="t", kind="override", ems=ems, message=override, at=bench.clock.now())
        )
    while not bench.steering.override_state().active:
        await bench.disk.run(lambda: None)
    hearing.cancel()

    assert bench.steering.override_state().reason == "yes"


async def test_prices_are_passed_on_as_their_intervals_come(bench, link):
    begin = bench.clock.now()

    def hour(n):
        return begin + timedelta(hours=n)

    notice = Notice(
        event_id="price",
        modification_number=0,
        status="near",
        starts_at=hour(0),
        ends_at=hour(2),
        signal_name="ELECTRICITY_PRICE",
        signal_type="price",
        values=tuple(
            NoticeValue(starts_at=hour(n), ends_at=hour(n + 1), value=0.1 + n) for n in (0, 1)
        ),
    )
    await bench.plan(notices=(notice,))

    await bench.steer()
    await bench.steer(1800)
    assert [n.value for n in link.of(EventNotice)] == [0.1]
    await bench.steer(1800)
    assert link.retained[TOPICS.event].value == 1.1
    await bench.steer(3600)
    assert link.retained[TOPICS.event].status == "completed"

    await bench.plan()
    await bench.steer()
    assert link.retained[TOPICS.event].status == "none"


async def test_the_meter_s_own_verdict_is_sent_once_the_target_is_reached(bench, link):
    bench.measure(100_000, 15)
    await bench.plan(bench.step())
    await bench.steer()
    bench.measure(100_000, 2)
    bench.measure(50_000, 3)

    await bench.steer()
    await bench.steer(30)

    (verdict,) = link.of(Verdict)
    assert verdict.verdict == "reached"
    assert (verdict.baseline_w, verdict.target_w, verdict.actual_w) == (100_000, 50_000, 50_000)


async def test_a_lease_without_effect_is_told_at_its_end(bench, link):
    bench.measure(100_000, 15)
    await bench.plan(bench.step(60))
    await bench.steer()
    bench.measure(100_000, 15)

    await bench.steer()

    (verdict,) = link.of(Verdict)
    assert (verdict.verdict, verdict.reached_after_s) == ("not reached", None)


async def test_samples_go_to_the_ems_with_units_in_their_names(bench, link):
    bench.measure(100_000)
    sending = asyncio.create_task(bench.steering.send_samples())
    while not link.sent:
        await bench.disk.run(lambda: None)
    sending.cancel()

    ((topic, sample),) = link.sent
    assert topic == TOPICS.sample("main")
    assert sample.values == {"active_power_w": 100_000, "power_factor": 1.0}


async def test_an_outbox_that_fails_does_not_stop_the_steering(bench, link):
    link.fault = OutboxFault("the card is full.")
    await bench.plan(bench.step())

    await bench.steer()
    link.fault = None
    await bench.steer(5)

    assert link.of(SetPoint)[-1].delta_w == -50_000


async def test_a_release_that_the_outbox_refused_is_sent_when_it_takes_it_again(bench, link):
    await bench.plan(bench.step())
    await bench.steer()
    await bench.plan()
    link.fault = OutboxFault("the card is full.")
    await bench.steer(10)
    assert not link.of(SetPoint)[-1].release
    await bench.steer(10)

    link.fault = None
    await bench.steer(10)

    assert link.of(SetPoint)[-1].release
    assert TOPICS.limit_state not in link.retained
    sent = len(link.sent)
    await bench.steer(10)
    assert len(link.sent) == sent, "once"


async def test_without_an_ems_nothing_is_leased(tmp_path, clock):
    bench = Bench(tmp_path, clock, None)
    await bench.plan(bench.step())

    await bench.steer()

    assert bench.steering.lease_state() is None
    assert bench.steering.guard_state is GuardState.NORMAL
    assert not bench.steering.ems_state().broker_connected
    bench.close()


async def test_an_override_that_comes_during_a_decision_is_in_it(bench, link):
    await bench.plan(bench.step())

    async def level_of(step):
        await bench.steering.set_override(
            "local", OverrideState(active=True, reason="r", source="local")
        )
        return 100_000.0

    bench.steering._level_of = level_of
    await bench.steer()

    assert link.of(SetPoint) == []


async def test_a_verdict_is_not_told_again_at_the_end(bench, link):
    bench.measure(100_000, 15)
    await bench.plan(bench.step(60))
    await bench.steer()
    bench.measure(50_000, 3)
    await bench.steer()

    await bench.steer(60)

    assert len(link.of(Verdict)) == 1


async def test_a_lease_without_an_answer_is_a_trouble_until_it_is_answered(bench):
    await bench.plan(bench.step())
    await bench.steer()
    await bench.steer(14)
    assert bench.steering.troubles() == {}

    await bench.steer(1)
    assert "ems-1 has not answered a set-point since" in bench.steering.troubles()["no-answer"]

    await bench.acknowledge()
    await bench.steer()
    assert bench.steering.troubles() == {}


async def test_what_the_broker_tells_of_our_messages_is_a_trouble(bench):
    await bench.steering.follow_line()

    assert bench.steering.unheard
    assert set(bench.steering.troubles()) == {"nobody-listens", "denied"}
    assert TOPICS.verify in bench.steering.troubles()["denied"]


async def test_an_offer_is_shown_until_it_runs_out_or_is_taken_back(bench):
    now = bench.clock.now()
    offer = Offer(down_w=5000.0, up_w=0.0, valid_until=now + timedelta(seconds=60), at=now)
    await bench.say(offer, "offer", retained=True)
    assert bench.steering.ems_state().offer.down_w == 5000

    await bench.say(None, "offer")
    assert bench.steering.ems_state().offer is None
    assert not bench.steering.override_state().active

    await bench.say(offer, "offer")
    bench.clock.advance(60)
    assert bench.steering.ems_state().offer is None


async def test_an_ems_that_says_yes_and_moves_nothing_is_found_out_within_a_few_readings(
    bench, link
):
    bench.measure(100_000.0, times=15)
    await bench.plan(bench.step())
    await bench.steer()
    await bench.acknowledge()
    assert "no-effect" not in bench.steering.troubles()

    bench.measure(100_000.0, times=5)
    await bench.steer()

    (verdict,) = link.of(Verdict)
    assert (verdict.verdict, verdict.target_w) == ("not reached", 50_000.0)
    assert "50.0 kW were asked for" in bench.steering.troubles()["no-effect"]
    assert bench.steering.effect_state().verdict == "not reached"
    assert bench.store.effect("e").verdict == "not reached"

    bench.measure(50_000.0, times=3)
    await bench.steer()
    assert link.of(Verdict)[-1].verdict == "reached"
    assert "no-effect" not in bench.steering.troubles()
    assert bench.store.effect("e").verdict == "reached"


async def test_read_only_mode_has_nothing_that_writes_and_goes_on_measuring(bench, link):
    bench.writers = Writers()
    bench.restart()
    await bench.plan(bench.step())

    await bench.steer()
    bench.measure(100_000.0)

    assert bench.writers.is_empty
    assert link.of(SetPoint) == []
    assert TOPICS.limit_state not in link.retained
    assert bench.steering.lease_state() is None


async def test_a_person_overrides_a_voluntary_event_and_no_cap(bench, link):
    bench.cap_table = GridCapTable(market_contexts=("http://grid",), failsafe_max_w=4_200.0)
    bench.restart()
    await bench.steer()
    assert link.of(SetPoint)[-1].reason.event_id == FAILSAFE_EVENT
    bench.steering.hear_utility()
    await bench.plan(bench.step())
    await bench.steer(1)
    assert link.of(SetPoint)[-1].reason.event_id == "e"

    await bench.steering.set_override("local", OverrideState(active=True, source="local"))
    await bench.steer(1)
    assert link.of(SetPoint)[-1].release
    assert bench.steering.override_state().spares == ("http://grid",)

    await bench.steer(120)

    assert bench.steering.cap_state == "failsafe"
    assert link.of(SetPoint)[-1].max_w == 4_200.0


class Lamp:
    """A device that remembers what it was asked."""

    asset = "lamp"
    trouble = "it is dark."

    def __init__(self):
        self.asked = []
        self.answered = None

    def write(self, lease, level_w):
        self.asked.append("release" if lease.release else (lease.delta_w, level_w))

    def state(self):
        return "state"


async def test_a_device_is_let_go_at_the_start_told_and_let_go_again(bench):
    lamp = Lamp()
    bench.writers = Writers(devices=(lamp,))
    bench.restart()
    await bench.steer()
    await bench.plan(bench.step(length=60))
    await bench.steer()
    await lamp.answered(
        Acknowledgement(
            id=bench.steering._held.lease.id,
            seq=bench.steering._held.seq,
            status=AckStatus.SUCCEEDED,
            at=bench.clock.now(),
        )
    )
    assert bench.steering.lease_state().acknowledged == "SUCCEEDED"
    await bench.steer(61)

    assert lamp.asked == ["release", (-50_000.0, 100_000.0), "release"]
    assert bench.steering.troubles()["write-lamp"] == "it is dark."
    assert bench.steering.write_states() == ("state",)


async def test_a_node_that_was_killed_tells_its_device_again_at_once(bench):
    lamp = Lamp()
    bench.writers = Writers(devices=(lamp,))
    bench.restart()
    await bench.plan(bench.step())
    await bench.steer()
    bench.restart()
    await bench.steer(1)
    assert lamp.asked == [(-50_000.0, 100_000.0)] * 2


async def test_lpc_913_whoever_connects_is_told_at_once_what_holds_and_that_nothing_does(
    bench, link
):
    await bench.steer()
    assert link.of(SetPoint) == []
    await link.connections.put(True)
    following = asyncio.create_task(bench.steering.follow_broker())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    following.cancel()

    await bench.steer()

    (said,) = link.of(SetPoint)
    assert said.release
    assert said.reason.event_id == ""
    await bench.steer(30)
    assert len(link.of(SetPoint)) == 1
    await bench.plan(bench.step())
    await bench.steer()
    await bench.say(EmsStatus(state="online", at=bench.clock.now()), "status")
    await bench.steer()
    orders = [each.delta_w for topic, each in link.sent if topic == TOPICS.limit_cmd]
    assert orders == [None, -50_000.0, -50_000.0]
