"""The rooms of a VEN without its processes: a VTN and a light node in memory, a clock to turn."""

import asyncio
from datetime import timedelta
from functools import partial

from light_node.errors import NodeRefused, NodeUnreachable
from light_node.local import OverrideState, Readings
from oadr.event import DistributeEvent, RequestEvent
from oadr.opt import CreatedOpt, CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Profile,
    QueryRegistration,
)
from oadr.report import RegisteredReport, RegisterReport, UpdatedReport, UpdateReport
from oadr.response import EiResponse
from oadr.vocabulary import ProfileName, TransportName
from tests.unit.ven.makers import settings
from ven import offers
from ven.bell import Bell
from ven.errors import Unreachable
from ven.eventdesk import EventDesk
from ven.line import Line
from ven.outbox import Outbox
from ven.polling import Poller, Rooms
from ven.reception import Reception
from ven.registration import Registrar
from ven.reporters import make_reporter
from ven.reporting import Reporting
from ven.retry import BackOff
from ven.schedules import Schedules
from ven.state import InForce, Registration, State


class FakeVtn:
    """Answers in memory; `script[type]` may answer or raise instead, `is_down` may be told."""

    def __init__(self):
        self.received = []
        self.queue = []
        self.events = ()
        self.requests = ()
        self.script = {}
        self.is_down = lambda: False

    async def post(self, service, message):
        if self.is_down():
            raise Unreachable("The VTN does not answer.")
        self.received.append((service.value, message))
        scripted = self.script.get(type(message))
        found = scripted(message) if scripted is not None else None
        return found if found is not None else self._answer(message)

    def of(self, kind):
        return [message for _, message in self.received if isinstance(message, kind)]

    def _answer(self, message):
        ok = EiResponse(request_id=getattr(message, "request_id", ""))
        match message:
            case QueryRegistration():
                return self.created(ok, known=False)
            case CreatePartyRegistration():
                return self.created(ok, known=True)
            case CancelPartyRegistration():
                return CanceledPartyRegistration(response=ok)
            case Poll():
                return self.queue.pop(0) if self.queue else Response(response=EiResponse())
            case RequestEvent():
                return DistributeEvent(request_id="d-1", vtn_id="vtn", events=self.events)
            case RegisterReport():
                return RegisteredReport(response=ok, requests=self.requests)
            case UpdateReport():
                return UpdatedReport(response=ok)
            case CreateOpt():
                return CreatedOpt(response=ok, opt_id=message.opt_id)
        return Response(response=ok)

    @staticmethod
    def created(ok, *, known, profiles=(ProfileName.A, ProfileName.B)):
        return CreatedPartyRegistration(
            response=ok,
            registration_id="reg-1" if known else None,
            ven_id="ven" if known else None,
            vtn_id="vtn",
            profiles=tuple(
                Profile(name=name, transports=(TransportName.SIMPLE_HTTP,)) for name in profiles
            ),
            poll_interval=timedelta(seconds=10) if known else None,
        )


