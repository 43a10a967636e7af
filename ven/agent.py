# SPDX-License-Identifier: Apache-2.0
"""The VEN put together: one task group, one shutdown."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

import structlog

from oadr.vocabulary import OptType
from ven import control, describe
from ven.bell import Bell
from ven.client import VtnClient
from ven.config import Settings
from ven.credentials import Credentials, read_credentials, tls_context
from ven.errors import NotRegistered, RegistrationEnded
from ven.eventdesk import EventDesk
from ven.line import Line
from ven.node import NodeLink
from ven.outbox import Outbox
from ven.polling import Poller, Rooms
from ven.registration import Registrar
from ven.reporters import make_reporter
from ven.reporting import Reporting
from ven.retry import BackOff
from ven.state import State

log = structlog.get_logger()

LOOK_S = 30.0
"""The longest wait for an instant: a clock that is set meanwhile moves it."""


def utc_now() -> datetime:
    return datetime.now(UTC)


async def run(settings: Settings, *, now: Callable[[], datetime] = utc_now) -> None:
    """Run the VEN until cancelled. At its start it may raise a VenFault."""
    tls = tls_context(settings)
    credentials = read_credentials(settings.ven.cert)
    state = State.open(settings.ven.state)
    try:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(VtnClient(settings.vtn, tls, now=now))
            agent = Agent(settings, state, client, credentials, now=now)
            await stack.enter_async_context(
                control.served(settings.ven.control_socket, agent.answer)
            )
            log.info("ven_started", name=settings.ven.name, fingerprint=credentials.fingerprint)
            await agent.run()
    finally:
        state.close()
        log.info("ven_stopped", name=settings.ven.name)


class Agent:
    """All rooms of the VEN, and what goes on between them."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        client: VtnClient,
        credentials: Credentials,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._state = state
        self._client = client
        self._credentials = credentials
        self._now = now
        self._end = Bell()
        """Rung when a person ends the registration."""
        self._line = Line(
            client,
            BackOff(cap_s=settings.vtn.back_off_cap_s),
            now=now,
            monotonic=time.monotonic,
        )
        self._node = NodeLink(
            settings.node.socket, next_version=state.next_plan_version, draw=random.random
        )
        self._outbox = Outbox(state, self._line)
        self._desk = EventDesk(
            settings, state, self._outbox, override=lambda: self._node.override, now=now
        )
        self._registrar = Registrar(
            settings, state, self._line, fingerprint=credentials.fingerprint, now=now
        )
        self._reporting = Reporting(
            settings, state, self._line, self._outbox, node=self._node, desk=self._desk, now=now
        )

    async def run(self) -> None:
        """Everything at once, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._node.run())
            group.create_task(self._steer())
            group.create_task(self._mind_overrides())
            group.create_task(self._talk())

    # --- the building's side: goes on whatever the VTN does --------------------------------------

    async def _steer(self) -> None:
        """Keep the plan on the node as the known events have it, and forget those that are over."""
        while True:
            seen = self._desk.changed.rings
            self._desk.forget_over()
            self._desk.mind_override()
            self._node.set_plan(self._desk.plan())
            next_at = self._desk.next_change_at()
            wait_s = (next_at - self._now()).total_seconds() if next_at is not None else LOOK_S
            await self._desk.changed.wait(seen, at_most_s=min(max(wait_s, 0.0), LOOK_S))

    async def _mind_overrides(self) -> None:
        while True:
            seen = self._node.changed.rings
            self._desk.mind_override()
            await self._node.changed.wait(seen)

    # --- the VTN's side --------------------------------------------------------------------------

    async def _talk(self) -> None:
        """Register, converse until the registration is lost, and begin again."""
        while True:
            await self._registrar.ensure()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._poller().run())
                    group.create_task(self._outbox.run())
                    group.create_task(self._reporting.run(partial(make_reporter, self._reporting)))
                    group.create_task(self._until_ended(self._end.rings))
            except* NotRegistered as lost:
                log.warning("registration_lost", why=str(lost.exceptions[0]))
                self._state.forget_registration()
                self._registrar.lost()
            except* RegistrationEnded as ended:
                log.info("registration_ended", why=str(ended.exceptions[0]))
                self._desk.changed.ring()

    def _poller(self) -> Poller:
        rooms = Rooms(
            registrar=self._registrar,
            desk=self._desk,
            reporting=self._reporting,
            outbox=self._outbox,
        )
        return Poller(self._settings, self._state, self._line, rooms)

    async def _until_ended(self, seen: int) -> None:
        await self._end.wait(seen)
        raise RegistrationEnded("The site has cancelled the registration.")

    # --- the control socket ----------------------------------------------------------------------

    async def answer(self, request: control.Ask) -> control.Reply:
        """Answer `ven status` and its like. Raises VenFault to refuse."""
        match request:
            case control.AskStatus():
                return describe.status(
                    self._settings,
                    self._state,
                    self._credentials,
                    now=self._now(),
                    live=describe.Live(
                        line=self._line,
                        node=self._node,
                        clock_offset_s=self._client.clock_offset_s,
                        trouble=self._registrar.trouble,
                    ),
                )
            case control.AskEvents():
                return describe.events(self._state, self._now())
            case control.AskOpt(event_id=event_id, opt=opt, reason=reason):
                known = self._desk.opt(event_id, OptType(opt), reason=reason)
                return control.Done(
                    sentence=f"Event {event_id}: {known.opt.value}; the VTN is being told."
                )
            case control.AskRegister(cancel=True):
                await self._registrar.cancel()
                self._end.ring()
                return control.Done(
                    sentence="The registration is cancelled; 'ven register' brings the VEN back."
                )
            case control.AskRegister():
                await self._registrar.again()
                return control.Done(sentence="The VEN is registered, or registers now.")
