"""A VTN for tests: real database, hand-turned clock, and VENs that speak to its gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

import oadr
from oadr.columns import Column, Intervals
from oadr.endpoints import path  # noqa: F401 - tests take it from here
from oadr.event import CreatedEvent, Event, EventResponse, Signal, SignalInterval
from oadr.poll import Poll
from oadr.registration import CreatedPartyRegistration, CreatePartyRegistration
from oadr.report import (
    RegisterReport,
    Report,
    ReportDescription,
    SamplingRate,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType, ServiceName, SignalType
from tests.conftest import Clock
from vtn.config import Settings, StoreSettings
from vtn.desk import Desk
from vtn.directory import Directory
from vtn.gateway import Answer, Gateway
from vtn.services.office import Office
from vtn.shelving import Shelving
from vtn.store import Store, migrate, vens

M = TypeVar("M")
CONTEXT = "http://utility.example/peak"


def settings(database: str, folder: Path, **openadr: object) -> Settings:
    raw = {
        "vtn": {"id": "VTN-1"},
        "openadr": {
            "certificates": [{"cert": folder / "vtn.crt", "key": folder / "vtn.key"}],
            "client_ca": folder / "ca.crt",
            "host": "127.0.0.1",
            "port": 0,
            **openadr,
        },
        "operator": {"token_file": folder / "token", "port": 0},
    }
    found = msgspec.convert(raw, Settings, dec_hook=lambda kind, value: kind(value))
    return msgspec.structs.replace(found, store=StoreSettings(url=database))


def sha(number: int) -> str:
    return f"{number:064x}"


class Utility:
    """The VTN from its store up to its gateway; `restart` forgets what is only in memory."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self._ids = 0

    def _new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids:04}"

    async def start(self) -> None:
        self.store = await Store.open(self.settings.store.url)
        async with self.store.read() as connection:
            directory = Directory(await vens.every(connection))
        self.office = Office(
            settings=self.settings,
            store=self.store,
            directory=directory,
            now=self.clock.now,
            new_id=self._new_id,
        )
        self.desk = Desk(self.office)
        self.gateway = Gateway(self.office)
        self.shelving = Shelving(self.office)
        if self.store.database == "sqlite":  # as Shelving.run does
            self.office.directory.on_woken = self.shelving.woken

    async def restart(self) -> None:
        await self.store.close()
        await self.start()

    async def let_in(
        self, ven_id: str = "0042", *, resources: tuple[str, ...] = ("r1", "r2")
    ) -> "Speaker":
        number = len(self.office.directory) + 1
        await self.desk.add_ven(
            ven_id=ven_id,
            name=f"Building {ven_id}",
            certificate_sha256=sha(number),
            resources=resources,
            by="anna",
        )
        return Speaker(self, ven_id, sha(number))

    async def registered(self, ven_id: str = "0042", **more: object) -> "Speaker":
        """A VEN that has registered and taken our metadata."""
        ven = await self.let_in(ven_id, **more)
        await ven.register()
        ours = await ven.poll(RegisterReport)
        await ven.say(
            ServiceName.REPORT,
            oadr.report.RegisteredReport(
                response=EiResponse(request_id=ours.request_id), ven_id=ven.ven_id
            ),
            oadr.poll.Response,
        )
        return ven

    async def publish(self, **changes: object):
        return await self.desk.publish_event(draft(self.clock.now(), **changes), by="anna")


@asynccontextmanager
async def utility(database: str, folder: Path, clock: Clock) -> AsyncIterator[Utility]:
    await migrate(database)
    found = Utility(settings(database, folder), clock)
    await found.start()
    try:
        await found.desk.add_market_context(CONTEXT, "Peak", by="anna")
        yield found
    finally:
        await found.store.close()


