"""What systemd hears from the field's programs: real processes, and nobody there to speak to."""

import contextlib
import os
import socket
import time

import pytest

from chaos.program import Program, command
from demo.ports import free_port

VEN = """
[ven]
name = "hq"
cert = "{cert}"
key = "{key}"
state = "ven.db"
[vtn]
url = "https://127.0.0.1:{port}"
ca = "{ca}"
[node]
socket = "node.sock"
[site]
resource_id = "building"
"""
SITE = """
[site]
id = "hq"
[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
port = {port}
[ring]
path = "ring.db"
[sampling]
interval_s = 0.25
"""


class Manager:
    """A socket at an abstract address, as systemd may use, and all that was said to it."""

    def __init__(self):
        address = f"demandflex-{os.getpid()}-{time.monotonic_ns()}"
        self.environment = {"NOTIFY_SOCKET": f"@{address}", "WATCHDOG_USEC": "900000"}
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.bind(f"\0{address}")
        self.line.settimeout(0.2)
        self.said = []

    def hear(self, wanted, *, times=1):
        """Wait until it was said so often."""
        deadline = time.monotonic() + 60
        while self.said.count(wanted) < times:
            assert time.monotonic() < deadline, self.said
            with contextlib.suppress(TimeoutError):
                self.said += self.line.recv(999).decode().split("\n")


@pytest.fixture
def manager():
    found = Manager()
    yield found
    found.line.close()


def lives_alone(program, manager):
    """It gets ready, shows progress though nobody answers it, and ends well."""
    program.environment = manager.environment
    program.start()
    try:
        manager.hear("WATCHDOG=1", times=4)
        assert manager.said[0] == "READY=1"
        assert manager.said[1].startswith("STATUS=")
    finally:
        status = program.stop()
    assert status == 0, program.log.read_text()
    manager.hear("STOPPING=1")


def test_a_light_node_whose_meter_is_unplugged_is_not_restarted(tmp_path, manager):
    (tmp_path / "site.toml").write_text(SITE.format(port=free_port()))
    words = command("light-node", "run", "--config", tmp_path / "site.toml")

    lives_alone(Program("light-node", words, tmp_path), manager)


def test_a_ven_whose_vtn_and_light_node_are_away_is_not_restarted(tmp_path, manager, authority):
    issued = authority.ven("service-manager")
    text = VEN.format(
        cert=issued.certificate, key=issued.key, ca=authority.vtn_trust, port=free_port()
    )
    (tmp_path / "ven.toml").write_text(text)
    words = command("ven", "run", "--config", tmp_path / "ven.toml")

    lives_alone(Program("ven", words, tmp_path), manager)
