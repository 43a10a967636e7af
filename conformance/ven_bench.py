# SPDX-License-Identifier: Apache-2.0
"""The bench a VEN under test stands on: a VTN played by the harness, and who prepares the VEN."""

import asyncio
import contextlib
import ssl
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from conformance import drafts
from conformance.adapter import VenAdapter
from conformance.declaration import Ability, Start, Test, Transport
from conformance.errors import Failed, NotRun, expect
from conformance.examiner import Examiner
from conformance.knowledge import Memory, normal
from conformance.outcome import Finding
from conformance.seal import Seal
from conformance.vtn_player import VTN_ID, VtnPlayer
from conformance.wire import (
    Client,
    Close,
    Exchange,
    Keys,
    Server,
    client_context,
    server_context,
)
from oadr.event import Event, Signal
from oadr.registration import CreatePartyRegistration
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisterReport,
    Report,
    ReportRequest,
    UpdateReport,
)

FIRST_CONTACT_S = 70.0
"""How long a VEN that was just started may take to register."""
SETTLE_S = 20.0
"""How long an answer over the next poll may take."""
SOME_POLLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VenSetUp:
    """What a run against a VEN is told."""

    host: str
    port: int
    keys: Keys
    adapter: VenAdapter
    scale: float = 1.0
    poll_s: int = 1
    """The oadrRequestedOadrPollFreq that the VEN is told, s."""
    url: str = ""
    """How the VEN reaches the harness; https://host:port by default."""
    push: bool = False
    """Whether the VEN is set up for push."""
    push_keys: Keys | None = None
    """The certificate the harness shows when it pushes; its own by default."""
    expired: Keys | None = None
    """A certificate of a VTN that is over."""
    seal: Seal | None = None
    """Signs and verifies everything; None where signatures are not tested."""

    @property
    def close(self) -> Close | None:
        return self.seal.close if self.seal is not None else None


