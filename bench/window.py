# SPDX-License-Identifier: Apache-2.0
"""Debian's chromium without a screen, driven by Playwright, with the console in its windows.

A window notes whatever the browser complains of: a script that fails, a breach of the content
security policy, a request that leaves the console's own address, an answer that should not be.
"""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any, Final

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    sync_playwright,
)

from bench.errors import BenchFault

WAIT_MS: Final = 30_000
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of throw-away users
DESK: Final = ViewportSize(width=1440, height=900)
TELEPHONE: Final = ViewportSize(width=390, height=844)

_WATCH: Final = """
addEventListener("DOMContentLoaded", () => {
  const painted = (act) => requestAnimationFrame(() => requestAnimationFrame(act));
  const there = (what) => document.querySelectorAll(what).length;
  const charts = there("[data-chart]");
  const mark = () => {
    if (there("[data-chart] canvas, [data-chart] .empty") < charts) return;
    watch.disconnect();
    painted(() => performance.mark("drawn"));
  };
  const watch = new MutationObserver(mark);
  watch.observe(document.documentElement, { childList: true, subtree: true });
  mark();
});
"""
"""Sets the mark "drawn" when every chart of the page has been painted, or the page, without one."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. While it runs, this thread can run no event loop of its own.

    Raises BenchFault where there is no chromium.
    """
    found = shutil.which("chromium")
    if found is None:
        raise BenchFault("chromium is missing: apt-get install chromium, or run scripts/packages.")
    words = ["--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=words)
        try:
            yield running
        finally:
            running.close()


class Window:
    """One person's window on the console at `address`."""

    def __init__(self, browser: Browser, address: str, **context: Any) -> None:
        """`context` as Playwright's new_context takes it: colour_scheme, viewport ..."""
        self.address = address
        self.complaints: list[str] = []
        self.context = browser.new_context(
            base_url=address,
            **{"viewport": DESK, "timezone_id": "Europe/Berlin", **context},
        )
        self.context.set_default_timeout(WAIT_MS)
        self.context.add_init_script(_WATCH)
        self.context.on("request", self._on_request)
        self.context.on("response", self._on_response)
        self.context.on("console", self._on_console)
        self.context.on("weberror", lambda found: self.complaints.append(str(found.error)))
        self.page: Page = self.context.new_page()

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.address}/", "data:", "blob:")):
            self.complaints.append(f"asked somebody else: {request.url}")

    def _on_response(self, response: Response) -> None:
        page = response.request.resource_type == "document"
        if response.status >= (500 if page else 400):
            self.complaints.append(f"{response.status} for {response.url}")

    def _on_console(self, said: ConsoleMessage) -> None:
        # Of a form that is refused the page is answered 4xx; _on_response looks at those.
        if said.type in ("error", "warning") and "Failed to load resource" not in said.text:
            self.complaints.append(f"console: {said.text}")

    def log_in(self, name: str, once: str) -> None:
        """With a one-time password, which has to be changed first."""
        page = self.page
        page.goto("/login")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(once)
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("The password you have").fill(once)
        page.get_by_label("The new password", exact=True).fill(PASSWORD)
        page.get_by_label("The new password again").fill(PASSWORD)
        page.get_by_role("button", name="Change password").click()
        page.get_by_text("Your password is changed").wait_for()

    def show(self, path: str) -> float:
        """Open a page and wait until it is drawn, charts and all; how long that took, in ms.

        By the browser's own clock, from the moment it began to ask for the page.
        """
        self.page.goto(path)
        self.page.wait_for_function("() => performance.getEntriesByName('drawn').length > 0")
        took: float = self.page.evaluate("() => performance.getEntriesByName('drawn')[0].startTime")
        return took

    def too_wide(self) -> int:
        """By how many pixels the page is wider than the window."""
        found: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return found

    def close(self) -> None:
        """Close the window and what it remembers."""
        self.context.close()
