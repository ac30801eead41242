"""What a vector store must do that implements `Upkeep` too."""

import asyncio

import numpy as np
import pytest

from vectorflow.ports.vector_store import Upkeep, VectorStore
from vectorflow.testing.records import INDEX, MARKER, record_ids, records_of, rows_by_id
from vectorflow.testing.vector_stores import VectorStoreSuite


class UpkeepSuite(VectorStoreSuite):
    """The behaviour of a vector store that implements `Upkeep` too."""

    @pytest.fixture
    def upkeep(self, store: VectorStore) -> Upkeep:
        assert isinstance(store, Upkeep)
        return store

    async def test_all_ids_are_listed_once(self, store: VectorStore, upkeep: Upkeep) -> None:
        await store.create(INDEX, MARKER)
        vectors = np.random.default_rng(5).standard_normal((3_000, 4), dtype=np.float32)
        await store.upsert(INDEX, records_of(vectors))
        await store.upsert(INDEX, records_of(vectors[:100], ids=record_ids(100, "more")))
        await store.delete(INDEX, record_ids(10))

        listed = [one async for page in upkeep.ids(INDEX) for one in page]

        assert sorted(listed) == sorted([*record_ids(3_000)[10:], *record_ids(100, "more")])

    async def test_a_missing_index_lists_nothing(self, upkeep: Upkeep) -> None:
        assert [page async for page in upkeep.ids(INDEX)] == []

    async def test_upkeep_changes_nothing(self, store: VectorStore, upkeep: Upkeep) -> None:
        await store.create(INDEX, MARKER)
        vectors = np.random.default_rng(6).standard_normal((60, 4), dtype=np.float32)
        records = records_of(vectors)
        for start in range(0, 60, 20):
            await store.upsert(INDEX, records.slice(start, 20))
        await store.delete(INDEX, record_ids(1))

        await asyncio.gather(upkeep.optimize(INDEX), store.upsert(INDEX, records.slice(1, 5)))
        await upkeep.optimize(INDEX)
        await upkeep.optimize("missing")

        expected = rows_by_id(records.slice(1))
        assert rows_by_id(await store.fetch(INDEX, record_ids(60))) == expected
        assert await store.marker(INDEX) == MARKER
        assert await store.marker("missing") is None
