"""Many small batches write at once: few files, and each finds its own again."""

import asyncio
import io
import uuid
from collections.abc import AsyncIterable, Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.manifests import SCHEMA, Part
from vectorflow.errors import LeaseLost
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.work import Lease, LeasedIndex, LeasedJob
from vectorflow.service.extract import Columns
from vectorflow.service.part_files import read_part, read_vectors
from vectorflow.testing.workplace import PIPELINE
from vectorflow.worker.files import SharedFiles

LEASE = Lease(
    batch=1,
    epoch=1,
    kind=BatchKind.EXTRACT,
    seconds=60.0,
    attempt=1,
    job=LeasedJob(id=1, tenant="default", document_id=""),
    pipeline=PIPELINE,
    index=LeasedIndex(id=1, ledger="l", incarnation=str(uuid.uuid4()), written=False),
    versions=(),
    vectors=(),
)


def lease_of(model: str, dimensions: int) -> Lease:
    """A lease of a batch that another model embeds."""
    fingerprint = replace(PIPELINE.recipe.fingerprint, model=model, dimensions=dimensions)
    recipe = replace(PIPELINE.recipe, fingerprint=fingerprint)
    return replace(LEASE, pipeline=replace(PIPELINE, recipe=recipe))


class LostBlobs(MemoryBlobStore):
    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        raise LeaseLost("gone")


class OnlyBlobs:
    """As much of the port `work` as writing files needs."""

    def __init__(self, lost: int = 0) -> None:
        self.store = MemoryBlobStore()
        self.lost = lost
        """Batch whose lease is."""

    def blobs(self, lease: Lease) -> BlobStore:
        return LostBlobs() if lease.batch == self.lost else self.store


def columns(*texts: str) -> Columns:
    rows = pa.Table.from_pylist(
        [
            {
                "position": at, "start": 0, "end": 1, "tokens": 1, "input_hash": b"i" * 16,
                "record_hash": b"r" * 16, "record_id": text, "first_version": 1, "text": text,
            }
            for at, text in enumerate(texts)
        ],
        schema=SCHEMA,
    )  # fmt: skip
    return rows.to_pydict()


async def count(blobs: MemoryBlobStore, kind: str) -> int:
    return len([blob async for blob in blobs.list(kind)])


async def test_rows_of_many_batches_share_files_and_are_found_again() -> None:
    work = OnlyBlobs()
    files = SharedFiles(work)  # type: ignore[arg-type]
    names = [[f"{batch}/{row}" for row in range(batch % 4 + 1)] for batch in range(50)]

    places = await asyncio.gather(
        *(files.write_rows(LEASE, columns(*texts), len(texts)) for texts in names)
    )

    assert await count(work.store, "manifests/") == 1
    for texts, place in zip(names, places, strict=True):
        part = Part(
            number=0, blob=place.blob, row_start=place.row_start, rows=len(texts), resume_at=1
        )
        assert (await read_part(work.store, part, ["text"]))["text"].to_pylist() == texts


async def test_vectors_of_many_batches_share_files_by_their_model() -> None:
    """Two models of one length have the same hashes for the same texts."""
    work = OnlyBlobs()
    files = SharedFiles(work)  # type: ignore[arg-type]
    leases = [lease_of("one", 3), lease_of("two", 3), lease_of("three", 4)]
    given = [
        (lease, {b"same text".ljust(16): np.full(lease_dimensions(lease), at, np.float32)})
        for at, lease in enumerate(leases)
    ] * 5

    blobs = await asyncio.gather(*(files.write_vectors(lease, one) for lease, one in given))

    assert await count(work.store, "vectors/") == 3
    for (lease, vectors), blob in zip(given, blobs, strict=True):
        found = await read_vectors(work.store, [blob], lease_dimensions(lease))
        assert all(np.array_equal(found[key], row) for key, row in vectors.items())
        assert io.BytesIO(await work.store.read(blob)).read(6) == b"ARROW1"


def lease_dimensions(lease: Lease) -> int:
    return lease.pipeline.recipe.fingerprint.dimensions


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_batch_whose_lease_is_lost_does_not_harm_the_others(lost: int) -> None:
    work = OnlyBlobs(lost)
    files = SharedFiles(work)  # type: ignore[arg-type]
    leases = [replace(LEASE, batch=batch) for batch in (1, 2, 3)]

    places = await asyncio.gather(*(files.write_rows(one, columns("a"), 1) for one in leases))

    assert [place.row_start for place in places] == [0, 1, 2]
    assert await count(work.store, "manifests/") == 1
