"""Documents into the ledger: jobs, versions and their first batches, in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, or_, select, update

from vectorflow.domain.documents import BlobRange
from vectorflow.domain.jobs import BatchKind, JobState, VersionState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import Conflict, VectorFlowError
from vectorflow.ledger import clock
from vectorflow.ledger.outcomes import (
    Outcomes,
    Place,
    failure_json,
    hold,
    inserted_id,
    make_batch,
)
from vectorflow.ledger.tables import documents, jobs, pipelines, versions
from vectorflow.ledger.tally import Tally

LISTING_SECONDS = 120.0
"""A listing that adds nothing for so long is taken for dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A document to be indexed, its bytes durable in the blob store."""

    external_id: str
    uri: str
    raw_hash: str
    recipe_hash: str
    extractor: str
    source: BlobRange | None
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    failure: VectorFlowError | None = None
    """It could not be read: a dead letter from the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the ledger already has of a document."""

    raw_hash: str
    recipe_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request to embed."""

    tenant: str
    index: int
    pipeline: Pipeline
    scope: str
    lister: str | None = None
    """Lock of the listing process, for others on this machine to see whether it lives."""
    idempotency_key: str | None = None
    request_hash: str | None = None


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
            return _same_request(known.id, known.request_hash, new.request_hash)
    counters = (
        "docs_done", "docs_failed", "cleanup_open", "documents_new", "documents_changed",
        "documents_unchanged", "documents_gone", "records_new", "records_old",
        "chunks_embedded", "embedding_calls", "tokens",
    )  # fmt: skip
    result = connection.execute(
        insert(jobs).values(
            tenant=new.tenant,
            index_id=new.index,
            pipeline_id=_pipeline_row(connection, new.tenant, new.pipeline),
            scope=new.scope,
            state=JobState.RUNNING,
            listing_until=clock.now() + LISTING_SECONDS,
            lister=new.lister,
            idempotency_key=new.idempotency_key,
            request_hash=new.request_hash,
            created_at=clock.now(),
            **dict.fromkeys(counters, 0),
        )
    )
    return Started(inserted_id(result.inserted_primary_key), fresh=True)


def accept(connection: Connection, new: NewJob, accepted: Sequence[Accepted], total: int) -> int:
    """Make a whole job at once; `total` counts the documents that need nothing too."""
    started = start_job(connection, new)
    if started.fresh:
        add_documents(connection, started.job, accepted, unchanged=total - len(accepted))
        end_listing(connection, started.job)
    return started.job


def serving(
    connection: Connection, *, index: int, scope: str, ids: Sequence[str]
) -> dict[str, Serving]:
    """Hashes of the documents that are live and have nothing newer under way."""
    rows = connection.execute(
        select(documents.c.external_id, versions.c.raw_hash, versions.c.recipe_hash)
        .join(versions, versions.c.id == documents.c.live_version)
        .where(
            documents.c.index_id == index,
            documents.c.scope == scope,
            documents.c.external_id.in_(ids),
            documents.c.open_version.is_(None),
        )
    )
    return {
        row.external_id: Serving(raw_hash=row.raw_hash, recipe_hash=row.recipe_hash) for row in rows
    }


