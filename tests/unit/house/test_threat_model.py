"""Documents name tests that exist, and docs/THREAT_MODEL.md leaves out no letter of STRIDE."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "THREAT_MODEL.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("document", "least"), [("THREAT_MODEL.md", 50), ("reliability.md", 40)])
def test_every_test_that_a_document_names_exists(document, least):
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:tests/[\w/]+\.py::)?(test_\w+)`", text))
    written = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        written.update(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))

    assert len(named) > least
    assert named - written == set()


def test_every_boundary_is_looked_at_from_all_six_sides():
    for boundary in TEXT.split("\n## B")[1:]:
        letters = re.findall(r"^\| ([STRIDE]) \|", boundary, re.MULTILINE)

        assert set("STRIDE") == set(letters), boundary.splitlines()[0]
