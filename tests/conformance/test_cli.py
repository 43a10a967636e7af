"""The command line: lists, compares, and refuses in one sentence."""

import pytest
from click.testing import CliRunner

from conformance.cli import load, main
from conformance.errors import SetUpFault

KEYS = ["--cert", "c.crt", "--key", "c.key", "--ca", "ca.crt"]


def say(*words):
    return CliRunner().invoke(main, words)


def test_the_list_names_every_test_with_its_rules():
    said = say("list")

    assert said.exit_code == 0
    assert "N1_0020_TH_VEN" in said.stdout
    assert "301" in said.stdout
    assert "E1_1020_TH_VTN" in said.stdout


@pytest.mark.parametrize("words", [[], ["vtn"], ["ven"], ["list"], ["compare"]])
def test_the_help_ends_with_an_example_as_it_is_typed(words):
    example = say(*words, "--help").stdout.partition("\n  Example:\n")[2]

    assert example.startswith("    oadr-conformance ")
    assert all(line.endswith(" \\") for line in example.splitlines()[:-1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["vtn", "--url", "https://x", *KEYS, "--adapter", "nobody"], "is none of person, ours"),
        (["vtn", "--url", "https://x", *KEYS, "--adapter", "os:nothing"], "cannot be loaded"),
        (["vtn", "--url", "https://x", *KEYS, "--set", "config"], "is not like KEY=VALUE"),
        (["vtn", "--url", "https://x", *KEYS, "--set", "contxts=x"], "did you mean contexts?"),
        (["vtn", "--url", "https://x", *KEYS, "--adapter", "ours"], "needs --set config="),
        (["vtn", "--url", "https://x", *KEYS, "--only", "N7_"], "No test is named N7_"),
        (["vtn", "--url", "https://x", *KEYS, "--push-cert", "p.crt"], "go together; give both"),
        (["ven", *KEYS, "--listen", "here"], "is not like 127.0.0.1:8443"),
        (["compare", "no-such-file.json"], "cannot be read"),
    ],
)
def test_a_mistake_gets_one_sentence_and_status_1(words, sentence):
    said = say(*words)

    assert said.exit_code == 1
    assert sentence in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1


def test_wrong_usage_has_status_2():
    assert say("vtn").exit_code == 2


def test_help_ends_with_a_worked_example():
    for words in (["--help"], ["vtn", "--help"], ["ven", "--help"], ["list", "--help"]):
        assert "Example" in say(*words).stdout


def test_an_adapter_may_come_from_anywhere():
    adapter = load("conformance.person:PersonVtn", {}, {"product": "Mine"})

    assert adapter.product == "Mine"
    with pytest.raises(SetUpFault):
        load("nowhere", {}, {})
