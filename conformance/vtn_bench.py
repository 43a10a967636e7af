# SPDX-License-Identifier: Apache-2.0
"""The bench a VTN under test stands on: a VEN played by the harness, and who prepares the VTN."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from conformance import drafts
from conformance.adapter import VtnAdapter
from conformance.declaration import Ability, Start, Test, Transport
from conformance.errors import AdapterFault, SetUpFault
from conformance.examiner import Examiner
from conformance.knowledge import Memory, normal
from conformance.outcome import Finding
from conformance.seal import Seal
from conformance.ven_player import VenPlayer
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
from oadr.report import CancelReport, CreateReport, ReportRequest

CLOSE_TO_NOW = timedelta(seconds=3)
"""An event that should be active at once starts after this: a VTN takes none that has begun."""

PUT_OFF = timedelta(seconds=15)
"""Where that was too close, since whoever prepares the VTN took longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VtnSetUp:
    """What a run against a VTN is told."""

    url: str
    keys: Keys
    adapter: VtnAdapter
    scale: float = 1.0
    ven_name: str = "conformance"
    ven_id: str = ""
    """The venID the operator allocated to the certificate, if any."""
    push_host: str = ""
    """Where the harness listens for pushes, `host:port`; "" where push is not tested."""
    push_url: str = ""
    """How the VTN reaches it; https://host:port by default."""
    push_keys: Keys | None = None
    """The certificate it shows there; that of the VEN by default."""
    expired: Keys | None = None
    stranger: Keys | None = None
    seal: Seal | None = None
    """Signs and verifies everything; None where signatures are not tested."""

    @property
    def close(self) -> Close | None:
        return self.seal.close if self.seal is not None else None


@dataclass(slots=True, kw_only=True)
class VtnBench:
    """What a test of a VTN works with."""

    setup: VtnSetUp
    transport: Transport
    ven: VenPlayer
    examiner: Examiner
    record: list[Exchange]
    published: list[str] = field(default_factory=list)
    """Events of this test; they are called off when it is over."""

    # --- time ------------------------------------------------------------------------------------

    def span(self, minutes: float) -> timedelta:
        """So many minutes of the certification's time, scaled, in whole seconds (at least 1)."""
        return timedelta(seconds=max(1, round(minutes * 60 * self.setup.scale)))

    async def until(self, at: datetime) -> None:
        """Sleep until an instant."""
        await asyncio.sleep(max(0.0, (at - drafts.utc_now()).total_seconds()))

    def after(self, delay: timedelta = CLOSE_TO_NOW) -> datetime:
        """An instant so far from now, in whole seconds."""
        return drafts.whole(drafts.utc_now() + delay)

    # --- what a test asks for --------------------------------------------------------------------

    @property
    def vtn(self) -> VtnAdapter:
        return self.setup.adapter

    @property
    def context(self) -> str:
        """The market context of an ordinary event."""
        return self.vtn.market_contexts[0]

    @property
    def contexts(self) -> tuple[str, str]:
        """Two market contexts."""
        first, second = self.vtn.market_contexts[:2]
        return first, second

    @property
    def resources(self) -> tuple[str, ...]:
        return self.vtn.resources

    def draft(
        self,
        signals: Sequence[Signal],
        *,
        starts_at: datetime | None = None,
        market_context: str = "",
        priority: int = 0,
        resources: Sequence[str] = (),
    ) -> Event:
        """An event for this VEN."""
        return drafts.event(
            signals,
            starts_at=starts_at or self.after(self.span(10)),
            market_context=market_context or self.context,
            priority=priority,
            ven_id=self.ven.memory.ven_id,
            resources=resources,
        )

    def price_event(
        self, *, starts_at: datetime | None = None, minutes: float = 5, context: str = ""
    ) -> Event:
        """The certification's usual event: ELECTRICITY_PRICE/price, later, 5 minutes."""
        return self.draft(
            [drafts.price([3.14], [self.span(minutes)])],
            starts_at=starts_at,
            market_context=context,
        )

    def active_event(self, level: float = 1, *, minutes: float = 5, context: str = "") -> Event:
        """SIMPLE, starting right away and lasting longer than the test."""
        length = max(self.span(minutes), timedelta(seconds=20))
        return self.draft(
            [drafts.simple(level, length)], starts_at=self.after(), market_context=context
        )

    async def publish(self, event: Event) -> str:
        """Have the VTN publish the event -> its eventID there.

        An event that was refused and should have begun by then is published once more, later.
        """
        try:
            event_id = await self.vtn.publish(self.ven.memory.ven_id, event)
        except AdapterFault:
            if event.starts_at > drafts.utc_now():
                raise
            event = replace(event, starts_at=self.after(PUT_OFF))
            event_id = await self.vtn.publish(self.ven.memory.ven_id, event)
        self.published.append(event_id)
        return event_id

    async def request(self, request: ReportRequest, *, within_s: float = 30) -> ReportRequest:
        """Have the VTN ask for a report -> the request as it came; it is accepted."""
        request_id = await self.vtn.request_report(self.ven.memory.ven_id, request)
        message = await self.ven.wait_for(
            CreateReport,
            within_s,
            rule=324,
            where=lambda one: request_id in [r.report_request_id for r in one.requests],
            wanted=f"oadrCreateReport with {request_id}",
        )
        await self.ven.answer(message)
        return next(one for one in message.requests if one.report_request_id == request_id)

    async def cancel_report(
        self, report_request_id: str, *, to_follow: bool = False, within_s: float = 30
    ) -> CancelReport | None:
        """Have the VTN cancel a report -> the oadrCancelReport; None where it came piggybacked."""
        await self.vtn.cancel_report(self.ven.memory.ven_id, report_request_id, to_follow=to_follow)
        message = await self.ven.wait_for(
            CancelReport,
            within_s,
            rule=328,
            where=lambda one: report_request_id in one.report_request_ids,
        )
        await self.ven.answer(message)
        return message

    # --- before and after a test -----------------------------------------------------------------

    async def prepare(self, test: Test) -> None:
        """Bring the two parties to the state the test starts from."""
        self.ven.answered.clear()
        if test.start is Start.REGISTERED:
            await self.ven.boot()
        elif test.start is Start.UNREGISTERED:
            await self.ven.register()
            await self.ven.leave()
        self.examiner.clear()

    async def tidy(self) -> None:
        """Call off what the test published, and take the last answers."""
        left, self.published = self.published, []
        if not left:
            return
        await self.vtn.withdraw(self.ven.memory.ven_id, left)
        if self.ven.memory.registration_id:
            await self.ven.drain(4.0)
            await self.ven.see_events()

    @property
    def findings(self) -> Sequence[Finding]:
        return self.examiner.findings


