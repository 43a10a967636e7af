"""The command line over the operator's API, in one process and without a socket."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from litestar.testing import TestClient

import vtn.config
from certs.authority import Authority
from oadr.vocabulary import OptType
from tests.unit.vtn.desk_in_memory import NOW, DeskInMemory
from vtn.cli import main
from vtn.operations import access, make_app
from vtn.records import EventAnswer

DIGEST = "ab" * 32
CONTEXT = "http://demandflex.example/peak"
SETTINGS = """
[vtn]
id = "vtn"
[openadr]
client_ca = "ca.crt"
certificates = [{ cert = "vtn.crt", key = "vtn.key" }]
[operator]
token_file = "operator.token"
port = 8444
"""
TOKEN = "a-token-of-twenty-signs"


class Office:
    """A desk, its API and the command line that speaks to it."""

    def __init__(self, folder: Path, desk: DeskInMemory, client: TestClient) -> None:
        self.folder = folder
        self.desk = desk
        self.client = client
        self.config = folder / "vtn.toml"

    def __call__(self, *words: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(
            main,
            [str(word) for word in words],
            env={"VTN_CONFIG": str(self.config), "LOGNAME": "anna"},
            input=stdin,
        )

    def json(self, *words: object):
        answer = self(*words, "--json")
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout)

    def api(self, method: str, path: str, *, token: str = TOKEN, **said):
        return self.client.request(
            method, f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"}, **said
        )


NO_VITALS = None
"""The probes are tried on a whole VTN: tests/story/vtn/test_operability.py."""


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> Iterator[tuple[DeskInMemory, TestClient]]:
    """One API for all tests of this file: to put it together takes longer than a test."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "vtn.toml").write_text(SETTINGS)
    (folder / "operator.token").write_text(TOKEN)
    desk = DeskInMemory()
    app = make_app(desk, vtn.config.load(folder / "vtn.toml"), NO_VITALS, now=lambda: NOW)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield desk, client


@pytest.fixture
def office(tmp_path: Path, monkeypatch, api: tuple[DeskInMemory, TestClient]) -> Office:
    (tmp_path / "vtn.toml").write_text(SETTINGS)
    (tmp_path / "operator.token").write_text(f"{TOKEN}\n")
    desk, client = api
    desk.forget()

    def over_nothing(_host: str, _port: int) -> Callable:
        def send(method, path, headers, body):
            answer = client.request(method, path, headers=headers, content=body)
            return answer.status_code, answer.content

        return send

    monkeypatch.setattr("vtn.operator_client._over_http", over_nothing)
    return Office(tmp_path, desk, client)


@pytest.fixture
def open_office(office: Office) -> Office:
    """With a VEN and a market context."""
    assert office("contexts", "add", CONTEXT).exit_code == 0
    assert office("vens", "add", "hq", "--fingerprint", DIGEST).exit_code == 0
    return office


DELTA = ("--signal", "LOAD_DISPATCH", "--type", "delta", "--unit", "kW")


def publish(office: Office, *words: object) -> dict:
    return office.json(
        *("event", "publish", "--ven", "hq", *DELTA, "--value", -200, "--duration", "10m"), *words
    )


# --- VENs -----------------------------------------------------------------------------------------


