"""Stores that requests name: where their names may lead, also when they are looked up anew."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from vectorflow.adapters import _addresses
from vectorflow.adapters._http import JudgedResolver
from vectorflow.adapters.vector_stores.qdrant import QdrantVectorStore
from vectorflow.api.backend import StoreNamed
from vectorflow.errors import ForbiddenAddress, InvalidInput, KeyRefused
from vectorflow.settings import load
from vectorflow.testing.qdrant_server import QdrantServer
from vectorflow.wiring.places import Places
from vectorflow.wiring.recipes import make_embedder


def pinecone(environment: str, *, key: str | None = None) -> StoreNamed:
    return StoreNamed(
        plugin="pinecone", environment=environment, index_name="docs", collection="", key=key
    )


async def test_keys_that_rest_here_are_sent_to_no_port_that_a_request_chooses(
    tmp_path: Path,
) -> None:
    settings = load({"pinecone.key": "rests-here"}, environ={}, directory=tmp_path)
    places = Places(settings, "memory://x", environ={})

    with pytest.raises(KeyRefused):
        await places.find(pinecone("127.0.0.1:8080"), "of-the-tenant")

    assert (await places.find(pinecone("127.0.0.1:8080", key="its-own"))).index == "default"


@pytest.mark.parametrize("environment", ["us-east-1", "docs-1.svc.pinecone.io"])
async def test_offline_no_store_of_others_is_looked_for(tmp_path: Path, environment: str) -> None:
    settings = load({"offline": True}, environ={}, directory=tmp_path)

    with pytest.raises(InvalidInput, match="VECTORFLOW_OFFLINE"):
        await Places(settings, "memory://x", environ={}).find(pinecone(environment, key="k"))


def test_offline_no_provider_on_another_machine_is_used(tmp_path: Path) -> None:
    given = {"offline": True, "openai.base_url": "https://api.example.org/v1"}
    settings = load(given, environ={}, directory=tmp_path)

    with pytest.raises(InvalidInput, match=r"'api\.example\.org' is another machine"):
        make_embedder(settings, "openai:text-embedding-3-small", "key")


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
