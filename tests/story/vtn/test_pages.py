"""Lists that come page by page, edits that overwrite nobody's, and refusals for who has asked."""

from datetime import timedelta

import pytest
from litestar.testing import AsyncTestClient

from oadr.report import ReportRequest, SpecifierPayload
from oadr.target import Target
from oadr.vocabulary import EventStatus
from tests.story.vtn.test_accounts import accounts_of, from_a_page
from tests.story.vtn.utility import CONTEXT, draft, utility
from vtn.accounts import Role
from vtn.accounts.accounts import Accounts
from vtn.console.door import routers, templates
from vtn.console.shell import refusals
from vtn.credential import create_token, read_token
from vtn.errors import Unknown
from vtn.operations import make_app
from vtn.orders import EventOrder, SignalOrder
from vtn.records import (
    EnrolmentCode,
    Point,
    Proposal,
    ProposalState,
    RequestRecord,
    RequestState,
    Samples,
)
from vtn.store import codes, measurements, plans, reports
from vtn.vitals import Vitals

ORDER = EventOrder(signals=(SignalOrder(name="SIMPLE", type="level", value=1),), duration="1h")
PROGRAM = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def everything(search, key, after, *, two=2):
    """The keys of a whole list, two at a time; what comes between pages must not matter."""
    found, place = [], after
    while page := await search(after=place, limit=two):
        assert len(page) <= two
        found += [key(one) for one in page]
        place = found[-1]
    return found


async def several(house):
    """Five of each: two events, proposals and codes of the same instant among them."""
    now = house.clock.now()
    for number in range(5):
        name = f"n{number}"
        await house.let_in(name, resources=())
        await house.desk.add_group(name, name, ven_ids=[name], by="anna")
        await house.desk.add_market_context(f"http://utility.example/{name}", name, by="anna")
        await house.desk.put_template(name, ORDER, expected=0, by="anna")
        at = now + timedelta(hours=1 + number // 2)
        event = draft(now, event_id=name, starts_at=at, target=Target(ven_ids=(name,)))
        await house.desk.publish_event(event, by="anna")
        made_at = now + timedelta(seconds=number // 2)
        async with house.store.write() as connection:
            await plans.propose(
                connection,
                Proposal(
                    proposal_id=name,
                    event=event,
                    expected_modification=None,
                    state=ProposalState.AWAITING,
                    proposed_at=made_at,
                    proposed_by="anna",
                ),
            )
            await codes.add(
                connection,
                EnrolmentCode(
                    code_id=name,
                    ven_id=name,
                    name=name,
                    resources=(),
                    groups=(),
                    made_at=made_at,
                    made_by="anna",
                    expires_at=made_at,
                    secret_sha256="0",
                ),
            )
            asked = ReportRequest(
                report_request_id=name,
                report_specifier_id="usage",
                granularity=timedelta(0),
                report_back=timedelta(0),
                payloads=(SpecifierPayload(r_id="P"),),
            )
            await reports.ask(
                connection,
                RequestRecord(
                    ven_id="n0",
                    request=asked,
                    report_name="TELEMETRY_USAGE",
                    state=RequestState.ASKED,
                    asked_at=made_at,
                    asked_by="anna",
                ),
            )
            for facet in ("", "online"):
                point = Point(ven_id="n0", r_id=f"P{number}", facet=facet)
                one = Samples(point=point, starts_at=[900], values=(1.0,), quality=("",))
                await measurements.store(connection, [one])


async def test_each_list_comes_in_pages_and_each_of_it_once(house, clock):
    await several(house)
    accounts = accounts_of(house, clock)
    desk, names = house.desk, [f"n{number}" for number in range(5)]
    for name in names:
        await accounts.add_user(name, [Role.VIEWER], by="anna")

    assert names == await everything(desk.vens, lambda one: one.ven_id, "")
    assert names == await everything(desk.groups, lambda one: one.group_id, "")
    assert names == await everything(desk.templates, lambda one: one.name, "")
    assert names == await everything(accounts.users, lambda one: one.name, "")
    uris = sorted([CONTEXT, *(f"http://utility.example/{name}" for name in names)])
    assert uris == sorted(await everything(desk.market_contexts, lambda one: one.uri, ""))
    assert await everything(desk.events, lambda one: one.event.event_id, None) == [
        "n4",
        "n2",
        "n3",
        "n0",
        "n1",
    ]
    latest = ["n4", "n3", "n2", "n1", "n0"]
    assert latest == await everything(desk.proposals, lambda one: one.proposal_id, None)
    assert latest == await everything(desk.codes, lambda one: one.code_id, None)
    points = [(f"P{number}", facet) for number in range(5) for facet in ("", "online")]
    assert points == await everything(
        lambda **more: desk.points("n0", **more), lambda one: (one.r_id, one.facet), None
    )

    async def requests(**more):
        return (await desk.reports("n0", **more)).requests

    assert names == await everything(requests, lambda one: one.request.report_request_id, None)
    assert [one.ven_ids for one in await desk.groups(after="n2", limit=1)] == [("n3",)]


async def test_completed_events_are_found_behind_many_that_are_not(house, clock):
    await house.let_in("a")
    past = (await house.publish()).event.event_id
    clock.advance(3600)
    for hours in range(1, 5):
        await house.publish(starts_at=clock.now() + timedelta(hours=hours))
    found = await house.desk.events(status=EventStatus.COMPLETED, limit=1)
    assert [one.event.event_id for one in found] == [past]
    with pytest.raises(Unknown, match="nothing"):
        await house.desk.events(after="nothing")


@pytest.fixture
async def api(tmp_path, clock):
    """(the VTN, a client of its operators' listener that has the token)."""
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}", tmp_path, clock) as house:
        token_file = house.settings.operator.token_file
        create_token(token_file)
        app = make_app(
            house.desk,
            house.settings,
            Vitals(house.office, version=""),
            accounts=Accounts(house.office, secure=False),
            console=routers(house.desk, clock.now),
            templates=templates(),
            pages=refusals(clock.now),
            now=clock.now,
        )
        async with AsyncTestClient(app) as client:
            house.bearer = {"Authorization": f"Bearer {read_token(token_file)}"}
            yield house, client


async def test_the_link_of_each_list_leads_through_all_of_it(api):
    house, client = api
    await several(house)
    for name in [f"n{number}" for number in range(5)]:
        body = {"name": name, "roles": ["viewer"]}
        answer = await client.post("/api/v1/users", json=body, headers=house.bearer)
        assert answer.status_code == 201
    for place, count in {
        "vens": 5,
        "vens?group=n1": 1,
        "groups": 5,
        "market-contexts": 6,
        "templates": 5,
        "users": 5,
        "events": 5,
        "events?status=far": 5,
        "proposals": 5,
        "enrolment-codes": 5,
        "points?ven=n0": 10,
    }.items():
        url = f"/api/v1/{place}{'&' if '?' in place else '?'}limit=2"
        found = []
        while url:
            answer = await client.get(url, headers=house.bearer)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()) <= 2
            found += [str(one) for one in answer.json()]
            url = answer.links.get("next", {}).get("url")
        assert (len(found), len(set(found))) == (count, count), place


