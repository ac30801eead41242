"""What stores must hold and what they may hold, for whoever compares them with the ledger."""

from dataclasses import dataclass

from sqlalchemy import Connection, or_, select

from vectorflow.domain.jobs import OPEN_BATCHES, VersionState
from vectorflow.domain.manifests import Part
from vectorflow.domain.pipelines import WEBHOOK_SCHEME
from vectorflow.ledger.claims import load_parts
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, indexes, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenIndex:
    """An index whose store holds records of it."""

    id: int
    locator: str
    name: str
    incarnation: str


def stored_indexes(connection: Connection, *, name: str | None = None) -> list[WrittenIndex]:
    """List the indexes that stores hold, or those of one name."""
    columns = indexes.c.id, indexes.c.locator, indexes.c.name, indexes.c.incarnation
    statement = select(*columns).where(
        indexes.c.written.is_(True), ~indexes.c.locator.startswith(WEBHOOK_SCHEME)
    )
    if name is not None:
        statement = statement.where(indexes.c.name == name)
    rows = connection.execute(statement.order_by(indexes.c.id)).mappings()
    return [WrittenIndex(**row) for row in rows]


def parts_under_way(connection: Connection, *, index: int) -> list[Part]:
    """List the manifests of what is being stored in an index, or deleted from it."""
    open_batches = connection.execute(
        select(batches.c.id, batches.c.version_id).where(
            batches.c.index_id == index, batches.c.state.in_(OPEN_BATCHES)
        )
    ).all()
    found: set[int] = set()
    for some in slices(open_batches):
        held = or_(
            versions.c.batch_id.in_([row.id for row in some]),
            versions.c.id.in_([row.version_id for row in some if row.version_id is not None]),
        )
        states = versions.c.state.not_in([VersionState.WAITING, VersionState.LIVE])
        found.update(connection.execute(select(versions.c.id).where(held, states)).scalars())
    return [part for group in load_parts(connection, found).values() for part in group]
