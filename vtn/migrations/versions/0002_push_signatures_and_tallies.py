# SPDX-License-Identifier: Apache-2.0
"""Push, signatures, what VENs ask of us, and what came of each report request."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("vens", sa.Column("certificate_der", sa.LargeBinary(), nullable=True))
    op.add_column("vens", sa.Column("push_address", sa.Text(), nullable=True))
    op.add_column(
        "vens",
        sa.Column("xml_signature", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column(
        "report_requests",
        sa.Column("to_follow", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column(
        "report_requests", sa.Column("tally", sa.Text(), server_default="", nullable=False)
    )
    op.create_table(
        "nonces",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sender", "value"),
    )
    op.create_index(op.f("ix_nonces_sent_at"), "nonces", ["sent_at"], unique=False)
    op.create_table(
        "metadata_subscriptions",
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("report_request_id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["ven_id"],
            ["vens.ven_id"],
        ),
        sa.PrimaryKeyConstraint("ven_id", "report_request_id"),
    )


def downgrade() -> None:
    op.drop_table("metadata_subscriptions")
    op.drop_index(op.f("ix_nonces_sent_at"), table_name="nonces")
    op.drop_table("nonces")
    for column in ("tally", "to_follow"):
        op.drop_column("report_requests", column)
    for column in ("xml_signature", "push_address", "certificate_der"):
        op.drop_column("vens", column)
