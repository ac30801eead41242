"""Documents into the ledger: jobs, versions and their first batches, in one transaction."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from sqlalchemy import Connection, exists, insert, or_, select, update

from vectorflow.domain.jobs import JobState, Lane
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import Conflict
from vectorflow.ledger import clock, indexes
from vectorflow.ledger.families import is_kept_in
from vectorflow.ledger.new_batches import inserted_id
from vectorflow.ledger.new_versions import Accepted, add_versions, home_of, lock_documents
from vectorflow.ledger.outcomes import Outcomes
from vectorflow.ledger.tables import credentials, documents, jobs, pipelines
from vectorflow.ledger.tally import COUNTERS, Tally

LISTING_SECONDS = 120.0
"""A listing that adds nothing for so long is taken for dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request to embed."""

    tenant: str
    index: int | None
    """Row of the index; None for one of its own, of a job whose vectors are delivered."""
    pipeline: Pipeline
    scope: str
    document_id: str | None = None
    """What a webhook is told; of an upload into an index its document, whether changed or not."""
    sealed: str | None = None
    """Credentials that came with the request."""
    lister: str | None = None
    """Lock of the listing process, for others on this machine to see whether it lives."""
    idempotency_key: str | None = None
    request_hash: str | None = None
    lane: Lane = Lane.BULK
    """What its batches wait in."""


class Started(NamedTuple):
    """A job, and whether this call made it."""

    job: int
    fresh: bool


def start_job(connection: Connection, new: NewJob) -> Started:
    """Insert a job whose listing is open, or find the one of the same idempotency key.

    Raises:
        Conflict: The key came before with another request.
    """
    if new.idempotency_key is not None:
        known = connection.execute(
            select(jobs.c.id, jobs.c.request_hash).where(
                jobs.c.tenant == new.tenant, jobs.c.idempotency_key == new.idempotency_key
            )
        ).one_or_none()
        if known is not None:
            return same_request(known.id, known.request_hash, new.request_hash)
    index = _own_index(connection, new) if new.index is None else new.index
    result = connection.execute(
        insert(jobs).values(
            tenant=new.tenant,
            index_id=index,
            pipeline_id=pipeline_row(connection, new.tenant, new.pipeline),
            scope=new.scope,
            state=JobState.RUNNING,
            listing_until=clock.now() + LISTING_SECONDS,
            lister=new.lister,
            idempotency_key=new.idempotency_key,
            request_hash=new.request_hash,
            document_id=new.document_id,
            lane=new.lane,
            created_at=clock.now(),
            **dict.fromkeys(COUNTERS, 0),
        )
    )
    job = inserted_id(result.inserted_primary_key)
    if new.sealed is not None:
        kept = {"job_id": job, "tenant": new.tenant, "sealed": new.sealed}
        connection.execute(insert(credentials).values(kept))
    return Started(job, fresh=True)


def accept(connection: Connection, new: NewJob, accepted: Sequence[Accepted], total: int) -> int:
    """Make a whole job at once; `total` counts the documents that need nothing too."""
    started = start_job(connection, new)
    if started.fresh:
        add_documents(connection, started.job, accepted, unchanged=total - len(accepted))
        end_listing(connection, started.job)
    return started.job


def add_documents(
    connection: Connection, job: int, accepted: Sequence[Accepted], *, unchanged: int = 0
) -> None:
    """Make a version of each document, and the batches for those that can start now.

    Raises:
        Conflict: The job was cancelled, or its listing taken for dead, and ended meanwhile.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
    tally = Tally()
    add_versions(connection, home_of(row), accepted, tally)
    tally.add(job, documents_unchanged=unchanged)
    tally.write(connection)
    _still_listing(connection, job)


def in_scope(connection: Connection, *, index: int, scope: str) -> list[str]:
    """External ids of the documents that a scope holds now or soon.

    Attachments are none of them, as no source lists them; a document of which only these are left
    is one.
    """
    attached = documents.alias("attached")
    rows = connection.execute(
        select(documents.c.external_id).where(
            documents.c.index_id == index,
            documents.c.scope == scope,
            documents.c.parent_id.is_(None),
            or_(
                documents.c.live_version.is_not(None) & documents.c.deleted_at.is_(None),
                documents.c.open_version.is_not(None),
                documents.c.next_version.is_not(None),
                exists().where(attached.c.parent_id == documents.c.id, is_kept_in(attached)),
            ),
        )
    )
    return list(rows.scalars())


