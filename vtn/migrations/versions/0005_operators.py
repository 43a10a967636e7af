# SPDX-License-Identifier: Apache-2.0
"""Users with their sessions and recovery codes; proposed events, templates, idempotency keys."""

import sqlalchemy as sa
from alembic import op

from vtn.store.tables import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("must_change", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("totp_secret", sa.Text()),
        sa.Column("totp_step", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("oidc_subject", sa.Text(), unique=True),
        sa.Column("disabled_at", Instant()),
        sa.Column("last_login_at", Instant()),
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("user", sa.Text(), sa.ForeignKey("users.name"), nullable=False, index=True),
        sa.Column("began_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False, index=True),
        sa.Column("client", sa.Text(), nullable=False),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user", sa.Text(), sa.ForeignKey("users.name"), primary_key=True),
        sa.Column("code_sha256", sa.Text(), primary_key=True),
    )
    op.create_table(
        "event_proposals",
        sa.Column("proposal_id", sa.Text(), primary_key=True),
        sa.Column("event_id", sa.Text(), nullable=False, index=True),
        sa.Column("expected_modification", sa.Integer()),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, index=True),
        sa.Column("proposed_at", Instant(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("decided_at", Instant()),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.Column("remark", sa.Text(), server_default="", nullable=False),
    )
    op.create_table(
        "event_templates",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("actor", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False, index=True),
    )


def downgrade() -> None:
    for table in (
        "idempotency_keys",
        "event_templates",
        "event_proposals",
        "recovery_codes",
        "sessions",
        "users",
    ):
        op.drop_table(table)
