"""What batches share: one embedder per model, one stream of writes per index."""

import json
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

import pyarrow as pa

from vectorflow.domain.columns import strings
from vectorflow.domain.credentials import account_of
from vectorflow.domain.grouping import Grouped
from vectorflow.domain.jobs import Lane
from vectorflow.domain.outages import SystemKind, called, calling
from vectorflow.domain.records import matrix_of, record_schema
from vectorflow.errors import ForeignIndex, IndexLost, LeaseLost
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.hooks import Delivery, Hooks
from vectorflow.ports.metrics import NO_METRICS, Metrics, timed
from vectorflow.ports.vector_cache import CacheScope, NoCache, VectorCache
from vectorflow.ports.vector_store import Marker, VectorStore
from vectorflow.ports.work import Lease, LeasedJob, Work
from vectorflow.service.embed import Target
from vectorflow.service.extract import DELIVERED_CHUNKS, Cutters
from vectorflow.service.indexes import check_marker, write_records
from vectorflow.worker.files import SharedFiles
from vectorflow.worker.shared_texts import SharedTexts
from vectorflow.worker.text_requests import TextRequests

MOST = 256
"""Accounts and places that are remembered: each job may come with keys of its own."""

Key = TypeVar("Key", bound=Hashable)
Stream = TypeVar("Stream")


class Workshop(Protocol):
    """Gives the plugins a pipeline names, each opened once per process."""

    async def store(self, locator: str, key: str | None = None) -> VectorStore:
        """Open a store by its canonical locator; without a key with the settings' own."""
        ...

    async def embedder(self, name: str, key: str | None = None) -> Embedder:
        """Open an embedder, `plugin:model`; without a key with the settings' own."""
        ...

    async def hooks(self) -> Hooks:
        """Open what calls addresses of users."""
        ...

    async def cutters(self, lease: Lease) -> Cutters:
        """Make the extractors, the chunker and the validation of a lease's pipeline."""
        ...

    @property
    def cache(self) -> VectorCache:
        """Vectors made before."""
        return NoCache()


class Targets:
    """Makes the target of each lease from what is shared."""

    def __init__(
        self, work: Work, workshop: Workshop, files: SharedFiles, metrics: Metrics = NO_METRICS
    ) -> None:
        self._work = work
        self._metrics = metrics
        self._files = files
        self._workshop = workshop
        self._requests: _Streams[tuple[str, str], TextRequests] = _Streams()
        self._texts: _Streams[_Desk, SharedTexts] = _Streams()
        self._writes: _Streams[_Place, Grouped[pa.Table, None]] = _Streams()
        self._ready: set[_Place] = set()

    @property
    def embedded(self) -> int:
        """Chunks embedded so far, those of batches under way too."""
        return sum(requests.embedded for requests in self._requests)

    async def of(self, lease: Lease) -> Target:
        """Give the embedder and the store of a lease; its index exists from now on.

        Raises:
            IndexLost: The store has no longer what was written into it.
            IndexRefused: The index is not ours to write into.
        """
        pipeline, key = lease.pipeline, lease.job.credentials.embedding_key
        with calling(SystemKind.PROVIDER):
            embedder = await self._workshop.embedder(pipeline.embedder, key)
        account = (pipeline.embedder, account_of(key))
        plugin = pipeline.embedder.partition(":")[0]
        make_requests = partial(TextRequests, embedder, self._metrics, plugin)
        requests = self._requests.of(account, embedder, make_requests)
        texts = self._shared(lease, embedder, requests)
        if pipeline.delivers:
            hooks = await self._workshop.hooks()
            return _delivery(lease, texts, hooks, self._files, self._metrics)
        store = await self._store(lease)
        await self._ensure(lease, store)
        place = _place(lease)
        make = partial(_writes, store, pipeline.index, lease.index.incarnation, self._metrics)
        writes = self._writes.of(place, store, make)
        return Target(
            dimensions=embedder.fingerprint.dimensions,
            keep=embedder.limits.paid,
            embed=texts.embed,
            fetch=called(SystemKind.STORE, partial(store.fetch, pipeline.index)),
            write=writes,
            save=self._files.write_vectors,
        )

    async def deletion(self, lease: Lease) -> Callable[[Sequence[str]], Awaitable[None]]:
        """Give what deletes records from the index of a lease, by id."""
        store = await self._store(lease)
        return called(SystemKind.STORE, partial(store.delete, lease.pipeline.index))

    async def _store(self, lease: Lease) -> VectorStore:
        with calling(SystemKind.STORE):
            key = lease.job.credentials.store_key
            return await self._workshop.store(lease.pipeline.store, key)

    def _shared(self, lease: Lease, embedder: Embedder, requests: TextRequests) -> SharedTexts:
        """Give what embeds for the tenant of a lease, with its key; no lane waits for another."""
        scope = CacheScope(
            ledger=lease.index.ledger, tenant=lease.job.tenant, fingerprint=embedder.fingerprint
        )
        cache = self._workshop.cache if embedder.limits.cached else NoCache()
        account = account_of(lease.job.credentials.embedding_key)
        desk = _Desk(scope, lease.pipeline.embedder, account, lease.lane)
        embed = requests.of_lane[lease.lane]
        return self._texts.of(desk, requests, partial(SharedTexts, embed, cache, scope))

    async def _ensure(self, lease: Lease, store: VectorStore) -> None:
        """Create and mark the index once per incarnation and process."""
        pipeline, index = lease.pipeline, lease.index
        place = _place(lease)
        if place in self._ready:
            return
        with calling(SystemKind.STORE):
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
        with calling(SystemKind.STORE):
            made = await store.create(pipeline.index, marker)
        if made != marker:
            raise ForeignIndex(pipeline.index, owner=made.ledger)
        if len(self._ready) >= MOST:
            self._ready.clear()
        self._ready.add(place)

    async def _still_ours(self, lease: Lease) -> None:
        """A worker that slept through a reset must not empty what came after it."""
        if not await self._work.renew([lease]):
            message = f"batch {lease.batch} belongs to another worker now"
            raise LeaseLost(message)


