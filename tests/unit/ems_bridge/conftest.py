"""A link with no broker behind it: it keeps what is published, and says what the test wants."""

import asyncio
from datetime import UTC, datetime

import pytest

from ems_bridge.errors import NotDelivered
from ems_bridge.link import Incoming

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)


class FakeLink:
    def __init__(self, broker, *, client_id, subscriptions, now, will=None, announce=True):
        self.subscriptions = tuple(subscriptions)
        self.client_id = client_id
        self.will = will
        self.published = []
        self.unanswered = asyncio.Event()
        self.unanswered.set()
        self.in_flight = 0
        self.most_in_flight = 0
        self.denies = False
        self.heard = True
        self._connected = False
        self._changed = asyncio.Event()
        self._incoming = asyncio.Queue()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    @property
    def connected(self):
        return self._connected

    @connected.setter
    def connected(self, value):
        self._connected = value
        self._changed.set()

    async def connected_changes(self):
        while True:
            self._changed.clear()
            yield self._connected
            await self._changed.wait()

    async def until_connected(self):
        # The event stays set until the changes are read: to wait for it here could spin for ever.
        while not self._connected:  # noqa: ASYNC110 - as said above
            await asyncio.sleep(0.001)

    async def receive(self):
        return await self._incoming.get()

    def arrive(self, topic, payload, *, retained=False):
        self._incoming.put_nowait(Incoming(topic=topic, payload=payload, retained=retained, at=AT))

    async def publish(self, letter):
        if not self._connected:
            raise NotDelivered("not connected")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.unanswered.wait()
        finally:
            self.in_flight -= 1
        if self.denies:
            raise NotDelivered("denied", denied=True)
        if not self._connected:
            raise NotDelivered("broke")
        self.published.append(letter)
        return self.heard

    def on(self, topic):
        return [letter.payload for letter in self.published if letter.topic == topic]


@pytest.fixture
def links(monkeypatch):
    """The links that bridge and reference EMS make, in the order they make them."""
    made = []

    def make(*args, **more):
        made.append(FakeLink(*args, **more))
        return made[-1]

    monkeypatch.setattr("ems_bridge.bridge.Link", make)
    monkeypatch.setattr("ems_bridge.reference_app.Link", make)
    return made


async def settle(until, turns=400):
    """Let the loop turn (the outbox has a thread of its own) until `until()` holds."""
    for _ in range(turns):
        if until():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came to that")


@pytest.fixture(name="settle")
def settle_fixture():
    return settle
