# SPDX-License-Identifier: Apache-2.0
"""OadrPoll: ask the VTN what waits, hand it to whom it concerns, ask again at once (rule 500)."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import get_args

import oadr
from doorway import get_logger
from doorway.values import value
from oadr.event import DistributeEvent, RequestEvent
from oadr.poll import Poll, Response
from oadr.registration import CancelPartyRegistration, RequestReregistration
from oadr.vocabulary import ServiceName
from ven.config import Settings
from ven.errors import Declined, NotRegistered, TurnedAway, Unusable
from ven.eventdesk import EventDesk
from ven.identifiers import new_id
from ven.line import Line
from ven.outbox import Outbox
from ven.reception import SERVICES, Reception, is_yes
from ven.registration import Registrar
from ven.reporting import Reporting
from ven.retry import BackOff, jittered_s
from ven.schedules import Schedules
from ven.state import State

log = get_logger()

DEFAULT_INTERVAL_S = 10.0
MOST_IN_A_ROW = 100
"""More messages than any queue holds: a VTN that never has enough is asked at the usual pace."""
_EVENTS = "oadrDistributeEvent"


@value
class Rooms:
    """Whom a message of the VTN may concern."""

    registrar: Registrar
    desk: EventDesk
    reporting: Reporting
    outbox: Outbox
    reception: Reception
    schedules: Schedules


class Poller:
    """The conversation with the VTN while the VEN is registered."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        line: Line,
        rooms: Rooms,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
        has_clock_stepped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`has_clock_stepped`: whether our clock was set since that was asked last."""
        self._settings = settings
        self._state = state
        self._line = line
        self._rooms = rooms
        self._sleep = sleep
        self._draw = draw
        self._has_clock_stepped = has_clock_stepped
        self._refusals = 0

    async def run(self) -> None:
        """Introduce the VEN, then poll until cancelled.

        Raises NotRegistered when the VTN does not know it, RegistrationEnded when it cancels.
        """
        await self.introduce()
        in_a_row = 0
        while True:
            in_a_row = in_a_row + 1 if await self.poll() else 0
            if self._has_clock_stepped():
                # By the clock as it was, events may have been over, and so forgotten, too early.
                log.warning("clock_was_set")
                await self.request_events(answer_all=False)
            if in_a_row % MOST_IN_A_ROW == 0:
                await self._sleep(self._pause_s())

    async def introduce(self) -> None:
        """After a new registration, or with other reports: the metadata, then the events (405).

        After a mere restart only the events are asked for, and only those answers given that the
        VTN has not acknowledged yet.
        """
        registration = self._state.registration()
        assert registration is not None
        is_new = not registration.metadata_sent
        if is_new or not self._rooms.reporting.is_offered():
            try:
                await self._rooms.reporting.register()
            except NotRegistered:
                raise
            except (Declined, TurnedAway, Unusable) as fault:
                log.warning("reports_declined", why=str(fault))
        if is_new:
            self._rooms.schedules.announce()
        await self.request_events(answer_all=is_new)

    async def poll(self) -> bool:
        """Poll once; True when something came, and so more may wait."""
        registration = self._state.registration()
        if registration is None:
            raise NotRegistered("This VEN is not registered.", response_code="463")
        try:
            message: oadr.Message = await self._line.ask(
                ServiceName.POLL, Poll(ven_id=registration.ven_id), *get_args(oadr.Message)
            )
        except NotRegistered:
            raise
        except Declined as fault:
            if fault.response_code == "452":
                raise NotRegistered(str(fault), response_code="452") from fault
            return await self._rest(fault)
        except TurnedAway as fault:
            return await self._rest(fault)
        except Unusable as fault:
            if fault.message != _EVENTS:
                return await self._rest(fault)
            self._rooms.desk.refuse(fault)
            await self._rooms.outbox.drain()
            return await self._rest(fault)
        self._refusals = 0
        if isinstance(message, Response):
            return False
        await self._hand_over(message)
        await self._rooms.outbox.drain()
        # A VTN that wants a new registration at each poll is not asked without a pause.
        return not isinstance(message, RequestReregistration)

    async def _hand_over(self, message: oadr.Message) -> None:
        name = oadr.wire_name(type(message))
        log.debug("received", message=name)
        service = SERVICES.get(type(message))
        if service is None:
            log.warning("unexpected_message", message=name)
            return
        if isinstance(message, CancelPartyRegistration):
            await self._rooms.registrar.take_cancel(message)
            return
        with self._state.transaction():
            answer = self._rooms.reception.take(message)
            if answer is not None:
                self._rooms.outbox.put(service, answer)
        if isinstance(message, RequestReregistration) and is_yes(answer):
            await self.register_again()

    async def register_again(self) -> None:
        """The VTN wants it so (test N1_0050). Raises NotRegistered."""
        await self._rooms.outbox.drain()
        try:
            await self._rooms.registrar.again()
        except NotRegistered:
            raise
        except (Declined, TurnedAway, Unusable) as fault:
            log.warning("reregistration_refused", why=str(fault))

    async def request_events(self, *, answer_all: bool) -> None:
        """Ask for all events (rule 405) and take them; answer those that are not answered yet."""
        registration = self._state.registration()
        if registration is None:
            return
        request = RequestEvent(request_id=new_id("events"), ven_id=registration.ven_id)
        try:
            # A bare oadrResponse is how some VTNs say that there are none.
            listed = await self._line.ask(ServiceName.EVENT, request, DistributeEvent, Response)
        except NotRegistered:
            raise
        except Unusable as fault:
            if fault.message == _EVENTS:
                self._rooms.desk.refuse(fault)
            else:
                log.warning("events_refused", why=str(fault))
        except (Declined, TurnedAway) as fault:
            log.warning("events_refused", why=str(fault))
        else:
            if isinstance(listed, DistributeEvent):
                self._rooms.desk.take(listed, answer_all=answer_all)

    async def _rest(self, fault: Exception) -> bool:
        """The VTN answers polls with refusals: ask again, but ever less often."""
        self._refusals += 1
        back_off = BackOff(cap_s=self._settings.vtn.back_off_cap_s)
        log.warning("poll_refused", why=str(fault))
        await self._sleep(back_off.delay_s(self._refusals, self._draw))
        return True

    def _pause_s(self) -> float:
        registration = self._state.registration()
        theirs = registration.poll_interval_s if registration is not None else None
        interval_s = self._settings.polling.interval_s or theirs or DEFAULT_INTERVAL_S
        return jittered_s(interval_s, self._settings.polling.jitter, self._draw)
