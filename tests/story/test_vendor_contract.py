"""The contract as other people's software reads it: the AsyncAPI parser and ajv, from npm."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NPM = ROOT / "tests" / "npm"
PAGE = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def faults_in(contract: Path, messages: list[dict]) -> str:
    """What the parser and ajv have to say against a contract and messages; "" is nothing."""
    if not (NPM / "node_modules").is_dir():
        pytest.fail("tests/npm/node_modules is missing; run scripts/npm, or make test.")
    asked = [
        {"file": f"{one['schema'].removeprefix('df/v1/')}.json", "message": one} for one in messages
    ]
    done = subprocess.run(
        [shutil.which("node") or "node", NPM / "contract.mjs", contract, ROOT / "docs" / "schemas"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_the_asyncapi_parser_and_the_schemas_have_nothing_against_contract_and_examples():
    assert len(EXAMPLES) >= len(list((ROOT / "docs" / "schemas").iterdir()))
    assert faults_in(ROOT / "docs" / "asyncapi.yaml", EXAMPLES) == ""


def test_a_broken_contract_and_a_broken_message_are_seen(tmp_path):
    broken = tmp_path / "asyncapi.yaml"
    text = (ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8")
    broken.write_text(text.replace('action: "receive"', 'action: "obey"', 1), encoding="utf-8")
    lease = next(one for one in EXAMPLES if one["schema"] == "df/v1/setpoint")

    said = faults_in(broken, [{**lease, "not_after": "tomorrow", "max_kw": 3}])

    assert "it is no AsyncAPI document" in said
    assert "setpoint.json: " in said
    assert 'must match format "date-time"' in said
    assert "must NOT have additional properties" in said
