"""The coroutines behind both faces of the Python API."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import BinaryIO, NamedTuple, Protocol

import pyarrow as pa

from vectorflow.domain.access import DEFAULT_TENANT
from vectorflow.domain.documents import Listed
from vectorflow.domain.jobs import JobState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import NotFound
from vectorflow.flow.chunks import DocumentChunks, document_chunks
from vectorflow.flow.report import EmbedOptions, Input, Progress, Report, Vectors
from vectorflow.flow.sources import source_of
from vectorflow.ledger import exports, reads, retrying, transitions
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import FailureView, JobView
from vectorflow.ports.source import Source
from vectorflow.ports.vector_store import VectorStore
from vectorflow.service.estimate import Estimate, estimate
from vectorflow.service.failures import Failures, Retried, retry_failures
from vectorflow.service.indexes import open_for_estimate, open_for_search, open_for_writing
from vectorflow.service.listings import lister
from vectorflow.service.search import Hit, Search, search
from vectorflow.service.submit import Intake, Request, Scan, submit
from vectorflow.service.vectors import Origin, export_index, export_schema
from vectorflow.settings import Settings
from vectorflow.wiring import Parts, detect, make_cutters

WATCH_SECONDS = 0.15

WORK_SECONDS = 1.0
"""Between two looks at all documents of a job."""


class Export(NamedTuple):
    """Records that are about to be read."""

    schema: pa.Schema
    tables: AsyncGenerator[pa.Table]

    async def next(self) -> list[pa.RecordBatch]:
        """Read the next records; none at the end."""
        table = await anext(self.tables, None)
        return [] if table is None else table.to_batches()


class _OpenIndex(Protocol):
    async def __call__(
        self, database: Database, store: VectorStore, *, tenant: str, pipeline: Pipeline
    ) -> int: ...


class Engine:
    """The coroutines behind both faces; they run on a loop of its own."""

    def __init__(self, settings: Settings, tenant: str = DEFAULT_TENANT) -> None:
        self.parts = Parts(settings, tenant=tenant)

    async def embed(
        self, source: Input, options: EmbedOptions, on_progress: Callable[[Progress], None]
    ) -> Report:
        """Submit, and work until the job has ended."""
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
        source = _Noted(intake.source)

        def scanned(now: Scan) -> None:
            on_progress(Progress(scan=now))

        try:
            job = await submit(replace(intake, source=source), scanned)
            view = await self._watch(job, worker, on_progress)
        finally:
            stop.set()
            await asyncio.gather(worker, return_exceptions=True)
        return await self._report(view, source, time.monotonic() - began)

    async def estimate(self, source: Input, options: EmbedOptions) -> Estimate:
        """Tell what `embed` would do."""
        intake = await self._intake(source, options, open_for_estimate)
        pipeline, parts = intake.request.pipeline, self.parts
        return await estimate(intake, make_cutters(parts.settings, pipeline, parts.sandbox))

    async def chunks(self, source: Input, chunking: Mapping[str, object]) -> DocumentChunks:
        """Cut one document and embed nothing."""
        return await document_chunks(self.parts.settings, source, chunking)

    async def search(
        self, query: str, index: str | None, k: int, where: Mapping[str, object]
    ) -> list[Hit]:
        """Embed the query and find the nearest live chunks."""
        parts = self.parts
        pipeline = parts.pipeline(index)
        store = await parts.store(pipeline.store)
        row = await open_for_search(parts.database, store, tenant=parts.tenant, pipeline=pipeline)
        embedder = await parts.embedder(pipeline.embedder)
        vectors = await embedder.embed([query], "query")
        wanted = Search(index=row, name=pipeline.index, vector=vectors[0], k=k, filter=where)
        return await search(parts.database, parts.blobs, store, wanted)

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; nothing is stored."""
        embedder = await self.parts.embedder(self.parts.settings.embedder)
        return Vectors(texts=tuple(texts), matrix=await embedder.embed(texts, "document"))

    async def export(
        self, index: str | None, documents: Iterable[str] | None, scope: str | None
    ) -> "Export":
        """Find an index to read; nothing is read yet."""
        parts = self.parts
        locator, name = parts.store_locator(), index or parts.settings.index
        find = partial(reads.find_index, tenant=parts.tenant, locator=locator, name=name)
        row = await parts.database.read(find)
        if row is None:
            message = f"there is no index {name!r} here"
            raise NotFound(message, fix="embed something into it first: `vectorflow embed PATH`")
        found = await parts.database.read(partial(exports.exported, index=row.id))
        origin = Origin(
            database=parts.database,
            blobs=parts.blobs,
            index=found,
            store=partial(parts.store, locator),
        )
        ids = [documents] if isinstance(documents, str) else documents
        tables = export_index(origin, scope=scope, external_ids=None if ids is None else list(ids))
        return Export(schema=export_schema(found.dimensions), tables=tables)

    async def job(self, id: int) -> JobView:
        """Read one job."""
        read = partial(reads.job, tenant=self.parts.tenant, id=id)
        return await self.parts.database.read(read)

    async def jobs(self, limit: int) -> list[JobView]:
        """Read the newest jobs."""
        read = partial(reads.job_list, tenant=self.parts.tenant, limit=limit)
        return await self.parts.database.read(read)

    async def pause(self, id: int) -> JobView:
        """Let a job wait."""
        pause = partial(transitions.pause, tenant=self.parts.tenant, job=id)
        await self.parts.database.write(pause)
        return await self.job(id)

    async def resume(self, id: int) -> JobView:
        """Let a paused job go on."""
        resume = partial(transitions.resume, tenant=self.parts.tenant, job=id)
        await self.parts.database.write(resume)
        return await self.job(id)

    async def cancel(self, id: int) -> JobView:
        """End a job."""
        parts = self.parts
        cancel = partial(transitions.cancel, tenant=parts.tenant, job=id)
        await parts.database.write(partial(cancel, zombie_seconds=parts.zombie_seconds))
        return await self.job(id)

    async def retry(self, job: int | None, cause: str | None, canary: int | None) -> Retried:
        """Try failures again."""
        parts = self.parts
        failures = Failures(tenant=parts.tenant, job=job, cause=cause, canary=canary)
        return await retry_failures(parts.database, failures)

    async def discard(self, job: int | None, cause: str | None) -> int:
        """Give failures up for good."""
        if job is not None:
            await self.job(job)
        discard = partial(retrying.discard, tenant=self.parts.tenant, job=job, cause=cause)
        return await self.parts.database.write(discard)

    async def follow(self, id: int, on_progress: Callable[[Progress], None]) -> JobView:
        """Work until a job has ended or is paused."""
        await self.job(id)
        stop = asyncio.Event()
        worker = asyncio.create_task(self.parts.run_worker(stop))
        try:
            return await self._watch(id, worker, on_progress)
        finally:
            stop.set()
            await asyncio.gather(worker, return_exceptions=True)

    async def failures(self, job: int | None) -> list[FailureView]:
        """Read dead letters."""
        read = partial(reads.failures, tenant=self.parts.tenant, job=job)
        return await self.parts.database.read(read)

    async def _intake(self, source: Input, options: EmbedOptions, open_index: _OpenIndex) -> Intake:
        parts = self.parts
        await parts.check_blobs()
        listed = source_of(source, options.scope, parts.settings.data_dir)
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
        """Follow a job until it has ended or is paused.

        A full disk or an error of the worker itself ends the wait.
        """
        looked_at, work = 0.0, None
        while True:
            view = await self.job(job)
            if view.state.ended or time.monotonic() - looked_at > WORK_SECONDS:
                work = await self.parts.database.read(partial(reads.job_progress, id=job))
                looked_at = time.monotonic()
            on_progress(Progress(job=view, work=work, embedded=self.parts.embedded))
            if view.state.ended or view.state is JobState.PAUSED:
                return view
            if worker.done():
                worker.result()
            if self.parts.out_of_space:
                raise self.parts.out_of_space
            await asyncio.sleep(WATCH_SECONDS)

    async def _report(self, view: JobView, source: "_Noted", seconds: float) -> Report:
        database = self.parts.database
        failed = await self.failures(view.id)
        records = await database.read(partial(reads.records, index=view.index_id))
        return Report(
            job_id=view.id,
            status=view.state,
            index=view.index,
            documents=len(source.listed),
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
            paused=view.paused,
            scope=view.scope,
            listed=tuple(source.listed),
        )


class _Noted(Source):
    """A source that remembers what it listed."""

    def __init__(self, source: Source) -> None:
        self.scope = source.scope
        self.listed: list[str] = []
        self._source = source

    def list(self) -> Iterator[Listed]:
        for listed in self._source.list():
            self.listed.append(listed.external_id)
            yield listed

    def open(self, listed: Listed) -> BinaryIO:
        return self._source.open(listed)
