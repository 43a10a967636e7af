# SPDX-License-Identifier: Apache-2.0
"""What the harness knows of the peer when a message comes in; the checks compare with it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from oadr import Message
from oadr.event import Event
from oadr.report import Report, ReportRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One received message in its circumstances."""

    now: datetime
    from_vtn: bool
    """Whether the sender is a VTN."""
    vtn_id: str = ""
    """Empty while it is not known."""
    ven_id: str = ""
    registration_id: str = ""
    request: Message | None = None
    """What this answers in the same HTTP exchange; None where it is a request itself."""
    resources: Collection[str] = ()
    market_contexts: Collection[str] = ()
    """Normalised; empty where any will do."""
    events: Mapping[str, Event] = field(default_factory=dict)
    """Events as last seen, by eventID; those that are over and forgotten are not here."""
    distribute_request_ids: Collection[str] = ()
    """requestIDs of the oadrDistributeEvents the peer was sent."""
    offered: Mapping[str, Report] = field(default_factory=dict)
    """The metadata in force, by reportSpecifierID: that of the VEN, whoever looks."""
    requested: Mapping[str, ReportRequest] = field(default_factory=dict)
    """Report requests in force, by reportRequestID."""
    slack: timedelta = timedelta(seconds=2)
    """How far clocks and deliveries may be apart before a state by the clock is wrong."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """What one bench learns in the course of a test."""

    from_vtn: bool
    vtn_id: str = ""
    ven_id: str = ""
    registration_id: str = ""
    resources: tuple[str, ...] = ()
    market_contexts: frozenset[str] = frozenset()
    events: dict[str, Event] = field(default_factory=dict)
    distribute_request_ids: list[str] = field(default_factory=list)
    offered: dict[str, Report] = field(default_factory=dict)
    requested: dict[str, ReportRequest] = field(default_factory=dict)

    def look(self, now: datetime, request: Message | None) -> Look:
        """The circumstances of a message that has come in now."""
        return Look(
            now=now,
            from_vtn=self.from_vtn,
            vtn_id=self.vtn_id,
            ven_id=self.ven_id,
            registration_id=self.registration_id,
            request=request,
            resources=self.resources,
            market_contexts=self.market_contexts,
            events=dict(self.events),
            distribute_request_ids=tuple(self.distribute_request_ids),
            offered=dict(self.offered),
            requested=dict(self.requested),
        )

    def forget(self) -> None:
        """The registration is over: nothing of it counts any more (rule 407)."""
        self.registration_id = ""
        self.events.clear()
        self.offered.clear()
        self.requested.clear()
        self.distribute_request_ids.clear()


def normal(uri: str) -> str:
    """A market context as it is compared (rule 512): scheme and host in small letters."""
    scheme, separator, rest = uri.strip().partition("://")
    host, slash, path = rest.partition("/")
    if not separator:
        return uri.strip()
    return f"{scheme.lower()}://{host.lower()}{slash}{path}".rstrip("/")
