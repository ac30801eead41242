"""Embed and store, with doubles for the worker's side and real part files."""

import uuid
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pytest

from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.domain.jobs import LANES, BatchKind, Lane
from vectorflow.domain.manifests import SCHEMA, Part, hash_chunks
from vectorflow.domain.pipelines import Chunking, Fingerprint, Pipeline, Recipe
from vectorflow.domain.records import record_schema, vector_column
from vectorflow.errors import BadChunk, ForeignIndex, KeyRefused, LeaseLost, Permanent, Unavailable
from vectorflow.ports.work import (
    Finished,
    Lease,
    LeasedIndex,
    LeasedJob,
    LeasedVersion,
    NewPart,
    Work,
)
from vectorflow.service.embed import Embedded, Target, embed_and_store
from vectorflow.service.part_files import read_vectors, write_part, write_vectors

DIMENSIONS = 4


def vector_of(text: str) -> np.ndarray:
    """A vector that tells its text."""
    return np.full(DIMENSIONS, len(text), dtype=np.float32)


BLOBS = MemoryBlobStore()
"""Of all tests: every file has a name of its own."""


@dataclass
class OneLease(Work):
    """Keeps blobs in memory and remembers checkpoints."""

    store: MemoryBlobStore = field(default_factory=lambda: BLOBS)
    vector_files: list[str] = field(default_factory=list)
    lost: bool = False

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        raise NotImplementedError

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        raise NotImplementedError

    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        if self.lost:
            raise LeaseLost("gone")
        assert vectors is not None
        self.vector_files.append(vectors)

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        raise NotImplementedError

    async def release(self, lease: Lease, error: Exception | None) -> None:
        raise NotImplementedError

    def blobs(self, lease: Lease) -> MemoryBlobStore:
        return self.store


@dataclass
class Outside:
    """The embedder and the store, as the stage sees them."""

    refuses: set[str] = field(default_factory=set)
    refusal: Permanent = field(default_factory=lambda: Permanent("no"))
    breaks_after: int | None = None
    cached: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    store_refuses: set[str] = field(default_factory=set)
    store_error: Exception | None = None
    held: dict[str, np.ndarray] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    written: dict[str, dict[str, object]] = field(default_factory=dict)

    def target(self, *, keep: bool = False, keep_cached: bool = False) -> Target:
        return Target(
            dimensions=DIMENSIONS,
            keep=keep,
            keep_cached=keep_cached,
            embed=self.embed,
            fetch=self.fetch,
            write=self.write,
            save=self.save,
        )

    async def save(self, lease: Lease, vectors: Mapping[bytes, np.ndarray]) -> str:
        del lease
        return await write_vectors(BLOBS, vectors)

    async def embed(
        self, keys: Sequence[bytes], texts: Sequence[str], tokens: Sequence[int]
    ) -> AsyncGenerator[Embedded]:
        del keys
        for position, text in enumerate(texts):
            if position == self.breaks_after:
                raise Unavailable("the provider is away")
            self.asked.append(text)
            answer = self.refusal if text in self.refuses else vector_of(text)[None, :]
            cached, shared = text in self.cached, text in self.cached | self.shared
            calls = 0 if shared else 1
            yield Embedded(np.array([position]), answer, calls, shared=shared, cached=cached)

    async def fetch(self, ids: Sequence[str]) -> pa.Table:
        found = [name for name in ids if name in self.held]
        vectors = np.stack([self.held[name] for name in found]) if found else np.empty((0, 4))
        blank = [""] * len(found)
        return pa.table(
            {
                "id": found,
                "vector": vector_column(vectors.astype(np.float32)),
                "text": blank,
                "document": blank,
                "version": [1] * len(found),
                "metadata": blank,
            },
            schema=record_schema(DIMENSIONS),
        )

    async def write(self, records: pa.Table) -> None:
        rows = records.to_pylist()
        if self.store_error:
            raise self.store_error
        if any(row["text"] in self.store_refuses for row in rows):
            places = [place for place, row in enumerate(rows) if row["text"] in self.store_refuses]
            raise BadChunk("refused", position=places[0])
        self.written |= {row["id"]: row for row in rows}


