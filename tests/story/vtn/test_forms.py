"""Every form of the console, filled in with nonsense: kept, told beside its field, and no act."""

import re
from html.parser import HTMLParser

import pytest

from tests.story.vtn.test_console import browser, database, house
from tests.story.vtn.test_plans import ORDER
from tests.story.vtn.utility import CONTEXT, values
from vtn.accounts import Role

__all__ = ["database", "house"]

NONSENSE = "' <b>zwölf"
LONG = "x" * 300
AGES = "9" * 5000 + "d"


class Page(HTMLParser):
    """What a reader of a page sees of its forms."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.posts: dict[str, dict[str, str]] = {}
        """Where a form is sent to, and what is hidden in it."""
        self.fields: dict[str, str] = {}
        """Names of fields and what stands in them."""
        self.faults: set[str] = set()
        """Fields that something is said to be wrong with."""
        self.invalid: set[str] = set()
        self._form = ""
        self._area: str | None = None
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        name = given.get("name", "")
        if tag == "form":
            self._form = given.get("action", "") if given.get("method") == "post" else "get"
            if self._form != "get":
                self.posts.setdefault(self._form, {})
        elif given.get("type") == "hidden":
            self.posts.setdefault(self._form, {})[name] = given["value"]
        elif tag == "input" and given.get("type") != "checkbox":
            self.fields[name] = given.get("value", "")
        elif tag == "textarea":
            self._area, self.fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given and "value" in given:
            self.fields[self._select] = given["value"]
        if "aria-invalid" in given:
            self.invalid.add(name)
        if "fault" in given.get("class", "").split():
            self.faults.add(given["id"].removesuffix("-fault"))

    def handle_endtag(self, tag):
        if tag == "textarea":
            self._area = None

    def handle_data(self, data):
        if self._area is not None:
            self.fields[self._area] += data


WIZARD = {
    "kind": "reduce",
    "value": "40",
    "unit": "kW",
    "share": "each",
    "zone": "UTC",
    "duration": "1h",
    "notice": "10m",
    "everyone": "yes",
    "comment": "Peak",
    "market_context": CONTEXT,
    "step": "preview",
}
MODIFY = {
    "kind": "reduce",
    "unit": "kW",
    "value": "50",
    "duration": "5m",
    "modification": "0",
    "step": "preview",
}
REPORT = {"specifier": "usage", "back": "1m", "granularity": "4s"}
FORMS = [
    *(
        ("/events/new", "/events/new", {**WIZARD, field: wrong}, field)
        for field, wrong in (
            ("value", NONSENSE),
            ("value", "-3"),
            ("unit", "%"),
            ("starts", "25:00"),
            ("ends", "tomorrow"),
            ("duration", NONSENSE),
            ("notice", NONSENSE),
            ("notice", AGES),
            ("priority", "first"),
            ("start_within", NONSENSE),
            ("ramp_up", NONSENSE),
            ("recovery", NONSENSE),
            ("recovery", AGES),
            ("comment", "bell \a"),
            ("market_context", "http://nowhere.example"),
            ("zone", "Mars/Olympus"),
        )
    ),
    *(
        ("/events/new", "/events/new", {**WIZARD, "zone": "Europe/Berlin", field: wrong}, field)
        for field, wrong in (
            ("starts", "0001-01-01T00:00"),
            ("starts", "2030-03-31T02:30"),
            ("ends", "9999-12-31T23:59"),
        )
    ),
    (
        "/events/new",
        "/events/new",
        {**WIZARD, "kind": "level", "unit": "level", "value": "1.5"},
        "value",
    ),
    *(
        ("/events/new", "/events/new", {**WIZARD, "everyone": "", field: wrong}, field)
        for field, wrong in (("nodes", "nobody"), ("resources", "nothing"), ("groups", "none"))
    ),
    *(
        ("/events/new", "/events/new", {**WIZARD, "step": "template", **name}, "template_name")
        for name in ({}, {"template_name": "Heat"}, {"template_name": "50/50"})
    ),
    *(
        ("/events/peak/modify", "/events/peak/modify", {**MODIFY, field: wrong}, field)
        for field, wrong in (("value", NONSENSE), ("duration", NONSENSE), ("duration", ""))
    ),
    ("/events/peak/modify", "/events/peak/modify", {**MODIFY, "modification": "9"}, ""),
    ("/events/peak/cancel", "/events/peak/cancel", {"modification": "9"}, ""),
    ("/events/peak/end", "/events/peak/end", {"modification": "9"}, ""),
    ("/stop", "/stop", {"word": "stopp"}, "word"),
    ("/add-node", "/add-node", {"ven_id": "new", "certificate": NONSENSE}, "certificate"),
    ("/add-node", "/add-node", {"ven_id": "new"}, "certificate_sha256"),
    ("/add-node", "/add-node", {"certificate_sha256": NONSENSE}, "certificate_sha256"),
    ("/add-node", "/add-node", {"ven_id": "mill", "certificate_sha256": f"{77:064x}"}, "ven_id"),
    ("/add-node", "/add-node", {"ven_id": LONG, "certificate_sha256": f"{77:064x}"}, "ven_id"),
    ("/add-node", "/add-node", {"ven_id": "..", "certificate_sha256": f"{77:064x}"}, "ven_id"),
    ("/groups", "/groups", {"group_id": "north", "name": "North"}, "group_id"),
    ("/groups", "/groups", {"group_id": "a/b", "name": "North"}, "group_id"),
    ("/groups", "/groups", {"group_id": "south", "name": LONG}, "name"),
    ("/groups", "/groups", {"group_id": "south", "vens": "nobody"}, "vens"),
    ("/groups", "/contexts", {"uri": "no address"}, "uri"),
    ("/groups", "/contexts", {"uri": CONTEXT, "context_name": NONSENSE}, "uri"),
    ("/groups", "/contexts/edit", {"of": CONTEXT, "new_name": "P", "seen": "old"}, "new_name"),
    ("/groups", "/contexts/edit", {"of": CONTEXT, "new_name": LONG}, "new_name"),
    ("/groups/north", "/groups/north", {"name": NONSENSE, "vens": "nobody"}, "vens"),
    ("/groups/north", "/groups/north", {"name": LONG, "vens": "mill"}, "name"),
    ("/groups/north", "/groups/north", {"name": "N", "vens": "", "seen": "old"}, ""),
    ("/nodes/mill", "/nodes/mill/revoke", {"typed": "mil"}, "typed"),
    ("/nodes/mill", "/nodes/mill/deregister", {"typed_end": "mil"}, "typed_end"),
    ("/nodes/mill", "/nodes/mill/resources", {"resource_id": LONG}, "resource_id"),
    ("/nodes/mill", "/nodes/mill/certificate", {"certificate": NONSENSE}, "certificate"),
    ("/nodes/mill", "/nodes/mill/certificate", {"certificate": ""}, "certificate"),
    *(
        ("/reports/mill", "/reports/mill", {**REPORT, field: wrong}, field)
        for field, wrong in (
            ("specifier", "none"),
            ("points", "Q"),
            ("granularity", NONSENSE),
            ("granularity", "1s"),
            ("back", NONSENSE),
            ("start", "25:00"),
            ("start", "9999-12-31T00:00Z"),
            ("duration", NONSENSE),
        )
    ),
    ("/users", "/users", {"name": NONSENSE, "roles": "viewer"}, "name"),
    ("/users", "/users", {"name": "bert"}, "roles"),
    ("/users/admin", "/users/admin", {"version": "1"}, "roles"),
]
UNMARKED = {"roles", "groups", "market_context"}
"""Check boxes, and a field that is hidden while there is no choice: the sentence stands there."""
UNTYPED = re.compile(
    r"/logout|/nodes/mill/reregister|/reports/mill/[^/]+/cancel|/users/admin/reset"
    r"|/users/sessions/[^/]+/end|/enrolment.*|/account.*|/events/templates/remove"
)
"""Buttons without a field, forms of others' pages, and enrolment, which this VTN does not do."""


