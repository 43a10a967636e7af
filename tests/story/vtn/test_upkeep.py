"""Years of operation on both databases: rollups, late values, and what may be deleted when."""

import asyncio
import random
from datetime import date, timedelta

import pytest
from sqlalchemy import delete, func, select, text

from oadr.opt import CreatedOpt, QualifiedEvent
from oadr.target import Target
from oadr.vocabulary import EventStatus
from tests.story.vtn.test_services import OPT, schedule
from tests.story.vtn.utility import utility
from vtn.blocks import BLOCK_S
from vtn.config import RetentionSettings
from vtn.errors import StoreUnavailable, Unknown
from vtn.intake import Intake
from vtn.records import Point, ReportDay, Samples
from vtn.rollups import Rollup
from vtn.store import measurements, rollups
from vtn.store.tables import BlockRow, MessageRow, ReportDayRow, RollupDueRow, RollupRow
from vtn.upkeep import SETTLED_S, Upkeep

DAY = 86_400
POINT = Point(ven_id="0042", r_id="P", unit="W")
KEEP = RetentionSettings(samples_days=10, event_days=100, rollup_days=1000, audit_days=1000)


def upkeep(house, settings=KEEP):
    async def at_once(_seconds):
        await asyncio.sleep(0)

    return Upkeep(house.store, settings, now=house.clock.now, sleep=at_once)


def quarter(house, *, ago_s=0):
    at = int(house.clock.now().timestamp()) - ago_s
    return at - at % BLOCK_S


async def store(house, starts_at, numbers, *, step_s=4, point=POINT):
    instants = tuple(starts_at + step_s * index for index in range(len(numbers)))
    given = Samples(
        point=point,
        starts_at=instants,
        values=tuple(map(float, numbers)),
        quality=("",) * len(instants),
    )
    async with house.store.write() as connection:
        await measurements.store(connection, [given])


async def kept(house, point=POINT):
    """Start of block -> its rollup."""
    async with house.store.read() as connection:
        return dict(await rollups.read(connection, point, 0, 2**40))


async def count(house, table):
    async with house.store.read() as connection:
        return await connection.scalar(select(func.count()).select_from(table))


async def test_a_block_is_rolled_up_when_it_is_over_and_settled(house, clock):
    await house.let_in()
    start = quarter(house)
    await store(house, start, [3600] * 225)

    assert await upkeep(house).roll_up() == 0
    clock.advance(BLOCK_S + SETTLED_S)
    assert await upkeep(house).roll_up() == 1
    assert await upkeep(house).roll_up() == 0

    assert await kept(house) == {
        start: Rollup(
            usable=225,
            unusable=0,
            covered_s=900,
            first=3600.0,
            last=3600.0,
            mean=3600.0,
            minimum=3600.0,
            maximum=3600.0,
            quality="",
        )
    }


async def test_values_that_come_days_later_change_the_rollup(house, clock):
    await house.let_in()
    start = quarter(house)
    await store(house, start, [100] * 100)
    clock.advance(3 * DAY)
    await upkeep(house).roll_up()
    await store(house, start + 400, [400] * 125)
    assert await count(house, RollupDueRow) == 1

    await upkeep(house).roll_up()

    found = (await kept(house))[start]
    assert (found.usable, found.maximum, found.last) == (225, 400.0, 400.0)
    assert await count(house, RollupDueRow) == 0


async def test_in_whatever_order_values_and_upkeep_come_the_rollups_are_the_same(house, clock):
    await house.let_in()
    start = quarter(house)
    clock.advance(DAY)
    pieces = [(start + 60 * index, [index] * 15) for index in range(45)]
    other = Point(ven_id="0042", r_id="Q", unit="W")
    await store(house, start, [index for index in range(45) for _ in range(15)], point=other)
    chance = random.Random(4)
    chance.shuffle(pieces)
    for at, numbers in pieces:
        await store(house, at, numbers)
        if chance.random() < 0.2:
            await upkeep(house).roll_up()
    await upkeep(house).roll_up()

    assert await kept(house) == await kept(house, other)
    assert len(await kept(house)) == 3


async def test_a_block_that_changes_while_it_is_reckoned_stays_due(house, clock):
    await house.let_in()
    start = quarter(house)
    await store(house, start, [1] * 100)
    clock.advance(DAY)
    async with house.store.read() as connection:
        ((key, packed),) = await rollups.due(
            connection, until=clock.now().timestamp(), after=None, limit=9
        )
    await store(house, start + 400, [2] * 10)

    async with house.store.write() as connection:
        outdated = Rollup(
            usable=100,
            unusable=0,
            covered_s=400,
            first=1.0,
            last=1.0,
            mean=1.0,
            minimum=1.0,
            maximum=1.0,
            quality="",
        )
        assert await rollups.put(connection, {key: (packed, outdated)}) == 0

    assert await kept(house) == {}
    await upkeep(house).roll_up()
    assert (await kept(house))[start].usable == 110


