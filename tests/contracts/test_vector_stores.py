import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore
from vectorflow.adapters.vector_stores.memory import MemoryVectorStore
from vectorflow.adapters.vector_stores.pgvector import PgVectorStore
from vectorflow.adapters.vector_stores.qdrant import QdrantVectorStore
from vectorflow.ports.vector_store import VectorStore
from vectorflow.testing.qdrant_server import QdrantServer
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
