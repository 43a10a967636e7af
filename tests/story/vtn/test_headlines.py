"""Events in lists, and followed ones, on each of the two databases."""

from datetime import timedelta

from oadr.event import DistributeEvent
from oadr.vocabulary import EventStatus, OptType
from tests.story.vtn.utility import draft


async def test_lists_tell_how_many_an_event_is_for_and_what_they_said(house, clock):
    mill, bakery = await house.registered("mill"), await house.registered("bakery")
    await house.desk.add_group("g", "All", ven_ids=["mill", "bakery"], by="anna")
    now = clock.now().replace(microsecond=0)
    peak = await house.publish(event_id="peak", starts_at=now + timedelta(minutes=1))
    await house.publish(event_id="later", starts_at=now + timedelta(days=1))
    await house.publish(event_id="never", starts_at=now + timedelta(days=2))
    await house.desk.cancel_event("never", by="anna")
    for ven, opt in ((mill, OptType.OPT_IN), (bakery, OptType.OPT_OUT)):
        await ven.poll(DistributeEvent)
        await ven.answer(peak.event, opt)
    clock.advance(120)

    desk = house.desk
    every = await desk.headlines(limit=10)
    assert [one.event.event_id for one in every] == ["never", "later", "peak"]
    assert [(one.targeted, one.opted_in, one.opted_out) for one in every][-1] == (2, 1, 1)
    for status, ids in (
        (EventStatus.ACTIVE, ["peak"]),
        (EventStatus.FAR, ["later"]),
        (EventStatus.CANCELLED, ["never"]),
        (EventStatus.COMPLETED, []),
    ):
        found = await desk.headlines(status=status, limit=10)
        assert [one.event.event_id for one in found] == ids, status
    assert [one.event.event_id for one in await desk.going_on()] == ["later", "peak"]
    assert await desk.count_asked(["peak", "later"]) == 2
    assert [(one.group_id, one.members) for one in await desk.group_sizes()] == [("g", 2)]
    figures = await desk.report_figures(["mill", "bakery"])
    assert (figures["mill"].offers, figures["mill"].missing) == (0, 0)

    standing = desk.standing("peak")
    await standing.refresh()
    opts = {one.ven_id: one.opt for one in standing.climbers}
    assert opts == {"mill": "in", "bakery": "out"}
    record = await desk.event("peak")
    inputs = await desk.several_curtailment_inputs(record, ["mill", "bakery"])
    assert [one.ven_id for one in inputs] == ["mill", "bakery"]
    preview = await desk.preview_event(draft(clock.now(), event_id="more"))
    assert preview.ven_ids == ("bakery", "mill")
    standing.close()
