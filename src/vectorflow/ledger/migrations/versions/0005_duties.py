"""How duties ended, and what retention has deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add columns that an older release does not need."""
    op.add_column("duties", sa.Column("every", sa.Double()))
    op.add_column("duties", sa.Column("ended_at", sa.Double()))
    op.add_column("duties", sa.Column("error", sa.String(64)))
    _comment(
        "duties",
        "Recurring work, claimed by compare-and-set on next_run_at; every so many seconds."
        " A run began at last_run_at, and ended at ended_at unless that is earlier."
        " error: its code.",
    )
    op.add_column("jobs", sa.Column("versions_gone", sa.Integer()))
    _comment(
        "jobs",
        "docs_total is NULL until the listing ends; listing_until is the lister's lease."
        " document_id is what a webhook is told. paused: why, and what to do."
        " versions_gone: how many of its versions were deleted since.",
    )


def _comment(table: str, comment: str) -> None:
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment(table, comment)
