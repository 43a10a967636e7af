"""The operators' listener of two workers on PostgreSQL, over TLS: one console, whoever answers."""

import contextlib
import http.client
import json
import re
import ssl
import urllib.parse

import pytest

from tests.story.vtn.test_workers import WITHIN_S, Served, soon, worker_of
from tests.story.vtn.utility import CONTEXT
from vtn.accounts.throttle import BY_CLIENT

pytestmark = pytest.mark.timeout(300)
OWN = "four words that are mine"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Desk:
    """Somebody at a browser whose requests all go to the same worker."""

    def __init__(self, served, worker):
        self.served, self.worker = served, worker

    def line(self):
        """A new connection to this worker: idle ones are closed after a few seconds."""
        while True:
            line = http.client.HTTPSConnection(
                "127.0.0.1",
                self.served.operator_port,
                context=ssl.create_default_context(cafile=self.served.authority.vtn_trust),
                timeout=3 * WITHIN_S,
            )
            line.connect()
            port = line.sock.getsockname()[1]
            if worker_of(self.served, port, self.served.operator_port) == self.worker:
                return line
            line.close()

    def ask(self, method, path, body=None, headers=None):
        """(status, body, cookies)"""
        with contextlib.closing(self.line()) as line:
            line.request(method, path, body=body, headers=headers or {})
            answer = line.getresponse()
            said = answer.read().decode()
        cookies = [one.partition(";")[0] for one in answer.headers.get_all("set-cookie") or ()]
        return answer.status, said, dict(one.split("=", 1) for one in cookies)

    def send(self, path, cookies=None, *, page="", **fields):
        """The form of this path, or one that stands on `page`, filled in and sent."""
        kept = dict(cookies or {})
        _, page, given = self.ask("GET", page or path, headers=cookie(kept))
        kept |= given
        token = re.search(r'name="_csrf_token" value="([^"]+)"', page)[1]
        body = urllib.parse.urlencode({"_csrf_token": token, **fields})
        status, said, given = self.ask("POST", path, body, FORM | cookie(kept))
        return status, said, kept | given


def cookie(kept):
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}


@pytest.fixture(scope="module")
def served(tmp_path_factory, authority, postgres):
    ecc = authority.folder / "vtn-ecc"
    tls = f'cert = "{ecc}.crt"\nkey = "{ecc}.key"'
    folder = tmp_path_factory.mktemp("desks")
    found = Served(folder, authority, postgres, workers=2, operator=tls)
    try:
        found.serve()
        found.run("contexts", "add", CONTEXT)
        found.run("vens", "add", "mill", "--fingerprint", "ab" * 32)
        yield found
        assert found.stop() == 0, found.log()
    finally:
        found.stop()
        postgres.drop(found.database)


@pytest.fixture
def two(served):
    """Somebody at each of the two workers."""
    soon("two workers", lambda: len(served.workers()) == 2)
    return [Desk(served, worker) for worker in served.workers()]


def test_who_logs_in_at_one_worker_is_logged_in_and_followed_at_the_other(served, two):
    here, there = two
    once = served.run("user", "add", "anna", "--role", "operator").split()[-1]
    status, said, kept = here.send("/login", name="anna", password=once)
    assert status == 303, said
    assert kept["vtn_session"]
    status, said, kept = there.send("/account/password", kept, old=once, new=OWN, again=OWN)
    assert status == 303, said
    for one in (there, here):
        status, said, _ = one.ask("GET", "/api/v1/me", headers=cookie(kept))
        assert (status, json.loads(said)["name"]) == (200, "anna")

    signals = [{"name": "SIMPLE", "type": "level", "value": 1}]
    order = {"signals": signals, "start": "now+1h", "duration": "5m", "vens": ["mill"]}
    bearer = (served.folder / "operator.token").read_text().strip()
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    with contextlib.closing(there.line()) as line:
        line.request("GET", "/live?topic=events", headers=cookie(kept))
        live = line.getresponse()
        assert live.status == 200
        told = live.readline().decode()
        status, said, _ = here.ask("POST", "/api/v1/events", json.dumps(order), headers)
        assert status == 201, said
        while "publish event" not in told.splitlines()[-1]:
            told += live.readline().decode() or pytest.fail(f"the feed ended after {told}")
        live.close()

    status, _, _ = here.send("/logout", kept, page="/account")
    assert status == 303
    assert there.ask("GET", "/api/v1/me", headers=cookie(kept))[0] == 401


def test_wrong_passwords_at_one_worker_count_at_the_other(served, two):
    here, there = two
    for number in range(BY_CLIENT[0]):
        status, _, _ = two[number % 2].send("/login", name="nobody", password="wrong")
        assert status == 401
    for one in (here, there):
        status, said, _ = one.send("/login", name="nobody", password="wrong")
        assert (status, "Too many wrong passwords" in said) == (429, True)
