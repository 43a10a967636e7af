import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from ems_bridge import bridge as module
from ems_bridge.bridge import Bridge, read_from_ems
from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import MessageRefused, OutboxFault
from ems_bridge.link import MAX_INFLIGHT, Incoming
from ems_bridge.messages import Heartbeat, NodeStatus, Override, decode, encode
from ems_bridge.topics import Topics

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)
TOPICS = Topics("town-hall", "node-1")
BROKER = BrokerSettings(host="broker.example")


def beat(counter):
    return Heartbeat(counter=counter, at=AT)


@pytest.fixture
def opened(tmp_path, links, clock):
    @asynccontextmanager
    async def opened(*, connected=True):
        bridge = Bridge(
            BROKER, TOPICS, outbox=tmp_path / "outbox.db", now=clock.now, boot="b", version="1"
        )
        async with bridge:
            link = links[-1]
            link.connected = connected
            yield bridge, link

    return opened


async def test_a_message_goes_out_and_leaves_the_outbox_on_its_puback(opened, settle):
    async with opened() as (bridge, link):
        await bridge.publish(TOPICS.verify, beat(1))
        await settle(lambda: link.on(TOPICS.verify) and not len(bridge._opened()))

        assert link.on(TOPICS.verify) == [encode(beat(1))]


async def test_without_a_broker_it_waits_and_goes_out_in_its_order_after_the_return(opened, settle):
    async with opened(connected=False) as (bridge, link):
        for counter in range(5):
            await bridge.publish(TOPICS.verify, beat(counter))
        assert len(bridge._opened()) == 5
        assert link.published == []

        link.connected = True
        await settle(lambda: len(link.on(TOPICS.verify)) == 5)

        assert link.on(TOPICS.verify) == [encode(beat(counter)) for counter in range(5)]


async def test_what_waits_survives_the_process(opened, settle):
    async with opened(connected=False) as (bridge, _):
        await bridge.publish(TOPICS.verify, beat(1))
    async with opened() as (_, link):
        await settle(lambda: link.on(TOPICS.verify) == [encode(beat(1))])


async def test_only_so_many_are_handed_over_before_the_broker_has_answered(opened, settle):
    async with opened(connected=False) as (bridge, link):
        for counter in range(MAX_INFLIGHT + 10):
            await bridge.publish(TOPICS.verify, beat(counter))
        link.unanswered.clear()
        link.connected = True
        await settle(lambda: link.in_flight > MAX_INFLIGHT)
        for _ in range(10):  # the disk has one thread: the pump has looked again after these
            await bridge._on_disk(lambda: None)
        assert link.in_flight == MAX_INFLIGHT + 1  # the greeting waits in no outbox

        link.unanswered.set()
        await settle(lambda: len(link.on(TOPICS.verify)) == MAX_INFLIGHT + 10)

        assert link.most_in_flight == MAX_INFLIGHT + 1


async def test_a_break_before_the_puback_sends_it_again(opened, settle):
    async with opened() as (bridge, link):
        await settle(lambda: link.on(TOPICS.status))
        link.unanswered.clear()
        await bridge.publish(TOPICS.verify, beat(1))
        await settle(lambda: link.in_flight == 1)
        link.connected = False
        link.unanswered.set()
        await settle(lambda: link.in_flight == 0)
        assert len(bridge._opened()) == 1

        link.connected = True
        await settle(lambda: link.on(TOPICS.verify) == [encode(beat(1))])


async def test_a_denied_message_does_not_count_as_delivered_and_is_offered_again(
    opened, settle, monkeypatch
):
    monkeypatch.setattr(module, "RETRY_DENIED_S", 0.02)
    async with opened() as (bridge, link):
        link.denies = True
        await bridge.publish(TOPICS.verify, beat(1))
        await settle(lambda: bool(bridge._denied))
        assert len(bridge._opened()) == 1

        link.denies = False
        await settle(lambda: not len(bridge._opened()))

        assert link.on(TOPICS.verify) == [encode(beat(1))]