class _Streams(Generic[Key, Stream]):
    """What batches share of a thing that is open; opened anew, it gets a new one."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[object, Stream]] = {}

    def __iter__(self) -> Iterator[Stream]:
        return (stream for _, stream in self._known.values())

    def of(self, key: Key, thing: object, make: Callable[[], Stream]) -> Stream:
        """Give the stream of a thing, made when it is first asked for."""
        known = self._known.pop(key, None)
        stream = known[1] if known and known[0] is thing else make()
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]  # the one that was asked for longest ago
        self._known[key] = (thing, stream)
        return stream


class _Desk(NamedTuple):
    """For whom texts are embedded, by what, who pays, and how urgent it is."""

    scope: CacheScope
    embedder: str
    account: str
    lane: Lane


class _Place(NamedTuple):
    """Where records of a lease go, and by whose account."""

    store: str
    name: str
    incarnation: str
    account: str


def _place(lease: Lease) -> _Place:
    pipeline, account = lease.pipeline, account_of(lease.job.credentials.store_key)
    return _Place(pipeline.store, pipeline.index, lease.index.incarnation, account)


def _delivery(
    lease: Lease, texts: SharedTexts, hooks: Hooks, files: SharedFiles, metrics: Metrics
) -> Target:
    """Send the vectors of a batch to the webhook of its job: in one call, unless they are many.

    A long section may make more chunks than a part should have.
    """
    job, dimensions = lease.job, lease.pipeline.recipe.fingerprint.dimensions
    given = job.credentials

    async def nothing(_ids: Sequence[str]) -> pa.Table:
        return record_schema(dimensions).empty_table()

    async def deliver(records: pa.Table) -> None:
        for start in range(0, len(records), DELIVERED_CHUNKS):
            delivery = _delivered(job, records.slice(start, DELIVERED_CHUNKS), dimensions)
            with timed(metrics, "store"):
                await hooks.deliver(given.webhook_url or "", given.webhook_key or "", delivery)

    return Target(
        dimensions=dimensions,
        keep=True,
        keep_cached=True,
        embed=texts.embed,
        fetch=nothing,
        write=called(SystemKind.WEBHOOK, deliver),
        save=files.write_vectors,
    )


def _delivered(job: LeasedJob, records: pa.Table, dimensions: int) -> Delivery:
    return Delivery(
        job=job.id,
        document_id=job.document_id,
        texts=strings(records, "text"),
        chunk_ids=strings(records, "id"),
        vectors=matrix_of(records["vector"], dimensions),
        extras=[json.loads(text) for text in strings(records, "metadata")],
    )


def _writes(
    store: VectorStore, index: str, incarnation: str, metrics: Metrics
) -> Grouped[pa.Table, None]:
    async def write(tables: Sequence[pa.Table]) -> Sequence[None]:
        with calling(SystemKind.STORE), timed(metrics, "store"):
            await write_records(store, index, incarnation, pa.concat_tables(tables))
        return [None] * len(tables)

    return Grouped(write, weight=len, limit=store.batch_records)
