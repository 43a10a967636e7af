import asyncio

import pytest

from vtn import pressure
from vtn.pressure import Pressure


class Time:
    def __init__(self):
        self.now_s = 100.0
        self.late_s = []

    def monotonic(self):
        return self.now_s

    async def sleep(self, seconds):
        """As long as asked, and as late as told; then for ever."""
        if not self.late_s:
            await asyncio.Event().wait()
        self.now_s += seconds + self.late_s.pop(0)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
async def ticking(time):
    """A Pressure whose tick is due in TICK_S, for ever."""
    found = Pressure(monotonic=time.monotonic, sleep=time.sleep, draw=lambda: 0.999)
    task = asyncio.create_task(found.run())
    await asyncio.sleep(0)
    yield found
    task.cancel()
    await asyncio.wait([task])
    assert found.lag_s == 0.0


async def test_at_rest_everything_is_taken(ticking):
    assert ticking.refusal(is_poll=True) is None
    assert ticking.refusal(is_poll=False) is None


@pytest.mark.parametrize(("late_s", "polls", "others"), [(0.4, 0, 0), (0.6, 0, 1), (1.6, 1, 1)])
async def test_when_the_loop_is_late_polls_are_taken_longest(ticking, time, late_s, polls, others):
    time.now_s += pressure.TICK_S + late_s

    assert bool(polls) == (ticking.refusal(is_poll=True) == "lag")
    assert bool(others) == (ticking.refusal(is_poll=False) == "lag")


async def test_as_soon_as_the_loop_is_in_time_everything_is_taken_again(time):
    time.late_s = [3.0, 0.0]
    found = Pressure(monotonic=time.monotonic, sleep=time.sleep)
    task = asyncio.create_task(found.run())
    await asyncio.sleep(0)

    assert found.refusal(is_poll=False) is None
    assert found.lags.total == pytest.approx(3.0)
    assert sum(found.lags.counts) == 2
    task.cancel()


async def test_a_request_that_waits_long_for_the_database_keeps_others_out_but_no_polls(
    ticking, time
):
    old, young = ticking.enter(), ticking.enter()
    ticking._since[old] = time.now_s - pressure.OLDEST_S - 0.1
    ticking._since[young] = time.now_s

    assert (ticking.under_way, ticking.refusal(is_poll=False)) == (2, "database")
    assert ticking.refusal(is_poll=True) is None
    ticking.leave(old)
    assert ticking.refusal(is_poll=False) is None


async def test_there_is_a_bound_on_what_is_under_way(ticking):
    tickets = [ticking.enter() for _ in range(pressure.MOST_UNDER_WAY)]
    assert ticking.refusal(is_poll=False) == "under way"
    assert ticking.refusal(is_poll=True) is None

    for ticket in tickets:
        ticking.leave(ticket)
    assert ticking.refusal(is_poll=False) is None


def test_those_turned_away_are_told_different_times():
    drawn = iter(range(100))
    busy = Pressure(draw=lambda: next(drawn) / 100)
    for _ in range(pressure.MOST_UNDER_WAY):
        busy.enter()
    told = {busy.retry_after_s() for _ in range(100)}
    least, most = pressure.RETRY_AFTER_S

    assert set(range(least, most + 1)) == told


def test_those_turned_away_while_only_the_database_is_away_may_come_soon():
    assert Pressure().retry_after_s() == pressure.SOON_S
