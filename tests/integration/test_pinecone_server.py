import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator

import pytest
from pinecone import AsyncIndex, AsyncPinecone, RetryConfig, ServerlessSpec
from pinecone.errors.exceptions import (
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    PineconeConnectionError,
    RateLimitError,
    UnauthorizedError,
)

from vectorflow.testing.pinecone_server import KEY, Fault, PineconeServer

EAST = [1.0, 0.0, 0.0, 0.0]
NORTH = [0.0, 1.0, 0.0, 0.0]


@pytest.fixture
async def server() -> AsyncIterator[PineconeServer]:
    async with PineconeServer(keys={KEY: "project", "other-key": "other"}) as server:
        yield server


@pytest.fixture
async def client(server: PineconeServer) -> AsyncIterator[AsyncPinecone]:
    once = RetryConfig(max_retries=0)
    async with AsyncPinecone(KEY, host=server.url, retry_config=once) as client:
        yield client


@pytest.fixture
async def index(server: PineconeServer) -> AsyncIterator[AsyncIndex]:
    host = await server.add_index("ours")
    async with AsyncIndex(host=f"http://{host}", api_key=KEY) as index:
        yield index


@pytest.fixture
async def papers(server: PineconeServer) -> AsyncIterator[AsyncIndex]:
    host = await server.add_index("papers", documents=True)
    async with AsyncIndex(host=f"http://{host}", api_key=KEY) as index:
        yield index


async def test_indexes_are_made_described_listed_and_deleted(client: AsyncPinecone) -> None:
    made = await client.indexes.create(
        name="docs",
        dimension=4,
        metric="dotproduct",
        spec=ServerlessSpec(cloud="aws", region="us-east-1"),
    )
    schema = {"fields": {"v": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}}}
    await client.indexes.create(name="papers", schema=schema)

    assert (made.dimension, made.metric, made.status.ready) == (4, "dotproduct", True)
    assert made.host != (await client.indexes.describe("papers")).host
    assert sorted([one.name async for one in client.indexes.list()]) == ["docs", "papers"]
    with pytest.raises(ConflictError):
        await client.indexes.create(name="docs", schema=schema)
    await client.indexes.delete("docs", timeout=-1)
    assert not await client.indexes.exists("docs")


async def test_keys_belong_to_projects(server: PineconeServer, index: AsyncIndex) -> None:
    async with AsyncPinecone("wrong", host=server.url) as nobody:
        with pytest.raises(UnauthorizedError):
            await nobody.indexes.describe("ours")
    async with AsyncPinecone("other-key", host=server.url) as other:
        with pytest.raises(NotFoundError):
            await other.indexes.describe("ours")
    async with AsyncIndex(host=index.host, api_key="other-key") as other_index:
        with pytest.raises(ForbiddenError):
            await other_index.describe_index_stats()


async def test_namespaces_keep_records_apart(index: AsyncIndex) -> None:
    await index.upsert(vectors=[("a", EAST)])
    await index.upsert(vectors=[("a", NORTH, {"n": 1})], namespace="two")

    assert (await index.fetch(ids=["a", "b"])).vectors["a"].values == EAST
    assert (await index.fetch(ids=["a"], namespace="two")).vectors["a"].metadata == {"n": 1.0}
    assert (await index.fetch(ids=["a"], namespace="__default__")).vectors["a"].values == EAST
    stats = await index.describe_index_stats()
    assert {name: one.vector_count for name, one in stats.namespaces.items()} == {"": 1, "two": 1}
    await index.delete_namespace(name="two")
    assert (await index.fetch(ids=["a"], namespace="two")).vectors == {}
    with pytest.raises(NotFoundError):
        await index.delete(ids=["a"], namespace="two")


