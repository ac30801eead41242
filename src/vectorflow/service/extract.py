"""Extract, chunk and plan: raw documents of a batch -> committed parts of their manifests."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from vectorflow.domain.manifests import MAX_PART_BYTES, MAX_PART_CHUNKS, SCHEMA, Part, hash_chunks
from vectorflow.domain.pipelines import Pipeline
from vectorflow.domain.planning import Plan
from vectorflow.errors import (
    BadChunk,
    DocumentFailed,
    EmptyDocument,
    ForbiddenAddress,
    HookRefused,
    VectorFlowError,
)
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.extractor import Extractor
from vectorflow.ports.work import Finished, Lease, LeasedVersion, NewPart, Work
from vectorflow.service.cut import Bounds, Cut, Stretch, cut
from vectorflow.service.part_files import read_base, read_ids, write_part
from vectorflow.service.validate import Validate, validated

DELIVERED_CHUNKS = 512
"""Chunks of one delivery at most: with 1,536 dimensions some 17 MB of JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutters:
    """The plugins of one pipeline."""

    extractor: Callable[[str], Extractor]
    chunker: Chunker
    count: Callable[[str], int]
    """Tokens of a text."""
    longest: int
    """Tokens that the embedder reads of one text."""
    validate: Validate | None = None


Columns = dict[str, Any]
"""Manifest columns as lists, by name."""


class Stretched(NamedTuple):
    """Where rows lie in a part file."""

    blob: str
    row_start: int


WriteRows = Callable[[Lease, Columns, int], Awaitable[Stretched]]
"""Writes so many manifest rows, perhaps into one file with those of other batches."""


class Planned(NamedTuple):
    """Manifest rows of a stretch."""

    columns: Columns
    rows: int
    new_rows: int
    """Of records that are not in the store yet."""


@dataclass(slots=True)
class _Gathered:
    """Whole small documents that will share a part file."""

    columns: Columns = field(default_factory=lambda: {name: [] for name in SCHEMA.names})
    parts: list[tuple[int, int, int, int]] = field(default_factory=list[tuple[int, int, int, int]])
    """Version, rows, new rows, characters covered: one for each document."""
    rows: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        return self.rows >= MAX_PART_CHUNKS or self.size >= MAX_PART_BYTES

    def add(self, version: int, planned: Planned, stretch: Stretch) -> None:
        for name, column in self.columns.items():
            column.extend(planned.columns[name])
        self.parts.append((version, planned.rows, planned.new_rows, stretch.resume_at))
        self.rows += planned.rows
        self.size += stretch.size


async def extract(lease: Lease, work: Work, cutters: Cutters, write_rows: WriteRows) -> Finished:
    """Run an extract batch. Long documents and full groups are committed on the way.

    Raises:
        LeaseLost: What was committed before stays.
    """
    gathered = _Gathered()
    failures: dict[int, VectorFlowError] = {}
    for version in lease.versions:
        try:
            await _extract_one(lease, version, work, cutters, gathered)
        except (DocumentFailed, HookRefused, ForbiddenAddress) as error:
            failures[version.id] = error
        if gathered.full:
            await work.checkpoint(lease, parts=await _commit_group(lease, gathered, write_rows))
            gathered = _Gathered()
    parts = await _commit_group(lease, gathered, write_rows)
    return Finished(lease=lease, parts=tuple(parts), failures=failures)


async def _extract_one(
    lease: Lease, version: LeasedVersion, work: Work, cutters: Cutters, gathered: _Gathered
) -> None:
    """Cut and plan one document: whole into the group, or part by part into commits."""
    blobs = work.blobs(lease)
    plan = await _plan(lease, version, blobs)
    position = sum(part.rows for part in version.parts)
    number = len(version.parts)
    async for found, last in _cuts(lease, version, blobs, cutters):
        stretch = await _validated(lease, version, found, cutters)
        _check_length(stretch, position, cutters.longest)
        if last and position + len(stretch.texts) == 0:
            raise _nothing_kept(version)
        planned = _planned(lease, version, plan, stretch, position)
        if last and number == 0:
            gathered.add(version.id, planned, stretch)
            return
        part = Part(
            number=number,
            blob=await write_part(blobs, pa.table(planned.columns, schema=SCHEMA)),
            row_start=0,
            rows=planned.rows,
            resume_at=stretch.resume_at,
        )
        new = NewPart(version=version.id, part=part, new_rows=planned.new_rows, last=last)
        await work.checkpoint(lease, parts=[new])
        position, number = position + planned.rows, number + 1
    if number == 0:
        message = f"there is no text in {version.external_id!r}"
        raise EmptyDocument(message)


