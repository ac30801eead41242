"""Indexes: whose they are, and what happens when a store loses one."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from vectorflow.domain.jobs import BatchState, Outcome, VersionState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import FingerprintMismatch
from vectorflow.ledger.finishing import end_retires, record_attempts
from vectorflow.ledger.outcomes import Outcomes, Place, inserted_id, restart_versions
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, documents, indexes, versions
from vectorflow.ledger.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """An index as the ledger knows it."""

    id: int
    incarnation: str
    written: bool
    """The store held records of this incarnation."""


def open_index(connection: Connection, *, tenant: str, pipeline: Pipeline) -> IndexRow:
    """Find or make the row of an index.

    Raises:
        FingerprintMismatch: It was filled by another model.
    """
    fingerprint = pipeline.recipe.fingerprint
    row = connection.execute(
        select(indexes)
        .where(
            indexes.c.tenant == tenant,
            indexes.c.locator == pipeline.store,
            indexes.c.name == pipeline.index,
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        return insert_index(connection, tenant=tenant, pipeline=pipeline, name=pipeline.index)
    if row.fingerprint != fingerprint.digest:
        raise FingerprintMismatch(pipeline.index, held=row.model, got=fingerprint.model)
    return IndexRow(id=row.id, incarnation=row.incarnation, written=row.written)


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
    opened = connection.execute(
        select(versions)
        .where(versions.c.state == VersionState.INDEXING, versions.c.document_id.in_(of_index))
        .order_by(versions.c.id)
        .with_for_update()
    ).all()
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
        outcomes.extract(Place(row.tenant, row.job_id, index, row.pipeline_id), row.id)
    outcomes.write()
    return True


def _lock_open_batches(connection: Connection, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    return connection.execute(
        select(batches)
        .where(which, batches.c.state.in_([BatchState.READY, BatchState.LEASED]))
        .order_by(batches.c.id)
        .with_for_update()
    ).all()


def _cancel(connection: Connection, tally: Tally, rows: Sequence[Row[Any]]) -> None:
    """End batches; workers that hold them find their leases stale."""
    leased = [row for row in rows if row.state == BatchState.LEASED]
    record_attempts(connection, leased, Outcome.RELEASED)
    for some in slices(rows):
        connection.execute(
            update(batches)
            .where(batches.c.id.in_([row.id for row in some]))
            .values(state=BatchState.CANCELLED, lease_until=None)
        )
        end_retires(connection, tally, some)


def _forget_live(connection: Connection, index: int) -> None:
    """No document of the index is live any more; their locks keep others from flipping."""
    served = documents.c.index_id == index, documents.c.live_version.is_not(None)
    in_order = select(documents.c.id).where(*served).order_by(documents.c.id).with_for_update()
    connection.execute(
        update(documents).where(documents.c.id.in_(in_order)).values(live_version=None)
    )
    of_index = select(documents.c.id).where(documents.c.index_id == index)
    connection.execute(
        update(versions)
        .where(versions.c.state == VersionState.LIVE, versions.c.document_id.in_(of_index))
        .values(state=VersionState.RETIRED)
    )
