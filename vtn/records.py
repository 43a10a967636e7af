# SPDX-License-Identifier: Apache-2.0
"""What the VTN knows, as plain values: what the store gives back and the desk hands on."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from oadr.event import Event
from oadr.opt import CreateOpt
from oadr.report import Report, ReportRequest
from oadr.vocabulary import OptType
from vtn.orders import EventOrder
from vtn.rollups import Rollup
from vtn.tally import NOTHING_YET, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Ven:
    """A VEN the operator has let in, registered or not."""

    ven_id: str
    name: str
    certificate_sha256: str
    """64 lower-case hex digits over the DER certificate: its identity."""
    added_at: datetime
    added_by: str
    revoked_at: datetime | None = None
    registration_id: str | None = None
    registered_at: datetime | None = None
    report_only: bool = False
    poll_interval_s: float | None = None
    """Its own poll interval; None takes the VTN's."""
    last_contact_at: datetime | None = None
    """Of its last message; up to 30 s behind after a crash."""
    certificate_der: bytes | None = None
    """None until it has been seen, where the operator gave the fingerprint alone."""
    push_address: str | None = None
    """The https:// address it is pushed to; None for a VEN that polls."""
    xml_signature: bool = False
    """It signs what it says, and wants the same of us (rule 514)."""
    next_certificate_sha256: str | None = None
    """Of a renewed certificate: it lets the VEN in, too, and replaces the other when first used."""
    next_certificate_der: bytes | None = None
    resources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def certificates(self) -> tuple[str, ...]:
        """The SHA-256 of each certificate that opens: none of a VEN that is revoked."""
        if self.revoked_at is not None:
            return ()
        following = self.next_certificate_sha256
        return (self.certificate_sha256, *([following] if following else []))

    @property
    def registered(self) -> bool:
        return self.registration_id is not None

    @property
    def fingerprint(self) -> str:
        """The short OpenADR fingerprint, for people to read out."""
        return bytes.fromhex(self.certificate_sha256)[-10:].hex(":").upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    group_id: str
    name: str
    ven_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSize:
    """A group in a list: how many are in it instead of who."""

    group_id: str
    name: str
    members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketContext:
    uri: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAnswer:
    """How a VEN stands to an event: its latest oadrCreatedEvent, then its oadrCreateOpt (206)."""

    ven_id: str
    opt_type: OptType
    """For the VEN as a whole."""
    modification_number: int
    at: datetime
    response_code: str
    description: str = ""
    resources: Mapping[str, OptType] = field(default_factory=dict)
    """Resources that stand otherwise, or were named in an oadrCreateOpt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far one event has come to one VEN."""

    ven_id: str
    handed_modification: int | None
    """The last modification handed out."""
    handed_at: datetime | None
    attempts: int
    """Hand-outs of that modification."""
    acknowledged_modification: int | None
    """The last modification answered (or, where no answer is wanted, surely received)."""
    withdrawn: bool
    """No longer targeted: to this VEN the event is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event with all that happened to it."""

    event: Event
    """As of now: status by the clock, current values; the target as the operator gave it."""
    ven_ids: tuple[str, ...]
    """Whom it is for, ascending."""
    answers: Mapping[str, EventAnswer]
    """By venID; VENs that have not answered are missing."""
    deliveries: Mapping[str, Delivery]
    """By venID."""
    history: tuple[Event, ...]
    """Every modification, oldest first, the current one last."""
    published_at: datetime
    published_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """An event in a list: how many it is for instead of whom."""

    event: Event
    """As of now: status by the clock; the target as the operator gave it."""
    targeted: int
    opted_in: int
    opted_out: int


