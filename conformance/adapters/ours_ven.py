# SPDX-License-Identifier: Apache-2.0
"""Starts and prepares the VEN of this project through its own command line.

Options: config=ven.toml and state=ven.db (both required; the state is what is forgotten),
push_config and push_state (the same for a VEN that is pushed to),
site=site.toml (a light node is started with it), contexts=URI,URI, resources=ID, log=FILE.
The `[vtn] url` in ven.toml must be where the harness listens.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from conformance.adapters.options import Options
from conformance.declaration import Ability, Transport
from conformance.errors import AdapterFault, SetUpFault
from conformance.process import Service, program, run


class OursVen:
    """`ven run` as a process, `ven opt ...` for each act."""

    product = "demandflex VEN"
    abilities = frozenset({Ability.RESTART, Ability.FRESH, Ability.OPT, Ability.UNREGISTER})

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


def _forget(state: Path) -> None:
    """The SQLite file and what lies beside it."""
    for file in state.parent.glob(f"{state.name}*"):
        file.unlink()
