"""The building as a process: its meter read over Modbus, its load moved over TCP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def building(ledger: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.building", "--ledger", str(ledger)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def meter_watts(port: int) -> float:
    with ModbusTcpClient("127.0.0.1", port=port, timeout=30) as client:
        answer = client.read_input_registers(52, count=2, device_id=1)
        kind = client.DATATYPE.FLOAT32
        return float(client.convert_from_registers(answer.registers, kind))


def test_the_meter_shows_what_the_load_port_moved(building, ledger: Path) -> None:
    process, ports = building
    before = meter_watts(ports["meter_port"])
    assert 200e3 < before < 400e3
    with socket.create_connection(("127.0.0.1", ports["load_port"]), timeout=30) as load:
        lines = load.makefile("rw")

        def say(text: str) -> dict:
            lines.write(text + "\n")
            lines.flush()
            return json.loads(lines.readline())

        assert "error" in say("what?")
        say('{"reduction_w": 60000}')
        deadline = time.monotonic() + 60
        while (now := say("{}"))["reduction_w"] < 45_000:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        measured_w = meter_watts(ports["meter_port"])
        least_w, most_w = sorted((now["load_w"], say("{}")["load_w"]))  # it goes on falling
        assert 0.99 * least_w <= measured_w <= 1.01 * most_w
        assert now["load_w"] == pytest.approx(now["natural_w"] - now["reduction_w"])

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len(entries) >= 3
    assert entries[-1]["reduction_w"] > 30_000
    assert {"at", "natural_w", "load_w", "reduction_w"} == entries[0].keys()


def test_a_taken_port_is_one_sentence(building) -> None:
    _, ports = building
    second = subprocess.run(
        [sys.executable, "-m", "demo.building", "--load-port", str(ports["load_port"])],
        cwd=ROOT,
        env=dict(os.environ, PYTHONWARNINGS="error"),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert second.returncode == 1
    assert "The building cannot start" in second.stderr
    assert "Traceback" not in second.stderr
