"""Extract, chunk and plan: raw documents of a batch -> committed parts of their manifests."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from vectorflow.domain.manifests import MAX_PART_BYTES, MAX_PART_CHUNKS, SCHEMA, Part, hash_chunks
from vectorflow.domain.planning import Plan
from vectorflow.errors import DocumentFailed, EmptyDocument, VectorFlowError
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.extractor import Extractor
from vectorflow.ports.work import Finished, Lease, LeasedVersion, NewPart, Work
from vectorflow.service.cut import Cut, Stretch, cut
from vectorflow.service.part_files import read_base, read_ids, write_part


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutters:
    """The plugins of one pipeline."""

    extractor: Callable[[str], Extractor]
    chunker: Chunker


@dataclass(slots=True)
class _Gathered:
    """Whole small documents that will share a part file."""

    tables: list[pa.Table] = field(default_factory=list[pa.Table])
    owners: list[tuple[LeasedVersion, int, int]] = field(
        default_factory=list[tuple[LeasedVersion, int, int]]
    )
    """Version, new rows, characters covered: one for each table."""
    size: int = 0

    @property
    def full(self) -> bool:
        rows = sum(len(table) for table in self.tables)
        return rows >= MAX_PART_CHUNKS or self.size >= MAX_PART_BYTES


async def extract(lease: Lease, work: Work, cutters: Cutters) -> Finished:
    """Run an extract batch. Long documents and full groups are committed on the way.

    Raises:
        LeaseLost: What was committed before stays.
    """
    blobs = work.blobs(lease)
    gathered = _Gathered()
    failures: dict[int, VectorFlowError] = {}
    for version in lease.versions:
        try:
            await _extract_one(lease, version, work, cutters, gathered)
        except DocumentFailed as error:
            failures[version.id] = error
        if gathered.full:
            await work.checkpoint(lease, parts=await _commit_group(blobs, gathered))
            gathered = _Gathered()
    parts = await _commit_group(blobs, gathered)
    return Finished(lease=lease, parts=tuple(parts), failures=failures)


async def _extract_one(
    lease: Lease, version: LeasedVersion, work: Work, cutters: Cutters, gathered: _Gathered
) -> None:
    """Cut and plan one document: whole into the group, or part by part into commits."""
    blobs = work.blobs(lease)
    plan = await _plan(lease, version, blobs)
    position = sum(part.rows for part in version.parts)
    number = len(version.parts)
    async for stretch, last in _cuts(version, blobs, cutters):
        table, new_rows = _planned_rows(lease, version, plan, stretch, position)
        if last and number == 0:
            gathered.tables.append(table)
            gathered.owners.append((version, new_rows, stretch.resume_at))
            gathered.size += stretch.size
            return
        part = Part(
            number=number,
            blob=await write_part(blobs, table),
            row_start=0,
            rows=len(table),
            resume_at=stretch.resume_at,
        )
        new = NewPart(version=version.id, part=part, new_rows=new_rows, last=last)
        await work.checkpoint(lease, parts=[new])
        position, number = position + len(table), number + 1
    if number == 0:
        message = f"there is no text in {version.external_id!r}"
        raise EmptyDocument(message)


async def _cuts(version: LeasedVersion, blobs: BlobStore, cutters: Cutters) -> AsyncIterator[Cut]:
    """Run the cutting in a thread, a stretch at a time."""
    source = version.source
    if source is None:
        return
    resume_at = version.parts[-1].resume_at if version.parts else 0
    extractor = cutters.extractor(version.extractor)
    with await asyncio.to_thread(blobs.open, source.blob, source.start, source.length) as file:
        cuts = cut(file, extractor, cutters.chunker, resume_at=resume_at)
        while (found := await asyncio.to_thread(_next, cuts)) is not None:
            yield found


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


def _planned_rows(
    lease: Lease, version: LeasedVersion, plan: Plan, stretch: Stretch, position: int
) -> tuple[pa.Table, int]:
    """Make the manifest rows of a stretch; also how many of them are new records."""
    recipe = lease.pipeline.recipe
    hashes = hash_chunks(
        stretch.texts,
        prefix=recipe.fingerprint.document_prefix,
        metadata=dict(version.metadata),
        fields=dict(recipe.fields),
    )
    planned = plan.match(position, hashes)
    columns = {
        "position": range(position, position + len(stretch.texts)),
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
        "extra": [None] * len(stretch.texts),
    }
    return pa.table(columns, schema=SCHEMA), planned.new_rows(version.number)


async def _commit_group(blobs: BlobStore, gathered: _Gathered) -> list[NewPart]:
    """Write one part file for all gathered documents."""
    if not gathered.tables:
        return []
    blob = await write_part(blobs, pa.concat_tables(gathered.tables))
    parts: list[NewPart] = []
    row = 0
    for table, (version, new_rows, covered) in zip(gathered.tables, gathered.owners, strict=True):
        part = Part(number=0, blob=blob, row_start=row, rows=len(table), resume_at=covered)
        parts.append(NewPart(version=version.id, part=part, new_rows=new_rows, last=True))
        row += len(table)
    return parts
