from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from ems_bridge.messages import AckStatus, Reason, SetPoint
from light_node.errors import MeterSilent, WriteFault
from light_node.settings import RegisterTable, WriteTable
from light_node.store import Written
from light_node.write_device import LOOK_S, DeviceWriter

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
TIMED = WriteTable(
    asset="bms",
    host="h",
    rated_w=60_000,
    limit=RegisterTable(address=200, scale=10),
    reversion=RegisterTable(address=210),
)
FLASH = WriteTable(
    asset="bms",
    host="h",
    rated_w=60_000,
    limit=RegisterTable(address=200, scale=10),
    volatile=False,
)


@dataclass
class Device:
    words: dict = field(default_factory=lambda: {200: 6000, 210: 0})
    writes: list = field(default_factory=list)
    deaf: bool = False
    silent: bool = False

    async def read(self, address, count):
        if self.silent:
            raise MeterSilent("nothing there.")
        return [self.words.get(address + n, 0) for n in range(count)]

    async def write(self, address, words):
        if self.silent:
            raise MeterSilent("nothing there.")
        self.writes.append((address, words))
        if not self.deaf:
            self.words |= dict(enumerate(words, address))


class Book:
    def __init__(self):
        self.kept = {}

    def written(self, asset):
        return self.kept.get(asset, Written())

    def save_written(self, asset, written):
        self.kept[asset] = written


class Bench:
    def __init__(self, table=TIMED, device=None, book=None):
        self.now = T0
        self.device = device or Device()
        self.book = book or Book()
        self.seq = 0
        self.answers = []
        self.writer = DeviceWriter(
            table, self.device, self.book, now=lambda: self.now, on_disk=self.on_disk
        )
        self.writer.answered = self.hear

    async def hear(self, ack):
        self.answers.append((ack.status, ack.applied_w))

    async def on_disk(self, write):
        write()

    def lease(self, delta_w=-40_000.0, *, lasts_s=120, release=False):
        self.seq += 1
        target = {} if release else {"delta_w": delta_w}
        made = SetPoint(
            id="e:1",
            seq=self.seq,
            issued_at=self.now,
            not_before=self.now,
            not_after=self.now + timedelta(seconds=lasts_s),
            ttl_s=lasts_s,
            reason=Reason(event_id="e", modification_number=0, signal_name="s", signal_type="t"),
            release=release,
            **target,
        )
        self.writer.write(made, 100_000.0)

    async def turn(self, seconds=0.0):
        self.now += timedelta(seconds=seconds)
        return await self.writer.turn()


async def test_a_lease_is_written_with_its_timer_and_read_back():
    bench = Bench()
    bench.lease()

    assert await bench.turn() == 30.0  # half of its timer
    assert bench.device.writes == [(210, [60]), (200, [2000])]
    assert bench.answers == [(AckStatus.SUCCEEDED, 20_000)]
    assert bench.writer.state().held_w == 20_000


async def test_the_timer_is_set_anew_at_half_time_and_never_past_the_lease():
    bench = Bench()
    bench.lease(lasts_s=70)
    await bench.turn()

    assert await bench.turn(30) == 20.0
    assert bench.device.words[210] == 40
    await bench.turn(20)
    assert bench.device.words[210] == 20


async def test_when_leases_stop_the_device_s_own_timer_ends_it():
    bench = Bench()
    bench.lease(lasts_s=70)
    await bench.turn()
    count = len(bench.device.writes)

    assert await bench.turn(71) == LOOK_S

    assert len(bench.device.writes) == count
    assert bench.writer.state().held_w is None


async def test_without_a_timer_the_node_lets_go_when_the_lease_ends():
    bench = Bench(
        WriteTable(asset="b", host="h", rated_w=60_000, limit=RegisterTable(address=200, scale=10))
    )
    bench.lease(lasts_s=70)
    await bench.turn()
    assert bench.device.words[200] == 2000
    await bench.turn(71)
    assert bench.device.words[200] == 6000


async def test_a_release_lets_go_at_once():
    bench = Bench()
    bench.lease()
    await bench.turn()
    bench.lease(release=True)
    await bench.turn(1)
    assert bench.device.words[200] == 6000


async def test_at_rest_a_device_that_is_free_is_not_written_to():
    bench = Bench()
    bench.writer.rest()
    await bench.turn()
    assert bench.device.writes == []


async def test_what_a_crash_left_behind_is_let_go():
    bench = Bench(device=Device(words={200: 2000}))
    bench.writer.rest()
    await bench.turn()
    assert bench.device.words[200] == 6000


async def test_a_device_that_acknowledges_and_holds_nothing_is_found_out():
    bench = Bench(device=Device(deaf=True))
    bench.lease()

    with pytest.raises(WriteFault, match="reads back something else"):
        await bench.turn()

    assert bench.answers == [(AckStatus.REJECTED, 20_000)]


async def test_a_device_that_was_restarted_is_told_again_with_the_next_lease():
    bench = Bench()
    bench.lease()
    await bench.turn()
    bench.device.words = {200: 6000, 210: 0}
    bench.lease()
    await bench.turn(10)
    assert bench.device.words[200] == 2000


async def test_a_silent_device_is_a_trouble_and_is_tried_again():
    bench = Bench(device=Device(silent=True))
    bench.lease()
    with pytest.raises(MeterSilent):
        await bench.turn()
    bench.device.silent = False
    await bench.turn(2)
    assert bench.answers == [(AckStatus.SUCCEEDED, 20_000)]
    assert not bench.writer.trouble


async def test_flash_is_not_written_again_for_the_same_limit():
    bench = Bench(FLASH)
    for _ in range(20):
        bench.lease()
        await bench.turn(30)
    assert bench.device.writes == [(200, [2000])]
    assert len(bench.answers) == 20


async def test_flash_is_spared_and_the_count_survives_a_restart():
    bench = Bench(FLASH)
    bench.lease(-40_000.0)
    await bench.turn()
    again = Bench(FLASH, device=bench.device, book=bench.book)
    again.now = bench.now
    again.lease(-20_000.0, lasts_s=600)

    assert await again.turn(100) == 200
    assert "wears out" in again.writer.trouble
    assert bench.device.words[200] == 2000
    assert bench.book.kept["bms"].refused == 1
    await again.turn(200)

    assert bench.device.words[200] == 4000
    assert (bench.book.kept["bms"].count, again.writer.trouble) == (2, "")


async def test_wear_holds_no_release_up():
    bench = Bench(FLASH)
    bench.lease()
    await bench.turn()
    bench.lease(release=True)
    await bench.turn(1)
    assert bench.device.words[200] == 6000


async def test_what_cannot_be_judged_is_rejected_and_not_written():
    bench = Bench()
    bench.lease()
    bench.writer.write(bench.writer._lease, None)
    bench.writer._watts = None
    await bench.turn()
    assert bench.answers[0][0] is AckStatus.REJECTED
    assert bench.device.writes == []


async def test_flash_is_spared_also_where_something_else_writes_to_it_again_and_again():
    bench = Bench(FLASH)
    for _ in range(20):
        bench.device.words[200] = 6000
        bench.lease()
        await bench.turn(30)
    assert len(bench.device.writes) == 2  # in ten minutes, one in five
