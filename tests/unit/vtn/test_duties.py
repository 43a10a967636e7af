"""Duties begin together, go on whatever happens, and end together."""

import asyncio

from structlog.testing import capture_logs

from vtn import duties
from vtn.duties import Duties


async def test_duties_run_only_while_this_process_is_on_duty():
    log = []

    async def duty():
        log.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    both = Duties([duty, duty])
    assert not both.on
    for _ in range(2):
        both.begin()
        assert both.on
        await asyncio.sleep(0)
        await both.end()
        assert not both.on

    assert log == ["begun", "begun", "ended", "ended"] * 2


async def test_a_duty_that_fails_is_logged_and_begun_again(monkeypatch):
    monkeypatch.setattr(duties, "AGAIN_S", 0.0)
    begun = asyncio.Event()
    times = []

    async def duty():
        times.append(1)
        if len(times) == 1:
            raise ValueError("no")
        begun.set()
        await asyncio.Event().wait()

    one = Duties([duty])
    with capture_logs() as logs:
        one.begin()
        await begun.wait()
        await one.end()

    assert [line["event"] for line in logs] == ["a duty failed"]
