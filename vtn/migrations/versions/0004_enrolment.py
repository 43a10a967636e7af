# SPDX-License-Identifier: Apache-2.0
"""One-time codes with which devices enrol, and a VEN's next certificate beside its own."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("vens", sa.Column("next_certificate_sha256", sa.Text(), nullable=True))
    op.add_column("vens", sa.Column("next_certificate_der", sa.LargeBinary(), nullable=True))
    op.create_index(
        op.f("ix_vens_next_certificate_sha256"), "vens", ["next_certificate_sha256"], unique=True
    )
    op.create_table(
        "enrolment_codes",
        sa.Column("code_id", sa.Text(), nullable=False),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("wrong_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("key_sha256", sa.Text(), nullable=True),
        sa.Column("certificate_der", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("code_id"),
    )
    op.create_index(op.f("ix_enrolment_codes_made_at"), "enrolment_codes", ["made_at"])
    op.create_table(
        "enrolment_failures",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("peer"),
    )
    op.create_index(op.f("ix_enrolment_failures_since"), "enrolment_failures", ["since"])


def downgrade() -> None:
    op.drop_index(op.f("ix_enrolment_failures_since"), table_name="enrolment_failures")
    op.drop_table("enrolment_failures")
    op.drop_index(op.f("ix_enrolment_codes_made_at"), table_name="enrolment_codes")
    op.drop_table("enrolment_codes")
    op.drop_index(op.f("ix_vens_next_certificate_sha256"), table_name="vens")
    op.drop_column("vens", "next_certificate_der")
    op.drop_column("vens", "next_certificate_sha256")
