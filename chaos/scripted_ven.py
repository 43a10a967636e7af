# SPDX-License-Identifier: Apache-2.0
"""A light VEN for trials: reports without pause, answers events, and keeps a ledger of it all.

It repeats a report until it is acknowledged, as every VEN of ours does, and starts each try on
whatever connection there is. Its meter's value is a function of time, so that every sample in the
VTN's database can be checked.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Protocol, Self, TypeVar

import aiohttp

import oadr
from certs.authority import Issued
from chaos.errors import ChaosFault, InVain
from chaos.ledgers import describe
from chaos.verdict import Series, Version
from oadr.columns import Column, Intervals
from oadr.endpoints import MEDIA_TYPE, path
from oadr.event import CreatedEvent, DistributeEvent, Event, EventResponse
from oadr.poll import Poll, Response
from oadr.registration import CreatedPartyRegistration, CreatePartyRegistration
from oadr.report import (
    CreatedReport,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    SamplingRate,
    UpdatedReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType, ServiceName

M = TypeVar("M")

R_ID = "power"
_SPECIFIER = "usage"
_ANSWER_S = 5.0
"""An answer that takes longer is given up: the VTN may be gone without a word."""
_AGAIN_S = 0.1
"""Between tries, give or take half of it: the trial measures the VTN, not our patience."""


class NoAnswerYet(ChaosFault):
    """The VTN did not answer this time."""


class Forgotten(ChaosFault):
    """The VTN refuses what it has acknowledged before."""


def meter_w(ven_id: str, at: int) -> float:
    """What the meter of a VEN shows at an instant (seconds since 1970); a quarter of a watt fine.

    >>> meter_w("v1", 100) == meter_w("v1", 100) != meter_w("v1", 101)
    True
    """
    return float((at * 2_654_435_761 + sum(ven_id.encode()) * 97) % 4_000_000) / 4


@dataclass(slots=True, kw_only=True)
class VenLedger:
    """What one VEN said, and what it was answered."""

    said: dict[float, float] = field(default_factory=dict)
    acknowledged: set[float] = field(default_factory=set)
    told: list[tuple[str, Version]] = field(default_factory=list)
    """Every version of every event that came, in order."""
    answered: dict[str, int] = field(default_factory=dict)
    """By eventID: the last modification whose answer was acknowledged."""
    acknowledged_at: list[float] = field(default_factory=list)
    """When each report was acknowledged, time.monotonic."""
    repeats: int = 0
    """Tries that were not answered."""
    refused_s: list[float] = field(default_factory=list)
    """How long each answer that was no 200 took: 503, above all."""


class Post(Protocol):
    """Carries one message to the VTN: HTTP status and body. Raises NoAnswerYet."""

    async def __call__(self, service: ServiceName, body: bytes) -> tuple[int, bytes]: ...


class ScriptedVen:
    """One VEN, over whatever carries its messages."""

    def __init__(self, ven_id: str, post: Post, *, seed: int = 0) -> None:
        self.ven_id = ven_id
        self.ledger = VenLedger()
        self._post = post
        self._random = random.Random(f"{seed} {ven_id}")  # noqa: S311 - pauses, not secrets
        self._request_id = ""
        self._next_at = int(time.time()) // 3600 * 3600 - 86_400
        self._numbers = iter(range(1, 1_000_000_000))

    @property
    def series(self) -> Series:
        """Of its samples in the VTN."""
        return self.ven_id, R_ID

    # --- the conversation ------------------------------------------------------------------------

    async def introduce(self) -> None:
        """Register, and offer one point of power, which the VTN asks for automatically."""
        message = CreatePartyRegistration(request_id=self._new_id(), ven_id=self.ven_id)
        await self.ask(ServiceName.REGISTER_PARTY, message, CreatedPartyRegistration)
        ours = await self.ask(ServiceName.POLL, Poll(ven_id=self.ven_id), RegisterReport)
        taken = RegisteredReport(
            response=EiResponse(request_id=ours.request_id), ven_id=self.ven_id
        )
        await self.ask(ServiceName.REPORT, taken, Response)
        offer = RegisterReport(request_id=self._new_id(), reports=(_offer(),), ven_id=self.ven_id)
        answer = await self.ask(ServiceName.REPORT, offer, RegisteredReport)
        self._request_id = answer.requests[0].report_request_id
        created = CreatedReport(
            response=EiResponse(request_id=offer.request_id),
            pending_report_request_ids=(self._request_id,),
            ven_id=self.ven_id,
        )
        await self.ask(ServiceName.REPORT, created, Response)

    async def live(self, stop: asyncio.Event, *, rows: int = 20, pause_s: float = 0.03) -> None:
        """Report `rows` samples, poll, and so on, until `stop`; then once more, and poll it dry."""
        while not stop.is_set():
            await self.report(rows)
            await self.poll()
            await asyncio.sleep(self._random.uniform(0, 2 * pause_s))
        await self.report(rows)
        await self.poll_dry()

    async def report(self, rows: int) -> None:
        """The next `rows` seconds of the meter, again and again until they are acknowledged."""
        starts = range(self._next_at, self._next_at + rows)
        self._next_at += rows
        await self.send(starts)

    async def send(self, starts: Sequence[int]) -> None:
        """Samples at these instants, in this order, until they are acknowledged."""
        values = [meter_w(self.ven_id, at) for at in starts]
        self.ledger.said.update(zip(map(float, starts), values, strict=True))
        update = UpdateReport(
            request_id=self._new_id(),
            reports=(_values(self._request_id, starts, values),),
            ven_id=self.ven_id,
        )
        await self.ask(ServiceName.REPORT, update, UpdatedReport)
        self.ledger.acknowledged.update(map(float, starts))
        self.ledger.acknowledged_at.append(time.monotonic())

    async def poll(self) -> bool:
        """Poll once, and answer the events that came; whether something came."""
        message = await self.ask(ServiceName.POLL, Poll(ven_id=self.ven_id), object)
        if isinstance(message, DistributeEvent):
            await self._take(message.events)
        return not isinstance(message, Response)

    async def poll_dry(self, *, quiet_s: float = 2.5, within_s: float = 40.0) -> None:
        """Poll until nothing has come for longer than the VTN takes to say a thing again.

        Raises InVain where it never has enough.
        """
        begun_at = quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < quiet_s:
            if time.monotonic() - begun_at > within_s:
                raise InVain(f"{self.ven_id}: the VTN says the same again and again.")
            if await self.poll():
                quiet_since = time.monotonic()
            await asyncio.sleep(_AGAIN_S)

    async def _take(self, events: Collection[Event]) -> None:
        for event in events:
            self.ledger.told.append((event.event_id, version_of(event)))
        await self.ask(
            ServiceName.EVENT,
            CreatedEvent(
                response=EiResponse(),
                event_responses=tuple(_opt_in(self._new_id(), event) for event in events),
                ven_id=self.ven_id,
            ),
            Response,
            bears=("450",),  # it was modified while the answer was on its way
        )
        for event in events:
            before = self.ledger.answered.get(event.event_id, -1)
            self.ledger.answered[event.event_id] = max(before, event.modification_number)

    # --- one message -----------------------------------------------------------------------------

    async def ask(
        self,
        service: ServiceName,
        message: oadr.Message,
        into: type[M],
        *,
        bears: Collection[str] = (),
    ) -> M:
        """Send until it is answered. Raises Forgotten where the answer is a refusal.

        Refusals with a code of `bears` are as good as a yes.
        """
        body = oadr.build(message)
        while True:
            try:
                answer = await self.once(service, body)
            except NoAnswerYet:
                self.ledger.repeats += 1
                await asyncio.sleep(_AGAIN_S * self._random.uniform(0.5, 1.5))
                continue
            response: EiResponse | None = getattr(answer, "response", None)
            refused = response is not None and not response.ok
            if response is not None and refused and response.response_code not in bears:
                name = oadr.wire_name(type(message))
                raise Forgotten(
                    f"{self.ven_id}: {name} is refused with {response.response_code}: "
                    f"{response.description}"
                )
            if not isinstance(answer, into):
                raise Forgotten(f"{self.ven_id}: answered with {type(answer).__name__}")
            return answer

    async def once(self, service: ServiceName, body: bytes) -> oadr.Message:
        """One try. Raises NoAnswerYet."""
        sent_at = time.monotonic()
        status, answer = await self._post(service, body)
        if status != 200:
            self.ledger.refused_s.append(time.monotonic() - sent_at)
            raise NoAnswerYet(f"{service.value}: HTTP {status}")
        return oadr.parse(answer)

    def _new_id(self) -> str:
        return f"{self.ven_id}-{next(self._numbers)}"


class OverTls:
    """Posts over mutual TLS; an async context manager around its connections."""

    def __init__(self, issued: Issued, *, port: int, roots: str) -> None:
        """`port` of the VTN (or of a proxy before it) on loopback; `roots` are the VTN's (PEM)."""
        self._port = port
        self._context = ssl.create_default_context(cafile=roots)
        self._context.load_cert_chain(issued.certificate, issued.key)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context, limit=0),
            timeout=aiohttp.ClientTimeout(total=_ANSWER_S),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def __call__(self, service: ServiceName, body: bytes) -> tuple[int, bytes]:
        """One try. Raises NoAnswerYet."""
        url = f"https://127.0.0.1:{self._port}{path(service)}"
        headers = {"Content-Type": MEDIA_TYPE}
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswerYet(f"{url}: {error}") from error


