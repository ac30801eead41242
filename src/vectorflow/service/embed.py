"""Embed and store: committed parts -> vectors -> records in the store."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorflow.domain.columns import hashes, integers, strings
from vectorflow.domain.documents import canonical_json
from vectorflow.domain.manifests import joined_metadata
from vectorflow.domain.records import Matrix, matrix_of, record_schema, vector_column
from vectorflow.domain.retries import FailureClass, class_of
from vectorflow.errors import (
    BadChunk,
    CallRefused,
    IndexRefused,
    Permanent,
    VectorFlowError,
)
from vectorflow.ports.work import Finished, Lease, LeasedVersion, Usage, Work
from vectorflow.service.part_files import read_parts, read_vectors

CHECKPOINT_SECONDS = 10.0
"""Embedding work that a crash may cost at most."""

LONG_SECONDS = 2.0
"""Embedding that took so long is kept before it is stored, should the store be away."""

COLUMNS = [
    "position", "tokens", "input_hash", "record_id", "first_version", "vector_of", "text", "extra",
]  # fmt: skip


class Embedded(NamedTuple):
    """An answer from the embedder: vectors for some of the texts asked for, or why not."""

    positions: NDArray[np.intp]
    """Which of the texts."""
    vectors: Matrix | Permanent
    calls: int
    """Requests this answer took; one shared with other batches is counted for one of them."""
    shared: bool = False
    """Embedded for another batch, or earlier: it is counted there."""
    cached: bool = False
    """In the cache of this machine when it was asked for."""


class EmbedTexts(Protocol):
    """Embeds texts together with those of other batches; answers come as they are ready."""

    def __call__(
        self, keys: Sequence[bytes], texts: Sequence[str], tokens: Sequence[int]
    ) -> AsyncGenerator[Embedded]:
        """Every text is in exactly one answer; no two have the same input hash."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where vectors come from and records go to, shared by all batches of a pipeline."""

    dimensions: int
    keep: bool
    """Vectors are always kept before they are stored: they cost money, or no store has them."""
    keep_cached: bool = False
    """Those that were cached too, as no store has them."""
    embed: EmbedTexts
    fetch: Callable[[Sequence[str]], Awaitable[pa.Table]]
    """Read records of the index by id."""
    write: Callable[[pa.Table], Awaitable[None]]
    """Store records together with those of other batches."""
    save: Callable[[Lease, Mapping[bytes, Matrix]], Awaitable[str]]
    """Write vectors by input hash into a file, together with those of other batches; its key."""


@dataclass(slots=True)
class _Vectors:
    """Vectors by input hash, and what of them no vector file holds yet."""

    known: dict[bytes, Matrix]
    unsaved: dict[bytes, Matrix] = field(default_factory=dict[bytes, Matrix])
    refused: dict[bytes, Permanent] = field(default_factory=dict[bytes, Permanent])
    calls: int = 0
    embedded: int = 0
    tokens: int = 0


async def embed_and_store(lease: Lease, work: Work, target: Target) -> Finished:
    """Run an embed batch. What a crash may cost is bounded by checkpoints of vectors.

    Raises:
        Transient: What was embedded until then is kept in a vector file.
        Permanent: No document is to blame: the key is refused, say, or the index.
    """
    rows = await _new_rows(lease, work)
    files = await read_vectors(work.blobs(lease), lease.vectors, target.dimensions)
    vectors = _Vectors(known=files)
    await _copy(rows, vectors, target)
    await _embed(lease, work, target, rows, vectors)
    _raise_what_blames_no_document(vectors.refused.values())
    failures = _failures(lease, rows, vectors.refused)
    good = _without(lease, rows, failures)
    if len(good):
        failures |= await _store(lease, good, vectors.known, target)
    usage = Usage(
        chunks_embedded=vectors.embedded, embedding_calls=vectors.calls, tokens=vectors.tokens
    )
    return Finished(lease=lease, failures=failures, usage=usage)


async def _new_rows(lease: Lease, work: Work) -> pa.Table:
    """Read the rows whose records are not in the store; `owner` is the place of their version."""
    parts = [part for version in lease.versions for part in version.parts]
    rows = await read_parts(work.blobs(lease), parts, COLUMNS)
    if rows is None:
        return pa.table({name: pa.array([], pa.string()) for name in [*COLUMNS, "owner"]})
    counts = [sum(part.rows for part in version.parts) for version in lease.versions]
    owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    numbers = np.repeat(np.array([version.number for version in lease.versions]), counts)
    new = np.asarray(rows["first_version"]) == numbers
    return rows.append_column("owner", pa.array(owners)).filter(pa.array(new))


async def _copy(rows: pa.Table, vectors: _Vectors, target: Target) -> None:
    """Take vectors from records of the version before; what the store lacks is embedded."""
    wanted = {
        source: key
        for source, key in zip(strings(rows, "vector_of"), hashes(rows, "input_hash"), strict=True)
        if source and key not in vectors.known
    }
    if not wanted:
        return
    found = await target.fetch(list(wanted))
    copies = matrix_of(found["vector"], target.dimensions)
    for source, copied in zip(strings(found, "id"), copies, strict=True):
        vectors.known[wanted[source]] = copied


