"""When the VTN is behind it says so at once, keeps the connection, and takes all again after it."""

import time

import pytest

import oadr
from oadr.endpoints import path
from oadr.poll import Poll
from oadr.vocabulary import ServiceName
from tests.story.vtn.served import XML, serving
from tests.story.vtn.utility import usage
from vtn import listener, pressure


@pytest.fixture
async def busy(tmp_path, clock, authority):
    """(a VTN as busy as it may be, a VEN of it, what makes it idle again)."""
    async with serving(tmp_path, clock, authority) as vtn, await vtn.wired() as ven:
        await ven.register()
        under_way = vtn.listener._pressure
        tickets = [under_way.enter() for _ in range(pressure.MOST_UNDER_WAY)]
        yield vtn, ven, lambda: [under_way.leave(ticket) for ticket in tickets]


async def asked(ven, service, message):
    """(status, Retry-After, whether the connection is kept)."""
    url = f"https://127.0.0.1:{ven.utility.listener.port}{path(service)}"
    async with ven.session.post(url, data=oadr.build(message), headers=XML) as answer:
        await answer.read()
        kept = answer.headers.get("Connection", "keep-alive") == "keep-alive"
        return answer.status, answer.headers.get("Retry-After"), kept


def offer():
    return oadr.report.RegisterReport(request_id="meta", reports=(usage(),), ven_id="0042")


async def test_work_is_turned_away_with_a_time_to_come_back_and_polls_are_not(busy):
    vtn, ven, relieve = busy
    status, retry_after, kept = await asked(ven, ServiceName.REPORT, offer())
    assert (status, kept) == (503, True)
    assert int(retry_after) in range(pressure.RETRY_AFTER_S[0], pressure.RETRY_AFTER_S[1] + 1)
    assert (await asked(ven, ServiceName.POLL, Poll(ven_id="0042")))[0] == 200

    relieve()
    assert (await asked(ven, ServiceName.REPORT, offer()))[0] == 200
    assert dict(vtn.listener._counts.overloads) == {"under way": 1}
    assert vtn.listener._counts.requests["EiReport", 503] == 1


async def test_who_comes_back_at_once_is_held_up(busy, monkeypatch):
    monkeypatch.setattr(listener, "HOLD_S", 0.3)
    _vtn, ven, relieve = busy
    assert (await asked(ven, ServiceName.REPORT, offer()))[0] == 503
    began = time.monotonic()
    assert (await asked(ven, ServiceName.REPORT, offer()))[0] == 503
    assert time.monotonic() - began >= 0.3

    relieve()
    assert (await asked(ven, ServiceName.REPORT, offer()))[0] == 200
