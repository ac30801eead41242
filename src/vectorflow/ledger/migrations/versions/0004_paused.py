"""Why a job is paused, and documents that run alone."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add columns that an older release does not need."""
    op.add_column("jobs", sa.Column("paused", sa.JSON(none_as_null=True)))
    _comment(
        "jobs",
        "docs_total is NULL until the listing ends; listing_until is the lister's lease."
        " document_id is what a webhook is told. paused: why, and what to do.",
    )
    op.add_column("batches", sa.Column("cut_from", Id))
    op.add_column("batches", sa.Column("excused", sa.Integer()))
    _comment(
        "batches",
        "Whole documents (versions.batch_id), or one part of one (version_id, part)."
        " cut_from: the batch over which workers died, of which this is one document."
        " excused: how many of its lost leases came before it last got on.",
    )


def _comment(table: str, comment: str) -> None:
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment(table, comment)
