"""What batches share: one embedder per model, one stream of writes per index."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import pyarrow as pa

from vectorflow.domain.columns import strings
from vectorflow.errors import ForeignIndex, IndexLost, LeaseLost
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.vector_store import Marker, VectorStore
from vectorflow.ports.work import Lease, Work
from vectorflow.service.embed import Target
from vectorflow.service.extract import Cutters
from vectorflow.service.indexes import check_marker
from vectorflow.worker.grouping import Grouped
from vectorflow.worker.text_requests import TextRequests


class Workshop(Protocol):
    """Gives the plugins a pipeline names, each opened once per process."""

    async def store(self, locator: str) -> VectorStore:
        """Open a store by its canonical locator."""
        ...

    async def embedder(self, name: str) -> Embedder:
        """Open an embedder, `plugin:model`."""
        ...

    def cutters(self, lease: Lease) -> Cutters:
        """Make the extractors and the chunker of a lease's pipeline."""
        ...


class Targets:
    """Makes the target of each lease from what is shared."""

    def __init__(self, work: Work, workshop: Workshop) -> None:
        self._work = work
        self._workshop = workshop
        self._requests: dict[str, TextRequests] = {}
        self._writes: dict[tuple[str, str, str], Grouped[pa.Table, None]] = {}
        self._ready: set[tuple[str, str, str]] = set()

    @property
    def embedded(self) -> int:
        """Chunks embedded so far, those of batches under way too."""
        return sum(requests.embedded for requests in self._requests.values())

    async def of(self, lease: Lease) -> Target:
        """Give the embedder and the store of a lease; its index exists from now on.

        Raises:
            IndexLost: The store has no longer what was written into it.
            IndexRefused: The index is not ours to write into.
        """
        pipeline = lease.pipeline
        embedder = await self._workshop.embedder(pipeline.embedder)
        store = await self._workshop.store(pipeline.store)
        await self._ensure(lease, store)
        requests = self._requests.setdefault(pipeline.embedder, TextRequests(embedder))
        incarnation = lease.index.incarnation
        key = (pipeline.store, pipeline.index, incarnation)
        writes = self._writes.setdefault(key, _writes(store, pipeline.index, incarnation))
        return Target(
            dimensions=embedder.fingerprint.dimensions,
            paid=embedder.limits.paid,
            embed=requests.embed,
            fetch=partial(store.fetch, pipeline.index),
            write=writes,
        )

    async def store(self, lease: Lease) -> VectorStore:
        """Give the store of a lease, for deleting."""
        return await self._workshop.store(lease.pipeline.store)

    async def _ensure(self, lease: Lease, store: VectorStore) -> None:
        """Create and mark the index once per incarnation and process."""
        pipeline, index = lease.pipeline, lease.index
        key = (pipeline.store, pipeline.index, index.incarnation)
        if key in self._ready:
            return
        found = await store.marker(pipeline.index)
        if found is None and index.written:
            message = f"index {pipeline.index!r} has vanished from its store"
            raise IndexLost(message)
        if found is not None:
            check_marker(found, ledger=index.ledger, pipeline=pipeline)
        if found is not None and found.incarnation != index.incarnation:
            await self._still_ours(lease)
        marker = Marker(
            ledger=index.ledger,
            fingerprint=pipeline.recipe.fingerprint.digest,
            incarnation=index.incarnation,
            dimensions=pipeline.recipe.fingerprint.dimensions,
        )
        made = await store.create(pipeline.index, marker)
        if made != marker:
            raise ForeignIndex(pipeline.index, owner=made.ledger)
        self._ready.add(key)

    async def _still_ours(self, lease: Lease) -> None:
        """A worker that slept through a reset must not empty what came after it."""
        if not await self._work.renew([lease]):
            message = f"batch {lease.batch} belongs to another worker now"
            raise LeaseLost(message)


def _writes(store: VectorStore, index: str, incarnation: str) -> Grouped[pa.Table, None]:
    async def write(tables: Sequence[pa.Table]) -> Sequence[None]:
        records = pa.concat_tables(tables)
        try:
            for start in range(0, len(records), store.batch_records):
                await store.upsert(index, records.slice(start, store.batch_records))
        finally:
            await _take_back_if_late(store, index, incarnation, records)
        return [None] * len(tables)

    return Grouped(write, weight=len, limit=store.batch_records)


async def _take_back_if_late(
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
