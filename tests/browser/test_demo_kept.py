"""`make demo KEEP=1` leaves a console behind, and says how to get in."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open


def said_until(running: subprocess.Popen[str], pattern: str, *, within_s: float) -> re.Match[str]:
    """What it says up to there; it is ended where it takes too long."""
    assert running.stdout is not None
    alarm = threading.Timer(within_s, running.terminate)
    alarm.start()
    said = ""
    for line in running.stdout:
        said += line
        if found := re.search(pattern, said, re.DOTALL):
            alarm.cancel()
            return found
    raise AssertionError(said)


@pytest.mark.timeout(600)
def test_the_demonstration_that_stays_lets_its_reader_into_the_console(
    tmp_path: Path, open_window: Open
) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "demo", "--out", str(tmp_path / "out"), "--keep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        address, path, name, once = said_until(
            running,
            r"(http://127\.0\.0\.1:\d+)(/events/\S+)\s+name (\S+), one-time password (\S+)\n",
            within_s=400,
        ).groups()
        window = open_window(address)
        window.log_in(name, once)
        window.show(path)
        page = window.page
        expect(page.locator("#first")).to_contain_text("demonstration")
        expect(page.locator("#verified")).to_contain_text("demo-site")
        expect(page.locator("#power canvas")).to_be_visible()
    finally:
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=60)
    assert running.returncode == 0, said
