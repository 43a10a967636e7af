"""An operator's day in a real browser, while real programs deliver what is asked."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bench.window import Window
from chaos.house import House
from tests.browser.conftest import Open, axe

ON_TIME = 120_000
"""ms until something must have happened that the programs need a minute for."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("house")
    house = House(folder, f"sqlite:///{folder / 'vtn.db'}")
    try:
        house.open()
        yield house
    finally:
        house.close()


def look_around(house: House, window: Window) -> None:
    """In another window, what only real programs fill: the node, its reports, what was said."""
    ven_id, page, faults = house.ven_id, window.page, []
    for path, said in (
        (f"/nodes/{ven_id}", "TELEMETRY_USAGE"),
        (f"/reports/{ven_id}", "TELEMETRY_USAGE"),
        (f"/messages/{ven_id}?q=oadrCreatedEvent", "Answered"),
        ("/health", "OadrPoll"),
    ):
        window.show(path)
        expect(page.locator("main")).to_contain_text(said)
        faults += axe(window)
    page.goto(f"/messages/{ven_id}?q=oadrCreatedEvent")
    page.get_by_role("link", name="oadrCreatedEvent").first.click()
    expect(page.locator("main")).to_contain_text("<oadr:oadrCreatedEvent")
    assert faults + axe(window) == []


@pytest.mark.timeout(600)
def test_log_in_publish_watch_it_delivered_end_it_and_find_it_all_in_the_audit(
    house: House, open_window: Open
) -> None:
    roles = ("--role", "operator", "--role", "auditor")
    once = house.cli("vtn", "user", "add", "anna", *roles).strip().rpartition(" ")[2]
    window = open_window(f"http://127.0.0.1:{house.operator_port}")
    window.log_in("anna", once)
    page = window.page
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#first")).to_contain_text("Nothing is ordered")

    # In the operator's words, and seen before it is published.
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_role("link", name="New event").first.click()
    page.get_by_label("What is asked").select_option(label="Reduce by")
    page.get_by_label("How much", exact=True).fill("60")
    page.get_by_label("or lasts").fill("10m")
    page.get_by_label("Notice").fill("0s")
    page.get_by_label("Nodes", exact=True).fill(house.ven_id)
    page.get_by_label("Name", exact=True).fill("Peak Tuesday")
    page.get_by_role("button", name="Preview event").click()
    expect(page.locator("#first")).to_contain_text("Reduce by 60 kW at 1 node")
    page.get_by_role("button", name="Publish event").click()

    # From here on nobody touches the page: it moves by itself.
    expect(page.locator("p.said")).to_have_text("Published: 1 node will be told.")
    rung = page.locator(f'#ladder tr[data-key="{house.ven_id}"] .ladder li')
    for place, name in enumerate(("notified", "opted")):
        expect(rung.nth(place)).to_have_class(re.compile("done"))
        expect(rung.nth(place)).to_contain_text(name)
    look_around(house, open_window(window.address, storage_state=window.context.storage_state()))
    expect(rung.nth(4)).to_have_class(re.compile("done"), timeout=ON_TIME)
    expect(rung.nth(4)).to_contain_text("delivering")
    expect(page.locator("#first")).to_contain_text(
        re.compile(r"(9\d|1\d\d) % delivered"), timeout=ON_TIME
    )
    assert max(load.reduction_w for load in house.loads()) > 50_000
    expect(page.locator("#power canvas")).to_be_visible()
    expect(page.locator("#power-legend")).to_contain_text(re.compile(r"measured \d"))

    # Cancelled, and the building is its own again.
    page.get_by_role("link", name="Cancel event").click()
    page.get_by_role("button", name="Cancel event").click()
    expect(page.locator("p.said")).to_contain_text("ancelled")
    expect(page.locator("#facts")).to_contain_text("ancelled")
    house.wait("the load comes back", lambda: house.loads()[-1].reduction_w < 6_000, within_s=60)

    page.get_by_role("link", name="Audit").click()
    lines = page.locator("main tbody tr")
    for act in ("publish event", "cancel event"):
        expect(lines.filter(has_text=act).filter(has_text="operator:anna").first).to_be_visible()
