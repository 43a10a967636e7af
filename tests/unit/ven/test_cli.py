import json

import pytest
from click.testing import CliRunner

from tests.unit.ven.makers import START, event, known
from tests.unit.ven.requests import usage_request
from ven.cli import main
from ven.spool import Spool
from ven.state import InForce, Registration, State


@pytest.fixture(scope="session")
def issued(authority):
    return authority.ven("cli-ven")


@pytest.fixture
def run(tmp_path, issued, authority):
    path = tmp_path / "ven.toml"
    path.write_text(f"""
[ven]
name = "hq"
cert = "{issued.certificate}"
key = "{issued.key}"
state = "ven.db"
[vtn]
url = "https://vtn.example"
ca = "{authority.trust}"
[node]
socket = "node.sock"
[site]
resource_id = "building-1"
""")

    def invoke(*words):
        return CliRunner().invoke(main, [*words, "--config", str(path)])

    return invoke


@pytest.fixture
def state(tmp_path):
    opened = State.open(tmp_path / "ven.db")
    opened.set_registration(
        Registration(
            registration_id="r",
            ven_id="0042",
            vtn_id="vtn",
            poll_interval_s=None,
            metadata_sent=True,
        )
    )
    opened.put_event(known(event("e-1", test_event="yes"), reason="All is well."))
    opened.put_request(
        InForce(
            request=usage_request(),
            taken_at=START,
            spool=Spool(after=4, spans=((1, 2),)),
            last_row_at=START.timestamp(),
        )
    )
    opened.close()


@pytest.mark.parametrize(
    "command",
    [
        *("run", "check", "status", "events", "register", "opt", "fingerprint"),
        *("opt in", "opt out", "opt schedule", "opt schedules", "opt cancel"),
    ],
)
def test_each_help_ends_with_a_worked_example(command):
    found = CliRunner().invoke(main, [*command.split(), "--help"])

    assert found.exit_code == 0
    assert f"Example:\n    ven {command}" in found.output


def test_the_fingerprint_can_be_read_out_and_parsed(run, issued):
    assert issued.fingerprint in run("fingerprint").output
    assert issued.sha256 == json.loads(run("fingerprint", "--json").output)["sha256"]


def test_a_ven_that_has_never_run_says_so(run):
    told = run("status")

    assert told.exit_code == 1
    assert told.output.startswith("The VEN has never run; start it with 'ven run'.\n")
    as_json = run("status", "--json")
    assert as_json.exit_code == 1
    assert not json.loads(as_json.output)["registered"]


def test_a_ven_that_does_not_run_shows_what_it_knows(run, state):
    told = run("status")
    assert "registered   as '0042' with 'vtn', pull" in told.output
    assert "usage, every 60 s, up to 2030-01-09 15:00:00Z, catching up" in told.output
    found = json.loads(run("status", "--json").output)
    assert (found["running"], found["ven_id"], found["events"]) == (False, "0042", 1)


def test_events_are_shown_for_people_and_programs(run, state):
    (found,) = json.loads(run("events", "--json").output)
    assert (
        found["event_id"],
        found["opt"],
        found["signal"],
        found["value"],
        found["unit"],
        found["test"],
    ) == ("e-1", "optIn", "LOAD_DISPATCH/delta", -40.0, "kW", True)
    shown = run("events")
    assert shown.exit_code == 0
    assert "e-1 #0" in shown.output


def test_events_of_a_ven_that_has_never_run_are_one_sentence(run):
    told = run("events")

    assert told.exit_code == 1
    assert "there is no VEN state yet" in told.output


@pytest.mark.parametrize(
    "words",
    [
        ("opt", "out", "e-1"),
        ("opt", "schedule", "--out", "--from", "2026-12-24T12:00"),
        ("opt", "cancel", "night"),
        ("register",),
        ("register", "--cancel"),
    ],
)
def test_what_needs_a_running_ven_says_so(run, words):
    told = run(*words)

    assert told.exit_code == 1
    assert "no VEN runs there; start it with 'ven run'" in told.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("opt", "sideways", "e-1"), "No such command 'sideways'"),
        (("opt", "schedule", "--from", "2026-12-24"), "Missing option '--in'"),
        (("opt", "schedule", "--in", "--from", "noon"), "'noon' is no time like"),
        (("opt", "schedule", "--in", "--from", "9999-12-31T23:00-05:00"), "is no time like"),
        (
            ("opt", "schedule", "--in", "--from", "2026-12-24", "--to", "2026-12-23"),
            "A time ends after it begins",
        ),
        (
            ("opt", "schedule", "--in", *("--from", "2026-12-24") * 2, "--to", "2026-12-25"),
            "as many --to as --from",
        ),
        (
            ("opt", "schedule", "--in", "--from", "2026-12-24", "--reason", "rain"),
            "'rain' is none of economic",
        ),
    ],
)
def test_a_wrong_usage_is_status_2(run, words, sentence):
    told = run(*words)
    assert (told.exit_code, sentence in told.output) == (2, True), told.output


def test_settings_that_are_not_there_are_one_sentence(tmp_path):
    told = CliRunner().invoke(main, ["run", "--config", str(tmp_path / "no.toml")])

    assert told.exit_code == 1
    assert "there is no such settings file" in told.output


def test_a_certificate_that_is_not_there_stops_the_start(run, tmp_path):
    path = tmp_path / "ven.toml"
    path.write_text(path.read_text().replace("cli-ven.crt", "nobody.crt"))
    told = run("run")

    assert told.exit_code == 1
    assert "the certificate cannot be read" in told.output
