"""Read models: what people are shown of jobs, failures and indexes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from vectorflow.domain.access import command_for
from vectorflow.domain.jobs import BatchKind, BatchState, JobState, VersionState
from vectorflow.domain.manifests import Part
from vectorflow.errors import NotFound
from vectorflow.ledger import clock
from vectorflow.ledger.claims import load_parts
from vectorflow.ledger.tables import (
    attempts,
    batches,
    documents,
    duties,
    indexes,
    jobs,
    parts,
    versions,
)
from vectorflow.ledger.waits import Waiting, waits_of


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job as it stands."""

    id: int
    state: JobState
    index_id: int
    index: str
    scope: str
    docs_total: int | None
    """None while documents are still being listed."""
    docs_done: int
    docs_failed: int
    cleanup_open: int
    documents_new: int
    documents_changed: int
    documents_unchanged: int
    documents_gone: int
    records_new: int
    records_old: int
    chunks_embedded: int
    embedding_calls: int
    tokens: int
    error: dict[str, object] | None
    paused: dict[str, object] | None
    """Why it waits, and what to do: `reason`, `stage`, `message`, `fix`."""
    created_at: float
    ended_at: float | None
    started: bool
    """Some batch of it was tried already."""
    waiting: Waiting | None = None
    """What is away that it cannot do without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far the documents of a job are cut."""

    extracted: int
    """Documents whose chunks are all known."""
    chunks: int
    """New chunks known so far; some may take their vector from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureView:
    """A dead letter: one document version that was given up."""

    job: int
    external_id: str
    uri: str
    attempted_version: int
    served_version: int | None
    """The version searches still serve; None if there is none."""
    code: str
    message: str
    fix: str
    stage: str
    retryable: bool
    attempts: int
    chunk: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadView:
    """How far an upload is."""

    extracting: bool
    """The job has documents to extract that need not wait for others."""
    parts: int
    """Parts committed so far: the embed batches, as if all chunks were new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDocument:
    """What a search needs to know of a document that may have a hit."""

    id: int
    external_id: str
    uri: str
    number: int
    """Of the live version."""
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyView:
    """When a recurring duty ran last, and what came of it."""

    name: str
    every: float | None
    """Seconds between two runs."""
    last_run_at: float | None
    ended_at: float | None
    """When a run ended last, well or not."""
    last_result: str | None
    error: str | None
    """Code of the error that the last run ended with."""
    next_run_at: float

    @property
    def running(self) -> bool:
        """A run has begun and not ended, or its process did."""
        return (self.ended_at or 0.0) < (self.last_run_at or 0.0)


def job(connection: Connection, *, tenant: str, id: int) -> JobView:
    """Read one job.

    Raises:
        NotFound: This tenant has no such job.
    """
    found = job_list(connection, tenant=tenant, ids=[id])
    if not found:
        message = f"there is no job {id}"
        raise NotFound(message, fix=f"{command_for(tenant, 'jobs list')} shows the jobs there are")
    return found[0]


def job_list(
    connection: Connection, *, tenant: str, ids: Sequence[int] | None = None, limit: int = 100
) -> list[JobView]:
    """Read jobs, the newest first; unknown ids are left out."""
    statement = _newest_jobs(tenant, limit)
    if ids is not None:
        statement = statement.where(jobs.c.id.in_(ids))
    return _job_views(connection, statement)


def job_page(
    connection: Connection,
    *,
    tenant: str,
    limit: int,
    before: int | None = None,
    state: JobState | None = None,
    started: bool | None = None,
) -> list[JobView]:
    """Read the next jobs `before` one, the newest first: of one state, and begun or not."""
    statement = _newest_jobs(tenant, limit)
    if before is not None:
        statement = statement.where(jobs.c.id < before)
    if state is not None:
        statement = statement.where(jobs.c.state == state)
    if started is not None:
        statement = statement.where(_TRIED if started else ~_TRIED)
    return _job_views(connection, statement)


def job_progress(connection: Connection, *, id: int) -> JobProgress:
    """Sum up the versions of a job; it reads all of them, so ask rarely for a large one."""
    row = connection.execute(
        select(
            func.count(versions.c.parts_total), func.coalesce(func.sum(versions.c.new_rows), 0)
        ).where(
            versions.c.job_id == id,
            versions.c.raw_hash != "",  # neither gone nor unreadable
            versions.c.state != VersionState.RETRIED,
        )
    ).one()
    return JobProgress(extracted=row[0], chunks=int(row[1]))


def failures(
    connection: Connection, *, tenant: str, job: int | None = None, limit: int = 1000
) -> list[FailureView]:
    """Read dead letters, the newest first; of all jobs: those no later version has replaced."""
    live = versions.alias("live")
    statement = (
        select(versions, documents.c.external_id, live.c.number.label("served"))
        .join(documents, documents.c.id == versions.c.document_id)
        .join(live, live.c.id == documents.c.live_version, isouter=True)
        .where(versions.c.tenant == tenant, versions.c.state == VersionState.FAILED)
        .order_by(versions.c.id.desc())
        .limit(limit)
    )
    if job is not None:
        statement = statement.where(versions.c.job_id == job)
    else:
        statement = statement.where(versions.c.number == documents.c.last_version)
    return [_failure_view(row) for row in connection.execute(statement)]


