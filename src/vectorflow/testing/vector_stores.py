"""What every vector store must do. Subclass `VectorStoreSuite` and give `connect` and `url`."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from vectorflow.domain.records import matrix_of
from vectorflow.errors import BadChunk, DimensionMismatch, IndexLost, InvalidInput
from vectorflow.ports.vector_store import Query, VectorStore
from vectorflow.testing.records import (
    BACK,
    EAST,
    INDEX,
    MARKER,
    NORTH,
    PAIRS,
    UP,
    record_ids,
    records_of,
    rows_by_id,
    texts_found,
)
from vectorflow.testing.vector_store_searches import SearchTests


class VectorStoreSuite(SearchTests):
    """The behaviour of the port `vector_store`."""

    def connect(self, url: str) -> VectorStore:
        """Make an instance, not yet entered."""
        raise NotImplementedError

    @pytest.fixture
    def url(self) -> str:
        """Address of an empty store."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[VectorStore]:
        async with self.connect(url) as store:
            yield store

    @pytest.fixture
    async def second(self, url: str) -> AsyncIterator[VectorStore]:
        """Another instance of the same store."""
        async with self.connect(url) as second:
            yield second

    def test_the_locator_is_canonical(self, url: str) -> None:
        store = self.connect(url)

        assert store.locator(url)
        assert store.locator(store.locator(url)) == store.locator(url)

    def test_the_address_of_something_else_is_refused(self, url: str) -> None:
        with pytest.raises(InvalidInput):
            self.connect(url).locator("nosuchstore://somewhere/else")

    async def test_an_index_that_was_never_created_has_no_marker(self, store: VectorStore) -> None:
        assert await store.marker(INDEX) is None

    async def test_a_created_index_has_its_marker(self, store: VectorStore) -> None:
        assert await store.create(INDEX, MARKER) == MARKER

        assert await store.marker(INDEX) == MARKER

    async def test_creating_twice_changes_nothing(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))

        assert await store.create(INDEX, MARKER) == MARKER

        assert len(await store.fetch(INDEX, record_ids(1))) == 1

    async def test_an_index_of_another_ledger_keeps_its_marker_and_its_records(
        self, store: VectorStore
    ) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))

        other = replace(MARKER, ledger="ledger-2", incarnation="born-2", dimensions=8)
        assert await store.create(INDEX, other) == MARKER

        assert await store.marker(INDEX) == MARKER
        assert len(await store.fetch(INDEX, record_ids(1))) == 1

    async def test_another_model_does_not_mark_an_index_anew(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)

        other = replace(MARKER, fingerprint="e" * 32)
        assert await store.create(INDEX, other) == MARKER

        assert await store.marker(INDEX) == MARKER

    async def test_another_incarnation_empties_the_index(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST, NORTH]))

        reborn = replace(MARKER, incarnation="born-2")
        assert await store.create(INDEX, reborn) == reborn

        assert await store.marker(INDEX) == reborn
        assert len(await store.fetch(INDEX, record_ids(2))) == 0
        await store.upsert(INDEX, records_of([EAST]))
        assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 0"]

    async def test_another_incarnation_may_have_other_dimensions(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))

        reborn = replace(MARKER, incarnation="born-2", dimensions=2)
        assert await store.create(INDEX, reborn) == reborn

        await store.upsert(INDEX, records_of([EAST[:2]]))
        assert await texts_found(store, Query(vector=EAST[:2], k=9)) == ["text 0"]

    async def test_creating_with_other_dimensions_is_refused(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)

        with pytest.raises(DimensionMismatch):
            await store.create(INDEX, replace(MARKER, dimensions=8))

        assert await store.marker(INDEX) == MARKER

    async def test_two_that_create_at_once_get_one_index_and_one_marker(
        self, store: VectorStore, second: VectorStore
    ) -> None:
        for number in range(5):
            index = f"race-{number}"
            mine = replace(MARKER, ledger="mine")
            theirs = replace(MARKER, ledger="theirs")

            got = await asyncio.gather(store.create(index, mine), second.create(index, theirs))

            assert got[0] == got[1]
            assert got[0] in {mine, theirs}
            assert await store.marker(index) == got[0]

    async def test_records_come_back_as_they_were_written(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        records = records_of(np.arange(12, dtype=np.float32).reshape(3, 4) / np.float32(7))

        await store.upsert(INDEX, records)

        fetched = await store.fetch(INDEX, [*record_ids(3), *record_ids(2, "absent")])
        assert fetched.schema.equals(records.schema)
        assert rows_by_id(fetched) == rows_by_id(records)

    async def test_ids_asked_for_twice_come_once(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))

        assert len(await store.fetch(INDEX, record_ids(1) * 2)) == 1

    async def test_metadata_keeps_its_types(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        metadata = PAIRS | {
            "null": None,
            "nested": {"deep": [1, "two", None, {"three": 3.5}]},
            "tags": ["a", "b"],
            "key with spaces.and/dots": "kept",
        }

        await store.upsert(INDEX, records_of([EAST], metadata=[metadata]))

        (row,) = rows_by_id(await store.fetch(INDEX, record_ids(1))).values()
        assert row["metadata"] == metadata
        assert isinstance(metadata["yes"], bool)
        (found,) = rows_by_id(await store.search(INDEX, Query(vector=EAST, k=1))).values()
        assert found["metadata"] == metadata

    @pytest.mark.parametrize(
        "text",
        ["", " ", "Grüße 世界 🌍 \u202e", "'; DROP TABLE x; --", "\\N\t\r\n\\.", "x" * 100_000],
        ids=["empty", "blank", "unicode", "sql", "escapes", "long"],
    )
    async def test_any_text_comes_back(self, store: VectorStore, text: str) -> None:
        await store.create(INDEX, MARKER)

        await store.upsert(INDEX, records_of([EAST], texts=[text]))

        assert await texts_found(store, Query(vector=EAST, k=1)) == [text]

    async def test_a_nul_character_is_refused_and_the_row_named(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)

        with pytest.raises(BadChunk) as refused:
            await store.upsert(INDEX, records_of([EAST, NORTH], texts=["fine", "a\0b"]))

        assert refused.value.position == 1
        with pytest.raises(BadChunk):
            await store.upsert(INDEX, records_of([EAST], metadata=[{"key": "a\0b"}]))
        assert len(await store.fetch(INDEX, record_ids(2))) == 0

    async def test_writing_twice_is_writing_once(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        records = records_of([EAST, NORTH, UP])

        await store.upsert(INDEX, records)
        await store.upsert(INDEX, records)

        found = await texts_found(store, Query(vector=EAST, k=9))
        assert sorted(map(str, found)) == ["text 0", "text 1", "text 2"]

    async def test_two_that_write_the_same_at_once_write_it_once(
        self, store: VectorStore, second: VectorStore
    ) -> None:
        await store.create(INDEX, MARKER)
        vectors = np.random.default_rng(1).standard_normal((200, 4), dtype=np.float32)

        await asyncio.gather(
            store.upsert(INDEX, records_of(vectors)), second.upsert(INDEX, records_of(vectors))
        )

        found = await store.search(INDEX, Query(vector=EAST, k=400))
        assert sorted(rows_by_id(found)) == sorted(record_ids(200))
        assert len(found) == 200

    async def test_the_same_id_replaces_the_record(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST, NORTH], metadata=[{"old": 1}] * 2))

        ids = [record_ids(2)[1], *record_ids(1, "new")]
        new = records_of([UP, BACK], ids=ids, texts=["replaced", "added"], metadata=[{"a": 2}] * 2)
        await store.upsert(INDEX, new)

        rows = rows_by_id(await store.fetch(INDEX, [*record_ids(2), *ids]))
        assert len(rows) == 3
        assert {new_id: rows[new_id] for new_id in ids} == rows_by_id(new)
        assert await texts_found(store, Query(vector=UP, k=1)) == ["replaced"]
        assert await texts_found(store, Query(vector=UP, k=9, filter={"old": 1})) == ["text 0"]

    async def test_a_write_of_the_largest_size_is_stored_whole(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        count = store.batch_records
        vectors = np.random.default_rng(2).standard_normal((count, 4), dtype=np.float32)

        await store.upsert(INDEX, records_of(vectors))

        fetched = await store.fetch(INDEX, record_ids(count))
        assert sorted(rows_by_id(fetched)) == sorted(record_ids(count))

    async def test_empty_calls_do_nothing(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))

        await store.upsert(INDEX, records_of([EAST]).slice(0, 0))
        await store.delete(INDEX, [])

        assert len(await store.fetch(INDEX, [])) == 0
        assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 0"]

    async def test_writing_into_a_missing_index_says_that_it_is_lost(
        self, store: VectorStore
    ) -> None:
        with pytest.raises(IndexLost):
            await store.upsert(INDEX, records_of([EAST]))

        assert await store.marker(INDEX) is None

    @pytest.mark.parametrize("dimensions", [2, 8])
    async def test_vectors_of_another_length_are_refused(
        self, store: VectorStore, dimensions: int
    ) -> None:
        await store.create(INDEX, MARKER)

        with pytest.raises(DimensionMismatch):
            await store.upsert(INDEX, records_of(np.ones((2, dimensions), dtype=np.float32)))
        with pytest.raises(DimensionMismatch):
            await store.search(INDEX, Query(vector=np.ones(dimensions, dtype=np.float32), k=1))

        assert len(await store.fetch(INDEX, record_ids(2))) == 0

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    async def test_a_vector_that_is_not_finite_is_refused_and_the_row_named(
        self, store: VectorStore, number: float
    ) -> None:
        await store.create(INDEX, MARKER)

        with pytest.raises(BadChunk) as refused:
            await store.upsert(INDEX, records_of([EAST, NORTH, np.array([0, 1, 2, number])]))

        assert refused.value.position == 2
        assert len(await store.fetch(INDEX, record_ids(3))) == 0

    @pytest.mark.parametrize(
        "name", ["", "_x", ".x", "../x", "a/b", "a b", 'a"b', "a;b", "x" * 101]
    )
    async def test_a_name_that_is_not_safe_is_refused(self, store: VectorStore, name: str) -> None:
        with pytest.raises(InvalidInput):
            await store.create(name, MARKER)
        with pytest.raises(InvalidInput):
            await store.marker(name)
        with pytest.raises(InvalidInput):
            await store.search(name, Query(vector=EAST, k=1))

    @pytest.mark.parametrize("name", ["a", "Docs", "docs", "my-docs_2.v1", "0", "select", "user"])
    async def test_a_safe_name_is_used_as_it_is(self, store: VectorStore, name: str) -> None:
        await store.create(name, MARKER)
        await store.upsert(name, records_of([EAST]))

        assert await texts_found(store, Query(vector=EAST, k=1), name) == ["text 0"]
        assert await store.marker(name.swapcase() + "x") is None

    async def test_an_id_that_is_no_uuid_is_refused(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)

        for bad in ["", "1", "' OR 1=1 --", record_ids(1)[0].upper(), record_ids(1)[0] + "\n"]:
            with pytest.raises(InvalidInput):
                await store.upsert(INDEX, records_of([EAST], ids=[bad]))
            with pytest.raises(InvalidInput):
                await store.delete(INDEX, [bad])
            with pytest.raises(InvalidInput):
                await store.fetch(INDEX, [bad])

    async def test_deleting_removes_what_is_named_and_nothing_else(
        self, store: VectorStore
    ) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST, NORTH, UP]))

        gone = [record_ids(3)[0], *record_ids(1, "absent")]
        await store.delete(INDEX, gone)
        await store.delete(INDEX, gone)

        assert sorted(rows_by_id(await store.fetch(INDEX, record_ids(3)))) == sorted(
            record_ids(3)[1:]
        )
        assert set(await texts_found(store, Query(vector=UP, k=9))) == {"text 1", "text 2"}

    async def test_what_was_deleted_can_be_written_again(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
        await store.delete(INDEX, record_ids(1))

        await store.upsert(INDEX, records_of([EAST], texts=["again"]))

        assert await texts_found(store, Query(vector=EAST, k=9)) == ["again"]

    async def test_deleting_from_a_missing_index_is_ignored(self, store: VectorStore) -> None:
        await store.delete(INDEX, record_ids(1))

        assert await store.marker(INDEX) is None

    async def test_another_index_is_left_alone(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.create("other", replace(MARKER, dimensions=2, incarnation="born-3"))
        await store.upsert(INDEX, records_of([EAST]))
        await store.upsert("other", records_of([EAST[:2], NORTH[:2]], texts=["one", "two"]))

        await store.delete(INDEX, record_ids(2))
        await store.create(INDEX, replace(MARKER, incarnation="born-2"))

        assert await texts_found(store, Query(vector=EAST[:2], k=9), "other") == ["one", "two"]

    async def test_a_second_instance_sees_everything_at_once(
        self, store: VectorStore, second: VectorStore
    ) -> None:
        await store.create(INDEX, MARKER)
        assert await second.marker(INDEX) == MARKER
        await store.upsert(INDEX, records_of([EAST, NORTH]))
        assert await texts_found(second, Query(vector=NORTH, k=1)) == ["text 1"]
        await second.delete(INDEX, record_ids(1))
        assert len(await store.fetch(INDEX, record_ids(2))) == 1
        await second.upsert(INDEX, records_of([UP]))
        await store.upsert(INDEX, records_of([BACK]))

        assert len(await second.search(INDEX, Query(vector=UP, k=9))) == 2
        assert await second.create(INDEX, MARKER) == MARKER

    async def test_a_store_opened_again_holds_what_was_written(
        self, store: VectorStore, url: str
    ) -> None:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))

        async with self.connect(url) as later:
            assert await later.marker(INDEX) == MARKER
            assert await texts_found(later, Query(vector=EAST, k=1)) == ["text 0"]

    async def test_calls_may_overlap(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        all_ids = [record_ids(20, f"writer {number}") for number in range(8)]
        vectors = np.random.default_rng(4).standard_normal((20, 4), dtype=np.float32)

        await asyncio.gather(
            *(store.upsert(INDEX, records_of(vectors, ids=ids)) for ids in all_ids),
            *(store.search(INDEX, Query(vector=EAST, k=3)) for _ in range(8)),
        )

        fetched = await store.fetch(INDEX, [one for ids in all_ids for one in ids])
        assert len(rows_by_id(fetched)) == len(fetched) == 160
        assert np.allclose(
            np.sort(matrix_of(fetched["vector"], 4), axis=0)[::8], np.sort(vectors, axis=0)
        )
