"""The console's pages, as a browser gets them from the operators' listener."""

import dataclasses
import re
from datetime import timedelta
from html import unescape

import pytest
from litestar.testing import AsyncTestClient

from oadr.opt import CreatedOpt
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType, ServiceName
from tests.story.vtn.test_accounts import OWN, accounts_of, added
from tests.story.vtn.test_plans import wanting_approval
from tests.story.vtn.test_rules import schedule
from tests.story.vtn.utility import CONTEXT, draft, utility
from vtn.accounts import Act, Role
from vtn.accounts.accounts import COOKIE
from vtn.console.door import routers, templates
from vtn.credential import create_token, read_token
from vtn.errors import Unknown
from vtn.operations import make_app
from vtn.records import Point, Samples
from vtn.store import measurements
from vtn.vitals import Vitals

GOOD = "Quality Good"


@pytest.fixture
def database(tmp_path):
    """The test client has a loop of its own: connections to PostgreSQL cannot cross over."""
    return f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}"


@pytest.fixture
async def house(database, tmp_path, clock):
    async with utility(database, tmp_path, clock) as found:
        found.accounts = accounts_of(found, clock)
        create_token(found.settings.operator.token_file)
        found.app = make_app(
            found.desk,
            found.settings,
            Vitals(found.office, version="0"),
            accounts=found.accounts,
            console=routers(found.desk, clock.now),
            templates=templates(),
            now=clock.now,
        )
        async with AsyncTestClient(found.app, base_url="http://console.example") as client:
            found.client = client
            client.follow_redirects = False
            yield found


async def browser(house, *roles):
    """The client, logged in as somebody of these roles."""
    token, _person = await added(house, "-".join(roles) or "anna", *roles)
    house.client.cookies.set(COOKIE, token)
    return house.client


async def sent(client, page, *, to="", **fields):
    """A form of this page, filled in and sent: to the page itself, or elsewhere."""
    shown = await client.get(page)
    token = re.search(r'name="_csrf_token" value="([^"]+)"', shown.text)[1]
    return await client.post(to or page.partition("?")[0], data={"_csrf_token": token, **fields})


def first(page):
    return unescape(re.search(r'<h1 id="first"[^>]*>([^<]*)', page.text)[1])


def faults(page):
    return [unescape(one) for one in re.findall(r'class="fault"[^>]*>([^<]*)', page.text)]


def previewed(page):
    return re.search(r'name="previewed" value="([^"]+)"', page.text)[1]


WIZARD = {
    "kind": "reduce",
    "value": "40",
    "unit": "kW",
    "share": "each",
    "zone": "UTC",
    "duration": "1h",
    "notice": "10m",
    "everyone": "yes",
    "event_id": "peak-1",
    "comment": "Peak <b>Tuesday</b>",
    "market_context": CONTEXT,
}


async def running(house, clock):
    """An event at two VENs; one delivers, one has opted out."""
    mill, bakery = await house.registered("mill"), await house.registered("bakery")
    record = await house.publish(
        starts_at=clock.now().replace(microsecond=0) + timedelta(minutes=1),
        duration=timedelta(minutes=30),
        vtn_comment="Peak Tuesday",
    )
    for ven, opt in ((mill, OptType.OPT_IN), (bakery, OptType.OPT_OUT)):
        await ven.poll(object)
        await ven.answer(record.event, opt)
    clock.advance(11 * 60)
    first_s, now_s = int(record.event.starts_at.timestamp()), int(clock.now().timestamp())
    minutes = range(first_s, now_s - 60, 60)
    readings = range(first_s, now_s, 4)
    point = {"ven_id": "mill", "unit": "W"}
    async with house.store.write() as connection:
        await measurements.store(
            connection,
            [
                Samples(
                    point=Point(r_id=r_id, report_name=name, report_type=kind, **point),
                    starts_at=at,
                    values=(watts,) * len(at),
                    quality=(GOOD,) * len(at),
                )
                for r_id, name, kind, at, watts in (
                    ("P", "TELEMETRY_USAGE", "usage", readings, 61_000.0),
                    ("B", "x-CURTAILMENT", "baseline", minutes, 100_000.0),
                    ("D", "x-CURTAILMENT", "deviation", minutes, -39_000.0),
                )
            ],
        )
    await mill.poll(object)
    return record.event.event_id


