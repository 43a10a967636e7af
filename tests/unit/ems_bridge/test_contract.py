"""docs/asyncapi.yaml and docs/topics.md say what the code does."""

import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

from doorway import decode_settings
from ems_bridge.asyncapi import document, schema_files, schemas, to_yaml
from ems_bridge.messages import Message, decode, encode
from ems_bridge.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "topics.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES += re.findall(r"-m '(\{.*?\})'", PAGE)


def test_the_checked_in_contract_is_the_one_the_code_keeps():
    assert (DOCS / "asyncapi.yaml").read_text(encoding="utf-8") == to_yaml(document()), (
        "renew it with: ems-bridge schema > docs/asyncapi.yaml"
    )


def test_the_checked_in_schemas_are_those_of_the_code():
    files = {file.name: json.loads(file.read_text()) for file in (DOCS / "schemas").iterdir()}

    assert files == schema_files(), "renew them with: ems-bridge schema --into docs/schemas"
    assert len(files) == len(get_args(Message))


def test_our_own_yaml_reads_as_what_was_written():
    odd = {"plain": [1, 2.5, None, True, "a: b", "", []], "true": {}, "$ref": "#/x", "n": {"a": []}}

    assert yaml.safe_load(to_yaml(document())) == document()
    assert yaml.safe_load(to_yaml(odd)) == odd


def test_every_reference_in_the_contract_leads_somewhere():
    contract = document()

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    found = set(references(contract))
    assert len(found) > 20
    for reference in found:
        place = contract
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_message_has_its_schema_and_a_topic():
    contract = document()
    names = {kind.__name__ for kind in get_args(Message)}
    carried = {name for channel in contract["channels"].values() for name in channel["messages"]}

    assert names <= schemas().keys()
    assert carried == names


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: json.loads(text)["schema"])
def test_every_example_on_the_page_is_a_message_the_code_accepts(example):
    message = decode(example.encode())

    said = json.loads(example)
    sent = json.loads(encode(message))
    shape = schemas()[type(message).__name__]
    assert {key: value for key, value in sent.items() if key in said} == {
        **said,
        **({"at": sent["at"]} if "at" in said else {}),
        **({"reason": sent["reason"]} if isinstance(said.get("reason"), dict) else {}),
    }
    assert set(shape["required"]) <= said.keys() <= shape["properties"].keys()


def test_the_page_shows_every_message():
    shown = {type(decode(example.encode())) for example in EXAMPLES}

    assert shown == set(get_args(Message))


def test_the_settings_on_the_page_are_settings():
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = decode_settings(
        tomllib.loads(text), Settings, source="topics.md", folder=Path("/etc/site")
    )

    assert settings.broker.secured
    assert settings.broker.ca == Path("/etc/site/ca.pem")


def test_the_page_lists_every_topic():
    for channel in document()["channels"].values():
        tail = channel["address"].removeprefix("df/v1/{site}/{node}/")
        assert f"| `{tail}` |" in PAGE
