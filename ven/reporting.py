# SPDX-License-Identifier: Apache-2.0
"""EiReport: offers reports, takes requests, and has one reporter serve each request in force.

What a reporter owes is on disk and moves on only when the VTN has acknowledged it. When the VTN
does not know a request any more (452) the reports are registered anew, and the requests that come
of it go on where the old ones stopped.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from doorway import get_logger
from light_node.local import Curtailment, Readings, Status
from oadr.columns import Intervals
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    ReportRequest,
    UpdatedReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.vocabulary import ServiceName
from ven import offers, telemetry
from ven.bell import Bell
from ven.config import Settings
from ven.errors import Declined, NotRegistered, TurnedAway, Unusable
from ven.event_clock import EventClock
from ven.eventdesk import EventDesk
from ven.identifiers import new_id
from ven.line import Line
from ven.outbox import Outbox
from ven.retry import BackOff
from ven.state import InForce, State

log = get_logger()

AGAIN_S = 60.0
"""The least time between two registrations of reports for requests that the VTN has forgotten."""
_BACK_OFF = BackOff(cap_s=60.0)


class Node(Protocol):
    """What reports need of the light node."""

    changed: Bell

    @property
    def status(self) -> Status | None: ...

    async def readings(
        self,
        *,
        after: int,
        limit: int,
        wait_s: float = 0.0,
        delivered: int = 0,
        meter: str = "",
    ) -> Readings: ...

    async def span(
        self, starts_at: datetime, ends_at: datetime, *, meter: str = ""
    ) -> Readings: ...

    async def curtailment(self, event_id: str) -> Curtailment: ...


class ReportsUnknown(Declined):
    """The VTN does not know a report request it once made."""


class Reporting:
    """The report side of the VEN."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        line: Line,
        outbox: Outbox,
        *,
        node: Node,
        desk: EventDesk,
        now: Callable[[], datetime],
        event_clock: EventClock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.state = state
        self.node = node
        self.desk = desk
        self.now = now
        """By what readings go by."""
        self.event_clock = event_clock or EventClock(
            now=now, is_sure=lambda: True, vtn_ahead_s=lambda: None
        )
        self.sleep = sleep
        self._draw = draw
        self._line = line
        self._outbox = outbox
        self._registering = asyncio.Lock()
        self._lost_at: datetime | None = None
        self.changed = Bell()
        """Rung when a request comes or goes."""

    # --- what can be reported ------------------------------------------------------------------

    def is_offered(self) -> bool:
        """Whether the VTN has acknowledged the reports as the settings now have them."""
        registration = self.state.registration()
        reports = offers.metadata(self.settings.reports, self.settings.site.resource_id, self.now())
        return registration is not None and registration.offered == offers.stamp(reports)

    async def register(self, *, answers: str | None = None) -> None:
        """Send the metadata, and take the requests that ride on the answer (rules 306 and 309).

        `answers` is the reportRequestID where the VTN asked for it (rule 311). Raises Declined,
        TurnedAway, Unusable.
        """
        registration = self.state.registration()
        assert registration is not None
        reports = offers.metadata(self.settings.reports, self.settings.site.resource_id, self.now())
        message = RegisterReport(
            request_id=new_id("metadata"),
            reports=reports,
            ven_id=registration.ven_id,
            report_request_id=answers,
        )
        registered = await self._line.ask(ServiceName.REPORT, message, RegisteredReport)
        with self.state.transaction():
            kept = tuple(
                request_id
                for request_id, in_force in self.state.requests().items()
                if in_force.request.report_specifier_id == offers.METADATA
            )
            self.state.replace_requests(kept)
            current = self.state.registration()
            if current is not None:
                self.state.set_registration(
                    replace(current, metadata_sent=True, offered=offers.stamp(reports))
                )
            if registered.requests:
                answer = self._take(registered.requests, registered.response.request_id)
                self._outbox.put(ServiceName.REPORT, answer)
        log.info("reports_registered", requests=len(registered.requests))
        self.changed.ring()

    # --- what the VTN asks for -----------------------------------------------------------------

    def take_offers(self, message: RegisterReport) -> RegisteredReport:
        """The VTN's own reports: nothing is asked of them, but it is told so (rule 301)."""
        return RegisteredReport(
            response=EiResponse(request_id=message.request_id), ven_id=self._ven_id()
        )

    def take_requests(self, message: CreateReport) -> CreatedReport:
        """oadrCreateReport: all of its requests, or none where one cannot be served."""
        with self.state.transaction():
            answer = self._take(message.requests, message.request_id)
        self.changed.ring()
        return answer

    def take_cancel(self, message: CancelReport) -> CanceledReport:
        """oadrCancelReport, by itself or riding on oadrUpdatedReport (rules 328, 336 and 345)."""
        with self.state.transaction():
            answer = CanceledReport(
                response=self._cancel(message),
                pending_report_request_ids=self._pending(),
                ven_id=self._ven_id(),
            )
        self.changed.ring()
        return answer

    def _take(self, requests: tuple[ReportRequest, ...], request_id: str) -> CreatedReport:
        response = EiResponse(request_id=request_id)
        try:
            for request in requests:
                offers.check(request, self.settings.reports)
        except Declined as fault:
            log.warning("report_request_refused", why=str(fault))
            response = EiResponse(
                response_code=fault.response_code, description=str(fault), request_id=request_id
            )
        else:
            in_force = self.state.requests()
            for request in requests:
                known = in_force.get(request.report_request_id)
                if known is not None and _is_again(request, known.request):
                    continue
                taken_at = self.now()
                self.state.put_request(
                    InForce(request=offers.completed(request, taken_at), taken_at=taken_at)
                )
        return CreatedReport(
            response=response,
            pending_report_request_ids=self._pending(),
            ven_id=self._ven_id(),
        )

    def _cancel(self, message: CancelReport) -> EiResponse:
        in_force = self.state.requests()
        unknown = [name for name in message.report_request_ids if name not in in_force]
        for name in message.report_request_ids:
            if name in unknown:
                continue
            if message.report_to_follow:
                self.state.put_request(replace(in_force[name], ending=True))
            else:
                self.state.drop_request(name)
        if unknown:
            return EiResponse(
                response_code="452",
                description=f"There is no report request {' or '.join(unknown)}.",
                request_id=message.request_id,
            )
        return EiResponse(request_id=message.request_id)

    def _pending(self) -> tuple[str, ...]:
        return offers.pending([each.request for each in self.state.requests().values()])

    def _ven_id(self) -> str | None:
        registration = self.state.registration()
        return registration.ven_id if registration is not None else None

    # --- serving -------------------------------------------------------------------------------

    async def run(self, make: "MakeReporter") -> None:
        """Keep one task for each request in force, until cancelled. Raises NotRegistered."""
        tasks: dict[str, tuple[ReportRequest, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                seen = self.changed.rings
                in_force = self.state.requests()
                for name, (request, task) in [*tasks.items()]:
                    if name not in in_force or in_force[name].request != request or task.done():
                        del tasks[name]
                        task.cancel()
                for name, each in in_force.items():
                    if name not in tasks:
                        task = group.create_task(self._serve(make, each.request))
                        tasks[name] = (each.request, task)
                await self.changed.wait(seen)

    async def _serve(self, make: "MakeReporter", request: ReportRequest) -> None:
        name = request.report_request_id
        await self._outbox.drain()  # that it will be served is told before it is
        reporter = make(request)
        failures = 0
        while name in self.state.requests():
            try:
                await reporter.round()
                failures = 0
            except NotRegistered:
                raise
            except ReportsUnknown as fault:
                log.warning("report_request_lost", why=str(fault), request=name)
                await self._register_again(name)
            except (Declined, TurnedAway, Unusable) as fault:
                # The readings stay owed: what is wrong may be mended at the VTN.
                failures += 1
                log.warning("report_declined", why=str(fault), request=name)
                await self.sleep(_BACK_OFF.delay_s(failures, self._draw))

    async def _register_again(self, name: str) -> None:
        async with self._registering:
            if name not in self.state.requests():
                return  # another reporter has already had the reports registered
            if self._lost_at is not None:
                # A VTN that forgets requests again and again is not asked without a pause.
                passed_s = (self.now() - self._lost_at).total_seconds()
                await self.sleep(max(0.0, AGAIN_S - passed_s))
            self._lost_at = self.now()
            try:
                await self.register()
            except NotRegistered:
                raise
            except (Declined, TurnedAway, Unusable) as fault:
                log.warning("reports_declined", why=str(fault))

    async def send(self, request: ReportRequest, intervals: Intervals) -> None:
        """Send one oadrUpdateReport; the VTN has stored it when this returns.

        Raises ReportsUnknown when the VTN does not know the request, else as Line.ask.
        """
        message = UpdateReport(
            request_id=new_id("update"),
            reports=(telemetry.report(request, intervals, self.now()),),
            ven_id=self._ven_id(),
        )
        try:
            updated = await self._line.ask(ServiceName.REPORT, message, UpdatedReport)
        except NotRegistered:
            raise
        except Declined as fault:
            if fault.response_code == "452":
                raise ReportsUnknown(str(fault), response_code="452") from fault
            raise
        if updated.cancel is not None:
            with self.state.transaction():
                self._outbox.put(ServiceName.REPORT, self.take_cancel(updated.cancel))

    def note(self, in_force: InForce) -> None:
        """How far a request has been served; near an event on the disk at once, else in time."""
        self.state.put_request(in_force, may_wait=not self.desk.is_moving())

    def finish(self, request: ReportRequest) -> None:
        """The request has been served to its end."""
        self.state.drop_request(request.report_request_id)
        log.info("report_done", request=request.report_request_id)
        self.changed.ring()

    def delivered(self) -> int:
        """Up to which row of the ring every report that wants readings has been acknowledged."""
        spools = [each.spool for each in self.state.requests().values() if each.spool is not None]
        return min((spool.delivered for spool in spools), default=0)

    def in_force(self, request: ReportRequest) -> InForce | None:
        return self.state.requests().get(request.report_request_id)


def _is_again(request: ReportRequest, known: ReportRequest) -> bool:
    """Whether a request is one in force that was only sent once more."""
    interval = request.interval if request.interval is not None else known.interval
    return replace(request, interval=interval) == known


class Reporter(Protocol):
    """Serves one request."""

    async def round(self) -> None:
        """Do the next thing there is to do; called again for as long as the request is in force."""


MakeReporter = Callable[[ReportRequest], Reporter]
