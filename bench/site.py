# SPDX-License-Identifier: Apache-2.0
"""The field wing on this machine: a meter, a broker, `light-node run` and `ven run`."""

import sys
from pathlib import Path

from bench.errors import BenchFault
from bench.servers import BIN, Ours, Program
from bench.stage import Site
from demo.ports import free_port
from demo.story import find_mosquitto


class Building:
    """One light node at a simulated meter, in a folder of its own; start what is needed."""

    def __init__(self, folder: Path, *, interval_s: float = 4.0) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.meter_port, self.broker_port = free_port(), free_port()
        self.site_toml = folder / "site.toml"
        self.site_toml.write_text(f"""
[site]
id = "bench"
[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
port = {self.meter_port}
[mqtt]
host = "127.0.0.1"
port = {self.broker_port}
[sampling]
interval_s = {interval_s}
""")
        meter = Path(__file__).with_name("peer_meter.py")
        self.meter = Program("meter", [sys.executable, meter, "--port", self.meter_port], folder)
        self.broker = Program("broker", self._broker(), folder)
        node = [BIN / "light-node", "run", "--config", self.site_toml]
        self.light_node = Program("light-node", node, folder)

    async def open(self) -> None:
        """Meter, broker and light node run, and the meter has been asked. Raises BenchFault."""
        self.meter.start()
        await self.meter.listening(self.meter_port)
        self.broker.start()
        await self.broker.listening(self.broker_port)
        self.light_node.start()

    def asked_at(self) -> list[float]:
        """When the meter was asked so far, epoch seconds."""
        lines = self.meter.log.read_text().splitlines()
        return [float(line) for line in lines if line.replace(".", "").isdigit()]

    def ven(self, vtn: Ours, site: Site) -> Program:
        """`ven run` of this building at a VTN that has let it in; not started yet."""
        file = self.folder / "ven.toml"
        file.write_text(f"""
[ven]
name = "{site.ven_id}"
cert = "{site.issued.certificate}"
key = "{site.issued.key}"
state = "ven.db"
[vtn]
url = "https://127.0.0.1:{vtn.port}"
ca = "{site.trust}"
[node]
socket = "light-node.sock"
[site]
resource_id = "building"
""")
        return Program("ven", [BIN / "ven", "run", "--config", file], self.folder)

    def close(self) -> None:
        for program in (self.light_node, self.broker, self.meter):
            program.stop()

    def _broker(self) -> list[object]:
        found = find_mosquitto()
        if found is None:
            return [sys.executable, "-m", "demo.broker", "--port", self.broker_port]
        conf = self.folder / "mosquitto.conf"
        conf.write_text(
            f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        )
        return [found, "-c", conf]

    def check(self) -> None:
        """Raise BenchFault where one of them has ended, or the meter was never asked."""
        for program in (self.meter, self.broker, self.light_node):
            program.check()
        if not self.asked_at():
            raise BenchFault(f"The light node asked its meter nothing; see {self.folder}.")