async def test_who_is_not_logged_in_is_sent_to_the_log_in_and_then_on(house):
    page = await house.client.get("/events?status=active")
    assert page.status_code == 303
    assert page.headers["location"] == "/login?next=%2Fevents%3Fstatus%3Dactive"

    _, once = await house.accounts.add_user("anna", [Role.VIEWER], by="admin")
    wrong = await sent(house.client, "/login", name="anna", password="nothing", next="/events")
    assert wrong.status_code == 401
    assert 'value="anna"' in wrong.text
    right = await sent(house.client, "/login", name="anna", password=once, next="//evil.example")
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert "HttpOnly" in right.headers["set-cookie"]
    page = await house.client.get("/")
    assert page.headers["location"] == "/account/password"


async def test_no_page_lets_a_browser_run_what_is_not_ours(house):
    client = await browser(house, Role.VIEWER)

    for path in ("/", "/login", "/events", "/no-event/nowhere", "/events/nothing"):
        page = await client.get(path)
        if page.status_code != 404 or path == "/events/nothing":
            policy = page.headers["content-security-policy"]
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert "<script>" not in page.text
            assert " style=" not in page.text
            assert " onclick=" not in page.text


async def test_the_first_page_says_what_is_ordered_and_delivered(house, clock):
    await running(house, clock)
    client = await browser(house, Role.VIEWER)

    page = await client.get("/")

    assert first(page) == "40.0 kW ordered, 39.0 kW delivered (98 %) by 1 of 1 node"
    assert "1 node opted out" in page.text
    figures = (await client.get("/now/power.json")).json()
    assert figures["series"][1]["values"][-1] == 39_000.0


async def test_an_event_shows_how_far_each_node_has_come_the_late_first(house, clock):
    event_id = await running(house, clock)
    client = await browser(house, Role.VIEWER)

    page = await client.get(f"/events/{event_id}")

    assert first(page) == "Peak Tuesday: 20 min left, 98 % delivered, 0 nodes late"
    ladder = re.findall(r'<span class="sr">([^<]*)', page.text)
    assert "notified: done" in ladder
    assert "EMS acknowledged: inferred" in ladder
    assert "delivering: done" in ladder
    figures = (await client.get(f"/events/{event_id}/power.json")).json()
    assert [one["name"] for one in figures["series"]] == ["baseline", "as ordered", "measured"]
    assert 61_000.0 in figures["series"][2]["values"]
    assert "/modify" not in page.text


async def test_at_its_end_the_verified_curtailment_is_a_table_a_file_and_a_report(house, clock):
    event_id = await running(house, clock)
    clock.advance(40 * 60)
    client = await browser(house, Role.VIEWER)

    assert "Verified from stored readings" in (await client.get(f"/events/{event_id}")).text
    rows = (await client.get(f"/events/{event_id}/curtailment.csv")).text.splitlines()
    assert rows[0].startswith("ven_id,opt,ordered_w,delivered_w")
    assert rows[2].startswith("mill,optIn,40000.0,39000.0,0.975,")
    assert rows[-1].startswith("sum,,40000.0,39000.0")
    assert "39.0 kW verified" in first(await client.get(f"/events/{event_id}/report"))


async def test_the_wizard_previews_and_changes_nothing_until_it_is_told_to(house, clock):
    await house.registered("mill")
    client = await browser(house, Role.OPERATOR)

    preview = await sent(client, "/events/new", step="preview", **WIZARD)

    assert preview.status_code == 200
    assert first(preview).startswith("Reduce by 40 kW at 1 node, 40.0 kW in all, from ")
    with pytest.raises(Unknown):
        await house.desk.event("peak-1")
    seen = previewed(preview)
    for _ in range(2):  # the second press finds it published
        published = await sent(client, "/events/new", step="publish", previewed=seen, **WIZARD)
        assert (published.status_code, published.headers["location"]) == (303, "/events/peak-1")
    assert len(await house.desk.events()) == 1
    shown = await client.get("/events/peak-1")
    assert "<b>Tuesday" not in shown.text
    again = await sent(client, "/events/new", step="preview", **{**WIZARD, "event_id": "peak-2"})
    assert "Cannot be published" in again.text


