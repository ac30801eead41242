"""The Python API: `open()` for scripts and notebooks, `aopen()` for asynchronous code.

Everything runs on an event loop in a thread of its own, so that both work inside a notebook or a
running event loop and never block it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import pyarrow as pa

from vectorflow import settings as settings_tree
from vectorflow.adapters.sources.files import FileSource
from vectorflow.adapters.sources.items import ItemsSource
from vectorflow.domain.jobs import JobState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.domain.records import Matrix, vector_column
from vectorflow.errors import InvalidInput
from vectorflow.ledger import reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import FailureView, JobProgress, JobView
from vectorflow.ports.source import Source
from vectorflow.ports.vector_store import VectorStore
from vectorflow.service.estimate import Estimate, estimate
from vectorflow.service.indexes import open_for_estimate, open_for_search, open_for_writing
from vectorflow.service.listings import lister
from vectorflow.service.search import Hit, Search, search
from vectorflow.service.submit import Intake, Request, Scan, submit
from vectorflow.settings import Settings
from vectorflow.wiring import Parts, detect, make_cutters

T = TypeVar("T")

Input = (
    str
    | PathLike[str]
    | bytes
    | Mapping[str, object]
    | Iterable["str | PathLike[str] | Mapping[str, object]"]
)
"""A path or several, bytes, one `{"id", "text"}` mapping, or an iterable of such mappings."""

WATCH_SECONDS = 0.15

WORK_SECONDS = 1.0
"""Between two looks at all documents of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an `embed` is."""

    scan: Scan | None = None
    """While documents are listed and read."""
    job: JobView | None = None
    """From then on."""
    work: JobProgress | None = None
    """How far the documents of the job are cut; up to a second old."""
    embedded: int = 0
    """Chunks embedded by this process so far, those of earlier jobs too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """How to embed, beside the settings."""

    index: str | None = None
    scope: str | None = None
    """Name of what a directory's listing is complete for; by default the directory's own."""
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    """Kept on every record."""
    allow_delete: bool = False
    """Delete even if nothing is left, or less than half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an `embed` did."""

    job_id: int
    status: JobState
    index: str
    documents: int
    """Documents the source listed."""
    records: int
    """Records of the index now."""
    new: int
    changed: int
    unchanged: int
    gone: int
    failed: int
    records_new: int
    records_old: int
    chunks_embedded: int
    embedding_calls: int
    tokens: int
    seconds: float
    failures: tuple[FailureView, ...]
    error: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Texts with their vectors, not stored anywhere."""

    texts: tuple[str, ...]
    matrix: Matrix
    """Shape (len(texts), dimensions), float32."""

    def to_arrow(self) -> pa.Table:
        """Columns `text` and `vector`."""
        return pa.table({"text": list(self.texts), "vector": vector_column(self.matrix)})


def _ignore(_progress: Progress) -> None:
    """Nobody watches."""


class _OpenIndex(Protocol):
    async def __call__(
        self, database: Database, store: VectorStore, *, tenant: str, pipeline: Pipeline
    ) -> int: ...


class _Engine:
    """The coroutines behind both faces; they run on the thread of `_Loop`."""

    def __init__(self, settings: Settings) -> None:
        self.parts = Parts(settings)

    async def embed(
        self, source: Input, options: EmbedOptions, on_progress: Callable[[Progress], None]
    ) -> Report:
        began = time.monotonic()
        intake = await self._intake(source, options, open_for_writing)
        with lister(self.parts.listings) as name:
            request = replace(intake.request, lister=name)
            return await self._embed(replace(intake, request=request), on_progress, began)

    async def _embed(
        self, intake: Intake, on_progress: Callable[[Progress], None], began: float
    ) -> Report:
        """Submit and work at once: the first documents are embedded while others are listed."""
        stop = asyncio.Event()
        worker = asyncio.create_task(self.parts.run_worker(stop))
        scan: list[Scan] = []

        def scanned(now: Scan) -> None:
            scan[:] = [now]
            on_progress(Progress(scan=now))

        try:
            job = await submit(intake, scanned)
            view = await self._watch(job, worker, on_progress)
        finally:
            stop.set()
            await asyncio.gather(worker, return_exceptions=True)
        documents = scan[0].documents if scan else 0
        return await self._report(view, documents, time.monotonic() - began)

    async def estimate(self, source: Input, options: EmbedOptions) -> Estimate:
        intake = await self._intake(source, options, open_for_estimate)
        return await estimate(intake, make_cutters(intake.request.pipeline.recipe))

    async def search(
        self, query: str, index: str | None, k: int, where: Mapping[str, object]
    ) -> list[Hit]:
        parts = self.parts
        pipeline = parts.pipeline(index)
        store = await parts.store(pipeline.store)
        row = await open_for_search(parts.database, store, tenant=parts.tenant, pipeline=pipeline)
        embedder = await parts.embedder(pipeline.embedder)
        vectors = await embedder.embed([query], "query")
        wanted = Search(index=row, name=pipeline.index, vector=vectors[0], k=k, filter=where)
        return await search(parts.database, parts.blobs, store, wanted)

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        embedder = await self.parts.embedder(self.parts.settings.embedder)
        return Vectors(texts=tuple(texts), matrix=await embedder.embed(texts, "document"))

    async def job(self, id: int) -> JobView:
        read = partial(reads.job, tenant=self.parts.tenant, id=id)
        return await self.parts.database.read(read)

    async def jobs(self, limit: int) -> list[JobView]:
        read = partial(reads.job_list, tenant=self.parts.tenant, limit=limit)
        return await self.parts.database.read(read)

    async def failures(self, job: int | None) -> list[FailureView]:
        read = partial(reads.failures, tenant=self.parts.tenant, job=job)
        return await self.parts.database.read(read)

    async def _intake(
        self, source: Input, options: EmbedOptions, open_index: "_OpenIndex"
    ) -> Intake:
        parts = self.parts
        listed = _source(source, options.scope, parts.settings.data_dir)
        pipeline = parts.pipeline(options.index)
        store = await parts.store(pipeline.store)
        index = await open_index(parts.database, store, tenant=parts.tenant, pipeline=pipeline)
        request = Request(
            tenant=parts.tenant,
            index=index,
            pipeline=pipeline,
            scope=listed.scope or "",
            complete=listed.scope is not None,
            allow_delete=options.allow_delete,
            metadata=options.metadata,
            detect=detect,
            zombie_seconds=parts.zombie_seconds,
            free_floor=parts.settings.blobs.free_floor_bytes,
        )
        return Intake(database=parts.database, blobs=parts.blobs, source=listed, request=request)

    async def _watch(
        self, job: int, worker: "asyncio.Task[None]", on_progress: Callable[[Progress], None]
    ) -> JobView:
        """Follow a job to its end; an error of the worker itself ends the wait."""
        looked_at, work = 0.0, None
        while True:
            view = await self.job(job)
            if view.state.ended or time.monotonic() - looked_at > WORK_SECONDS:
                work = await self.parts.database.read(partial(reads.job_progress, id=job))
                looked_at = time.monotonic()
            on_progress(Progress(job=view, work=work, embedded=self.parts.embedded))
            if view.state.ended:
                return view
            if worker.done():
                worker.result()
            await asyncio.sleep(WATCH_SECONDS)

    async def _report(self, view: JobView, documents: int, seconds: float) -> Report:
        database = self.parts.database
        failed = await self.failures(view.id)
        records = await database.read(partial(reads.records, index=view.index_id))
        return Report(
            job_id=view.id,
            status=view.state,
            index=view.index,
            documents=documents,
            records=records,
            new=view.documents_new,
            changed=view.documents_changed,
            unchanged=view.documents_unchanged,
            gone=view.documents_gone,
            failed=view.docs_failed,
            records_new=view.records_new,
            records_old=view.records_old,
            chunks_embedded=view.chunks_embedded,
            embedding_calls=view.embedding_calls,
            tokens=view.tokens,
            seconds=round(seconds, 3),
            failures=tuple(failed),
            error=view.error,
        )


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="vectorflow", daemon=True
        )
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end; an interrupt cancels the work and waits until it has let go."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                self.start(_settle()).result()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _settle() -> None:
    """Wait until all other tasks of this loop have ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