def add_documents(
    connection: Connection, job: int, accepted: Sequence[Accepted], *, unchanged: int = 0
) -> None:
    """Make a version of each document, and the batches for those that can start now.

    A document whose version before is still being indexed waits for it; one that waited already is
    superseded.

    Raises:
        Conflict: The listing was taken for dead and ended meanwhile.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
    if row.docs_total is not None:
        message = f"the listing of job {job} was taken for dead and ended"
        raise Conflict(message, fix="run the same command again")
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=0.0)
    owners = _owners(connection, row, [item.external_id for item in accepted])
    fresh = sum(owners[item.external_id].last_version == 0 for item in accepted)
    started: list[int] = []
    for item in accepted:
        started += _add(connection, row, owners[item.external_id], item, tally)
    if started:
        place = Place(row.tenant, job, row.index_id, row.pipeline_id)
        hold(connection, started, make_batch(connection, place, BatchKind.EXTRACT))
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job)
        .values(
            listing_until=clock.now() + LISTING_SECONDS,
            documents_new=jobs.c.documents_new + fresh,
            documents_changed=jobs.c.documents_changed + len(accepted) - fresh,
            documents_unchanged=jobs.c.documents_unchanged + unchanged,
        )
    )
    outcomes.write()


def in_scope(connection: Connection, *, index: int, scope: str) -> list[str]:
    """External ids of the documents that a scope holds now or soon."""
    rows = connection.execute(
        select(documents.c.external_id).where(
            documents.c.index_id == index,
            documents.c.scope == scope,
            or_(
                documents.c.live_version.is_not(None) & documents.c.deleted_at.is_(None),
                documents.c.open_version.is_not(None),
                documents.c.next_version.is_not(None),
            ),
        )
    )
    return list(rows.scalars())


def delete_documents(
    connection: Connection, job: int, gone: Sequence[str], *, zombie_seconds: float
) -> None:
    """Delete documents: a version with an empty manifest each, live at once where none is open."""
    row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    owners = _owners(connection, row, gone)
    lives = _rows(connection, [owner.live_version for owner in owners.values()])
    for external_id in gone:
        owner = owners[external_id]
        item = Accepted(
            external_id=external_id, uri="", raw_hash="", recipe_hash="", extractor="", source=None
        )
        version = _insert_version(connection, row, owner, item, _state_for(owner))
        if owner.open_version is None:
            deleted = _rows(connection, [version])[version]
            outcomes.set_live(owner, deleted, lives.get(owner.live_version))
            tally.add(job, docs_done=1)
        else:
            _wait(connection, owner, version, tally)
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job)
        .values(documents_gone=jobs.c.documents_gone + len(gone))
    )
    outcomes.write()


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


def keep_listing(connection: Connection, job: int) -> None:
    """Say that a listing is still at work, although it adds nothing."""
    connection.execute(
        update(jobs).where(jobs.c.id == job).values(listing_until=clock.now() + LISTING_SECONDS)
    )


def end_dead_listings(connection: Connection, is_dead: Callable[[str], bool] | None) -> int:
    """End the listings whose process died: what was accepted is embedded all the same.

    `is_dead` looks at a lister of this machine; without it only the time tells.
    """
    late = (jobs.c.listing_until < clock.now()).label("late")
    rows = connection.execute(
        select(jobs.c.id, jobs.c.lister, late)
        .where(jobs.c.docs_total.is_(None))
        .order_by(jobs.c.id)
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


def _same_request(job: int, known_hash: str | None, request_hash: str | None) -> Started:
    if known_hash != request_hash:
        message = "this Idempotency-Key was used for another request"
        raise Conflict(message, fix="send a new key with a new request")
    return Started(job, fresh=False)


def _pipeline_row(connection: Connection, tenant: str, pipeline: Pipeline) -> int:
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


def _owners(connection: Connection, job: Row[Any], ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Lock the documents of these ids, making those that are new."""
    wanted = (
        select(documents)
        .where(
            documents.c.index_id == job.index_id,
            documents.c.scope == job.scope,
            documents.c.external_id.in_(ids),
        )
        .order_by(documents.c.id)
        .with_for_update()
    )
    found = {row.external_id: row for row in connection.execute(wanted)}
    missing = [key for key in ids if key not in found]
    if missing:
        connection.execute(
            insert(documents),
            [
                {
                    "tenant": job.tenant,
                    "index_id": job.index_id,
                    "scope": job.scope,
                    "external_id": key,
                    "last_version": 0,
                }
                for key in missing
            ],
        )
        found = {row.external_id: row for row in connection.execute(wanted)}
    return found


def _add(
    connection: Connection, job: Row[Any], owner: Row[Any], item: Accepted, tally: Tally
) -> list[int]:
    """Insert one version; gives its id if it can be extracted now."""
    if item.failure is not None:
        _insert_version(connection, job, owner, item, VersionState.FAILED)
        tally.add(job.id, docs_failed=1)
        return []
    version = _insert_version(connection, job, owner, item, _state_for(owner))
    if owner.open_version is not None:
        _wait(connection, owner, version, tally)
        return []
    connection.execute(
        update(documents).where(documents.c.id == owner.id).values(open_version=version)
    )
    return [version]


def _state_for(owner: Row[Any]) -> VersionState:
    return VersionState.INDEXING if owner.open_version is None else VersionState.WAITING


def _wait(connection: Connection, owner: Row[Any], version: int, tally: Tally) -> None:
    """Take the place behind the open version; who waited there is superseded."""
    if owner.next_version is not None:
        former = _rows(connection, [owner.next_version])[owner.next_version]
        connection.execute(
            update(versions)
            .where(versions.c.id == former.id)
            .values(state=VersionState.SUPERSEDED, ended_at=clock.now())
        )
        tally.add(former.job_id, docs_done=1)
    connection.execute(
        update(documents).where(documents.c.id == owner.id).values(next_version=version)
    )


def _insert_version(
    connection: Connection, job: Row[Any], owner: Row[Any], item: Accepted, state: VersionState
) -> int:
    source = item.source
    deletion = source is None and item.failure is None
    letter = failure_json(item.failure, stage="read", attempts=1) if item.failure else None
    result = connection.execute(
        insert(versions).values(
            tenant=job.tenant,
            document_id=owner.id,
            job_id=job.id,
            pipeline_id=job.pipeline_id,
            number=owner.last_version + 1,
            state=state,
            base_version=owner.live_version,
            raw_hash=item.raw_hash,
            recipe_hash=item.recipe_hash,
            extractor=item.extractor,
            uri=item.uri,
            metadata=dict(item.metadata),
            blob=source.blob if source else None,
            blob_start=source.start if source else None,
            blob_length=source.length if source else None,
            parts_total=0 if deletion else None,
            parts_done=0,
            rows=0,
            new_rows=0,
            lost=False,
            error=letter,
            created_at=clock.now(),
            ended_at=clock.now() if letter else None,
        )
    )
    connection.execute(
        update(documents)
        .where(documents.c.id == owner.id)
        .values(last_version=owner.last_version + 1)
    )
    return inserted_id(result.inserted_primary_key)


def _rows(connection: Connection, ids: Iterable[int | None]) -> dict[int, Row[Any]]:
    wanted = [key for key in ids if key is not None]
    rows = connection.execute(select(versions).where(versions.c.id.in_(wanted)))
    return {row.id: row for row in rows}
