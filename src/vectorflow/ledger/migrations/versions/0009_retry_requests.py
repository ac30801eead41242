"""Requests to retry that came with an idempotency key."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add a table that an older release does not need."""
    op.create_table(
        "retry_requests",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(256), nullable=False),
        sa.Column("request_hash", sa.String(32), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("jobs", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "idempotency_key", name=op.f("pk_retry_requests")),
        comment="What retries with an idempotency key did, so that the same request does it once."
        " ended: it looked at all jobs that it was for.",
    )
    op.create_index("ix_retry_requests_created_at", "retry_requests", ["created_at"])
