"""What the node tells beside set-points: minutes, alerts, its description."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_bridge.errors import NotDelivered
from ems_bridge.messages import Alert, Description, Minute, SiteLimits, decode, encode
from ems_bridge.topics import Topics
from light_node.minutes import MINUTE_S, Tally, minute_of, worked_out
from light_node.quality import Quality
from light_node.reading import Reading
from light_node.telling import Telling

TOPICS = Topics("town-hall", "node-1")
BEGIN = datetime(2030, 1, 9, 14, tzinfo=UTC)


class Line:
    """A line to the building that remembers, and may be down."""

    def __init__(self):
        self.down = False
        self.minutes = []
        self.retained = {}
        self.cleared = []
        self.connections = asyncio.Queue()

    async def publish(self, topic, message, *, qos=1, retain=False):
        self.retained[topic] = message

    async def publish_now(self, topic, message, *, expires_s):
        if self.down:
            raise NotDelivered("not connected")
        self.minutes.append(message)

    async def clear(self, topic):
        self.cleared.append(topic)
        self.retained.pop(topic, None)

    async def connected_changes(self):
        while True:
            yield await self.connections.get()


class House:
    """A node's telling, on a clock of its own, with a ring of one value."""

    def __init__(self, folder):
        self.at = BEGIN
        self.line = Line()
        self.troubles = {}
        self.bookmark = folder / "minutes-untold"
        self.telling = Telling(
            link=self.line,
            topics=TOPICS,
            meters=("main",),
            description=self.description,
            troubles=lambda: dict(self.troubles),
            known_alerts=("disk", "clock"),
            minute=self.minute,
            bookmark=self.bookmark,
            now=lambda: self.at,
        )

    def description(self):
        return Description(
            ems="bms",
            meters=(),
            limits=SiteLimits(),
            interval_s=4,
            lease_s=120,
            refresh_s=30,
            heartbeat_s=10,
            silence_s=120,
            timezone="UTC",
            schemas=(),
            version="1",
            at=self.at,
        )

    async def minute(self, meter, starts_s, historical, tally):
        samples = [(5.0, Quality.GOOD)] * 15
        return worked_out(meter, starts_s, samples, interval_s=4, historical=historical)

    def told(self):
        return [(int(one.starts_at.timestamp()), one.historical) for one in self.line.minutes]


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(-1e6, 1e6),
            st.sampled_from([Quality.GOOD, Quality.LATE, Quality.COMM, Quality.STALE]),
        ),
        max_size=20,
    )
)
def test_a_minute_is_made_of_what_is_good_alone_and_says_how_much_that_is(samples):
    minute = worked_out("main", 600.0, samples, interval_s=4, historical=False)

    good = [w for w, q in samples if w is not None and q in {Quality.GOOD, Quality.LATE}]
    assert decode(encode(minute)) == minute
    assert minute.coverage == min(1.0, len(good) / 15)
    if good:
        assert minute.min_w - 1e-6 <= minute.mean_w <= minute.max_w + 1e-6
        assert minute.energy_wh == pytest.approx(minute.mean_w / 60)
    else:
        assert minute.mean_w is minute.energy_wh is None


def reading(starts_at, watts=1.0):
    values = {"active_power": watts}
    return Reading(
        meter="main", seq=1, k=0, starts_at=starts_at, quality=Quality.GOOD, values=values
    )


def test_the_minute_in_which_it_starts_and_old_ones_are_asked_of_the_disk():
    tally = Tally(kept=2)
    for at in (30.0, 61.0, 119.0, 120.0, 180.0):
        tally.see(reading(at, watts=at))

    assert tally.samples("main", 0.0) is None
    assert tally.samples("main", 60.0) is None
    assert tally.samples("main", 120.0) == [(120.0, Quality.GOOD)]
    assert tally.samples("other", 120.0) == []
    assert minute_of(119.9) == 60.0


