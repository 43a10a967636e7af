"""Trials run side by side where they may, each once."""

import asyncio

import pytest

from chaos import runner
from chaos.trial import Trial


def trial(name, **more):
    return Trial(name=name, what="", run=lambda _: None, budget_s=9, usual_s=1, **more)


class Watched:
    """Notes who runs beside whom."""

    def __init__(self):
        self.running, self.beside = set(), []

    def begun(self, trial):
        self.running.add(trial.name)
        self.beside.append(frozenset(self.running))

    def ended(self, trial, _outcome):
        self.running.remove(trial.name)


@pytest.fixture
def watched(monkeypatch):
    async def played(trial, _watcher, *, seed, scale):
        for _ in range(5):
            await asyncio.sleep(0)
        return runner.failed(trial, "it was only pretended")

    monkeypatch.setattr(runner, "_run", played)
    return Watched()


async def test_of_the_busy_ones_one_runs_at_a_time_and_who_wants_to_be_alone_is(watched):
    busy = [trial(f"busy-{number}", busy=True) for number in range(4)]
    idle = [trial(f"idle-{number}") for number in range(5)]
    outcomes = []

    await runner.run(
        [trial("alone", alone=True), *idle, *busy], watched, outcomes, seed=1, scale=1, lanes=3
    )

    assert sorted(one.name for one in outcomes) == sorted(
        [one.name for one in (*busy, *idle)] + ["alone"]
    )
    assert max(map(len, watched.beside)) == 3
    assert all(sum(name.startswith("busy") for name in now) <= 1 for now in watched.beside)
    assert watched.beside[-1] == {"alone"}
