# SPDX-License-Identifier: Apache-2.0
"""MQTT brokers on loopback: mosquitto (plain or mutual TLS), embedded amqtt."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.errors import SetUpFault
from demo.ports import free_port

START_S = 60.0

ACL = """
# Everybody of the site may read; a node (its certificate's common name) writes below its own name,
# an EMS below its own.
pattern read df/v1/#
pattern write df/v1/+/%u/#
pattern write df/v1/+/+/ems/%u/#
"""


class RunningBroker:
    """A broker process that keeps its port over restarts; `stop` is clean, `kill` is kill -9."""

    host = "127.0.0.1"

    def __init__(self, command: Sequence[str | Path], port: int, log: Path) -> None:
        self.port = port
        self.log = log
        self._command = [str(part) for part in command]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            if self._process.poll() is not None:
                raise SetUpFault(f"the broker did not start: {self.log.read_text()}")
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    self.kill()
                    raise SetUpFault(f"the broker is silent: {self.log.read_text()}") from None
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill -9, and up again on the same port."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_mosquitto(
    folder: Path,
    *,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    acl: str = "",
) -> RunningBroker:
    """A mosquitto of its own in `folder`; with `ca`, `cert`, `key` it asks for client certificates,
    takes their common name as user, and keeps to `acl` (see ACL). Persists nothing, as by default.
    """
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        raise SetUpFault(
            "mosquitto is missing: run scripts/packages as root, or apt-get install it."
        )
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        "persistence false",
        "log_type all",
        "set_tcp_nodelay true",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # or it drops to a user who may not read the certificates
    if ca is not None:
        lines += [
            f"cafile {ca}",
            f"certfile {cert}",
            f"keyfile {key}",
            "require_certificate true",
            "use_identity_as_username true",
        ]
    else:
        lines.append("allow_anonymous true")
    if acl:
        (folder / "mosquitto.acl").write_text(acl)
        (folder / "mosquitto.acl").chmod(0o600)
        lines.append(f"acl_file {folder / 'mosquitto.acl'}")
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    broker = RunningBroker([program, "-c", config], port, folder / "mosquitto.log")
    broker.start()
    return broker


def start_amqtt(folder: Path) -> RunningBroker:
    """The embedded broker of the demo: plain, MQTT 3.1.1 only."""
    port = free_port()
    command = [sys.executable, "-m", "demo.broker", "--port", str(port)]
    broker = RunningBroker(command, port, folder / "amqtt.log")
    broker.start()
    return broker
