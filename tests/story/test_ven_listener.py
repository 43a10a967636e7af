"""The listener for pushes against senders that stall, break off or send what nobody wants."""

import asyncio
import gzip
import ssl

import pytest

from tests.unit.ven.makers import settings
from ven import listener
from ven.config import PushSettings
from ven.credentials import push_context
from ven.errors import PushFault
from ven.listener import Listener, Reply

HEAD = "POST /OpenADR2/Simple/2.0b/EiEvent HTTP/1.1\r\nHost: ven\r\n"
ZIPPED = gzip.compress(b"<x/>", mtime=0)
XML = "Content-Type: application/xml\r\n"


class Taken:
    """What the listener let through."""

    def __init__(self):
        self.bodies = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def take(self, service, body):
        await self.hold.wait()
        if body == b"boom":
            raise RuntimeError("boom")
        self.bodies.append((service.value, body))
        return Reply(body=b"<answer/>")


@pytest.fixture
def taken():
    return Taken()


@pytest.fixture
async def make(authority, taken, monkeypatch):
    for name in ("HEADER_S", "BODY_S", "LINGER_S"):
        monkeypatch.setattr(listener, name, 0.3)
    folder = authority.folder
    if not (folder / "listening.crt").exists():
        authority.ven("listening")
    here = settings(
        ven={"cert": str(folder / "listening.crt"), "key": str(folder / "listening.key")},
        vtn={"ca": str(authority.vtn_trust)},
    )
    push = PushSettings(listen_host="127.0.0.1", listen_port=0, address="https://ven.example")
    async with Listener(push, push_context(here), taken.take) as listening:
        yield Sender(listening.port, authority)


class Sender:
    """Sends bytes as they are, as a VTN."""

    def __init__(self, port, authority):
        self.port = port
        self.context = ssl.create_default_context(cafile=authority.ven_trust)
        self.context.check_hostname = False
        chain = authority.folder / "vtn-ecc.crt"
        self.context.load_cert_chain(chain, chain.with_suffix(".key"))

    async def send(self, text, body=b""):
        """-> the HTTP status, or 0 where the connection is closed without a word."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context)
        try:
            writer.write(text.encode() + body)
            await writer.drain()
            async with asyncio.timeout(60):
                line = await reader.readline()
            return int(line.split()[1]) if line else 0
        except ConnectionError:
            return 0
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("text", "body", "status"),
    [
        (f"{HEAD}{XML}Content-Length: 4\r\n\r\n", b"<x/>", 200),
        (f"{HEAD}{XML}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n", b"<x/>", 100),
        (f"{HEAD}{XML}Content-Length: 9\r\n\r\n", b"<x/>", 408),  # the rest never comes
        (f"{HEAD}{XML}Transfer-Encoding: chunked\r\n\r\n", b"4\r\n<x/>\r\n0\r\n\r\n", 411),
        (f"{HEAD}{XML}Content-Length: 99999999\r\n\r\n", b"", 413),
        (f"{HEAD}Content-Type: text/xml\r\nContent-Length: 4\r\n\r\n", b"<x/>", 406),
        (
            f"{HEAD}Content-Type: application/xml; charset=latin-1\r\nContent-Length: 4\r\n\r\n",
            b"<x/>",
            406,
        ),
        (
            f"{HEAD}{XML}Content-Encoding: gzip\r\nContent-Length: {len(ZIPPED)}\r\n\r\n",
            ZIPPED,
            406,
        ),
        (HEAD.replace("POST", "PUT") + f"{XML}Content-Length: 4\r\n\r\n", b"<x/>", 501),
        (HEAD.replace("EiEvent", "OadrPoll") + f"{XML}Content-Length: 4\r\n\r\n", b"<x/>", 404),
        (HEAD.replace("EiEvent", "Tea") + f"{XML}Content-Length: 4\r\n\r\n", b"<x/>", 404),
        (HEAD, b"", 0),  # headers that never end
        ("", b"", 0),  # nothing at all
        ("nonsense\r\n\r\n", b"", 400),
        (f"{HEAD}{XML}Content-Length: 4\r\n\r\n", b"boom", 500),
    ],
)
async def test_what_is_no_push_is_turned_away(make, taken, text, body, status):
    assert await make.send(text, body) == status
    assert [service for service, _ in taken.bodies] == (
        ["EiEvent"] if status <= 200 and status else []
    )
    assert await make.send(f"{HEAD}{XML}Content-Length: 4\r\n\r\n", b"<y/>") == 200


async def test_too_much_at_once_is_asked_to_come_again(make, taken):
    taken.hold.clear()
    good = f"{HEAD}{XML}Content-Length: 4\r\n\r\n"
    sent = [make.send(good, b"<x/>") for _ in range(listener.MOST_AT_ONCE + 1)]
    tasks = [asyncio.create_task(each) for each in sent]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [503]
    taken.hold.set()
    assert await asyncio.gather(*waiting) == [200] * listener.MOST_AT_ONCE


async def test_a_port_that_is_taken_is_one_sentence(make):
    push = PushSettings(listen_host="127.0.0.1", listen_port=make.port, address="https://x")
    with pytest.raises(PushFault, match=rf"127.0.0.1:{make.port}: pushes cannot be listened for"):
        listener.bound(push).close()