def test_a_ven_is_let_in_by_its_certificate(office: Office, authority: Authority) -> None:
    issued = authority.ven("hq-by-certificate")
    added = office.json("vens", "add", "hq", "--cert", issued.certificate, "--resource", "roof")

    assert added["certificate_sha256"] == issued.sha256
    assert added["fingerprint"] == issued.fingerprint
    assert added["resources"] == ["roof"]
    assert added["state"] == "expected"
    assert (added["certificate_known"], added["xml_signature"]) == (True, False)
    assert added["added_by"] == "anna"
    assert issued.fingerprint in office("vens", "list").stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate in PEM"),
        (
            "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n",
            "there is a private key in it",
        ),
    ],
)
def test_a_file_that_is_no_certificate_lets_nobody_in(
    office: Office, tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "ven.crt"
    file.write_text(text)
    answer = office("vens", "add", "other", "--cert", file)

    assert answer.exit_code == 1
    assert sentence in answer.stderr
    assert list(office.desk.known) == []


def test_a_full_fingerprint_may_be_written_with_colons(office: Office) -> None:
    added = office.json("vens", "add", "hq", "--fingerprint", ":".join(["AB"] * 32))

    assert added["certificate_sha256"] == DIGEST


def test_a_ven_is_shown_asked_revoked_and_given_resources(open_office: Office) -> None:
    assert open_office("vens", "resource", "hq", "roof").stdout == "hq has roof\n"
    assert "at its next poll" in open_office("vens", "reregister", "hq").stdout
    assert "at its next poll" in open_office("vens", "deregister", "hq").stdout
    assert "revoked hq" in open_office("vens", "revoke", "hq").stdout
    shown = open_office("vens", "show", "hq").stdout
    assert re.search(r"state +revoked", shown)
    assert DIGEST in shown


def test_a_ven_is_given_another_certificate(open_office: Office) -> None:
    other = "cd" * 32

    said = open_office("vens", "certificate", "hq", "--fingerprint", other).stdout

    assert "hq is known by the certificate" in said
    assert other in open_office("vens", "show", "hq").stdout


def test_groups_gain_and_lose_vens(open_office: Office) -> None:
    assert open_office("groups", "add", "north", "--ven", "hq").stdout == "group north: hq\n"
    assert open_office("groups", "join", "north", "mill").stdout == "group north: hq, mill\n"
    assert open_office("groups", "leave", "north", "hq").stdout == "group north: mill\n"
    assert "mill" in open_office("groups", "list").stdout
    assert CONTEXT in open_office("contexts", "list").stdout


# --- events ---------------------------------------------------------------------------------------


def test_an_event_is_published_in_one_line(open_office: Office) -> None:
    found = publish(open_office, "--start", "now+10m", "--test", "--comment", "Peak Tuesday")

    assert found["status"] == "far"
    assert found["starts_at"] == "2030-01-09T14:10:00Z"
    assert found["ends_at"] == "2030-01-09T14:20:00Z"
    assert found["market_context"] == CONTEXT
    assert found["test"]
    assert found["published_by"] == "anna"
    assert found["signals"][0]["unit"] == "kW"
    assert [ven["opt"] for ven in found["vens"]] == ["optIn"]
    shown = open_office("event", "show", found["event_id"]).stdout
    assert "LOAD_DISPATCH delta -200 kW" in shown
    assert "Peak Tuesday" in shown
    assert "1 in" in open_office("event", "list", "--status", "far", "--ven", "hq").stdout


def test_what_was_done_is_said_in_words(open_office: Office) -> None:
    words = ("event", "publish", "--ven", "hq", *DELTA, "--interval", "5m=-100")
    said = open_office(*words, "--interval", "5m=-200", "--start", "now+10m").stdout

    assert said == (
        "published event-1: LOAD_DISPATCH delta -100 then -200 kW, "
        "2030-01-09 14:10:00 to 2030-01-09 14:20:00 UTC, for hq (1 VEN)\n"
    )


def test_an_event_is_imported_from_a_file_and_from_standard_input(open_office: Office) -> None:
    order = {
        "start": "now+1h",
        "signals": [
            {"name": "SIMPLE", "type": "level", "intervals": [{"duration": "30m", "value": 1}]},
            {"name": "ELECTRICITY_PRICE", "type": "price", "unit": "EUR/kWh", "value": 0.42},
        ],
        "everyone": True,
        "event_id": "0042",
    }
    file = open_office.folder / "peak.json"
    file.write_text(json.dumps(order))

    found = open_office.json("event", "import", file)
    assert found["event_id"] == "0042"
    assert [signal["unit"] for signal in found["signals"]] == ["", "EUR/kWh"]
    again = open_office("event", "import", "-", stdin=json.dumps({**order, "event_id": "x"}))
    assert again.stdout.startswith("published x: SIMPLE level 1; ELECTRICITY_PRICE price 0.42")


def test_an_event_is_modified_in_what_is_named(open_office: Office) -> None:
    event_id = publish(open_office)["event_id"]
    found = open_office.json("event", "modify", event_id, "--duration", "20m", "--reason", "heat")

    assert found["modification_number"] == 1
    assert found["history"][1]["reason"] == "heat"
    found = open_office.json("event", "modify", event_id, "--value", -100)
    assert found["signals"][0]["unit"] == "kW"
    assert found["signals"][0]["intervals"][0]["value"] == -100
    assert found["ends_at"] == found["signals"][0]["intervals"][0]["ends_at"]
    assert "modification 2: modified" in open_office("event", "show", event_id).stdout


def test_an_event_is_cancelled_once(open_office: Office) -> None:
    event_id = publish(open_office)["event_id"]

    assert open_office("event", "cancel", event_id).stdout.startswith(f"cancelled {event_id}")
    again = open_office("event", "cancel", event_id)
    assert (again.exit_code, again.stderr) == (1, "error: The event is cancelled already.\n")


# --- what came of it ------------------------------------------------------------------------------


def test_curtailment_is_recomputed_and_agreed_with(open_office: Office) -> None:
    found = publish(open_office, "--event-id", "done")
    # The clock of the API stands still: the event is moved into the past.
    move_into_the_past(open_office, "done")
    found = open_office.json("curtailment", "show", "done")

    assert found["ordered_w"] == 200_000
    assert found["delivered_w"] == 200_000
    assert found["fraction"] == 1
    assert (found["samples_expected"], found["samples_received"]) == (150, 150)
    assert found["agrees"]
    assert found["final"]
    assert len(found["vens"][0]["steps"]) == 10
    shown = open_office("curtailment", "show", "done", "--steps").stdout
    assert "100 %" in shown
    assert "agrees" in shown
    assert "hq FROM" in shown


def test_a_node_that_claims_what_its_readings_do_not_show_is_named(open_office: Office) -> None:
    publish(open_office, "--event-id", "lie")
    move_into_the_past(open_office, "lie")
    open_office.desk.measured_w = 390_000.0

    shown = open_office("curtailment", "show", "lie").stdout
    assert "DOES NOT AGREE" in shown
    assert "hq: The node claims 200.0 kW, its readings show 10.0 kW" in shown


def test_a_sum_leaves_out_who_opted_out(open_office: Office) -> None:
    open_office("vens", "add", "mill", "--fingerprint", "cd" * 32)
    publish(open_office, "--event-id", "two", "--ven", "mill")
    move_into_the_past(open_office, "two", mill="optOut")
    found = open_office.json("curtailment", "show", "two")

    assert [ven["ven_id"] for ven in found["vens"]] == ["hq", "mill"]
    assert found["ordered_w"] == 200_000
    assert re.search(r"sum .*200 .*200 .*100 %", open_office("curtailment", "show", "two").stdout)


def move_into_the_past(office: Office, event_id: str, **opts: str) -> None:
    record = office.desk.book[event_id]
    answers = {
        ven_id: EventAnswer(
            ven_id=ven_id,
            opt_type=OptType(opt),
            modification_number=0,
            at=NOW,
            response_code="200",
        )
        for ven_id, opt in opts.items()
    }
    office.desk.book[event_id] = replace(
        record,
        event=replace(record.event, starts_at=NOW - timedelta(hours=1)),
        answers={**record.answers, **answers},
    )


def test_reports_are_asked_for_and_cancelled(open_office: Office) -> None:
    asked = open_office.json("report", "request", "hq", "usage", "--rid", "P", "--back", "60s")

    assert asked["requests"][0]["state"] == "asked"
    assert "every 60 s" in open_office("report", "list", "hq").stdout
    assert "cancelling" in open_office("report", "cancel", "hq", "r0", "--to-follow").stdout


def test_measurements_are_exported_a_day_at_a_time(open_office: Office) -> None:
    out = open_office.folder / "hq.csv"
    words = ("measurements", "export", "--ven", "hq", "--rid", "P", "--from", "2030-01-01T00:00Z")
    found = open_office.json(*words, "--to", "2030-01-03T12:00Z", "-o", out)

    assert found == {"file": str(out), "values": 60 * 4 + 3, "without_samples": 0}
    lines = out.read_text().splitlines()
    assert len(lines) == 1 + 60 * 4 + 3
    assert lines[1] == "hq,P,,2030-01-01T00:00:00Z,,W,"
    assert lines[2] == "hq,P,,2030-01-01T00:15:00Z,1.5,W,"
    assert "TELEMETRY_USAGE" in open_office("measurements", "list", "hq").stdout


def test_measurements_come_as_json_or_csv(open_office: Office) -> None:
    query = {"ven": "hq", "rid": "P", "from": "now-1h", "to": "now"}
    found = open_office.api("GET", "/measurements", params=query)

    assert found.json()["values"] == [None, 1.5, 1.5, 1.5, 1.5]
    text = open_office.api("GET", "/measurements", params={**query, "format": "csv"})
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert text.text.startswith("ven_id,r_id,facet,starts_at,value,unit,quality\r\nhq,P,,")


def test_measurements_say_whether_they_are_raw_or_rolled_up(open_office: Office) -> None:
    def resolution(**query: str) -> str:
        given = {"ven": "hq", "rid": "P", "from": "now-7d", "to": "now", **query}
        return open_office.api("GET", "/measurements", params=given).json()["resolution"]

    assert resolution() == "raw"
    assert resolution(**{"from": "now-8d"}) == "15min"
    assert resolution(resolution="15min") == "15min"
    open_office.desk.quarters_without_samples = 3
    assert resolution() == "15min"
    assert resolution(resolution="raw") == "raw"


def test_how_much_a_ven_reported_each_day_is_shown(open_office: Office) -> None:
    assert open_office.json("vens", "days", "hq") == [
        {"day": "2030-01-09", "messages": 1440, "samples": 21600}
    ]
    assert "21600" in open_office("vens", "days", "hq").stdout


def test_quarter_hours_are_exported_with_all_that_is_kept_of_them(open_office: Office) -> None:
    out = open_office.folder / "hq.csv"
    words = ("measurements", "export", "--ven", "hq", "--rid", "P", "--from", "2029-12-01T00:00Z")
    until = ("--to", "2030-01-01T00:00Z", "-o", out)

    assert open_office.json(*words, *until, "--resolution", "15min")["values"] == 31 * 96
    lines = out.read_text().splitlines()
    assert lines[0].endswith("value,unit,quality,minimum,maximum,energy_wh,count,covered_s")
    assert lines[1] == "hq,P,,2029-12-01T00:00:00Z,2.0,W,,1.0,3.0,0.0044444444444444444,2,8"

    open_office.desk.quarters_without_samples = 3
    said = open_office(*words, "--to", "2029-12-02T00:00Z", "-o", out).stdout
    assert "of 3 quarter hours only the rollups are left" in said


def test_the_audit_and_the_health_are_shown(open_office: Office) -> None:
    assert "operator:anna" in open_office("audit").stdout
    assert open_office.json("audit")[0]["act"] == "add"
    assert "0 of 0 registered VENs are online (1 added)" in open_office("health").stdout


# --- mistakes -------------------------------------------------------------------------------------

PUBLISH = ("event", "publish", "--ven", "hq", *DELTA, "--duration", "10m")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((*PUBLISH, "--value", -200, "--ven", "nix"), "There is no VEN 'nix'"),
        (
            (*PUBLISH, "--value", -200, "--start", "2030-01-09T13:00:00Z"),
            "start: 2030-01-09T13:00:00Z is in the past",
        ),
        (
            (*PUBLISH, "--value", -200, "--unit", "kWh"),
            "LOAD_DISPATCH delta is a power: give W, kW or MW, not kWh.",
        ),
        (PUBLISH, "give one value for the whole event, or intervals"),
        (("event", "show", "nix"), "There is no event 'nix'; `vtn event list` names them."),
        (("event", "import", "-"), "standard input: this is not JSON"),
        (("event", "import", "none.json"), "none.json: the event cannot be read: No such file"),
        (("vens", "add", "hq", "--fingerprint", DIGEST), "There is a VEN 'hq' already."),
        (
            ("vens", "add", "x", "--fingerprint", "93:4C:A4:95:99:1B:78:52:B8:55"),
            "This is the short OpenADR fingerprint: its 80 bits are too few",
        ),
        (("vens", "add", "x", "--fingerprint", "abc"), "a SHA-256 has 64 hex digits"),
        (("vens", "add", "x", "--cert", "{}/none.crt"), "cannot be read: No such file"),
        (("vens", "add", "x", "--cert", "{}/vtn.toml"), "this holds no PEM certificate."),
        (("report", "request", "hq", "nix", "--back", "60s"), "name at least one point (rID)"),
        (
            ("measurements", "export", "--ven", "hq", "--rid", "P", "--from", "now", "-o", "x"),
            "--to: this is not after --from; give a later time.",
        ),
        (
            ("measurements", "export", "--ven=nix", "--rid=P", "--from=now-1h", "--out={}/x.csv"),
            "There is no VEN 'nix'",
        ),
        (("vens", "list", "--config", "{}/none.toml"), "there is no such settings file"),
    ],
)
def test_a_mistake_gets_one_sentence_and_status_1(
    open_office: Office, words: tuple, sentence: str
) -> None:
    before = (dict(open_office.desk.known), list(open_office.desk.acts))
    answer = open_office(*(str(word).format(open_office.folder) for word in words), stdin="no json")

    assert answer.exit_code == 1, answer.output
    assert sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert before == (open_office.desk.known, open_office.desk.acts)
    assert open_office.desk.book == {}
    assert not (open_office.folder / "x.csv").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("vens", "add", "hq"),
        (*PUBLISH, "--value", "much"),
        (*PUBLISH, "--interval", "5m"),
        ("event", "modify", "x", "--unit", "kW"),
        ("event", "list", "--status", "soon"),
        ("nix",),
    ],
)
def test_wrong_usage_has_status_2(open_office: Office, words: tuple) -> None:
    answer = open_office(*words)

    assert answer.exit_code == 2
    assert "Usage: " in answer.stderr


