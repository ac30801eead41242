"""Leases: claim and renew. Times are the database's."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Double, Integer, Row, bindparam, select, update

from vectorflow.domain.documents import BlobRange
from vectorflow.domain.jobs import LANES, BatchKind, BatchState, JobState, Lane, VersionState
from vectorflow.domain.manifests import Part
from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger import clock, ready
from vectorflow.ledger.columns import IDS, Id
from vectorflow.ledger.finishing import holds, lock_held
from vectorflow.ledger.gate import Gate
from vectorflow.ledger.secrets import Sealed, sealed_of
from vectorflow.ledger.slices import slices
from vectorflow.ledger.specs import specs
from vectorflow.ledger.suspects import is_suspect
from vectorflow.ledger.tables import (
    batches,
    documents,
    identity,
    indexes,
    jobs,
    parts,
    versions,
)
from vectorflow.ports.work import Lease, LeasedIndex, LeasedJob, LeasedVersion

IN_ORDER = "FORCE INDEX (ix_batches_state_kind_lane_virtual_time_run_at_id)"
"""MariaDB locks all that it sorts; read in the order of the index, it locks what it gives."""

_NEXT = (
    select(batches)
    .with_hint(batches, IN_ORDER, "mariadb")
    .where(
        batches.c.state == BatchState.READY,
        batches.c.kind == bindparam("of"),
        batches.c.run_at <= clock.now(),
    )
    .order_by(batches.c.lane, batches.c.virtual_time, batches.c.run_at, batches.c.id)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)

_LEASE = (
    update(batches)
    .where(batches.c.id.in_(IDS))
    .values(
        state=BatchState.LEASED,
        lease_owner=bindparam("owner"),
        lease_epoch=batches.c.lease_epoch + 1,
        attempt=batches.c.attempt + 1,
        lease_until=clock.now() + bindparam("seconds", type_=Double),
        leased_at=clock.now(),
    )
)

_JOBS = select(jobs.c.id, jobs.c.state, jobs.c.document_id).where(jobs.c.id.in_(IDS))

_INDEXES = select(indexes, select(identity.c.ledger).scalar_subquery().label("ledger")).where(
    indexes.c.id.in_(IDS)
)

_VERSIONS_OF = (
    select(versions, documents.c.external_id, documents.c.live_version)
    .join(documents, documents.c.id == versions.c.document_id)
    .where(
        versions.c.batch_id.in_(IDS)
        | versions.c.id.in_(bindparam("single", type_=Id, expanding=True))
    )
    .order_by(versions.c.id)
)

_PARTS = (
    select(parts).where(parts.c.version_id.in_(IDS)).order_by(parts.c.version_id, parts.c.number)
)


class Claimed(NamedTuple):
    """A lease whose credentials are still sealed."""

    lease: Lease
    sealed: Sealed


class Wanted(NamedTuple):
    """What a worker has room for."""

    kinds: Sequence[BatchKind]
    capabilities: Mapping[str, int]
    limit: int
    lanes: Sequence[Lane] = LANES
    bulk: int = 0
    """Of the limit, what is kept for bulk if it waits, however much interactive work there is."""


def claim(
    connection: Connection, *, owner: str, wanted: Wanted, lease_seconds: float
) -> list[Claimed]:
    """Lease ready batches in order of lane, virtual time and age; the epoch goes up by one."""
    gate = Gate(connection, wanted.kinds, probe_seconds=lease_seconds)
    found = _claimable(connection, wanted, gate)
    rows = _apart(found.rows)
    if not rows:
        return []
    if len(found.rows) == wanted.limit or len(found.rows) > len(rows):  # more, for another worker
        ready.note_rows(connection, found.rows)
    ids = [row.id for row in rows]
    connection.execute(_LEASE, {"ids": ids, "owner": owner, "seconds": lease_seconds})
    leases = _leases(connection, found._replace(rows=rows), lease_seconds)
    return list(map(Claimed, leases, sealed_of(connection, rows)))


def renew(connection: Connection, leases: Sequence[Lease], *, lease_seconds: float) -> list[Lease]:
    """Push leases out; those that are not ours any more are left out of the answer.

    So are those whose document was ended by another part of it: their workers must stop before the
    delayed retire runs.
    """
    held = lock_held(connection, leases)
    kept = held.keys() - _pointless(connection, held)
    if kept:
        connection.execute(
            update(batches)
            .where(batches.c.id.in_(kept))
            .values(lease_until=clock.now() + lease_seconds)
        )
    return [lease for lease in leases if lease.batch in kept and holds(held, lease)]


def _pointless(connection: Connection, held: Iterable[int]) -> set[int]:
    """Parts of versions that ended."""
    found = connection.execute(
        select(batches.c.id)
        .join(versions, versions.c.id == batches.c.version_id)
        .where(
            batches.c.id.in_(list(held)),
            batches.c.kind == BatchKind.EMBED,
            versions.c.state != VersionState.INDEXING,
        )
    )
    return set(found.scalars())


def ledger_id(connection: Connection) -> str:
    """The name under which this ledger marks its indexes."""
    return str(connection.execute(select(identity.c.ledger)).scalar_one())


class _Job(NamedTuple):
    """What a claim has to know of a job."""

    paused: bool
    document_id: str


class _Found(NamedTuple):
    """Batches that can be leased, with their pipelines and jobs by id."""

    rows: list[Row[Any]]
    specs: Mapping[int, Pipeline]
    jobs: Mapping[int, _Job]


def _claimable(connection: Connection, wanted: Wanted, gate: Gate) -> _Found:
    """Lock the next batches that this worker has the plugin revisions for.

    Those of a paused job are passed over: what was ready when it was paused is not even read, but
    what was leased then, and what came of it, is ready now. So are those whose system is away.
    """
    foreign, waiting = set[int](), set[int]()
    while True:
        rows = _next_ready(connection, wanted, foreign=foreign, waiting=waiting)
        known = specs(connection, {row.pipeline_id for row in rows})
        owners = _jobs(connection, {row.job_id for row in rows})
        beyond_us = {
            key
            for key, spec in known.items()
            if not spec.recipe.requires.items() <= wanted.capabilities.items()
        }
        paused = {row.job_id for row in rows if _must_wait(row, owners)}
        if not beyond_us and not paused and (free := gate.passing(rows, known)) is not None:
            return _Found(free, known, owners)
        foreign |= beyond_us
        waiting |= paused


def _must_wait(row: Row[Any], owners: Mapping[int, _Job]) -> bool:
    """Whether a job's pause is for this batch too; what deletes goes on."""
    return owners[row.job_id].paused and bool(row.kind != BatchKind.RETIRE)


