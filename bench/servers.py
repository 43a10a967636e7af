# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured, each a process of its own on a free port of loopback.

ours        `vtn serve`, as an operator starts it
openleadr   unmodified, on uvloop, without logs (bench.peer_openleadr)
echo        bare aiohttp on uvloop (bench.peer_echo): the floor; it speaks no OpenADR
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench import gauge
from bench.errors import BenchFault
from bench.load import Connection
from bench.stage import Site, Stage
from demo.ports import free_port
from vtn import config
from vtn.operator_client import OperatorClient
from vtn.orders import EventOrder, SignalOrder
from vtn.views import EventView, Ven

START_S = 120.0
STOP_S = 20.0
BIN = Path(sys.executable).parent
CONTEXT = "http://market.example/bench"
MEASURING = ".measuring"
"""While a file of this suffix stands beside it, bench.profiled fills a profile."""


def environment() -> dict[str, str]:
    """Ours, with bytecode kept, as on any machine in service."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHONDONT")}


class Program:
    """A process whose output goes to a log; `async with` starts and ends it."""

    def __init__(self, name: str, command: Sequence[object], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [str(word) for word in command]
        self._process: subprocess.Popen[bytes] | None = None

    def under(self, *command: object) -> "Program":
        """The same program, started through another one, with a log of its own."""
        return Program(f"{self.name}-traced", [*command, *self._command], self.log.parent)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu_s(self) -> float:
        """Seconds on a CPU so far, all its processes and threads."""
        return gauge.cpu_s(self.pid)

    def rss_bytes(self) -> int:
        return gauge.rss_bytes(self.pid)

    def start(self, **pipes: int) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=pipes.get("stdin", subprocess.DEVNULL),
                stdout=pipes.get("stdout", log),
                stderr=log,
                env=environment(),
            )
        return self._process

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check(self) -> None:
        """Raise BenchFault if it has ended, with its last words."""
        if self._process is not None and self._process.poll() is not None:
            raise BenchFault(f"{self.name} ended by itself: {self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    async def listening(self, port: int) -> None:
        """Come back when it accepts connections on a port of loopback. Raises BenchFault."""
        deadline = time.monotonic() + START_S
        while True:
            self.check()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if time.monotonic() > deadline:
                    raise BenchFault(
                        f"{self.name} does not listen after {START_S:g} s: {self.last_words()}"
                    ) from None
                await asyncio.sleep(0.05)
            else:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return


class Server:
    """One server under measurement: `async with` it, then `admit` VENs."""

    name: str
    vtn_id = ""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.port = free_port()
        self.folder = stage.folder / name
        self.folder.mkdir(exist_ok=True)

    program: Program

    @property
    def pid(self) -> int:
        return self.program.pid

    def cpu_s(self) -> float:
        return self.program.cpu_s()

    def rss_bytes(self) -> int:
        return self.program.rss_bytes()

    def measuring(self, *, now: bool) -> None:
        """Said before and after each stretch that is measured."""

    async def connect(self, site: Site) -> Connection:
        return await Connection.open("127.0.0.1", self.port, site.context())

    async def __aenter__(self) -> Self:
        self.program.start()
        await self.program.listening(self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.program.stop)

    async def admit(self, sites: Sequence[Site]) -> None:
        """Let VENs in, so that they may register."""

    async def publish(self, sites: Sequence[Site]) -> None:
        """One fresh event for each VEN, an hour from now."""
        raise NotImplementedError(f"{self.name} knows no events")  # the bare echo

    async def opted_in(self) -> int:
        """How many answers of VENs that opted in it holds."""
        raise NotImplementedError(f"{self.name} knows no events")  # the bare echo


class Ours(Server):
    """`vtn serve` on SQLite, or on the database at `url`."""

    name = "ours"
    vtn_id = "bench-vtn"

    def __init__(
        self,
        stage: Stage,
        name: str = "ours",
        *,
        url: str = "sqlite:///vtn.db",
        openadr: Mapping[str, object] | None = None,
        serve: Sequence[str] = (),
    ) -> None:
        """`openadr`: more settings of [openadr]; `serve`: more words for `vtn serve`."""
        super().__init__(stage, name)
        self.url = url
        self.operator_port = free_port()
        self.config = self.folder / "vtn.toml"
        chains = "".join(
            f'    {{ cert = "{cert}", key = "{key}" }},\n'
            for cert, key in map(stage.chain, ("ecc", "rsa"))
        )
        more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in (openadr or {}).items())
        self.config.write_text(f"""
