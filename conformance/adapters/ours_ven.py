# SPDX-License-Identifier: Apache-2.0
"""Starts and prepares the VEN of this project through its own command line.

Options: config=ven.toml and state=ven.db (both required; the state is what is forgotten),
site=site.toml (a light node is started with it), contexts=URI,URI, resources=ID, log=FILE.
The `[vtn] url` in ven.toml must be where the harness listens.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from conformance.adapters.options import Options
from conformance.declaration import Ability
from conformance.errors import AdapterFault, SetUpFault
from conformance.process import Service, program, run


class OursVen:
    """`ven run` as a process, `ven opt ...` for each act."""

    product = "demandflex VEN"
    abilities = frozenset({Ability.RESTART, Ability.FRESH, Ability.OPT, Ability.UNREGISTER})

    def __init__(self, options: Mapping[str, str]) -> None:
        chosen = Options(options, "config", "state", "site", "contexts", "resources", "log")
        self._config = chosen.required("config")
        try:
            self._settings = Path(self._config).read_text(encoding="utf-8")
        except OSError as error:
            raise SetUpFault(f"{self._config} cannot be read: {error.strerror}.") from error
        self._state = Path(chosen.required("state"))
        self.market_contexts = chosen.several("contexts") or ("http://market.example/one",)
        self.resources = chosen.several("resources")
        log = Path(chosen.get("log")) if chosen.get("log") else None
        self._program = program("ven")
        self._service = Service([self._program, "run", "--config", self._config], log)
        site = chosen.get("site")
        self._node = (
            Service([program("light-node"), "run", "--config", site], log) if site else None
        )

    async def open(self, url: str) -> None:
        if url not in self._settings:
            raise AdapterFault(f'{self._config} does not name the harness: [vtn] url = "{url}"')
        if self._node is not None:
            await self._node.start()
        await self._service.start()

    async def close(self) -> None:
        await self._service.stop()
        if self._node is not None:
            await self._node.stop()

    async def restart(self, *, forget: bool) -> None:
        await self._service.stop(kill=not forget)
        if forget:
            for file in self._state.parent.glob(f"{self._state.name}*"):
                file.unlink()
        await self._service.start()

    async def register(self) -> None:
        await self._ask("register")

    async def cancel_registration(self) -> None:
        await self._ask("register", "--cancel")

    async def opt(self, event_id: str, *, opt_in: bool) -> None:
        await self._ask("opt", "in" if opt_in else "out", event_id, "--reason", "conformance")

    async def opt_schedule(self, starts_at: datetime, ends_at: datetime, *, opt_in: bool) -> None:
        raise AdapterFault(
            f"the VEN has no command for a schedule from {starts_at} to {ends_at} ({opt_in})"
        )

    async def cancel_opt_schedule(self) -> None:
        raise AdapterFault("the VEN has no command for schedules")

    async def _ask(self, *words: str) -> None:
        await run(self._program, *words, "--config", self._config)
