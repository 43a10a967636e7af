"""The load generator: what it sends and how it reads, without a network."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchFault
from bench.load import Connection, Reply, content_length, paced, post


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, content: bytes) -> None:
        self.written.append(content)

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[Connection, Wire]:
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)
    return connection, wire


def answer(body: bytes, status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_request_says_how_long_its_body_is() -> None:
    request = post("/OpenADR2/Simple/2.0b/OadrPoll", b"<x/>", headers="X-A: b\r\n")

    head, _, body = request.partition(b"\r\n\r\n")
    assert body == b"<x/>"
    assert head.splitlines()[0] == b"POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1"
    assert b"Content-Length: 4" in head.splitlines()
    assert b"X-A: b" in head.splitlines()


@given(body=st.binary(max_size=300), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_a_reply_is_the_same_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    async def ask() -> Reply:
        connection, _ = connected()
        asking = asyncio.ensure_future(connection.ask(b"?"))
        await asyncio.sleep(0)
        said, begin = answer(body), 0
        for cut in sorted({min(cut, len(said)) for cut in cuts} | {len(said)}):
            connection.data_received(said[begin:cut])
            begin = cut
        return await asking

    reply = asyncio.run(ask())

    assert (reply.status, reply.body) == (200, body)


async def test_requests_on_one_connection_wait_for_one_another() -> None:
    connection, wire = connected()
    first = asyncio.ensure_future(connection.ask(b"1"))
    second = asyncio.ensure_future(connection.ask(b"2"))
    await asyncio.sleep(0)
    assert wire.written == [b"1"]

    connection.data_received(answer(b"one"))
    assert (await first).body == b"one"
    connection.data_received(answer(b"two", status=503))

    assert (await second).status == 503
    assert wire.written == [b"1", b"2"]


async def test_a_lost_connection_is_told_to_who_waits_and_to_who_comes_later() -> None:
    connection, _ = connected()
    waiting = asyncio.ensure_future(connection.ask(b"1"))
    await asyncio.sleep(0)

    connection.connection_lost(None)

    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(ConnectionError):
        await connection.ask(b"2")
    (found,) = await paced([(connection, b"3")], per_second=1000)
    assert isinstance(found, ConnectionError)


def test_a_chunked_answer_is_a_fault_of_the_bench() -> None:
    with pytest.raises(BenchFault):
        content_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")


def test_an_answer_without_a_length_has_no_body() -> None:
    assert content_length(b"HTTP/1.1 204 No Content\r\nServer: x\r\n") == 0
