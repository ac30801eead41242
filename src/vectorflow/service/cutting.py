"""Documents cut in threads: a long one stretch by stretch, many small ones in one visit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from vectorflow.domain.documents import Attached, BlobRange, Section
from vectorflow.errors import DocumentFailed, VectorFlowError
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.extractor import Extractor, GroupExtractor
from vectorflow.ports.work import LeasedVersion
from vectorflow.service.cut import Bounds, Cut, cut

SMALL = 16 << 10
"""Bytes of a document that is cut together with others, at most."""

RUN_DOCUMENTS = 64
RUN_BYTES = 256 << 10
RUN_ATTACHED = 1 << 20
"""Bytes that may be attached to one of them; with more it is cut by itself."""

Lend = Callable[[str], AbstractAsyncContextManager[Extractor]]
"""Lends an extractor by its name; waits while too many are at work."""


class _Found(NamedTuple):
    """What came of a small document, whole."""

    pieces: list[Cut | Attached]
    failure: DocumentFailed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How the documents of a batch are cut."""

    blobs: BlobStore
    lend: Lend
    chunker: Chunker
    bounds: Bounds

    def runs(self, versions: Sequence[LeasedVersion]) -> Iterator[list[LeasedVersion]]:
        """Part documents, in order, where they are not cut in one visit to a thread."""
        run: list[LeasedVersion] = []
        size = 0
        for version in versions:
            length = version.source.length if version.source else 0
            if run and not (
                self._is_small(run[0])
                and self._is_small(version)
                and version.extractor == run[0].extractor
                and len(run) < RUN_DOCUMENTS
                and size + length <= RUN_BYTES
            ):
                yield run
                run, size = [], 0
            run.append(version)
            size += length
        if run:
            yield run

    async def ahead(self, run: Sequence[LeasedVersion]) -> dict[int, AsyncIterator[Cut | Attached]]:
        """Cut a run of small documents; by version, without those that turn out to be long."""
        sources = [version.source for version in run if version.source is not None]
        if len(run) == 1 or len(sources) < len(run):
            return {}
        async with self.lend(run[0].extractor) as extractor:
            each = await asyncio.to_thread(self._cut_each, extractor, sources)
        return {
            version.id: _given(found)
            for version, found in zip(run, each, strict=True)
            if found is not None
        }

    async def one(self, version: LeasedVersion) -> AsyncIterator[Cut | Attached]:
        """Cut a document, a stretch a visit: one visit for a small one."""
        source = version.source
        if source is None:
            return
        resume_at = version.parts[-1].resume_at if version.parts else 0

        def begin() -> tuple[BinaryIO, Iterator[Cut | Attached], Cut | Attached | None]:
            file = self._open(source)
            pieces = _pieces(extractor, file)
            cuts = cut(pieces, self.chunker, resume_at=resume_at, bounds=self.bounds)
            try:
                return file, cuts, _next(cuts)
            except BaseException:
                file.close()
                raise

        async with self.lend(version.extractor) as extractor:
            file, cuts, found = await asyncio.to_thread(begin)
            with file:
                while found is not None and not _is_last(found):
                    yield found
                    found = await asyncio.to_thread(_next, cuts)
        if found is not None:
            yield found

    def _is_small(self, version: LeasedVersion) -> bool:
        """Tell whether a document is likely to be one stretch; where lines count it seldom is."""
        if version.source is None or version.parts or self.bounds.lines is not None:
            return False
        return version.source.length <= SMALL

    def _cut_each(self, extractor: Extractor, sources: Sequence[BlobRange]) -> list[_Found | None]:
        with ExitStack() as files:
            try:
                opened = [files.enter_context(self._open(source)) for source in sources]
            except (VectorFlowError, OSError):
                return [None] * len(sources)  # each will say for itself what is wrong
            return [
                _whole(cut(pieces, self.chunker, bounds=self.bounds))
                for pieces in _each(extractor, opened)
            ]

    def _open(self, source: BlobRange) -> BinaryIO:
        return self.blobs.open(source.blob, source.start, source.length)


def _pieces(extractor: Extractor, file: BinaryIO) -> Iterator[Section | Attached]:
    """Begin when the first piece is asked for: what is raised then fails the document alone."""
    yield from extractor.extract(file)


def _each(
    extractor: Extractor, files: Sequence[BinaryIO]
) -> Iterator[Iterator[Section | Attached]]:
    if isinstance(extractor, GroupExtractor):
        return extractor.extract_each(files)
    return (_pieces(extractor, file) for file in files)


def _whole(cuts: Iterator[Cut | Attached]) -> _Found | None:
    """Cut a document to its end; None if it has more than one stretch, or much is attached."""
    pieces: list[Cut | Attached] = []
    attached = 0
    try:
        while (found := _next(cuts)) is not None:
            pieces.append(found)
            if isinstance(found, Attached):
                attached += len(found.data)
            if attached > RUN_ATTACHED or (isinstance(found, Cut) and not found.last):
                return None
    except DocumentFailed as failure:
        return _Found(pieces, failure)
    return _Found(pieces)


async def _given(found: _Found) -> AsyncIterator[Cut | Attached]:
    for piece in found.pieces:
        yield piece
    if found.failure is not None:
        raise found.failure


def _is_last(found: Cut | Attached) -> bool:
    return isinstance(found, Cut) and found.last


def _next(cuts: Iterator[Cut | Attached]) -> Cut | Attached | None:
    """Cut further, None at the end; a fault that nobody foresaw fails this document alone."""
    try:
        return next(cuts, None)
    except (VectorFlowError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the edge of extractors; it may quote the document
        message = f"an unexpected {type(error).__name__} while it was read"
        raise DocumentFailed(message, fix="leave it out, and report it with the file") from None
