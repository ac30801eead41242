"""Systems that are away, and the batches that wait for them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add a table, and a column that an older release does not need."""
    op.create_table(
        "buckets",
        sa.Column("id", Id, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(640), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("paused_until", sa.Double(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("away_since", sa.Double(), nullable=False),
        sa.Column("failed_at", sa.Double(), nullable=False),
        sa.Column("answered_at", sa.Double()),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=False),
        sa.UniqueConstraint("kind", "name", name="uq_buckets_kind_name"),
        comment="Systems that were away. failures: since it last answered; a row is written when"
        " that changes, not for each batch that goes well.",
    )
    op.add_column("batches", sa.Column("bucket_id", Id))
    op.create_index("ix_batches_bucket_id", "batches", ["bucket_id"])
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment(
            "batches",
            "Whole documents (versions.batch_id), or one part of one (version_id, part)."
            " cut_from: the batch over which workers died, of which this is one document."
            " excused: how many of its lost leases came before it last got on."
            " virtual_time: its place in its lane. cost: what its tenant is charged for it."
            " bucket_id: while paused, the system that it waits for.",
        )
