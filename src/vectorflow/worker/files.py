"""Files that batches share: rows of manifests, and vectors, of many small batches in one each."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa

from vectorflow.domain.grouping import Grouped
from vectorflow.domain.manifests import MAX_PART_CHUNKS, SCHEMA
from vectorflow.domain.records import Matrix
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
        self._vectors: dict[int, Grouped[_Vectors, str]] = {}

    async def write_rows(self, lease: Lease, columns: Columns, count: int) -> Stretched:
        """Write manifest rows, and say where they are."""
        return await self._rows(_Rows(lease, columns, count))

    async def write_vectors(self, lease: Lease, vectors: Mapping[bytes, Matrix]) -> str:
        """Write vectors by input hash, and give the key of their file."""
        dimensions = len(next(iter(vectors.values())))
        if dimensions not in self._vectors:
            self._vectors[dimensions] = Grouped(
                self._write_vectors, weight=lambda item: len(item.by_hash), limit=MAX_PART_CHUNKS
            )
        return await self._vectors[dimensions](_Vectors(lease, vectors))

    async def _write_rows(self, items: Sequence[_Rows]) -> Sequence[Stretched]:
        joined: Columns = {name: [] for name in SCHEMA.names}
        for item in items:
            for name, column in joined.items():
                column.extend(item.columns[name])
        blobs = self._work.blobs(items[0].lease)
        blob = await write_part(blobs, pa.table(joined, schema=SCHEMA))
        ends = accumulate(item.rows for item in items)
        return [Stretched(blob, end - item.rows) for item, end in zip(items, ends, strict=True)]

    async def _write_vectors(self, items: Sequence[_Vectors]) -> Sequence[str]:
        joined = {key: row for item in items for key, row in item.by_hash.items()}
        blob = await write_vectors(self._work.blobs(items[0].lease), joined)
        return [blob] * len(items)