async def test_what_was_changed_after_the_preview_is_previewed_again(house):
    await house.registered("mill")
    client = await browser(house, Role.OPERATOR)
    seen = previewed(await sent(client, "/events/new", step="preview", **WIZARD))

    other = {**WIZARD, "value": "400"}
    page = await sent(client, "/events/new", step="publish", previewed=seen, **other)
    await house.registered("bakery")
    joined = await sent(client, "/events/new", step="publish", previewed=seen, **WIZARD)

    assert first(page).startswith("Reduce by 400 kW at 1 node")
    assert first(joined).startswith("Reduce by 40 kW at 2 nodes")
    for one in (page, joined):
        assert "This is not what you looked at" in one.text
    assert await house.desk.events() == []


async def test_parts_of_a_whole_are_made_equal(house, clock):
    await house.registered("mill")
    await house.registered("bakery")
    client = await browser(house, Role.OPERATOR)

    halves = {**WIZARD, "share": "all"}
    seen = previewed(await sent(client, "/events/new", step="preview", **halves))
    await sent(client, "/events/new", step="publish", previewed=seen, **halves)

    event = (await house.desk.event("peak-1")).event
    assert event.signals[0].intervals[0].value == -20.0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"value": "lots"}, "'lots' is not a number; write it like 200 or 12.5."),
        ({"duration": ""}, "How long? Give an end, or a duration like 1h30m, or open."),
        ({"duration": "soon"}, "'soon' is not a duration; write it like 5m, 1h30m or PT5M."),
        ({"everyone": ""}, "Who is asked? Choose everyone, groups, or name nodes."),
    ],
)
async def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    house, wrong, sentence
):
    await house.registered("mill")
    client = await browser(house, Role.OPERATOR)

    page = await sent(client, "/events/new", step="publish", **{**WIZARD, **wrong})

    assert page.status_code == 422
    assert sentence in faults(page)
    assert 'value="Peak &lt;b&gt;Tuesday&lt;/b&gt;"' in page.text
    assert await house.desk.events() == []


async def test_two_operators_cannot_overwrite_each_other(house, clock):
    await house.registered("mill")
    record = await house.publish(event_id="peak-1")
    client = await browser(house, Role.OPERATOR)
    form = {"kind": "reduce", "unit": "kW", "value": "60", "duration": "5m", "modification": "0"}
    await house.desk.modify_event(
        "peak-1", draft(clock.now(), value=-50.0), expected_modification=0, by="bert"
    )

    page = await sent(client, "/events/peak-1/modify", **form)

    assert page.status_code == 409
    assert "somebody else changed it" in page.text
    assert 'value="60"' in page.text
    form["modification"] = "1"
    seen = previewed(await sent(client, "/events/peak-1/modify", step="preview", **form))
    good = await sent(client, "/events/peak-1/modify", step="publish", previewed=seen, **form)
    assert good.status_code == 303
    assert (await house.desk.event(record.event.event_id)).event.modification_number == 2


async def test_where_a_second_person_is_wanted_a_change_is_proposed_and_approved(house):
    await house.registered("mill")
    await house.publish(event_id="peak-1")
    wanting_approval(house, approval=True)
    client = await browser(house, Role.OPERATOR)
    form = {"kind": "reduce", "unit": "kW", "value": "60", "duration": "5m", "modification": "0"}

    preview = await sent(client, "/events/peak-1/modify", step="preview", **form)
    assert "Propose change" in preview.text
    assert "60.0 kW in all" in first(preview)
    seen = previewed(preview)
    proposed = await sent(client, "/events/peak-1/modify", step="publish", previewed=seen, **form)

    path = proposed.headers["location"]
    assert path.startswith("/events/proposals/")
    assert (await house.desk.event("peak-1")).event.modification_number == 0
    assert "Somebody else, with the role approver" in (await client.get(path)).text
    approver = await browser(house, Role.APPROVER)
    page = await approver.get(path)
    assert first(page).startswith("operator proposes to modify peak-1: Reduce by 60 kW, from ")
    assert "Nodes asked" in page.text
    token = re.search(r'name="_csrf_token" value="([^"]+)"', page.text)[1]
    done = await approver.post(f"{path}/approve", data={"_csrf_token": token})
    assert done.headers["location"] == "/events/peak-1"
    assert (await house.desk.event("peak-1")).event.modification_number == 1


