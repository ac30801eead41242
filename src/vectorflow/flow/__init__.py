"""The Python API: `open()` for scripts and notebooks, `aopen()` for asynchronous code.

Everything runs on an event loop in a thread of its own, so that both work inside a notebook or a
running event loop and never block it.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from typing import Any, Self, TypeVar

import pyarrow as pa

from vectorflow import settings as settings_tree
from vectorflow.domain.access import DEFAULT_TENANT
from vectorflow.flow.chunks import DocumentChunks
from vectorflow.flow.engine import Engine, Export
from vectorflow.flow.loop import LoopThread
from vectorflow.flow.report import EmbedOptions, Input, Progress, Report, Vectors
from vectorflow.ledger.reads import FailureView, JobView
from vectorflow.service.estimate import Estimate
from vectorflow.service.failures import Retried
from vectorflow.service.search import Hit
from vectorflow.settings import Settings

__all__ = [
    "AsyncFlow",
    "DocumentChunks",
    "EmbedOptions",
    "Flow",
    "Input",
    "Progress",
    "Report",
    "Retried",
    "Vectors",
    "aopen",
    "open",
]

T = TypeVar("T")


def _ignore(_progress: Progress) -> None:
    """Nobody watches."""


class Flow:
    """An open data directory; made by `open`. Close it, or use it in a `with` block."""

    def __init__(self, settings: Settings, *, tenant: str = DEFAULT_TENANT) -> None:
        self._engine = Engine(settings, tenant)
        self._loop = LoopThread()
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

    def chunks(
        self,
        source: Input,
        *,
        chunker: str | None = None,
        size: int | None = None,
        overlap: int | None = None,
    ) -> DocumentChunks:
        """Cut one document as `embed` would, and do no more; what is not given is as set.

        Raises:
            DocumentFailed: It would fail in `embed` too.
            InvalidInput: It is no single document, or it cannot be cut that way.
        """
        chunking = {"chunker": chunker, "size": size, "overlap": overlap}
        return self._loop.run(self._engine.chunks(source, chunking))

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

    def export(
        self,
        *,
        index: str | None = None,
        documents: Iterable[str] | None = None,
        scope: str | None = None,
    ) -> pa.RecordBatchReader:
        """Read records with their vectors: of a whole index, of a scope, of single documents.

        Only what searches serve; external ids that are unknown are left out. Memory holds one
        batch at a time. Read it before the flow is closed.

        Raises:
            NotFound: There is no such index. While reading: a vector is kept nowhere any more.
            Conflict: While reading: a document was replaced meanwhile.
        """
        export = self._loop.run(self._engine.export(index, documents, scope))
        return pa.RecordBatchReader.from_batches(export.schema, self._batches(export))

    def _batches(self, export: Export) -> Iterator[pa.RecordBatch]:
        while batches := self._loop.run(export.next()):
            yield from batches

    def job(self, id: int) -> JobView:
        """Read one job."""
        return self._loop.run(self._engine.job(id))

    def jobs(self, *, limit: int = 20) -> list[JobView]:
        """Read the newest jobs."""
        return self._loop.run(self._engine.jobs(limit))

    def failures(self, job: int | None = None) -> list[FailureView]:
        """Read dead letters, of one job or all that no later version has replaced."""
        return self._loop.run(self._engine.failures(job))

    def pause(self, id: int) -> JobView:
        """Let a job wait: what is under way ends, and nothing more of it begins.

        Raises:
            Conflict: It does not run.
        """
        return self._loop.run(self._engine.pause(id))

    def resume(self, id: int) -> JobView:
        """Let a paused job go on, once a worker is there: see `follow`.

        Raises:
            Conflict: It is not paused.
        """
        return self._loop.run(self._engine.resume(id))

    def cancel(self, id: int) -> JobView:
        """End a job: what is searchable stays so, and the rest is given up.

        Raises:
            Conflict: It has ended.
        """
        return self._loop.run(self._engine.cancel(id))

    def retry(
        self, job: int | None = None, *, cause: str | None = None, canary: int | None = None
    ) -> Retried:
        """Try failures again, of one job or all, of one cause, or only so many to see.

        Raises:
            Conflict: Nothing can be tried again.
        """
        return self._loop.run(self._engine.retry(job, cause, canary))

    def discard(self, job: int | None = None, *, cause: str | None = None) -> int:
        """Give failures up for good: they are listed no more. Gives how many."""
        return self._loop.run(self._engine.discard(job, cause))

    def follow(self, id: int, *, on_progress: Callable[[Progress], None] = _ignore) -> JobView:
        """Work until a job has ended or is paused."""
        return self._loop.run(self._engine.follow(id, on_progress))

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
        self._engine = Engine(settings)
        self._loop = LoopThread()

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

    async def chunks(
        self,
        source: Input,
        *,
        chunker: str | None = None,
        size: int | None = None,
        overlap: int | None = None,
    ) -> DocumentChunks:
        """See `Flow.chunks`."""
        chunking = {"chunker": chunker, "size": size, "overlap": overlap}
        return await self._call(self._engine.chunks(source, chunking))

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

    async def export(
        self,
        *,
        index: str | None = None,
        documents: Iterable[str] | None = None,
        scope: str | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """See `Flow.export`; here it is `async for batch in flow.export()`."""
        export = await self._call(self._engine.export(index, documents, scope))
        while batches := await self._call(export.next()):
            for batch in batches:
                yield batch

    async def job(self, id: int) -> JobView:
        """See `Flow.job`."""
        return await self._call(self._engine.job(id))

    async def jobs(self, *, limit: int = 20) -> list[JobView]:
        """See `Flow.jobs`."""
        return await self._call(self._engine.jobs(limit))

    async def failures(self, job: int | None = None) -> list[FailureView]:
        """See `Flow.failures`."""
        return await self._call(self._engine.failures(job))

    async def pause(self, id: int) -> JobView:
        """See `Flow.pause`."""
        return await self._call(self._engine.pause(id))

    async def resume(self, id: int) -> JobView:
        """See `Flow.resume`."""
        return await self._call(self._engine.resume(id))

    async def cancel(self, id: int) -> JobView:
        """See `Flow.cancel`."""
        return await self._call(self._engine.cancel(id))

    async def retry(
        self, job: int | None = None, *, cause: str | None = None, canary: int | None = None
    ) -> Retried:
        """See `Flow.retry`."""
        return await self._call(self._engine.retry(job, cause, canary))

    async def discard(self, job: int | None = None, *, cause: str | None = None) -> int:
        """See `Flow.discard`."""
        return await self._call(self._engine.discard(job, cause))

    async def follow(
        self, id: int, *, on_progress: Callable[[Progress], None] = _ignore
    ) -> JobView:
        """See `Flow.follow`."""
        return await self._call(self._engine.follow(id, on_progress))

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