def test_a_change_to_an_event_that_moved_on_is_refused(open_office: Office) -> None:
    event_id = publish(open_office)["event_id"]
    open_office("event", "modify", event_id, "--duration", "20m")
    answer = open_office("event", "modify", event_id, "--duration", "30m", "--expect", 0)

    assert answer.exit_code == 1
    assert "The event is at modification 1 by now" in answer.stderr
    path = f"/events/{event_id}"
    assert open_office.api("PATCH", path, json={"expected_modification": 0}).status_code == 409


def test_the_import_names_the_key_it_does_not_know(open_office: Office) -> None:
    answer = open_office("event", "import", "-", stdin='{"signals": [{"nmae": "SIMPLE"}]}')

    assert answer.exit_code == 1
    assert answer.stderr == (
        "error: standard input: there is no key 'nmae' in [signals[0]]; did you mean 'name'?\n"
    )


def test_without_a_vtn_the_sentence_says_how_to_start_one(office: Office, monkeypatch) -> None:
    def refuse(_host: str, _port: int) -> Callable:
        def send(*_said):
            raise ConnectionRefusedError

        return send

    monkeypatch.setattr("vtn.operator_client._over_http", refuse)
    answer = office("vens", "list")

    assert answer.exit_code == 1
    assert answer.stderr == (
        "error: The VTN does not answer at http://127.0.0.1:8444; is `vtn serve` running?\n"
    )


