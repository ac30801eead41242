"""Open an index for writing or searching: ours, of the right model, and still there."""

from functools import partial

import pyarrow as pa

from vectorflow.domain.columns import strings
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import (
    BadChunk,
    DimensionMismatch,
    FingerprintMismatch,
    ForeignIndex,
    LeaseLost,
    NotFound,
)
from vectorflow.ledger import claims, indexes, reads
from vectorflow.ledger.database import Database
from vectorflow.ports.vector_store import Marker, Remote, VectorStore

NO_INDEX = 0
"""No row has this id: nothing is found in it."""


async def open_for_writing(
    database: Database, store: VectorStore, *, tenant: str, pipeline: Pipeline
) -> int:
    """Find or make an index in the ledger; one that its store lost begins anew.

    The store itself is touched by the first batch, not here. Gives the row of the index.

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
    return row.id


async def check_there(store: VectorStore, pipeline: Pipeline) -> None:
    """See that a remote store has the index that a client names, which is never made for it.

    Raises:
        NotFound: It has not.
        DimensionMismatch: It holds vectors of another length.
    """
    if not isinstance(store, Remote):
        return
    dimensions = pipeline.recipe.fingerprint.dimensions
    held = await store.dimensions(pipeline.index)
    if held is None:
        message = f"there is no index {pipeline.index!r} in the store"
        fix = f"create it there, for {dimensions} dimensions and cosine"
        raise NotFound(message, fix=fix)
    if held != dimensions:
        raise DimensionMismatch(pipeline.index, held=held, got=dimensions)


async def open_for_estimate(
    database: Database, store: VectorStore, *, tenant: str, pipeline: Pipeline
) -> int:
    """Find the row of an index and change nothing; `NO_INDEX` where all documents would be new."""
    find = partial(reads.find_index, tenant=tenant, locator=pipeline.store, name=pipeline.index)
    row = await database.read(find)
    if row is None or not row.written:
        return NO_INDEX
    if row.fingerprint != pipeline.recipe.fingerprint.digest:
        raise FingerprintMismatch(
            pipeline.index, held=row.model, got=pipeline.recipe.fingerprint.model
        )
    marker = await store.marker(pipeline.index)
    lost = marker is None or marker.incarnation != row.incarnation
    return NO_INDEX if lost else int(row.id)


async def open_for_search(
    database: Database, store: VectorStore, *, tenant: str, pipeline: Pipeline
) -> int:
    """Find the row of an index to search in.

    Raises:
        NotFound: Nothing was embedded into it.
        IndexRefused: It belongs to another ledger or holds vectors of another model.
    """
    marker = await store.marker(pipeline.index)
    if marker is not None:
        ledger = await database.read(claims.ledger_id)
        check_marker(marker, ledger=ledger, pipeline=pipeline)
    find = partial(reads.find_index, tenant=tenant, locator=pipeline.store, name=pipeline.index)
    row = await database.read(find)
    if row is None:
        message = f"there is no index {pipeline.index!r} here"
        raise NotFound(message, fix="embed something into it first: `vectorflow embed PATH`")
    return int(row.id)


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


async def write_records(
    store: VectorStore, index: str, incarnation: str, records: pa.Table
) -> None:
    """Write records, as many at once as the store takes.

    Raises:
        BadChunk: Of the row `position` of these records.
        LeaseLost: The index was started anew meanwhile, and has none of these.
    """
    try:
        for start in range(0, len(records), store.batch_records):
            await _write_some(store, index, records, start)
    finally:
        await take_back_if_late(store, index, incarnation, records)


async def _write_some(store: VectorStore, index: str, records: pa.Table, start: int) -> None:
    try:
        await store.upsert(index, records.slice(start, store.batch_records))
    except BadChunk as error:
        error.position += start
        raise


async def take_back_if_late(
    store: VectorStore, index: str, incarnation: str, records: pa.Table
) -> None:
    """Delete what was written into an index that somebody had started anew meanwhile.

    An incarnation never comes back: if it is there after a write, it was there during the write.
    Ids belong to one incarnation, so that nobody else can have written these.

    Raises:
        LeaseLost: It was; whoever started the index anew has made new batches.
    """
    marker = await store.marker(index)
    if marker is not None and marker.incarnation != incarnation:
        await store.delete(index, strings(records, "id"))
        message = f"index {index!r} was started anew during a write"
        raise LeaseLost(message)
