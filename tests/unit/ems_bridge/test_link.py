import asyncio
import ssl
import threading

import pytest

from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import BrokerUnusable, NotDelivered
from ems_bridge.link import Link, Outgoing, _connect_fault, _first_of, _in_thread


def link(clock, **settings):
    broker = BrokerSettings(host="broker.example", **settings)
    return Link(broker, client_id="me", subscriptions=(), now=clock.now)


async def test_nothing_is_handed_over_without_a_connection(clock):
    unopened = link(clock)

    assert not unopened.connected
    with pytest.raises(NotDelivered, match="is not connected"):
        await unopened.publish(Outgoing(topic="t", payload=b""))


async def test_settings_that_cannot_work_are_refused_on_entry(clock, tmp_path):
    with pytest.raises(BrokerUnusable, match="cannot be used"):
        async with link(clock, ca=tmp_path / "none.pem"):
            pass
    with pytest.raises(BrokerUnusable, match="cannot be read"):
        async with link(clock, username="u", password_file=tmp_path / "none"):
            pass


async def test_its_state_is_told_now_and_at_each_change(clock):
    watched = link(clock)
    changes = watched.connected_changes()

    assert await anext(changes) is False
    watched._set_connected(now=True)
    assert await anext(changes) is True
    watched._set_connected(now=False)
    watched._set_connected(now=True)
    assert await anext(changes) is True
    await changes.aclose()
    assert watched._watchers == set()


async def test_a_slow_reader_loses_the_oldest_and_not_the_newest(clock):
    flooded = link(clock)
    for n in range(1003):
        flooded._arrived(None, str(n), b"", False)

    assert (await flooded.receive()).topic == "3"


async def test_a_thread_brings_its_fault_back_and_never_holds_up_the_end():
    def fail():
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        await _in_thread(fail)

    release = threading.Event()
    stuck = asyncio.ensure_future(_in_thread(release.wait))
    await _first_of(stuck, asyncio.sleep(0))
    assert stuck.cancelled()
    release.set()


async def test_the_first_of_several_ends_the_wait_and_the_others():
    never, done = asyncio.Event(), asyncio.Event()
    done.set()
    waiting = asyncio.ensure_future(never.wait())

    await _first_of(waiting, done.wait())

    assert waiting.cancelled()


def test_a_certificate_that_is_not_trusted_is_told_in_words():
    fault = ssl.SSLCertVerificationError("no")
    fault.verify_message = "self-signed certificate"

    assert _connect_fault(fault) == (
        "the broker's certificate is not trusted: self-signed certificate; look at 'ca'"
    )
    assert _connect_fault(ConnectionRefusedError(111, "refused")) == "[Errno 111] refused"
