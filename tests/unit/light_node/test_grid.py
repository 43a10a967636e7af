import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.grid import Grid, ticks


class Clocks:
    """A wall clock that can be set, and a monotonic one that cannot."""

    def __init__(self, wall=1_000_000.0):
        self.wall = wall
        self.elapsed = 0.0

    def now(self):
        return self.wall

    def monotonic(self):
        return self.elapsed

    def pass_time(self, seconds, *, drift=0.0):
        self.elapsed += seconds
        self.wall += seconds * (1 + drift)

    def grid(self, interval_s=4.0):
        return Grid(interval_s, now=self.now, monotonic=self.monotonic)


def wait(clocks, grid):
    clocks.pass_time(max(0.0, grid.wait_s()))
    return grid.take()


@given(st.floats(1e9, 2e9), st.sampled_from([0.25, 1.0, 4.0, 60.0]))
def test_ticks_lie_on_the_wall_clock_and_follow_one_another(wall, interval_s):
    clocks = Clocks(wall)
    grid = clocks.grid(interval_s)

    taken = [wait(clocks, grid) for _ in range(5)]

    first = math.floor(wall / interval_s) + 1
    assert [tick.k for tick in taken] == list(range(first, first + 5))
    for tick in taken:
        assert tick.starts_at == tick.k * interval_s
        assert tick.stepped_s == 0.0
        assert not tick.missed
    assert clocks.wall == pytest.approx(taken[-1].starts_at, abs=1e-3)


def test_the_time_a_reading_takes_does_not_shift_the_grid():
    clocks = Clocks()
    grid = clocks.grid()
    late = []
    for _ in range(1000):
        tick = wait(clocks, grid)
        late.append(grid.late_s(tick))
        clocks.pass_time(0.2)

    assert max(late) < 1e-6


def test_a_clock_that_is_slewed_is_followed():
    clocks = Clocks()
    grid = clocks.grid()
    for _ in range(1000):
        clocks.pass_time(grid.wait_s(), drift=500e-6)
        while (left := grid.wait_s()) > 0:
            clocks.pass_time(left, drift=500e-6)
        tick = grid.take()

        assert tick.stepped_s == 0.0
        assert abs(clocks.wall - tick.starts_at) < 0.003


def test_a_stall_leaves_its_ticks_as_missed():
    clocks = Clocks()
    grid = clocks.grid()
    before = wait(clocks, grid)

    clocks.pass_time(13)
    after = grid.take()

    assert list(after.missed) == [before.k + 1, before.k + 2]
    assert after.k == before.k + 3
    assert wait(clocks, grid).missed == range(after.k + 1, after.k + 1)


@pytest.mark.parametrize("step_s", [90.0, -90.0, 3600.0, -86_400.0])
def test_a_clock_that_is_set_moves_the_grid_and_is_told(step_s):
    clocks = Clocks()
    grid = clocks.grid()
    before = wait(clocks, grid)

    clocks.wall += step_s
    after = wait(clocks, grid)

    assert after.stepped_s == pytest.approx(step_s)
    assert not after.missed
    assert after.starts_at == pytest.approx(clocks.wall, abs=1e-3)
    assert (after.k < before.k) == (step_s < 0)
    assert wait(clocks, grid).stepped_s == 0.0


async def test_the_long_sleep_ends_early_and_a_short_one_finds_the_instant():
    clocks = Clocks(wall=1_000_001.0)
    sleeps = []

    async def sleep(seconds):
        sleeps.append(seconds)
        clocks.pass_time(seconds)

    async with contextlib.aclosing(ticks(clocks.grid(), sleep=sleep)) as stream:
        tick = await anext(stream)

    assert tick.starts_at == 1_000_004.0
    assert sleeps == [pytest.approx(2.95), pytest.approx(0.05)]


async def test_a_clock_set_back_a_day_does_not_stop_the_grid_for_a_day():
    clocks = Clocks()
    grid = clocks.grid()
    wait(clocks, grid)
    clocks.wall -= 86_400
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        clocks.pass_time(seconds)

    async with contextlib.aclosing(ticks(grid, sleep=sleep)) as stream:
        await anext(stream)

    assert sum(slept) <= 4.001
