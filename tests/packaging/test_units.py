"""The systemd units, as systemd itself judges them."""

import re
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
MOST_EXPOSURE = 1.5


@pytest.mark.parametrize("unit", sorted(SYSTEMD.glob("*.service")), ids=lambda path: path.stem)
def test_a_unit_leaves_little_exposed(unit):
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=True,
    )

    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", judged.stdout)
    assert found is not None, judged.stdout
    assert float(found[1]) <= MOST_EXPOSURE


@pytest.mark.parametrize("unit", sorted(SYSTEMD.glob("*.service")), ids=lambda path: path.stem)
def test_systemd_understands_every_line_of_a_unit(tmp_path, unit):
    # the programs themselves are not installed here
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    file = tmp_path / unit.name
    file.write_text(text)
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
    )

    said = [line for line in judged.stderr.splitlines() if unit.name in line]
    assert not said
