import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from ems_bridge import bridge as module
from ems_bridge.bridge import Bridge, read_from_ems
from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import MessageRefused, NotDelivered, OutboxFault
from ems_bridge.link import MAX_INFLIGHT, Incoming
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    EmsStatus,
    Heartbeat,
    NodeStatus,
    Override,
    Reason,
    SetPoint,
    decode,
    encode,
)
from ems_bridge.topics import Topics

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)
TOPICS = Topics("town-hall", "node-1")
BROKER = BrokerSettings(host="broker.example")


def beat(counter):
    return Heartbeat(counter=counter, at=AT)


def order(seq, now, ttl_s=60.0):
    reason = Reason(event_id="e", modification_number=0, signal_name="n", signal_type="t")
    return SetPoint(
        id="lease",
        seq=seq,
        issued_at=now,
        not_before=now,
        not_after=now + timedelta(seconds=ttl_s),
        ttl_s=ttl_s,
        delta_w=-1000.0,
        reason=reason,
    )


@asynccontextmanager
async def reading(bridge):
    """Somebody reads what the EMS say."""
    heard = []

    async def read():
        async for received in bridge.messages():
            heard.append(received)  # noqa: PERF401 - it never ends

    task = asyncio.create_task(read())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
        await settle(lambda: bridge.denied == {TOPICS.verify})
        assert len(bridge._opened()) == 1

        link.denies = False
        await settle(lambda: not len(bridge._opened()))

        assert link.on(TOPICS.verify) == [encode(beat(1))]
        assert not bridge.denied


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
        for _ in range(5):  # a break too short to be seen is left out
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


@pytest.mark.parametrize("turns", range(4))
async def test_it_ends_however_short_before_that_it_was_woken(opened, settle, turns):
    async with opened() as (bridge, link):
        await settle(lambda: link.on(TOPICS.status))
        bridge._later[7] = asyncio.get_running_loop().time() + 60  # it waits for a time
        bridge._wake.set()
        await settle(lambda: not bridge._wake.is_set())
        await asyncio.sleep(0.01)
        bridge._wake.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        bridge._tasks[1].cancel()
        await asyncio.wait(bridge._tasks[1:], timeout=1)
        assert bridge._tasks[1].cancelled()


async def test_a_bridge_that_is_not_open_says_so(tmp_path, links, clock):
    bridge = Bridge(BROKER, TOPICS, outbox=tmp_path / "outbox.db", now=clock.now)

    with pytest.raises(OutboxFault, match="not open"):
        await bridge.publish(TOPICS.verify, beat(1))


def test_a_message_on_the_wrong_topic_is_refused():
    incoming = Incoming(topic=TOPICS.ems_ack("bms"), payload=encode(beat(1)), retained=False, at=AT)

    with pytest.raises(MessageRefused, match="'df/v1/hb' does not belong"):
        read_from_ems(TOPICS, incoming)


async def test_a_set_point_that_nobody_heard_is_kept_and_said_again(
    opened, settle, clock, monkeypatch
):
    monkeypatch.setattr(module, "RETRY_UNHEARD_S", (0.01,))
    async with opened() as (bridge, link):
        link.heard = False
        lease = order(1, clock.now())
        await bridge.publish(TOPICS.limit_cmd, lease, expires_at=lease.not_after, supersedes="l")
        await settle(lambda: len(link.on(TOPICS.limit_cmd)) >= 3)
        assert bridge.unheard
        assert len(bridge._opened()) == 1

        link.heard = True
        await settle(lambda: not len(bridge._opened()))

        assert not bridge.unheard
        assert set(link.on(TOPICS.limit_cmd)) == {encode(lease)}


async def test_what_else_nobody_heard_is_done_with(opened, settle):
    async with opened() as (bridge, link):
        link.heard = False
        await bridge.publish(TOPICS.verify, beat(1))
        await settle(lambda: link.on(TOPICS.verify) and not len(bridge._opened()))

        assert not bridge.unheard


async def test_an_ems_that_comes_back_after_the_broker_is_told_the_set_point_again(
    opened, settle, clock
):
    online = encode(EmsStatus(state="online", at=AT))
    async with opened() as (bridge, link), reading(bridge) as heard:
        lease = order(1, clock.now())
        await bridge.publish(TOPICS.limit_cmd, lease, expires_at=lease.not_after, supersedes="l")
        await settle(lambda: len(link.on(TOPICS.limit_cmd)) == 1)
        link.arrive(TOPICS.ems_status("bms"), online, retained=True)
        link.arrive(TOPICS.ems_status("bms"), online)
        await settle(lambda: len(link.on(TOPICS.limit_cmd)) == 2)

        ack = Acknowledgement(id="lease", seq=1, status=AckStatus.ACCEPTED, at=AT)
        link.arrive(TOPICS.ems_ack("bms"), encode(ack))
        link.arrive(TOPICS.ems_status("bms"), online)
        await settle(lambda: len(heard) == 4)
        await bridge.publish(TOPICS.verify, beat(1))
        await settle(lambda: link.on(TOPICS.verify))

        assert link.on(TOPICS.limit_cmd) == [encode(lease)] * 2


async def test_a_set_point_that_has_run_out_is_not_said_again(opened, settle, clock):
    async with opened() as (bridge, link), reading(bridge) as heard:
        lease = order(1, clock.now())
        await bridge.publish(TOPICS.limit_cmd, lease, expires_at=lease.not_after)
        await settle(lambda: link.on(TOPICS.limit_cmd))
        clock.advance(60)
        link.arrive(TOPICS.ems_status("bms"), encode(EmsStatus(state="online", at=AT)))
        await settle(lambda: heard)
        await bridge.publish(TOPICS.verify, beat(1))
        await settle(lambda: link.on(TOPICS.verify))

        assert link.on(TOPICS.limit_cmd) == [encode(lease)]


async def test_what_is_sent_past_the_outbox_says_when_it_did_not_arrive(opened):
    async with opened(connected=False) as (bridge, link):
        with pytest.raises(NotDelivered):
            await bridge.publish_now(TOPICS.verify, beat(1), expires_s=60)
        link.connected = True
        await bridge.publish_now(TOPICS.verify, beat(2), expires_s=60)

        assert link.on(TOPICS.verify) == [encode(beat(2))]
        assert len(bridge._opened()) == 0
