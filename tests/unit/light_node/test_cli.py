import pytest
from click.testing import CliRunner

from light_node.cli import main

COMMANDS = (
    ["run"],
    ["read"],
    ["check"],
    ["scan"],
    ["map", "check"],
    ["status"],
    ["override", "on"],
    ["override", "off"],
    ["history", "import"],
)
SITE = """
[site]
id = "hq"
[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
"""


@pytest.fixture
def call(tmp_path):
    (tmp_path / "site.toml").write_text(SITE)

    def call(*words):
        return CliRunner().invoke(main, [*words, "--config", str(tmp_path / "site.toml")])

    return call


@pytest.mark.parametrize("words", COMMANDS)
def test_every_help_ends_with_a_worked_example(words):
    result = CliRunner().invoke(main, [*words, "--help"])

    assert result.exit_code == 0
    assert f"Example: light-node {' '.join(words)}" in " ".join(result.output.split())


def test_a_missing_settings_file_is_one_sentence(tmp_path):
    result = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "gone.toml")])

    assert result.exit_code == 1
    assert "there is no such settings file" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_command_is_wrong_usage(call):
    assert call("explode").exit_code == 2


@pytest.mark.parametrize(
    "text", ["soon", "2", "0h", "-1h", "h", "1000000d", "9999999999999d", "²h"]
)
def test_a_duration_nobody_understands_is_refused_before_anything_happens(call, text):
    result = call("override", "on", "--reason", "r", "--for", text)

    assert result.exit_code == 1
    assert f"'{text}' is no duration; write it like 90min, 2h or 1d." in result.stderr


def test_history_for_an_unknown_meter_names_the_known_ones(call, tmp_path):
    result = call("history", "import", str(tmp_path / "x.csv"), "--meter", "x")

    assert result.exit_code == 1
    assert "there is no meter 'x'; known are main." in result.stderr


def test_history_that_is_not_there_is_one_sentence(call, tmp_path):
    result = call("history", "import", str(tmp_path / "x.csv"))

    assert result.exit_code == 1
    assert "the history cannot be read" in result.stderr
    assert not (tmp_path / "ring.db").exists()


def test_history_says_how_many_days_it_has_taken_in(call, tmp_path):
    rows = [f"2020-01-0{d}T{h:02}:00:00Z,1000" for d in (1, 2) for h in range(24)]
    (tmp_path / "x.csv").write_text("\n".join(["starts_at,watts", *rows]))

    result = call("history", "import", str(tmp_path / "x.csv"))

    assert result.output == "192 quarters of an hour (2.0 days) are in.\n"


@pytest.mark.parametrize("network", ["999.1.1.1", "192.168.1", "192.168.1.0/99", "10.0.0.0/8"])
def test_a_network_that_is_none_or_too_large_is_refused_before_anything_is_asked(network):
    result = CliRunner().invoke(main, ["scan", "--tcp", network])

    assert result.exit_code == 1
    assert "write it like 192.168.1.0/24" in result.stderr or "name a part of it" in result.stderr