async def lease_for(
    work: OneLease,
    documents: Mapping[str, Sequence[str]],
    vector_of: Mapping[str, str] = {},
    old: Collection[str] = (),
) -> Lease:
    versions = []
    for number, (name, texts) in enumerate(documents.items(), 1):
        hashes = hash_chunks(texts, prefix="", metadata={}, fields={})
        columns = {
            "position": range(len(texts)),
            "start": range(len(texts)),
            "end": range(1, len(texts) + 1),
            "tokens": [3] * len(texts),
            "input_hash": hashes.inputs,
            "record_hash": hashes.records,
            "record_id": [f"{name}-{position}" for position in range(len(texts))],
            "first_version": [1 if text in old else 2 for text in texts],
            "vector_of": [vector_of.get(text) for text in texts],
            "text": list(texts),
            "page": [None] * len(texts),
            "headings": [None] * len(texts),
            "extra": [None] * len(texts),
        }
        blob = await write_part(work.store, pa.table(columns, schema=SCHEMA))
        part = Part(number=0, blob=blob, row_start=0, rows=len(texts), resume_at=9)
        versions.append(
            LeasedVersion(
                id=number,
                document=number,
                external_id=name,
                number=2,
                extractor="text",
                source=None,
                metadata={"of": name},
                parts=(part,),
                base=(),
            )
        )
    fingerprint = Fingerprint(
        model="m", revision="1", dimensions=DIMENSIONS, pooling="mean", normalized=False
    )
    recipe = Recipe(
        chunking=Chunking(chunker="default", size=10, overlap=0),
        chunker_revision=1,
        tokenizer="words",
        tokenizer_revision=1,
        fingerprint=fingerprint,
        extractors={"text": 1},
    )
    return Lease(
        batch=1,
        epoch=1,
        kind=BatchKind.EMBED,
        seconds=60,
        attempt=1,
        job=LeasedJob(id=1, tenant="default", document_id=""),
        pipeline=Pipeline(recipe=recipe, embedder="m:1", store="memory://x", index="default"),
        index=LeasedIndex(id=1, ledger="l", incarnation=str(uuid.uuid4()), written=False),
        versions=tuple(versions),
        vectors=(),
    )


async def test_every_new_row_becomes_a_record_with_the_vector_of_its_text() -> None:
    work, outside = OneLease(), Outside()
    lease = await lease_for(work, {"a": ["one", "three"], "b": ["seven!!"]})

    result = await embed_and_store(lease, work, outside.target())

    assert set(outside.written) == {"a-0", "a-1", "b-0"}
    row = outside.written["a-1"]
    assert row["vector"] == vector_of("three").tolist()
    assert (row["text"], row["document"], row["version"]) == ("three", "a", 2)
    assert row["metadata"] == '{"of":"a"}'
    assert (result.usage.chunks_embedded, result.usage.embedding_calls) == (3, 3)
    assert result.usage.tokens == 9


async def test_equal_chunks_are_embedded_once() -> None:
    work, outside = OneLease(), Outside()
    lease = await lease_for(work, {"a": ["same", "same"], "b": ["same"]})

    result = await embed_and_store(lease, work, outside.target())

    assert outside.asked == ["same"]
    assert len(outside.written) == 3
    assert result.usage.chunks_embedded == 1


async def test_paid_vectors_are_kept_before_anything_is_stored() -> None:
    work, outside = OneLease(), Outside(store_error=Unavailable("the store is away"))
    lease = await lease_for(work, {"a": ["one", "three"]})

    with pytest.raises(Unavailable):
        await embed_and_store(lease, work, outside.target(keep=True))

    assert len(work.vector_files) == 1
    kept = await read_vectors(work.store, work.vector_files, DIMENSIONS)
    assert len(kept) == 2


async def test_what_others_embedded_is_not_counted_as_spent() -> None:
    work, outside = OneLease(), Outside(cached={"one"}, shared={"three"})
    lease = await lease_for(work, {"a": ["one", "three", "seven"]})

    result = await embed_and_store(lease, work, outside.target())

    assert len(outside.written) == 3
    assert (result.usage.chunks_embedded, result.usage.embedding_calls) == (1, 1)
    assert result.usage.tokens == 3


@pytest.mark.parametrize(("keep_cached", "kept"), [(False, {3, 5}), (True, {2, 3, 5})])
async def test_cached_vectors_are_kept_for_the_job_only_where_no_store_has_them(
    keep_cached: bool, kept: set[int]
) -> None:
    work, outside = OneLease(), Outside(cached={"aa"}, shared={"bbb"})
    lease = await lease_for(work, {"a": ["aa", "bbb", "ccccc"]})

    await embed_and_store(lease, work, outside.target(keep=True, keep_cached=keep_cached))

    files = await read_vectors(work.store, work.vector_files, DIMENSIONS)
    assert {row[0] for row in files.values()} == kept