@dataclass(slots=True, kw_only=True)
class VenBench:
    """What a test of a VEN works with."""

    setup: VenSetUp
    transport: Transport
    vtn: VtnPlayer
    examiner: Examiner
    record: list[Exchange]
    tls: ssl.SSLContext
    """What the harness shows to the VEN."""
    asked: list[str] = field(default_factory=list)
    """reportRequestIDs of this test; they are cancelled when it is over."""

    def show(self, keys: Keys) -> None:
        """From the next connection on the VEN sees this certificate."""
        self.tls.load_cert_chain(keys.cert, keys.key)

    # --- time ------------------------------------------------------------------------------------

    def span(self, minutes: float) -> timedelta:
        """So many minutes of the certification's time, scaled, in whole seconds (at least 1)."""
        return timedelta(seconds=max(1, round(minutes * 60 * self.setup.scale)))

    def after(self, delay: timedelta) -> datetime:
        """An instant so far from now, in whole seconds."""
        return drafts.whole(drafts.utc_now() + delay)

    async def until(self, at: datetime) -> None:
        """Sleep until an instant."""
        await asyncio.sleep(max(0.0, (at - drafts.utc_now()).total_seconds()))

    @property
    def settle_s(self) -> float:
        """How long an answer may take."""
        return SETTLE_S + 2 * self.setup.poll_s

    # --- what a test asks for --------------------------------------------------------------------

    @property
    def ven(self) -> VenAdapter:
        return self.setup.adapter

    @property
    def context(self) -> str:
        return self.ven.market_contexts[0]

    @property
    def resources(self) -> tuple[str, ...]:
        return self.ven.resources

    def draft(
        self,
        signals: Sequence[Signal],
        *,
        starts_at: datetime | None = None,
        market_context: str = "",
        priority: int = 0,
        resources: Sequence[str] = (),
    ) -> Event:
        """An event for the VEN."""
        return drafts.event(
            signals,
            starts_at=starts_at or self.after(self.span(10)),
            market_context=market_context or self.context,
            priority=priority,
            ven_id=self.vtn.ven_id,
            resources=resources,
        )

    def price_event(self, *, starts_at: datetime | None = None, minutes: float = 5) -> Event:
        """The certification's usual event: ELECTRICITY_PRICE/price, later, 5 minutes."""
        return self.draft([drafts.price([3.14], [self.span(minutes)])], starts_at=starts_at)

    def simple_event(
        self, level: float = 1, *, minutes: float = 5, starts_at: datetime | None = None
    ) -> Event:
        """SIMPLE at one level."""
        return self.draft([drafts.simple(level, self.span(minutes))], starts_at=starts_at)

    async def quiet(self) -> None:
        """Give the VEN the time of some polls."""
        await asyncio.sleep(SOME_POLLS * self.setup.poll_s + 0.5)

    # --- reports ---------------------------------------------------------------------------------

    def offer(self, name: str) -> Report:
        """The VEN's metadata of that report. Raises NotRun where it offers none."""
        for report in self.vtn.memory.offered.values():
            if (report.report_name or "").removeprefix("METADATA_") == name:
                return report
        raise NotRun(f"the VEN does not offer {name}")

    def request(
        self,
        name: str,
        *,
        minutes: float | None = None,
        back: float = 0,
        granularity: float | None = None,
        delay: float = 0,
        points: Sequence[str] = (),
        kinds: Collection[str] = (),
    ) -> ReportRequest:
        """A request for a report the VEN offers; times in minutes of the certification.

        `minutes` None is one shot; 0 is for ever. `kinds` narrows the points by unit.
        """
        offer = self.offer(name)
        chosen = [
            one
            for one in offer.descriptions
            if (not points or one.r_id in points)
            and (not kinds or (one.unit is not None and one.unit.kind in kinds))
        ]
        if not chosen:
            raise NotRun(f"the VEN offers no such point in {name}")
        rates = [one.sampling_rate for one in chosen if one.sampling_rate is not None]
        least = max((rate.min_period for rate in rates), default=drafts.SECOND)
        step = least if granularity is None else self.span(granularity) if granularity else None
        step = max(step, least) if step is not None else drafts.ZERO
        period = max(self.span(back), step) if back else drafts.ZERO
        if name.startswith("HISTORY"):
            step = drafts.ZERO
        length = None if minutes is None else self._length(minutes, period)
        return drafts.report_request(
            offer.report_specifier_id,
            [one.r_id for one in chosen],
            granularity=step,
            back=period,
            starts_at=self.after(self.span(delay)) if delay else None,
            length=length,
        )

    def _length(self, minutes: float, period: timedelta) -> timedelta:
        return max(self.span(minutes), 2 * period) if minutes else drafts.ZERO

    async def create(self, *requests: ReportRequest) -> CreatedReport:
        """Ask for the reports -> the oadrCreatedReport; it must be positive."""
        answer = await self.created(*requests)
        expect(
            answer.response.ok,
            rule=300,
            seen=f"{answer.response.response_code} {answer.response.description or ''}",
            wanted="oadrCreatedReport 200",
        )
        return answer

    async def created(self, *requests: ReportRequest) -> CreatedReport:
        """Ask for the reports -> the oadrCreatedReport, whatever it says."""
        message = CreateReport(
            request_id=drafts.fresh("request"), requests=requests, ven_id=self.vtn.ven_id
        )
        self.asked.extend(one.report_request_id for one in requests)
        await self.vtn.deliver(message)
        return await self.vtn.received(
            CreatedReport,
            self.settle_s,
            rule=303,
            where=lambda one: one.response.request_id == message.request_id,
            wanted="oadrCreatedReport with the requestID of the request",
        )

    async def update_of(
        self, request: ReportRequest, within_s: float, *, since: int | None = None, rule: int = 325
    ) -> Report:
        """The first report for the request."""
        message = await self.vtn.received(
            UpdateReport,
            within_s,
            rule=rule,
            where=lambda one: (
                request.report_request_id in [report.report_request_id for report in one.reports]
            ),
            since=since,
            wanted=f"oadrUpdateReport for {request.report_request_id}",
        )
        return next(
            one for one in message.reports if one.report_request_id == request.report_request_id
        )

    def updates_of(self, request: ReportRequest, *, since: int | None = None) -> list[Report]:
        """Every report for the request so far."""
        return [
            report
            for message in self.vtn.all_received(UpdateReport, since=since)
            for report in message.reports
            if report.report_request_id == request.report_request_id
        ]

    async def cancel(self, *request_ids: str, to_follow: bool = False) -> CanceledReport:
        """Cancel the reports -> the oadrCanceledReport, whatever it says."""
        message = CancelReport(
            request_id=drafts.fresh("cancel"),
            report_request_ids=request_ids,
            report_to_follow=to_follow,
            ven_id=self.vtn.ven_id,
        )
        await self.vtn.deliver(message)
        answer = await self.vtn.received(
            CanceledReport,
            self.settle_s,
            rule=303,
            where=lambda one: one.response.request_id == message.request_id,
            wanted="oadrCanceledReport with the requestID of the request",
        )
        if not to_follow:
            self.forget(*request_ids)
        return answer

    def forget(self, *request_ids: str) -> None:
        """These are no longer in force."""
        for one in request_ids:
            if one in self.asked:
                self.asked.remove(one)
        # What was under way when the VEN was told may still arrive: it is no finding.

    # --- before and after a test -----------------------------------------------------------------

    async def prepare(self, test: Test) -> None:
        """Bring the two parties to the state the test starts from."""
        if test.start in (Start.FRESH, Start.UNREGISTERED):
            self.vtn.forget()
            self.vtn.start = self.vtn.mark()
            self.examiner.clear()
            await self.ven.restart(forget=True)
            return
        if test.start is Start.REGISTERED:
            await self._registered()
        self.examiner.clear()
        self.vtn.start = self.vtn.mark()

    async def _registered(self) -> None:
        begin = self.vtn.start = self.vtn.mark()
        if self.vtn.registered and not self.vtn.memory.offered:  # it was started a moment ago
            with contextlib.suppress(Failed):
                await self.vtn.received(RegisterReport, self.settle_s, rule=309, since=begin)
        if self.vtn.registered and self.vtn.memory.offered:
            try:
                await self._alive()
            except (TimeoutError, ConnectionError, Failed):
                self.vtn.forget()
            else:
                return
        if Ability.FRESH in self.ven.abilities and not self.vtn.registered:
            await self.ven.restart(forget=True)
        await self.vtn.received(CreatePartyRegistration, FIRST_CONTACT_S, rule=401, since=begin)
        await self.vtn.received(RegisterReport, self.settle_s, rule=309, since=begin)
        await self.vtn.took_queue(self.settle_s)

    async def _alive(self) -> None:
        """Raises where the VEN says nothing any more, or takes no push."""
        if self.transport is Transport.PUSH:
            await self.vtn.distribute()
            return
        async with asyncio.timeout(self.settle_s):
            await self.vtn.anything()

    async def tidy(self) -> None:
        """Call everything off that the test began."""
        left, self.asked = self.asked, []
        self.vtn.reset()
        if not self.vtn.registered:
            return
        known = [one for one in left if one in self.vtn.memory.requested]
        if known:
            await self.cancel(*known)
        for one in left:
            self.vtn.memory.requested.pop(one, None)
        if self.vtn.events:
            await self.vtn.distribute()
        await self.vtn.took_queue(self.settle_s)

    @property
    def findings(self) -> Sequence[Finding]:
        return self.examiner.findings


