"""Dead letters that people try again, or give up for good."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from vectorflow.domain.access import command_for
from vectorflow.domain.documents import BlobRange
from vectorflow.domain.jobs import BatchKind, JobState, VersionState
from vectorflow.domain.pipelines import WEBHOOK_SCHEME
from vectorflow.errors import Conflict, NotFound
from vectorflow.ledger import clock
from vectorflow.ledger.new_batches import Place, hold, make_batch
from vectorflow.ledger.new_versions import (
    Accepted,
    Home,
    cost_of,
    groups,
    home_of,
    insert_versions,
    locked,
)
from vectorflow.ledger.secrets import keep_credentials
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import documents, indexes, jobs, pipelines, versions
from vectorflow.ledger.tally import Tally
from vectorflow.ledger.transitions import lock_job

RETRIED = (JobState.RUNNING, JobState.PARTIAL, JobState.FAILED)
"""States of jobs whose failures can be tried again."""


def retry(
    connection: Connection,
    *,
    tenant: str,
    job: int,
    cause: str | None = None,
    most: int | None = None,
    sealed: str | None = None,
) -> int:
    """Give documents that failed a new version in the same job, which runs again; gives how many.

    Left out are those that a later version has replaced, and those that could not even be read when
    they came: their bytes are not here.

    Args:
        connection: Of the transaction.
        tenant: Whose job it is.
        job: Whose failures.
        cause: Only those with this code.
        most: Only so many, the oldest.
        sealed: All that the job needs of credentials, in the place of what it has kept.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: It cannot be retried as it stands, or nothing in it can.
    """
    _check(connection, tenant, job, renewed=sealed is not None)
    found = connection.execute(_newest(versions.c.job_id == job).order_by(versions.c.id))
    ids = [row.id for row in found if row.blob is not None and _has(row.error, cause)][:most]
    rows = _locked_failures(connection, ids)
    owners = locked(connection, sorted({row.document_id for row in rows}))
    by_id = {owner.id: owner for owner in owners.values()}
    due = [row for row in rows if by_id[row.document_id].last_version == row.number]
    if not due:
        raise _nothing(tenant, job, cause)
    _end(connection, [row.id for row in due], VersionState.RETRIED)
    tally = Tally()
    home = home_of(connection.execute(select(jobs).where(jobs.c.id == job)).one())
    _begin(connection, home, [_again(row, by_id[row.document_id]) for row in due], owners, tally)
    tally.add(job, docs_failed=-len(due))
    tally.write(connection)
    _reopen(connection, job)
    if sealed is not None:
        keep_credentials(connection, tenant=tenant, job=job, sealed=sealed)
    return len(due)


def retriable_jobs(connection: Connection, *, tenant: str, cause: str | None = None) -> list[int]:
    """Give the jobs with failures that `retry` would try again, the oldest first."""
    open_to_it = jobs.c.tenant == tenant, jobs.c.state.in_(RETRIED)
    statement = _newest(versions.c.tenant == tenant).join(jobs, jobs.c.id == versions.c.job_id)
    statement = statement.join(indexes, indexes.c.id == jobs.c.index_id).where(
        *open_to_it, ~indexes.c.locator.startswith(WEBHOOK_SCHEME) | jobs.c.ended_at.is_(None)
    )
    rows = connection.execute(statement)
    return sorted({row.job_id for row in rows if row.blob is not None and _has(row.error, cause)})


def discard(
    connection: Connection, *, tenant: str, job: int | None = None, cause: str | None = None
) -> int:
    """Give failures up for good: they are listed no more, and their bytes are let go of.

    What failed counts as failed all the same. Gives how many.
    """
    which = versions.c.tenant == tenant, versions.c.state == VersionState.FAILED
    statement = select(versions.c.id, versions.c.error).where(*which)
    if job is not None:
        statement = statement.where(versions.c.job_id == job)
    found = connection.execute(statement.order_by(versions.c.id))
    return discard_versions(connection, [row.id for row in found if _has(row.error, cause)])


def discard_versions(connection: Connection, ids: Sequence[int]) -> int:
    """Do the same with these, as far as they are failures still."""
    rows = _locked_failures(connection, ids)
    _end(connection, [row.id for row in rows], VersionState.DISCARDED)
    return len(rows)


def _newest(which: ColumnElement[bool]) -> Any:  # noqa: ANN401 - SQLAlchemy's, longer than its use
    """Select failures that no later version has replaced."""
    return (
        select(versions.c.id, versions.c.job_id, versions.c.blob, versions.c.error)
        .join(documents, documents.c.id == versions.c.document_id)
        .where(
            which,
            versions.c.state == VersionState.FAILED,
            versions.c.number == documents.c.last_version,
        )
    )


def _has(letter: Mapping[str, object], cause: str | None) -> bool:
    return cause is None or letter["code"] == cause


def _locked_failures(connection: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Lock those of these versions that are failures still, in order of id."""
    found: list[Row[Any]] = []
    for some in slices(sorted(ids)):
        found += connection.execute(
            select(versions)
            .where(versions.c.id.in_(some), versions.c.state == VersionState.FAILED)
            .order_by(versions.c.id)
            .with_for_update()
        )
    return found


