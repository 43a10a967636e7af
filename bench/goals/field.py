# SPDX-License-Identifier: Apache-2.0
"""Goal 9: what the field processes weigh, against one process with the usual libraries."""

import asyncio
import statistics
import sys
import time
from pathlib import Path

from bench.errors import BenchFault
from bench.plan import Run
from bench.ratios import Row, at_most, over
from bench.rounds import Figure
from bench.servers import START_S, Ours, Program
from bench.site import Building

PEER = "import openleadr, sqlalchemy, pymodbus.client, paho.mqtt.client, time\n"
SAMPLES = 5
IMPORTS = Path(__file__).parents[1] / "imports.py"
AFTER_S = 1.0
"""What is imported once everything is connected counts as well."""


async def measure(run: Run) -> None:
    """Adds the rows of goal 9."""
    (site,) = run.stage.sites(1)
    folder = run.stage.folder / "field"
    building = Building(folder)
    async with Ours(run.stage, "field-vtn") as vtn:
        await vtn.admit([site])
        try:
            await building.open()
            ven = building.ven(vtn, site)
            ven.start()
            await _said(building.light_node, "broker connected")
            await _said(ven, "plan_put")
            run.tell("light-node and ven run together and are left alone")
            await asyncio.sleep(run.amounts.settle_s)
            building.check()
            ven.check()
            node_mib = await _mib(building.light_node)
            ven_mib = await _mib(ven)
            ven.stop()
            building.light_node.stop()
            run.tell("CPU time of their imports, until they are connected")
            cpu = await _import_cpu(building, ven, rounds=run.amounts.rounds)
        finally:
            building.close()
    peer_mib = await _peer_mib(folder)
    peer = "openleadr + sqlalchemy + pymodbus + paho"
    shares = {"light-node": 0.45, "ven": 0.75}
    for name, mib in (("light-node", node_mib), ("ven", ven_mib)):
        run.rows.every += [
            Row(
                goal=9,
                what=f"memory (RSS) of `{name} run`, idle, over that of {peer} imported",
                unit="MiB",
                ours=mib,
                peer_name="imports",
                peer=peer_mib,
                ratio=over(mib, peer_mib),
                target=at_most(shares[name]),
                note="the meter read every 4 s, a broker connected, registered and polling",
            ),
            Row(
                goal=9,
                what=f"CPU time of all imports of `{name} run`, over that of {peer}",
                unit="ms",
                ours=cpu[name].value * 1000,
                peer_name="imports",
                peer=cpu["peer"].value * 1000,
                ratio=over(cpu[name].value, cpu["peer"].value),
                target=at_most(0.45),
                spread=cpu[name].spread,
                note="all imports of the whole process, counted in it, until it was connected to "
                "all it needs; bytecode was there; the least of some turns",
            ),
        ]


async def _said(program: Program, words: str) -> None:
    """Come back when these words stand in its log. Raises BenchFault."""
    deadline = time.monotonic() + START_S
    while words not in program.log.read_text(errors="replace"):
        program.check()
        if time.monotonic() > deadline:
            raise BenchFault(f"{program.name} did not say '{words}' within {START_S:g} s.")
        await asyncio.sleep(0.1)


async def _mib(program: Program) -> float:
    sizes = []
    for _ in range(SAMPLES):
        sizes.append(program.rss_bytes() / 2**20)
        await asyncio.sleep(0.5)
    return statistics.median(sizes)


async def _peer_mib(folder: Path) -> float:
    code = f"{PEER}print('ready', flush=True)\ntime.sleep(60)"
    program = Program("imports", [sys.executable, "-c", code], folder)
    program.start()
    try:
        await _said(program, "ready")
        return await _mib(program)
    finally:
        program.stop()


async def _import_cpu(building: Building, ven: Program, *, rounds: int) -> dict[str, Figure]:
    """CPU seconds of all imports of each process, by turns, after a round that is not counted."""
    code = building.folder / "peer.py"
    code.write_text(PEER)
    peer = _Counted(Program("peer", [code], building.folder))
    node, agent = _Counted(building.light_node), _Counted(ven)
    found: dict[str, list[float]] = {"light-node": [], "ven": [], "peer": []}
    for number in range(rounds + 1):
        peer.start()
        await peer.ended()
        node.start()
        await _said(node.program, "broker connected")
        agent.start()
        await _said(agent.program, "plan_put")
        await asyncio.sleep(AFTER_S)
        agent.program.stop()
        node.program.stop()
        if number:
            found["peer"].append(peer.cpu_s())
            found["light-node"].append(node.cpu_s())
            found["ven"].append(agent.cpu_s())
    # The least of each: what others do on the machine only ever adds.
    return {name: Figure(value=min(every), rounds=tuple(every)) for name, every in found.items()}


class _Counted:
    """A program that is run with its imports counted, as often as one likes."""

    def __init__(self, program: Program) -> None:
        self._found = program.log.with_suffix(".imports")
        self.program = program.under(sys.executable, IMPORTS, self._found)

    def start(self) -> None:
        self._found.unlink(missing_ok=True)
        self.program.log.unlink(missing_ok=True)
        self._process = self.program.start()

    async def ended(self) -> None:
        await asyncio.to_thread(self._process.wait)

    def cpu_s(self) -> float:
        """CPU seconds of its imports, once it has ended. Raises BenchFault."""
        try:
            return float(self._found.read_text())
        except (OSError, ValueError) as error:
            said = self.program.last_words()
            raise BenchFault(f"{self.program.name} told nothing of its imports: {said}") from error
