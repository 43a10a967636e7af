import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import PlantFault
from ems_bridge.messages import Heartbeat, Offer, Override, Reason, SetPoint, decode, encode
from ems_bridge.plant import SimulatedPlant
from ems_bridge.reference_app import ReferenceApp
from ems_bridge.reference_ems import ReferenceEms
from ems_bridge.topics import Topics

TOPICS = Topics("town-hall", "node-1")
ACK = TOPICS.ems_ack("bms")


class TurningClock:
    """Each look at it is a second later: a story needs no waiting."""

    def __init__(self, clock):
        self.clock = clock

    def monotonic(self):
        self.clock.advance(1)
        return self.clock.elapsed_s


class FragilePlant(SimulatedPlant):
    broken = False
    closed = False

    async def read(self):
        if self.broken:
            raise PlantFault("the plant is out")
        return await super().read()

    async def close(self):
        self.closed = True


@pytest.fixture
def running(links, clock):
    @asynccontextmanager
    async def running():
        turning = TurningClock(clock)
        plant = FragilePlant(rated_w=100_000, monotonic=lambda: 0.0)
        app = ReferenceApp(
            BrokerSettings(host="broker.example"),
            TOPICS,
            "bms",
            core=ReferenceEms(rated_w=100_000),
            plant=plant,
            now=clock.now,
            monotonic=turning.monotonic,
            version="1",
            heartbeat_s=0.01,
            step_s=0.001,
        )
        task = asyncio.create_task(app.run())
        link = links[-1]
        link.connected = True
        try:
            yield link, plant
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return running


def lease(clock, seq, **more):
    fields = {
        "id": "lease-1",
        "seq": seq,
        "issued_at": clock.now(),
        "not_before": clock.now(),
        "not_after": clock.now() + timedelta(days=1),
        "ttl_s": 86_400.0,
        "delta_w": -10_000.0,
        "reason": Reason(event_id="e", modification_number=0, signal_name="n", signal_type="t"),
    }
    return SetPoint(**{**fields, **more})


def statuses(link):
    return [decode(payload).status for payload in link.on(ACK)]


async def test_it_obeys_answers_and_lets_the_load_go_at_its_end(running, settle, clock):
    async with running() as (link, plant):
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 1)))
        await settle(lambda: len(link.on(ACK)) == 3)
        assert plant._reduction_w == pytest.approx(10_000)

    assert statuses(link) == ["ACCEPTED", "STARTED", "SUCCEEDED"]
    assert plant._reduction_w == 0
    assert plant.closed
    presence = [decode(payload).state for payload in link.on(TOPICS.ems_status("bms"))]
    assert presence == ["online", "offline"]
    assert decode(link.will().payload).state == "lost"


async def test_it_beats_while_it_is_connected(running, settle):
    async with running() as (link, _):
        await settle(lambda: len(link.on(TOPICS.ems_hb("bms"))) >= 2)

    beats = [decode(payload) for payload in link.on(TOPICS.ems_hb("bms"))]
    assert all(isinstance(beat, Heartbeat) for beat in beats)
    assert [beat.counter for beat in beats] == list(range(len(beats)))


async def test_an_ems_that_joins_late_finds_the_lease_in_the_state(running, settle, clock):
    async with running() as (link, _):
        order = encode(lease(clock, 1))
        link.arrive(TOPICS.limit_state, order, retained=True)
        await settle(lambda: len(link.on(ACK)) == 3)
        link.arrive(TOPICS.limit_state, order)  # what it knows already asks for no answer
        link.arrive(TOPICS.limit_state, encode(lease(clock, 0)))
        link.arrive(TOPICS.limit_cmd, order)  # a repeated command does
        await settle(lambda: len(link.on(ACK)) == 4)

    assert statuses(link) == ["ACCEPTED", "STARTED", "SUCCEEDED", "SUCCEEDED"]


async def test_a_malformed_command_is_rejected_by_name_where_it_has_one(running, settle, clock):
    async with running() as (link, _):
        order = encode(lease(clock, 5))
        link.arrive(TOPICS.limit_cmd, b"rubbish")
        link.arrive(TOPICS.limit_cmd, encode(Heartbeat(counter=1, at=clock.now())))
        link.arrive(TOPICS.limit_cmd, order.replace(b'"max_w":null', b'"max_w":1'))
        await settle(lambda: len(link.on(ACK)) == 1)

    (answer,) = (decode(payload) for payload in link.on(ACK))
    assert (answer.id, answer.seq, answer.status) == ("lease-1", 5, "REJECTED")
    assert "not both kinds" in answer.reason


async def test_an_override_on_its_topic_is_obeyed_and_withdrawn(running, settle, clock):
    topic = TOPICS.ems_override("bms")
    async with running() as (link, _):
        link.arrive(topic, encode(Override(active=True, reason="fair", at=clock.now())))
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 1)))
        await settle(lambda: statuses(link) == ["REJECTED"])
        link.arrive(topic, encode(Heartbeat(counter=1, at=clock.now())))
        link.arrive(topic, b"")
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 1)))
        await settle(lambda: "ACCEPTED" in statuses(link))


async def test_the_last_answer_is_told_again_after_a_reconnect(running, settle, clock):
    async with running() as (link, _):
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 1)))
        await settle(lambda: len(link.on(ACK)) == 3)
        link.connected = False
        for _ in range(5):  # a break too short to be seen is left out
            await asyncio.sleep(0)
        link.connected = True
        await settle(lambda: len(link.on(ACK)) == 4)

    assert statuses(link)[-1] == "SUCCEEDED"


async def test_a_silent_plant_aborts_the_lease_and_the_ems_lives_on(running, settle, clock):
    async with running() as (link, plant):
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 1)))
        await settle(lambda: "SUCCEEDED" in statuses(link))
        plant.broken = True
        await settle(lambda: "ABORTED" in statuses(link))
        plant.broken = False
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 2)))
        await settle(lambda: statuses(link)[-1] == "SUCCEEDED")


async def test_a_slow_broker_does_not_stop_the_ramp(running, settle, clock):
    async with running() as (link, plant):
        await settle(lambda: link.on(TOPICS.ems_status("bms")))
        link.unanswered.clear()
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 1)))
        await settle(lambda: plant._reduction_w == pytest.approx(10_000))

        assert link.on(ACK) == []
        link.unanswered.set()
        await settle(lambda: len(link.on(ACK)) == 3)


async def test_it_offers_what_it_could_move_until_a_person_opts_out(running, settle, clock):
    offers = TOPICS.ems_offer("bms")
    async with running() as (link, _):
        await settle(lambda: any(link.on(offers)))
        offer = decode(next(filter(None, link.on(offers))))
        said = Override(active=True, reason="fair", at=clock.now())
        link.arrive(TOPICS.ems_override("bms"), encode(said))
        await settle(lambda: link.on(offers)[-1] == b"")

    assert isinstance(offer, Offer)
    assert offer.down_w + offer.up_w == pytest.approx(100_000)
    assert all(letter.retain for letter in link.published if letter.topic == offers)


async def test_it_lets_the_load_go_when_it_is_stopped_and_its_broker_hangs(
    running, settle, clock, monkeypatch
):
    monkeypatch.setattr("ems_bridge.reference_app.FAREWELL_S", 0.01)
    async with running() as (link, plant):
        link.arrive(TOPICS.limit_cmd, encode(lease(clock, 1)))
        await settle(lambda: "SUCCEEDED" in statuses(link))
        assert plant._reduction_w == pytest.approx(10_000)
        link.unanswered.clear()

    assert plant._reduction_w == 0
    assert plant.closed