def test_what_is_no_vtn_is_told_apart(office: Office, monkeypatch) -> None:
    monkeypatch.setattr(
        "vtn.operator_client._over_http", lambda _h, _p: lambda *_said: (200, b"<html>")
    )

    assert "is no VTN of this version" in office("vens", "list").stderr


def test_without_the_token_nobody_gets_in(office: Office) -> None:
    (office.folder / "operator.token").write_text("another-token-of-some-length")
    answer = office("vens", "list")

    assert answer.exit_code == 1
    assert "The operator's token is missing or wrong" in answer.stderr
    (office.folder / "operator.token").unlink()
    assert "there is no operator's token; run vtn init." in office("vens", "list").stderr


# --- the API alone --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "said", "status", "detail"),  # what is sent; what comes back
    [
        ("GET", "/nix", {}, 404, "There is nothing at /api/v1/nix; see /openapi.json."),
        ("DELETE", "/vens", {}, 405, "DELETE is not possible at /api/v1/vens"),
        ("GET", "/vens/nix", {}, 404, "There is no VEN 'nix'"),
        ("GET", "/vens?grup=a", {}, 422, "There is no query 'grup' here; did you mean 'group'?"),
        ("GET", "/events?limit=many", {}, 400, "limit: Expected 'int', got 'str'."),
        ("GET", "/events?limit=0", {}, 400, "limit: Expected 'int' >= 1."),
        ("GET", "/events?status=soon", {}, 400, "status: Invalid enum value 'soon'."),
        ("GET", "/measurements?ven=a&rid=b&to=now", {}, 400, "Missing required query parameter"),
        (
            "GET",
            "/measurements?ven=a&rid=b&from=now-8d&to=now&resolution=raw",
            {},
            422,
            "one answer holds seven days at most",
        ),
        (
            "GET",
            "/measurements?ven=a&rid=b&from=now-93d&to=now",
            {},
            422,
            "one answer holds 92 days of quarter hours at most",
        ),
        ("GET", "/measurements?ven=a&rid=b&from=x&to=now", {}, 422, "from: 'x' is not a time"),
        ("POST", "/events", {}, 400, "The body is missing; send JSON."),
        ("POST", "/events", {"content": b"{"}, 400, "The body is not JSON"),
        ("POST", "/events", {"content": b"\xff"}, 400, "The body is not JSON"),
        ("POST", "/events", {"content": b"[" * 90_000}, 400, "The body is nested too deeply."),
        ("POST", "/events", {"json": []}, 400, "Expected 'object', got 'array'."),
        ("POST", "/events", {"json": {}}, 400, "Misses the required key 'signals'."),
        (
            "POST",
            "/events",
            {"json": {"signals": [], "strat": "now"}},
            400,
            "There is no key 'strat'; did you mean 'start'?",
        ),
        (
            "POST",
            "/events",
            {"json": {"signals": [{"name": "SIMPLE", "type": 3}]}},
            400,
            "[signals[0].type] Expected 'str', got 'int'.",
        ),
        ("POST", "/events", {"content": b"x" * 1_100_000}, 413, "The body is too large."),
        ("POST", "/vens", {"json": {"certificate_sha256": 4}}, 400, "Expected 'str', got 'int'."),
    ],
)
def test_the_api_refuses_with_one_sentence(
    open_office: Office, *, method: str, path: str, said: dict, status: int, detail: str
) -> None:
    answer = open_office.api(method, path, **said)

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["status"] == status
    assert detail in problem["detail"]
    assert "\n" not in problem["detail"]
    assert open_office.desk.book == {}


