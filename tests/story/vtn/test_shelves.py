"""Events from memory: what is told is right, and what is acknowledged is on the disk."""

import pytest

from oadr.event import DistributeEvent
from oadr.poll import Response
from oadr.report import RegisterReport
from oadr.vocabulary import OptType
from tests.story.vtn.utility import draft, utility
from vtn.store import shelves


@pytest.fixture
async def house(tmp_path, clock):
    """On SQLite: only there is a process alone with its database."""
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}", tmp_path, clock) as found:
        yield found


async def delivery(house, event):
    return (await house.desk.event(event.event_id)).deliveries["0042"]


async def test_an_event_on_the_shelf_is_told_without_asking_the_database(house, monkeypatch):
    ven = await house.registered()
    event = (await house.publish()).event
    await house.shelving.fill()
    with monkeypatch.context() as without:
        without.setattr(house.store, "write", None)
        told = (await ven.poll(DistributeEvent)).events
        await ven.poll(Response)

    assert [(one.event_id, one.modification_number) for one in told] == [(event.event_id, 0)]
    assert told[0].target.ven_ids == ("0042",)


async def test_what_went_out_is_written_down_soon(house):
    ven = await house.registered()
    event = (await house.publish()).event
    await ven.poll(DistributeEvent)
    house.clock.advance(11)
    await ven.poll(DistributeEvent)

    await house.office.handouts.flush(house.store)

    found = await delivery(house, event)
    assert (found.handed_modification, found.handed_at, found.attempts) == (
        0,
        house.clock.now(),
        2,
    )


async def test_an_answer_brings_the_hand_out_to_the_disk_with_it(house):
    ven = await house.registered()
    event = (await house.publish()).event
    at = house.clock.now()
    told = (await ven.poll(DistributeEvent)).events[0]
    house.clock.advance(1)

    assert (await ven.answer(told)).ok

    await house.restart()
    found = await delivery(house, event)
    assert (found.handed_at, found.attempts, found.acknowledged_modification) == (at, 1, 0)


async def test_who_has_answered_all_has_no_shelf_and_nothing_waits(house):
    ven = await house.registered()
    await house.publish()
    told = (await ven.poll(DistributeEvent)).events[0]
    await ven.answer(told)

    entry = house.office.directory.by_id("0042")
    assert (entry.shelf, entry.due_at) == (None, None)
    house.clock.advance(60)
    await ven.poll(Response)
    assert (await ven.answer(told, OptType.OPT_OUT)).ok  # it may change its mind
    assert (await ven.answer(told, number=1)).response_code == "450"


async def test_killed_before_a_hand_out_is_written_the_same_modification_is_told_again(house):
    ven = await house.registered()
    event = (await house.publish()).event
    first = (await ven.poll(DistributeEvent)).events[0]

    await house.restart()  # without what is only in memory, as after kill -9
    again = (await ven.poll(DistributeEvent)).events[0]
    assert again.modification_number == first.modification_number
    assert (await ven.answer(again)).ok

    record = await house.desk.event(event.event_id)
    assert record.deliveries["0042"].acknowledged_modification == 0
    assert list(record.answers) == ["0042"]


async def test_what_was_answered_is_not_told_again_after_a_kill(house):
    ven = await house.registered()
    await house.publish()
    await ven.answer((await ven.poll(DistributeEvent)).events[0])

    await house.restart()

    await ven.poll(Response)


async def test_after_a_modification_nothing_older_is_told(house):
    ven = await house.registered()
    event = (await house.publish()).event
    await ven.poll(DistributeEvent)
    await house.shelving.fill()
    await house.desk.modify_event(event.event_id, draft(house.clock.now(), value=-7.0), by="anna")

    assert house.office.directory.by_id("0042").shelf is None
    told = (await ven.poll(DistributeEvent)).events[0]
    assert told.modification_number == 1
    assert (await ven.answer(event)).response_code == "450"
    assert (await ven.answer(told)).ok
    await ven.poll(Response)


async def test_a_shelf_that_was_read_before_a_change_is_not_put_up(house, monkeypatch):
    ven = await house.registered()
    event = (await house.publish()).event
    read = shelves.bookings

    async def slowly(*arguments):
        found = await read(*arguments)
        if not changed:
            changed.append(True)
            longer = draft(house.clock.now(), value=-7.0)
            await house.desk.modify_event(event.event_id, longer, by="anna")
            house.shelving._woken.clear()  # it is not read again, either
        return found

    changed = []
    monkeypatch.setattr(shelves, "bookings", slowly)

    told = (await ven.poll(DistributeEvent)).events[0]

    assert changed
    assert told.modification_number == 1


async def test_who_registers_anew_is_told_again_what_went_out_a_moment_ago(house):
    ven = await house.registered()
    await house.publish()
    await ven.poll(DistributeEvent)

    await ven.register()
    await ven.poll(RegisterReport)

    await ven.poll(DistributeEvent)


async def test_in_doubt_the_shelf_is_not_asked(house):
    ven = await house.registered()
    event = (await house.publish()).event
    await ven.poll(DistributeEvent)
    house.clock.advance(11)
    house.office.directory.doubt()

    await ven.poll(DistributeEvent)

    assert (await delivery(house, event)).attempts == 2


async def test_in_doubt_an_answer_is_checked_by_the_database(house):
    """A modification may have been committed without anybody having heard of it."""
    ven = await house.registered()
    event = (await house.publish()).event
    told = (await ven.poll(DistributeEvent)).events[0]
    entry = house.office.directory.by_id("0042")
    kept = entry.shelf
    await house.desk.modify_event(event.event_id, draft(house.clock.now(), value=-7.0), by="anna")
    entry.shelf = kept
    house.shelving._woken.clear()
    house.office.directory.doubt()

    assert (await ven.answer(told)).response_code == "450"


async def test_a_ven_for_whom_more_than_events_waits_has_no_shelf(house):
    ven = await house.let_in()
    await ven.register()
    await house.publish()
    await house.shelving.fill()

    assert house.office.directory.by_id("0042").shelf is None
    await ven.poll(RegisterReport)
    await ven.poll(DistributeEvent)
