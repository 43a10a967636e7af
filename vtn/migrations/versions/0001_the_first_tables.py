# SPDX-License-Identifier: Apache-2.0
"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"], unique=False)
    op.create_table(
        "events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("modification_number", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("market_context", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index(op.f("ix_events_over_at"), "events", ["over_at"], unique=False)
    op.create_index(op.f("ix_events_starts_at"), "events", ["starts_at"], unique=False)
    op.create_table(
        "market_contexts",
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("uri"),
    )
    op.create_table(
        "ven_groups",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("group_id"),
    )
    op.create_table(
        "vens",
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("certificate_sha256", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("registration_id", sa.Text(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report_only", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("poll_interval_s", sa.Float(), nullable=True),
        sa.Column("last_contact_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("ven_id"),
        sa.UniqueConstraint("certificate_sha256"),
        sa.UniqueConstraint("registration_id"),
    )
    op.create_table(
        "event_responses",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("modification_number", sa.Integer(), nullable=False),
        sa.Column("opt_type", sa.Text(), nullable=False),
        sa.Column("response_code", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.event_id"],
        ),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(
        "ix_event_responses_event",
        "event_responses",
        ["event_id", "ven_id", "number"],
        unique=False,
    )
    op.create_table(
        "event_targets",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("withdrawn_modification", sa.Integer(), nullable=True),
        sa.Column("handed_modification", sa.Integer(), nullable=True),
        sa.Column("handed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("acknowledged_modification", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.event_id"],
        ),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("event_id", "ven_id"),
    )
    op.create_index("ix_event_targets_ven", "event_targets", ["ven_id", "event_id"], unique=False)
    op.create_table(
        "event_versions",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("modification_number", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.event_id"],
        ),
        sa.PrimaryKeyConstraint("event_id", "modification_number"),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["ven_groups.group_id"],
        ),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("group_id", "ven_id"),
    )
    op.create_table(
        "opts",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("opt_id", sa.Text(), nullable=False),
        sa.Column("opt_type", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("device_class", sa.Text(), nullable=False),
        sa.Column("market_context", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.event_id"],
        ),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_opts_event", "opts", ["event_id", "ven_id"], unique=False)
    op.create_index("ix_opts_opt", "opts", ["ven_id", "opt_id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("subjects", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_outbox_ven", "outbox", ["ven_id", "number"], unique=False)
    op.create_table(
        "report_offers",
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("specifier_id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("ven_id", "specifier_id"),
    )
    op.create_table(
        "report_requests",
        sa.Column("report_request_id", sa.Text(), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("report_name", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("last_update_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("remark", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("report_request_id"),
    )
    op.create_index(op.f("ix_report_requests_ven_id"), "report_requests", ["ven_id"], unique=False)
    op.create_table(
        "resources",
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("ven_id", "resource_id"),
    )
    op.create_index(op.f("ix_resources_resource_id"), "resources", ["resource_id"], unique=False)
    op.create_table(
        "series",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("r_id", sa.Text(), nullable=False),
        sa.Column("facet", sa.Text(), nullable=False),
        sa.Column("report_name", sa.Text(), nullable=False),
        sa.Column("report_type", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("resource_ids", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("ven_id", "r_id", "facet", name="uq_series"),
    )
    op.create_table(
        "measurement_blocks",
        sa.Column(
            "series",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "starts_at",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("samples", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series"],
            ["series.number"],
        ),
        sa.PrimaryKeyConstraint("series", "starts_at"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("measurement_blocks")
    op.drop_table("series")
    op.drop_index(op.f("ix_resources_resource_id"), table_name="resources")
    op.drop_table("resources")
    op.drop_index(op.f("ix_report_requests_ven_id"), table_name="report_requests")
    op.drop_table("report_requests")
    op.drop_table("report_offers")
    op.drop_index("ix_outbox_ven", table_name="outbox")
    op.drop_table("outbox")
    op.drop_index("ix_opts_opt", table_name="opts")
    op.drop_index("ix_opts_event", table_name="opts")
    op.drop_table("opts")
    op.drop_table("group_members")
    op.drop_table("event_versions")
    op.drop_index("ix_event_targets_ven", table_name="event_targets")
    op.drop_table("event_targets")
    op.drop_index("ix_event_responses_event", table_name="event_responses")
    op.drop_table("event_responses")
    op.drop_table("vens")
    op.drop_table("ven_groups")
    op.drop_table("market_contexts")
    op.drop_index(op.f("ix_events_starts_at"), table_name="events")
    op.drop_index(op.f("ix_events_over_at"), table_name="events")
    op.drop_table("events")
    op.drop_index(op.f("ix_audit_subject"), table_name="audit")
    op.drop_table("audit")