def _apart(rows: list[Row[Any]]) -> list[Row[Any]]:
    """Give a batch that workers may die of beside no other, and what comes before it without it."""
    suspect = next((place for place, row in enumerate(rows) if is_suspect(row)), len(rows))
    return rows[: max(suspect, 1)]


def _next_ready(
    connection: Connection, wanted: Wanted, *, foreign: set[int], waiting: set[int]
) -> list[Row[Any]]:
    """Lock ready batches, of each kind as many as of the others where there are too many.

    Virtual times of kinds cannot be compared. Interactive ones come first; where they would take
    all, the last of them leave their places to bulk.
    """
    read = partial(_ready, connection, wanted.kinds, foreign=foreign, waiting=waiting)
    rows = read(wanted.lanes, wanted.limit)[: wanted.limit]
    missing = wanted.bulk - sum(row.lane == Lane.BULK for row in rows)
    if missing <= 0 or len(rows) < wanted.limit or Lane.BULK not in wanted.lanes:
        return rows
    held = {row.id for row in rows}
    spare = [row for row in read([Lane.BULK], wanted.bulk) if row.id not in held][:missing]
    return rows[: wanted.limit - len(spare)] + spare


def _ready(
    connection: Connection,
    kinds: Sequence[BatchKind],
    lanes: Sequence[Lane],
    limit: int,
    *,
    foreign: set[int],
    waiting: set[int],
) -> list[Row[Any]]:
    """Lock so many ready batches of each kind, and give them in order of lane and turn.

    One query a kind: each reads only as many rows of the index as it gives. Without that, a worker
    that asks for embed batches would read past all extract batches.
    """
    found: list[tuple[int, int, int, Row[Any]]] = []
    for place, kind in enumerate(kinds):
        statement = _NEXT
        if len(lanes) == 1:
            statement = statement.where(batches.c.lane == lanes[0])
        if foreign:
            statement = statement.where(batches.c.pipeline_id.not_in(foreign))
        if waiting and kind != BatchKind.RETIRE:
            statement = statement.where(batches.c.job_id.not_in(waiting))
        rows = connection.execute(statement, {"of": kind, "most": limit})
        found += [(row.lane, turn, place, row) for turn, row in enumerate(rows)]
    return [row for *_, row in sorted(found, key=itemgetter(0, 1, 2))]


