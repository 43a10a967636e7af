"""An event at very many VENs, followed by who was heard of, stands as it does when read whole."""

import asyncio
import dataclasses
import re
from datetime import timedelta

import pytest

from oadr.target import Target
from tests.story.vtn.test_console import browser, database, first, house, running
from tests.story.vtn.utility import draft
from vtn.accounts import Role
from vtn.console import board
from vtn.records import Point, Samples
from vtn.store import measurements

__all__ = ["database", "house"]

GOOD = "Quality Good"


async def said(house, ven_id, at, *, baseline, deviation, effect=None):
    """One minute of a node's curtailment report."""
    lines = [("B", "baseline", "W", baseline), ("D", "deviation", "W", deviation)]
    if effect is not None:
        lines.append(("E", "x-effect", "", effect))
    async with house.store.write() as connection:
        await measurements.store(
            connection,
            [
                Samples(
                    point=Point(
                        ven_id=ven_id,
                        r_id=r_id,
                        report_name="x-CURTAILMENT",
                        report_type=kind,
                        unit=unit,
                    ),
                    starts_at=(at,),
                    values=(value,),
                    quality=(GOOD,),
                )
                for r_id, kind, unit, value in lines
            ],
        )


def heard(house, *ven_ids):
    for ven_id in ven_ids:
        house.office.directory.touch(house.office.directory.by_id(ven_id), house.clock.now())


def told(climbers):
    return [
        (one.ven_id, one.opt, one.rank, one.heard.delivered_w, [rung.state for rung in one.rungs])
        for one in climbers
    ]


async def test_followed_it_stands_as_it_does_when_it_is_read_whole(house, clock):
    event_id = await running(house, clock)
    standing = house.desk.standing(event_id)

    await standing.refresh()

    record = await house.desk.event(event_id)
    assert told(standing.climbers) == told(await house.desk.ladder(record))
    begin, now = record.event.starts_at.timestamp(), clock.now().timestamp()
    read = await house.desk.power_of(
        record, record.event.starts_at.replace(second=0), clock.now(), step_s=60.0
    )
    followed = standing.power(begin - begin % 60, now)
    assert followed.starts_at == read.starts_at
    assert followed.delivered_w == read.delivered_w
    assert followed.ordered_w == read.ordered_w


async def test_only_who_was_heard_of_is_read_again(house, clock):
    event_id = await running(house, clock)
    standing = house.desk.standing(event_id)
    await standing.refresh()
    clock.advance(60)
    await standing.refresh()
    minute = int(clock.now().timestamp()) - 60
    await said(house, "mill", minute, baseline=100_000.0, deviation=-10_000.0, effect=0.5)

    await standing.refresh()
    unheard = next(one for one in standing.climbers if one.ven_id == "mill")
    clock.advance(2)
    heard(house, "mill")
    await standing.refresh()

    found = next(one for one in standing.climbers if one.ven_id == "mill")
    assert unheard.heard.delivered_w == 39_000.0
    assert (found.heard.delivered_w, found.heard.effect) == (10_000.0, 0.5)
    assert found.remark == "delivers hardly anything"
    assert "in part" in [one.note for one in found.rungs]


async def test_a_value_that_comes_twice_counts_once(house, clock):
    event_id = await running(house, clock)
    standing = house.desk.standing(event_id)
    await standing.refresh()
    clock.advance(60)
    minute = int(clock.now().timestamp()) // 60 * 60
    for deviation in (-10_000.0, -30_000.0):
        await said(house, "mill", minute, baseline=100_000.0, deviation=deviation)
        clock.advance(2)
        heard(house, "mill")
        await standing.refresh()

    assert standing.power(minute, minute + 60).delivered_w == [30_000.0]


async def test_an_event_for_others_than_before_is_followed_at_these(house, clock):
    event_id = await running(house, clock)
    await house.registered("dairy")
    standing = house.desk.standing(event_id)
    await standing.refresh()
    event = (await house.desk.event(event_id)).event

    await house.desk.modify_event(
        event_id, dataclasses.replace(event, target=Target(ven_ids=("mill", "dairy"))), by="anna"
    )
    await standing.refresh()

    assert sorted(one.ven_id for one in standing.climbers) == ["dairy", "mill"]


async def test_what_was_not_followed_for_long_is_to_be_added_up_anew(house, clock):
    event_id = await running(house, clock)
    standing = house.desk.standing(event_id)
    await standing.refresh()
    assert not standing.is_old

    clock.advance(15 * 60)
    await standing.refresh()

    assert standing.is_old
    standing.close()


async def test_when_the_vtn_stops_nothing_is_read_any_more(house, clock, monkeypatch):
    monkeypatch.setattr(board, "FINE_NODES", 0)
    event_id = await running(house, clock)
    found = board.Board(house.desk, clock.now)
    headline = await house.desk.headline(event_id)
    before = asyncio.all_tasks()
    await found.course(headline, within_s=0.0)
    assert asyncio.all_tasks() > before

    await found.close()

    assert asyncio.all_tasks() == before


async def test_what_was_begun_before_it_was_asked_for_is_looked_at_once_more(house, clock):
    kept = board.Board(house.desk, clock.now, monotonic=clock.monotonic)
    asked = kept.moment()
    assert (await kept.now()).coming == ()
    assert not kept.is_behind(asked, "now")
    await house.let_in("mill")
    await house.publish()

    clock.advance(0.5)  # a page is told of it, and looks
    asked = kept.moment()
    assert (await kept.now()).coming == ()
    assert kept.is_behind(asked, "now")

    clock.advance(1.0)  # so it looks again
    asked = kept.moment()
    assert len((await kept.now()).coming) == 1
    assert not kept.is_behind(asked, "now")


async def test_a_page_that_shows_what_was_kept_says_so_to_its_script(house, monkeypatch):
    client = await browser(house, Role.VIEWER)
    for behind in (True, False):
        monkeypatch.setattr(board.Board, "is_behind", lambda *_, behind=behind: behind)
        page = await client.get("/")
        assert (re.search(r"<body[^>]* data-again>", page.text) is not None) is behind


@pytest.mark.parametrize("fine_nodes", [40, 0], ids=["read whole", "followed"])
async def test_the_pages_say_the_same_either_way(house, clock, monkeypatch, fine_nodes):
    monkeypatch.setattr(board, "FINE_NODES", fine_nodes)
    event_id = await running(house, clock)
    client = await browser(house, Role.VIEWER)

    event = await client.get(f"/events/{event_id}")
    now = await client.get("/")

    assert first(event) == "Peak Tuesday: 20 min left, 98 % delivered, 0 nodes late"
    assert first(now) == "40.0 kW ordered, 39.0 kW delivered (98 %) by 1 of 1 node"
    assert "data-again" not in event.text


async def test_lists_count_whom_an_event_is_for_and_what_they_answered(house, clock):
    event_id = await running(house, clock)
    tomorrow = draft(clock.now(), starts_at=clock.now() + timedelta(days=1))
    await house.desk.publish_event(tomorrow, by="anna")

    coming, active = await house.desk.headlines(limit=10)

    assert (coming.targeted, coming.opted_in, coming.opted_out) == (2, 0, 0)
    assert active.event.event_id == event_id
    assert (active.targeted, active.opted_in, active.opted_out) == (2, 1, 1)
    assert [one.event.event_id for one in await house.desk.headlines(skip=1, limit=1)] == [event_id]
    assert await house.desk.count_asked([coming.event.event_id, event_id]) == 2
