"""The suite of the port `vector_store` turns red for a store that breaks the port."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.contracts.suites import failures
from vectorflow.adapters.vector_stores.memory import MemoryVectorStore
from vectorflow.domain.records import record_schema, vector_column
from vectorflow.errors import BadChunk, DimensionMismatch, IndexLost
from vectorflow.ports.vector_store import Marker, Query
from vectorflow.testing.vector_store_upkeep import UpkeepSuite


class InsertsInsteadOfReplacing(MemoryVectorStore):
    async def upsert(self, index: str, records: pa.Table) -> None:
        before = dict(self._indexes[index].rows) if index in self._indexes else {}
        await super().upsert(index, records)
        rows = self._indexes[index].rows
        rows |= {str(uuid.uuid4()): row for one, row in before.items() if rows[one] != row}


class KeepsTheOldRecord(MemoryVectorStore):
    async def upsert(self, index: str, records: pa.Table) -> None:
        held = set((await self.fetch(index, records["id"].to_pylist()))["id"].to_pylist())
        new = [one not in held for one in records["id"].to_pylist()]
        await super().upsert(index, records.filter(pa.array(new, pa.bool_())))


class WorstFirst(MemoryVectorStore):
    async def search(self, index: str, query: Query) -> pa.Table:
        return (await super().search(index, query)).sort_by("score")


class DistanceAsScore(MemoryVectorStore):
    async def search(self, index: str, query: Query) -> pa.Table:
        found = await super().search(index, query)
        scores = pa.array(1.0 - np.asarray(found["score"]))
        return found.set_column(found.column_names.index("score"), "score", scores)


class InnerProduct(MemoryVectorStore):
    async def search(self, index: str, query: Query) -> pa.Table:
        found = await super().search(index, replace(query, k=10_000))
        vectors = await self.fetch(index, found["id"].to_pylist())
        products = np.array(vectors["vector"].to_pylist()).reshape(len(found), -1) @ query.vector
        found = found.set_column(found.column_names.index("score"), "score", pa.array(products))
        return found.sort_by([("score", "descending")]).slice(0, query.k)


class NoFilter(MemoryVectorStore):
    async def search(self, index: str, query: Query) -> pa.Table:
        return await super().search(index, replace(query, filter={}))


class FiltersAfterTheLimit(MemoryVectorStore):
    async def search(self, index: str, query: Query) -> pa.Table:
        best = await super().search(index, replace(query, filter={}))
        found = await super().search(index, query)
        some = set(best["id"].to_pylist())
        return found.filter(pa.array([one in some for one in found["id"].to_pylist()], pa.bool_()))


class DeletesEverything(MemoryVectorStore):
    async def delete(self, index: str, ids: Sequence[str]) -> None:
        everything = [one async for page in self.ids(index) for one in page]
        await super().delete(index, everything if ids else ids)


class DeletesFromEveryIndex(MemoryVectorStore):
    async def delete(self, index: str, ids: Sequence[str]) -> None:
        for name in {index, *self._indexes}:
            await super().delete(name, ids)


class DeletesNothing(MemoryVectorStore):
    async def delete(self, index: str, ids: Sequence[str]) -> None:
        await super().delete(index, ids[:0])


class AnyDimensions(MemoryVectorStore):
    async def upsert(self, index: str, records: pa.Table) -> None:
        try:
            await super().upsert(index, records)
        except DimensionMismatch:
            held = await self.marker(index)
            vectors = np.ones((len(records), held.dimensions if held else 0), dtype=np.float32)
            schema = record_schema(vectors.shape[1])
            cut = records.set_column(1, schema.field("vector"), vector_column(vectors))
            await super().upsert(index, cut)


class AnyNumbers(MemoryVectorStore):
    async def upsert(self, index: str, records: pa.Table) -> None:
        try:
            await super().upsert(index, records)
        except BadChunk as refused:
            await super().upsert(index, records.slice(0, refused.position))


class OverwritesTheMarker(MemoryVectorStore):
    async def create(self, index: str, marker: Marker) -> Marker:
        if index in self._indexes:
            self._indexes[index].marker = marker
        return await super().create(index, marker)


class ForgetsOnCreate(MemoryVectorStore):
    async def create(self, index: str, marker: Marker) -> Marker:
        self._indexes.pop(index, None)
        return await super().create(index, marker)


class NeverEmpties(MemoryVectorStore):
    async def create(self, index: str, marker: Marker) -> Marker:
        held = await self.marker(index)
        if held and held.incarnation != marker.incarnation and held.ledger == marker.ledger:
            self._indexes[index].marker = marker
        return await super().create(index, marker)


class CreatesWhenWritten(MemoryVectorStore):
    async def upsert(self, index: str, records: pa.Table) -> None:
        try:
            await super().upsert(index, records)
        except IndexLost:
            new = Marker(ledger="", fingerprint="", incarnation="", dimensions=4)
            await self.create(index, new)
            await super().upsert(index, records)


class LosesMetadata(MemoryVectorStore):
    async def upsert(self, index: str, records: pa.Table) -> None:
        empty = pa.array(["{}"] * len(records), pa.string())
        field = records.schema.field("metadata")
        await super().upsert(index, records.set_column(5, field, empty))


class SeesOnlyItsOwn(MemoryVectorStore):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._indexes = {}


class ListsTheFirstPageOnly(MemoryVectorStore):
    async def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        async for page in super().ids(index):
            yield page[:100]


BROKEN = {
    InsertsInsteadOfReplacing: "test_writing_twice_is_writing_once",
    KeepsTheOldRecord: "test_the_same_id_replaces_the_record",
    WorstFirst: "test_the_best_come_first_with_their_cosine_as_score",
    DistanceAsScore: "test_the_best_come_first_with_their_cosine_as_score",
    InnerProduct: "test_the_order_is_that_of_the_exact_cosine",
    NoFilter: "test_all_keys_of_a_filter_must_be_equal",
    FiltersAfterTheLimit: "test_a_filter_lets_through_what_is_equal_and_nothing_else",
    DeletesEverything: "test_deleting_removes_what_is_named_and_nothing_else",
    DeletesFromEveryIndex: "test_another_index_is_left_alone",
    DeletesNothing: "test_deleting_removes_what_is_named_and_nothing_else",
    AnyDimensions: "test_vectors_of_another_length_are_refused",
    AnyNumbers: "test_a_vector_that_is_not_finite_is_refused_and_the_row_named",
    OverwritesTheMarker: "test_an_index_of_another_ledger_keeps_its_marker_and_its_records",
    ForgetsOnCreate: "test_creating_twice_changes_nothing",
    NeverEmpties: "test_another_incarnation_empties_the_index",
    CreatesWhenWritten: "test_writing_into_a_missing_index_says_that_it_is_lost",
    LosesMetadata: "test_metadata_keeps_its_types",
    ListsTheFirstPageOnly: "test_all_ids_are_listed_once",
    SeesOnlyItsOwn: "test_a_second_instance_sees_everything_at_once",
}


async def failures_of(kind: type[MemoryVectorStore]) -> set[str]:
    """Run the suite, each test on an empty store, and name the tests that fail."""

    def fixtures() -> dict[str, object]:
        url = f"memory://{uuid.uuid4()}"
        store = kind(url)
        return {"store": store, "second": kind(url), "upkeep": store, "url": url}

    suite = type("Suite", (UpkeepSuite,), {"connect": staticmethod(kind)})
    return await failures(suite, fixtures)


async def test_a_store_that_keeps_the_port_passes() -> None:
    assert await failures_of(MemoryVectorStore) == set()


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_a_broken_store_is_caught(kind: type[MemoryVectorStore]) -> None:
    assert BROKEN[kind] in await failures_of(kind)
