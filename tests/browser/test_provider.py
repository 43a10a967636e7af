"""Logging in at an identity provider of another site, in a real browser."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser, expect

from bench.window import WAIT_MS
from demo.ports import free_port
from tests.story.vtn.provider import CLIENT, SECRET, providing

VTN = Path(sys.executable).with_name("vtn")
CLOCK = SimpleNamespace(now=lambda: datetime.now(UTC))


@pytest.fixture
def provider():
    with providing(CLOCK) as found:
        found.asks = True
        yield found


@pytest.fixture
def console(tmp_path, authority, provider):
    """The address of a console whose operators log in at the provider."""
    port, ecc = free_port(), authority.folder / "vtn-ecc"
    (tmp_path / "oidc.secret").write_text(SECRET)
    config = tmp_path / "vtn.toml"
    config.write_text(
        f"""
[vtn]
id = "vtn"
[openadr]
host = "127.0.0.1"
port = {free_port()}
client_ca = "{authority.ven_trust}"
certificates = [{{ cert = "{ecc}.crt", key = "{ecc}.key" }}]
[operator]
port = {port}
token_file = "operator.token"
[operator.oidc]
name = "Example ID"
issuer = "{provider.issuer}"
client_id = "{CLIENT}"
client_secret_file = "oidc.secret"
console_url = "http://localhost:{port}"
[operator.oidc.roles]
grid-ops = "operator"
"""
    )
    subprocess.run([VTN, "init", "--config", config], check=True, capture_output=True)
    done = subprocess.run(
        [VTN, "check", "--config", config], check=False, capture_output=True, text=True
    )
    assert f"{provider.issuer} answers" in " ".join(done.stdout.split()), done.stdout
    log = (tmp_path / "serve.log").open("w+")
    process = subprocess.Popen([VTN, "serve", "--config", config], stderr=log, stdout=log)
    try:
        deadline = time.monotonic() + 60
        while "listening" not in (tmp_path / "serve.log").read_text():
            assert time.monotonic() < deadline, (tmp_path / "serve.log").read_text()
            time.sleep(0.05)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(60)
        log.close()


@pytest.mark.timeout(300)
def test_who_comes_from_the_provider_goes_on_to_their_page_and_is_logged_in(
    browser: Browser, console, provider
):
    """localhost and 127.0.0.1 are two sites: strict cookies go nowhere from one to the other."""
    context = browser.new_context(base_url=console)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    try:
        page.goto("/events")
        page.get_by_role("link", name="Log in with Example ID").click()
        page.get_by_role("button", name="It is me").click()
        page.wait_for_url(f"{console}/events")
        expect(page.get_by_role("link", name="anna")).to_be_visible()

        page.get_by_role("button", name="Log out").click()
        way_out = page.get_by_role("link", name="Log out of Example ID, too")
        expect(way_out).to_have_attribute("href", "/login/oidc/out")
    finally:
        context.close()
