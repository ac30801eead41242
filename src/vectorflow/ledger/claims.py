"""Leases: claim, renew, reap. Times are the database's."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, or_, select, update

from vectorflow.domain.documents import BlobRange
from vectorflow.domain.jobs import BatchKind, BatchState, Outcome, VersionState
from vectorflow.domain.manifests import Part
from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger import clock
from vectorflow.ledger.finishing import holds, lock_held, record_attempts
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import (
    batches,
    credentials,
    documents,
    identity,
    indexes,
    jobs,
    parts,
    pipelines,
    secrets,
    versions,
)
from vectorflow.ports.work import Lease, LeasedIndex, LeasedJob, LeasedVersion

REAPED_AT_ONCE = 500


class Sealed(NamedTuple):
    """Credentials of a batch as they rest."""

    tenant: str
    job: str | None
    """What came with its request."""
    tenants: Mapping[str, str]
    """What its tenant keeps here, by name."""


class Claimed(NamedTuple):
    """A lease whose credentials are still sealed."""

    lease: Lease
    sealed: Sealed


_pipelines = TypeAdapter(Pipeline)


def claim(
    connection: Connection,
    *,
    owner: str,
    kinds: Sequence[BatchKind],
    capabilities: Mapping[str, int],
    limit: int,
    lease_seconds: float,
) -> list[Claimed]:
    """Lease ready batches in order of lane, virtual time and age; the epoch goes up by one."""
    rows, specs = _claimable(connection, kinds, capabilities, limit)
    if not rows:
        return []
    connection.execute(
        update(batches)
        .where(batches.c.id.in_([row.id for row in rows]))
        .values(
            state=BatchState.LEASED,
            lease_owner=owner,
            lease_epoch=batches.c.lease_epoch + 1,
            attempt=batches.c.attempt + 1,
            lease_until=clock.now() + lease_seconds,
            leased_at=clock.now(),
        )
    )
    leases = _leases(connection, rows, specs, lease_seconds)
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


def reap(connection: Connection) -> int:
    """Hand out again what nobody renewed; loss alone condemns nothing."""
    ran_out = batches.c.state == BatchState.LEASED, batches.c.lease_until < clock.now()
    # By time and only then by id: SQLite would read the whole table in order of id.
    oldest = (
        select(batches.c.id).where(*ran_out).order_by(batches.c.lease_until).limit(REAPED_AT_ONCE)
    )
    rows = connection.execute(
        select(batches)
        .where(batches.c.id.in_(oldest), *ran_out)
        .order_by(batches.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    return _take_back(connection, rows, zombies=True)


def take_over(connection: Connection, owner_prefix: str) -> int:
    """Hand out at once what a worker held that is known to be dead, not merely silent."""
    held_by = batches.c.lease_owner.startswith(owner_prefix, autoescape=True)
    rows = connection.execute(
        select(batches)
        .where(batches.c.state == BatchState.LEASED, held_by)
        .order_by(batches.c.id)
        .with_for_update()
    ).all()
    return _take_back(connection, rows, zombies=False)


def _take_back(connection: Connection, rows: Sequence[Row[Any]], *, zombies: bool) -> int:
    """Make batches ready again; `zombies` says that their workers may still write."""
    if not rows:
        return 0
    ids = [row.id for row in rows]
    connection.execute(
        update(batches)
        .where(batches.c.id.in_(ids))
        .values(
            state=BatchState.READY,
            run_at=clock.now(),
            lease_until=None,
            attempt=batches.c.attempt - 1,
            lost=batches.c.lost + 1,
        )
    )
    if zombies:
        _mark_lost(connection, rows)
    record_attempts(connection, rows, Outcome.LOST)
    return len(rows)


def _mark_lost(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Note for the versions of these batches that somebody may still write; locked in order."""
    single = [row.version_id for row in rows if row.version_id is not None]
    theirs = versions.c.batch_id.in_([row.id for row in rows]) | versions.c.id.in_(single)
    locked = select(versions.c.id).where(theirs).order_by(versions.c.id).with_for_update()
    if connection.execute(locked).all():
        connection.execute(update(versions).where(theirs).values(lost=True))


def ledger_id(connection: Connection) -> str:
    """The name under which this ledger marks its indexes."""
    return str(connection.execute(select(identity.c.ledger)).scalar_one())