[vtn]
id = "{self.vtn_id}"
[openadr]
host = "127.0.0.1"
port = {self.port}
client_ca = "{stage.authority.ven_trust}"
certificates = [
{chains}]
{more}
[store]
url = "{url}"
[operator]
port = {self.operator_port}
token_file = "operator.token"
""")
        vtn: list[object] = [BIN / "vtn"]
        self._profile: Path | None = None
        if stage.profiles is not None:
            self._profile = stage.profiles / f"{name}.txt"
            vtn = [sys.executable, "-m", "bench.profiled", self._profile]
        command = [*vtn, "serve", "--config", self.config, *serve]
        self.program = Program(name, command, self.folder)
        self._contexts_made = False
        self._published: list[str] = []

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "vtn.db"

    async def prepare(self) -> None:
        """Make the database and the token, as an operator does. Raises BenchFault."""
        done = await asyncio.to_thread(
            subprocess.run,
            [str(BIN / "vtn"), "init", "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchFault(f"vtn init failed: {done.stderr.strip()}")

    async def __aenter__(self) -> Self:
        await self.prepare()
        await super().__aenter__()
        await self.program.listening(self.operator_port)
        self.program.check()
        self.operator = OperatorClient.at(config.load(self.config))
        return self

    def measuring(self, *, now: bool) -> None:
        if self._profile is not None:
            mark = self._profile.with_suffix(MEASURING)
            mark.touch() if now else mark.unlink(missing_ok=True)

    async def admit(self, sites: Sequence[Site]) -> None:
        def work() -> None:
            for site in sites:
                pem = site.issued.certificate.read_text()
                body = {"ven_id": site.ven_id, "name": site.ven_id, "certificate": pem}
                self.operator.post("vens", into=Ven, body=body)

        await asyncio.to_thread(work)

    async def publish(self, sites: Sequence[Site]) -> None:
        def work() -> None:
            for site in sites:
                self._order(vens=(site.ven_id,))

        await asyncio.to_thread(work)

    async def publish_to_all(self) -> None:
        """One event for every VEN there is."""
        await asyncio.to_thread(self._order, everyone=True)

    def _order(self, *, vens: tuple[str, ...] = (), everyone: bool = False) -> None:
        if not self._contexts_made:
            body = {"uri": CONTEXT, "name": "bench"}
            self.operator.post("market-contexts", into=dict[str, Any], body=body)
            self._contexts_made = True
        order = EventOrder(
            signals=(SignalOrder(name="SIMPLE", type="level", value=1),),
            start="now+1h",
            duration="15m",
            vens=vens,
            everyone=everyone,
            market_context=CONTEXT,
        )
        event = self.operator.post("events", into=EventView, body=order)
        self._published.append(event.event_id)

    async def opted_in(self) -> int:
        def work() -> int:
            events = (self.operator.get("events", one, into=EventView) for one in self._published)
            return sum(ven.opt == "optIn" for event in events for ven in event.vens)

        return await asyncio.to_thread(work)


class Openleadr(Server):
    """An unmodified openleadr 0.5.36 VTN; signs and verifies with a key of `kind` if it `signs`."""

    name = "openleadr"
    vtn_id = "OPENLEADR-VTN"

    def __init__(
        self,
        stage: Stage,
        name: str = "openleadr",
        *,
        kind: str = "ecc",
        signs: bool = False,
        loop: str = "uvloop",
    ) -> None:
        """`loop`: "uvloop", or "asyncio" as its manual has it."""
        super().__init__(stage, name)
        cert, key = stage.chain(kind)
        script = Path(__file__).with_name("peer_openleadr.py")
        self.program = Program(
            name,
            [
                *(sys.executable, script, "--port", self.port, "--loop", loop),
                *("--cert", cert, "--key", key, "--ca", stage.authority.ven_trust),
                *(["--signs"] if signs else []),
            ],
            self.folder,
        )

    async def __aenter__(self) -> Self:
        self._process = self.program.start(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        await self.program.listening(self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, trace)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    async def admit(self, sites: Sequence[Site], *, registered: bool = False) -> None:
        prints = {site.ven_id: site.issued.fingerprint for site in sites}
        await self.say(do="admit", fingerprints=prints, registered=registered)

    async def publish(self, sites: Sequence[Site]) -> None:
        await self.say(do="publish", ven_ids=[site.ven_id for site in sites])

    async def opted_in(self) -> int:
        return int((await self.say(do="kept"))["opts"])

    async def say(self, **what: Any) -> dict[str, Any]:
        """Have the peer's process do something. Raises BenchFault where it cannot."""

        def work() -> bytes:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
            return self._process.stdout.readline()

        line = await asyncio.to_thread(work)
        if not line:
            raise BenchFault(f"openleadr does not answer: {self.program.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Echo(Server):
    """Bare aiohttp: what it is sent comes back."""

    name = "echo"

    def __init__(self, stage: Stage, name: str = "echo") -> None:
        super().__init__(stage, name)
        cert, key = stage.chain("ecc")
        script = Path(__file__).with_name("peer_echo.py")
        self.program = Program(
            name,
            [
                *(sys.executable, script, "--port", self.port),
                *("--cert", cert, "--key", key, "--ca", stage.authority.ven_trust),
            ],
            self.folder,
        )
