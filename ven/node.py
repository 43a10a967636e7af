# SPDX-License-Identifier: Apache-2.0
"""The light node as the VEN sees it: one connection to its socket, renewed for as long as it takes.

The plan is put on every change and after every reconnection; the node's status is watched. Whoever
asks for readings while the node is away gets NodeUnreachable and waits for `changed`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from doorway import get_logger
from doorway.apart import apart
from light_node.errors import NodeRefused, NodeUnreachable
from light_node.local import (
    Curtailment,
    LocalClient,
    Notice,
    OverrideState,
    Readings,
    Status,
    Step,
)
from ven.bell import Bell
from ven.retry import BackOff

log = get_logger()

Plan = tuple[tuple[Step, ...], tuple[Notice, ...]]
AGAIN_S = 30.0
"""A plan that the node refused, for instance on a full disk, is put again after this."""
HEARTBEAT_S = 5.0
STATEMENT_AFTER_S = 5.0
NOT_THERE = (
    "The light node is not connected; see whether it runs, and whether [node] socket here is "
    "[socket] path of its site.toml."
)


class NodeClient(Protocol):
    """What is used of LocalClient."""

    async def put_plan(
        self, version: int, steps: tuple[Step, ...], notices: tuple[Notice, ...] = ()
    ) -> None: ...

    async def readings(
        self,
        *,
        after: int = 0,
        limit: int = 900,
        wait_s: float = 0.0,
        meter: str = "",
        delivered: int = 0,
    ) -> Readings: ...

    async def span(
        self, starts_at: datetime, ends_at: datetime, *, meter: str = ""
    ) -> Readings: ...

    async def curtailment(self, event_id: str) -> Curtailment: ...

    async def vtn_heard(self) -> None: ...

    def watch(self) -> AsyncIterator[Status]: ...


class NodeLink:
    """Keeps the connection, the plan on the node, and the node's last status."""

    def __init__(
        self,
        socket: Path,
        *,
        next_version: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float],
        vtn_heard_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """`vtn_heard_at` gives when the VTN last answered; None: never since the start."""
        self._vtn_heard_at = vtn_heard_at
        self._socket = socket
        self._next_version = next_version
        self._sleep = sleep
        self._draw = draw
        self._back_off = BackOff(first_s=0.5, cap_s=10.0)
        self._client: NodeClient | None = None
        self._plan: Plan | None = None
        self._plan_changed = Bell()
        self.status: Status | None = None
        """The last one while the node is connected; None while it is not."""
        self.override = OverrideState(active=False)
        """The last one heard of, also while the node is away."""
        self.plan_refused = ""
        """The node's sentence about the last plan; empty when it took it."""
        self.changed = Bell()
        """Rung when the node comes, goes, or says something new."""

    @property
    def is_connected(self) -> bool:
        return self._client is not None

    def set_plan(self, plan: Plan) -> None:
        """Have the node hold this plan; nothing happens where it is the one it holds."""
        if plan != self._plan:
            self._plan = plan
            self._plan_changed.ring()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        failures = 0
        while True:
            try:
                async with self._connected() as client:
                    failures = 0
                    log.info("node_connected", socket=str(self._socket))
                    await apart(self._serve(client))
            except NodeUnreachable as error:
                failures += 1
                if failures == 1:
                    log.warning("node_unreachable", why=str(error))
            await self._sleep(self._back_off.delay_s(max(failures, 1), self._draw))

    async def readings(
        self,
        *,
        after: int,
        limit: int,
        wait_s: float = 0.0,
        delivered: int = 0,
        meter: str = "",
    ) -> Readings:
        """Rows of a meter ("" = the site's) above `after`. Raises NodeUnreachable, NodeRefused.

        Those up to `delivered` are at the VTN, and the node may let them go on a full disk.
        """
        return await self._there().readings(
            after=after, limit=limit, wait_s=wait_s, delivered=delivered, meter=meter
        )

    async def span(self, starts_at: datetime, ends_at: datetime, *, meter: str = "") -> Readings:
        """Rows of a meter by time. Raises NodeUnreachable, NodeRefused."""
        return await self._there().span(starts_at, ends_at, meter=meter)

    async def curtailment(self, event_id: str) -> Curtailment:
        """What an event has brought. Raises NodeUnreachable, NodeRefused."""
        return await self._there().curtailment(event_id)

    def _there(self) -> NodeClient:
        if self._client is None:
            raise NodeUnreachable(NOT_THERE)
        return self._client

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[LocalClient]:
        async with LocalClient(self._socket) as client:
            self._client = client
            try:
                yield client
            finally:
                self._client = None
                self.status = None
                self.changed.ring()

    async def _serve(self, client: NodeClient) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(client))
                group.create_task(self._keep_plan(client))
                group.create_task(self._pass_on_heartbeat(client))
        except* NodeUnreachable as gone:
            raise NodeUnreachable(str(gone.exceptions[0])) from gone

    async def _watch(self, client: NodeClient) -> None:
        async for status in client.watch():
            self.status = status
            self.override = status.override
            self.changed.ring()
        raise NodeUnreachable(NOT_THERE)

    async def _keep_plan(self, client: NodeClient) -> None:
        while True:
            seen = self._plan_changed.rings
            if self._plan is not None:
                await self._put(client, self._plan)
            await self._plan_changed.wait(seen, at_most_s=AGAIN_S if self.plan_refused else None)

    async def _pass_on_heartbeat(self, client: NodeClient) -> None:
        """Tell a node that holds caps when the VTN answers; where it waits, the plan follows.

        While its failsafe cap holds, a node waits for a statement after the heartbeat's return:
        the plan, also where nothing in it has changed.
        """
        last: datetime | None = None
        while True:
            heard_at = self._vtn_heard_at()
            cap = self.status.grid_cap if self.status is not None else ""
            if cap and heard_at is not None and heard_at != last:
                last = heard_at
                try:
                    await client.vtn_heard()
                except NodeRefused as error:
                    log.warning("heartbeat_refused", why=str(error))
                if cap in ("init", "failsafe"):
                    # What the VTN had to say on its return has come by then.
                    await self._sleep(STATEMENT_AFTER_S)
                    self._plan_changed.ring()
            await self._sleep(HEARTBEAT_S)

    async def _put(self, client: NodeClient, plan: Plan) -> None:
        steps, notices = plan
        version = self._next_version()
        try:
            await client.put_plan(version, steps, notices)
        except NodeRefused as error:
            self.plan_refused = str(error)
            log.warning("plan_refused", why=str(error), version=version)
        else:
            self.plan_refused = ""
            log.info("plan_put", version=version, steps=len(steps))
