# SPDX-License-Identifier: Apache-2.0
"""The tables of the VTN. Rows never leave the store; its modules give back plain values.

vens ─┬─ resources            events ─┬─ event_versions (every modification, kept)
      ├─ group_members ─ ven_groups   ├─ event_targets  (one line per VEN: how far it has come)
      ├─ report_offers                └─ event_responses (every answer, kept)
      ├─ report_requests
      ├─ series ─ measurement_blocks  market_contexts
      │        └─ rollups             rollups_due (blocks that changed since; filled by triggers)
      ├─ opts                         audit (append only)
      ├─ outbox                       nonces (of signed messages, while they could be replayed)
      ├─ report_days (how much came)   enrolment_codes, enrolment_failures
      └─ metadata_subscriptions (our metadata, wanted periodically)
"""

from datetime import UTC, date, datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant; SQLite knows no zones and keeps it without."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


_Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up INTEGER keys only


class Table(DeclarativeBase):
    """What all tables are declared by."""

    type_annotation_map = {str: Text(), datetime: Instant(), bytes: LargeBinary()}  # noqa: RUF012 - SQLAlchemy reads it so


def _ven() -> Mapped[str]:
    return mapped_column(ForeignKey("vens.ven_id"), primary_key=True)


class VenRow(Table):
    __tablename__ = "vens"

    ven_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    certificate_sha256: Mapped[str] = mapped_column(unique=True)
    added_at: Mapped[datetime]
    added_by: Mapped[str]
    revoked_at: Mapped[datetime | None]
    registration_id: Mapped[str | None] = mapped_column(unique=True)
    registered_at: Mapped[datetime | None]
    report_only: Mapped[bool] = mapped_column(server_default=false())
    poll_interval_s: Mapped[float | None]
    last_contact_at: Mapped[datetime | None]
    certificate_der: Mapped[bytes | None]
    push_address: Mapped[str | None]
    """Where it is pushed to; NULL for a VEN that polls."""
    xml_signature: Mapped[bool] = mapped_column(server_default=false())
    next_certificate_sha256: Mapped[str | None] = mapped_column(index=True, unique=True)
    """Renewed and not used yet; both are let in until it is."""
    next_certificate_der: Mapped[bytes | None]


class ResourceRow(Table):
    __tablename__ = "resources"

    ven_id: Mapped[str] = _ven()
    resource_id: Mapped[str] = mapped_column(primary_key=True, index=True)


class GroupRow(Table):
    __tablename__ = "ven_groups"

    group_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class MemberRow(Table):
    __tablename__ = "group_members"

    group_id: Mapped[str] = mapped_column(ForeignKey("ven_groups.group_id"), primary_key=True)
    ven_id: Mapped[str] = _ven()


class MarketContextRow(Table):
    __tablename__ = "market_contexts"

    uri: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class EventRow(Table):
    __tablename__ = "events"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    modification_number: Mapped[int]
    cancelled: Mapped[bool]
    market_context: Mapped[str]
    starts_at: Mapped[datetime] = mapped_column(index=True)
    over_at: Mapped[datetime | None] = mapped_column(index=True)
    """End of the active period and its tolerance; NULL is open-ended."""
    published_at: Mapped[datetime]
    published_by: Mapped[str]


class EventVersionRow(Table):
    __tablename__ = "event_versions"

    event_id: Mapped[str] = mapped_column(ForeignKey("events.event_id"), primary_key=True)
    modification_number: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[str]
    """The oadr.event.Event as JSON, its target as the operator gave it."""
    at: Mapped[datetime]
    by: Mapped[str]


class EventTargetRow(Table):
    __tablename__ = "event_targets"
    __table_args__ = (Index("ix_event_targets_ven", "ven_id", "event_id"),)

    event_id: Mapped[str] = mapped_column(ForeignKey("events.event_id"), primary_key=True)
    ven_id: Mapped[str] = _ven()
    target: Mapped[str]
    """The oadr.Target this VEN is shown, as JSON."""
    withdrawn_modification: Mapped[int | None]
    """The modification that dropped this VEN: to it the event is cancelled from then on."""
    handed_modification: Mapped[int | None]
    handed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    acknowledged_modification: Mapped[int | None]


class ResponseRow(Table):
    __tablename__ = "event_responses"
    __table_args__ = (Index("ix_event_responses_event", "event_id", "ven_id", "number"),)

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("events.event_id"))
    ven_id: Mapped[str] = mapped_column(ForeignKey("vens.ven_id"))
    modification_number: Mapped[int]
    opt_type: Mapped[str]
    response_code: Mapped[str]
    description: Mapped[str]
    at: Mapped[datetime]


class OptRow(Table):
    __tablename__ = "opts"
    __table_args__ = (
        Index("ix_opts_opt", "ven_id", "opt_id"),
        Index("ix_opts_event", "event_id", "ven_id"),
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    ven_id: Mapped[str] = mapped_column(ForeignKey("vens.ven_id"))
    opt_id: Mapped[str]
    opt_type: Mapped[str]
    scope: Mapped[str]
    """A resourceID; "" for the whole VEN."""
    device_class: Mapped[str]
    market_context: Mapped[str]
    event_id: Mapped[str | None] = mapped_column(ForeignKey("events.event_id"))
    document: Mapped[str]
    """The oadr.opt.CreateOpt as JSON."""
    received_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str] = mapped_column(server_default="")