async def _validated(
    lease: Lease, version: LeasedVersion, stretch: Stretch, cutters: Cutters
) -> Stretch:
    if cutters.validate is None:
        return stretch
    name = f"{version.document}/{version.number}/{stretch.resume_at}"
    document = uuid.uuid5(uuid.UUID(lease.index.incarnation), name)
    return await validated(stretch, document, cutters.validate, cutters.count)


def _check_length(stretch: Stretch, position: int, longest: int) -> None:
    """Refuse what the embedder would cut off without a word."""
    for offset, tokens in enumerate(stretch.tokens):
        if tokens > longest:
            message = f"a chunk has {tokens} tokens, the model reads {longest}"
            raise BadChunk(message, position=position + offset, fix="ask for smaller chunks")


def _nothing_kept(version: LeasedVersion) -> EmptyDocument:
    message = f"the validation hook kept no chunk of {version.external_id!r}"
    return EmptyDocument(message, fix="see why the hook refuses all of it, then send it again")


async def _cuts(
    lease: Lease, version: LeasedVersion, blobs: BlobStore, cutters: Cutters
) -> AsyncIterator[Cut]:
    """Run the cutting in a thread, a stretch at a time: one visit for a small document."""
    source = version.source
    if source is None:
        return
    resume_at = version.parts[-1].resume_at if version.parts else 0
    extractor = cutters.extractor(version.extractor)
    bounds = _bounds(lease.pipeline)

    def begin() -> tuple[BinaryIO, Iterator[Cut], Cut | None]:
        file = blobs.open(source.blob, source.start, source.length)
        cuts = cut(file, extractor, cutters.chunker, resume_at=resume_at, bounds=bounds)
        try:
            return file, cuts, _next(cuts)
        except BaseException:
            file.close()
            raise

    file, cuts, found = await asyncio.to_thread(begin)
    with file:
        while found is not None:
            yield found
            found = None if found.last else await asyncio.to_thread(_next, cuts)


def _bounds(pipeline: Pipeline) -> Bounds:
    chunks = DELIVERED_CHUNKS if pipeline.delivers else MAX_PART_CHUNKS
    return Bounds(chunks=chunks, lines=pipeline.recipe.chunking.lines)


def _next(cuts: Iterator[Cut]) -> Cut | None:
    return next(cuts, None)


async def _plan(lease: Lease, version: LeasedVersion, blobs: BlobStore) -> Plan:
    plan = Plan(
        incarnation=uuid.UUID(lease.index.incarnation),
        document=version.document,
        version=version.number,
        base=await read_base(blobs, version.base),
    )
    if version.parts:
        plan.resume(await read_ids(blobs, version.parts))
    return plan


def _planned(
    lease: Lease, version: LeasedVersion, plan: Plan, stretch: Stretch, position: int
) -> Planned:
    """Make the manifest rows of a stretch."""
    recipe = lease.pipeline.recipe
    hashes = hash_chunks(
        stretch.texts,
        prefix=recipe.fingerprint.document_prefix,
        metadata=dict(version.metadata),
        fields=dict(recipe.fields),
        extras=stretch.extras,
    )
    planned = plan.match(position, hashes)
    columns: Columns = {
        "position": list(range(position, position + len(stretch.texts))),
        "start": stretch.starts,
        "end": stretch.ends,
        "tokens": stretch.tokens,
        "input_hash": hashes.inputs,
        "record_hash": hashes.records,
        "record_id": planned.record_ids,
        "first_version": planned.first_versions,
        "vector_of": planned.vector_of,
        "text": stretch.texts,
        "page": stretch.pages,
        "headings": stretch.headings,
        "extra": stretch.extras,
    }
    rows, new_rows = len(stretch.texts), planned.new_rows(version.number)
    return Planned(columns=columns, rows=rows, new_rows=new_rows)


async def _commit_group(lease: Lease, gathered: _Gathered, write_rows: WriteRows) -> list[NewPart]:
    """Write all gathered documents into one part file."""
    if not gathered.parts:
        return []
    blob, row = await write_rows(lease, gathered.columns, gathered.rows)
    parts: list[NewPart] = []
    for version, rows, new_rows, covered in gathered.parts:
        part = Part(number=0, blob=blob, row_start=row, rows=rows, resume_at=covered)
        parts.append(NewPart(version=version, part=part, new_rows=new_rows, last=True))
        row += rows
    return parts
