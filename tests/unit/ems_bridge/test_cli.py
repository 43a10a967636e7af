import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from ems_bridge.cli import _json_line, _plain_line, main
from ems_bridge.link import Incoming
from ems_bridge.messages import EmsStatus, Heartbeat, encode
from ems_bridge.table import LiveTable
from ems_bridge.topics import Topics
from ems_bridge.words import age

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)
TOPICS = Topics("town-hall", "node-1")
PLACE = ["--site", "town-hall", "--node", "node-1"]


def run(*words):
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize(
    "command", ["reference", "watch", "send", "override", "check", "home-assistant", "schema"]
)
def test_every_help_ends_with_an_example(command):
    result = run(command, "--help")

    assert result.exit_code == 0
    *_, title, line = result.output.splitlines()
    assert title.startswith("  Example")
    assert line.startswith(f"    ems-bridge {command}")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["watch"], "name the place"),
        (["send", *PLACE], "give --delta-kw"),
        (["send", *PLACE, "--delta-kw", "1", "--max-kw", "1"], "give --delta-kw"),
        (["override", "off", *PLACE, "--for-minutes", "5"], "belongs to 'override on'"),
        (["override", "maybe", *PLACE], "maybe"),
        (["override", "on", *PLACE, "--for-minutes", "99999999999"], "not in the range"),
        (["override", "on", *PLACE, "--for-minutes", "nan"], "not a finite number"),
        (["send", *PLACE, "--delta-kw", "inf"], "not a finite number"),
        (["send", *PLACE, "--delta-kw", "1", "--for", "0"], "0"),
    ],
)
def test_wrong_usage_is_status_2(words, sentence):
    result = run(*words)

    assert result.exit_code == 2
    assert sentence in result.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["watch", "--site", "a/b", "--node", "n"], "the site 'a/b' contains '/'"),
        (["watch", *PLACE, "--ems", "+"], "the ems '+'"),
        (["watch", *PLACE, "--broker", "broker:1883"], "write mqtt://host:1883"),
        (["watch", *PLACE, "--broker", "mqtts://b", "--ca", "/none/ca.pem"], "cannot be used"),
        (["reference", *PLACE, "--plant", "building:1"], "write tcp://host:port"),
        (["watch", "--config", "/none.toml"], "there is no such settings file"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_status_1(words, sentence):
    result = run(*words)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_setting_is_named_with_its_nearest(tmp_path):
    file = tmp_path / "ems-bridge.toml"
    file.write_text('site = "s"\nnode = "n"\n[broker]\nhost = "b"\nprot = 1\n')

    result = run("watch", "--config", str(file))

    assert result.exit_code == 1
    assert "'prot' in [broker]" in result.stderr
    assert "did you mean 'port'" in result.stderr


def test_a_settings_file_and_broker_options_do_not_mix(tmp_path):
    file = tmp_path / "ems-bridge.toml"
    file.write_text('site = "s"\nnode = "n"\n[broker]\nhost = "b"\n')

    assert run("watch", "--config", str(file), "--broker", "mqtt://c").exit_code == 2


def test_the_contract_is_printed():
    as_yaml, as_json = run("schema"), run("schema", "--json", "--only-schemas")

    assert as_yaml.output.startswith('asyncapi: "3.0.0"')
    assert json.loads(as_json.output)["Heartbeat"]["properties"]["schema"]["enum"] == ["df/v1/hb"]


def incoming(payload, topic=TOPICS.hb, *, retained=False):
    return Incoming(topic=topic, payload=payload, retained=retained, at=AT)


def test_a_line_for_programs_is_one_line_whatever_came(capsys):
    _json_line(incoming(encode(Heartbeat(counter=3, at=AT)).replace(b",", b",\n")))
    _json_line(incoming(b"rubbish"))
    _json_line(incoming(b"", retained=True))
    beat, rubbish, cleared = (json.loads(line) for line in capsys.readouterr().out.splitlines())

    assert beat["message"] == {"schema": "df/v1/hb", "counter": 3, "at": "2030-01-09T14:00:00Z"}
    assert rubbish["message"] is None
    assert "malformed" in rubbish["refused"]
    assert cleared == {"topic": TOPICS.hb, "at": beat["at"], "retained": True, "message": None}


def test_a_line_for_people(capsys):
    _plain_line(TOPICS.root, incoming(encode(Heartbeat(counter=3, at=AT)), retained=True))
    _plain_line(TOPICS.root, incoming(b"{}"))
    beat, rubbish = capsys.readouterr().out.splitlines()

    assert beat.split() == ["14:00:00.000000", "node", "hb", "beat", "3", "(retained)"]
    assert "REFUSED" in rubbish


def test_the_table_shows_the_latest_of_each_topic_as_text():
    table = LiveTable(TOPICS, lambda: AT + timedelta(hours=2))
    kept = encode(EmsStatus(state="online", at=AT - timedelta(days=3)))
    table.add(incoming(encode(Heartbeat(counter=3, at=AT))))
    table.add(incoming(encode(Heartbeat(counter=4, at=AT))))
    table.add(incoming(kept, topic=TOPICS.ems_status("bms"), retained=True))
    table.add(incoming(b"[red]rubbish", topic=f"{TOPICS.root}/[bold]odd"))
    table.add(incoming(b"", topic=TOPICS.event))

    rows, *last = table.view().renderables
    ways, topics, ages, counts, said = (
        [str(cell) for cell in column.cells] for column in rows.columns
    )
    assert topics == ["[bold]odd", "ems/bms/status", "event", "hb"]
    assert ways == ["?", "EMS", "node", "node"]
    assert ages == ["2 h", "3 d kept", "2 h", "2 h"]
    assert counts == ["1", "1", "1", "2"]
    assert said[1:] == ["online", "(cleared)", "beat 4"]
    assert [line.plain.split()[2] for line in last] == ["ems/bms/status", "[bold]odd", "event"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (99, "99 s"), (100, "2 min"), (7200, "2 h"), (3 * 86_400, "3 d")],
)
def test_an_age_is_as_short_as_it_can_be_said(seconds, words):
    assert age(seconds) == words