async def test_a_retry_takes_vectors_from_the_vector_file_and_pays_nothing() -> None:
    work, outside = OneLease(), Outside(store_error=Unavailable("the store is away"))
    lease = await lease_for(work, {"a": ["one", "three"]})
    with pytest.raises(Unavailable):
        await embed_and_store(lease, work, outside.target(keep=True))
    outside.store_error, outside.asked = None, []

    again = replace(lease, vectors=tuple(work.vector_files), attempt=2)
    result = await embed_and_store(again, work, outside.target(keep=True))

    assert outside.asked == []
    assert result.usage.chunks_embedded == 0
    assert outside.written["a-0"]["vector"] == vector_of("one").tolist()


async def test_what_was_embedded_before_an_outage_is_kept() -> None:
    work, outside = OneLease(), Outside(breaks_after=2)
    lease = await lease_for(work, {"a": ["one", "three", "seven!!"]})

    with pytest.raises(Unavailable):
        await embed_and_store(lease, work, outside.target())

    kept = await read_vectors(work.store, work.vector_files, DIMENSIONS)
    assert len(kept) == 2


async def test_a_lost_lease_stops_before_the_store_is_touched() -> None:
    work, outside = OneLease(lost=True), Outside()
    lease = await lease_for(work, {"a": ["one"]})

    with pytest.raises(LeaseLost):
        await embed_and_store(lease, work, outside.target(keep=True))

    assert outside.written == {}


async def test_vectors_are_copied_from_the_version_before() -> None:
    work, outside = OneLease(), Outside(held={"old": np.array([9, 9, 9, 9], np.float32)})
    lease = await lease_for(work, {"a": ["one", "three"]}, {"one": "old"})

    result = await embed_and_store(lease, work, outside.target())

    assert outside.asked == ["three"]
    assert outside.written["a-0"]["vector"] == [9, 9, 9, 9]
    assert result.usage.chunks_embedded == 1


async def test_a_vector_that_the_store_lacks_is_embedded() -> None:
    work, outside = OneLease(), Outside()
    lease = await lease_for(work, {"a": ["one"]}, {"one": "old"})

    await embed_and_store(lease, work, outside.target())

    assert outside.asked == ["one"]


async def test_a_chunk_that_the_embedder_refuses_fails_its_document_only() -> None:
    work, outside = OneLease(), Outside(refuses={"bad"})
    lease = await lease_for(work, {"a": ["one", "bad"], "b": ["three"]})

    result = await embed_and_store(lease, work, outside.target())

    error = result.failures[1]
    assert isinstance(error, BadChunk)
    assert error.position == 1
    assert list(result.failures) == [1]
    assert set(outside.written) == {"b-0"}


async def test_a_record_that_the_store_refuses_fails_its_document_only() -> None:
    work, outside = OneLease(), Outside(store_refuses={"bad"})
    lease = await lease_for(work, {"b": ["three"], "a": ["one", "two", "bad"]}, old={"one"})

    result = await embed_and_store(lease, work, outside.target())

    assert list(result.failures) == [2]
    error = result.failures[2]
    assert isinstance(error, BadChunk)
    assert error.position == 2
    assert set(outside.written) == {"b-0"}


@pytest.mark.parametrize("where", ["embedder", "store"])
async def test_what_an_operator_can_mend_fails_no_document_and_loses_no_vector(where: str) -> None:
    refused = KeyRefused("no")
    work, outside = OneLease(), Outside(store_error=refused if where == "store" else None)
    if where == "embedder":
        outside.refuses, outside.refusal = {"bad"}, refused
    lease = await lease_for(work, {"a": ["one", "bad"], "b": ["three"]})

    with pytest.raises(KeyRefused):
        await embed_and_store(lease, work, outside.target(keep=True))

    assert len(work.vector_files) == 1
    assert outside.written == {}


class Closing(Outside):
    """Refuses a record, and then everybody."""

    closed: Permanent

    async def write(self, records: pa.Table) -> None:
        try:
            await super().write(records)
        except BadChunk:
            self.store_error = self.closed
            raise


@pytest.mark.parametrize("closed", [KeyRefused("no"), ForeignIndex("default", owner="other")])
async def test_a_store_that_begins_to_refuse_all_while_a_bad_record_is_looked_for_blames_none(
    closed: Permanent,
) -> None:
    work, outside = OneLease(), Closing(store_refuses={"bad"})
    outside.closed = closed
    lease = await lease_for(work, {"a": ["one", "bad"], "b": ["three"]})

    with pytest.raises(type(closed)):
        await embed_and_store(lease, work, outside.target())


async def test_an_index_that_is_not_ours_is_no_fault_of_a_document() -> None:
    work, outside = OneLease(), Outside(store_error=ForeignIndex("default", owner="other"))
    lease = await lease_for(work, {"a": ["one"], "b": ["three"]})

    with pytest.raises(ForeignIndex):
        await embed_and_store(lease, work, outside.target())
