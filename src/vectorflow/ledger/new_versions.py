"""New versions of documents: inserted a group at a time, each document locked first."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, delete, insert, select, update

from vectorflow.domain.documents import BlobRange
from vectorflow.domain.fairness import extract_cost
from vectorflow.domain.jobs import BatchKind, VersionState
from vectorflow.errors import VectorFlowError
from vectorflow.ledger import clock
from vectorflow.ledger.dead_letters import failure_json
from vectorflow.ledger.each import update_each
from vectorflow.ledger.families import ids_inside, lock_together
from vectorflow.ledger.new_batches import GROUP_DOCUMENTS, Place, hold, make_batch
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import documents, parts, versions
from vectorflow.ledger.tally import Tally

T = TypeVar("T")

GROUP_BYTES = 4 << 20
"""Bytes of the documents of one batch at most; a longer document travels alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A document to be indexed, its bytes durable in the blob store."""

    external_id: str
    uri: str
    raw_hash: str
    recipe_hash: str
    extractor: str
    source: BlobRange | None
    """None for a deletion."""
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    failure: VectorFlowError | None = None
    """It could not be read: a dead letter from the start."""
    parent: int | None = None
    """Document that it is attached to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The job and the scope that a new version belongs to."""

    job: int
    tenant: str
    index: int
    pipeline: int
    scope: str


def home_of(job: Row[Any]) -> Home:
    """Give the home of all versions of a job."""
    return Home(
        job=job.id,
        tenant=job.tenant,
        index=job.index_id,
        pipeline=job.pipeline_id,
        scope=job.scope,
    )


def deletion(external_id: str, parent: int | None) -> Accepted:
    """Give the version that ends a document: its manifest is empty."""
    return Accepted(
        external_id=external_id,
        uri="",
        raw_hash="",
        recipe_hash="",
        extractor="",
        source=None,
        parent=parent,
    )


def cost_of(items: Sequence[Accepted]) -> float:
    """Charge for the extraction of these documents."""
    return extract_cost(item.source.length for item in items if item.source)


def groups(items: Sequence[Accepted]) -> Iterator[list[Accepted]]:
    """Cut into groups that fit a batch, in which no document comes twice."""
    sized = ((item.external_id, _length(item), item) for item in items)
    return fitting(sized)


def fitting(sized: Iterable[tuple[Hashable, int, T]]) -> Iterator[list[T]]:
    """Cut into groups that fit a batch, in which no key comes twice; of key, bytes and item."""
    group: dict[Hashable, T] = {}
    size = 0
    for key, length, item in sized:
        full = len(group) == GROUP_DOCUMENTS or size + length > GROUP_BYTES
        if group and (full or key in group):
            yield list(group.values())
            group, size = {}, 0
        group[key] = item
        size += length
    if group:
        yield list(group.values())


def lock_documents(
    connection: Connection, home: Home, external_ids: Sequence[str], *, inside: bool = False
) -> dict[str, Row[Any]]:
    """Lock documents in order of id, making those that are new first; by external id.

    Of the home, tenant, index and scope count. With `inside`, what is attached to them is locked
    too, but not given.
    """
    ids = made_documents(connection, home, external_ids)
    if inside:
        lock_together(connection, {*ids.values(), *ids_inside(connection, ids.values())})
    return locked(connection, list(ids.values()))


def made_documents(
    connection: Connection, home: Home, external_ids: Sequence[str]
) -> dict[str, int]:
    """Give the ids of documents, making those that are new; by external id.

    To be called before any document is locked: who makes a document waits for another who makes
    the same one, and that one may wait for a lock.
    """
    ids = _known_documents(connection, home.index, home.scope, external_ids)
    if missing := sorted(set(external_ids) - ids.keys()):
        ids |= _make_documents(connection, home, missing)
    return ids


def lock_known(connection: Connection, names: Collection[tuple[int | None, str, str]]) -> None:
    """Lock those of these documents that are there, in order of id: index, scope, external id."""
    by_scope: defaultdict[tuple[int | None, str], list[str]] = defaultdict(list)
    for index, scope, external_id in names:
        by_scope[index, scope].append(external_id)
    found: set[int] = set()
    for (index, scope), external_ids in by_scope.items():
        found.update(_known_documents(connection, index, scope, external_ids).values())
    lock_together(connection, found)


def locked(connection: Connection, ids: Sequence[int]) -> dict[str, Row[Any]]:
    """Lock documents in order of id, as they are now; by external id."""
    found: dict[str, Row[Any]] = {}
    for some in slices(sorted(ids)):
        rows = connection.execute(
            select(documents)
            .where(documents.c.id.in_(some))
            .order_by(documents.c.id)
            .with_for_update()
        )
        found |= {row.external_id: row for row in rows}
    return found


def add_versions(
    connection: Connection, home: Home, items: Sequence[Accepted], tally: Tally
) -> None:
    """Make a version of each document, and the batches for those that can start now."""
    place = Place(home.tenant, home.job, home.index, home.pipeline)
    known = lock_documents(connection, home, [item.external_id for item in items])
    for group in groups(items):
        owners = [known[item.external_id] for item in group]
        placed = insert_versions(connection, [home] * len(group), group, owners, tally)
        if started := [key for state, key in placed if state is VersionState.INDEXING]:
            batch = make_batch(connection, place, BatchKind.EXTRACT, cost=cost_of(group))
            hold(connection, started, batch)
        fresh = sum(owner.last_version == 0 for owner in owners)
        tally.add(home.job, documents_new=fresh, documents_changed=len(group) - fresh)
        if len(known) < len(items):  # some come again
            known |= locked(connection, [owner.id for owner in owners])


def insert_versions(
    connection: Connection,
    homes: Sequence[Home],
    items: Sequence[Accepted],
    owners: Sequence[Row[Any]],
    tally: Tally,
) -> list[tuple[VersionState, int]]:
    """Insert a version of each document; gives state and id of each, in order.

    A document whose version before is still being indexed waits for it; one that waited already is
    superseded. No document may come twice.
    """
    states = [_state_of(item, owner) for item, owner in zip(items, owners, strict=True)]
    made = connection.execute(
        insert(versions)
        .values(created_at=clock.now())
        .returning(versions.c.id, versions.c.document_id),
        [
            _values(home, item, owner, state)
            for home, item, owner, state in zip(homes, items, owners, states, strict=True)
        ],
    )
    ids = {row.document_id: row.id for row in made}
    placed = [(state, ids[owner.id]) for owner, state in zip(owners, states, strict=True)]
    _point_to(connection, items, owners, states, ids)
    waited = [
        owner.next_version
        for owner, state in zip(owners, states, strict=True)
        if state is VersionState.WAITING and owner.next_version is not None
    ]
    _supersede(connection, waited, tally)
    _end(connection, [key for state, key in placed if state is VersionState.FAILED])
    for home, state in zip(homes, states, strict=True):
        if state is VersionState.FAILED:
            tally.add(home.job, docs_failed=1)
    return placed


def restart_versions(connection: Connection, ids: Sequence[int], *, base: int | None) -> None:
    """Forget what was committed of open versions, to plan them anew against `base`."""
    for some in slices(ids):
        connection.execute(delete(parts).where(parts.c.version_id.in_(some)))
        connection.execute(
            update(versions)
            .where(versions.c.id.in_(some))
            .values(
                base_version=base, parts_total=None, parts_done=0, rows=0, new_rows=0, batch_id=None
            )
        )


def _length(item: Accepted) -> int:
    return item.source.length if item.source else 0


def _known_documents(
    connection: Connection, index: int | None, scope: str, external_ids: Sequence[str]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in slices(external_ids):
        rows = connection.execute(
            select(documents.c.external_id, documents.c.id).where(
                documents.c.index_id == index,
                documents.c.scope == scope,
                documents.c.external_id.in_(some),
            )
        )
        found |= {row.external_id: row.id for row in rows}
    return found


def _make_documents(
    connection: Connection, home: Home, external_ids: Sequence[str]
) -> dict[str, int]:
    """Insert documents, sorted, so that two who make the same ones do not wait for each other."""
    shared = {
        "tenant": home.tenant,
        "index_id": home.index,
        "scope": home.scope,
        "last_version": 0,
    }
    rows = connection.execute(
        insert(documents).returning(documents.c.external_id, documents.c.id),
        [shared | {"external_id": key} for key in external_ids],
    )
    return {row.external_id: row.id for row in rows}


def _state_of(item: Accepted, owner: Row[Any]) -> VersionState:
    if item.failure is not None:
        return VersionState.FAILED
    return VersionState.INDEXING if owner.open_version is None else VersionState.WAITING


def _values(home: Home, item: Accepted, owner: Row[Any], state: VersionState) -> dict[str, object]:
    source = item.source
    letter = failure_json(item.failure, stage="read", attempts=1) if item.failure else None
    deleted = source is None and letter is None
    return {
        "tenant": home.tenant,
        "document_id": owner.id,
        "job_id": home.job,
        "pipeline_id": home.pipeline,
        "number": owner.last_version + 1,
        "state": state,
        "base_version": owner.live_version,
        "raw_hash": item.raw_hash,
        "recipe_hash": item.recipe_hash,
        "extractor": item.extractor,
        "uri": item.uri,
        "metadata": dict(item.metadata),
        "blob": source.blob if source else None,
        "blob_start": source.start if source else None,
        "blob_length": source.length if source else None,
        "parts_total": 0 if deleted else None,
        "parts_done": 0,
        "rows": 0,
        "new_rows": 0,
        "lost": False,
        "error": letter,
    }


def _point_to(
    connection: Connection,
    items: Sequence[Accepted],
    owners: Sequence[Row[Any]],
    states: Sequence[VersionState],
    ids: Mapping[int, int],
) -> None:
    """Let documents point to their new versions; whoever sent the newest one owns the document."""
    rows = [
        {
            "id": row.id,
            "open_version": ids[row.id] if state is VersionState.INDEXING else row.open_version,
            "next_version": ids[row.id] if state is VersionState.WAITING else row.next_version,
            "parent_id": item.parent,
        }
        for item, row, state in zip(items, owners, states, strict=True)
    ]
    update_each(connection, documents, rows, last_version=documents.c.last_version + 1)


def _end(connection: Connection, failed: Sequence[int]) -> None:
    if failed:
        connection.execute(
            update(versions).where(versions.c.id.in_(failed)).values(ended_at=clock.now())
        )


def _supersede(connection: Connection, waited: Sequence[int], tally: Tally) -> None:
    """End versions that newer ones have taken the place of."""
    if not waited:
        return
    connection.execute(
        update(versions)
        .where(versions.c.id.in_(waited))
        .values(state=VersionState.SUPERSEDED, ended_at=clock.now())
    )
    found = connection.execute(select(versions.c.job_id).where(versions.c.id.in_(waited)))
    for former in found.scalars():
        tally.add(former, docs_done=1)
