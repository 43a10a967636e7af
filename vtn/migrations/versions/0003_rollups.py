# SPDX-License-Identifier: Apache-2.0
"""Rollups of quarter hours, what is due for one, and how much each VEN reported each day.

Nothing that is stored is touched: it takes no longer on ten years of samples than on none. Blocks
that were there before are rolled up when their time to be deleted comes (vtn.upkeep).
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# A trigger and not the code that stores: whatever writes a block, in whatever way and process,
# enters it in the same transaction.
_SQLITE = """
CREATE TRIGGER measurement_blocks_{word} AFTER {act} ON measurement_blocks
WHEN NOT EXISTS (
    SELECT 1 FROM rollups_due WHERE starts_at = NEW.starts_at AND series = NEW.series
)
BEGIN
    INSERT INTO rollups_due (starts_at, series) VALUES (NEW.starts_at, NEW.series);
END
"""
_POSTGRESQL = (
    """
CREATE FUNCTION enter_rollup_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rollups_due (starts_at, series) VALUES (NEW.starts_at, NEW.series)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER measurement_blocks_changed AFTER INSERT OR UPDATE OF samples ON measurement_blocks
FOR EACH ROW EXECUTE FUNCTION enter_rollup_due()
""",
)


def upgrade() -> None:
    op.create_table(
        "rollups",
        sa.Column("series", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("starts_at", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("usable", sa.Integer(), nullable=False),
        sa.Column("unusable", sa.Integer(), nullable=False),
        sa.Column("covered_s", sa.Integer(), nullable=False),
        sa.Column("first_value", sa.Float(), nullable=True),
        sa.Column("last_value", sa.Float(), nullable=True),
        sa.Column("mean", sa.Float(), nullable=True),
        sa.Column("minimum", sa.Float(), nullable=True),
        sa.Column("maximum", sa.Float(), nullable=True),
        sa.Column("quality", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["series"], ["series.number"]),
        sa.PrimaryKeyConstraint("series", "starts_at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollups_due",
        sa.Column("starts_at", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("series", _NUMBER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("starts_at", "series"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "report_days",
        sa.Column("ven_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["vens.ven_id"]),
        sa.PrimaryKeyConstraint("ven_id", "day"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for word, act in (("made", "INSERT"), ("changed", "UPDATE OF samples")):
            op.execute(_SQLITE.format(word=word, act=act))
    else:
        for statement in _POSTGRESQL:
            op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for word in ("made", "changed"):
            op.execute(f"DROP TRIGGER measurement_blocks_{word}")
    else:
        op.execute("DROP TRIGGER measurement_blocks_changed ON measurement_blocks")
        op.execute("DROP FUNCTION enter_rollup_due")
    for table in ("report_days", "rollups_due", "rollups"):
        op.drop_table(table)