def _claimable(
    connection: Connection,
    kinds: Sequence[BatchKind],
    capabilities: Mapping[str, int],
    limit: int,
) -> tuple[list[Row[Any]], dict[int, Pipeline]]:
    """Lock the next batches that this worker has the plugin revisions for."""
    foreign: set[int] = set()
    while True:
        rows = _next_ready(connection, kinds, foreign, limit)
        specs = _specs(connection, {row.pipeline_id for row in rows})
        beyond_us = {
            key
            for key, spec in specs.items()
            if not spec.recipe.requires.items() <= capabilities.items()
        }
        if not beyond_us:
            return rows, specs
        foreign |= beyond_us


def _next_ready(
    connection: Connection, kinds: Sequence[BatchKind], foreign: set[int], limit: int
) -> list[Row[Any]]:
    """Lock ready batches. One query a kind: each reads only as many rows of the index as it gives.

    Without that, a worker that asks for embed batches would read past all extract batches.
    """
    rows: list[Row[Any]] = []
    for kind in kinds:
        statement = (
            select(batches)
            .where(
                batches.c.state == BatchState.READY,
                batches.c.kind == kind,
                batches.c.run_at <= clock.now(),
            )
            .order_by(batches.c.lane, batches.c.virtual_time, batches.c.run_at, batches.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if foreign:
            statement = statement.where(batches.c.pipeline_id.not_in(foreign))
        rows += connection.execute(statement)
    rows.sort(key=lambda row: (row.lane, row.virtual_time, row.run_at, row.id))
    return rows[:limit]


def _specs(connection: Connection, ids: Iterable[int]) -> dict[int, Pipeline]:
    wanted = set(ids)
    if not wanted:
        return {}
    rows = connection.execute(select(pipelines).where(pipelines.c.id.in_(wanted)))
    return {row.id: _pipelines.validate_python(row.spec) for row in rows}


def _leases(
    connection: Connection,
    rows: Sequence[Row[Any]],
    specs: Mapping[int, Pipeline],
    lease_seconds: float,
) -> list[Lease]:
    held = _indexes(connection, {row.index_id for row in rows})
    told = _document_ids(connection, {row.job_id for row in rows})
    leased = _leased_versions(connection, rows)
    return [
        Lease(
            batch=row.id,
            epoch=row.lease_epoch + 1,
            kind=BatchKind(row.kind),
            seconds=lease_seconds,
            attempt=row.attempt + 1,
            job=LeasedJob(id=row.job_id, document_id=told[row.job_id]),
            pipeline=specs[row.pipeline_id],
            index=held[row.index_id],
            versions=tuple(leased[row.id]),
            vectors=tuple(row.vectors),
        )
        for row in rows
    ]


def _indexes(connection: Connection, ids: Iterable[int]) -> dict[int, LeasedIndex]:
    ledger = ledger_id(connection)
    rows = connection.execute(select(indexes).where(indexes.c.id.in_(set(ids))))
    return {
        row.id: LeasedIndex(
            id=row.id, ledger=ledger, incarnation=row.incarnation, written=row.written
        )
        for row in rows
    }


def _document_ids(connection: Connection, ids: set[int]) -> dict[int, str]:
    rows = connection.execute(select(jobs.c.id, jobs.c.document_id).where(jobs.c.id.in_(ids)))
    return {row.id: row.document_id or "" for row in rows}


def sealed_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[Sealed]:
    """Read the credentials of each of these batches."""
    came = connection.execute(
        select(credentials).where(credentials.c.job_id.in_({row.job_id for row in rows}))
    )
    by_job = {row.job_id: row.sealed for row in came}
    kept: defaultdict[str, dict[str, str]] = defaultdict(dict)
    tenants = {row.tenant for row in rows}
    for row in connection.execute(select(secrets).where(secrets.c.tenant.in_(tenants))):
        kept[row.tenant][row.name] = row.sealed
    return [Sealed(row.tenant, by_job.get(row.job_id), kept[row.tenant]) for row in rows]


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
    statement = (
        select(versions, documents.c.external_id, documents.c.live_version)
        .join(documents, documents.c.id == versions.c.document_id)
        .where(or_(versions.c.batch_id.in_(ids), versions.c.id.in_(single)))
        .order_by(versions.c.id)
    )
    return {row.id: row for row in connection.execute(statement)}


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
        statement = select(parts).where(parts.c.version_id.in_(some))
        for row in connection.execute(statement.order_by(parts.c.version_id, parts.c.number)):
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