class Speaker:
    """A VEN as its messages: it says something and looks at what comes back."""

    def __init__(self, utility: Utility, ven_id: str, certificate: str) -> None:
        self.utility = utility
        self.ven_id = ven_id
        self.certificate: str | None = certificate
        self.connection = 1
        self.registration_id: str | None = None

    async def post(self, service: ServiceName, body: bytes) -> Answer:
        """Shelves are filled by then, as they are in a VTN some milliseconds after a change."""
        await self.utility.shelving.fill()
        return await self.utility.gateway.answer(
            service, body, certificate=self.certificate, connection=self.connection
        )

    async def say(self, service: ServiceName, message: oadr.Message, into: type[M]) -> M:
        answer = await self.post(service, oadr.build(message))
        assert answer.status == 200, answer
        reply = oadr.parse(answer.body)
        assert isinstance(reply, into), reply
        return reply

    async def poll(self, into: type[M] = oadr.poll.Response) -> M:
        return await self.say(ServiceName.POLL, Poll(ven_id=self.ven_id), into)

    async def register(self, **changes: object) -> CreatedPartyRegistration:
        message = CreatePartyRegistration(request_id="reg", ven_id=self.ven_id, **changes)
        reply = await self.say(ServiceName.REGISTER_PARTY, message, CreatedPartyRegistration)
        self.registration_id = reply.registration_id
        return reply

    async def answer(
        self, event: Event, opt: OptType = OptType.OPT_IN, *, number: int | None = None
    ) -> EiResponse:
        message = CreatedEvent(
            response=EiResponse(),
            event_responses=(
                EventResponse(
                    request_id="d",
                    event_id=event.event_id,
                    modification_number=event.modification_number if number is None else number,
                    opt_type=opt,
                ),
            ),
            ven_id=self.ven_id,
        )
        return (await self.say(ServiceName.EVENT, message, oadr.poll.Response)).response

    async def offer(self, *reports: Report) -> oadr.report.RegisteredReport:
        message = RegisterReport(
            request_id="meta", reports=reports or (usage(),), ven_id=self.ven_id
        )
        return await self.say(ServiceName.REPORT, message, oadr.report.RegisteredReport)

    async def update(self, *reports: Report, ven_id: str | None = None):
        message = UpdateReport(request_id="u", reports=reports, ven_id=ven_id)
        return await self.say(ServiceName.REPORT, message, oadr.report.UpdatedReport)


def draft(now: datetime, **changes: object) -> Event:
    """LOAD_DISPATCH -40 kW in ten minutes, for five."""
    duration = changes.pop("duration", timedelta(minutes=5))
    value = changes.pop("value", -40.0)
    given: dict[str, object] = {
        "event_id": "",
        "market_context": CONTEXT,
        "created_at": now,
        "status": EventStatus.FAR,
        "starts_at": now.replace(microsecond=0) + timedelta(minutes=10),
        "duration": duration,
        "signals": (
            Signal(
                signal_name="LOAD_DISPATCH",
                signal_type=SignalType.DELTA,
                signal_id="",
                unit=oadr.units.power(oadr.vocabulary.ScaleCode.KILO),
                intervals=(SignalInterval(duration=duration, value=value),),
            ),
        ),
        "target": Target(),
    }
    return Event(**{**given, **changes})


def simple(level: float, duration: timedelta = timedelta(minutes=5)) -> tuple[Signal, ...]:
    return (
        Signal(
            signal_name="SIMPLE",
            signal_type=SignalType.LEVEL,
            signal_id="",
            intervals=(SignalInterval(duration=duration, value=level),),
        ),
    )


def point(r_id: str, report_type: str = "usage", unit=None, period_s: int = 4) -> ReportDescription:
    period = timedelta(seconds=period_s)
    return ReportDescription(
        r_id=r_id,
        report_type=report_type,
        unit=unit or oadr.units.power(),
        reading_type="Direct Read",
        data_source=Target(resource_ids=("r1",)),
        sampling_rate=SamplingRate(min_period=period, max_period=timedelta(hours=1)),
    )


def metadata(name: str, specifier: str, *points: ReportDescription) -> Report:
    return Report(
        duration=timedelta(hours=1),
        descriptions=points,
        report_request_id="0",
        report_specifier_id=specifier,
        report_name=name,
        created_at=datetime(2030, 1, 9, 14, tzinfo=UTC),
    )


def usage() -> Report:
    return metadata("METADATA_TELEMETRY_USAGE", "usage", point("P"))


def values(
    request_id: str,
    starts_at: datetime,
    numbers: tuple[float | None, ...],
    *,
    r_id: str = "P",
    specifier: str = "usage",
    step_s: int = 4,
) -> Report:
    """Measured values every `step_s` seconds."""
    step = timedelta(seconds=step_s)
    return Report(
        starts_at=starts_at,
        duration=step * len(numbers),
        report_request_id=request_id,
        report_specifier_id=specifier,
        report_name="TELEMETRY_USAGE",
        created_at=starts_at,
        intervals=Intervals(
            count=len(numbers),
            starts_at=tuple(starts_at + step * index for index in range(len(numbers))),
            durations=(step,) * len(numbers),
            columns=(Column(r_id=r_id, values=numbers),),
        ),
    )