def version_of(event: Event) -> Version:
    """An event as it was received."""
    what = describe(
        starts_at=event.starts_at,
        value=event.signals[0].intervals[0].value,
        cancelled=event.status is EventStatus.CANCELLED,
    )
    return Version(modification=event.modification_number, what=what)


def _opt_in(request_id: str, event: Event) -> EventResponse:
    return EventResponse(
        request_id=request_id,
        event_id=event.event_id,
        modification_number=event.modification_number,
        opt_type=OptType.OPT_IN,
    )


def _offer() -> Report:
    point = ReportDescription(
        r_id=R_ID,
        report_type="usage",
        unit=oadr.units.power(),
        reading_type="Direct Read",
        data_source=Target(resource_ids=("building",)),
        sampling_rate=SamplingRate(min_period=timedelta(seconds=1), max_period=timedelta(hours=1)),
    )
    return Report(
        duration=timedelta(hours=1),
        descriptions=(point,),
        report_request_id="0",
        report_specifier_id=_SPECIFIER,
        report_name="METADATA_TELEMETRY_USAGE",
        created_at=datetime.now(UTC),
    )


def _values(request_id: str, starts: Sequence[int], values: Sequence[float]) -> Report:
    first = datetime.fromtimestamp(starts[0], UTC)
    return Report(
        starts_at=first,
        duration=timedelta(seconds=len(starts)),
        report_request_id=request_id,
        report_specifier_id=_SPECIFIER,
        report_name="TELEMETRY_USAGE",
        created_at=datetime.now(UTC),
        intervals=Intervals(
            count=len(starts),
            starts_at=tuple(datetime.fromtimestamp(at, UTC) for at in starts),
            durations=(timedelta(seconds=1),) * len(starts),
            columns=(Column(r_id=R_ID, values=tuple(values)),),
        ),
    )
