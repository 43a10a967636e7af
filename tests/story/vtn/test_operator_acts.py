"""Every act of an operator leaves one line in the audit, and a refused one leaves nothing."""

import pytest
from litestar.testing import AsyncTestClient

from tests.story.vtn.utility import sha, utility
from vtn.accounts.accounts import Accounts, first_admin
from vtn.credential import create_token, read_token
from vtn.operations import make_app
from vtn.operations.app import PREFIX
from vtn.store import audit
from vtn.vitals import Vitals

EVENT = {
    "event_id": "peak",
    "signals": [{"name": "SIMPLE", "type": "level", "value": 1}],
    "start": "now+1h",
    "duration": "5m",
    "vens": ["0042"],
}
ACTS = [
    ("POST", "/vens", "", {"ven_id": "mill", "certificate_sha256": sha(9)}, "add VEN"),
    ("POST", "/vens/{ven_id:str}/resources", "mill", {"resource_id": "roof"}, "add resource"),
    (
        "POST",
        "/vens/{ven_id:str}/certificate",
        "mill",
        {"certificate_sha256": sha(10)},
        "replace certificate",
    ),
    ("POST", "/groups", "", {"group_id": "north", "vens": ["mill"]}, "add group"),
    ("POST", "/groups/{group_id:str}/members", "north", {"vens": ["0042"]}, "add to group"),
    (
        "POST",
        "/groups/{group_id:str}/members/remove",
        "north",
        {"vens": ["mill"]},
        "remove from group",
    ),
    ("PUT", "/groups/{group_id:str}", "north", {"name": "North", "vens": ["mill"]}, "edit group"),
    ("POST", "/market-contexts", "", {"uri": "http://utility.example/2"}, "add market context"),
    (
        "PATCH",
        "/market-context?uri=http://utility.example/2",
        "",
        {"name": "Second"},
        "edit market context",
    ),
    (
        "POST",
        "/events",
        "",
        EVENT | {"market_context": "http://utility.example/2"},
        "publish event",
    ),
    ("PATCH", "/events/{event_id:str}", "peak", {"duration": "10m"}, "modify event"),
    ("PUT", "/templates/{name:str}", "heat", EVENT, "keep template"),
    ("DELETE", "/templates/{name:str}", "heat", None, "remove template"),
    ("POST", "/events/{event_id:str}/cancel", "peak", None, "cancel event"),
    (
        "POST",
        "/vens/{ven_id:str}/reports",
        "0042",
        {"specifier": "usage"},
        "request report",
    ),
    (
        "POST",
        "/vens/{ven_id:str}/reports/{report_request_id:str}/cancel",
        "0042 ASKED",
        {},
        "cancel report",
    ),
    ("POST", "/vens/{ven_id:str}/reregister", "0042", None, "request re-registration"),
    ("POST", "/vens/{ven_id:str}/deregister", "0042", None, "cancel registration"),
    ("POST", "/vens/{ven_id:str}/revoke", "mill", None, "revoke VEN"),
    ("POST", "/users", "", {"name": "berta", "roles": ["viewer"]}, "add user"),
    ("PATCH", "/users/{name:str}", "berta", {"roles": ["operator"]}, "change user"),
    ("POST", "/users/{name:str}/reset", "berta", None, "reset user"),
]
ELSEWHERE = {
    ("POST", "/me/password"),  # of who is logged in: test_accounts.py
    ("POST", "/sessions/{session_id}/end"),
    ("POST", "/events/{event_id}/end"),  # of an active one: test_plans.py
    ("POST", "/stop"),
    ("POST", "/proposals/{proposal_id}/approve"),
    ("POST", "/proposals/{proposal_id}/decline"),
    ("POST", "/enrolment-codes"),  # wants [enrolment]: test_enrolment.py
    ("POST", "/enrolment-codes/{code_id}/withdraw"),
}


@pytest.fixture
async def operator(tmp_path, clock):
    """(the VTN, a client of its operator's API)."""
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}", tmp_path, clock) as house:
        ven = await house.registered()
        house.asked = (await ven.offer()).requests[0].report_request_id
        await first_admin(house.store, now=clock.now)
        create_token(house.settings.operator.token_file)
        token = read_token(house.settings.operator.token_file)
        vitals = Vitals(house.office, version="")
        accounts = Accounts(house.office, secure=False)
        app = make_app(house.desk, house.settings, vitals, accounts=accounts, now=clock.now)
        headers = {"Authorization": f"Bearer {token}", "X-Operator": "anna"}
        async with AsyncTestClient(app) as client:
            client.headers.update(headers)
            yield house, client


async def lines(house):
    async with house.store.read() as connection:
        return await audit.lines(connection, limit=1000)


def url(template, names):
    for name in names.split():
        template = template.replace(template[template.index("{") : template.index("}") + 1], name)
    return PREFIX + template


async def test_each_act_of_the_api_leaves_one_line_with_who_what_and_when(operator, clock):
    house, client = operator
    tried = set()
    for method, template, names, body, act in ACTS:
        before = await lines(house)
        clock.advance(1)
        place = url(template, names.replace("ASKED", house.asked))
        headers = {}
        if method in ("PATCH", "PUT"):
            found = await client.get(place)
            headers["If-Match"] = found.headers.get("etag", '"0"')  # what is not there yet is 0
        answer = await client.request(method, place, json=body, headers=headers)
        assert answer.status_code in (200, 201, 204), (template, answer.text)
        new = (await lines(house))[: -len(before)]

        assert [(act, "operator:anna", clock.now(), "ok")] == [
            (one.act, one.actor, one.at, one.outcome) for one in new
        ]
        tried.add((method, PREFIX + template))

    changing = {
        (method, route.path_format if hasattr(route, "path_format") else route.path)
        for route in client.app.routes
        for method in getattr(route, "methods", ())
        if method not in ("GET", "HEAD", "OPTIONS")
    }
    wanted = {
        (method, template.replace(":str", "").partition("?")[0]) for method, template in tried
    }
    wanted |= {(method, PREFIX + path) for method, path in ELSEWHERE}
    assert changing == wanted, "every route that changes something must stand in ACTS"


async def test_a_refused_act_leaves_no_line_and_changes_nothing(operator):
    house, client = operator
    before = await lines(house)
    again = {"ven_id": "0042", "certificate_sha256": sha(1)}
    assert (await client.post(f"{PREFIX}/vens", json=again)).status_code == 409
    assert (await client.post(f"{PREFIX}/events/none/cancel")).status_code == 404
    client.headers["Authorization"] = "Bearer wrong-wrong-wrong-wrong"
    assert (await client.post(f"{PREFIX}/vens/0042/revoke")).status_code == 401

    assert before == await lines(house)
