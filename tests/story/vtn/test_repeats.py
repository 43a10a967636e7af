"""A VEN that sends its poll again: the answer is as right as the first, and costs less."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

import oadr
from oadr.endpoints import path
from oadr.event import DistributeEvent
from oadr.poll import Poll, Response
from oadr.report import RegisteredReport, RegisterReport
from oadr.response import EiResponse
from oadr.vocabulary import ServiceName
from tests.story.vtn.served import serving
from vtn.gateway import Gateway
from vtn.store import conversation


def whole(ven_id="0042", service=ServiceName.POLL, more=""):
    body = oadr.build(Poll(ven_id=ven_id))
    return (
        f"POST {path(service)} HTTP/1.1\r\nHost: vtn\r\nContent-Type: application/xml\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Line:
    """A connection on which bytes are said as they stand."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def say(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self):
        async with asyncio.timeout(60):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head, await self.reader.readexactly(length)

    async def ask(self, data):
        await self.say(data)
        return await self.hear()

    async def poll(self, into):
        head, body = await self.ask(whole())
        assert b" 200 " in head
        found = oadr.parse(body)
        assert isinstance(found, into)
        return found


@pytest.fixture
def long_way(monkeypatch):
    """What the gateway is asked the whole way, one entry for each message."""
    asked = []
    answer = Gateway.answer

    async def noted(self, service, body, **more):
        asked.append(service)
        return await answer(self, service, body, **more)

    monkeypatch.setattr(Gateway, "answer", noted)
    return asked


@asynccontextmanager
async def polling(tmp_path, clock, authority, **more):
    """A registered VEN for which nothing waits, and its connection."""
    async with serving(tmp_path, clock, authority, **more) as vtn, await vtn.wired() as ven:
        await ven.register()
        ours = await ven.poll(RegisterReport)
        taken = RegisteredReport(response=EiResponse(request_id=ours.request_id), ven_id="0042")
        await ven.say(ServiceName.REPORT, taken, Response)
        port = vtn.listener.port
        line = Line(*await asyncio.open_connection("127.0.0.1", port, ssl=ven.context))
        await line.poll(Response)
        await line.poll(Response)
        yield vtn, line
        line.writer.close()


async def test_the_short_answer_is_the_long_one_byte_for_byte(tmp_path, clock, authority, long_way):
    async with polling(tmp_path, clock, authority) as (_, line):
        long_way.clear()
        answers = [await line.ask(whole()) for _ in range(3)]
        assert long_way == []
        answers.append(await line.ask(whole(more="X-Other: 1\r\n")))
        assert long_way == [ServiceName.POLL]

    def without_date(head):
        return [one for one in head.split(b"\r\n") if not one.startswith(b"Date")]

    assert len({body for _, body in answers}) == 1
    assert all(without_date(head) == without_date(answers[0][0]) for head, _ in answers)
    assert all(b"\r\nDate: " in head for head, _ in answers)


async def test_what_waits_is_handed_out_to_a_repeated_poll(tmp_path, clock, authority):
    async with polling(tmp_path, clock, authority) as (vtn, line):
        event = (await vtn.publish()).event

        found = await line.poll(DistributeEvent)

        assert [one.event_id for one in found.events] == [event.event_id]


async def test_an_event_on_the_shelf_is_the_answer_to_a_repeated_poll(
    tmp_path, clock, authority, long_way
):
    async with polling(tmp_path, clock, authority) as (vtn, line):
        event = (await vtn.publish()).event
        await vtn.shelving.fill()
        long_way.clear()

        found = await line.poll(DistributeEvent)
        await line.poll(Response)

        assert long_way == []
        assert [one.event_id for one in found.events] == [event.event_id]
        await vtn.office.handouts.flush(vtn.store)
        assert (await vtn.desk.event(event.event_id)).deliveries["0042"].attempts == 1
        await vtn.office.conversation.flush(vtn.store, clock.now())
        async with vtn.store.read() as connection:
            said = await conversation.latest(connection, ven_id="0042")
        assert said[0].reply_kind == "oadrDistributeEvent"


async def test_a_revoked_ven_is_not_answered_again(tmp_path, clock, authority):
    async with polling(tmp_path, clock, authority) as (vtn, line):
        vtn.office.directory.on_shut_out = lambda _: None  # else its connection is closed
        await vtn.desk.revoke_ven("0042", by="anna")

        _, body = await line.ask(whole())

        assert oadr.parse(body).response.response_code == "463"


async def test_a_certificate_that_has_expired_meanwhile_counts_no_more(tmp_path, clock, authority):
    told_s = [time.time()]
    async with polling(tmp_path, clock, authority, now_s=lambda: told_s[0]) as (_, line):
        told_s[0] += timedelta(days=20_000).total_seconds()

        head, _ = await line.ask(whole())

        assert b" 403 " in head


async def test_in_doubt_the_database_is_asked(tmp_path, clock, authority, long_way):
    async with polling(tmp_path, clock, authority) as (vtn, line):
        long_way.clear()
        vtn.office.directory.doubt()

        await line.poll(Response)

        assert long_way == [ServiceName.POLL]


async def test_a_repeated_poll_is_counted_and_shows_that_the_ven_is_there(
    tmp_path, clock, authority
):
    async with polling(tmp_path, clock, authority) as (vtn, line):
        before = vtn.listener._counts.requests["OadrPoll", 200]
        clock.advance(1)

        await line.poll(Response)

        assert vtn.listener._counts.requests["OadrPoll", 200] == before + 1
        assert vtn.office.directory.by_id("0042").last_contact_at == clock.now()


@pytest.mark.parametrize("cut", [1, 40, -1])
async def test_a_poll_in_two_pieces_is_one_poll(tmp_path, clock, authority, cut):
    async with polling(tmp_path, clock, authority) as (_, line):
        data = whole()
        await line.say(data[:cut])
        await asyncio.sleep(0.05)  # so that it arrives by itself
        _, first = await line.ask(data[cut:])
        _, second = await line.ask(data)

        assert first == second


async def test_bytes_left_over_are_not_lost_before_a_repeated_poll(
    tmp_path, clock, authority, long_way
):
    """The whole poll is then a piece of something else, and must not be answered as a poll."""
    async with polling(tmp_path, clock, authority) as (_, line):
        long_way.clear()
        data = whole()
        await line.say(
            f"POST {path(ServiceName.POLL)} HTTP/1.1\r\nHost: vtn\r\n"
            f"Content-Type: application/xml\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        )
        await asyncio.sleep(0.05)

        head, _ = await line.ask(data)

        assert b" 406 " in head
        assert long_way == [ServiceName.POLL]


async def test_polls_sent_without_waiting_are_each_answered(tmp_path, clock, authority):
    async with polling(tmp_path, clock, authority) as (_, line):
        await line.say(whole() * 3)
        answers = [await line.hear() for _ in range(3)]
        answers.append(await line.ask(whole()))

        assert len({body for _, body in answers}) == 1