def missing(setup: VtnSetUp, needs: Collection[Ability]) -> list[Ability]:
    """Which of a test's needs this run cannot meet."""
    have = set(setup.adapter.abilities)
    if setup.expired is not None:
        have.add(Ability.EXPIRED)
    if setup.stranger is not None:
        have.add(Ability.STRANGER)
    if setup.seal is not None:
        have.add(Ability.SIGNATURES)
    return [need for need in Ability if need in needs and need not in have]


async def open_bench(stack: AsyncExitStack, setup: VtnSetUp, transport: Transport) -> VtnBench:
    """Connect a VEN of the harness to the VTN; closed with the stack.

    Raises SetUpFault where push is asked for and nothing was said about where to listen.
    """
    record: list[Exchange] = []
    memory = Memory(
        from_vtn=True,
        resources=setup.adapter.resources,
        market_contexts=frozenset(map(normal, setup.adapter.market_contexts)),
    )
    examiner = Examiner(memory=memory, now=drafts.utc_now, seal=setup.seal)
    client = await stack.enter_async_context(
        Client(setup.url, client_context(setup.keys), record, setup.close)
    )
    player = VenPlayer(
        client,
        examiner,
        name=setup.ven_name,
        transport=transport,
        given_ven_id=setup.ven_id,
    )
    if transport is Transport.PUSH:
        if not setup.push_host:
            raise SetUpFault("Say where to listen for pushes: --push-listen HOST:PORT.")
        host, _, port = setup.push_host.rpartition(":")
        server = await stack.enter_async_context(
            Server(
                host,
                int(port),
                server_context(setup.push_keys or setup.keys),
                player.pushed,
                record,
                close=setup.close,
            )
        )
        player.push_url = setup.push_url or f"https://{host}:{server.port}"
    return VtnBench(setup=setup, transport=transport, ven=player, examiner=examiner, record=record)
