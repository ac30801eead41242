"""Many small batches write at once: few files, and each finds its own again."""

import asyncio
import io
import uuid

import numpy as np
import pyarrow as pa

from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.manifests import SCHEMA, Part
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
    job=LeasedJob(id=1, document_id=""),
    pipeline=PIPELINE,
    index=LeasedIndex(id=1, ledger="l", incarnation=str(uuid.uuid4()), written=False),
    versions=(),
    vectors=(),
)


class OnlyBlobs:
    """As much of the port `work` as writing files needs."""

    def __init__(self) -> None:
        self.store = MemoryBlobStore()

    def blobs(self, lease: Lease) -> BlobStore:
        del lease
        return self.store


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


async def test_vectors_of_many_batches_share_files_by_their_length() -> None:
    work = OnlyBlobs()
    files = SharedFiles(work)  # type: ignore[arg-type]
    given = [
        {
            f"{batch:02}{row}".ljust(16).encode(): np.full(3 + batch % 2, batch, np.float32)
            for row in range(2)
        }
        for batch in range(20)
    ]

    blobs = await asyncio.gather(*(files.write_vectors(LEASE, vectors) for vectors in given))

    assert await count(work.store, "vectors/") == 2
    for batch, (vectors, blob) in enumerate(zip(given, blobs, strict=True)):
        found = await read_vectors(work.store, [blob], 3 + batch % 2)
        assert all(np.array_equal(found[key], row) for key, row in vectors.items())
        assert io.BytesIO(await work.store.read(blob)).read(6) == b"ARROW1"
