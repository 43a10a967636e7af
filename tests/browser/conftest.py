"""A browser for tests, and windows that must have nothing to complain of."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from bench.errors import BenchFault
from bench.window import WAIT_MS, Window, chromium

AXE = Path(__file__).resolve().parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"

expect.set_options(timeout=WAIT_MS)

Open = Callable[..., Window]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        with chromium() as running:
            yield running
    except BenchFault as missing:
        pytest.fail(str(missing))


@pytest.fixture
def open_window(browser: Browser) -> Iterator[Open]:
    """`open_window(address)`; at the end none of them may have complained."""
    windows: list[Window] = []

    def opened(address: str, **context: object) -> Window:
        windows.append(Window(browser, address, **context))
        return windows[-1]

    yield opened
    for window in windows:
        window.close()
    assert [one for window in windows for one in window.complaints] == []


def axe(window: Window) -> list[str]:
    """What axe-core finds serious or critical on the page that is shown."""
    if not AXE.exists():
        pytest.fail("axe-core is missing in tests/npm; run scripts/npm, or make test.")
    window.page.evaluate(AXE.read_text() + "; undefined")
    found = window.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{window.page.url}: {one['id']}: {one['help']} at {one['nodes'][0]['target']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
