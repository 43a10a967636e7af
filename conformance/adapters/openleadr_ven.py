# SPDX-License-Identifier: Apache-2.0
"""Starts an unmodified openleadr VEN: the example to copy.

openleadr is a library, so the VEN is a small program around it (openleadr_ven_process.py).
It keeps nothing, so every restart is a fresh start. Options: cert, key, ca.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from conformance.adapter import Told
from conformance.adapters.options import Options
from conformance.declaration import Ability, Transport
from conformance.errors import AdapterFault
from conformance.process import Service


class OpenleadrVen:
    """One process that is started and stopped."""

    product = "openleadr 0.5.36 VEN"
    abilities = frozenset({Ability.FRESH})
    market_contexts = ("http://market.example/one",)
    resources = ("roof",)

    def __init__(self, options: Mapping[str, str]) -> None:
        chosen = Options(options, "cert", "key", "ca", "log")
        self._command = [sys.executable, str(Path(__file__).with_name("openleadr_ven_process.py"))]
        for name in ("cert", "key", "ca"):
            self._command += [f"--{name}", chosen.required(name)]
        self._log = Path(chosen.get("log")) if chosen.get("log") else None
        self._service: Service | None = None

    async def open(self, url: str, transport: Transport) -> None:
        if transport is Transport.PUSH:
            raise AdapterFault("openleadr has no push VEN")
        self._service = Service([*self._command, "--url", url], self._log)
        await self._service.start()

    async def close(self) -> None:
        if self._service is not None:
            await self._service.stop()

    async def restart(self, *, forget: bool) -> None:
        if self._service is None or not forget:
            raise AdapterFault("openleadr keeps nothing over a restart")
        await self._service.stop()
        await self._service.start()

    async def register(self) -> None:
        raise AdapterFault("openleadr registers when it starts")

    async def cancel_registration(self) -> None:
        raise AdapterFault("openleadr does not cancel its registration of its own accord")

    async def opt(self, event_id: str, *, opt_in: bool, resource: str = "") -> None:
        raise AdapterFault(
            f"openleadr cannot change its mind about {event_id} to {opt_in} {resource}"
        )

    async def opt_schedule(
        self,
        opt_id: str,
        starts_at: datetime,
        ends_at: datetime | None,
        *,
        opt_in: bool,
        device_class: str = "",
    ) -> None:
        raise AdapterFault(
            f"openleadr has no schedules ({opt_id}, {starts_at}, {ends_at}, {opt_in}{device_class})"
        )

    async def cancel_opt_schedule(self, opt_id: str) -> None:
        raise AdapterFault(f"openleadr has no schedules ({opt_id})")

    async def told(self, event_id: str) -> Sequence[Told]:
        raise AdapterFault(f"openleadr tells nobody of {event_id}")
