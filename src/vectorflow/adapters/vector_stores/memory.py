"""The vector store in this process's memory: for tests and trials; it ends with the process."""

import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorflow.domain.records import Matrix, matrix_of, record_schema
from vectorflow.domain.store_rules import (
    check_index_name,
    check_records,
    distinct_ids,
    filter_terms,
    metadata_terms,
    strings_of,
)
from vectorflow.errors import DimensionMismatch, IndexLost, InvalidInput
from vectorflow.ports.vector_store import Marker, Query, Upkeep, VectorStore

_PAGE = 10_000


@dataclass(slots=True, kw_only=True)
class _Index:
    """Rows are only ever appended; `rows` says which are alive."""

    marker: Marker
    written: list[pa.Table] = field(default_factory=list[pa.Table])
    rows: dict[str, int] = field(default_factory=dict[str, int])

    def append(self, records: pa.Table) -> None:
        first = sum(len(table) for table in self.written)
        self.written.append(records)
        self.rows.update(_numbered(records, first))
        if first > 2 * len(self.rows) + _PAGE:
            self.compact()

    def compact(self) -> None:
        alive = self.take(list(self.rows))
        self.written = [alive.combine_chunks()]
        self.rows = _numbered(alive, 0)

    def take(self, ids: Sequence[str]) -> pa.Table:
        rows = [self.rows[record] for record in ids if record in self.rows]
        return self.table().take(pa.array(rows, pa.int64()))

    def table(self) -> pa.Table:
        if len(self.written) != 1:
            schema = record_schema(self.marker.dimensions)
            self.written = [
                pa.concat_tables([schema.empty_table(), *self.written]).combine_chunks()
            ]
        return self.written[0]


_stores: dict[str, dict[str, _Index]] = {}
_lock = threading.Lock()


class MemoryVectorStore(VectorStore, Upkeep):
    """`memory://name`; all instances of one name share their indexes."""

    batch_records: ClassVar[int] = 10_000

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        del timeout  # nothing here waits
        with _lock:
            self._indexes = _stores.setdefault(self.locator(url), {})

    @classmethod
    def locator(cls, url: str) -> str:
        if not url.startswith("memory://"):
            raise InvalidInput("not a memory store", fix="write it as memory://NAME")
        return url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def marker(self, index: str) -> Marker | None:
        check_index_name(index)
        held = self._indexes.get(index)
        return held.marker if held else None

    async def create(self, index: str, marker: Marker) -> Marker:
        check_index_name(index)
        with _lock:
            held = self._indexes.get(index)
            if held is None or _is_stale(held.marker, marker):
                held = self._indexes[index] = _Index(marker=marker)
            if held.marker.ledger == marker.ledger and held.marker.dimensions != marker.dimensions:
                held_dimensions = held.marker.dimensions
                raise DimensionMismatch(index, held=held_dimensions, got=marker.dimensions)
            return held.marker

    async def upsert(self, index: str, records: pa.Table) -> None:
        check_index_name(index)
        with _lock:
            held = self._indexes.get(index)
            if held is None:
                raise IndexLost(f"index {index!r} is not there")
            check_records(index, records, held.marker.dimensions)
            held.append(records.cast(record_schema(held.marker.dimensions)))

    async def delete(self, index: str, ids: Sequence[str]) -> None:
        check_index_name(index)
        distinct = distinct_ids(ids)
        with _lock:
            if held := self._indexes.get(index):
                for record in distinct:
                    held.rows.pop(record, None)

    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        check_index_name(index)
        distinct = distinct_ids(ids)
        with _lock:
            held = self._indexes.get(index)
            return held.take(distinct) if held else record_schema(0).empty_table()

    async def search(self, index: str, query: Query) -> pa.Table:
        check_index_name(index)
        terms = filter_terms(query.filter)
        with _lock:
            held = self._indexes.get(index)
            alive = held.take(list(held.rows)) if held else record_schema(0).empty_table()
        if held and len(query.vector) != held.marker.dimensions:
            raise DimensionMismatch(index, held=held.marker.dimensions, got=len(query.vector))
        if terms:
            wanted = [set(terms) <= set(metadata_terms(m)) for m in strings_of(alive["metadata"])]
            alive = alive.filter(pa.array(wanted, pa.bool_()))
        return _best(alive, query)

    async def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        check_index_name(index)
        with _lock:
            held = self._indexes.get(index)
            ids = list(held.rows) if held else []
        for start in range(0, len(ids), _PAGE):
            yield ids[start : start + _PAGE]

    async def optimize(self, index: str) -> None:
        check_index_name(index)
        with _lock:
            if held := self._indexes.get(index):
                held.compact()


def _numbered(records: pa.Table, first: int) -> dict[str, int]:
    return {record: row for row, record in enumerate(strings_of(records["id"]), first)}


def _is_stale(held: Marker, wanted: Marker) -> bool:
    return held.ledger == wanted.ledger and held.incarnation != wanted.incarnation


def _best(records: pa.Table, query: Query) -> pa.Table:
    vectors = matrix_of(records["vector"], max(1, len(query.vector)))
    scores = _cosines(vectors, query.vector)
    order = np.argsort(-scores, kind="stable")[: max(0, query.k)]
    order = order[np.isfinite(scores[order])]
    best = records.drop_columns("vector").take(pa.array(order.tolist(), pa.int64()))
    return best.append_column(pa.field("score", pa.float64()), pa.array(scores[order]))


def _cosines(vectors: Matrix, wanted: Matrix) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((vectors @ wanted) / lengths, dtype=np.float64)