class OfferRow(Table):
    __tablename__ = "report_offers"

    ven_id: Mapped[str] = _ven()
    specifier_id: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str]
    """The oadr.report.Report (metadata) as JSON."""
    received_at: Mapped[datetime]


class RequestRow(Table):
    __tablename__ = "report_requests"

    report_request_id: Mapped[str] = mapped_column(primary_key=True)
    ven_id: Mapped[str] = mapped_column(ForeignKey("vens.ven_id"), index=True)
    report_name: Mapped[str]
    document: Mapped[str]
    """The oadr.report.ReportRequest as JSON."""
    state: Mapped[str]
    asked_at: Mapped[datetime]
    asked_by: Mapped[str]
    last_update_at: Mapped[datetime | None]
    remark: Mapped[str] = mapped_column(server_default="")
    to_follow: Mapped[bool] = mapped_column(server_default=false())
    """One final report is wanted when it is cancelled."""
    tally: Mapped[str] = mapped_column(server_default="")
    """The vtn.tally.Tally as JSON; "" while nothing has come."""


class SeriesRow(Table):
    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("ven_id", "r_id", "facet", name="uq_series"),)

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    ven_id: Mapped[str] = mapped_column(ForeignKey("vens.ven_id"))
    r_id: Mapped[str]
    facet: Mapped[str]
    report_name: Mapped[str]
    report_type: Mapped[str]
    unit: Mapped[str]
    resource_ids: Mapped[str]
    """JSON list."""


class BlockRow(Table):
    __tablename__ = "measurement_blocks"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy reads it so

    series: Mapped[int] = mapped_column(
        _Number, ForeignKey("series.number"), primary_key=True, autoincrement=False
    )
    starts_at: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=False)
    """Seconds since 1970, a multiple of vtn.blocks.BLOCK_S."""
    samples: Mapped[bytes]
    """vtn.blocks.pack."""


class MessageRow(Table):
    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_ven", "ven_id", "number"),)

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    ven_id: Mapped[str] = mapped_column(ForeignKey("vens.ven_id"))
    kind: Mapped[str]
    """Wire name: "oadrCreateReport" ..."""
    request_id: Mapped[str]
    """What the logical answer names; "" where the answer names nothing."""
    subjects: Mapped[str]
    """JSON list of the reportRequestIDs it is about."""
    body: Mapped[str]
    """The whole oadrPayload."""
    queued_at: Mapped[datetime]
    handed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))


class RollupRow(Table):
    """One vtn.rollups.Rollup."""

    __tablename__ = "rollups"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy reads it so

    series: Mapped[int] = mapped_column(
        _Number, ForeignKey("series.number"), primary_key=True, autoincrement=False
    )
    starts_at: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=False)
    usable: Mapped[int]
    unusable: Mapped[int]
    covered_s: Mapped[int]
    first_value: Mapped[float | None]
    last_value: Mapped[float | None]
    mean: Mapped[float | None]
    minimum: Mapped[float | None]
    maximum: Mapped[float | None]
    quality: Mapped[str]


class RollupDueRow(Table):
    """A block that was made or changed since it was rolled up; triggers of migration 0003."""

    __tablename__ = "rollups_due"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy reads it so

    starts_at: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=False)
    series: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=False)


class ReportDayRow(Table):
    """How much a VEN reported on one day (UTC)."""

    __tablename__ = "report_days"

    ven_id: Mapped[str] = _ven()
    day: Mapped[date] = mapped_column(primary_key=True)
    messages: Mapped[int] = mapped_column(BigInteger)
    samples: Mapped[int] = mapped_column(BigInteger)


class EnrolmentCodeRow(Table):
    __tablename__ = "enrolment_codes"

    code_id: Mapped[str] = mapped_column(primary_key=True)
    ven_id: Mapped[str]
    """Of a VEN that may not be there yet."""
    name: Mapped[str]
    resources: Mapped[str]
    """JSON list, as groups."""
    groups: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(index=True)
    made_by: Mapped[str]
    expires_at: Mapped[datetime]
    secret_sha256: Mapped[str]
    wrong_tries: Mapped[int] = mapped_column(server_default=text("0"))
    withdrawn_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    key_sha256: Mapped[str | None]
    certificate_der: Mapped[bytes | None]


class EnrolmentFailureRow(Table):
    """Wrong codes from one address (or IPv6 network)."""

    __tablename__ = "enrolment_failures"

    peer: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(index=True)
    tries: Mapped[int]


class NonceRow(Table):
    __tablename__ = "nonces"

    sender: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    sent_at: Mapped[datetime] = mapped_column(index=True)


class SubscriptionRow(Table):
    __tablename__ = "metadata_subscriptions"

    ven_id: Mapped[str] = _ven()
    report_request_id: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str]
    """The oadr.report.ReportRequest as JSON."""
    next_at: Mapped[datetime]


class AuditRow(Table):
    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    act: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    outcome: Mapped[str]
    detail: Mapped[str]
