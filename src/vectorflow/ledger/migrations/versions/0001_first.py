"""The ledger as it was first released."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True)
# A key of MariaDB may have 3072 bytes, and four for each character would be more.
Scope = sa.String(length=256).with_variant(sa.VARBINARY(1024), "mariadb")
ExternalId = sa.String(length=1024).with_variant(sa.VARBINARY(2000), "mariadb")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_keys",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        comment="SHA-256 of each key; the key itself is shown once and kept nowhere.",
    )
    op.create_table(
        "attempts",
        sa.Column("batch_id", Id, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("error", sa.String(length=64), nullable=True),
        sa.Column("chunks_embedded", sa.Integer(), nullable=False),
        sa.Column("embedding_calls", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "epoch", name=op.f("pk_attempts")),
        comment="One row at the end of each try.",
    )
    op.create_table(
        "batches",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("index_id", Id, nullable=False),
        sa.Column("pipeline_id", Id, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("version_id", Id, nullable=True),
        sa.Column("part", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("virtual_time", sa.Double(), nullable=False),
        sa.Column("run_at", sa.Double(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("leased_at", sa.Double(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("vectors", Json, nullable=False),
        sa.Column("last_error", Json, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        comment="Whole documents (versions.batch_id), or one part of one (version_id, part).",
    )
    op.create_index(
        op.f("ix_batches_index_id_state"), "batches", ["index_id", "state"], unique=False
    )
    op.create_index(op.f("ix_batches_job_id_state"), "batches", ["job_id", "state"], unique=False)
    op.create_index(
        op.f("ix_batches_state_kind_lane_virtual_time_run_at_id"),
        "batches",
        ["state", "kind", "lane", "virtual_time", "run_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_batches_state_lease_until"), "batches", ["state", "lease_until"], unique=False
    )
    op.create_index(op.f("ix_batches_version_id"), "batches", ["version_id"], unique=False)
    op.create_table(
        "documents",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("index_id", Id, nullable=False),
        sa.Column("scope", Scope, nullable=False),
        sa.Column("external_id", ExternalId, nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("live_version", Id, nullable=True),
        sa.Column("open_version", Id, nullable=True),
        sa.Column("next_version", Id, nullable=True),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.UniqueConstraint(
            "index_id", "scope", "external_id", name=op.f("uq_documents_index_id_scope_external_id")
        ),
        comment="live: what searches serve; open: being indexed; next: waits for it.",
    )
    op.create_index(
        op.f("ix_documents_index_id_external_id"),
        "documents",
        ["index_id", "external_id"],
        unique=False,
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("next_run_at", sa.Double(), nullable=False),
        sa.Column("last_run_at", sa.Double(), nullable=True),
        sa.Column("last_result", sa.String(length=256), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
        comment="Recurring work, claimed by compare-and-set on next_run_at.",
    )
    op.create_table(
        "identity",
        sa.Column("ledger", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("ledger", name=op.f("pk_identity")),
        comment="One row: the name under which this ledger marks its indexes.",
    )
    op.create_table(
        "indexes",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("locator", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("incarnation", sa.String(length=36), nullable=False),
        sa.Column("written", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_indexes")),
        sa.UniqueConstraint(
            "tenant", "locator", "name", name=op.f("uq_indexes_tenant_locator_name")
        ),
        comment="`written` once a batch was stored: from then on a store without it has lost it.",
    )
    op.create_table(
        "jobs",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("index_id", Id, nullable=False),
        sa.Column("pipeline_id", Id, nullable=False),
        sa.Column("scope", Scope, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("docs_total", sa.Integer(), nullable=True),
        sa.Column("docs_done", sa.Integer(), nullable=False),
        sa.Column("docs_failed", sa.Integer(), nullable=False),
        sa.Column("cleanup_open", sa.Integer(), nullable=False),
        sa.Column("listing_until", sa.Double(), nullable=True),
        sa.Column("lister", sa.String(length=32), nullable=True),
        sa.Column("documents_new", sa.Integer(), nullable=False),
        sa.Column("documents_changed", sa.Integer(), nullable=False),
        sa.Column("documents_unchanged", sa.Integer(), nullable=False),
        sa.Column("documents_gone", sa.Integer(), nullable=False),
        sa.Column("records_new", sa.Integer(), nullable=False),
        sa.Column("records_old", sa.Integer(), nullable=False),
        sa.Column("chunks_embedded", sa.Integer(), nullable=False),
        sa.Column("embedding_calls", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=256), nullable=True),
        sa.Column("request_hash", sa.String(length=32), nullable=True),
        sa.Column("error", Json, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint(
            "tenant", "idempotency_key", name=op.f("uq_jobs_tenant_idempotency_key")
        ),
        comment="docs_total is NULL until the listing ends; listing_until is the lister's lease.",
    )
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"], unique=False)
    op.create_table(
        "parts",
        sa.Column("version_id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("blob", sa.String(length=256), nullable=False),
        sa.Column("row_start", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("resume_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "number", name=op.f("pk_parts")),
        comment="The manifest of a version: rows of part files.",
    )
    op.create_index(op.f("ix_parts_blob"), "parts", ["blob"], unique=False)
    op.create_table(
        "pipelines",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("spec", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipelines")),
        sa.UniqueConstraint("tenant", "digest", name=op.f("uq_pipelines_tenant_digest")),
        comment="The settings of jobs, one row per distinct set; never changed.",
    )
    op.create_table(
        "versions",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("document_id", Id, nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("pipeline_id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("batch_id", Id, nullable=True),
        sa.Column("base_version", Id, nullable=True),
        sa.Column("raw_hash", sa.String(length=32), nullable=False),
        sa.Column("recipe_hash", sa.String(length=32), nullable=False),
        sa.Column("extractor", sa.String(length=64), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("blob", sa.String(length=256), nullable=True),
        sa.Column("blob_start", sa.BigInteger(), nullable=True),
        sa.Column("blob_length", sa.BigInteger(), nullable=True),
        sa.Column("parts_total", sa.Integer(), nullable=True),
        sa.Column("parts_done", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("new_rows", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Boolean(), nullable=False),
        sa.Column("error", Json, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        comment="batch_id: the open group batch that holds it. lost: a batch of it lost its lease.",
    )
    op.create_index(op.f("ix_versions_batch_id"), "versions", ["batch_id"], unique=False)
    op.create_index(op.f("ix_versions_document_id"), "versions", ["document_id"], unique=False)
    op.create_index(op.f("ix_versions_job_id_state"), "versions", ["job_id", "state"], unique=False)