def _leases(connection: Connection, found: _Found, lease_seconds: float) -> list[Lease]:
    rows = found.rows
    held = _indexes(connection, {row.index_id for row in rows})
    leased = _leased_versions(connection, rows)
    return [
        Lease(
            batch=row.id,
            epoch=row.lease_epoch + 1,
            kind=BatchKind(row.kind),
            seconds=lease_seconds,
            attempt=row.attempt + 1,
            job=_leased_job(row, found.jobs[row.job_id]),
            pipeline=found.specs[row.pipeline_id],
            index=held[row.index_id],
            versions=tuple(leased[row.id]),
            vectors=tuple(row.vectors),
            lane=Lane(row.lane),
            alone=is_suspect(row),
        )
        for row in rows
    ]


def _leased_job(row: Row[Any], job: _Job) -> LeasedJob:
    return LeasedJob(id=row.job_id, tenant=row.tenant, document_id=job.document_id)


def _indexes(connection: Connection, ids: Iterable[int]) -> dict[int, LeasedIndex]:
    rows = connection.execute(_INDEXES, {"ids": set(ids)})
    return {
        row.id: LeasedIndex(
            id=row.id, ledger=row.ledger, incarnation=row.incarnation, written=row.written
        )
        for row in rows
    }


def _jobs(connection: Connection, ids: set[int]) -> dict[int, _Job]:
    """Read jobs; whether one is paused may be a moment old."""
    if not ids:
        return {}
    rows = connection.execute(_JOBS, {"ids": ids})
    return {
        row.id: _Job(paused=row.state == JobState.PAUSED, document_id=row.document_id or "")
        for row in rows
    }


def _leased_versions(
    connection: Connection, rows: Sequence[Row[Any]]
) -> dict[int, list[LeasedVersion]]:
    """What each batch works on. Versions that ended meanwhile are left out."""
    found = _versions_of(connection, rows)
    by_group: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    for row in found.values():
        by_group[row.batch_id].append(row)
    manifests = _manifests(connection, found.values())
    leased: dict[int, list[LeasedVersion]] = {}
    for batch in rows:
        own = [found[batch.version_id]] if batch.version_id in found else by_group[batch.id]
        leased[batch.id] = [
            _leased_version(batch, row, manifests) for row in own if _is_due(batch.kind, row)
        ]
    return leased


def _is_due(kind: str, row: Row[Any]) -> bool:
    """Versions that ended, and those extracted whole before a crash, need nothing any more."""
    if kind == BatchKind.RETIRE:
        return bool(row.state != VersionState.INDEXING)
    extracted = kind == BatchKind.EXTRACT and row.parts_total is not None
    return bool(row.state == VersionState.INDEXING) and not extracted


def _versions_of(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, Row[Any]]:
    ids = [row.id for row in rows]
    single = [row.version_id for row in rows if row.version_id is not None]
    found = connection.execute(_VERSIONS_OF, {"ids": ids, "single": single})
    return {row.id: row for row in found}


def _manifests(connection: Connection, rows: Iterable[Row[Any]]) -> dict[int, list[Part]]:
    """Parts of these versions, of their bases and of what is live instead of them."""
    wanted: set[int] = set()
    for row in rows:
        wanted |= {key for key in (row.id, row.base_version, row.live_version) if key is not None}
    return load_parts(connection, wanted)


def load_parts(connection: Connection, wanted: Iterable[int]) -> dict[int, list[Part]]:
    """Parts by version id, in order."""
    found: defaultdict[int, list[Part]] = defaultdict(list)
    for some in slices(list(wanted)):
        for row in connection.execute(_PARTS, {"ids": some}):
            found[row.version_id].append(_part(row))
    return found


def _part(row: Row[Any]) -> Part:
    return Part(
        number=row.number,
        blob=row.blob,
        row_start=row.row_start,
        rows=row.rows,
        resume_at=row.resume_at,
    )


def _leased_version(
    batch: Row[Any], row: Row[Any], manifests: Mapping[int, list[Part]]
) -> LeasedVersion:
    other = row.live_version if batch.kind == BatchKind.RETIRE else row.base_version
    own = manifests.get(row.id, [])
    if batch.part is not None:
        own = [part for part in own if part.number == batch.part]
    source = None
    if row.blob is not None:
        source = BlobRange(blob=row.blob, start=row.blob_start, length=row.blob_length)
    return LeasedVersion(
        id=row.id,
        document=row.document_id,
        external_id=row.external_id,
        number=row.number,
        extractor=row.extractor,
        source=source,
        metadata=row.metadata,
        parts=tuple(own),
        base=tuple(manifests.get(other, [])),
    )
