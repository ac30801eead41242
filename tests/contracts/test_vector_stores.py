import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore
from vectorflow.adapters.vector_stores.memory import MemoryVectorStore
from vectorflow.adapters.vector_stores.pgvector import PgVectorStore
from vectorflow.adapters.vector_stores.pinecone import PineconeVectorStore
from vectorflow.adapters.vector_stores.qdrant import QdrantVectorStore
from vectorflow.errors import DimensionMismatch
from vectorflow.ports.vector_store import Query, VectorStore
from vectorflow.testing.pinecone_server import KEY, PineconeServer
from vectorflow.testing.qdrant_server import QdrantServer
from vectorflow.testing.records import (
    EAST,
    INDEX,
    MARKER,
    NORTH,
    record_ids,
    records_of,
    texts_found,
)
from vectorflow.testing.vector_store_upkeep import UpkeepSuite


class TestMemory(UpkeepSuite):
    def connect(self, url: str) -> VectorStore:
        return MemoryVectorStore(url)

    @pytest.fixture
    def url(self) -> str:
        return f"memory://{uuid.uuid4()}"


class TestLanceDb(UpkeepSuite):
    def connect(self, url: str) -> VectorStore:
        return LanceDbVectorStore(url)

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"lancedb://{tmp_path}/vectors"


class TestPgVector(UpkeepSuite):
    def connect(self, url: str) -> VectorStore:
        return PgVectorStore(url)

    @pytest.fixture
    def url(self, postgres_database: str) -> str:
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        return postgres_database


class TestQdrant(UpkeepSuite):
    def connect(self, url: str) -> VectorStore:
        return QdrantVectorStore(url)

    @pytest.fixture
    async def url(self) -> AsyncIterator[str]:
        async with QdrantServer(strict=True) as server:
            yield server.url


class TestPinecone(UpkeepSuite):
    """A Pinecone index has one length of vectors, and keeps 40 KB of text and metadata."""

    documents = False

    def connect(self, url: str) -> VectorStore:
        return PineconeVectorStore(url, key=KEY, settle=0.05)

    @pytest.fixture
    async def url(self, request: pytest.FixtureRequest) -> AsyncIterator[str]:
        dimension = 32 if "order_is_that_of_the_exact_cosine" in request.node.name else 4
        async with PineconeServer() as server:
            host = await server.add_index("ours", dimension=dimension, documents=self.documents)
            yield f"pinecone://{host}"

    @pytest.mark.parametrize(
        "text", ["", " ", "Grüße 世界 🌍 \u202e", "\\N\t\r\n\\.", "x" * 40_000]
    )
    async def test_any_text_comes_back(self, store: VectorStore, text: str) -> None:
        await super().test_any_text_comes_back(store, text)

    async def test_another_incarnation_may_have_other_dimensions(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)

        with pytest.raises(DimensionMismatch):
            await store.create(INDEX, replace(MARKER, incarnation="born-2", dimensions=2))

    async def test_another_index_is_left_alone(self, store: VectorStore) -> None:
        await store.create(INDEX, MARKER)
        await store.create("default", replace(MARKER, incarnation="born-3"))
        await store.upsert(INDEX, records_of([EAST]))
        await store.upsert("default", records_of([EAST, NORTH], texts=["one", "two"]))

        await store.delete(INDEX, record_ids(2))
        await store.create(INDEX, replace(MARKER, incarnation="born-2"))

        assert await texts_found(store, Query(vector=EAST, k=9), "default") == ["one", "two"]


class TestPineconeOfDocuments(TestPinecone):
    documents = True
