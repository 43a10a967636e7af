# SPDX-License-Identifier: Apache-2.0
"""python -m bench.screen: how soon the console's pages are drawn, and how soon they move.

In a real browser, on a VTN with many nodes (bench.town). With --pictures every page is kept as a
picture, too: at a desk by day and by night, and on a telephone.
"""

import io
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from PIL import Image
from playwright.sync_api import Browser, StorageState

from bench.gauge import cpu_s
from bench.town import Town
from bench.window import DESK, TELEPHONE, Window, chromium
from doorway import Door, show
from vtn.accounts import Role

COLOURS: Final = 128
"""A picture has no more: it takes a third of the room, and those of states stay as they are."""
DRAWN_WITHIN_MS: Final = 1000.0
MOVES_WITHIN_S: Final = 2.0
USER: Final = "anna"


def pages(town: Town, user: str) -> Mapping[str, str]:
    """The name of each page of the console, and where it is."""
    event, node = f"/events/{town.event_id}", town.measured_node
    return {
        "now": "/",
        "events": "/events",
        "calendar": "/events/calendar",
        "new-event": "/events/new",
        "event": event,
        "modify": f"{event}/modify",
        "cancel": f"{event}/cancel",
        "end": f"{event}/end",
        "report": f"{event}/report",
        "proposal": f"/events/proposals/{town.proposal_id}",
        "stop": "/stop",
        "nodes": "/nodes",
        "node": f"/nodes/{node}?span=24h",
        "add-node": "/add-node",
        "enrolment": "/enrolment",
        "groups": "/groups",
        "group": "/groups/north",
        "reports": "/reports",
        "node-reports": f"/reports/{node}",
        "messages": "/messages",
        "node-messages": f"/messages/{node}",
        "audit": "/audit",
        "health": "/health",
        "users": "/users",
        "user": f"/users/{user}",
        "account": "/account",
        "password": "/account/password",
        "refused": "/events/no-such-event",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One look at one page; in ms."""

    drawn_ms: float
    vtn_ms: float
    """CPU of the VTN; it says the same on a busy machine."""


def visits(
    window: Window, vtn: int, paths: Sequence[str], *, times: int
) -> Mapping[str, list[Visit]]:
    """Open each page so many times; `vtn` is the VTN's process. The first visit is a cold one."""
    found: dict[str, list[Visit]] = {path: [] for path in paths}
    for _ in range(times):
        for path in paths:
            before_s = cpu_s(vtn)
            drawn_ms = window.show(path)
            found[path].append(Visit(drawn_ms=drawn_ms, vtn_ms=1000 * (cpu_s(vtn) - before_s)))
    return found


_SEEN: Final = """(name) => {
  window.seen = new Promise((done) => {
    const look = () => {
      if (![...document.querySelectorAll("td a")].some((one) => one.textContent === name)) return;
      watch.disconnect();
      done(performance.timeOrigin + performance.now());
    };
    const watch = new MutationObserver(look);
    watch.observe(document.body, { childList: true, characterData: true, subtree: true });
    look();
  });
}"""


def lags_s(window: Window, town: Town, path: str, *, times: int, days: int = 1) -> list[float]:
    """From the answer that an event is published until its line stands on the page at `path`.

    The events are so many days ahead; those of two calls may not be on the same day.
    """
    window.show(path)
    window.page.get_by_text("Live", exact=True).wait_for()
    found = []
    first_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    for number in range(times):
        name = f"Lag {number} of {path}"
        window.page.evaluate(_SEEN, name)
        town.publish(name, first_at + timedelta(minutes=number), node=town.measured_node)
        published_at = time.time()
        seen_ms: float = window.page.evaluate("() => window.seen")
        found.append(seen_ms / 1000 - published_at)
        window.page.wait_for_timeout(137 * (number % 11))  # at any moment between two updates
    return found


def keep_pictures(browser: Browser, town: Town, login: StorageState, folder: Path) -> int:
    """Write every page into `folder`, as NAME-light.png, NAME-dark.png and NAME-small.png."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for kind, scheme, size in (
        ("light", "light", DESK),
        ("dark", "dark", DESK),
        ("small", "light", TELEPHONE),
    ):
        window = Window(
            browser, town.address, color_scheme=scheme, viewport=size, storage_state=login
        )
        for name, path in pages(town, USER).items():
            window.show(path)
            picture = Image.open(io.BytesIO(window.page.screenshot()))
            palette = picture.convert("RGB").quantize(
                COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
            )
            palette.save(folder / f"{name}-{kind}.png", optimize=True)
        window.close()
    return sum(one.stat().st_size for one in folder.glob("*.png"))


def share(values: Sequence[float], fraction: float) -> float:
    """The value that so many of them do not exceed."""
    return sorted(values)[max(0, math.ceil(fraction * len(values)) - 1)]


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="Example: python -m bench.screen --pictures docs/images/console",
)
@click.option("--nodes", type=click.IntRange(min=1000), default=10_000, show_default=True)
@click.option("--times", type=click.IntRange(min=1), default=10, show_default=True)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep pictures of all pages here; what is there is replaced.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench/out/screen"),
    help="Where the run lives; what is there is replaced.",
)
def screen(*, nodes: int, times: int, pictures: Path | None, out: Path) -> None:
    """Measure the console in a browser."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    town = Town(out.resolve(), nodes=nodes)
    try:
        town.open()
        with chromium() as browser:
            window = Window(browser, town.address)
            window.log_in(USER, town.new_user(USER, Role.ADMIN))
            login = window.context.storage_state()
            if pictures is not None:
                size = keep_pictures(browser, town, login, pictures)
                show(f"pictures in {pictures}: {size / 1e6:.1f} MB")
            _measure(window, town, times)
            for complaint in window.complaints:
                show(f"the browser complains: {complaint}")
    finally:
        town.close()


def _measure(window: Window, town: Town, times: int) -> None:
    known = pages(town, USER)
    names = {known[name]: name for name in ("now", "events", "event", "nodes", "node")}
    show(f"{town.nodes:,} nodes; drawn after (ms), goal {DRAWN_WITHIN_MS:g}; CPU of the VTN (ms)")
    show(f"{'page':<10}{'first':>8}{'median':>8}{'longest':>9}{'CPU':>7}")
    for path, seen in visits(window, town.vtn.pid, list(names), times=times).items():
        drawn = [one.drawn_ms for one in seen]
        busy_ms = share([one.vtn_ms for one in seen], 0.5)
        row = f"{drawn[0]:8.0f}{share(drawn, 0.5):8.0f}{max(drawn):9.0f}{busy_ms:7.0f}"
        show(f"{names[path]:<10}{row}")
    for days, name in enumerate(("events", "now"), 1):
        lags = lags_s(window, town, known[name], times=4 * times, days=days)
        show(
            f"an update of {name} is seen after (s), goal {MOVES_WITHIN_S:g}: "
            f"median {share(lags, 0.5):.2f}, p95 {share(lags, 0.95):.2f}, "
            f"longest {max(lags):.2f}, of {len(lags)}"
        )


if __name__ == "__main__":
    screen()
