"""`python -m demo` as a newcomer runs it: it ends by itself, or says which step has failed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

KEYS = {
    "event_id",
    "ven_id",
    "opt",
    "ordered_w",
    "delivered_w",
    "fraction",
    "baseline_method",
    "samples_expected",
    "samples_received",
    "setpoint_acknowledged",
    "max_start_error_ms",
    "duration_s",
}


def demo(out: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo", "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def children(pid: int) -> dict[int, str]:
    """Process IDs and command lines of the programs a demonstration has started."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if parent == pid:
            found[int(entry.name)] = command
    return found


def test_the_demonstration_ends_by_itself_with_verified_curtailment(tmp_path: Path) -> None:
    running = demo(tmp_path / "out")
    said, _ = running.communicate(timeout=250)

    assert running.returncode == 0, said
    assert "verified curtailment: ordered 60.0 kW, delivered " in said
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(result) == KEYS
    assert result["opt"] == "optIn"
    assert result["ordered_w"] == 60_000
    assert 0.7 < result["fraction"] < 1.2
    assert result["samples_received"] == result["samples_expected"] == 8
    assert result["setpoint_acknowledged"] is True
    assert result["baseline_method"].startswith("high 5 of 10")
    picture = ET.parse(tmp_path / "out" / "curtailment.svg").getroot()
    drawn = {element.get("class") for element in picture.iter()}
    assert {"baseline", "order", "measured", "delivered"} <= drawn


def test_a_program_that_dies_is_named_with_its_step_and_the_logs(tmp_path: Path) -> None:
    running = demo(tmp_path / "out")
    deadline = time.monotonic() + 60
    while not (vtn := [p for p, c in children(running.pid).items() if "vtn serve" in c]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)
    os.kill(vtn[0], signal.SIGKILL)

    said, _ = running.communicate(timeout=250)

    assert running.returncode == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: could not ")
    assert "vtn ended with status -9" in last
    assert str(tmp_path / "out" / "logs") in last
    assert children(running.pid) == {}


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    said, _ = (running := demo(tmp_path / "file" / "out")).communicate(timeout=120)

    assert running.returncode == 1
    assert len(said.strip().splitlines()) == 1
    assert "cannot be prepared" in said