class Flow:
    """An open data directory; made by `open`. Close it, or use it in a `with` block."""

    def __init__(self, settings: Settings) -> None:
        self._engine = _Engine(settings)
        self._loop = _Loop()
        try:
            self._loop.run(self._engine.parts.__aenter__())
        except BaseException:
            self._loop.close()
            raise

    @property
    def settings(self) -> Settings:
        """What it was opened with."""
        return self._engine.parts.settings

    def embed(
        self,
        source: Input,
        *,
        index: str | None = None,
        options: EmbedOptions | None = None,
        on_progress: Callable[[Progress], None] = _ignore,
    ) -> Report:
        """Embed what is new or changed, and return when all of it is searchable or has failed.

        A directory is synchronised: what it no longer holds is deleted. `on_progress` is called
        from another thread, some ten times a second.

        Raises:
            InvalidInput: Nothing was accepted.
            IndexRefused: The index belongs to another ledger or model.
        """
        chosen = _with_index(options, index)
        return self._loop.run(self._engine.embed(source, chosen, on_progress))

    def estimate(
        self, source: Input, *, index: str | None = None, options: EmbedOptions | None = None
    ) -> Estimate:
        """Tell what `embed` would do, and do nothing."""
        return self._loop.run(self._engine.estimate(source, _with_index(options, index)))

    def search(
        self,
        query: str,
        *,
        index: str | None = None,
        k: int = 5,
        filter: Mapping[str, object] | None = None,
    ) -> list[Hit]:
        """Find the chunks nearest to a text, the best first.

        Raises:
            NotFound: There is no such index.
        """
        return self._loop.run(self._engine.search(query, index, k, filter or {}))

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Embed texts and hand the vectors back; nothing is stored."""
        return self._loop.run(self._engine.vectors(texts))

    def job(self, id: int) -> JobView:
        """Read one job."""
        return self._loop.run(self._engine.job(id))

    def jobs(self, *, limit: int = 20) -> list[JobView]:
        """Read the newest jobs."""
        return self._loop.run(self._engine.jobs(limit))

    def failures(self, job: int | None = None) -> list[FailureView]:
        """Read dead letters, of one job or all that no later version has replaced."""
        return self._loop.run(self._engine.failures(job))

    def close(self) -> None:
        """Close the ledger and the stores."""
        self._loop.run(self._engine.parts.__aexit__())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncFlow:
    """`Flow` for asynchronous code: an async context manager made by `aopen`."""

    def __init__(self, settings: Settings) -> None:
        self._engine = _Engine(settings)
        self._loop = _Loop()

    async def embed(
        self,
        source: Input,
        *,
        index: str | None = None,
        options: EmbedOptions | None = None,
        on_progress: Callable[[Progress], None] = _ignore,
    ) -> Report:
        """See `Flow.embed`."""
        chosen = _with_index(options, index)
        return await self._call(self._engine.embed(source, chosen, on_progress))

    async def estimate(
        self, source: Input, *, index: str | None = None, options: EmbedOptions | None = None
    ) -> Estimate:
        """See `Flow.estimate`."""
        return await self._call(self._engine.estimate(source, _with_index(options, index)))

    async def search(
        self,
        query: str,
        *,
        index: str | None = None,
        k: int = 5,
        filter: Mapping[str, object] | None = None,
    ) -> list[Hit]:
        """See `Flow.search`."""
        return await self._call(self._engine.search(query, index, k, filter or {}))

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """See `Flow.vectors`."""
        return await self._call(self._engine.vectors(texts))

    async def job(self, id: int) -> JobView:
        """See `Flow.job`."""
        return await self._call(self._engine.job(id))

    async def jobs(self, *, limit: int = 20) -> list[JobView]:
        """See `Flow.jobs`."""
        return await self._call(self._engine.jobs(limit))

    async def failures(self, job: int | None = None) -> list[FailureView]:
        """See `Flow.failures`."""
        return await self._call(self._engine.failures(job))

    async def __aenter__(self) -> Self:
        try:
            await self._call(self._engine.parts.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._call(self._engine.parts.__aexit__())
        await asyncio.to_thread(self._loop.close)

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self._loop.start(work))


def open(settings: Settings | None = None, **overrides: object) -> Flow:  # noqa: A001
    """Open a data directory in this process; `with` closes it.

    Args:
        settings: All settings at once; otherwise they are read as the command line reads them.
        overrides: Single settings, such as `data_dir="…"`, `store="…"`, `embedder="…"`.
    """
    return Flow(settings or settings_tree.load(overrides))


def aopen(settings: Settings | None = None, **overrides: object) -> AsyncFlow:
    """Open a data directory for asynchronous code: `async with vf.aopen() as flow`."""
    return AsyncFlow(settings or settings_tree.load(overrides))


def _with_index(options: EmbedOptions | None, index: str | None) -> EmbedOptions:
    chosen = options or EmbedOptions()
    return chosen if index is None else replace(chosen, index=index)


def _source(source: Input, scope: str | None, data_dir: Path) -> Source:
    """Take paths as files, and everything else as documents handed over."""
    if isinstance(source, bytes):
        return ItemsSource([{"id": "bytes", "text": source}])
    if isinstance(source, Mapping):
        return ItemsSource(_mappings([source]))
    if isinstance(source, str | PathLike):
        return FileSource([fspath(source)], scope=scope, exclude=[data_dir])
    items = list(source) if isinstance(source, Sequence) else source
    if isinstance(items, list) and all(isinstance(item, str | PathLike) for item in items):
        paths = [fspath(item) for item in items if isinstance(item, str | PathLike)]
        return FileSource(paths, scope=scope, exclude=[data_dir])
    return ItemsSource(_mappings(items))


def _mappings(items: Iterable[object]) -> Iterator[Mapping[str, object]]:
    for item in items:
        if not isinstance(item, Mapping):
            message = f"a document came as {type(item).__name__}"
            raise InvalidInput(message, fix='write {"id": "…", "text": "…"}')
        yield item
