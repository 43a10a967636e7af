# SPDX-License-Identifier: Apache-2.0
"""Starts and prepares the VEN of this project through its own command line.

Options: config=ven.toml and state=ven.db (both required; the state is what is forgotten),
push_config and push_state (the same for a VEN that is pushed to),
site=site.toml (a light node is started with it; its plan.db lies beside it),
contexts=URI,URI, resources=ID, log=FILE.
The `[vtn] url` in ven.toml must be where the harness listens.
"""

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from conformance.adapter import Told
from conformance.adapters.options import Options
from conformance.declaration import Ability, Transport
from conformance.errors import AdapterFault, SetUpFault
from conformance.process import Service, program, run
from oadr.moments import read_instant, write_instant


class OursVen:
    """`ven run` as a process, `ven opt ...` for each act."""

    product = "demandflex VEN"
    abilities = frozenset(
        {
            Ability.RESTART,
            Ability.FRESH,
            Ability.OPT,
            Ability.OPT_RESOURCE,
            Ability.OPT_SCHEDULE,
            Ability.TOLD,
            Ability.UNREGISTER,
        }
    )

    def __init__(self, options: Mapping[str, str]) -> None:
        chosen = Options(
            options,
            *("config", "state", "push_config", "push_state"),
            *("site", "contexts", "resources", "log"),
        )
        self._files = {
            Transport.PULL: (chosen.required("config"), chosen.required("state")),
            Transport.PUSH: (chosen.get("push_config"), chosen.get("push_state")),
        }
        self._config, self._state = self._files[Transport.PULL]
        self.market_contexts = chosen.several("contexts") or ("http://market.example/one",)
        self.resources = chosen.several("resources")
        self._log = Path(chosen.get("log")) if chosen.get("log") else None
        self._program = program("ven")
        self._service = self._ven()
        site = chosen.get("site")
        self._plan = Path(site).parent / "plan.db"
        if not site:
            self.abilities -= {Ability.TOLD}
        self._node = (
            Service([program("light-node"), "run", "--config", site], self._log) if site else None
        )

    def _ven(self) -> Service:
        return Service([self._program, "run", "--config", self._config], self._log)

    async def open(self, url: str, transport: Transport) -> None:
        self._config, self._state = self._files[transport]
        if not self._config or not self._state:
            raise AdapterFault("push needs --set push_config=... and --set push_state=...")
        self._check(url)
        self._service = self._ven()
        if self._node is not None:
            await self._node.start()
        await self._service.start()

    def _check(self, url: str) -> None:
        try:
            settings = Path(self._config).read_text(encoding="utf-8")
        except OSError as error:
            raise SetUpFault(f"{self._config} cannot be read: {error.strerror}.") from error
        if url not in settings:
            raise SetUpFault(f'{self._config} does not name the harness: [vtn] url = "{url}"')

    async def close(self) -> None:
        await self._service.stop()
        if self._node is not None:
            await self._node.stop()

    async def restart(self, *, forget: bool) -> None:
        await self._service.stop(kill=not forget)
        if forget:
            _forget(Path(self._state))
        await self._service.start()

    async def register(self) -> None:
        await self._ask("register")

    async def cancel_registration(self) -> None:
        await self._ask("register", "--cancel")

    async def opt(self, event_id: str, *, opt_in: bool, resource: str = "") -> None:
        only = ("--resource", resource) if resource else ()
        verb = "in" if opt_in else "out"
        await self._ask("opt", verb, event_id, "--reason", "conformance", *only)

    async def opt_schedule(
        self,
        opt_id: str,
        starts_at: datetime,
        ends_at: datetime | None,
        *,
        opt_in: bool,
        device_class: str = "",
    ) -> None:
        times = ["--from", write_instant(starts_at)]
        if ends_at is not None:
            times += ["--to", write_instant(ends_at)]
        only = ("--device-class", device_class) if device_class else ()
        way = "--in" if opt_in else "--out"
        await self._ask("opt", "schedule", way, *times, "--id", opt_id, *only)

    async def cancel_opt_schedule(self, opt_id: str) -> None:
        await self._ask("opt", "cancel", opt_id)

    async def told(self, event_id: str) -> Sequence[Told]:
        """Read from the plan that the light node keeps for when the VEN is down."""
        with contextlib.closing(sqlite3.connect(f"file:{self._plan}?mode=ro", uri=True)) as kept:
            row = kept.execute("SELECT value FROM kept WHERE name = 'plan'").fetchone()
        plan = msgspec.json.decode(row[0]) if row is not None else {"steps": []}
        steps = [
            Told(
                starts_at=read_instant(one["starts_at"]),
                ends_at=read_instant(one["ends_at"]) if one["ends_at"] else None,
                value=one["value"],
                part=one.get("part", "active"),
            )
            for one in plan["steps"]
            if one["event_id"] == event_id
        ]
        return sorted(steps, key=lambda one: one.starts_at)

    async def _ask(self, *words: str) -> str:
        return await run(self._program, *words, "--config", self._config)


def _forget(state: Path) -> None:
    """The SQLite file and what lies beside it."""
    for file in state.parent.glob(f"{state.name}*"):
        file.unlink()