async def test_old_samples_go_and_their_rollups_stay(house, clock):
    await house.let_in()
    start = quarter(house)
    await store(house, start, [7] * 450)
    clock.advance(KEEP.samples_days * DAY + BLOCK_S + 1)
    await store(house, quarter(house, ago_s=DAY), [8] * 225)
    await upkeep(house).roll_up()

    assert await upkeep(house).prune() == 2

    assert await count(house, BlockRow) == 1
    assert [one.mean for one in (await kept(house)).values()] == [7.0, 7.0, 8.0]


async def test_nothing_is_deleted_before_it_is_rolled_up(house, clock):
    """As it is with blocks from before there were rollups."""
    await house.let_in()
    await store(house, quarter(house), [7] * 225)
    clock.advance(KEEP.samples_days * DAY + BLOCK_S + 1)
    async with house.store.write() as connection:
        await connection.execute(delete(RollupDueRow))

    assert await upkeep(house).prune() == 0
    assert await count(house, BlockRow) == 1

    await upkeep(house).roll_up()
    assert await upkeep(house).prune() == 1
    assert len(await kept(house)) == 1


async def test_what_changed_again_is_not_deleted(house, clock):
    await house.let_in()
    start = quarter(house)
    await store(house, start, [7] * 100)
    clock.advance(KEEP.samples_days * DAY + BLOCK_S + 1)
    await upkeep(house).roll_up()
    async with house.store.read() as connection:
        ((number, _),) = await rollups.series(connection)
    await store(house, start + 400, [8] * 10)

    async with house.store.write() as connection:
        await rollups.expire(connection, [(number, start)])

    assert await count(house, BlockRow) == 1


async def test_a_late_rest_does_not_replace_the_rollup_of_the_whole(house, clock):
    await house.let_in()
    start = quarter(house)
    await store(house, start, [7] * 225)
    clock.advance(KEEP.samples_days * DAY + BLOCK_S + 1)
    await upkeep(house).roll_up()
    await upkeep(house).prune()
    await store(house, start + 4, [9] * 3)

    await upkeep(house).roll_up()

    assert (await kept(house))[start].mean == 7.0
    assert await upkeep(house).prune() == 1
    assert (await kept(house))[start].usable == 225


async def test_samples_around_an_event_stay_longer(house, clock):
    await house.registered()
    await house.registered("0043")
    event = (await house.publish(target=target("0042"))).event
    bystander = Point(ven_id="0043", r_id="P", unit="W")
    at = int(event.starts_at.timestamp())
    during = at - at % BLOCK_S
    for point in (POINT, bystander):
        await store(house, during, [7] * 225, point=point)
        await store(house, during - DAY, [7] * 225, point=point)
    clock.advance(KEEP.samples_days * DAY + DAY)
    await upkeep(house).roll_up()

    await upkeep(house).prune()

    async with house.store.read() as connection:
        left = (await connection.execute(select(BlockRow.series, BlockRow.starts_at))).all()
        names = dict(await rollups.series(connection))
    assert [(names[number], start) for number, start in left] == [("0042", during)]

    clock.advance(KEEP.event_days * DAY)
    await upkeep(house).prune()
    assert await count(house, BlockRow) == 0
    assert (await house.desk.event(event.event_id)).event.status is EventStatus.COMPLETED


def target(ven_id):
    return Target(ven_ids=(ven_id,))


async def test_operators_read_quarter_hours_whether_rolled_up_or_not_and_what_is_gone(house, clock):
    await house.let_in()
    start = quarter(house)
    first = clock.now()
    await store(house, start, [7] * 225)
    clock.advance(KEEP.samples_days * DAY + DAY)
    await upkeep(house).roll_up()
    await upkeep(house).prune()
    now = quarter(house)
    await store(house, now, [9] * 10)
    span = ("0042", "P", first - timedelta(minutes=15), clock.now() + timedelta(hours=1))

    found = await house.desk.rollups(*span)

    assert found.starts_at == (start, now)
    assert [(one.mean, one.covered_s) for one in found.rollups] == [(7.0, 900), (9.0, 40)]
    assert await house.desk.without_samples(*span) == 1
    assert list((await house.desk.measurements(*span)).values) == [9.0] * 10
    with pytest.raises(Unknown, match="has reported nothing"):
        await house.desk.rollups("0042", "Q", *span[2:])


async def test_for_ever_is_for_ever(house, clock):
    await house.let_in()
    await store(house, quarter(house), [7] * 225)
    clock.advance(20 * 365 * DAY)
    keep = RetentionSettings(samples_days=0, event_days=0, rollup_days=0, audit_days=0)
    await upkeep(house, keep).roll_up()

    assert await upkeep(house, keep).prune() == 0
    assert await count(house, BlockRow) == 1
    assert await house.desk.audit()