async def test_a_change_of_what_runs_is_previewed_as_it_will_be(house, clock):
    event_id = await running(house, clock)
    client = await browser(house, Role.OPERATOR)
    form = {"kind": "reduce", "unit": "kW", "value": "90", "duration": "30m", "modification": "0"}

    preview = await sent(client, f"/events/{event_id}/modify", step="preview", **form)

    assert "Reduce by 40 then 90 kW at 2 nodes, 180.0 kW in all" in first(preview)
    assert "Too much" not in preview.text


async def test_the_preview_minds_who_opted_out_of_that_time_beforehand(house):
    mill = await house.registered("mill")
    await house.registered("bakery")
    await mill.say(ServiceName.OPT, schedule(house, ven_id="mill"), CreatedOpt)
    client = await browser(house, Role.OPERATOR)

    preview = await sent(client, "/events/new", step="preview", **WIZARD)
    halves = await sent(client, "/events/new", step="preview", **{**WIZARD, "share": "all"})
    page = await client.get("/nodes/mill")

    assert "at 2 nodes (1 of them opted out), 40.0 kW in all" in first(preview)
    assert "1 node opted out of this time beforehand, by schedule: mill." in preview.text
    assert "Reduce by 40 kW at 2 nodes" in first(halves)  # the bakery alone carries the whole
    assert "for 2 h 00 min" in page.text


async def test_no_token_is_the_second_person_in_the_console_either(house):
    await house.registered("mill")
    wanting_approval(house, approval=True)
    draft_of_anna = dataclasses.replace(draft(house.clock.now()), event_id="peak-1")
    proposal = await house.desk.propose_event(draft_of_anna, by="anna")
    token = read_token(house.settings.operator.token_file)
    somebody = {"Authorization": f"Bearer {token}", "X-Operator": "bert"}

    page = await house.client.post(
        f"/events/proposals/{proposal.proposal_id}/approve", headers=somebody
    )

    assert page.status_code == 403
    assert "it cannot be the second person" in page.text
    assert await house.desk.events() == []


async def test_what_somebody_else_has_changed_is_not_ended_unseen(house, clock):
    event_id = await running(house, clock)
    client = await browser(house, Role.OPERATOR)
    current = (await house.desk.event(event_id)).event
    longer = dataclasses.replace(current, vtn_comment="Peak, as modified")
    await house.desk.modify_event(event_id, longer, expected_modification=0, by="bert")

    page = await sent(client, f"/events/{event_id}/end", modification="0")

    assert page.status_code == 409
    assert "somebody else changed it" in page.text
    assert (await house.desk.event(event_id)).event.status is EventStatus.ACTIVE
    ended = await sent(client, f"/events/{event_id}/end", modification="1")
    assert ended.status_code == 303


async def test_templates_are_begun_from_and_removed(house):
    await house.registered("mill")
    client = await browser(house, Role.OPERATOR)
    kept = await sent(client, "/events/new", step="template", template_name="Heat", **WIZARD)
    assert kept.status_code == 303
    page = await client.get("/events/new?template=Heat")
    assert 'name="value" type="text" value="40"' in page.text

    for said in ("is removed", "There is no template"):
        gone = await sent(client, "/events/new", to="/events/templates/remove", name="Heat")
        assert gone.headers["location"] == "/events/new"
        assert said in (await client.get("/events/new")).text
    assert await house.desk.templates() == []
    assert (await house.desk.audit(limit=1))[0].act == "remove template"


