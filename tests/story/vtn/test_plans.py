"""A second person, templates, ending early, the emergency stop, and requests that come twice."""

import dataclasses
from datetime import timedelta

import msgspec
import pytest
from litestar.testing import AsyncTestClient

from oadr.vocabulary import EventStatus
from tests.story.vtn.utility import draft, utility
from vtn.credential import create_token, read_token
from vtn.errors import Conflict, Forbidden, Invalid, InvalidEvent, NeedsApproval, Stale, Unknown
from vtn.operations import make_app
from vtn.orders import EventOrder, SignalOrder
from vtn.orders import draft as drafted
from vtn.records import ProposalState, Repeat
from vtn.vitals import Vitals

ORDER = EventOrder(
    signals=(SignalOrder(name="LOAD_DISPATCH", type="delta", unit="kW", value=-200),),
    duration="1h",
    start="now+10m",
    everyone=True,
)


def wanting_approval(house, **operator):
    changed = msgspec.structs.replace(house.settings.operator, **operator)
    settings = msgspec.structs.replace(house.settings, operator=changed)
    house.desk._office = dataclasses.replace(house.office, settings=settings)
    return house


def of(house, order=ORDER, **changes):
    order = msgspec.structs.replace(order, **changes)
    now = house.clock.now()
    return drafted(order, now=now, market_context="http://utility.example/peak")


async def test_where_a_second_person_is_wanted_nobody_publishes_alone(house):
    await house.registered()
    desk = wanting_approval(house, approval=True).desk
    with pytest.raises(NeedsApproval):
        await desk.publish_event(of(house), by="anna")
    proposal = await desk.propose_event(of(house, event_id="peak"), by="anna")
    assert await desk.events() == []
    assert [one.proposal_id for one in await desk.proposals()] == [proposal.proposal_id]

    with pytest.raises(Forbidden, match="yourself"):
        await desk.approve(proposal.proposal_id, by="anna")
    record = await desk.approve(proposal.proposal_id, by="berta")
    assert (record.event.event_id, record.published_by) == ("peak", "anna")
    assert await desk.proposals() == []
    with pytest.raises(Conflict, match="approved by berta"):
        await desk.approve(proposal.proposal_id, by="carla")
    acts = [(one.actor, one.act) for one in await desk.audit(subject="event:peak")]
    assert acts == [
        ("operator:anna", "publish event"),
        ("operator:berta", "approve event"),
        ("operator:anna", "propose event"),
    ]


async def test_a_modification_waits_too_and_is_refused_where_the_event_has_moved_on(house, clock):
    await house.registered()
    desk = house.desk
    record = await desk.publish_event(of(house, event_id="peak"), by="anna")
    wanting_approval(house, approval=True)
    longer = dataclasses.replace(record.event, priority=3)
    with pytest.raises(NeedsApproval):
        await desk.modify_event("peak", longer, by="anna")
    first = await desk.propose_event(longer, modifies=0, by="anna")
    second = await desk.propose_event(longer, modifies=0, by="anna")
    assert (await desk.approve(first.proposal_id, by="berta")).event.priority == 3
    with pytest.raises(Conflict, match="somebody else changed it"):
        await desk.approve(second.proposal_id, by="berta")
    declined = await desk.decline(second.proposal_id, remark="too late", by="berta")
    assert (declined.state, declined.remark) == (ProposalState.DECLINED, "too late")
    await desk.cancel_event("peak", by="anna")  # needs nobody else


async def test_above_a_limit_or_where_no_power_is_named_a_second_person_is_wanted(house):
    await house.registered("mill")
    await house.let_in("hq")
    desk = wanting_approval(house, approval_above_mw=0.4).desk
    assert not desk.needs_approval(of(house))  # two VENs of 200 kW each
    more = SignalOrder(name="LOAD_DISPATCH", type="delta", unit="kW", value=-201)
    assert desk.needs_approval(of(house, signals=(more,)))
    assert not desk.needs_approval(of(house, signals=(more,), everyone=False, vens=("hq",)))
    level = SignalOrder(name="SIMPLE", type="level", value=1)
    assert desk.needs_approval(of(house, signals=(level,)))


async def test_an_event_that_is_ended_early_keeps_what_it_asked_and_asks_no_more(house, clock):
    await house.registered()
    steps = draft(clock.now(), starts_at=clock.now())
    record = await house.desk.publish_event(steps, by="anna")
    event_id = record.event.event_id
    clock.advance(61)
    ended = await house.desk.end_event(event_id, by="anna")
    assert ended.event.ends_at - ended.event.starts_at == timedelta(seconds=62)
    clock.advance(2)
    assert (await house.desk.event(event_id)).event.status is EventStatus.COMPLETED
    with pytest.raises(InvalidEvent, match="only an active one"):
        await house.desk.end_event(event_id, by="anna")


