"""Extract, chunk and plan: raw documents of a batch -> committed parts of their manifests."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from vectorflow.domain.documents import Attached
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
from vectorflow.ports.work import Finished, Lease, LeasedVersion, NewPart, Work
from vectorflow.service.attached import Attachments, Detect
from vectorflow.service.cut import Bounds, Cut, Stretch
from vectorflow.service.cutting import Cutting, Lend
from vectorflow.service.part_files import read_base, read_ids, write_part
from vectorflow.service.validate import Validate, validated

DELIVERED_CHUNKS = 512
"""Chunks of one delivery at most: with 1,536 dimensions some 17 MB of JSON."""

GATHERED_ATTACHED = 64
"""Attachments of documents that are committed together, roughly: a name may have 1 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutters:
    """The plugins of one pipeline."""

    extractor: Lend
    detect: Detect
    """Tells what reads an attachment."""
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


class _Whole(NamedTuple):
    """A small document, gathered whole."""

    version: int
    rows: int
    new_rows: int
    covered: int
    """Characters."""


@dataclass(slots=True)
class _Gathered:
    """Whole small documents that will share a part file, and what was found inside of them."""

    inside: Attachments
    """Of documents that are not committed yet, gathered or not."""
    columns: Columns = field(default_factory=lambda: {name: [] for name in SCHEMA.names})
    parts: list[_Whole] = field(default_factory=list[_Whole])
    rows: int = 0
    size: int = 0
    attached: int = 0

    @property
    def full(self) -> bool:
        if self.attached >= GATHERED_ATTACHED:
            return True
        return self.rows >= MAX_PART_CHUNKS or self.size >= MAX_PART_BYTES

    def add(self, version: int, planned: Planned, stretch: Stretch) -> None:
        for name, column in self.columns.items():
            column.extend(planned.columns[name])
        self.parts.append(_Whole(version, planned.rows, planned.new_rows, stretch.resume_at))
        self.rows += planned.rows
        self.size += stretch.size
        self.attached += self.inside.count(version)


async def extract(lease: Lease, work: Work, cutters: Cutters, write_rows: WriteRows) -> Finished:
    """Run an extract batch. Long documents and full groups are committed on the way.

    Raises:
        LeaseLost: What was committed before stays.
    """
    recipe = lease.pipeline.recipe
    inside = Attachments(work.blobs(lease), cutters.detect, recipe.extractors)
    gathered = _Gathered(inside)
    failures: dict[int, VectorFlowError] = {}
    cutting = Cutting(
        blobs=work.blobs(lease),
        lend=cutters.extractor,
        chunker=cutters.chunker,
        bounds=_bounds(lease.pipeline),
    )
    for run in cutting.runs(lease.versions):
        ahead = await cutting.ahead(run)
        for version in run:
            cuts = ahead.pop(version.id, None) or cutting.one(version)
            try:
                await _extract_one(lease, version, cuts, work, cutters, gathered)
            except (DocumentFailed, HookRefused, ForbiddenAddress) as error:
                failures[version.id] = error
                inside.drop(version.id)
            if gathered.full:
                await work.checkpoint(lease, parts=await _commit_group(lease, gathered, write_rows))
                gathered = _Gathered(inside)
    parts = await _commit_group(lease, gathered, write_rows)
    return Finished(lease=lease, parts=tuple(parts), failures=failures)


async def _extract_one(
    lease: Lease,
    version: LeasedVersion,
    cuts: AsyncIterator[Cut | Attached],
    work: Work,
    cutters: Cutters,
    gathered: _Gathered,
) -> None:
    """Cut and plan one document: whole into the group, or part by part into commits."""
    blobs = work.blobs(lease)
    plan = await _plan(lease, version, blobs)
    position = sum(part.rows for part in version.parts)
    number = len(version.parts)
    async for found in cuts:
        if isinstance(found, Attached):
            await gathered.inside.add(version.id, found)
            continue
        stretch = await _validated(lease, version, found.stretch, cutters)
        check_length(stretch, position, cutters.longest)
        planned = _planned(lease, version, plan, stretch, position)
        position += planned.rows
        if found.last and position == 0 and not gathered.inside.count(version.id):
            raise _nothing_kept(version)
        if found.last and number == 0:
            gathered.add(version.id, planned, stretch)
            return
        part = Part(
            number=number,
            blob=await write_part(blobs, pa.table(planned.columns, schema=SCHEMA)),
            row_start=0,
            rows=planned.rows,
            resume_at=stretch.resume_at,
        )
        attached = await gathered.inside.take(version.id) if found.last else ()
        new = NewPart(
            version=version.id,
            part=part,
            new_rows=planned.new_rows,
            last=found.last,
            attached=attached,
        )
        await work.checkpoint(lease, parts=[new])
        number += 1
    if number == 0:
        _gather_empty(version, gathered)


def _gather_empty(version: LeasedVersion, gathered: _Gathered) -> None:
    """Take a document without text of its own, if something is attached to it."""
    if not gathered.inside.count(version.id):
        message = f"there is no text in {version.external_id!r}"
        raise EmptyDocument(message)
    columns: Columns = {name: [] for name in SCHEMA.names}
    gathered.add(version.id, Planned(columns=columns, rows=0, new_rows=0), Stretch())


async def _validated(
    lease: Lease, version: LeasedVersion, stretch: Stretch, cutters: Cutters
) -> Stretch:
    if cutters.validate is None:
        return stretch
    name = f"{version.document}/{version.number}/{stretch.resume_at}"
    document = uuid.uuid5(uuid.UUID(lease.index.incarnation), name)
    return await validated(stretch, document, cutters.validate, cutters.count)


def check_length(stretch: Stretch, position: int, longest: int) -> None:
    """Refuse what the embedder would cut off without a word.

    Raises:
        BadChunk: Names the first chunk that is too long.
    """
    for offset, tokens in enumerate(stretch.tokens):
        if tokens > longest:
            message = f"a chunk has {tokens} tokens, the model reads {longest}"
            raise BadChunk(message, position=position + offset, fix="ask for smaller chunks")


def _nothing_kept(version: LeasedVersion) -> EmptyDocument:
    message = f"the validation hook kept no chunk of {version.external_id!r}"
    return EmptyDocument(message, fix="see why the hook refuses all of it, then send it again")


def _bounds(pipeline: Pipeline) -> Bounds:
    chunks = DELIVERED_CHUNKS if pipeline.delivers else MAX_PART_CHUNKS
    return Bounds(chunks=chunks, lines=pipeline.recipe.chunking.lines)


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
        attached = await gathered.inside.take(version)
        new = NewPart(version=version, part=part, new_rows=new_rows, last=True, attached=attached)
        parts.append(new)
        row += rows
    return parts
