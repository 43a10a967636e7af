"""The clients of docs/clients as real processes: each keeps every promise of `ems-bridge check`."""

import asyncio
import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.brokers import start_mosquitto
from demo.ports import free_port
from ems_bridge.broker import BrokerSettings
from ems_bridge.settings import Settings
from ems_bridge.trial.play import Result, Trial, play
from ems_bridge.trial.scenarios import SCENARIOS
from tests.story.test_ems_trial import now

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "docs" / "clients"
NPM = ROOT / "tests" / "npm" / "node_modules"
UNSEEN = {"moves the load", "lets go"}
"""They look at the load itself, which these clients keep to themselves."""
SHARES = 6


def command(client: str, folder: Path) -> list[str]:
    """How this client is started, with what it needs of others beside it."""
    if client.endswith(".py"):
        return [sys.executable, str(CLIENTS / client)]
    if not NPM.is_dir():
        pytest.fail("tests/npm/node_modules is missing; run scripts/npm, or make test.")
    with contextlib.suppress(FileExistsError):
        (folder / "node_modules").symlink_to(NPM)
        for file in CLIENTS.glob("*.mjs"):
            (folder / file.name).write_bytes(file.read_bytes())
    return ["node", str(folder / client)]


async def tried(site: str, broker, words: list[str], *only: str) -> dict[str, Result]:
    """How a client of its own does in these scenarios, on topics of its own."""
    trial = Trial(
        settings=Settings(
            site=site,
            node="trial",
            ems="bms",
            broker=BrokerSettings(host=broker.host, port=broker.port),
            rated_w=100_000.0,
        ),
        step_w=5_000.0,
        patience_s=6.0,
        through=free_port(),
        only=only,
    )
    client: list[subprocess.Popen[bytes]] = []

    def ready(port: int) -> None:
        client.append(subprocess.Popen([*words, "127.0.0.1", str(port), site, "trial", "bms"]))

    try:
        playing = play(trial, now=now, monotonic=time.monotonic, ready=ready)
        async with contextlib.aclosing(playing) as played:
            return {result.name: result async for result in played}
    finally:
        for process in client:
            process.kill()
            process.wait()


@pytest.mark.parametrize("client", ["ems_client.py", "ems_client.mjs"])
async def test_a_client_of_under_50_lines_keeps_every_promise(client, tmp_path):
    words = command(client, tmp_path)
    names = [name for name in SCENARIOS if name not in UNSEEN]
    broker = start_mosquitto(tmp_path)
    try:
        shares = [tried(f"s{n}", broker, words, *names[n::SHARES]) for n in range(SHARES)]
        results = {
            name: one for share in await asyncio.gather(*shares) for name, one in share.items()
        }
    finally:
        broker.kill()

    assert {name: one.why for name, one in results.items() if one.outcome != "passed"} == {}
    assert len(results) == len(names)
    assert len((CLIENTS / client).read_text(encoding="utf-8").splitlines()) < 50
