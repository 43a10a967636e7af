# SPDX-License-Identifier: Apache-2.0
"""The operator's desk: everything an operator can do or see.

Each act is one transaction with its audit line; a refusal is a VtnError and changes nothing.
`by` names the person or program that acts; it stands in the audit as `operator:BY`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from oadr.event import Event
from oadr.report import ReportRequest
from oadr.vocabulary import EventStatus
from vtn.config import Settings
from vtn.records import (
    AuditLine,
    CurtailmentInputs,
    EventRecord,
    Group,
    Health,
    MarketContext,
    OptRecord,
    Point,
    Reports,
    RequestRecord,
    Series,
    Ven,
)


class Desk:
    """All acts and views of the operator; shared by the API and later the console."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now

    # --- VENs ------------------------------------------------------------------------------------

    async def add_ven(
        self,
        *,
        ven_id: str | None,
        name: str,
        certificate_sha256: str,
        resources: Sequence[str] = (),
        groups: Sequence[str] = (),
        by: str,
    ) -> Ven:
        """Let a VEN in: with this certificate it may register; without `ven_id` one is made.

        Raises Conflict where the ID or the certificate is taken, Invalid for a fingerprint that is
        not 64 hex digits, Unknown for a group.
        """
        raise NotImplementedError

    async def vens(self, *, group: str | None = None) -> list[Ven]:
        """All VENs, or those of a group, by venID."""
        raise NotImplementedError

    async def ven(self, ven_id: str) -> Ven:
        """Raises Unknown."""
        raise NotImplementedError

    async def add_resource(self, ven_id: str, resource_id: str, *, by: str) -> Ven:
        raise NotImplementedError

    async def revoke_ven(self, ven_id: str, *, by: str) -> Ven:
        """From the next request on its certificate is nobody's; what it sent stays."""
        raise NotImplementedError

    async def request_reregistration(self, ven_id: str, *, by: str) -> None:
        """Ask the VEN, at its next poll, to register again with its IDs."""
        raise NotImplementedError

    async def cancel_registration(self, ven_id: str, *, by: str) -> None:
        """End the VEN's registration at its next poll; once it confirms, all of it is forgotten."""
        raise NotImplementedError

    # --- groups and market contexts --------------------------------------------------------------

    async def groups(self) -> list[Group]:
        raise NotImplementedError

    async def add_group(
        self, group_id: str, name: str, *, ven_ids: Sequence[str] = (), by: str
    ) -> Group:
        raise NotImplementedError

    async def add_to_group(self, group_id: str, ven_ids: Sequence[str], *, by: str) -> Group:
        raise NotImplementedError

    async def remove_from_group(self, group_id: str, ven_ids: Sequence[str], *, by: str) -> Group:
        raise NotImplementedError

    async def market_contexts(self) -> list[MarketContext]:
        raise NotImplementedError

    async def add_market_context(self, uri: str, name: str, *, by: str) -> MarketContext:
        """An event's market context must be one of these."""
        raise NotImplementedError

    # --- events ----------------------------------------------------------------------------------

    async def publish_event(self, event: Event, *, by: str) -> EventRecord:
        """Publish a draft: `event_id` may be "" (one is made), and so may each `signal_id`.

        The target may name venIDs, groupIDs (or groupNames) and resourceIDs; empty is every VEN
        that is not revoked. `status`, `created_at`, `modification_number`, `uid`s and
        `current_value`s of the draft count for nothing: the VTN sets them.
        Raises InvalidEvent with the rule it breaks, Unknown for a target or market context,
        Conflict where the eventID is taken or the event overlaps another one of the same market
        context at the same VEN.
        """
        raise NotImplementedError

    async def modify_event(
        self, event_id: str, event: Event, *, expected_modification: int | None = None, by: str
    ) -> EventRecord:
        """Replace an event by a draft, as its next modification; the past may not change (rule 20).

        Raises Conflict where `expected_modification` is not the current one any more, else as
        publish_event does.
        """
        raise NotImplementedError

    async def cancel_event(self, event_id: str, *, by: str) -> EventRecord:
        """Raises InvalidEvent where it is over or cancelled already."""
        raise NotImplementedError

    async def events(
        self,
        *,
        status: EventStatus | None = None,
        ven_id: str | None = None,
        limit: int | None = None,
    ) -> list[EventRecord]:
        """Events, the one that starts last first."""
        raise NotImplementedError

    async def event(self, event_id: str) -> EventRecord:
        """Raises Unknown."""
        raise NotImplementedError

    # --- reports, measurements, opts -------------------------------------------------------------

    async def reports(self, ven_id: str) -> Reports:
        raise NotImplementedError

    async def request_report(
        self, ven_id: str, request: ReportRequest, *, by: str
    ) -> RequestRecord:
        """Ask for a report at the next poll; `report_request_id` may be "" (one is made).

        The specifier "METADATA" asks for what the VEN offers (rule 327). Raises
        InvalidReportRequest where the offer does not cover it (rules 300, 317, 324, 340).
        """
        raise NotImplementedError

    async def cancel_report(
        self, ven_id: str, report_request_id: str, *, to_follow: bool = False, by: str
    ) -> RequestRecord:
        """Ask the VEN to stop; `to_follow` asks for one final report (rule 345)."""
        raise NotImplementedError

    async def points(self, ven_id: str) -> list[Point]:
        """Every series that was ever stored of this VEN."""
        raise NotImplementedError

    async def measurements(
        self, ven_id: str, r_id: str, starts_at: datetime, ends_at: datetime, *, facet: str = ""
    ) -> Series:
        """Stored values of one point in [starts_at, ends_at). Raises Unknown for VEN or point."""
        raise NotImplementedError

    async def curtailment_inputs(self, event_id: str, ven_id: str) -> CurtailmentInputs:
        """What is stored about an event at one of its VENs, over its active period until now."""
        raise NotImplementedError

    async def opts(self, ven_id: str, *, ended: bool = False) -> list[OptRecord]:
        """Opts in force, newest first; with `ended` also those that no longer are."""
        raise NotImplementedError

    # --- audit and health ------------------------------------------------------------------------

    async def audit(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        actor: str | None = None,
        subject: str | None = None,
    ) -> list[AuditLine]:
        """Newest first; `before` is the number of the last line already seen."""
        raise NotImplementedError

    async def health(self) -> Health:
        """Raises StoreUnavailable where the database does not answer."""
        raise NotImplementedError