class FakeNode:
    """A ring whose rows appear on disk `commit_s` after each 4 s tick; waiting turns the clock."""

    def __init__(self, clock, period_s=4, commit_s=0.3):
        self.clock = clock
        self.period_s = period_s
        self.commit_s = commit_s
        self.first = int(clock.now().timestamp()) // period_s - 1000
        self.changed = Bell()
        self.status = None
        self.is_away = lambda: False
        self.curtailments = {}
        self.lost = frozenset()
        self.delivered = 0
        self.steps = []
        self.on_disk = []
        self.asked_of = set()

    def set_clock(self, by_s):
        """The machine's clock is set; the rows taken before keep the instants they were given."""
        self.steps.append((self.newest, by_s))
        self.clock.step(by_s)

    def begin_anew(self, earlier_rows):
        """The ring is a new one: the same ticks bear lower numbers now."""
        self.first += earlier_rows
        self.on_disk.clear()

    def row(self, row_id):
        set_by_s = sum(by_s for last_before, by_s in self.steps if row_id > last_before)
        return (row_id, float((self.first + row_id) * self.period_s + set_by_s), 1000.0 + row_id)

    @property
    def newest(self):
        set_by_s = sum(by_s for _, by_s in self.steps)
        on_disk = self.clock.now().timestamp() - set_by_s - self.commit_s
        return int(on_disk // self.period_s) - self.first

    async def readings(self, *, after, limit, wait_s=0.0, delivered=0, meter=""):
        self._check()
        self.asked_of.add(meter)
        self.delivered = max(self.delivered, delivered)
        if self.newest <= after and wait_s:
            next_at = self.row(after + 1)[1] + self.commit_s + 1e-3
            passes = min(next_at - self.clock.now().timestamp(), wait_s)
            self.clock.advance(max(passes, 1e-3))
        await asyncio.sleep(0)
        self._check()
        ids = [i for i in range(after + 1, self.newest + 1) if i not in self.lost]
        return self._readings(ids[:limit], after)

    async def span(self, starts_at, ends_at, *, meter=""):
        self._check()
        self.asked_of.add(meter)
        await asyncio.sleep(0)
        start, end = starts_at.timestamp(), ends_at.timestamp()
        self.on_disk += [self.row(i)[1] for i in range(len(self.on_disk) + 1, self.newest + 1)]
        ids = [i for i, at in enumerate(self.on_disk, start=1) if start <= at < end]
        return self._readings(ids, 0)

    async def curtailment(self, event_id):
        self._check()
        if event_id not in self.curtailments:
            raise NodeRefused(f"There is no order for {event_id}.")
        return self.curtailments[event_id]

    def _check(self):
        if self.is_away():
            raise NodeUnreachable("The light node is not connected.")

    def _readings(self, ids, after):
        rows = [self.row(row_id) for row_id in ids]
        return Readings(
            n=1,
            cursor=ids[-1] if ids else after,
            ids=ids,
            starts_at=[at for _, at, _ in rows],
            watts=[watts for _, _, watts in rows],
            energy_wh=[float(row_id) for row_id in ids],
            quality=["good"] * len(ids),
        )


class Ven:
    """All rooms on one in-memory VTN and node."""

    def __init__(self, folder, clock, *, registered=True, **tables):
        self.clock = clock
        self.settings = settings(folder, **tables)
        self.state = State.open(folder / "ven.db")
        self.vtn = FakeVtn()
        self.node = FakeNode(clock)
        self.override = OverrideState(active=False)
        self.line = Line(
            self.vtn,
            BackOff(),
            now=clock.now,
            monotonic=clock.monotonic,
            sleep=self.sleep,
            draw=lambda: 0.5,
        )
        self.outbox = Outbox(self.state, self.line, sleep=self.sleep, draw=lambda: 0.5)
        self.desk = EventDesk(
            self.settings,
            self.state,
            self.outbox,
            override=lambda: self.override,
            now=clock.now,
            draw=lambda: 0.5,
        )
        self.registrar = Registrar(
            self.settings,
            self.state,
            self.line,
            fingerprint="AA:BB",
            now=clock.now,
            draw=lambda: 0.5,
        )
        self.reporting = Reporting(
            self.settings,
            self.state,
            self.line,
            self.outbox,
            node=self.node,
            desk=self.desk,
            now=clock.now,
            sleep=self.sleep,
            draw=lambda: 0.5,
        )
        self.schedules = Schedules(self.settings, self.state, self.outbox, now=clock.now)
        self.reception = Reception(self.state, self.registrar, self.desk, self.reporting)
        self.make = partial(make_reporter, self.reporting)
        self.poller = Poller(
            self.settings,
            self.state,
            self.line,
            Rooms(
                registrar=self.registrar,
                desk=self.desk,
                reporting=self.reporting,
                outbox=self.outbox,
                reception=self.reception,
                schedules=self.schedules,
            ),
            sleep=self.sleep,
            draw=lambda: 0.5,
        )
        if registered:
            self.state.set_registration(
                Registration(
                    registration_id="reg-1",
                    ven_id="ven",
                    vtn_id="vtn",
                    poll_interval_s=10.0,
                    metadata_sent=True,
                    offered=offers.stamp(
                        offers.metadata(
                            self.settings.reports,
                            self.settings.site.resource_id,
                            clock.now(),
                        )
                    ),
                )
            )

    async def sleep(self, seconds):
        self.clock.advance(max(seconds, 1e-3))
        await asyncio.sleep(0)

    def force(self, request):
        """Put a report request in force and return its reporter."""
        self.state.put_request(InForce(request=request, taken_at=self.clock.now()))
        return self.make(request)

    async def serve(self, reporter, *, seconds, request):
        """Let a reporter do its rounds until the time has passed or it has finished."""
        end = self.clock.now() + timedelta(seconds=seconds)
        rounds = 0
        while self.clock.now() < end and request.report_request_id in self.state.requests():
            await reporter.round()
            rounds += 1
            assert rounds < 100 + 3 * seconds, "the reporter runs hot"

    def close(self):
        self.state.close()
