"""What an export reads: versions that searches serve, and where vectors were kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from vectorflow.domain.jobs import BatchKind, VersionState
from vectorflow.domain.manifests import Part
from vectorflow.domain.pipelines import WEBHOOK_SCHEME
from vectorflow.ledger.claims import load_parts
from vectorflow.ledger.families import ids_inside
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, documents, indexes, jobs, versions

IDS_AT_ONCE = 10_000
"""Ids of versions that one statement lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An index whose records are read."""

    id: int
    locator: str
    """Of its store, without credentials."""
    name: str
    dimensions: int

    @property
    def delivers(self) -> bool:
        """Its vectors were sent to somebody, and are in no store."""
        return self.locator.startswith(WEBHOOK_SCHEME)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveVersion:
    """A version that searches serve, with its manifest."""

    id: int
    job: int
    external_id: str
    metadata: Mapping[str, object]
    parts: tuple[Part, ...]


def exported(connection: Connection, *, index: int) -> Exported:
    """Read an index that is there."""
    row = connection.execute(select(indexes).where(indexes.c.id == index)).one()
    return Exported(id=row.id, locator=row.locator, name=row.name, dimensions=row.dimensions)


def live_of_job(connection: Connection, *, job: int, after: int) -> list[int]:
    """List the versions of a job that are live, in order of id: the next after `after`."""
    statement = (
        select(versions.c.id)
        .where(
            versions.c.job_id == job,
            versions.c.state == VersionState.LIVE,
            versions.c.id > after,
        )
        .order_by(versions.c.id)
        .limit(IDS_AT_ONCE)
    )
    return list(connection.execute(statement).scalars())


def first_open(connection: Connection, *, job: int) -> int | None:
    """Find the first version of a job that may still become live; None if there is none now."""
    open_states = [VersionState.WAITING, VersionState.INDEXING]
    statement = (
        select(versions.c.id)
        .where(versions.c.job_id == job, versions.c.state.in_(open_states))
        .order_by(versions.c.id)
        .limit(1)
    )
    return connection.execute(statement).scalar_one_or_none()


def live_before_job(connection: Connection, *, job: int) -> list[int]:
    """List live versions that made work of a job needless: they are what it would have made.

    Its one document was unchanged, or went live by another job while it waited. What is attached to
    it belongs to it.
    """
    own = versions.alias("own")
    twins = (
        select(documents.c.id, versions.c.id)
        .join(documents, documents.c.live_version == versions.c.id)
        .join(own, own.c.document_id == documents.c.id)
        .where(
            own.c.job_id == job,
            own.c.state == VersionState.SUPERSEDED,
            own.c.raw_hash == versions.c.raw_hash,
            own.c.recipe_hash == versions.c.recipe_hash,
            versions.c.job_id != job,
        )
    )
    named = (
        select(documents.c.id, documents.c.live_version)
        .join(
            jobs,
            (jobs.c.index_id == documents.c.index_id)
            & (jobs.c.scope == documents.c.scope)
            & (jobs.c.document_id == documents.c.external_id),
        )
        .join(versions, versions.c.id == documents.c.live_version)
        .where(
            jobs.c.id == job,
            jobs.c.documents_unchanged > 0,
            versions.c.created_at <= jobs.c.created_at,  # a later one is another job's
        )
    )
    found = [(row[0], row[1]) for each in (twins, named) for row in connection.execute(each)]
    attached = _live_inside(connection, [document for document, _ in found], job)
    return sorted({*attached, *(version for _, version in found)})


def _live_inside(connection: Connection, outers: Sequence[int], job: int) -> list[int]:
    """List what is live of the attachments of these, made by other jobs."""
    found: list[int] = []
    for some in slices(sorted(ids_inside(connection, outers))):
        statement = (
            select(versions.c.id)
            .join(documents, documents.c.live_version == versions.c.id)
            .where(documents.c.id.in_(some), versions.c.job_id != job)
        )
        found += connection.execute(statement).scalars()
    return found


def live_of_index(
    connection: Connection,
    *,
    index: int,
    scope: str | None = None,
    external_ids: Sequence[str] | None = None,
) -> list[int]:
    """List the live versions of an index, in order of id: of one scope, of some documents.

    What is attached to a document belongs to it.
    """
    statement = select(documents.c.id, documents.c.live_version).where(
        documents.c.index_id == index
    )
    if scope is not None:
        statement = statement.where(documents.c.scope == scope)
    if external_ids is None:
        rows = connection.execute(statement.where(documents.c.live_version.is_not(None)))
        return sorted(row.live_version for row in rows)
    found: dict[int, int | None] = {}
    for some in slices(external_ids):
        named = connection.execute(statement.where(documents.c.external_id.in_(some)))
        found |= {row.id: row.live_version for row in named}
    for inside in slices(sorted(ids_inside(connection, found))):
        attached = connection.execute(statement.where(documents.c.id.in_(inside)))
        found |= {row.id: row.live_version for row in attached}
    return sorted(key for key in found.values() if key is not None)


def live_instead(connection: Connection, *, of: Sequence[int]) -> list[int]:
    """List what is live instead of these versions, in order of id."""
    found: set[int] = set()
    for some in slices(of):
        statement = (
            select(documents.c.live_version)
            .join(versions, versions.c.document_id == documents.c.id)
            .where(
                versions.c.id.in_(some),
                documents.c.live_version.is_not(None),
                documents.c.live_version != versions.c.id,
            )
        )
        found.update(key for key in connection.execute(statement).scalars() if key is not None)
    return sorted(found)


def live_versions(connection: Connection, *, ids: Sequence[int]) -> list[LiveVersion]:
    """Read those of these versions that are still live, in order of id."""
    rows = connection.execute(
        select(versions, documents.c.external_id)
        .join(documents, documents.c.id == versions.c.document_id)
        .where(versions.c.id.in_(ids), versions.c.state == VersionState.LIVE)
        .order_by(versions.c.id)
    ).all()
    manifests = load_parts(connection, [row.id for row in rows])
    return [
        LiveVersion(
            id=row.id,
            job=row.job_id,
            external_id=row.external_id,
            metadata=row.metadata,
            parts=tuple(manifests.get(row.id, [])),
        )
        for row in rows
    ]


def still_live(connection: Connection, *, ids: Sequence[int]) -> set[int]:
    """Leave out versions that were replaced."""
    found = connection.execute(
        select(versions.c.id).where(versions.c.id.in_(ids), versions.c.state == VersionState.LIVE)
    )
    return set(found.scalars())


def vector_files(connection: Connection, *, of_jobs: Iterable[int]) -> list[str]:
    """List the vector files that the batches of these jobs wrote; some may be gone by now."""
    keys: list[str] = []
    for some in slices(list(of_jobs)):
        rows = connection.execute(
            select(batches.c.vectors)
            .where(batches.c.job_id.in_(some), batches.c.kind == BatchKind.EMBED)
            .order_by(batches.c.id)
        )
        keys += [key for vectors in rows.scalars() for key in vectors]
    return keys
