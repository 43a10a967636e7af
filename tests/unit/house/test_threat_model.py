"""docs/THREAT_MODEL.md names tests that exist, and leaves out no letter of STRIDE."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "THREAT_MODEL.md").read_text(encoding="utf-8")


def test_every_test_that_the_threat_model_names_exists():
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    written = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        written.update(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))

    assert len(named) > 50
    assert named - written == set()


def test_every_boundary_is_looked_at_from_all_six_sides():
    for boundary in TEXT.split("\n## B")[1:]:
        letters = re.findall(r"^\| ([STRIDE]) \|", boundary, re.MULTILINE)

        assert set("STRIDE") == set(letters), boundary.splitlines()[0]
