"""Open an index for writing or searching: ours, of the right model, and still there."""

from functools import partial

from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import FingerprintMismatch, ForeignIndex
from vectorflow.ledger import claims, indexes
from vectorflow.ledger.database import Database
from vectorflow.ledger.indexes import IndexRow
from vectorflow.ports.vector_store import Marker, VectorStore


async def open_for_writing(
    database: Database, store: VectorStore, *, tenant: str, pipeline: Pipeline
) -> IndexRow:
    """Find or make an index in the ledger; one that its store lost begins anew.

    The store itself is touched by the first batch, not here.

    Raises:
        IndexRefused: It belongs to another ledger or holds vectors of another model.
    """
    open_index = partial(indexes.open_index, tenant=tenant, pipeline=pipeline)
    row = await database.write(open_index)
    marker = await store.marker(pipeline.index)
    if marker is not None:
        ledger = await database.read(claims.ledger_id)
        check_marker(marker, ledger=ledger, pipeline=pipeline)
    lost = marker is None or marker.incarnation != row.incarnation
    if row.written and lost:
        reset = partial(indexes.reset_index, index=row.id, incarnation=row.incarnation)
        await database.write(reset)
        row = await database.write(open_index)
    return row


def check_marker(marker: Marker, *, ledger: str, pipeline: Pipeline) -> None:
    """Refuse an index that is not ours to write into.

    Raises:
        ForeignIndex: Another ledger owns it.
        FingerprintMismatch: It holds vectors of another model.
    """
    if marker.ledger != ledger:
        raise ForeignIndex(pipeline.index, owner=marker.ledger)
    fingerprint = pipeline.recipe.fingerprint
    if marker.fingerprint != fingerprint.digest:
        raise FingerprintMismatch(pipeline.index, held="another model", got=fingerprint.model)