def missing(setup: VenSetUp, needs: Collection[Ability]) -> list[Ability]:
    """Which of a test's needs this run cannot meet."""
    have = set(setup.adapter.abilities)
    if setup.expired is not None:
        have.add(Ability.EXPIRED)
    if setup.seal is not None:
        have.add(Ability.SIGNATURES)
    return [need for need in Ability if need in needs and need not in have]


async def open_bench(stack: AsyncExitStack, setup: VenSetUp, transport: Transport) -> VenBench:
    """Listen as a VTN and have the VEN started; closed with the stack."""
    record: list[Exchange] = []
    memory = Memory(
        from_vtn=False,
        vtn_id=VTN_ID,
        resources=setup.adapter.resources,
        market_contexts=frozenset(map(normal, setup.adapter.market_contexts)),
    )
    examiner = Examiner(memory=memory, now=drafts.utc_now, seal=setup.seal)
    player = VtnPlayer(
        examiner, poll_s=setup.poll_s, market_context=setup.adapter.market_contexts[0]
    )
    tls = server_context(setup.keys)
    server = await stack.enter_async_context(
        Server(
            setup.host,
            setup.port,
            tls,
            player.handle,
            record,
            close=setup.close,
        )
    )
    context = client_context(setup.push_keys or setup.keys)
    player.push_client = lambda address: Client(address, context, record, setup.close)
    player.transport = transport
    stack.push_async_callback(setup.adapter.close)
    await setup.adapter.open(setup.url or f"https://{setup.host}:{server.port}", transport)
    return VenBench(
        setup=setup, transport=transport, vtn=player, examiner=examiner, record=record, tls=tls
    )
