"""Indexes: whose they are, and what happens when a store loses one."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from vectorflow.domain.jobs import OPEN_BATCHES, BatchState, Outcome, VersionState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import FingerprintMismatch, IndexRefused
from vectorflow.ledger.families import lock_together
from vectorflow.ledger.finishing import end_retires, record_attempts
from vectorflow.ledger.locking import locked_rows
from vectorflow.ledger.new_batches import Place, inserted_id
from vectorflow.ledger.new_versions import restart_versions
from vectorflow.ledger.outcomes import Outcomes
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, documents, identity, indexes, versions
from vectorflow.ledger.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """An index as the ledger knows it."""

    id: int
    incarnation: str
    written: bool
    """The store held records of this incarnation."""


def open_index(connection: Connection, *, tenant: str, pipeline: Pipeline) -> IndexRow:
    """Find or make the row of an index, which belongs to the tenant who was first.

    Raises:
        IndexRefused: It belongs to another tenant.
        FingerprintMismatch: It was filled by another model.
    """
    fingerprint = pipeline.recipe.fingerprint
    row = _find(connection, pipeline)
    if row is None:
        # One makes an index at a time: two tenants must not make the same.
        connection.execute(select(identity.c.ledger).with_for_update())
        row = _find(connection, pipeline)
    if row is None:
        return insert_index(connection, tenant=tenant, pipeline=pipeline, name=pipeline.index)
    if row.tenant != tenant:
        message = f"index {pipeline.index!r} in this store belongs to another tenant"
        raise IndexRefused(message, fix="use another index name")
    if row.fingerprint != fingerprint.digest:
        raise FingerprintMismatch(pipeline.index, held=row.model, got=fingerprint.model)
    return IndexRow(id=row.id, incarnation=row.incarnation, written=row.written)


def _find(connection: Connection, pipeline: Pipeline) -> Row[Any] | None:
    return connection.execute(
        select(indexes)
        .where(indexes.c.locator == pipeline.store, indexes.c.name == pipeline.index)
        .order_by(indexes.c.id)
        .limit(1)
        .with_for_update()
    ).one_or_none()


def insert_index(connection: Connection, *, tenant: str, pipeline: Pipeline, name: str) -> IndexRow:
    """Make the row of an index that is not there."""
    fingerprint = pipeline.recipe.fingerprint
    incarnation = str(uuid.uuid4())
    key = connection.execute(
        insert(indexes).values(
            tenant=tenant,
            locator=pipeline.store,
            name=name,
            fingerprint=fingerprint.digest,
            model=fingerprint.model,
            dimensions=fingerprint.dimensions,
            incarnation=incarnation,
            written=False,
        )
    ).inserted_primary_key
    return IndexRow(id=inserted_id(key), incarnation=incarnation, written=False)


def reset_index(connection: Connection, index: int, *, incarnation: str) -> bool:
    """Start an index anew after its store lost it: nothing is live, open versions begin again.

    False where somebody else already did, so that two who notice reset once.
    """
    tally = Tally()
    open_batches = _lock_open_batches(connection, batches.c.index_id == index)
    changed = connection.execute(
        update(indexes)
        .where(indexes.c.id == index, indexes.c.incarnation == incarnation)
        .values(incarnation=str(uuid.uuid4()), written=False)
    )
    if not changed.rowcount:
        return False
    of_index = select(documents.c.id).where(documents.c.index_id == index)
    indexing = versions.c.state == VersionState.INDEXING
    opened = locked_rows(connection, versions, indexing & versions.c.document_id.in_(of_index))
    _cancel(connection, tally, open_batches)
    # Now that no open version can get new ones: a batch that ended while the first look waited for
    # it may have left some.
    for some in slices([row.id for row in opened]):
        late = _lock_open_batches(connection, batches.c.version_id.in_(some))
        _cancel(connection, tally, late)
    _forget_live(connection, index)
    restart_versions(connection, [row.id for row in opened], base=None)
    outcomes = Outcomes(connection, tally, zombie_seconds=0.0)
    for row in opened:
        outcomes.extract(Place(row.tenant, row.job_id, index, row.pipeline_id), row)
    outcomes.write()
    return True


def _lock_open_batches(connection: Connection, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    return locked_rows(connection, batches, which & batches.c.state.in_(OPEN_BATCHES))


def _cancel(connection: Connection, tally: Tally, rows: Sequence[Row[Any]]) -> None:
    """End batches; workers that hold them find their leases stale."""
    leased = [row for row in rows if row.state == BatchState.LEASED]
    record_attempts(connection, leased, Outcome.RELEASED)
    for some in slices(rows):
        connection.execute(
            update(batches)
            .where(batches.c.id.in_([row.id for row in some]))
            .values(state=BatchState.CANCELLED, lease_until=None, bucket_id=None)
        )
        end_retires(connection, tally, some)


def _forget_live(connection: Connection, index: int) -> None:
    """No document of the index is live any more; their locks keep others from flipping."""
    served = documents.c.index_id == index, documents.c.live_version.is_not(None)
    ids = connection.execute(select(documents.c.id).where(*served)).scalars().all()
    lock_together(connection, ids)
    for some in slices(ids):
        connection.execute(
            update(documents).where(documents.c.id.in_(some)).values(live_version=None)
        )
    of_index = select(documents.c.id).where(documents.c.index_id == index)
    connection.execute(
        update(versions)
        .where(versions.c.state == VersionState.LIVE, versions.c.document_id.in_(of_index))
        .values(state=VersionState.RETIRED)
    )
