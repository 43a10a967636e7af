"""The console's pages of nodes, groups, reports, messages, audit, health and users."""

import re
from datetime import timedelta

import pytest

from oadr.vocabulary import ServiceName
from tests.story.vtn.test_console import browser, database, faults, first, house, sent
from tests.story.vtn.utility import sha, values
from vtn.accounts import Role

__all__ = ["database", "house"]


async def measuring(house, ven_id="mill", count=450):
    """A VEN that has reported so many values, the last just now."""
    ven = await house.registered(ven_id)
    await ven.offer()
    (request,) = (await house.desk.reports(ven_id)).requests
    house.clock.advance(4 * count)
    begin = house.clock.now().replace(microsecond=0) - timedelta(seconds=4 * count)
    numbers = tuple(41_000.0 + number % 7 for number in range(count))
    await ven.update(values(request.request.report_request_id, begin, numbers))
    return ven


async def test_the_list_says_how_the_nodes_are_and_finds_one_among_many(house):
    await measuring(house)
    await house.let_in("dairy")
    client = await browser(house, Role.VIEWER)

    page = await client.get("/nodes")
    found = await client.get("/nodes", params={"q": "DAIRY", "state": "expected"})
    nothing = await client.get("/nodes", params={"q": "<b>", "page": "7", "order": "silly"})

    assert first(page) == "The one node is online; 1 never registered"
    assert '<a href="/nodes/mill">mill</a>' in page.text
    assert "41.0" in page.text
    assert 'data-spark="' in page.text
    assert "/nodes/mill" not in found.text
    assert '<a href="/nodes/dairy">dairy</a>' in found.text
    assert 'value="&lt;b&gt;"' in nothing.text
    assert "Enrol a node" not in page.text


async def test_many_nodes_come_in_pages(house):
    for number in range(60):
        await house.let_in(f"v{number:02}", resources=())
    client = await browser(house, Role.VIEWER)

    page = await client.get("/nodes")
    second = await client.get("/nodes?page=2")

    assert "1 to 50 of 60" in page.text
    assert 'href="/nodes?page=2" rel="next"' in page.text
    assert "51 to 60 of 60" in second.text
    assert "/nodes/v59" in second.text


async def test_a_node_shows_its_values_requests_and_certificate(house):
    await measuring(house)
    client = await browser(house, Role.VIEWER)

    await house.desk.conversation()  # what was said is written down every few seconds
    page = await client.get("/nodes/mill")
    chart = (await client.get("/nodes/mill/chart.json?r=P&span=24h")).json()
    month = (await client.get("/nodes/mill/chart.json?r=P&span=30d")).json()
    csv = await client.get("/nodes/mill/values.csv?r=P&span=1h")

    assert first(page) == "Building mill is online, last heard of 0 s ago; it measures 41.0 kW"
    assert sha(1) in page.text
    assert "its last report was written 30 min before it came, or its clock is behind" in page.text
    assert "450" in page.text
    assert len(chart["t"]) == 450
    assert chart["series"][0]["values"][0] == 41_000.0
    assert [one["name"] for one in month["series"]] == ["mean of 15 min", "greatest", "least"]
    assert len(csv.text.splitlines()) == 451
    assert (await client.get("/nodes/nobody")).status_code == 404
    assert (await client.get("/nodes/mill/chart.json?r=none")).status_code == 404


async def test_a_span_that_is_no_time_keeps_what_was_typed(house):
    await measuring(house)
    client = await browser(house, Role.VIEWER)

    page = await client.get("/nodes/mill?from=noonish&to=2030-01-09+14:05")

    assert 'value="noonish"' in page.text
    assert faults(page) == ["'noonish' is no time; write it as 2026-11-20 14:05 (UTC)."]


async def test_shutting_a_node_out_wants_its_name_typed(house):
    await house.registered("mill")
    client = await browser(house, Role.OPERATOR)

    wrong = await sent(client, "/nodes/mill/revoke".removesuffix("/revoke"), typed="mil")
    assert wrong.status_code == 405
    page = await client.get("/nodes/mill")
    token = re.search(r'name="_csrf_token" value="([^"]+)"', page.text)[1]
    wrong = await client.post("/nodes/mill/revoke", data={"_csrf_token": token, "typed": "mil"})
    assert wrong.status_code == 422
    assert faults(wrong) == ["Type mill to shut it out."]
    assert 'value="mil"' in wrong.text
    assert house.desk.node("mill").ven.revoked_at is None

    done = await client.post("/nodes/mill/revoke", data={"_csrf_token": token, "typed": "mill"})

    assert (done.status_code, done.headers["location"]) == (303, "/nodes/mill")
    assert first(await client.get("/nodes/mill")) == "Building mill is shut out"