async def test_queries_rank_filter_and_show_what_was_asked_for(index: AsyncIndex) -> None:
    await index.upsert(
        vectors=[
            ("east", EAST, {"lang": "de", "year": 2020, "tags": ["a", "b"]}),
            ("both", [1.0, 1.0, 0.0, 0.0], {"lang": "en", "year": 2021, "draft": True}),
            ("north", NORTH, {}),
        ]
    )

    async def found(filter: dict[str, object]) -> list[str]:
        matches = (await index.query(vector=EAST, top_k=9, filter=filter)).matches
        return [one.id for one in matches]

    assert await found({"year": {"$gte": 2020}}) == ["east", "both"]
    assert await found({"tags": "b"}) == ["east"]
    assert await found({"tags": {"$in": ["b", "c"]}}) == ["east"]
    assert await found({"lang": {"$nin": ["de"]}}) == ["both", "north"]
    assert await found({"lang": {"$exists": False}}) == ["north"]
    assert await found({"draft": {"$eq": 1}}) == []
    assert await found({"$or": [{"lang": "en"}, {"year": {"$lt": 2021}}]}) == ["east", "both"]
    with pytest.raises(ApiError):
        await found({"lang": {"$like": "d"}})
    bare = (await index.query(vector=EAST, top_k=1)).matches[0]
    assert (bare.values, bare.metadata) == ([], None)
    assert bare.score == pytest.approx(1)


async def test_the_limits_of_an_upsert_hold(server: PineconeServer, index: AsyncIndex) -> None:
    async def status(*vectors: dict[str, object]) -> int:
        with pytest.raises(ApiError) as refused:
            await index.upsert(vectors=list(vectors))
        return refused.value.status_code or 0

    assert await status(*({"id": str(n), "values": EAST} for n in range(1_001))) == 400
    assert await status({"id": "a" * 513, "values": EAST}) == 400
    assert await status({"id": "a", "values": [1.0]}) == 400
    assert await status({"id": "a", "values": [0.0] * 4}) == 400
    assert await status({"id": "a", "values": EAST, "metadata": {"key": None}}) == 400
    assert await status({"id": "a", "values": EAST, "metadata": {"$key": 1}}) == 400
    assert await status({"id": "a", "values": EAST, "metadata": {"key": "x" * 41_000}}) == 400
    large = [{"id": str(n), "values": EAST, "metadata": {"key": "x" * 40_000}} for n in range(52)]
    with pytest.raises(PayloadTooLargeError):
        await index.upsert(vectors=large)
    assert (await index.upsert(vectors=large[:49])).upserted_count == 49
    assert len(server.index("ours").seen("")) == 49


async def test_other_limits_hold(index: AsyncIndex) -> None:
    metadata = {"key": "x" * 40_000}
    for start in range(0, 120, 40):
        await index.upsert(vectors=[(str(start + n), EAST, metadata) for n in range(40)])

    with pytest.raises(ApiError, match="4 MB"):
        await index.query(vector=EAST, top_k=120, include_metadata=True)
    with pytest.raises(ApiError):
        await index.delete(ids=[str(n) for n in range(1_001)])
    with pytest.raises(ApiError):
        await index.query(vector=[1.0], top_k=1)


async def test_deletes_take_ids_a_filter_or_all(index: AsyncIndex) -> None:
    await index.upsert(vectors=[(str(n), EAST, {"even": n % 2 == 0}) for n in range(6)])

    await index.delete(ids=["0", "absent"])
    await index.delete(filter={"even": {"$eq": True}})
    assert sorted([one.id or "" async for page in index.list() for one in page]) == ["1", "3", "5"]
    await index.delete(delete_all=True)
    assert (await index.describe_index_stats()).total_vector_count == 0


async def test_pages_follow_each_other(index: AsyncIndex) -> None:
    ids = [f"{n:04}" for n in range(250)]
    await index.upsert(vectors=[(one, EAST, {"n": 1}) for one in ids])

    listed = [one.id async for page in index.list(prefix="01") for one in page]
    assert listed == ids[100:200]
    first = await index.fetch_by_metadata(filter={"n": {"$eq": 1}}, limit=200)
    assert first.pagination is not None
    rest = await index.fetch_by_metadata(
        filter={"n": {"$eq": 1}}, limit=200, pagination_token=first.pagination.next
    )
    assert [*first.vectors, *rest.vectors] == ids
    assert rest.pagination is None


async def test_an_update_changes_metadata(index: AsyncIndex) -> None:
    await index.upsert(vectors=[("a", EAST, {"kept": 1, "changed": 1})])

    await index.update(id="a", set_metadata={"changed": 2})

    held = (await index.fetch(ids=["a"])).vectors["a"].metadata
    assert held == {"kept": 1, "changed": 2}