def _check(connection: Connection, tenant: str, job: int, *, renewed: bool) -> None:
    row = connection.execute(
        select(jobs.c.state, jobs.c.ended_at, pipelines.c.spec)
        .join(pipelines, pipelines.c.id == jobs.c.pipeline_id)
        .where(jobs.c.id == job, jobs.c.tenant == tenant)
    ).one_or_none()
    if row is None:
        message = f"there is no job {job}"
        raise NotFound(message, fix=f"{command_for(tenant, 'jobs list')} shows the jobs there are")
    _refuse_unless_open(tenant, job, JobState(row.state))
    if row.ended_at is not None and not renewed and (hook := _hook_of(row.spec)):
        message = f"job {job} has ended, and the address of its {hook} was erased with it"
        fix = f"give it anew with `POST /v1/jobs/{job}:retry`, or send the documents again"
        raise Conflict(message, fix=fix)


def _hook_of(spec: Mapping[str, Any]) -> str:
    """Name what a pipeline calls at an address that is kept no longer than its job runs."""
    if spec["store"].startswith(WEBHOOK_SCHEME):
        return "webhook"
    return "validation hook" if spec["recipe"].get("validation") else ""


def _refuse_unless_open(tenant: str, job: int, state: JobState) -> None:
    fixes = {
        JobState.PAUSED: f"resume it first: {command_for(tenant, f'jobs resume {job}')}",
        JobState.CANCELLED: "send its documents again",
        JobState.COMPLETED: f"{command_for(tenant, 'failures')} lists what failed in others",
    }
    if state in fixes:
        message = f"job {job} is {state.value} and cannot be retried"
        raise Conflict(message, fix=fixes[state])


def _nothing(tenant: str, job: int, cause: str | None) -> Conflict:
    what = f"no failure of job {job}" + (f" with the code {cause}" if cause else "")
    lists = command_for(tenant, f"failures {job}")
    fix = f"{lists} lists them; what was never read has to be sent again"
    return Conflict(f"{what} can be tried again", fix=fix)


def _again(row: Row[Any], owner: Row[Any]) -> Accepted:
    """Give what was accepted when the version that failed came."""
    return Accepted(
        external_id=owner.external_id,
        uri=row.uri,
        raw_hash=row.raw_hash,
        recipe_hash=row.recipe_hash,
        extractor=row.extractor,
        source=BlobRange(blob=row.blob, start=row.blob_start, length=row.blob_length),
        metadata=row.metadata,
        parent=owner.parent_id,
    )


def _begin(
    connection: Connection,
    home: Home,
    items: Sequence[Accepted],
    owners: dict[str, Row[Any]],
    tally: Tally,
) -> None:
    """Insert the new versions, and the batches of those that need not wait."""
    place = Place(home.tenant, home.job, home.index, home.pipeline)
    for group in groups(items):
        some = [owners[item.external_id] for item in group]
        placed = insert_versions(connection, [home] * len(group), group, some, tally)
        if started := [key for state, key in placed if state is VersionState.INDEXING]:
            batch = make_batch(connection, place, BatchKind.EXTRACT, cost=cost_of(group))
            hold(connection, started, batch)


def _end(connection: Connection, ids: Sequence[int], state: VersionState) -> None:
    for some in slices(ids):
        connection.execute(
            update(versions)
            .where(versions.c.id.in_(some))
            .values(state=state, ended_at=func.coalesce(versions.c.ended_at, clock.now()))
        )


def _reopen(connection: Connection, job: int) -> None:
    row = lock_job(connection, job)
    state = JobState(row.state)
    _refuse_unless_open(row.tenant, job, state)
    if state.ended:
        connection.execute(
            update(jobs).where(jobs.c.id == job).values(state=JobState.RUNNING, ended_at=None)
        )