async def test_rollups_and_audit_lines_end_as_well(house, clock):
    await house.let_in()
    await store(house, quarter(house), [7] * 225)
    clock.advance(KEEP.rollup_days * DAY + DAY)
    await upkeep(house).roll_up()

    await upkeep(house).prune()

    assert await count(house, RollupRow) == 0
    assert await house.desk.audit() == []


async def test_schedules_end_that_were_replaced_long_ago_and_answers_to_events_stay(house, clock):
    ven = await house.registered()
    event = (await house.publish()).event
    qualified = QualifiedEvent(event_id=event.event_id, modification_number=0)
    for _ in range(2):  # the first is replaced
        await ven.say(OPT, schedule(house), CreatedOpt)
        await ven.say(OPT, schedule(house, schedule=(), event=qualified), CreatedOpt)
    clock.advance(KEEP.samples_days * DAY - 1)
    await upkeep(house).prune()
    assert len(await house.desk.opts("0042", ended=True)) == 4
    clock.advance(2)

    await upkeep(house).prune()

    left = await house.desk.opts("0042", ended=True)
    assert [(one.opt.event is None, one.ended_by) for one in left] == [
        (False, ""),
        (True, ""),
        (False, "superseded"),
    ]


async def test_nothing_waits_for_a_revoked_ven(house):
    await house.registered()
    await house.desk.request_reregistration("0042", by="anna")
    await house.desk.revoke_ven("0042", by="anna")

    await upkeep(house).prune()

    assert await count(house, MessageRow) == 0


async def test_a_full_disk_is_relieved_by_deleting(tmp_path, clock):
    """SQLite refuses to grow; deleting works all the same and makes room for what is new."""
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'full.db'}", tmp_path, clock) as house:
        await house.let_in()
        start = quarter(house)
        await store(house, start, range(20_000))
        clock.advance(KEEP.samples_days * DAY + DAY)
        await upkeep(house).roll_up()
        async with house.store.write() as connection:
            pages = await connection.scalar(text("PRAGMA page_count"))
            await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        now = quarter(house)
        with pytest.raises(StoreUnavailable, match="full"):
            await store(house, now, range(20_000))

        assert await upkeep(house).prune() > 0

        await store(house, now, range(10_000))


async def test_reports_are_counted_by_day(house, clock):
    await house.let_in()
    intake = Intake()
    intake.count("0042", 15, clock.now())
    intake.count("0042", 15, clock.now())
    await intake.write(house.store)
    intake.count("0042", 15, clock.now())
    intake.count("0042", 1, clock.now() + timedelta(days=1))
    await intake.write(house.store)
    await intake.write(house.store)

    assert await house.desk.report_days("0042") == [
        ReportDay(day=date(2030, 1, 10), messages=1, samples=1),
        ReportDay(day=date(2030, 1, 9), messages=3, samples=45),
    ]


async def test_counts_that_cannot_be_written_are_not_lost(house, clock):
    intake = Intake()
    intake.count("0042", 15, clock.now())
    with pytest.raises(Exception, match="same moment"):
        await intake.write(house.store)  # there is no such VEN yet
    await house.let_in()

    await intake.write(house.store)

    assert await count(house, ReportDayRow) == 1
    clock.advance((KEEP.audit_days + 1) * DAY)
    await upkeep(house).prune()
    assert await count(house, ReportDayRow) == 0


class Hours:
    """The two clocks of a VTN whose hours pass in a moment; after the last, it is stopped."""

    def __init__(self, house, hours, *, jumps):
        self._house, self._left, self._jumps = house, hours, dict(jumps)
        self.passed = 0
        self._minutes = 0

    def monotonic(self):
        return 60.0 * self._minutes

    async def sleep(self, seconds):
        if seconds < 1:  # between two slices
            return
        self._minutes += 10
        self._house.clock.advance(600)
        if self._minutes % 60 == 0:
            self.passed += 1
            self._house.clock.advance(self._jumps.get(self.passed, 0))
        if self.passed == self._left:
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("hours", "jumps", "left"),
    [
        (5, {}, 1),
        (7, {}, 0),
        (9, {4: 20 * DAY}, 1),
        (9, {4: 20 * DAY, 5: -20 * DAY}, 1),
        (11, {4: 20 * DAY}, 0),
    ],
)
async def test_nothing_is_deleted_before_the_clock_has_gone_steadily_for_six_hours(
    house, hours, jumps, left
):
    await house.let_in()
    await store(house, quarter(house, ago_s=(2 if jumps else 11) * DAY), [1.0] * 225)
    served = Hours(house, hours, jumps=jumps)
    kept_up = Upkeep(
        house.store, KEEP, now=house.clock.now, monotonic=served.monotonic, sleep=served.sleep
    )

    with pytest.raises(asyncio.CancelledError):
        await kept_up.run()

    assert served.passed == hours
    assert await count(house, BlockRow) == left
