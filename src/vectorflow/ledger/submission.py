"""Documents into the ledger: jobs, versions and their first batches, in one transaction."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, or_, select, update

from vectorflow.domain.jobs import BatchKind, JobState, VersionState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import Conflict
from vectorflow.ledger import clock, indexes
from vectorflow.ledger.new_versions import (
    Accepted,
    deletion,
    groups,
    home_of,
    insert_versions,
    lock_documents,
    locked,
)
from vectorflow.ledger.outcomes import Outcomes, Place, hold, inserted_id, make_batch
from vectorflow.ledger.tables import credentials, documents, jobs, pipelines, versions
from vectorflow.ledger.tally import COUNTERS, Tally

LISTING_SECONDS = 120.0
"""A listing that adds nothing for so long is taken for dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the ledger already has of a document."""

    raw_hash: str
    recipe_hash: str
    parts: int
    """Of its manifest."""

    def equals(self, item: Accepted) -> bool:
        """Whether it was made of the same bytes by the same recipe."""
        return (self.raw_hash, self.recipe_hash) == (item.raw_hash, item.recipe_hash)


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


def serving(
    connection: Connection, *, index: int, scope: str, ids: Sequence[str]
) -> dict[str, Serving]:
    """Hashes of the documents that are live and have nothing newer under way."""
    rows = connection.execute(
        select(
            documents.c.external_id,
            versions.c.raw_hash,
            versions.c.recipe_hash,
            versions.c.parts_total,
        )
        .join(versions, versions.c.id == documents.c.live_version)
        .where(
            documents.c.index_id == index,
            documents.c.scope == scope,
            documents.c.external_id.in_(ids),
            documents.c.open_version.is_(None),
        )
    )
    return {
        row.external_id: Serving(
            raw_hash=row.raw_hash, recipe_hash=row.recipe_hash, parts=row.parts_total
        )
        for row in rows
    }


def add_documents(
    connection: Connection, job: int, accepted: Sequence[Accepted], *, unchanged: int = 0
) -> None:
    """Make a version of each document, and the batches for those that can start now.

    Raises:
        Conflict: The listing was taken for dead and ended meanwhile.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
    place = Place(row.tenant, job, row.index_id, row.pipeline_id)
    home, tally = home_of(row), Tally()
    known = lock_documents(connection, home, [item.external_id for item in accepted])
    for group in groups(accepted):
        owners = [known[item.external_id] for item in group]
        placed = insert_versions(connection, [home] * len(group), group, owners, tally)
        if started := [key for state, key in placed if state is VersionState.INDEXING]:
            hold(connection, started, make_batch(connection, place, BatchKind.EXTRACT))
        fresh = sum(owner.last_version == 0 for owner in owners)
        tally.add(job, documents_new=fresh, documents_changed=len(group) - fresh)
        if len(known) < len(accepted):  # some come again
            known |= locked(connection, [owner.id for owner in owners])
    tally.add(job, documents_unchanged=unchanged)
    tally.write(connection)
    _still_listing(connection, job)


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
    """Delete documents: a version with an empty manifest each, live at once where none is open.

    Raises:
        Conflict: The listing was taken for dead and ended meanwhile.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    home = home_of(row)
    known = lock_documents(connection, home, gone)
    for group in groups([deletion(external_id) for external_id in known]):
        owners = [known[item.external_id] for item in group]
        placed = insert_versions(connection, [home] * len(group), group, owners, tally)
        indexing = [key for state, key in placed if state is VersionState.INDEXING]
        made = _rows(connection, indexing)
        lives = _rows(connection, [owner.live_version for owner in owners])
        by_id = {owner.id: owner for owner in owners}
        for version in made.values():
            owner = by_id[version.document_id]
            outcomes.set_live(owner, version, lives.get(owner.live_version))
        tally.add(job, docs_done=len(made), documents_gone=len(group))
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
        message = f"the listing of job {job} was taken for dead and ended"
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


def _rows(connection: Connection, ids: Iterable[int | None]) -> dict[int, Row[Any]]:
    wanted = [key for key in ids if key is not None]
    if not wanted:
        return {}
    rows = connection.execute(select(versions).where(versions.c.id.in_(wanted)))
    return {row.id: row for row in rows}
