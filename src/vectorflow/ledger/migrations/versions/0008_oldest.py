"""Which releases may use the ledger, beside the one that upgraded it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add a column that an older release does not need."""
    op.add_column("identity", sa.Column("oldest", sa.String(32)))
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment(
            "identity",
            "One row: the name under which this ledger marks its indexes."
            " oldest: the schema whose code may still use it, and all newer.",
        )