async def test_an_expired_message_is_not_sent_any_more(opened, settle, clock):
    async with opened(connected=False) as (bridge, link):
        await bridge.publish(TOPICS.verify, beat(1), expires_at=clock.now() + timedelta(seconds=10))
        await bridge.publish(TOPICS.verify, beat(2), expires_at=clock.now() + timedelta(seconds=30))
        clock.advance(10)
        link.connected = True
        await settle(lambda: link.on(TOPICS.verify))

        assert link.on(TOPICS.verify) == [encode(beat(2))]
        assert next(x for x in link.published if x.topic == TOPICS.verify).expires_s == 20


async def test_only_the_newest_of_its_kind_waits(opened, settle):
    async with opened(connected=False) as (bridge, link):
        await bridge.publish(TOPICS.limit_cmd, beat(1), supersedes="set-point")
        await bridge.publish(TOPICS.limit_cmd, beat(2), supersedes="set-point")
        await bridge.publish(TOPICS.limit_state, beat(3), retain=True)
        await bridge.clear(TOPICS.limit_state)
        link.connected = True
        await settle(lambda: link.on(TOPICS.limit_state))

        assert link.on(TOPICS.limit_cmd) == [encode(beat(2))]
        assert link.on(TOPICS.limit_state) == [b""]


async def test_best_effort_is_dropped_without_a_broker(opened, settle):
    async with opened(connected=False) as (bridge, link):
        await bridge.publish(TOPICS.hb, beat(1), qos=0)
        link.connected = True
        await bridge.publish(TOPICS.hb, beat(2), qos=0)

        assert link.on(TOPICS.hb) == [encode(beat(2))]


async def test_nothing_malformed_is_accepted_for_sending(opened):
    async with opened(connected=False) as (bridge, _):
        with pytest.raises(MessageRefused):
            await bridge.publish(TOPICS.hb, Heartbeat(counter=-1, at=AT))

        assert len(bridge._opened()) == 0


async def test_the_node_tells_that_it_is_there_on_each_connection_and_that_it_leaves(
    opened, settle, clock
):
    async with opened() as (_, link):
        await settle(lambda: len(link.on(TOPICS.status)) == 1)
        link.connected = False
        await asyncio.sleep(0)
        link.connected = True
        await settle(lambda: len(link.on(TOPICS.status)) == 2)
        lost = link.will()

    states = [decode(payload) for payload in link.on(TOPICS.status)]
    assert [status.state for status in states] == ["online", "online", "offline"]
    assert (lost.topic, lost.retain) == (TOPICS.status, True)
    assert decode(lost.payload) == NodeStatus(state="lost", boot="b", version="1", at=clock.now())


async def test_what_ems_say_comes_in_and_what_is_malformed_is_dropped(opened):
    async with opened() as (bridge, link):
        link.arrive(TOPICS.ems_hb("bms"), b"no json")
        link.arrive(TOPICS.ems_hb("bms"), encode(Override(active=True, reason="r", at=AT)))
        link.arrive("df/v1/elsewhere/n/ems/bms/hb", encode(beat(1)))
        link.arrive(TOPICS.ems_ack("bms"), b"")
        link.arrive(TOPICS.ems_hb("bms"), encode(beat(7)))
        link.arrive(TOPICS.ems_override("bms"), b"", retained=True)
        messages = bridge.messages()
        first, second = await anext(messages), await anext(messages)
        await messages.aclose()

    assert (first.kind, first.ems, first.message) == ("hb", "bms", beat(7))
    assert (second.kind, second.message, second.retained) == ("override", None, True)


async def test_a_bridge_that_is_not_open_says_so(tmp_path, links, clock):
    bridge = Bridge(BROKER, TOPICS, outbox=tmp_path / "outbox.db", now=clock.now)

    with pytest.raises(OutboxFault, match="not open"):
        await bridge.publish(TOPICS.verify, beat(1))


def test_a_message_on_the_wrong_topic_is_refused():
    incoming = Incoming(topic=TOPICS.ems_ack("bms"), payload=encode(beat(1)), retained=False, at=AT)

    with pytest.raises(MessageRefused, match="'df/v1/hb' does not belong"):
        read_from_ems(TOPICS, incoming)