async def test_what_was_asked_of_a_ven_comes_in_pages_beside_what_it_offers(api):
    house, client = api
    await several(house)
    url, found = "/api/v1/vens/n0/reports?limit=2", []
    while url:
        answer = await client.get(url, headers=house.bearer)
        assert len(answer.json()["requests"]) <= 2
        found += [one["report_request_id"] for one in answer.json()["requests"]]
        url = answer.links.get("next", {}).get("url")
    assert found == [f"n{number}" for number in range(5)]
    gone = await client.get("/api/v1/vens/n0/reports?cursor=gone", headers=house.bearer)
    nobody = await client.get("/api/v1/vens/nobody/reports?cursor=n1", headers=house.bearer)
    assert (gone.status_code, nobody.status_code) == (422, 404)


async def test_a_place_that_is_lost_is_told_so(api):
    house, client = api
    for place in ("events", "proposals", "enrolment-codes"):
        answer = await client.get(f"/api/v1/{place}?cursor=gone", headers=house.bearer)
        assert (answer.status_code, "begin again" in answer.text) == (422, True)
    answer = await client.get("/api/v1/points?ven=n0&cursor=gone", headers=house.bearer)
    assert answer.status_code == 422


async def test_a_group_or_market_context_is_edited_by_who_has_seen_how_it_is(api):
    house, client = api
    await several(house)
    for path, body, edit in (
        ("groups/n1", {"name": "North", "vens": ["n2", "n3"]}, client.put),
        ("market-context?uri=" + CONTEXT, {"name": "Summer"}, client.patch),
    ):
        place = f"/api/v1/{path}"
        seen = {"If-Match": (await client.get(place, headers=house.bearer)).headers["etag"]}
        assert (await edit(place, json=body, headers=house.bearer)).status_code == 428
        wrong = house.bearer | {"If-Match": '"3"'}
        assert (await edit(place, json=body, headers=wrong)).status_code == 422
        done = await edit(place, json=body, headers=house.bearer | seen)
        assert done.status_code == 200, done.text
        assert done.json()["name"] == body["name"]
        assert done.headers["etag"] != seen["If-Match"]
        stale = await edit(place, json=body, headers=house.bearer | seen)
        assert stale.status_code == 412
    assert (await house.desk.group("n1")).ven_ids == ("n2", "n3")
    gone = await client.get("/api/v1/market-context?uri=x", headers=house.bearer)
    assert gone.status_code == 404