@pytest.fixture
async def client(house):
    """Somebody who may do everything, at a VTN where there is one of each."""
    mill = await house.registered("mill")
    await mill.offer()
    (asked,) = (await house.desk.reports("mill")).requests
    measured = values(asked.request.report_request_id, house.clock.now(), (41_000.0,))
    await mill.update(measured)
    await house.desk.add_group("north", "North", ven_ids=["mill"], by="anna")
    await house.publish(event_id="peak")
    await house.desk.put_template("Heat", ORDER, by="anna")
    return await browser(house, Role.ADMIN)


async def test_nonsense_is_kept_told_beside_its_field_and_no_act(house, client):
    before = (await house.desk.audit(limit=1))[0].number
    wrongs = [fault for form in FORMS for fault in await wrongs_of(client, *form)]

    assert wrongs == []
    assert (await house.desk.audit(limit=1))[0].number == before


async def wrongs_of(client, path, action, fields, wrong):
    """What is wrong with how a form answers nonsense."""
    shown = Page((await client.get(path)).text)
    hidden = shown.posts.get(action, shown.posts.get("", {}))
    page = await client.post(action, data={**hidden, **fields})
    seen = Page(page.text)
    lost = {
        name: seen.fields[name]
        for name, typed in fields.items()
        if name in seen.fields and typed and seen.fields[name] != typed
    }
    found = {
        "status": page.status_code if page.status_code not in (404, 409, 422) else "",
        "no alert": 'role="alert"' not in page.text,
        "beside": seen.faults if seen.faults != ({wrong} if wrong else set()) else "",
        "not marked": seen.faults - seen.invalid - UNMARKED,
        "lost": lost,
    }
    return [(action, fields, name, what) for name, what in found.items() if what]


async def test_no_form_is_left_out(house, client):
    known = {action for _path, action, _fields, _wrong in FORMS}
    paths = {path for path, _action, _fields, _wrong in FORMS}
    for path in sorted(paths | {"/", "/events", "/nodes", "/reports", "/messages", "/health"}):
        shown = Page((await client.get(path)).text)
        assert shown.posts
        for action in shown.posts:
            assert (action or path) in known or UNTYPED.fullmatch(action), (path, action)


async def test_a_time_that_is_none_is_kept_and_told_beside_its_field(client):
    for path, field, other in (
        ("/nodes/mill", "from", {}),
        ("/nodes/mill", "to", {"from": "2030-01-01"}),
        ("/audit", "from", {}),
        ("/exports/mill", "from", {}),
    ):
        seen = Page((await client.get(path, params={field: "noonish", **other})).text)
        assert seen.faults == {field}, path
        assert seen.fields[field] == "noonish"


async def test_what_no_calendar_and_no_database_holds_is_no_mistake_of_ours(client):
    decade = "from=9995-01-01&to=9996-01-01"
    for path in (
        "/events/calendar?month=9999-12",
        "/events/calendar?month=0001-01",
        f"/nodes/mill?{decade}",
        f"/nodes/mill/chart.json?r=P&{decade}",
        f"/nodes/mill/values.csv?r=P&{decade}",
        f"/exports/mill?{decade}",
        f"/audit?{decade}",
    ):
        assert (await client.get(path)).status_code == 200, path
    assert (await client.get(f"/message/{10**30}")).status_code == 404
    wrong = await client.get("/events?page=0")
    assert (wrong.status_code, "page: Expected" in wrong.text) == (400, True)
