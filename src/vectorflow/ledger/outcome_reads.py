"""Read models: what became of the documents of a job, and failures by their cause."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Subquery, func, select

from vectorflow.domain.jobs import VersionState
from vectorflow.ledger.tables import documents, jobs, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentView:
    """What a job made, or is making, of one document."""

    id: int
    """Of the version."""
    job: int
    external_id: str
    uri: str
    state: VersionState
    attempted_version: int
    served_version: int | None
    """The version that searches serve; None if there is none."""
    failure: Mapping[str, Any] | None
    """Its dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseView:
    """Failures that one thing would mend."""

    code: str
    stage: str
    fix: str
    documents: int
    jobs: int
    newest: DocumentView
    """One of them, to see what it is about."""


def job_documents(
    connection: Connection, *, job: int, limit: int, after: int = 0, state: VersionState | None
) -> list[DocumentView]:
    """Read the next documents of a job after a version, in the order in which they were accepted.

    Of a document that is tried again, what failed before is left out.
    """
    statement = _documents().where(versions.c.job_id == job, versions.c.id > after)
    if state is None:
        statement = statement.where(versions.c.state != VersionState.RETRIED)
    else:
        statement = statement.where(versions.c.state == state)
    rows = connection.execute(statement.order_by(versions.c.id).limit(limit))
    return [_document_view(row) for row in rows]


def causes(
    connection: Connection, *, tenant: str, limit: int, job: int | None = None
) -> list[CauseView]:
    """Count failures by cause, the most frequent first: those of one job, or all that count still.

    Of all jobs: those that no later version has replaced.
    """
    letters = _letters(tenant, job)
    cause = letters.c.code, letters.c.stage, letters.c.fix
    count, newest = func.count(), func.max(letters.c.id)
    statement = (
        select(
            *cause,
            count.label("documents"),
            func.count(letters.c.job_id.distinct()).label("jobs"),
            newest.label("newest"),
        )
        .group_by(*cause)
        .order_by(count.desc(), newest.desc())
        .limit(limit)
    )
    rows = connection.execute(statement).all()
    examples = _documents_by_id(connection, [row.newest for row in rows])
    return [
        CauseView(
            code=row.code,
            stage=row.stage,
            fix=row.fix,
            documents=row.documents,
            jobs=row.jobs,
            newest=examples[row.newest],
        )
        for row in rows
    ]


def _letters(tenant: str, job: int | None) -> Subquery:
    """Select what failures are grouped by; to name it once lets every database group by it."""
    letter = versions.c.error
    statement = select(
        versions.c.id,
        versions.c.job_id,
        letter["code"].as_string().label("code"),
        letter["stage"].as_string().label("stage"),
        letter["fix"].as_string().label("fix"),
    ).where(versions.c.tenant == tenant, versions.c.state == VersionState.FAILED)
    if job is not None:
        return statement.where(versions.c.job_id == job).subquery()
    # by the job, since there is no index by state alone
    with_failures = select(jobs.c.id).where(jobs.c.tenant == tenant, jobs.c.docs_failed > 0)
    return (
        statement.join(documents, documents.c.id == versions.c.document_id)
        .where(versions.c.job_id.in_(with_failures), versions.c.number == documents.c.last_version)
        .subquery()
    )


def _documents() -> Any:  # noqa: ANN401 - SQLAlchemy's, longer than its use
    live = versions.alias("live")
    return (
        select(
            versions.c.id,
            versions.c.job_id,
            versions.c.uri,
            versions.c.state,
            versions.c.number,
            versions.c.error,
            documents.c.external_id,
            live.c.number.label("served"),
        )
        .join(documents, documents.c.id == versions.c.document_id)
        .join(live, live.c.id == documents.c.live_version, isouter=True)
    )


def _documents_by_id(connection: Connection, ids: Collection[int]) -> dict[int, DocumentView]:
    rows = connection.execute(_documents().where(versions.c.id.in_(ids)))
    return {row.id: _document_view(row) for row in rows}


def _document_view(row: Row[Any]) -> DocumentView:
    return DocumentView(
        id=row.id,
        job=row.job_id,
        external_id=row.external_id,
        uri=row.uri,
        state=VersionState(row.state),
        attempted_version=row.number,
        served_version=row.served,
        failure=row.error,
    )
