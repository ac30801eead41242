"""Lanes, and what each tenant had of them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add columns and tables that an older release does not need."""
    op.add_column("jobs", sa.Column("lane", sa.Integer()))
    _comment(
        "jobs",
        "docs_total is NULL until the listing ends; listing_until is the lister's lease."
        " document_id is what a webhook is told. paused: why, and what to do."
        " versions_gone: how many of its versions were deleted since. No lane: bulk.",
    )
    op.add_column("batches", sa.Column("cost", sa.Double()))
    _comment(
        "batches",
        "Whole documents (versions.batch_id), or one part of one (version_id, part)."
        " cut_from: the batch over which workers died, of which this is one document."
        " excused: how many of its lost leases came before it last got on."
        " virtual_time: its place in its lane. cost: what its tenant is charged for it.",
    )
    op.create_table(
        "tenants",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_tenants")),
        comment="Those whose weight is not 1.",
    )
    op.create_table(
        "shares",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("began", sa.Double(), nullable=False),
        sa.Column("ends", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "lane", "kind", name=op.f("pk_shares")),
        comment="How far a tenant is in a lane, in virtual time: where its last batch of the kind"
        " begins, and where its next one does at the earliest.",
    )


def _comment(table: str, comment: str) -> None:
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment(table, comment)