def failed_by_tenant(connection: Connection) -> dict[str, int]:
    """Count what `failures` lists of all jobs, of every tenant; it reads all versions."""
    counted = (
        select(versions.c.tenant, func.count())
        .join(documents, documents.c.id == versions.c.document_id)
        .where(
            versions.c.state == VersionState.FAILED,
            versions.c.number == documents.c.last_version,
        )
        .group_by(versions.c.tenant)
    )
    return {row[0]: row[1] for row in connection.execute(counted.order_by(versions.c.tenant))}


def paused_by_tenant(connection: Connection) -> dict[str, int]:
    """Count the jobs that are paused, of every tenant."""
    paused = select(jobs.c.tenant, func.count()).where(jobs.c.state == JobState.PAUSED)
    rows = connection.execute(paused.group_by(jobs.c.tenant).order_by(jobs.c.tenant))
    return {row[0]: row[1] for row in rows}


def records(connection: Connection, *, index: int) -> int:
    """Count the records of an index: those of its live manifests."""
    total = connection.execute(
        select(func.coalesce(func.sum(versions.c.rows), 0))
        .join(documents, documents.c.live_version == versions.c.id)
        .where(documents.c.index_id == index)
    )
    return int(total.scalar_one())


def find_index(connection: Connection, *, tenant: str, locator: str, name: str) -> Row[Any] | None:
    """Read the row of an index, if the ledger knows it."""
    return connection.execute(
        select(indexes).where(
            indexes.c.tenant == tenant, indexes.c.locator == locator, indexes.c.name == name
        )
    ).one_or_none()


def live_documents(
    connection: Connection, *, index: int, external_ids: Sequence[str]
) -> list[LiveDocument]:
    """Read what is live under these ids, of any scope, with its manifest."""
    rows = connection.execute(
        select(
            documents.c.id,
            documents.c.external_id,
            documents.c.live_version,
            versions.c.uri,
            versions.c.number,
        )
        .join(versions, versions.c.id == documents.c.live_version)
        .where(documents.c.index_id == index, documents.c.external_id.in_(external_ids))
    ).all()
    manifests = load_parts(connection, [row.live_version for row in rows])
    return [
        LiveDocument(
            id=row.id,
            external_id=row.external_id,
            uri=row.uri,
            number=row.number,
            parts=tuple(manifests.get(row.live_version, [])),
        )
        for row in rows
    ]


def live_parts(connection: Connection, *, index: int) -> list[Part]:
    """List the parts of all live manifests of an index: its expected content."""
    rows = connection.execute(
        select(documents.c.live_version).where(
            documents.c.index_id == index, documents.c.live_version.is_not(None)
        )
    )
    manifests = load_parts(connection, list(rows.scalars()))
    return [part for group in manifests.values() for part in group]


def uploads(connection: Connection, *, jobs: Sequence[int]) -> dict[int, UploadView]:
    """Read how far the extraction of these jobs is."""
    waiting = connection.execute(
        select(batches.c.job_id, batches.c.kind)
        .where(
            batches.c.job_id.in_(jobs),
            batches.c.state.in_([BatchState.READY, BatchState.LEASED]),
        )
        .distinct()
    )
    # By kind here: asked for that too, SQLite would read all that waits, of any job.
    extracting = {row.job_id for row in waiting if row.kind == BatchKind.EXTRACT}
    committed = connection.execute(
        select(versions.c.job_id, func.count())
        .join(parts, parts.c.version_id == versions.c.id)
        .where(versions.c.job_id.in_(jobs))
        .group_by(versions.c.job_id)
    )
    counts = {row[0]: int(row[1]) for row in committed}
    return {job: UploadView(extracting=job in extracting, parts=counts.get(job, 0)) for job in jobs}


def duty_list(connection: Connection) -> list[DutyView]:
    """Read when each duty ran."""
    names = list(DutyView.__dataclass_fields__)
    rows = connection.execute(select(duties).order_by(duties.c.name))
    return [DutyView(**{name: getattr(row, name) for name in names}) for row in rows]


def row_counts(connection: Connection) -> dict[str, int]:
    """Count the rows of the tables that grow, by table; it reads them all."""
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (documents, versions, parts, jobs, batches, attempts)
    }


def now(connection: Connection) -> float:
    """The database's clock, seconds since 1970."""
    return float(connection.execute(select(clock.now())).scalar_one())


_TRIED = (
    select(batches.c.id)
    .where(batches.c.job_id == jobs.c.id, batches.c.lease_epoch > 0)
    .correlate(jobs)
    .exists()
)


def _newest_jobs(tenant: str, limit: int) -> Select[Any]:
    return (
        select(jobs, indexes.c.name, _TRIED.label("started"))
        .join(indexes, indexes.c.id == jobs.c.index_id)
        .where(jobs.c.tenant == tenant)
        .order_by(jobs.c.id.desc())
        .limit(limit)
    )


def _job_views(connection: Connection, statement: Select[Any]) -> list[JobView]:
    rows = connection.execute(statement).all()
    waiting = waits_of(connection, [row.id for row in rows])
    return [_job_view(row, waiting.get(row.id)) for row in rows]


def _job_view(row: Row[Any], waiting: Waiting | None) -> JobView:
    names = JobView.__dataclass_fields__.keys() - {"state", "index", "waiting"}
    values = {name: getattr(row, name) for name in names}
    return JobView(state=JobState(row.state), index=row.name, waiting=waiting, **values)


def _failure_view(row: Row[Any]) -> FailureView:
    error = row.error
    return FailureView(
        job=row.job_id,
        external_id=row.external_id,
        uri=row.uri,
        attempted_version=row.number,
        served_version=row.served,
        **error,
    )
