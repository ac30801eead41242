"""Files that batches share: rows of manifests, and vectors, of many small batches in one each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa

from vectorflow.domain.grouping import Grouped
from vectorflow.domain.manifests import MAX_PART_CHUNKS, SCHEMA
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.errors import LeaseLost
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.work import Lease, Work
from vectorflow.service.extract import Columns, Stretched
from vectorflow.service.part_files import write_part, write_vectors


class _Rows(NamedTuple):
    lease: Lease
    columns: Columns
    rows: int


class _Vectors(NamedTuple):
    lease: Lease
    by_hash: Mapping[bytes, Matrix]


class SharedFiles:
    """Writes what batches hand over at once; a file is written under the lease of one of them."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._rows: Grouped[_Rows, Stretched] = Grouped(
            self._write_rows, weight=lambda item: item.rows, limit=MAX_PART_CHUNKS
        )
        self._vectors: dict[Fingerprint, Grouped[_Vectors, str]] = {}

    async def write_rows(self, lease: Lease, columns: Columns, count: int) -> Stretched:
        """Write manifest rows, and say where they are."""
        return await self._rows(_Rows(lease, columns, count))

    async def write_vectors(self, lease: Lease, vectors: Mapping[bytes, Matrix]) -> str:
        """Write vectors by input hash, and give the key of their file.

        Those of two models are never in one file: the hash of a text is the same for both.
        """
        model = lease.pipeline.recipe.fingerprint
        if model not in self._vectors:
            self._vectors[model] = Grouped(
                self._write_vectors, weight=lambda item: len(item.by_hash), limit=MAX_PART_CHUNKS
            )
        return await self._vectors[model](_Vectors(lease, vectors))

    async def _write_rows(self, items: Sequence[_Rows]) -> Sequence[Stretched]:
        joined: Columns = {name: [] for name in SCHEMA.names}
        for item in items:
            for name, column in joined.items():
                column.extend(item.columns[name])
        table = pa.table(joined, schema=SCHEMA)
        blob = await self._write(items, lambda blobs: write_part(blobs, table))
        ends = accumulate(item.rows for item in items)
        return [Stretched(blob, end - item.rows) for item, end in zip(items, ends, strict=True)]

    async def _write_vectors(self, items: Sequence[_Vectors]) -> Sequence[str]:
        joined = {key: row for item in items for key, row in item.by_hash.items()}
        blob = await self._write(items, lambda blobs: write_vectors(blobs, joined))
        return [blob] * len(items)

    async def _write(
        self, items: Sequence[_Rows | _Vectors], write: Callable[[BlobStore], Awaitable[str]]
    ) -> str:
        """Write under the first lease that is still ours: a lost one must not harm the others."""
        for item in items[:-1]:
            with suppress(LeaseLost):
                return await write(self._work.blobs(item.lease))
        return await write(self._work.blobs(items[-1].lease))