async def test_documents_have_a_plane_of_their_own(papers: AsyncIndex, index: AsyncIndex) -> None:
    documents = papers.documents
    given = [
        {"_id": "east", "embedding": EAST, "title": "east", "year": 2020},
        {"_id": "north", "embedding": NORTH, "title": "north", "year": 2021},
    ]
    assert (await documents.upsert(namespace="n", documents=given)).upserted_count == 2

    clause = {"type": "dense_vector", "field": "embedding", "values": EAST}
    found = await documents.search(
        namespace="n", score_by=[clause], top_k=2, include_fields=["title"]
    )
    assert [one.to_dict() for one in found.matches] == [
        {"_id": "east", "_score": 1.0, "title": "east"},
        {"_id": "north", "_score": 0.0, "title": "north"},
    ]
    fetched = await documents.fetch(namespace="n", filter={"year": {"$gt": 2020}})
    assert fetched.documents["north"].to_dict() == given[1]
    assert [one.id async for one in documents.list(namespace="n")] == ["east", "north"]
    await documents.delete(namespace="n", ids=["east"])
    assert (await documents.fetch(namespace="n", ids=["east"])).documents == {}
    with pytest.raises(NotFoundError):
        await documents.fetch(namespace="absent", ids=["east"])
    with pytest.raises(ApiError):
        await documents.upsert(namespace="n", documents=[{"_id": "a", "title": "no vector"}])
    with pytest.raises(ApiError):
        await documents.upsert(namespace="n", documents=[given[0] | {"_own": 1}])
    with pytest.raises(ApiError, match="documents, not vectors"):
        await papers.upsert(vectors=[("a", EAST)])
    with pytest.raises(ApiError, match="vectors, not documents"):
        await index.documents.upsert(namespace="n", documents=given)


async def test_writes_show_after_the_delay_in_order_and_numbered(
    server: PineconeServer, index: AsyncIndex
) -> None:
    server.faults.delay = 0.2
    await index.upsert(vectors=[("a", EAST)])
    second = await index.upsert(vectors=[("a", NORTH)])
    assert second.response_info is not None
    number = second.response_info.lsn_committed
    assert number == 2

    early = await index.query(vector=EAST, top_k=1)
    assert early.response_info is not None
    assert not early.response_info.is_reconciled(number)
    assert (await index.fetch(ids=["a"])).vectors == {}
    await asyncio.sleep(0.3)
    late = await index.query(vector=EAST, top_k=1)
    assert late.response_info is not None
    assert late.response_info.is_reconciled(number)
    assert (await index.fetch(ids=["a"])).vectors["a"].values == NORTH


async def test_faults_are_answered_as_often_as_asked(
    server: PineconeServer, client: AsyncPinecone, index: AsyncIndex
) -> None:
    server.faults.answers.append(Fault(path="/indexes", status=429, retry_after=1.5))
    with pytest.raises(RateLimitError) as limited:
        await client.indexes.describe("ours")
    assert limited.value.retry_after == 1.5
    await client.indexes.describe("ours")

    server.faults.answers.append(Fault(path="/indexes", status=0))
    with pytest.raises(PineconeConnectionError):
        await client.indexes.describe("ours")

    server.faults.lost = {"a"}
    assert (await index.upsert(vectors=[("a", EAST), ("b", EAST)])).upserted_count == 1
    server.faults.refused = {"b"}
    with pytest.raises(ApiError):
        await index.upsert(vectors=[("b", EAST)])


async def test_it_runs_by_itself_and_takes_faults_over_http() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vectorflow.testing.pinecone_server", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        faults = {"answers": [{"path": "/indexes", "status": 403}], "delay": 0.1}
        asked = urllib.request.Request(  # noqa: S310 - an address of our own
            f"{url}/emulator/faults", json.dumps(faults).encode()
        )
        await asyncio.to_thread(lambda: urllib.request.urlopen(asked).close())  # noqa: S310
        async with AsyncPinecone(KEY, host=url) as client:
            with pytest.raises(ForbiddenError):
                await client.indexes.exists("docs")
            assert not await client.indexes.exists("docs")
    finally:
        process.terminate()
        await process.wait()
