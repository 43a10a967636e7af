import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from light_node.errors import NodeRefused, NodeUnreachable
from tests.unit.ven.makers import START, node_status
from ven import agent, describe
from ven import node as node_room
from ven.credentials import Credentials
from ven.errors import StateFault
from ven.node import NodeLink


class Client:
    """A light node that refuses the first plans."""

    def __init__(self, refusals):
        self.refusals = refusals
        self.heartbeats = 0
        self.versions = []
        self.taken = asyncio.Event()

    async def put_plan(self, version, steps, notices=()):
        self.versions.append(version)
        if len(self.versions) <= self.refusals:
            raise NodeRefused("The plan cannot be written; make room on the disk.")
        self.taken.set()

    async def vtn_heard(self):
        self.heartbeats += 1

    async def watch(self):
        await asyncio.Event().wait()
        yield


async def test_a_plan_that_was_refused_is_put_again_until_it_is_taken(monkeypatch):
    monkeypatch.setattr(node_room, "AGAIN_S", 0.001)
    versions = iter(range(1, 100))
    client = Client(refusals=3)
    link = NodeLink(Path("light-node.sock"), next_version=lambda: next(versions), draw=lambda: 0.5)

    @asynccontextmanager
    async def connected():
        yield client

    link._connected = connected
    link.set_plan(((), ()))
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(5):
        await client.taken.wait()
    await asyncio.sleep(0.005)
    running.cancel()

    assert client.versions == [1, 2, 3, 4]


def test_what_troubles_the_node_is_told_by_the_ven(ven):
    link = NodeLink(Path("light-node.sock"), next_version=lambda: 1, draw=lambda: 0.5)
    link._client = Client(refusals=0)
    live = describe.Live(line=ven.line, node=link, clock_offset_s=0.0, trouble="")
    link.status = node_status()
    assert describe.status(ven.settings, ven.state, None, now=START, live=live).trouble == ""

    link.status = node_status(troubles=("The disk is full.",))
    said = describe.status(ven.settings, ven.state, None, now=START, live=live).trouble
    assert said == "The light node says: The disk is full."


def test_a_certificate_that_ends_soon_is_told_where_nobody_renews_it(ven):
    link = NodeLink(Path("light-node.sock"), next_version=lambda: 1, draw=lambda: 0.5)
    link._client = Client(refusals=0)
    link.status = node_status()

    def told(days, renews_at=None):
        live = describe.Live(
            line=ven.line, node=link, clock_offset_s=0.0, trouble="", renews_at=renews_at
        )
        mine = Credentials(
            fingerprint="AA",
            sha256="aa",
            not_before_at=START - timedelta(days=300),
            not_after_at=START + timedelta(days=days),
        )
        return describe.status(ven.settings, ven.state, mine, now=START, live=live).trouble

    assert told(31) == told(1, renews_at=START + timedelta(hours=1)) == ""
    assert told(29).startswith("The certificate ends on 2030-02-07; get another one")
    assert told(-1).startswith("The certificate ended on 2030-01-08")


def test_a_sub_meter_that_the_node_does_not_read_is_told(make_ven):
    ven = make_ven(reports={"meter": [{"id": "attic"}]})
    link = NodeLink(Path("light-node.sock"), next_version=lambda: 1, draw=lambda: 0.5)
    link._client = Client(refusals=0)
    link.status = node_status()
    live = describe.Live(line=ven.line, node=link, clock_offset_s=0.0, trouble="")

    said = describe.status(ven.settings, ven.state, None, now=START, live=live).trouble
    assert said.startswith("[[reports.meter]] 'attic' is no meter of the light node, which reads m")


async def test_work_goes_on_after_a_disk_that_had_no_room(monkeypatch):
    monkeypatch.setattr(agent, "AFTER_FAULT_S", 0.0)
    done = []

    async def work():
        done.append(1)
        if len(done) < 3:
            async with asyncio.TaskGroup() as group:
                group.create_task(refuse())
        raise NodeUnreachable("Another fault ends it.")

    async def refuse():
        raise StateFault("The VEN's state cannot be written.")

    with pytest.raises(NodeUnreachable):
        await agent._standing(work)
    assert len(done) == 3


async def test_a_node_that_holds_caps_hears_the_vtn_and_one_that_waits_is_told_the_plan_again():
    client = Client(refusals=0)
    heard_at = START
    slept = []

    async def sleep(seconds):
        nonlocal heard_at
        slept.append(seconds)
        match len(slept):
            case 1:  # the plan is stated now
                link.status = node_status(grid_cap="normal")
            case 3:  # nothing was heard, and the failsafe cap holds
                link.status = node_status(grid_cap="failsafe")
                return
            case 5:  # heard, and stated again
                link.status = node_status(grid_cap="limited")
            case 7:
                raise NodeUnreachable("It ends.")
        heard_at += timedelta(seconds=5)

    link = NodeLink(
        Path("light-node.sock"),
        next_version=lambda: 1,
        draw=lambda: 0.5,
        sleep=sleep,
        vtn_heard_at=lambda: heard_at,
    )
    link.status = node_status(grid_cap="init")
    stated = link._plan_changed.rings

    with pytest.raises(NodeUnreachable):
        await link._pass_on_heartbeat(client)

    assert link._plan_changed.rings == stated + 2
    assert client.heartbeats == 4


async def test_a_node_without_caps_is_left_alone():
    client = Client(refusals=0)

    async def sleep(seconds):
        raise NodeUnreachable("It ends.")

    link = NodeLink(
        Path("light-node.sock"),
        next_version=lambda: 1,
        draw=lambda: 0.5,
        sleep=sleep,
        vtn_heard_at=lambda: START,
    )
    link.status = node_status()
    with pytest.raises(NodeUnreachable):
        await link._pass_on_heartbeat(client)
    assert client.heartbeats == 0
