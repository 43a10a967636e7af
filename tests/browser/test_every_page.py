"""The console's pages in a real browser, on a VTN with 10,000 nodes and a day of readings."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, StorageState, expect

from bench.screen import lags_s, pages
from bench.town import Town
from bench.window import TELEPHONE, Window
from tests.browser.conftest import Open, axe
from vtn.accounts import Role
from vtn.console.door import routers

pytestmark = pytest.mark.timeout(600)

GENEROUS_MS = 15_000
"""Drawn within; `python -m bench.screen` measures how soon. A machine that tests may be slow."""
GENEROUS_S = 20.0


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("town"))
    try:
        town.open()
        yield town
    finally:
        town.close()


@pytest.fixture(scope="module")
def anna(town: Town, browser) -> StorageState:
    """What the browser of an admin remembers, who has logged in."""
    return logged_in(browser, town, "anna", Role.ADMIN)


def logged_in(browser, town: Town, name: str, *roles: Role) -> StorageState:
    window = Window(browser, town.address)
    window.page.goto("/login")
    assert axe(window) == []
    window.log_in(name, town.new_user(name, *roles))
    remembered = window.context.storage_state()
    window.close()
    return remembered


ELSEWHERE = {
    "/login": "every window that logs in",
    "/message/{number:int}": "test_a_day_at_the_desk: only real programs say something",
    "/login/oidc": "test_provider",
    "/login/oidc/back": "test_provider",
    "/login/oidc/out": "test_provider",
    "/exports/{ven_id:str}": "a file; a page only where it is refused",
}


def test_no_page_is_forgotten() -> None:
    town = SimpleNamespace(event_id="e", measured_node="n", proposal_id="p")
    served = {
        route.path
        for route in routers(None, datetime.now)[0].routes
        for handler in route.route_handlers
        if "GET" in handler.http_methods and "Template" in str(handler.fn.__annotations__["return"])
    }
    opened = [path.partition("?")[0] for path in pages(town, "anna").values()]
    forms = {path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)) for path in served}
    never = {path for path in served if not any(map(forms[path].fullmatch, opened))}
    assert never == set(ELSEWHERE)


@pytest.mark.parametrize(("scheme", "size"), [("light", None), ("dark", TELEPHONE)])
def test_every_page_is_drawn_in_time_fits_and_is_open_to_everybody(
    town: Town, anna: StorageState, open_window: Open, scheme: str, size: object
) -> None:
    more = {} if size is None else {"viewport": size}
    window = open_window(town.address, storage_state=anna, color_scheme=scheme, **more)
    faults = []
    for name, path in pages(town, "anna").items():
        took_ms = window.show(path)
        faults += axe(window)
        if took_ms > GENEROUS_MS:
            faults.append(f"{name} is drawn after {took_ms:.0f} ms")
        if (pixels := window.too_wide()) > 0:
            faults.append(f"{name} is {pixels} px wider than the window")
    assert faults == []


def test_the_charts_hold_a_day_of_readings_and_a_list_shows_a_page_of_ten_thousand(
    town: Town, anna: StorageState, open_window: Open
) -> None:
    window = open_window(town.address, storage_state=anna)

    window.show(f"/nodes/{town.measured_node}?span=24h")
    given = window.page.evaluate(
        "async () => (await fetch(document.querySelector('[data-chart]').dataset.chart)).json()"
    )
    assert len(given["series"][0]["values"]) > 21_000

    window.show("/nodes")
    expect(window.page.locator("#first")).to_contain_text("of 9,950 nodes are online")
    assert 0 < window.page.locator("main tbody tr").count() <= 200


def test_a_list_that_is_open_moves_when_somebody_else_publishes(
    town: Town, anna: StorageState, open_window: Open
) -> None:
    window = open_window(town.address, storage_state=anna)

    for days, path in enumerate(("/events", "/"), 1):
        assert max(lags_s(window, town, path, times=2, days=days)) < GENEROUS_S, path


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page: Page, name: str, role: str = "") -> None:
    """Go on with the tab key until what has the focus is called so."""
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const one = document.activeElement;
              const label = one.labels?.[0]?.textContent ?? one.textContent;
              return [label.trim(), one.tagName];
            }"""
        )
        if found[0] == name and role in ("", found[1]):
            return
    pytest.fail(f"the tab key does not come to {name}")


