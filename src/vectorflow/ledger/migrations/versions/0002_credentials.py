"""Sealed credentials, scopes and ends of keys, what a webhook is told."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add tables and columns that an older release does not need."""
    op.create_table(
        "credentials",
        sa.Column("job_id", Id, autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_credentials")),
        comment="What came with a request; deleted when its job ends.",
    )
    op.create_table(
        "secrets",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secrets")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_secrets_tenant_name")),
        comment="Keys of providers and stores that a tenant keeps here, by name of the plugin.",
    )
    document_id = sa.String(length=1024).with_variant(sa.VARBINARY(2000), "mariadb")
    op.add_column("jobs", sa.Column("document_id", document_id))
    _comment(
        "jobs",
        "docs_total is NULL until the listing ends; listing_until is the lister's lease."
        " document_id is what a webhook is told.",
    )
    op.add_column("api_keys", sa.Column("scopes", sa.JSON(none_as_null=True)))
    op.add_column("api_keys", sa.Column("expires_at", sa.Double()))
    _comment(
        "api_keys",
        "SHA-256 of each key; the key itself is shown once and kept nowhere."
        " No scopes: it may do all. revoked_at may lie ahead, while keys are rotated.",
    )


def _comment(table: str, comment: str) -> None:
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment(table, comment)