async def _embed(
    lease: Lease, work: Work, target: Target, rows: pa.Table, vectors: _Vectors
) -> None:
    """Embed each distinct input once; equal chunks share a vector."""
    keys, texts, tokens = _needed(rows, vectors.known)
    if not keys:
        return
    began = saved_at = time.monotonic()
    complete = False
    try:
        async with aclosing(target.embed(keys, texts, tokens)) as answers:
            async for answer in answers:
                new = _take(answer, keys, tokens, vectors)
                if target.keep_cached or not answer.cached:
                    vectors.unsaved |= new
                if time.monotonic() - saved_at >= CHECKPOINT_SECONDS:
                    await _save(lease, work, target, vectors)
                    saved_at = time.monotonic()
        complete = True
    finally:
        if target.keep or not complete or time.monotonic() - began >= LONG_SECONDS:
            await _save(lease, work, target, vectors)


def _needed(
    rows: pa.Table, known: Mapping[bytes, Matrix]
) -> tuple[list[bytes], list[str], list[int]]:
    needed: dict[bytes, tuple[str, int]] = {}
    columns = hashes(rows, "input_hash"), strings(rows, "text"), integers(rows, "tokens")
    for key, text, count in zip(*columns, strict=True):
        if key not in known:
            needed[key] = (text, count)
    return (
        list(needed),
        [text for text, _ in needed.values()],
        [count for _, count in needed.values()],
    )


def _take(
    answer: Embedded, keys: list[bytes], tokens: list[int], vectors: _Vectors
) -> dict[bytes, Matrix]:
    """Note an answer, and give the vectors in it."""
    places = answer.positions.tolist()
    vectors.calls += answer.calls
    if isinstance(answer.vectors, Permanent):
        vectors.refused |= {keys[place]: answer.vectors for place in places}
        return {}
    new = {keys[place]: row for place, row in zip(places, answer.vectors, strict=True)}
    vectors.known |= new
    if not answer.shared:
        vectors.embedded += len(new)
        vectors.tokens += sum(tokens[place] for place in places)
    return new


async def _save(lease: Lease, work: Work, target: Target, vectors: _Vectors) -> None:
    """Write a vector file, so that this work is never done twice."""
    if not vectors.unsaved:
        return
    blob = await target.save(lease, vectors.unsaved)
    await work.checkpoint(lease, vectors=blob)
    vectors.unsaved = {}


def _raise_what_blames_no_document(refused: Iterable[Permanent]) -> None:
    """An operator has to mend it, or the index is not ours: every text would be refused."""
    for error in refused:
        if isinstance(error, IndexRefused) or class_of(error) is FailureClass.CONFIG:
            raise error


def _failures(
    lease: Lease, rows: pa.Table, refused: Mapping[bytes, Permanent]
) -> dict[int, VectorFlowError]:
    """One bad chunk fails its document; the first one found is named."""
    failures: dict[int, VectorFlowError] = {}
    if not refused:
        return failures
    columns = hashes(rows, "input_hash"), integers(rows, "owner"), integers(rows, "position")
    for key, owner, position in zip(*columns, strict=True):
        if key in refused:
            failures.setdefault(lease.versions[owner].id, _blamed(refused[key], position))
    return failures


def _blamed(error: Permanent, position: int) -> Permanent:
    """Name the chunk, unless it is not the chunk's fault."""
    if isinstance(error, CallRefused):
        return error
    return BadChunk(error.message, position=position, fix=error.fix)


def _without(lease: Lease, rows: pa.Table, failures: Mapping[int, VectorFlowError]) -> pa.Table:
    """Leave out the rows of failed documents."""
    if not failures:
        return rows
    good = [lease.versions[owner].id not in failures for owner in integers(rows, "owner")]
    return rows.filter(pa.array(good, pa.bool_()))


async def _store(
    lease: Lease, rows: pa.Table, known: Mapping[bytes, Matrix], target: Target
) -> dict[int, VectorFlowError]:
    """Write the records; if they are refused, document by document, to find whose fault it is."""
    try:
        await target.write(_records(lease, rows, known))
    except Permanent as error:
        _raise_what_blames_no_document([error])
        if len(lease.versions) == 1:
            return {lease.versions[0].id: _of_chunk(error, rows)}
    else:
        return {}
    failures: dict[int, VectorFlowError] = {}
    owners = np.asarray(rows["owner"])
    for owner, version in enumerate(lease.versions):
        own = rows.filter(pa.array(owners == owner))
        try:
            if len(own):
                await target.write(_records(lease, own, known))
        except Permanent as error:
            _raise_what_blames_no_document([error])
            failures[version.id] = _of_chunk(error, own)
    return failures


def _of_chunk(error: Permanent, rows: pa.Table) -> Permanent:
    """Name the chunk of the document, where the store names the row that it was given."""
    if isinstance(error, BadChunk) and error.position < len(rows):
        error.position = integers(rows, "position")[error.position]
    return error


def _records(lease: Lease, rows: pa.Table, known: Mapping[bytes, Matrix]) -> pa.Table:
    vectors = np.stack([known[key] for key in hashes(rows, "input_hash")])
    owners: list[LeasedVersion] = [lease.versions[owner] for owner in integers(rows, "owner")]
    metadata = {version.id: canonical_json(dict(version.metadata)) for version in lease.versions}
    extras: list[str | None] = rows["extra"].to_pylist()
    return pa.table(
        {
            "id": rows["record_id"],
            "vector": vector_column(vectors),
            "text": rows["text"],
            "document": [version.external_id for version in owners],
            "version": [version.number for version in owners],
            "metadata": [
                metadata[version.id] if extra is None else joined_metadata(version.metadata, extra)
                for version, extra in zip(owners, extras, strict=True)
            ],
        },
        schema=record_schema(vectors.shape[1]),
    )
