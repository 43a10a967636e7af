# SPDX-License-Identifier: Apache-2.0
"""The VEN put together: one task group, one shutdown."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from doorway import get_logger, sd_notify
from doorway.apart import apart
from doorway.clock import clock_check
from oadr.opt import Availability
from oadr.vocabulary import OptType
from ven import control, describe
from ven.bell import Bell
from ven.client import Seal, VtnClient
from ven.config import Settings
from ven.credentials import Credentials, push_context, read_credentials, tls_context
from ven.errors import NotRegistered, RegistrationEnded, Renewed, StateFault
from ven.event_clock import EventClock, StepWatch
from ven.eventdesk import EventDesk
from ven.line import Line
from ven.node import NodeLink
from ven.outbox import Outbox
from ven.polling import Poller, Rooms
from ven.reception import Reception
from ven.registration import Registrar
from ven.renewal import Renewal, newest
from ven.reporters import make_reporter
from ven.reporting import Reporting
from ven.retry import BackOff
from ven.schedules import Schedules
from ven.state import State

log = get_logger()

Converse = Callable[[], Coroutine[Any, Any, None]]  # Any: what a coroutine is sent, which is never
AFTER_FAULT_S = 2.0
"""How long to wait before work goes on for which the disk had no room."""
LOOK_S = 30.0
"""The longest wait for an instant: a clock that is set meanwhile moves it."""
LOOK_UNSURE_S = 1.0
"""The same while our clock is not known to be right, and so is sure to be set."""


def utc_now() -> datetime:
    return datetime.now(UTC)


async def run(settings: Settings, *, now: Callable[[], datetime] = utc_now) -> None:
    """Run the VEN until cancelled. At its start it may raise a VenFault.

    With a renewed certificate all begins anew in the same process: nothing that counts is only in
    memory, and what was under way is sent again.
    """
    try:
        while True:
            try:
                await apart(_run_with(newest(settings), now))
            except* Renewed:
                log.info("begins_anew", why="the certificate was renewed")
    finally:
        sd_notify.notify("STOPPING=1")
        log.info("ven_stopped", name=settings.ven.name)


async def _run_with(settings: Settings, now: Callable[[], datetime]) -> None:
    """Until cancelled. Raises a VenFault; in a group Renewed."""
    tls = tls_context(settings)
    credentials = read_credentials(settings.ven.cert)
    state = State.open(settings.ven.state)
    try:
        async with AsyncExitStack() as stack:
            seal = await _seal(settings, stack, now)
            client = await stack.enter_async_context(
                VtnClient(settings.vtn, tls, now=now, seal=seal)
            )
            agent = Agent(settings, state, client, credentials, now=now, seal=seal)
            await stack.enter_async_context(
                control.served(settings.ven.control_socket, agent.answer)
            )
            log.info("ven_started", name=settings.ven.name, fingerprint=credentials.fingerprint)
            await agent.run()
    finally:
        state.close()


async def _standing(work: Converse) -> None:
    """Do some work for ever: a disk that refuses stops it for a moment only.

    What could not be kept was not answered for, so it comes again.
    """
    while True:
        try:
            await apart(work())
        except* StateFault as faults:
            log.error("state_not_kept", why=str(_first(faults)))  # noqa: TRY400 - the sentence says it all
        await asyncio.sleep(AFTER_FAULT_S)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first fault in it, however deep."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _seal(
    settings: Settings, stack: AsyncExitStack, now: Callable[[], datetime]
) -> Seal | None:
    """What signs and verifies, with its memory in the state file; None where nobody asks for it."""
    if not settings.signature.sign:
        return None
    # The signature stack waits for its use to save memory.
    from ven import signing  # noqa: PLC0415 - as said above

    nonces = signing.NonceFile(settings.ven.state)
    stack.callback(nonces.close)
    return await signing.Seal.of(settings, now=now, store=nonces)


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
        seal: Seal | None = None,
    ) -> None:
        self._settings = settings
        self._seal = seal
        self._state = state
        self._client = client
        self._credentials = credentials
        self._now = now
        self._monotonic = time.monotonic
        self._steered_at = self._monotonic()
        self._end = Bell()
        """Rung when a person ends the registration."""
        self._line = Line(
            client,
            BackOff(cap_s=settings.vtn.back_off_cap_s),
            now=now,
            monotonic=time.monotonic,
        )
        self._event_clock = EventClock(
            now=now,
            is_sure=clock_check(settings.clock.synchronized_file),
            vtn_ahead_s=lambda: client.clock_offset_s,
        )
        self._node = NodeLink(
            settings.node.socket,
            next_version=state.next_plan_version,
            draw=random.random,
            vtn_heard_at=lambda: self._line.last_answer_at,
        )
        self._outbox = Outbox(state, self._line)
        self._desk = EventDesk(
            settings,
            state,
            self._outbox,
            override=lambda: self._node.override,
            now=self._event_clock.now,
        )
        self._registrar = Registrar(
            settings, state, self._line, fingerprint=credentials.fingerprint, now=now
        )
        self._reporting = Reporting(
            settings,
            state,
            self._line,
            self._outbox,
            node=self._node,
            desk=self._desk,
            now=now,
            event_clock=self._event_clock,
        )
        self._schedules = Schedules(settings, state, self._outbox, now=now)
        self._renewal = Renewal(settings, credentials, now=now)
        self._reception = Reception(state, self._registrar, self._desk, self._reporting)

    async def run(self) -> None:
        """Everything at once, until cancelled. Raises PushFault."""
        async with AsyncExitStack() as stack:
            converse = await self._conversation(stack)
            async with asyncio.TaskGroup() as group:
                group.create_task(_standing(self._node.run))
                group.create_task(_standing(self._steer))
                group.create_task(_standing(self._mind_overrides))
                group.create_task(_standing(partial(self._talk, converse)))
                group.create_task(self._renewal.run())
                group.create_task(sd_notify.keep_alive(self._is_alive))
                sd_notify.notify("READY=1", f"STATUS=talks to {self._settings.vtn.url}")

    async def _is_alive(self) -> bool:
        """Whether the plan is looked after and the state file can be read.

        A VTN or a light node that is away is no reason to restart.
        """
        try:
            self._state.registration()
        except StateFault:
            return False
        return self._monotonic() - self._steered_at < 3 * LOOK_S

    # --- the building's side: goes on whatever the VTN does --------------------------------------

    async def _steer(self) -> None:
        """Keep the plan on the node as the known events have it, and forget those that are over."""
        while True:
            self._steered_at = self._monotonic()
            seen = self._desk.changed.rings
            self._desk.forget_over()
            self._desk.mind_override()
            self._node.set_plan(self._event_clock.on_our_clock(self._desk.plan()))
            next_at = self._desk.next_change_at()
            now = self._event_clock.now()
            wait_s = (next_at - now).total_seconds() if next_at is not None else LOOK_S
            most_s = LOOK_S if self._event_clock.is_sure else LOOK_UNSURE_S
            await self._desk.changed.wait(seen, at_most_s=min(max(wait_s, 0.0), most_s))

    async def _mind_overrides(self) -> None:
        while True:
            seen = self._node.changed.rings
            self._desk.mind_override()
            await self._node.changed.wait(seen)

    # --- the VTN's side --------------------------------------------------------------------------

    async def _conversation(self, stack: AsyncExitStack) -> Converse:
        """How the VTN is heard while the VEN is registered; for pushes the listener is opened."""
        poller = self._poller()
        push = self._settings.push
        if push is None:
            return poller.run
        # The listener and aiohttp's server side wait for their use to save memory.
        from ven.listener import Listener  # noqa: PLC0415 - as said above
        from ven.push import PushDesk, PushTalk  # noqa: PLC0415 - as said above

        desk = PushDesk(self._reception, self._registrar, self._desk, self._seal)
        await stack.enter_async_context(Listener(push, push_context(self._settings), desk.take))
        return PushTalk(push, desk, poller, self._registrar, self._line).run

    async def _talk(self, converse: Converse) -> None:
        """Register, converse until the registration is lost, and begin again."""
        while True:
            await self._registrar.ensure()
            try:
                await apart(self._while_registered(converse))
            except* NotRegistered as lost:
                why = str(_first(lost))
                log.warning("registration_lost", why=why)
                self._state.forget_registration()
                self._registrar.lost(why)
            except* RegistrationEnded as ended:
                log.info("registration_ended", why=str(_first(ended)))
                self._desk.changed.ring()

    async def _while_registered(self, converse: Converse) -> None:
        """Raises groups with NotRegistered or RegistrationEnded."""
        async with asyncio.TaskGroup() as group:
            group.create_task(converse())
            group.create_task(self._outbox.run())
            group.create_task(self._reporting.run(partial(make_reporter, self._reporting)))
            group.create_task(self._until_ended(self._end.rings))
            if self._seal is not None:
                group.create_task(self._registrar.mind_unproven())

    def _poller(self) -> Poller:
        rooms = Rooms(
            registrar=self._registrar,
            desk=self._desk,
            reporting=self._reporting,
            outbox=self._outbox,
            reception=self._reception,
            schedules=self._schedules,
        )
        watch = StepWatch(now=self._now, monotonic=self._monotonic)
        return Poller(
            self._settings,
            self._state,
            self._line,
            rooms,
            has_clock_stepped=watch.has_stepped,
        )

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
                        trouble=self._registrar.trouble or self._renewal.trouble,
                        renews_at=self._renewal.due_at,
                    ),
                )
            case control.AskEvents():
                return describe.events(self._state, self._event_clock.now())
            case control.AskOpt(event_id=event_id):
                known = self._desk.opt(
                    event_id,
                    OptType(request.opt),
                    reason=request.reason,
                    resource_ids=request.resource_ids,
                )
                out = f" without {', '.join(known.out_resources)}" if known.out_resources else ""
                return control.Done(
                    sentence=f"Event {event_id}: {known.opt.value}{out}; the VTN is being told."
                )
            case control.AskSchedule() | control.AskCancelSchedule() | control.AskSchedules():
                return self._answer_schedule(request)
            case control.AskRegister(cancel=True):
                await self._registrar.cancel()
                self._end.ring()
                return control.Done(
                    sentence="The registration is cancelled; 'ven register' brings the VEN back."
                )
            case control.AskRegister():
                await self._registrar.again()
                return control.Done(sentence="The VEN is registered, or registers now.")

    def _answer_schedule(
        self, request: control.AskSchedule | control.AskCancelSchedule | control.AskSchedules
    ) -> control.Reply:
        self._schedules.forget_over()
        match request:
            case control.AskSchedules():
                return describe.schedules(self._state)
            case control.AskCancelSchedule(opt_id=opt_id):
                self._schedules.cancel(opt_id)
                return control.Done(sentence=f"Opt schedule {opt_id} is taken back.")
            case control.AskSchedule():
                schedule = self._schedules.put(
                    OptType(request.opt),
                    [_availability(stretch) for stretch in request.stretches],
                    reason=request.reason,
                    market_context=request.market_context,
                    resource_ids=request.resource_ids,
                    device_classes=request.device_classes,
                    opt_id=request.opt_id,
                )
                self._desk.mind_schedules()
                return control.Done(
                    sentence=f"Opt schedule {schedule.opt_id} is kept; the VTN is being told."
                )


def _availability(stretch: control.Stretch) -> Availability:
    length = stretch.ends_at - stretch.starts_at if stretch.ends_at is not None else timedelta(0)
    return Availability(starts_at=stretch.starts_at, duration=length)
