# SPDX-License-Identifier: Apache-2.0
"""Goal 9: what the field processes weigh, against one process with the usual libraries."""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.errors import BenchFault
from bench.plan import Run
from bench.ratios import Row, at_most, over
from bench.rounds import Figure
from bench.servers import START_S, Ours, Program, environment
from bench.site import Building
from vtn.views import Ven

PEER = ("openleadr", "sqlalchemy", "pymodbus.client", "paho.mqtt.client")
SAMPLES = 5
_IMPORTED = re.compile(r"^import time:\s*\d+ \|\s*\d+ \|\s*([\w.]+)$", re.MULTILINE)
_TIMED = """
import json, sys, time
names = json.load(open(sys.argv[1]))
before = time.process_time()
for name in names:
    try:
        __import__(name)
    except ImportError:
        pass
print(time.process_time() - before)
"""


async def measure(run: Run) -> None:
    """Adds the rows of goal 9."""
    (site,) = run.stage.sites(1)
    folder = run.stage.folder / "field"
    building = Building(folder)
    run.tell("light-node and ven run together and are left alone")
    async with Ours(run.stage, "field-vtn") as vtn:
        await vtn.admit([site])
        try:
            await building.open()
            ven = building.ven(vtn, site)
            ven.start()
            await _registered(vtn, site.ven_id)
            await asyncio.sleep(run.amounts.settle_s)
            building.check()
            ven.check()
            node_mib = await _mib(building.light_node)
            ven_mib = await _mib(ven)
            ven.stop()
            building.light_node.stop()
            run.tell("which modules they import")
            modules = {
                "light-node": await _modules(building.light_node, folder),
                "ven": await _modules(ven, folder),
            }
        finally:
            building.close()
    peer_mib = await _peer_mib(folder)
    modules["peer"] = list(PEER)
    run.tell("CPU time of their imports")
    cpu = await _import_cpu(modules, folder, rounds=run.amounts.rounds)
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
                note=f"{len(modules[name])} modules, those that the running process had imported; "
                "bytecode was there",
            ),
        ]


async def _registered(vtn: Ours, ven_id: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        found = await asyncio.to_thread(vtn.operator.get, "vens", ven_id, into=Ven)
        if found.state == "registered":
            return
        if time.monotonic() > deadline:
            raise BenchFault(f"The VEN did not register within {START_S:g} s.")
        await asyncio.sleep(0.2)


async def _mib(program: Program) -> float:
    sizes = []
    for _ in range(SAMPLES):
        sizes.append(program.rss_bytes() / 2**20)
        await asyncio.sleep(0.5)
    return statistics.median(sizes)


async def _peer_mib(folder: Path) -> float:
    code = f"import {', '.join(PEER)}, time; print('ready', flush=True); time.sleep(60)"
    program = Program("imports", [sys.executable, "-c", code], folder)
    program.start()
    try:
        deadline = time.monotonic() + START_S
        while program.last_words() != "ready":
            program.check()
            if time.monotonic() > deadline:
                raise BenchFault("The process with the usual libraries did not get ready.")
            await asyncio.sleep(0.1)
        return await _mib(program)
    finally:
        program.stop()


async def _modules(program: Program, folder: Path) -> list[str]:
    """All modules a program has imported by the time it runs quietly, in that order."""
    traced = program.under(sys.executable, "-X", "importtime")
    traced.start()
    await asyncio.sleep(6.0)
    traced.check()
    traced.stop()
    found = _IMPORTED.findall(traced.log.read_text(errors="replace"))
    if not found:
        raise BenchFault(f"{program.name} told nothing of its imports; see {folder}.")
    return list(dict.fromkeys(found))


async def _import_cpu(
    modules: dict[str, list[str]], folder: Path, *, rounds: int
) -> dict[str, Figure]:
    """CPU seconds of importing each list in a fresh interpreter, once its bytecode is there."""
    found: dict[str, list[float]] = {name: [] for name in modules}
    for number in range(rounds + 1):
        for name, every in modules.items():
            names = folder / f"{name}.json"
            names.write_text(json.dumps(every))
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", _TIMED, str(names)],
                capture_output=True,
                text=True,
                check=True,
                env=environment(),
            )
            if number:
                found[name].append(float(done.stdout))
    return {name: Figure.of(seconds) for name, seconds in found.items()}