async def test_the_emergency_stop_cancels_everything_that_is_not_over_or_nothing(house, clock):
    await house.registered()
    for event_id, start in (("one", "now+10m"), ("two", "now+3h"), ("three", "now+6h")):
        await house.desk.publish_event(of(house, event_id=event_id, start=start), by="anna")
    await house.desk.cancel_event("three", by="anna")
    with pytest.raises(Invalid, match="STOP"):
        await house.desk.stop_all(word="stop", by="anna")
    assert sorted(await house.desk.stop_all(word="STOP", by="anna")) == ["one", "two"]
    statuses = {one.event.status for one in await house.desk.events()}
    assert statuses == {EventStatus.CANCELLED}
    assert await house.desk.stop_all(word="STOP", by="anna") == []


async def test_the_same_request_again_publishes_once_and_another_under_its_key_nothing(
    house, clock
):
    await house.registered()
    desk = house.desk
    repeat = Repeat(key="k1", body_sha256="a")
    first = await desk.publish_event(of(house), repeat=repeat, by="anna")
    again = await desk.publish_event(of(house), repeat=repeat, by="anna")
    assert again.event.event_id == first.event.event_id
    assert len(await desk.events()) == 1
    with pytest.raises(Invalid, match="another body"):
        await desk.publish_event(of(house), repeat=Repeat(key="k1", body_sha256="b"), by="anna")
    with pytest.raises(Conflict, match="overlaps"):  # another person's k1 is another key
        await desk.publish_event(of(house), repeat=repeat, by="berta")


async def test_a_template_is_kept_as_it_was_ordered_and_nobody_overwrites_anothers(house):
    desk = house.desk
    first = await desk.put_template("Heat", ORDER, expected=0, by="anna")
    assert (await desk.template("Heat")).order == ORDER
    with pytest.raises(Stale):
        await desk.put_template("Heat", ORDER, expected=0, by="berta")
    second = await desk.put_template("Heat", ORDER, expected=first.version, by="berta")
    assert [(one.name, one.version) for one in await desk.templates()] == [("Heat", second.version)]
    await desk.drop_template("Heat", by="anna")
    with pytest.raises(Unknown):
        await desk.template("Heat")


# --- through the API ------------------------------------------------------------------------------


@pytest.fixture
async def api(tmp_path, clock):
    """(the VTN, a client of its operators' listener with the token)."""
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}", tmp_path, clock) as house:
        await house.registered("mill")
        create_token(house.settings.operator.token_file)
        token = read_token(house.settings.operator.token_file)
        app = make_app(house.desk, house.settings, Vitals(house.office, version=""), now=clock.now)
        async with AsyncTestClient(app) as client:
            client.headers.update({"Authorization": f"Bearer {token}"})
            yield house, client


def body(**changes):
    return msgspec.to_builtins(msgspec.structs.replace(ORDER, **changes))


async def test_two_operators_cannot_overwrite_each_other(api):
    _, client = api
    made = await client.post("/api/v1/events", json=body(event_id="peak"))
    seen = {"If-Match": made.headers["etag"]}
    change = {"priority": 1}
    answers = [
        await client.patch("/api/v1/events/peak", json=change),
        await client.patch("/api/v1/events/peak", json=change, headers=seen),
        await client.patch("/api/v1/events/peak", json=change, headers=seen),
        await client.patch("/api/v1/events/peak", json={**change, "expected_modification": 0}),
        await client.post("/api/v1/events/peak/cancel", headers=seen),
    ]
    assert [one.status_code for one in answers] == [428, 200, 412, 409, 409]
    assert {one.headers["content-type"] for one in answers if one.status_code > 399} == {
        "application/problem+json"
    }
    assert answers[1].headers["etag"] == '"1"'


async def test_a_publication_with_a_key_is_answered_alike_when_it_comes_again(api):
    _, client = api
    key = {"Idempotency-Key": "0001"}
    first = await client.post("/api/v1/events", json=body(), headers=key)
    again = await client.post("/api/v1/events", json=body(), headers=key)
    other = await client.post("/api/v1/events", json=body(priority=1), headers=key)
    assert [one.status_code for one in (first, again, other)] == [201, 201, 422]
    assert first.json() == again.json()


async def test_what_waits_for_a_second_person_is_answered_202_and_no_token_approves_it(api):
    house, client = api
    wanting_approval(house, approval=True)
    made = await client.post("/api/v1/events", json=body(event_id="peak"))
    assert (made.status_code, made.json()["state"]) == (202, "awaiting approval")
    place = f"/api/v1/proposals/{made.json()['proposal_id']}"
    assert (await client.post(f"{place}/approve")).status_code == 403
    assert (await client.get("/api/v1/proposals")).json()[0]["event_id"] == "peak"
    assert (await client.post(f"{place}/decline", json={})).status_code == 200
    assert (await client.get("/api/v1/proposals")).json() == []