async def test_letting_a_node_in_says_what_is_wrong_beside_the_field(house):
    client = await browser(house, Role.INSTALLER)
    await house.desk.add_group("g", "North", by="anna")

    empty = await sent(client, "/add-node", ven_id="mill", resources="r1, r2")
    pem = await sent(client, "/add-node", ven_id="mill", certificate="-----BEGIN nonsense")
    good = await sent(
        client,
        "/add-node",
        ven_id="mill",
        certificate_sha256=sha(77),
        resources="r1, r2",
        groups="g",
    )
    again = await sent(client, "/add-node", ven_id="mill", certificate_sha256=sha(78))

    assert faults(empty) == ["Give the certificate, or its SHA-256."]
    assert 'value="r1, r2"' in empty.text
    assert faults(pem)[0].startswith("This is no certificate")
    assert good.headers["location"] == "/nodes/mill"
    assert house.desk.node("mill").ven.resources == ("r1", "r2")
    assert house.desk.node("mill").ven.groups == ("g",)
    assert again.status_code == 409
    assert 'value="mill"' in again.text


async def test_without_an_enrolment_listener_a_code_is_refused_in_words(house):
    client = await browser(house, Role.INSTALLER)

    page = await sent(client, "/enrolment", ven_id="mill", hours="48")
    late = await sent(client, "/enrolment", ven_id="mill", hours="a day")
    ages = await sent(client, "/enrolment", ven_id="mill", hours="9" * 5000)

    assert page.status_code == 409
    assert "This VTN enrols nobody" in page.text
    assert 'value="48"' in page.text
    assert faults(late) == faults(ages) == ["Give whole hours from 1 to 336."]


async def test_a_group_of_very_many_is_shown_and_saved_whole(house):
    names = [f"{number:0200}" for number in range(60)]
    for name in names:
        await house.let_in(name)
    await house.desk.add_group("all", "All", ven_ids=names, by="anna")
    client = await browser(house, Role.OPERATOR)

    page = await client.get("/groups/all")
    shown = re.search(r'<textarea id="vens"[^>]*>([^<]*)', page.text)[1]
    seen = re.search(r'name="seen" value="(\w+)"', page.text)[1]
    done = await sent(client, "/groups/all", seen=seen, name="Everybody", vens=shown)

    assert done.status_code == 303
    group = await house.desk.group("all")
    assert (group.name, list(group.ven_ids)) == ("Everybody", names)


async def test_two_who_edit_one_group_do_not_overwrite_each_other(house):
    await house.let_in("mill")
    await house.let_in("dairy")
    client = await browser(house, Role.OPERATOR)
    assert (await sent(client, "/groups", group_id="g", vens="mill")).status_code == 303
    page = await client.get("/groups/g")
    seen = re.search(r'name="seen" value="(\w+)"', page.text)[1]
    await house.desk.add_to_group("g", ["dairy"], by="ben")

    stale = await sent(client, "/groups/g", seen=seen, name="North", vens="mill")
    fresh = re.search(r'name="seen" value="(\w+)"', stale.text)[1]
    unknown = await sent(client, "/groups/g", seen=fresh, name="North", vens="mill nobody")
    done = await sent(client, "/groups/g", seen=fresh, name="North", vens="mill")

    assert stale.status_code == 409
    assert "Somebody else has changed the group" in stale.text
    assert 'value="North"' in stale.text
    assert "There is no VEN &#39;nobody&#39;" in unknown.text
    assert done.status_code == 303
    assert (await house.desk.group("g")).ven_ids == ("mill",)


async def test_market_contexts_are_added_and_renamed(house):
    client = await browser(house, Role.OPERATOR)

    page = await client.get("/groups")
    token = re.search(r'name="_csrf_token" value="([^"]+)"', page.text)[1]
    wrong = await client.post("/contexts", data={"_csrf_token": token, "uri": "a b"})
    of, seen = re.search(
        r'name="of" value="([^"]+)"><input type="hidden" name="seen" value="(\w+)"', page.text
    ).groups()
    fields = {"_csrf_token": token, "of": of, "seen": seen}
    done = await client.post("/contexts/edit", data={**fields, "new_name": "Evening"})
    stale = await client.post("/contexts/edit", data={**fields, "new_name": "Night"})

    assert faults(wrong)[0].startswith("A market context is a URI")
    assert (done.status_code, stale.status_code) == (303, 409)
    assert faults(stale)[0].startswith("Somebody else has changed the market context")
    assert 'value="Night"' in stale.text
    assert [one.name for one in await house.desk.market_contexts()] == ["Evening"]