def delete_documents(
    connection: Connection, job: int, gone: Sequence[str], *, zombie_seconds: float
) -> None:
    """Delete documents and all that is attached to them.

    Raises:
        Conflict: The job was cancelled, or its listing taken for dead, and ended meanwhile.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
    outcomes = Outcomes(connection, Tally(), zombie_seconds=zombie_seconds)
    home = home_of(row)
    known = lock_documents(connection, home, gone, inside=True)
    outcomes.delete(home, list(known.values()))
    outcomes.write()
    _still_listing(connection, job)


def end_listing(
    connection: Connection, job: int, *, error: dict[str, object] | None = None
) -> None:
    """Fix the number of documents of a job, which may end it."""
    count = jobs.c.documents_new + jobs.c.documents_changed + jobs.c.documents_gone
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job, jobs.c.docs_total.is_(None))
        .values(docs_total=count, listing_until=None, error=error)
    )
    tally = Tally()
    tally.add(job)
    tally.write(connection)


def keep_listing(connection: Connection, job: int) -> bool:
    """Say that a listing is still at work; False if it was taken for dead and ended."""
    kept = connection.execute(
        update(jobs)
        .where(jobs.c.id == job, jobs.c.docs_total.is_(None))
        .values(listing_until=clock.now() + LISTING_SECONDS)
    )
    return bool(kept.rowcount)


def end_dead_listings(connection: Connection, is_dead: Callable[[str], bool] | None) -> int:
    """End the listings whose process died: what was accepted is embedded all the same.

    `is_dead` looks at a lister of this machine; without it only the time tells.
    """
    late = (jobs.c.listing_until < clock.now()).label("late")
    rows = connection.execute(
        select(jobs.c.id, jobs.c.lister, late)
        .where(jobs.c.state.in_([JobState.RUNNING, JobState.PAUSED]), jobs.c.docs_total.is_(None))
        .order_by(jobs.c.id)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    dead = [row.id for row in rows if (is_dead(row.lister) if is_dead and row.lister else row.late)]
    for job in dead:
        end_listing(connection, job, error=LISTING_BROKE_OFF)
    return len(dead)


LISTING_BROKE_OFF: dict[str, object] = {
    "code": "listing_broke_off",
    "message": "the process that listed the documents died before it was done",
    "fix": "run the same command again",
}


def _still_listing(connection: Connection, job: int) -> None:
    """Undo this transaction if its job counts no more documents."""
    if not keep_listing(connection, job):
        message = f"job {job} was cancelled, or its listing was taken for dead, and has ended"
        raise Conflict(message, fix="run the same command again")


def same_request(job: int, known_hash: str | None, request_hash: str | None) -> Started:
    """Give the job that a request made when it came first.

    Raises:
        Conflict: It was another request.
    """
    if known_hash != request_hash:
        message = "this Idempotency-Key was used for another request"
        raise Conflict(message, fix="send a new key with a new request")
    return Started(job, fresh=False)


def _own_index(connection: Connection, new: NewJob) -> int:
    return indexes.insert_index(
        connection, tenant=new.tenant, pipeline=new.pipeline, name=f"job:{uuid.uuid4()}"
    ).id


def pipeline_row(connection: Connection, tenant: str, pipeline: Pipeline) -> int:
    """Find or make the row of a pipeline."""
    digest = pipeline.digest
    found = connection.execute(
        select(pipelines.c.id).where(pipelines.c.tenant == tenant, pipelines.c.digest == digest)
    ).scalar_one_or_none()
    if found is not None:
        return int(found)
    result = connection.execute(
        insert(pipelines).values(tenant=tenant, digest=digest, spec=asdict(pipeline))
    )
    return inserted_id(result.inserted_primary_key)
