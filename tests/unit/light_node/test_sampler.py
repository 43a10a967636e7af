import itertools

import pytest

from light_node.errors import MeterRefused, MeterSilent
from light_node.grid import Grid
from light_node.quality import Judge, Quality
from light_node.sampler import Breaker, BusSampler, SampledMeter


class Source:
    """A meter that answers, or not, in a given time."""

    def __init__(self, clock, *, takes_s=0.1, watts=1000.0):
        self.clock = clock
        self.takes_s = takes_s
        self.watts = watts
        self.fault = None
        self.reads = []

    async def read(self, *, slow, budget_s):
        self.reads.append((slow, budget_s))
        self.clock.advance(self.takes_s)
        if self.fault:
            raise self.fault
        return {"active_power": self.watts, "energy_import": 5.0}


class Bench:
    """A bus with meters, driven tick by tick."""

    def __init__(self, clock, *names, all_points=False):
        self.clock = clock
        self.rows = []
        self.sources = {name: Source(clock) for name in names}
        self.grid = Grid(4.0, now=lambda: clock.now().timestamp(), monotonic=clock.monotonic)
        seq = itertools.count(1)
        self.sampler = BusSampler(
            [
                SampledMeter(id=name, source=source, judge=Judge(ranges={}))
                for name, source in self.sources.items()
            ],
            grid=self.grid,
            monotonic=clock.monotonic,
            next_seq=lambda: next(seq),
            accept=self.rows.append,
            all_points=lambda: all_points,
        )

    async def tick(self, times=1):
        before = len(self.rows)
        for _ in range(times):
            self.clock.advance(max(0.0, self.grid.wait_s()))
            await self.sampler.sample(self.grid.take())
        return self.rows[before:]


async def test_each_tick_gives_one_row_per_meter_counted_without_a_gap(clock):
    bench = Bench(clock, "site", "heat")

    rows = await bench.tick(3)

    assert [row.meter for row in rows] == ["site", "heat"] * 3
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row.quality for row in rows} == {Quality.GOOD}
    assert rows[0].watts == 1000.0
    assert rows[0].energy_wh == 5.0
    assert rows[2].starts_at - rows[0].starts_at == 4.0
    assert rows[0].took_s == pytest.approx(0.1)


async def test_readings_say_when_the_clock_is_a_guess(clock):
    bench = Bench(clock, "site")
    bench.sampler._is_clock_sure = lambda: False
    (row,) = await bench.tick()
    assert row.quality == Quality.CLOCK_UNSYNC

    bench.sampler._is_clock_sure = lambda: True
    (row,) = await bench.tick()
    assert row.quality == Quality.GOOD


async def test_a_meter_that_is_not_believed_is_complained_about_until_it_is(clock):
    bench = Bench(clock, "site")
    (meter,) = bench.sampler._meters
    bench.sources["site"].watts = float("nan")
    await bench.tick()
    assert meter.complaint == "what it says is implausible."

    bench.sources["site"].watts = 5.0
    await bench.tick()
    assert meter.complaint == ""


async def test_a_silent_meter_leaves_a_row_that_says_so(clock):
    bench = Bench(clock, "site")
    bench.sources["site"].fault = MeterSilent("silent.")

    (row,) = await bench.tick()

    assert row.quality == Quality.COMM
    assert row.watts is None


async def test_the_budget_is_four_fifths_of_the_interval_for_all_meters_together(clock):
    bench = Bench(clock, "site", "heat")
    bench.sources["site"].takes_s = 0.8

    await bench.tick()

    assert bench.sources["site"].reads[0][1] == pytest.approx(3.2, abs=1e-3)
    assert bench.sources["heat"].reads[0][1] == pytest.approx(2.4, abs=1e-3)


