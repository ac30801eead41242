"""The ledger's tables. Every row carries a tenant; `*_at` and `*_until` are seconds since 1970.

Writes lock rows in one order: batches, versions, documents, waiting versions of those documents,
jobs, buckets; within a table by id. A request to retry is locked before all of them. Documents that
are attached to others are looked for first and locked together with them; one that was attached in
between is locked after them. Shares come last of all, in order of their key, right before the
commit. There are no foreign keys: they would lock parents outside that order.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from vectorflow.ledger.columns import ExternalId, Id, Json, Scope

BY_ID = "FORCE INDEX (PRIMARY)"
"""MariaDB also locks what it passes in another index, and that may be somebody else's row."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

identity = Table(
    "identity",
    metadata,
    Column("ledger", String(36), primary_key=True),
    Column("oldest", String(32)),
    comment="One row: the name under which this ledger marks its indexes."
    " oldest: the schema whose code may still use it, and all newer.",
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("digest", String(32), nullable=False),
    Column("spec", Json, nullable=False),
    UniqueConstraint("tenant", "digest"),
    comment="The settings of jobs, one row per distinct set; never changed.",
)

indexes = Table(
    "indexes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("locator", String(512), nullable=False),
    Column("name", String(128), nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("model", String(256), nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("incarnation", String(36), nullable=False),
    Column("written", Boolean, nullable=False),
    UniqueConstraint("tenant", "locator", "name"),
    comment="`written` once a batch was stored: from then on a store without it has lost it.",
)

documents = Table(
    "documents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("index_id", Id, nullable=False),
    Column("scope", Scope, nullable=False),
    Column("external_id", ExternalId, nullable=False),
    Column("last_version", Integer, nullable=False),
    Column("live_version", Id),
    Column("open_version", Id),
    Column("next_version", Id),
    Column("deleted_at", Double),
    Column("parent_id", Id),
    UniqueConstraint("index_id", "scope", "external_id"),
    Index(None, "index_id", "external_id"),
    Index(None, "parent_id"),
    comment="live: what searches serve; open: being indexed; next: waits for it."
    " parent: the document that it is attached to.",
)

versions = Table(
    "versions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("document_id", Id, nullable=False),
    Column("job_id", Id, nullable=False),
    Column("pipeline_id", Id, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("batch_id", Id),
    Column("base_version", Id),
    Column("raw_hash", String(32), nullable=False),
    Column("recipe_hash", String(32), nullable=False),
    Column("extractor", String(64), nullable=False),
    Column("uri", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("blob", String(256)),
    Column("blob_start", BigInteger),
    Column("blob_length", BigInteger),
    Column("parts_total", Integer),
    Column("parts_done", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("new_rows", Integer, nullable=False),
    Column("lost", Boolean, nullable=False),
    Column("error", Json),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Index(None, "document_id"),
    Index(None, "batch_id"),
    Index(None, "job_id", "state"),
    comment="batch_id: the open group batch that holds it. lost: a batch of it lost its lease.",
)

parts = Table(
    "parts",
    metadata,
    Column("version_id", Id, nullable=False),
    Column("number", Integer, nullable=False),
    Column("blob", String(256), nullable=False),
    Column("row_start", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("resume_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("version_id", "number"),
    Index(None, "blob"),
    comment="The manifest of a version: rows of part files.",
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("index_id", Id, nullable=False),
    Column("pipeline_id", Id, nullable=False),
    Column("scope", Scope, nullable=False),
    Column("state", String(16), nullable=False),
    Column("docs_total", Integer),
    Column("docs_done", Integer, nullable=False),
    Column("docs_failed", Integer, nullable=False),
    Column("cleanup_open", Integer, nullable=False),
    Column("listing_until", Double),
    Column("lister", String(32)),
    Column("documents_new", Integer, nullable=False),
    Column("documents_changed", Integer, nullable=False),
    Column("documents_unchanged", Integer, nullable=False),
    Column("documents_gone", Integer, nullable=False),
    Column("records_new", Integer, nullable=False),
    Column("records_old", Integer, nullable=False),
    Column("chunks_embedded", Integer, nullable=False),
    Column("embedding_calls", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("idempotency_key", String(256)),
    Column("request_hash", String(32)),
    Column("document_id", ExternalId),
    Column("error", Json),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("paused", Json),
    Column("versions_gone", Integer),
    Column("lane", Integer),
    UniqueConstraint("tenant", "idempotency_key"),
    Index(None, "state"),
    comment="docs_total is NULL until the listing ends; listing_until is the lister's lease."
    " document_id is what a webhook is told. paused: why, and what to do."
    " versions_gone: how many of its versions were deleted since. No lane: bulk.",
)

batches = Table(
    "batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("job_id", Id, nullable=False),
    Column("index_id", Id, nullable=False),
    Column("pipeline_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("version_id", Id),
    Column("part", Integer),
    Column("state", String(16), nullable=False),
    Column("lane", Integer, nullable=False),
    Column("virtual_time", Double, nullable=False),
    Column("run_at", Double, nullable=False),
    Column("lease_owner", String(128)),
    Column("lease_epoch", Integer, nullable=False),
    Column("lease_until", Double),
    Column("leased_at", Double),
    Column("attempt", Integer, nullable=False),
    Column("lost", Integer, nullable=False),
    Column("vectors", Json, nullable=False),
    Column("last_error", Json),
    Column("cut_from", Id),
    Column("excused", Integer),
    Column("cost", Double),
    Column("bucket_id", Id),
    Index(None, "state", "kind", "lane", "virtual_time", "run_at", "id"),
    Index(None, "state", "lease_until"),
    Index(None, "index_id", "state"),
    Index(None, "job_id", "state"),
    Index(None, "version_id"),
    Index(None, "bucket_id"),
    comment="Whole documents (versions.batch_id), or one part of one (version_id, part)."
    " cut_from: the batch over which workers died, of which this is one document."
    " excused: how many of its lost leases came before it last got on."
    " virtual_time: its place in its lane. cost: what its tenant is charged for it."
    " bucket_id: while paused, the system that it waits for.",
)

tenants = Table(
    "tenants",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("weight", Double, nullable=False),
    comment="Those whose weight is not 1.",
)

shares = Table(
    "shares",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("lane", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("began", Double, nullable=False),
    Column("ends", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "lane", "kind"),
    comment="How far a tenant is in a lane, in virtual time: where its last batch of the kind"
    " begins, and where its next one does at the earliest.",
)

buckets = Table(
    "buckets",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(640), nullable=False),
    Column("state", String(16), nullable=False),
    Column("paused_until", Double, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("away_since", Double, nullable=False),
    Column("failed_at", Double, nullable=False),
    Column("answered_at", Double),
    Column("error", Json, nullable=False),
    UniqueConstraint("kind", "name"),
    comment="Systems that were away. failures: since it last answered; a row is written when that"
    " changes, not for each batch that goes well.",
)

retry_requests = Table(
    "retry_requests",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("idempotency_key", String(256), nullable=False),
    Column("request_hash", String(32), nullable=False),
    Column("documents", Integer, nullable=False),
    Column("jobs", Json, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "idempotency_key"),
    Index(None, "created_at"),
    comment="What retries with an idempotency key did, so that the same request does it once."
    " ended: it looked at all jobs that it was for.",
)

attempts = Table(
    "attempts",
    metadata,
    Column("batch_id", Id, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", String(64)),
    Column("chunks_embedded", Integer, nullable=False),
    Column("embedding_calls", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False),
    PrimaryKeyConstraint("batch_id", "epoch"),
    comment="One row at the end of each try.",
)

duties = Table(
    "duties",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("next_run_at", Double, nullable=False),
    Column("last_run_at", Double),
    Column("last_result", String(256)),
    Column("every", Double),
    Column("ended_at", Double),
    Column("error", String(64)),
    comment="Recurring work, claimed by compare-and-set on next_run_at; every so many seconds."
    " A run began at last_run_at, and ended at ended_at unless that is earlier. error: its code.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("scopes", Json),
    Column("expires_at", Double),
    comment="SHA-256 of each key; the key itself is shown once and kept nowhere."
    " No scopes: it may do all. revoked_at may lie ahead, while keys are rotated.",
)

credentials = Table(
    "credentials",
    metadata,
    Column("job_id", Id, primary_key=True, autoincrement=False),
    Column("tenant", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    comment="What came with a request; deleted when its job ends.",
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("tenant", "name"),
    comment="Keys of providers and stores that a tenant keeps here, by name of the plugin.",
)