def test_an_event_is_published_and_cancelled_with_the_keyboard_alone(
    town: Town, anna: StorageState, open_window: Open
) -> None:
    page = open_window(town.address, storage_state=anna).page
    page.goto("/")
    press(page, "Tab")
    expect(page.locator(".skip")).to_be_focused()
    tab_to(page, "Events")
    press(page, "Enter")
    page.wait_for_url("**/events")
    tab_to(page, "New event")
    press(page, "Enter")
    page.wait_for_url("**/events/new")
    for label, typed in (
        ("How much", "5"),
        ("or lasts", "10m"),
        ("Nodes", town.measured_node),
        ("Name", "By hand"),
    ):
        tab_to(page, label)
        page.keyboard.type(typed)
    tab_to(page, "Preview event", "BUTTON")
    press(page, "Enter")
    page.get_by_role("heading", name="What will happen").wait_for()
    tab_to(page, "Publish event", "BUTTON")
    press(page, "Enter")
    expect(page.locator("p.said")).to_have_text("Published: 1 node will be told.")
    tab_to(page, "Cancel event")
    press(page, "Enter")
    page.wait_for_url("**/cancel")
    tab_to(page, "Cancel event", "BUTTON")
    press(page, "Enter")
    expect(page.locator("p.said")).to_contain_text("ancelled")


def test_what_was_typed_stays_and_what_is_wrong_stands_beside_it(
    town: Town, anna: StorageState, open_window: Open
) -> None:
    page = open_window(town.address, storage_state=anna).page
    page.goto("/events/new")
    page.get_by_label("How much", exact=True).fill("a lot")
    page.get_by_label("or lasts").fill("two weeks")
    page.get_by_label("Nodes", exact=True).fill("nobody")
    page.get_by_label("Name", exact=True).fill("<b>Peak</b>")
    page.get_by_role("button", name="Preview event").click()

    expect(page.locator(".said.bad")).to_be_visible()
    wrong = page.get_by_label("How much", exact=True)
    expect(wrong).to_have_value("a lot")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    described = (wrong.get_attribute("aria-describedby") or "").split()[0]
    expect(page.locator(f"#{described}")).to_be_visible()
    expect(page.get_by_label("or lasts")).to_have_value("two weeks")
    expect(page.get_by_label("Nodes", exact=True)).to_have_value("nobody")
    expect(page.get_by_label("Name", exact=True)).to_have_value("<b>Peak</b>")


def test_of_two_operators_who_change_an_event_the_second_is_told(
    town: Town, anna: StorageState, browser, open_window: Open
) -> None:
    name = f"Both of us {datetime.now(UTC):%H%M%S}"
    town.publish(name, datetime.now(UTC) + timedelta(days=9), node=town.measured_node)
    bert = logged_in(browser, town, f"bert{datetime.now(UTC):%H%M%S}", Role.OPERATOR)
    first, second = (open_window(town.address, storage_state=login).page for login in (anna, bert))
    for page in (first, second):
        page.goto("/events")
        page.get_by_role("link", name=name).click()
        page.get_by_role("link", name="Modify event").click()
    for page, kilowatts in ((first, "7"), (second, "9")):
        page.get_by_label("Reduce by").fill(kilowatts)
        page.get_by_role("button", name="Preview change").click()
        if page is first:
            page.get_by_role("button", name="Modify event").click()
            expect(page.locator("p.said")).to_contain_text("Modified (modification 1)")

    expect(second.locator("p.said.bad")).to_contain_text("somebody else changed it")
    expect(second.get_by_label("Reduce by")).to_have_value("9")
