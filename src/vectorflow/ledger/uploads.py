"""Uploads into the ledger: many jobs of one document each, in a dozen statements."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from vectorflow.domain.jobs import BatchKind, JobState, VersionState
from vectorflow.ledger import clock
from vectorflow.ledger.new_batches import NewBatch, Place, hold_each, make_batches
from vectorflow.ledger.new_versions import (
    Accepted,
    Home,
    cost_of,
    insert_versions,
    lock_documents,
    lock_known,
)
from vectorflow.ledger.serving import Serving, serving
from vectorflow.ledger.submission import (
    NewJob,
    add_documents,
    end_listing,
    pipeline_row,
    same_request,
    start_job,
)
from vectorflow.ledger.tables import credentials, jobs, versions
from vectorflow.ledger.tally import COUNTERS, Tally

Upload = tuple[NewJob, Accepted]


class Taken(NamedTuple):
    """What became of an upload."""

    job: int
    kept: bool
    """A version of the document is made of it; False where nothing had changed, or the same request
    had come before."""
    batches: int | None
    """Of a document that is live already, as if all its chunks were new."""


class _Request(NamedTuple):
    """A request that came with an idempotency key."""

    job: int
    hash: str | None


def take_uploads(connection: Connection, uploads: Sequence[Upload]) -> list[Taken]:
    """Make a job for each of these documents, in one transaction.

    Raises:
        Conflict: An idempotency key came before with another request; nothing was made.
    """
    taken: dict[int, Taken] = {}
    _lock_first(connection, [upload for upload in uploads if upload[0].index is not None])
    for places in _rounds(uploads):
        requests = _known_requests(connection, [uploads[place][0] for place in places])
        groups: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        for place in places:
            new, item = uploads[place]
            if (known := requests.get((new.tenant, new.idempotency_key))) is not None:
                taken[place] = _again(connection, known, new, item)
            elif new.index is None:
                taken[place] = _delivered(connection, new, item)
            else:
                groups[(new.tenant, new.index, new.pipeline, new.scope)].append(place)
        for group in groups.values():
            made = _take_group(connection, [uploads[place] for place in group])
            taken |= dict(zip(group, made, strict=True))
    return [taken[place] for place in range(len(uploads))]


def _lock_first(connection: Connection, uploads: Sequence[Upload]) -> None:
    """Lock the documents of several groups together, in order of id.

    Group by group, two of us that have the same ones might wait for each other.
    """
    groups = {(new.index, new.scope, new.pipeline) for new, _ in uploads}
    names = {(new.index, new.scope, item.external_id) for new, item in uploads}
    if len(groups) > 1 or len(names) < len(uploads):
        lock_known(connection, names)


def _rounds(uploads: Sequence[Upload]) -> Iterator[list[int]]:
    """Part uploads so that neither a document nor an idempotency key comes twice in a round."""
    rounds: defaultdict[int, list[int]] = defaultdict(list)
    seen: defaultdict[object, int] = defaultdict(int)
    for place, (new, item) in enumerate(uploads):
        names: list[object] = [(new.index, new.scope, item.external_id)] if new.index else []
        names += [(new.tenant, new.idempotency_key)] if new.idempotency_key else []
        number = max((seen[name] for name in names), default=0)
        rounds[number].append(place)
        for name in names:
            seen[name] = number + 1
    return iter(rounds.values())


def _known_requests(
    connection: Connection, news: Sequence[NewJob]
) -> dict[tuple[str, str | None], _Request]:
    keys = {new.idempotency_key for new in news if new.idempotency_key}
    if not keys:
        return {}
    rows = connection.execute(
        select(jobs.c.id, jobs.c.tenant, jobs.c.idempotency_key, jobs.c.request_hash).where(
            jobs.c.tenant.in_({new.tenant for new in news}), jobs.c.idempotency_key.in_(keys)
        )
    )
    return {(row.tenant, row.idempotency_key): _Request(row.id, row.request_hash) for row in rows}


def _again(connection: Connection, known: _Request, new: NewJob, item: Accepted) -> Taken:
    """Give the job that the same request made before."""
    started = same_request(known.job, known.hash, new.request_hash)
    live = _live(connection, new, [item]).get(item.external_id)
    kept = _is_kept(connection, started.job, item)
    return Taken(started.job, kept=kept, batches=_batches(live, item))


def _is_kept(connection: Connection, job: int, item: Accepted) -> bool:
    """Whether it was this very upload: committed, but the database died before it said so."""
    if item.source is None:
        return False
    made = select(versions.c.id).where(
        versions.c.job_id == job, versions.c.blob == item.source.blob
    )
    return connection.execute(made.limit(1)).first() is not None


def _delivered(connection: Connection, new: NewJob, item: Accepted) -> Taken:
    """Make the job of vectors that no store keeps: its index is its own, all of it is new."""
    job = start_job(connection, new).job
    add_documents(connection, job, [item])
    end_listing(connection, job)
    return Taken(job, kept=True, batches=None)


def _take_group(connection: Connection, uploads: Sequence[Upload]) -> list[Taken]:
    """Make the jobs of documents that differ, of one pipeline, index and scope."""
    first, items = uploads[0][0], [item for _, item in uploads]
    live = _live(connection, first, items)
    counts = [_batches(live.get(item.external_id), item) for item in items]
    changed = [place for place, count in enumerate(counts) if count is None]
    shared = Home(
        job=0,
        tenant=first.tenant,
        index=first.index or 0,
        pipeline=pipeline_row(connection, first.tenant, first.pipeline),
        scope=first.scope,
    )
    names = [items[place].external_id for place in changed]
    owners = lock_documents(connection, shared, names) if names else {}
    keys = _insert_jobs(connection, shared, uploads, owners)
    homes = [replace(shared, job=keys[place]) for place in changed]
    _make_versions(connection, homes, [items[place] for place in changed], owners)
    return [
        Taken(key, kept=count is None, batches=count)
        for key, count in zip(keys, counts, strict=True)
    ]


def _live(connection: Connection, new: NewJob, items: Sequence[Accepted]) -> Mapping[str, Serving]:
    if new.index is None:
        return {}
    ids = [item.external_id for item in items]
    recipe = new.pipeline.recipe
    return serving(connection, index=new.index, scope=new.scope, ids=ids, recipe=recipe)


def _batches(live: Serving | None, item: Accepted) -> int | None:
    """Batches of a document that is live as it is; None where it is not."""
    return live.parts if live is not None and live.equals(item) else None


def _insert_jobs(
    connection: Connection,
    home: Home,
    uploads: Sequence[Upload],
    owners: Mapping[str, Row[Any]],
) -> list[int]:
    """Insert the jobs; those of documents without an owner have nothing to do and have ended."""
    rows = [_job(home, new, item, owners.get(item.external_id)) for new, item in uploads]
    made = connection.execute(
        insert(jobs).values(created_at=clock.now()).returning(jobs.c.id, jobs.c.document_id), rows
    )
    by_document = {row.document_id: row.id for row in made}  # each comes once
    keys = [by_document[item.external_id] for _, item in uploads]
    ended = [key for key, row in zip(keys, rows, strict=True) if row["docs_total"] == 0]
    if ended:
        connection.execute(update(jobs).where(jobs.c.id.in_(ended)).values(ended_at=clock.now()))
    sealed = [
        {"job_id": key, "tenant": new.tenant, "sealed": new.sealed}
        for key, row, (new, _) in zip(keys, rows, uploads, strict=True)
        if new.sealed is not None and row["docs_total"]
    ]
    if sealed:
        connection.execute(insert(credentials), sealed)
    return keys


def _job(home: Home, new: NewJob, item: Accepted, owner: Row[Any] | None) -> dict[str, object]:
    """What `start_job`, `add_documents` and `end_listing` make of one document, at once."""
    fresh = owner is not None and owner.last_version == 0
    zeros: dict[str, object] = dict.fromkeys(COUNTERS, 0)
    return zeros | {
        "tenant": home.tenant,
        "index_id": home.index,
        "pipeline_id": home.pipeline,
        "scope": home.scope,
        "state": JobState.COMPLETED if owner is None else JobState.RUNNING,
        "docs_total": int(owner is not None),
        "documents_new": int(fresh),
        "documents_changed": int(owner is not None and not fresh),
        "documents_unchanged": int(owner is None),
        "idempotency_key": new.idempotency_key,
        "request_hash": new.request_hash,
        "document_id": item.external_id,
        "lane": new.lane,
    }


def _make_versions(
    connection: Connection,
    homes: Sequence[Home],
    items: Sequence[Accepted],
    owners: Mapping[str, Row[Any]],
) -> None:
    """Insert the versions, and a batch for each that can start now."""
    if not items:
        return
    tally = Tally()
    of_items = [owners[item.external_id] for item in items]
    placed = insert_versions(connection, homes, items, of_items, tally)
    started = [
        (Place(home.tenant, home.job, home.index, home.pipeline), version, cost_of([item]))
        for home, item, (state, version) in zip(homes, items, placed, strict=True)
        if state is VersionState.INDEXING
    ]
    new = [NewBatch(place, cost=cost) for place, _, cost in started]
    made = make_batches(connection, new, BatchKind.EXTRACT)
    hold_each(
        connection,
        [(version, batch) for (_, version, _), batch in zip(started, made, strict=True)],
    )
    tally.write(connection)