class RequestState(StrEnum):
    """Where a report request stands."""

    ASKED = "asked"
    """Not confirmed by the VEN yet."""
    ACTIVE = "active"
    CANCELLING = "cancelling"
    """The VEN has not confirmed the cancellation yet."""
    FOLLOWING = "following"
    """Cancelled; one last report is still to come (rule 345)."""
    CANCELLED = "cancelled"
    REFUSED = "refused"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One report a VEN can make (its metadata)."""

    ven_id: str
    report: Report
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One report that was asked of a VEN."""

    ven_id: str
    request: ReportRequest
    report_name: str
    """Without METADATA_."""
    state: RequestState
    asked_at: datetime
    asked_by: str
    last_update_at: datetime | None = None
    """When values came last."""
    remark: str = ""
    """Why it was refused."""
    to_follow: bool = False
    """Its cancellation asks for one last report."""
    tally: Tally = NOTHING_YET
    """Which intervals have come."""
    expected: int | None = None
    """Intervals that should have come by now; None where nothing regular was asked for."""
    missing: int | None = None
    """Those of them that have not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What a VEN offers, and what was asked of it."""

    offers: tuple[Offer, ...]
    requests: tuple[RequestRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One stored series of a VEN."""

    ven_id: str
    r_id: str
    facet: str = ""
    """"" for a measured value; "online", "manualOverride", "setPoint.current" ... of a status."""
    report_name: str = ""
    report_type: str = ""
    unit: str = ""
    """The base unit the values are stored in: "W", "Wh", "V" ..., "" for none."""
    resource_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """New values of one point, in its base unit; equally long columns in any order."""

    point: Point
    starts_at: Sequence[int]
    """Seconds since 1970; a range where they are regular, which makes all that follows quick."""
    values: tuple[float, ...]
    quality: tuple[str, ...]
    """OadrDataQuality of each value; "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values of one point, ascending in time, in the base unit of the point."""

    point: Point
    starts_at: "array[float]"
    """Seconds since 1970 (UTC), the start of each interval or the instant of point data."""
    values: "array[float]"
    quality: tuple[str, ...]
    """oadrDataQuality of each value; "" where the VEN said nothing."""

    def __len__(self) -> int:
        return len(self.starts_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledSeries:
    """Quarter hours of one point, ascending."""

    point: Point
    starts_at: tuple[int, ...]
    """Seconds since 1970 (UTC), whole quarter hours."""
    rollups: tuple[Rollup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurtailmentInputs:
    """What the VTN stored about one event at one VEN; all series in W over the event's period."""

    record: EventRecord
    ven_id: str
    measured: Series
    """Real power from TELEMETRY_USAGE; several meters are summed where all have a value."""
    baseline: Series
    """The node's baseline (x-CURTAILMENT)."""
    deviation: Series
    """The node's claim: measured minus baseline (x-CURTAILMENT)."""
    granularity_s: float | None
    """Of the measured values as requested; None where none were requested."""
    claim_granularity_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptRecord:
    """One opt of a VEN, for one of its resources or all of it."""

    ven_id: str
    opt: CreateOpt
    scope: str
    """The resource; "" for the whole VEN."""
    received_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""
    """"superseded", "cancelled" or "registration"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """Something accepted or refused: from whom, what, about what."""

    number: int
    at: datetime
    actor: str
    """"ven:ID", "operator:NAME" or "system"."""
    act: str
    subject: str
    """"ven:ID", "event:ID", "report:ID" ..."""
    outcome: str
    """"ok", or the response code or reason of a refusal."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDay:
    """How much a VEN reported on one day (UTC)."""

    day: date
    messages: int
    """Accepted oadrUpdateReports."""
    samples: int
    """Values in them, those that came twice included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the VTN is doing."""

    at: datetime
    database: str
    """"sqlite" or "postgresql"."""
    vens: int
    registered: int
    online: int
    """Registered and heard of within three poll intervals."""
    events_active: int
    events_pending: int
    messages_waiting: int
    """In the outgoing queues of all VENs."""


MOST_WRONG_TRIES = 10
"""At one enrolment code, and from one address: then it is locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentCode:
    """A one-time code, without what is secret in it."""

    code_id: str
    """Its first signs."""
    ven_id: str
    name: str
    resources: tuple[str, ...]
    groups: tuple[str, ...]
    made_at: datetime
    made_by: str
    expires_at: datetime
    secret_sha256: str
    wrong_tries: int = 0
    withdrawn_at: datetime | None = None
    used_at: datetime | None = None
    key_sha256: str | None = None
    """Of the device that used it."""
    certificate_der: bytes | None = None
    """What it got."""

    def state(self, now: datetime) -> str:
        """open, used, withdrawn, locked or expired."""
        if self.used_at is not None:
            return "used"
        if self.withdrawn_at is not None:
            return "withdrawn"
        if self.wrong_tries >= MOST_WRONG_TRIES:
            return "locked"
        return "expired" if now >= self.expires_at else "open"


class ProposalState(StrEnum):
    """Where a proposed event stands."""

    AWAITING = "awaiting approval"
    APPROVED = "approved"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An event, or a modification of one, that waits for a second person."""

    proposal_id: str
    event: Event
    """The draft; its eventID is that under which it will be published."""
    expected_modification: int | None
    """Of the event it changes; None for a new one."""
    state: ProposalState
    proposed_at: datetime
    proposed_by: str
    decided_at: datetime | None = None
    decided_by: str = ""
    remark: str = ""
    """Why it was declined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An order to begin from."""

    name: str
    order: EventOrder
    version: int
    """Rises with every change, so that two operators cannot overwrite each other."""
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """What tells a request that comes again from another one (Idempotency-Key)."""

    key: str
    body_sha256: str