async def test_an_earlier_event_is_copied_but_for_its_id_and_its_time(house):
    await house.registered("mill")
    client = await browser(house, Role.OPERATOR)
    page = await sent(client, "/events/new", step="preview", **WIZARD)
    seen = re.search(r'name="previewed" value="([^"]+)"', page.text)[1]
    await sent(client, "/events/new", step="publish", previewed=seen, **WIZARD)
    event_id = (await house.desk.events())[0].event.event_id

    copy = await client.get(f"/events/new?from={event_id}")

    typed = dict(re.findall(r'name="(\w+)" type="[\w-]+" value="([^"]*)"', copy.text))
    assert (typed["value"], typed["duration"]) == ("40", "1h")
    assert typed["comment"] == "Peak &lt;b&gt;Tuesday&lt;/b&gt;"
    assert (typed.get("event_id", ""), typed.get("start", "")) == ("", "")


async def test_a_form_that_was_sent_after_the_session_ended_is_sent_again_after_the_log_in(house):
    await house.registered("mill")
    client = await browser(house, Role.OPERATOR)
    page = await client.get("/events/new")
    token = re.search(r'name="_csrf_token" value="([^"]+)"', page.text)[1]
    typed = {"_csrf_token": token, "step": "preview", **WIZARD}
    house.clock.advance(3600)

    late = await client.post("/events/new", data=typed)
    assert late.status_code == 401
    assert "Your session has ended; nothing was changed" in first(late)
    assert (await client.post("/logout", data=typed)).headers["location"] == "/login"

    client.cookies.set(COOKIE, (await house.accounts.log_in("operator", OWN)).token)
    again = await client.post("/events/new", data=typed)
    assert first(again).startswith("Reduce by 40 kW at 1 node")


async def test_an_event_is_cancelled_after_one_more_question(house):
    await house.registered("mill")
    await house.publish(event_id="peak-1")
    client = await browser(house, Role.OPERATOR)

    done = await sent(client, "/events/peak-1/cancel", modification="0")

    assert done.headers["location"] == "/events/peak-1"
    assert "Cancelled; 1 node will be told." in (await client.get("/events/peak-1")).text
    assert (await house.desk.event("peak-1")).event.status is EventStatus.CANCELLED
    lines = await house.desk.audit(subject="event:peak-1")
    assert lines[0].actor == "operator:operator"


async def test_the_emergency_stop_wants_its_word(house):
    await house.registered("mill")
    await house.publish(event_id="peak-1")
    client = await browser(house, Role.OPERATOR)

    refused = await sent(client, "/stop", word="stop")
    assert refused.status_code == 422
    assert (await house.desk.event("peak-1")).event.status is EventStatus.FAR
    done = await sent(client, "/stop", word="STOP")
    assert done.status_code == 303
    assert (await house.desk.event("peak-1")).event.status is EventStatus.CANCELLED


async def test_a_form_from_elsewhere_is_refused(house):
    await house.registered("mill")
    await house.publish(event_id="peak-1")
    client = await browser(house, Role.OPERATOR)

    forged = await client.post("/stop", data={"word": "STOP"})

    assert forged.status_code == 403
    assert (await house.desk.event("peak-1")).event.status is EventStatus.FAR


async def test_who_may_only_look_gets_no_buttons_and_is_refused(house):
    await house.registered("mill")
    await house.publish(event_id="peak-1", target=Target(ven_ids=("mill",)))
    client = await browser(house, Role.VIEWER)

    page = await client.get("/events/peak-1")
    assert "Cancel event" not in page.text
    assert "Emergency stop" not in page.text
    assert "No event is active" in page.text
    for path in ("/events/new", "/events/peak-1/cancel", "/events/peak-1/modify", "/stop"):
        refused = await client.get(path)
        assert refused.status_code == 403
        assert "No event is active" not in refused.text  # it was not looked up


def test_every_page_says_its_act(house_routes):
    assert house_routes
    for path, act in house_routes:
        assert isinstance(act, Act), path


@pytest.fixture
def house_routes():
    return [
        (route.path, handler.opt.get("act") or router.opt.get("act"))
        for router in routers(None, None)
        for route in router.routes
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]
        if "OPTIONS" not in getattr(handler, "http_methods", ())
    ]
