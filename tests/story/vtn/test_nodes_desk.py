"""Nodes found among many, their charts, and edits that overwrite nobody's."""

from datetime import timedelta

import pytest

from oadr.poll import Poll
from oadr.vocabulary import ServiceName
from tests.story.vtn.utility import sha, values
from vtn.desk.grouping import seen_of
from vtn.desk.nodes import NodeOrder, NodeQuery
from vtn.desk.room import NodeState
from vtn.errors import Stale, Unknown


async def ids(house, **query):
    return [one.ven.ven_id for one in (await house.desk.find_nodes(NodeQuery(**query))).nodes]


async def test_nodes_are_found_by_words_state_and_group_and_come_in_pages(house):
    mill = await house.registered("mill")
    await house.let_in("dairy", resources=("cold-store",))
    await house.let_in("school")
    await house.desk.revoke_ven("school", by="anna")
    await house.desk.add_group("g", "North", ven_ids=["dairy"], by="anna")
    house.clock.advance(15)

    assert await ids(house, search="cold building") == ["dairy"]
    assert await ids(house, group="g") == ["dairy"]
    assert await ids(house, state=NodeState.REVOKED) == ["school"]
    assert await ids(house, state=NodeState.ONLINE) == ["mill"]
    assert await ids(house) == ["dairy", "mill", "school"]
    assert await ids(house, order=NodeOrder.STATE) == ["dairy", "mill", "school"]
    assert await ids(house, page=9, size=2) == ["school"]
    house.clock.advance(20)
    assert await ids(house, state=NodeState.SILENT) == ["mill"]
    await mill.poll()
    house.clock.advance(20)
    assert NodeState.LATE is house.desk.node("mill").state
    with pytest.raises(Unknown):
        house.desk.node("nobody")


async def test_a_chart_shows_every_value_of_a_day_and_quarter_hours_of_a_month(house):
    mill = await house.registered("mill")
    await mill.offer()
    request = next(iter((await house.desk.reports("mill")).requests))
    begin = house.clock.now().replace(minute=0, second=0, microsecond=0)
    house.clock.advance(3600)
    numbers = tuple(float(number) for number in range(450))
    await mill.update(values(request.request.report_request_id, begin, numbers))

    day = await house.desk.chart("mill", "P", begin, begin + timedelta(days=1))
    month = await house.desk.chart("mill", "P", begin, begin + timedelta(days=30))
    spark = (await house.desk.sparks(["mill", "nobody"])).get("mill")

    assert list(numbers) == list(day.values)
    assert (month.stored, len(month.at)) == (450, 2)
    assert list(month.low) == [0.0, 225.0]
    assert spark is None  # half an hour ago


async def test_who_edits_an_old_group_is_refused_and_nothing_is_changed(house):
    await house.let_in("mill")
    await house.let_in("dairy")
    group = await house.desk.add_group("g", "North", ven_ids=["mill"], by="anna")
    seen = seen_of(group)

    edited = await house.desk.edit_group("g", name="South", ven_ids=["dairy"], seen=seen, by="anna")
    with pytest.raises(Stale):
        await house.desk.edit_group("g", name="West", ven_ids=[], seen=seen, by="ben")

    assert (edited.name, edited.ven_ids) == ("South", ("dairy",))
    assert edited == await house.desk.group("g")
    assert house.desk.node("dairy").ven.groups == ("g",)
    assert house.desk.node("mill").ven.groups == ()


async def test_the_name_of_a_market_context_is_edited_by_one_at_a_time(house):
    (context,) = await house.desk.market_contexts()
    seen = seen_of(context)
    await house.desk.edit_market_context(context.uri, name="Evening", seen=seen, by="anna")

    with pytest.raises(Stale):
        await house.desk.edit_market_context(context.uri, name="Night", seen=seen, by="ben")

    assert [one.name for one in await house.desk.market_contexts()] == ["Evening"]


async def test_what_is_said_is_kept_errors_are_found_and_idle_polls_are_counted_only(house):
    mill = await house.registered("mill")
    for _ in range(3):
        await mill.poll()
    stranger = await house.let_in("other")
    stranger.certificate = sha(99)
    await stranger.say(ServiceName.POLL, Poll(ven_id="mill"), object)
    await mill.post(ServiceName.EVENT, b"<this is not XML")

    lines = await house.desk.conversation()
    wrong = await house.desk.conversation(wrong=True)
    of_mill = await house.desk.conversation(ven_id="mill", search="registration")
    whole = await house.desk.said(of_mill[-1].number)

    assert house.office.conversation.polls >= 3
    assert sorted(one.code for one in wrong) == ["406", "463"]
    assert {"", "mill"} == {one.ven_id for one in lines}
    assert all("Registration" in one.request_kind + one.reply_kind for one in of_mill)
    assert b"oadrCreatePartyRegistration" in whole.request
    assert b"oadrCreatedPartyRegistration" in whole.reply
    with pytest.raises(Unknown):
        await house.desk.said(10**6)


async def test_old_messages_fall_out_of_the_ring(house):
    await house.registered("mill")
    assert await house.desk.conversation()
    house.clock.advance(25 * 3600)

    for _ in range(31):
        await house.office.conversation.flush(house.store, house.clock.now())

    assert await house.desk.conversation() == []


async def test_of_reports_that_were_taken_few_are_kept_and_without_their_middle(house):
    mill = await house.registered("mill")
    await mill.offer()
    (request,) = (await house.desk.reports("mill")).requests
    name, begin = request.request.report_request_id, house.clock.now().replace(microsecond=0)
    house.clock.advance(3600)
    for _ in range(5):
        await mill.update(values(name, begin, tuple(range(300))))
    await mill.post(ServiceName.REPORT, b"<oadrUpdateReport")

    found = await house.desk.conversation(search="oadrUpdateReport")
    whole = await house.desk.said(found[-1].number)

    assert [one.code for one in found] == ["406", "200", "200"]
    assert house.office.conversation.left_out == 3
    assert 4096 < len(whole.request) < 4200 < whole.request_bytes
    assert await house.desk.written_before_s("mill") == pytest.approx(3600, abs=1)
    assert await house.desk.written_before_s("nobody") is None