async def test_what_the_broker_missed_is_told_when_it_is_back_oldest_first(house):
    begin = int(BEGIN.timestamp())
    house.at += timedelta(seconds=65)
    assert await house.telling.catch_up(begin) == begin + 60
    house.line.down = True
    for _ in range(3):
        house.at += timedelta(minutes=1)
        assert await house.telling.catch_up(begin + 60) == begin + 60
    assert house.bookmark.exists()
    house.line.down = False
    house.at += timedelta(minutes=1)
    await house.telling.catch_up(begin + 60)

    late = [(begin + 60 * n, True) for n in (1, 2, 3)]
    assert house.told() == [(begin, False), *late, (begin + 240, False)]
    assert not house.bookmark.exists()


async def test_a_node_that_starts_anew_in_an_outage_goes_on_where_the_last_one_left_off(
    house, tmp_path
):
    begin = BEGIN.timestamp()
    house.line.down = True
    house.at += timedelta(minutes=2)
    await house.telling.catch_up(begin)
    successor = House(tmp_path)
    successor.at = house.at + timedelta(minutes=1)

    await successor.telling.catch_up(successor.telling._marked())

    assert [starts_s for starts_s, _ in successor.told()] == [begin, begin + 60, begin + 120]
    assert successor.telling._marked() == begin + 180


async def test_what_is_older_than_the_ring_is_not_told(house):
    house.at += timedelta(days=8)

    await house.telling.catch_up(BEGIN.timestamp())

    assert len(house.line.minutes) == 7 * 86_400 / MINUTE_S


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)])
async def test_minutes_go_on_at_once_after_the_clock_was_set_back(house, back):
    house.at = BEGIN + timedelta(seconds=65)
    next_s = await house.telling.catch_up(BEGIN.timestamp())
    house.at += timedelta(minutes=1) - back
    next_s = await house.telling.catch_up(next_s)
    house.at += timedelta(minutes=1)
    await house.telling.catch_up(next_s)

    then = (BEGIN - back + timedelta(minutes=2)).timestamp()
    assert house.told() == [(BEGIN.timestamp(), False), (then, False)]


def test_minutes_are_counted_anew_after_the_clock_was_set_back():
    tally = Tally(kept=2)
    for minute in range(100, 105):
        tally.see(reading(minute * MINUTE_S))
    for minute in range(40, 42):
        tally.see(reading(minute * MINUTE_S, watts=2.0))

    assert tally.samples("main", 40 * MINUTE_S) is None
    assert tally.samples("main", 41 * MINUTE_S) == [(2.0, Quality.GOOD)]
    assert tally.samples("main", 104 * MINUTE_S) is None


async def test_an_alert_stands_as_long_as_its_trouble_and_is_then_cleared(house):
    house.troubles = {"disk": "The disk is full."}
    await house.telling.look()
    raised = house.line.retained[TOPICS.alert("disk")]
    house.at += timedelta(seconds=5)
    await house.telling.look()

    assert raised == Alert(id="disk", sentence="The disk is full.", since=BEGIN, at=BEGIN)
    assert house.line.retained[TOPICS.alert("disk")] is raised

    house.troubles = {}
    await house.telling.look()
    assert house.line.cleared == [TOPICS.alert("disk")]
    assert house.line.retained == {}


async def test_each_connection_hears_the_description_and_alerts_of_a_node_before_us_go(house):
    house.troubles = {"disk": "The disk is full."}
    await house.telling.look()
    house.line.retained.clear()
    following = asyncio.create_task(house.telling.follow_broker())
    house.line.connections.put_nowait(False)
    house.line.connections.put_nowait(True)
    for _ in range(4):
        await asyncio.sleep(0)
    following.cancel()

    assert isinstance(house.line.retained[TOPICS.description], Description)
    assert isinstance(house.line.retained[TOPICS.alert("disk")], Alert)
    assert house.line.cleared == [TOPICS.alert("clock")]


def test_a_minute_on_the_wire_is_what_it_was():
    minute = worked_out("main", 60.0, [(1.5, Quality.GOOD)], interval_s=4, historical=True)

    assert isinstance(decode(encode(minute)), Minute)
