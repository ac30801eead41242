"""Stores that requests name: where their names may lead, also when they are looked up anew."""

from collections.abc import Sequence

import pytest

from vectorflow.adapters import _addresses
from vectorflow.adapters._http import JudgedResolver
from vectorflow.adapters.vector_stores.qdrant import QdrantVectorStore
from vectorflow.errors import ForbiddenAddress
from vectorflow.testing.qdrant_server import QdrantServer


async def test_a_name_that_leads_elsewhere_later_is_not_followed() -> None:
    """The door saw a public address; the worker's own look finds a private one."""

    async def rebound(_host: str, _port: int) -> Sequence[str]:
        return ["10.0.0.7"]

    resolver = JudgedResolver(_addresses.store_policy(()), rebound)
    store = QdrantVectorStore("qdrant://db.example.org:6333", timeout=5.0, resolver=resolver)

    async with store:
        with pytest.raises(ForbiddenAddress, match="VECTORFLOW_STORES__ALLOW"):
            await store.marker("docs")


async def test_a_name_that_leads_to_this_machine_or_is_let_in_is_followed() -> None:
    async def here(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with QdrantServer() as server:
        port = server.url.rpartition(":")[2]
        resolver = JudgedResolver(_addresses.store_policy(()), here)
        url = f"qdrant://db.example.org:{port}?tls=false"
        async with QdrantVectorStore(url, timeout=5.0, resolver=resolver) as store:
            assert await store.marker("docs") is None
