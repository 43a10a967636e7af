# SPDX-License-Identifier: Apache-2.0
"""What was said with VENs of late: a ring that old messages fall out of."""

import sqlalchemy as sa
from alembic import op

from vtn.store.tables import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "conversation",
        sa.Column("number", number, primary_key=True),
        sa.Column("at", Instant(), nullable=False, index=True),
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("pushed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("request_kind", sa.Text(), nullable=False),
        sa.Column("reply_kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("wrong", sa.Boolean(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("request_bytes", sa.Integer(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_conversation_ven", "conversation", ["ven_id", "number"])
    op.create_index("ix_conversation_wrong", "conversation", ["wrong", "number"])


def downgrade() -> None:
    op.drop_table("conversation")