async def test_a_user_is_reset_only_as_they_were_seen(api):
    house, client = api
    for name in ("anna", "root"):
        body = {"name": name, "roles": ["admin"]}
        await client.post("/api/v1/users", json=body, headers=house.bearer)
    shown = await client.get("/api/v1/users/anna", headers=house.bearer)
    seen = house.bearer | {"If-Match": shown.headers["etag"]}
    await client.patch("/api/v1/users/anna", json={"roles": ["viewer"]}, headers=seen)
    assert (await client.post("/api/v1/users/anna/reset", headers=seen)).status_code == 412


async def test_browsers_are_refused_by_a_page_and_programs_by_a_problem(api):
    house, client = api
    for headers, kind in ((BROWSER, "text/html"), (PROGRAM, "application/problem+json")):
        for path in ("/no-such-page", "/events/nothing", "/users/nobody"):
            answer = await client.get(path, headers=headers | house.bearer)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"].partition(";")[0] == kind, path
        form = await client.post("/stop", data={"word": "STOP"}, headers=headers)
        assert form.status_code == 403
        assert form.headers["content-type"].partition(";")[0] == kind
    strict = (await client.get("/no-such-page", headers=BROWSER)).headers
    assert "default-src 'none'" in strict["content-security-policy"]
    unasked = await client.get("/no-such-page")
    assert unasked.headers["content-type"] == "application/problem+json"
    for path in ("/api/v1/vens/nothing", "/api/v1/no-such-thing"):
        answer = await client.get(path, headers=BROWSER | house.bearer)
        assert answer.headers["content-type"] == "application/problem+json"
    outside = await client.get("/events", headers=PROGRAM, follow_redirects=False)
    assert outside.status_code == 401


async def test_who_may_not_see_a_page_is_told_so_by_a_page(api):
    house, client = api
    accounts = Accounts(house.office, secure=False)
    _, once = await accounts.add_user("anna", [Role.VIEWER], by="admin")
    person = (await accounts.log_in("anna", once)).person
    await accounts.change_password(person, once, "four words that are mine")
    token = (await accounts.log_in("anna", "four words that are mine")).token
    headers = await from_a_page(client, token) | BROWSER
    answer = await client.get("/users", headers=headers)
    assert answer.status_code == 403
    assert "This is not for viewer" in answer.text


async def test_a_long_export_is_sent_in_parts_and_says_the_same(api, clock):
    house, client = api
    await house.let_in("n0")
    first, count = int(clock.now().timestamp()), 5000
    many = Samples(
        point=Point(ven_id="n0", r_id="P"),
        starts_at=range(first, first + 4 * count, 4),
        values=tuple(map(float, range(count))),
        quality=("",) * count,
    )
    async with house.store.write() as connection:
        await measurements.store(connection, [many])
    clock.advance(7 * 3600)
    query = "ven=n0&rid=P&from=now-7h&to=now&format=csv"
    async with client.stream(
        "GET", f"/api/v1/measurements?{query}", headers=house.bearer
    ) as answer:
        assert "content-length" not in answer.headers
        assert answer.headers["content-type"].partition(";")[0] == "text/csv"
        lines = (await answer.aread()).decode().splitlines()
    assert len(lines) == count + 1
    assert lines[0].startswith("ven_id,r_id")
    assert [float(one.split(",")[4]) for one in lines[1:]] == list(many.values)
