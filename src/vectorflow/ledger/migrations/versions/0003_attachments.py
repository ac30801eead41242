"""Documents that are attached to others."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add a column that an older release does not need."""
    op.add_column("documents", sa.Column("parent_id", Id))
    op.create_index(op.f("ix_documents_parent_id"), "documents", ["parent_id"])
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment(
            "documents",
            "live: what searches serve; open: being indexed; next: waits for it."
            " parent: the document that it is attached to.",
        )
