"""What every vector store must find: the part of `VectorStoreSuite` that is about searches."""

from dataclasses import replace

import numpy as np
import pytest

from vectorflow.domain.records import record_schema
from vectorflow.errors import InvalidInput
from vectorflow.ports.vector_store import Query, VectorStore
from vectorflow.testing.records import (
    EAST,
    INDEX,
    MARKER,
    NORTH,
    PAIRS,
    UP,
    record_ids,
    records_of,
    texts_found,
)


class SearchTests:
    """Searches and filters."""

    async def test_the_best_come_first_with_their_cosine_as_score(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        vectors = [NORTH, EAST + NORTH, -EAST, 10 * EAST, 3 * EAST + NORTH]
        await store.upsert(INDEX, records_of(vectors))

        found = await store.search(INDEX, Query(vector=EAST * 5, k=4))

        texts = [row["text"] for row in found.to_pylist()]
        assert texts == ["text 3", "text 4", "text 1", "text 0"]
        scores = np.asarray(found["score"])
        assert scores.dtype == np.float64
        assert np.allclose(scores, [1.0, 3 / 10**0.5, 0.5**0.5, 0.0], atol=1e-5)
        expected = [name for name in record_schema(4).names if name != "vector"]
        assert sorted(found.column_names) == sorted([*expected, "score"])

    async def test_the_order_is_that_of_the_exact_cosine(self, store: VectorStore) -> None:
        rng = np.random.default_rng(3)
        await store.create(INDEX, replace(MARKER, dimensions=32))
        vectors = rng.standard_normal((500, 32), dtype=np.float32)
        await store.upsert(INDEX, records_of(vectors))
        wanted = rng.standard_normal(32, dtype=np.float32)

        found = await texts_found(store, Query(vector=wanted, k=20))

        cosines = vectors @ wanted / np.linalg.norm(vectors, axis=1)
        assert found == [f"text {row}" for row in np.argsort(-cosines)[:20]]

    async def test_a_search_finds_no_more_than_k(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST, NORTH, UP]))

        assert len(await store.search(INDEX, Query(vector=EAST, k=2))) == 2
        assert len(await store.search(INDEX, Query(vector=EAST, k=0))) == 0

    async def test_a_search_of_a_missing_or_empty_index_finds_nothing(
        self, store: VectorStore
    ) -> None:
        missing = await store.search(INDEX, Query(vector=EAST, k=3))
        await store.create(INDEX, MARKER)
        empty = await store.search(INDEX, Query(vector=EAST, k=3))

        assert (len(missing), len(empty)) == (0, 0)
        assert sorted(missing.column_names) == sorted(empty.column_names)
        assert "score" in empty.column_names
        assert len(await store.fetch("missing", record_ids(1))) == 0

    async def test_a_zero_vector_is_stored_but_never_found(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST * 0, EAST]))

        assert len(await store.fetch(INDEX, record_ids(2))) == 2
        assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 1"]
        assert await texts_found(store, Query(vector=EAST * 0, k=9)) == []

    @pytest.mark.parametrize("key", PAIRS)
    async def test_a_filter_lets_through_what_is_equal_and_nothing_else(
        self, store: VectorStore, key: str
    ) -> None:
        await store.create(INDEX, MARKER)
        others: list[dict[str, object]] = [{}, {key: "other"}, {key: None}, {key: [PAIRS[key]]}]
        metadata: list[dict[str, object]] = [{"nested": {key: PAIRS[key]}}, *others, PAIRS]
        await store.upsert(INDEX, records_of([EAST] * len(metadata), metadata=metadata))

        found = await texts_found(store, Query(vector=EAST, k=1, filter={key: PAIRS[key]}))

        assert found == ["text 5"]
        everything = Query(vector=EAST, k=9, filter={key: PAIRS[key]})
        assert await texts_found(store, everything) == ["text 5"]

    async def test_a_filter_tells_types_apart_but_not_one_from_one_point_zero(
        self, store: VectorStore
    ) -> None:
        await store.create(INDEX, MARKER)
        metadata: list[dict[str, object]] = [{"n": 1}, {"n": True}, {"n": "1"}, {"n": 1.0}]
        await store.upsert(INDEX, records_of([EAST] * 4, metadata=metadata))

        async def found(value: object) -> set[object]:
            return set(await texts_found(store, Query(vector=EAST, k=9, filter={"n": value})))

        assert await found(1) == {"text 0", "text 3"}
        assert await found(1.0) == {"text 0", "text 3"}
        assert await found(True) == {"text 1"}
        assert await found("1") == {"text 2"}

    async def test_all_keys_of_a_filter_must_be_equal(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        metadata: list[dict[str, object]] = [
            {"a": 1, "b": "x"},
            {"a": 1, "b": "y"},
            {"a": 2, "b": "x"},
        ]
        await store.upsert(INDEX, records_of([EAST, NORTH, UP], metadata=metadata))

        query = Query(vector=UP, k=9, filter={"a": 1, "b": "x"})
        assert await texts_found(store, query) == ["text 0"]

    async def test_a_filter_by_something_else_is_refused(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)

        for value in (None, ["a"], {"a": 1}):
            with pytest.raises(InvalidInput):
                await store.search(INDEX, Query(vector=EAST, k=1, filter={"key": value}))
