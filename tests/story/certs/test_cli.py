import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from certs.cli import main


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "pki"
    assert run("init", "--out", folder).exit_code == 0
    return folder


def test_a_ven_certificate_is_issued_and_shown_with_the_same_fingerprint(folder: Path) -> None:
    issued = json.loads(run("ven", "hq", "--dir", folder, "--json").stdout)[0]
    shown = json.loads(run("show", issued["certificate"], "--json").stdout)

    assert shown[0]["fingerprint"] == issued["fingerprint"]
    assert shown[0]["subject"] == "CN=hq"
    assert issued["fingerprint"] in run("show", issued["certificate"]).stdout


def test_the_vtn_gets_two(folder: Path) -> None:
    answer = run("vtn", "--dir", folder, "--host", "127.0.0.1", "--host", "vtn.example")

    assert answer.exit_code == 0
    assert answer.stdout.count("fingerprint") == 2
    shown = run("show", folder / "vtn-rsa.crt").stdout
    assert "RSA 2048" in shown
    assert "127.0.0.1, vtn.example" in shown


def test_a_broker_and_its_clients_are_issued(folder: Path) -> None:
    words = ("client", "broker", "--kind", "broker", "--host", "127.0.0.1", "--dir", folder)
    assert run(*words).exit_code == 0
    assert run("client", "node-1", "--kind", "mqtt-node", "--dir", folder).exit_code == 0
    assert run("client", "ems-1", "--kind", "ems", "--dir", folder).exit_code == 0


def test_a_certificate_is_taken_back_and_the_lists_are_renewed(folder: Path) -> None:
    run("ven", "stolen", "--dir", folder)
    answer = run("revoke", "stolen", "--dir", folder)
    assert answer.exit_code == 0
    assert "ven-ca.crl: 1 revoked" in answer.stdout

    lists = json.loads(run("crl", "--dir", folder, "--days", "7", "--json").stdout)
    assert {Path(each["file"]).name: each["revoked"] for each in lists} == {
        "ven-ca.crl": 1,
        "vtn-ca.crl": 0,
        "site-ca.crl": 0,
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("revoke", "nobody", "--dir", "{}"), "No such file"),
        (("revoke", "{}/ca.crt", "--dir", "{}"), "whoever issued it must revoke it"),
        (("init", "--out", "{}"), "name a new folder"),
        (("ven", "a b", "--dir", "{}"), "no name for a certificate"),
        (("ven", "x", "--dir", "{}/none"), "make one with: certs init"),
        (("show", "{}/none.crt"), "No such file"),
        (("show", "{}/authority/site-ca.key"), "holds no PEM certificate"),
    ],
)
def test_a_mistake_gets_one_sentence_and_status_1(
    folder: Path, words: tuple[str, ...], sentence: str
) -> None:
    answer = run(*(word.format(folder) for word in words))

    assert answer.exit_code == 1
    assert sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_every_help_ends_with_a_worked_example() -> None:
    for words in ([], *([name] for name in main.commands)):
        *_, example = run(*words, "--help").stdout.partition("Example:\n")
        assert f"certs {' '.join(words)}".strip() in example
        assert "--help" not in example
