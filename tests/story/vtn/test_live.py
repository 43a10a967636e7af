"""What has changed is told to open pages, whichever process did it, and after a pause as well."""

import asyncio
import contextlib
import dataclasses
import json
import socket
import time

import aiohttp
import pytest
import uvicorn

import oadr
from tests.story.vtn.utility import draft, utility
from vtn.credential import create_token, read_token
from vtn.live import Feed
from vtn.live import feed as feed_module
from vtn.operations import make_app
from vtn.services.office import Office
from vtn.vitals import Vitals

SOON_S = 60.0


@pytest.fixture
async def listening(house):
    """The VTN's feed, and that of another process on the same database."""
    house.feeds = [Feed(office) for office in (house.office, twin(house.office))]
    tasks = [asyncio.create_task(feed.run()) for feed in house.feeds]
    yield house
    for feed, task in zip(house.feeds, tasks, strict=True):
        feed.close()
        task.cancel()
    await asyncio.wait(tasks)  # before the store is closed: they may be reading


def twin(office) -> Office:
    return dataclasses.replace(office, process_id="another")


async def told(stream, *, until=bool):
    found, end = [], time.monotonic() + SOON_S
    while not until(found):
        assert time.monotonic() < end, found
        found += await stream.next(within_s=1)
    return found


async def test_an_act_is_told_at_every_process_to_who_listens_to_its_topics(listening):
    await listening.registered()
    first, second = listening.feeds
    async with (
        first.stream(["events"]) as here,
        second.stream(["event:peak"]) as there,
        first.stream(["users"]) as elsewhere,
    ):
        await asyncio.sleep(0)
        event = dataclasses.replace(draft(listening.clock.now()), event_id="peak")
        await listening.desk.publish_event(event, by="anna")
        for stream in (here, there):
            found = await told(stream)
            assert [one.act for one in found] == ["publish event"]
            assert {"now", "events", "event:peak"} <= found[0].topics
        assert await elsewhere.next(within_s=0) == []


async def test_a_browser_that_was_cut_off_hears_what_it_missed(listening, monkeypatch):
    feed = listening.feeds[1]
    async with feed.stream(["nodes"]):
        seen = feed.last
    await listening.let_in("mill")
    await listening.desk.add_market_context("http://utility.example/2", "Two", by="anna")
    missed = await feed.missed(seen, ["node:mill"])
    assert [one.act for one in missed] == ["add VEN"]

    monkeypatch.setattr(feed_module, "MOST_MISSED", 1)
    assert await feed.missed(seen, ["node:mill"]) is None


async def test_where_a_ven_was_heard_of_its_page_and_its_events_look_again(listening, clock):
    ven = await listening.registered()
    event = dataclasses.replace(draft(clock.now()), event_id="peak")
    await listening.desk.publish_event(event, by="anna")
    feed = listening.feeds[0]
    async with feed.stream(["event:peak"]) as stream:
        until = time.monotonic() + SOON_S
        while feed._heard_until is None:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        clock.advance(5)
        await ven.poll(oadr.event.DistributeEvent)
        clock.advance(5)
        found = await told(stream, until=lambda found: any(one.act == "" for one in found))
        quiet = next(one for one in found if one.act == "")
        assert f"node:{ven.ven_id}" in quiet.topics


async def test_an_event_that_begins_by_itself_is_told(listening, clock):
    await listening.registered()
    event = dataclasses.replace(draft(clock.now()), event_id="peak")
    await listening.desk.publish_event(event, by="anna")
    feed = listening.feeds[0]
    async with feed.stream(["events"]) as stream:
        until = time.monotonic() + SOON_S
        while "peak" not in feed._turns:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        clock.advance(11 * 60)
        found = await told(stream)
        assert {"now", "events", "event:peak"} == found[0].topics
        assert found[0].act == ""


async def test_a_browser_that_does_not_keep_up_is_told_to_load_anew_and_holds_nothing_up(
    listening, monkeypatch
):
    monkeypatch.setattr(feed_module, "_MOST_WAITING", 2)
    feed = listening.feeds[0]
    async with feed.stream(["nodes"]) as slow, feed.stream(["node:ven-4"]) as quick:
        for number in range(5):
            await listening.let_in(f"ven-{number}")
        await told(quick)
        assert slow.overrun
        assert len(await slow.next(within_s=0)) == 2


# --- over HTTP ------------------------------------------------------------------------------------


async def test_a_page_is_told_over_http_and_its_stream_ends_when_the_vtn_stops(tmp_path, clock):
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}", tmp_path, clock) as house:
        create_token(house.settings.operator.token_file)
        token = read_token(house.settings.operator.token_file)
        feed = Feed(house.office)
        task = asyncio.create_task(feed.run())
        app = make_app(house.desk, house.settings, Vitals(house.office, version=""), feed=feed)
        async with serving(app) as url, aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{url}/live?topic=gossip", headers=headers) as refused:
                assert refused.status == 422
            async with session.get(f"{url}/live?topic=now") as refused:
                assert refused.status == 401
            async with session.get(f"{url}/live?topic=nodes", headers=headers) as stream:
                assert stream.content_type == "text/event-stream"
                assert (await message(stream))["event"] == "hello"
                await house.let_in("mill")
                change = await message(stream)
                assert change["event"] == "change"
                assert json.loads(change["data"])["act"] == "add VEN"
            seen = {"Last-Event-ID": str(int(change["id"]) - 1)}
            async with session.get(f"{url}/live?topic=nodes", headers=headers | seen) as stream:
                await message(stream)
                assert (await message(stream))["id"] == change["id"]
                feed.close()
                assert await asyncio.wait_for(stream.content.read(), SOON_S) is not None
        task.cancel()
        await asyncio.wait([task])


async def message(stream):
    """The next message, without comments."""
    found = {}
    while line := (await asyncio.wait_for(stream.content.readline(), SOON_S)).decode().strip():
        name, _, value = line.partition(": ")
        if name:
            found[name] = value
    return found or await message(stream)


@contextlib.asynccontextmanager
async def serving(app):
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await task