async def test_reports_are_asked_for_exported_and_cancelled(house):
    await measuring(house)
    client = await browser(house, Role.OPERATOR)

    overview = await client.get("/reports")
    wrong = await sent(
        client, "/reports/mill", specifier="usage", granularity="1s", back="1min", duration="1h"
    )
    words = await sent(client, "/reports/mill", specifier="usage", granularity="often")
    done = await sent(
        client, "/reports/mill", specifier="usage", granularity="4s", back="1min", duration="1h"
    )
    csv = await client.get("/exports/mill?span=1h&format=csv")
    requests = (await house.desk.reports("mill")).requests
    page = await client.get("/reports/mill")
    token = re.search(r'name="_csrf_token" value="([^"]+)"', page.text)[1]
    name = requests[-1].request.report_request_id
    stopped = await client.post(f"/reports/mill/{name}/cancel", data={"_csrf_token": token})

    assert first(overview) == "Nothing is missing at the nodes below"
    assert "can be read every" in faults(wrong)[0]
    assert 'value="1s"' in wrong.text
    assert words.status_code == 422
    assert 'value="often"' in words.text
    assert done.status_code == 303
    assert len(requests) == 2
    assert len(csv.text.splitlines()) == 451
    assert stopped.status_code == 303
    assert (await house.desk.reports("mill")).requests[-1].state == "cancelling"


async def test_messages_show_what_was_refused_first_and_each_as_it_came(house):
    mill = await house.registered("mill")
    await mill.post(ServiceName.EVENT, b"<oadrPoll><script>alert(1)</script")
    client = await browser(house, Role.AUDITOR)

    everybody = await client.get("/messages")
    page = await client.get("/messages/mill")
    numbers = re.findall(r'href="/message/(\d+)"', page.text)
    one = await client.get(f"/message/{numbers[0]}")
    raw = await client.get(f"/message/{numbers[0]}/request")
    last = await client.get(f"/message/{numbers[-1]}")

    assert "Refused last" in page.text
    assert "406" in page.text
    assert everybody.status_code == 200
    assert "<script>alert" not in one.text
    assert "&lt;script&gt;" in one.text
    assert raw.content == b"<oadrPoll><script>alert(1)</script"
    assert "oadrQueryRegistration" in last.text or "oadrCreatePartyRegistration" in last.text
    assert (await client.get("/message/999999")).status_code == 404


async def test_the_audit_is_searched_by_words_and_time_and_exported(house):
    await house.let_in("mill")
    await house.desk.revoke_ven("mill", by="ben")
    client = await browser(house, Role.AUDITOR)

    page = await client.get("/audit?q=ben+revoke")
    csv = await client.get("/audit.csv?q=mill")
    none = await client.get("/audit?from=2020-01-01&to=2020-01-02")
    wrong = await client.get("/audit?from=never")

    assert first(page) == "Last done 0 s ago: operator:ben, revoke VEN"
    assert "add market context" not in page.text
    assert [line.split(",")[3] for line in csv.text.splitlines()] == [
        "act",
        "revoke VEN",
        "add VEN",
    ]
    assert first(none) == "No line is like that"
    assert wrong.status_code == 422
    assert faults(wrong) == ["'never' is no time; write it as 2026-11-20 14:05 (UTC)."]


async def test_health_says_in_words_what_is_wrong(house):
    client = await browser(house, Role.VIEWER)

    page = await client.get("/health")

    assert page.status_code == 200
    assert "VENs are not listened to" in page.text
    assert "things are wrong" in first(page)
    assert "is free" not in page.text


async def test_users_are_added_changed_and_logged_out_by_an_admin(house):
    client = await browser(house, Role.ADMIN)

    nothing = await sent(client, "/users", name="carl")
    made = await sent(client, "/users", name="carl", roles="viewer")
    page = await client.get("/users/carl")
    changed = await sent(client, "/users/carl", version="0", roles="operator")
    stale = await sent(client, "/users/carl", version="0", roles="auditor")
    token = re.search(r'name="_csrf_token" value="([^"]+)"', page.text)[1]
    reset = await client.post("/users/carl/reset", data={"_csrf_token": token})
    listed = await client.get("/users")

    assert faults(nothing) == ["Tick at least one."]
    assert 'value="carl"' in nothing.text
    assert first(made) == "Give carl this password; it is shown only now"
    assert first(page) == "carl is invited: viewer"
    assert changed.status_code == 303
    assert stale.status_code == 409
    assert (await house.accounts.user("carl")).roles == {Role.OPERATOR}
    assert re.search(r"<code>\w+-\w+-\w+-\w+</code>", reset.text)
    assert "this browser" in listed.text


@pytest.mark.parametrize("path", ["/users", "/audit", "/messages", "/add-node", "/enrolment"])
async def test_a_viewer_is_told_that_a_page_is_not_for_them(house, path):
    client = await browser(house, Role.VIEWER)

    assert (await client.get(path)).status_code == 403
