# SPDX-License-Identifier: Apache-2.0
"""How often passwords were tried of late, counted by all workers together."""

import sqlalchemy as sa
from alembic import op

from vtn.store.tables import Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "login_tries",
        sa.Column("key_sha256", sa.Text(), primary_key=True),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False, index=True),
        sa.Column("tries", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("login_tries")
