"""A benchmark that is ended early leaves what it has measured by then, and nothing running."""

import json
import signal
import subprocess
import sys
import time

import pytest

PATIENCE_S = 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_early_writes_what_it_has(number, tmp_path):
    out, said = tmp_path / "out", tmp_path / "said"
    words = [sys.executable, "-m", "bench", "--only", "10", "--quick", "--out", str(out)]
    with said.open("wb") as log:
        run = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "80 ticks" not in said.read_text(errors="replace"):
            assert run.poll() is None, said.read_text(errors="replace")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.send_signal(number)
        status = run.wait(PATIENCE_S)
    finally:
        run.kill()
        run.wait()

    result = json.loads((out / "ratios.json").read_bytes())
    assert status == 1
    assert result["failed"] == ["the run was interrupted"]
    assert result["goals"] == []