async def test_a_dead_neighbour_is_left_out_and_probed_at_growing_pauses(clock):
    bench = Bench(clock, "site", "dead")
    bench.sources["dead"].fault = MeterSilent("silent.")
    bench.sources["dead"].takes_s = 0.8
    asked_at = []
    for n in range(60):
        before = len(bench.sources["dead"].reads)
        await bench.tick()
        if len(bench.sources["dead"].reads) > before:
            asked_at.append(n)

    pauses = [b - a for a, b in itertools.pairwise(asked_at)]
    # In ticks of 4 s: the second try at once, then after 8, 16, 32, 64 s at the earliest.
    assert pauses[:5] == [1, 3, 5, 9, 17]
    dead = [row for row in bench.rows if row.meter == "dead"]
    assert len(dead) == 60
    assert {row.quality for row in dead} == {Quality.COMM}
    assert all(row.quality == Quality.GOOD for row in bench.rows if row.meter == "site")


async def test_a_neighbour_that_answers_a_probe_is_back_at_once(clock):
    bench = Bench(clock, "site", "dead")
    bench.sources["dead"].fault = MeterSilent("silent.")
    await bench.tick(3)
    bench.sources["dead"].fault = None

    rows = [row for row in await bench.tick(6) if row.meter == "dead"]

    back = [row.quality for row in rows].index(Quality.GOOD)
    assert back <= 2
    assert {row.quality for row in rows[back:]} == {Quality.GOOD}


async def test_a_meter_alone_on_its_bus_is_tried_at_each_tick(clock):
    bench = Bench(clock, "site")
    bench.sources["site"].fault = MeterSilent("silent.")

    await bench.tick(10)
    assert len(bench.sources["site"].reads) == 10

    bench.sources["site"].fault = None
    (row,) = await bench.tick()
    assert row.quality == Quality.GOOD


async def test_a_meter_that_answers_with_an_exception_does_not_open_the_breaker(clock):
    bench = Bench(clock, "site", "odd")
    bench.sources["odd"].fault = MeterRefused("no.")

    await bench.tick(10)

    assert len(bench.sources["odd"].reads) == 10


async def test_ticks_that_the_node_slept_through_are_rows_too(clock):
    bench = Bench(clock, "site")
    (before,) = await bench.tick()
    clock.advance(13)

    rows = await bench.tick()

    assert [row.quality for row in rows[:-1]] == [Quality.MISSED] * (len(rows) - 1)
    assert [row.k for row in rows] == list(range(before.k + 1, before.k + 1 + len(rows)))
    assert rows[-1].quality in {Quality.GOOD, Quality.LATE}


async def test_a_set_clock_is_noted_on_the_next_row_and_seq_goes_on(clock):
    bench = Bench(clock, "site")
    (before,) = await bench.tick()
    clock.step(-90)

    (row,) = await bench.tick()

    assert row.quality == Quality.CLOCK_STEP
    assert row.k < before.k
    assert row.seq == before.seq + 1


async def test_a_reading_taken_late_says_so(clock):
    bench = Bench(clock, "site")
    await bench.tick()
    clock.advance(max(0.0, bench.grid.wait_s()))
    tick = bench.grid.take()
    clock.advance(1.5)

    await bench.sampler.sample(tick)

    assert bench.rows[-1].quality == Quality.LATE
    assert bench.rows[-1].start_error_s == pytest.approx(1.5, abs=1e-3)


async def test_slow_points_are_read_each_15th_tick_and_always_near_an_event(clock):
    calm, pressing = Bench(clock, "site"), Bench(clock, "site", all_points=True)

    await calm.tick(30)
    await pressing.tick(30)

    assert sum(slow for slow, _ in calm.sources["site"].reads) == 2
    assert all(slow for slow, _ in pressing.sources["site"].reads)


def test_a_breaker_lets_pass_until_two_silences_in_a_row():
    breaker = Breaker()
    breaker.after_silence(0)
    assert breaker.allows(0)
    breaker.after_answer()
    breaker.after_silence(1)
    assert breaker.allows(1)
    breaker.after_silence(2)
    assert not breaker.allows(9.9)
    assert breaker.allows(10)
