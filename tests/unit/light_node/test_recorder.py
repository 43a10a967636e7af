import asyncio

import pytest

from light_node import recorder
from light_node.disk import Disk
from light_node.errors import RingFault
from light_node.quality import Quality
from light_node.reading import Reading
from light_node.recorder import Recorder
from light_node.ring import Ring


@pytest.fixture
def bench(tmp_path, clock):
    bench = Bench(tmp_path, clock)
    yield bench
    bench.close()


class Bench:
    def __init__(self, folder, clock):
        self.clock = clock
        self.pressing = False
        self.changes = 0
        self.seq = 0
        self.disk = Disk()
        self.ring = Ring(folder / "ring.db", boot="b", interval_s=4.0)
        self.recorder = Recorder(
            self.ring,
            self.disk,
            meters=("site",),
            commit_s=60.0,
            is_pressing=lambda: self.pressing,
            now=lambda: clock.now().timestamp(),
            monotonic=clock.monotonic,
            changed=self.count,
        )
        self.task = None

    def count(self):
        self.changes += 1

    def accept(self, watts=100.0, quality=Quality.GOOD):
        self.seq += 1
        at = self.clock.now().timestamp()
        values = {} if watts is None else {"active_power": watts}
        self.recorder.accept(
            Reading(
                meter="site",
                seq=self.seq,
                k=int(at // 4),
                starts_at=at,
                quality=quality,
                values=values,
            )
        )

    async def read(self, after=0, wait_s=0.0):
        return await self.recorder.readings("site", after=after, limit=999, wait_s=wait_s)

    def close(self):
        self.disk.close()
        self.ring.close()


@pytest.fixture
async def running(bench):
    task = asyncio.create_task(bench.recorder.run())
    yield bench
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_handed_out_before_it_is_on_the_disk(bench):
    bench.accept()
    assert (await bench.read()).ids == []

    await bench.recorder.commit()

    assert (await bench.read()).ids == [1]
    assert bench.recorder.recorded_until == {"site": bench.clock.now().timestamp()}


async def test_in_quiet_times_readings_are_committed_together(running):
    for _ in range(15):
        running.accept()
        running.clock.advance(4)
    await asyncio.sleep(0)
    assert (await running.read()).ids == []

    running.accept()

    assert len((await running.read(wait_s=60)).ids) == 16


async def test_near_an_event_each_reading_is_committed_at_once(running):
    running.pressing = True
    for n in range(3):
        running.accept()
        assert (await running.read(after=n, wait_s=60)).ids == [n + 1]


async def test_an_event_that_comes_near_hurries_what_waits(running):
    running.accept()

    running.recorder.hurry()

    assert (await running.read(wait_s=60)).ids == [1]


async def test_who_waits_gets_the_first_reading_committed(bench):
    waiting = asyncio.create_task(bench.read(wait_s=60))
    await bench.disk.run(lambda: None)
    bench.accept()

    await bench.recorder.commit()

    assert (await waiting).ids == [1]


async def test_who_waits_in_vain_gets_nothing(bench):
    assert (await bench.read(wait_s=0.01)).ids == []


async def test_a_disk_that_refuses_loses_nothing(running, monkeypatch):
    def refuse(readings, *, now):
        raise RingFault("no room.")

    running.pressing = True
    commit = running.ring.commit
    monkeypatch.setattr(running.ring, "commit", refuse)
    for _ in range(3):
        running.accept()
        await running.disk.run(lambda: None)

    monkeypatch.setattr(running.ring, "commit", commit)
    running.accept()

    assert len((await running.read(wait_s=60)).ids) == 4


async def test_a_meter_that_falls_silent_or_comes_back_is_told_once(bench):
    bench.accept()
    bench.accept()
    assert bench.changes == 1

    bench.accept(None, Quality.COMM)
    bench.accept(None, Quality.COMM)
    assert bench.changes == 2
    assert not bench.recorder.seen["site"].online
    assert bench.recorder.seen["site"].last_good.seq == 2

    bench.accept()
    assert bench.changes == 3


async def test_a_meter_that_is_not_to_be_believed_is_told_once(bench):
    bench.accept()
    changes = bench.changes
    bench.accept(5.0, Quality.STALE)
    bench.accept(5.0, Quality.STALE)
    assert bench.changes == changes + 1
    assert bench.recorder.seen["site"].online
    assert not bench.recorder.seen["site"].usable

    bench.accept()
    assert bench.changes == changes + 2


async def test_a_disk_that_refuses_is_told_until_it_takes_readings_again(bench, monkeypatch):
    def refuse(readings, *, now):
        raise RingFault("no room.")

    commit = bench.ring.commit
    monkeypatch.setattr(bench.ring, "commit", refuse)
    bench.accept()
    bench.accept()
    with pytest.raises(RingFault):
        await bench.recorder.commit()
    assert bench.recorder.trouble == "2 readings wait in memory: no room."
    changes = bench.changes

    monkeypatch.setattr(bench.ring, "commit", commit)
    await bench.recorder.commit()

    assert bench.recorder.trouble == ""
    assert bench.changes == changes + 1


async def test_after_hours_without_a_disk_the_oldest_readings_go(running, monkeypatch):
    def refuse(readings, *, now):
        raise RingFault("no room.")

    monkeypatch.setattr(recorder, "MOST_WAITING", 3)
    commit = running.ring.commit
    monkeypatch.setattr(running.ring, "commit", refuse)
    running.pressing = True
    for _ in range(5):
        running.accept()
        await running.disk.run(lambda: None)
    monkeypatch.setattr(running.ring, "commit", commit)
    running.accept()

    assert len((await running.read(wait_s=60)).ids) in {3, 4}