@pytest.mark.parametrize("token", ["", "wrong", f"{TOKEN}x", TOKEN.upper(), "ü"])
def test_a_wrong_token_is_401_whatever_is_asked(
    office: Office, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MOST", 1000)  # how often is another test's business
    for method, path in (("GET", "/vens"), ("POST", "/events"), ("GET", "/health")):
        answer = office.client.request(
            method,
            f"/api/v1{path}",
            headers={"Authorization": f"Bearer {token}".encode()},
            content=b"{}",
        )

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert office.desk.acts == []


def test_an_operators_name_is_checked(office: Office) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Operator": "a b\tc"}
    body = {"ven_id": "hq", "certificate_sha256": DIGEST}
    answer = office.client.post("/api/v1/vens", headers=headers, json=body)

    assert answer.status_code == 422
    assert office.desk.known == {}


def test_a_mistake_of_ours_tells_no_details(open_office: Office, monkeypatch) -> None:
    async def fail(**_said):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(open_office.desk, "health", fail)
    answer = open_office.api("GET", "/health")

    assert answer.status_code == 500
    assert "hunter2" not in answer.text


def test_the_api_describes_itself_without_a_page_from_elsewhere(office: Office) -> None:
    schema = office.client.get("/openapi.json").json()

    assert schema["openapi"].startswith("3.1")
    assert "/api/v1/events/{event_id}/cancel" in schema["paths"]
    assert "EventOrder" in schema["components"]["schemas"]
    assert office.client.get("/swagger").status_code == 404


# --- this machine ---------------------------------------------------------------------------------


def test_init_makes_what_is_missing_and_keeps_what_is_there(tmp_path: Path) -> None:
    def init() -> Result:
        return CliRunner().invoke(main, ["init", "--dir", str(tmp_path)])

    first = init()
    assert first.exit_code == 0, first.output
    names = {file.name for file in tmp_path.iterdir()}
    assert {"vtn.toml", "vtn.db", "operator.token"} <= names
    token = tmp_path / "operator.token"
    assert token.stat().st_mode & 0o777 == 0o600
    kept = {name: (tmp_path / name).read_bytes() for name in ("vtn.toml", "operator.token")}
    again = init()
    assert again.stdout.count("kept") == 3
    assert kept == {name: (tmp_path / name).read_bytes() for name in kept}


def test_every_command_has_a_help_that_ends_with_a_worked_example() -> None:
    def walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield from walk(inner, (*words, name))

    for words in walk(main, ()):
        text = CliRunner().invoke(main, [*words, "--help"]).stdout
        *_, example = text.partition("Example:\n")
        assert " ".join(("vtn", *words)) in example, words
        assert len(max(text.splitlines(), key=len)) <= 100, words
