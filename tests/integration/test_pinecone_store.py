import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from pinecone import AsyncIndex

from vectorflow.adapters.vector_stores.pinecone import PineconeVectorStore, find_host
from vectorflow.errors import (
    BadChunk,
    DimensionMismatch,
    ForbiddenAddress,
    IndexLost,
    IndexRefused,
    InvalidInput,
    KeyRefused,
    NotFound,
    Throttled,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ports.vector_store import Query, Remote
from vectorflow.testing.pinecone_server import KEY, Fault, PineconeServer
from vectorflow.testing.records import (
    EAST,
    INDEX,
    MARKER,
    NORTH,
    UP,
    record_ids,
    records_of,
    rows_by_id,
    texts_found,
)


@pytest.fixture
async def server() -> AsyncIterator[PineconeServer]:
    async with PineconeServer(keys={KEY: "project", "other-key": "other"}) as server:
        yield server


@pytest.fixture(params=[False, True], ids=["vectors", "documents"])
async def host(request: pytest.FixtureRequest, server: PineconeServer) -> str:
    return await server.add_index("ours", documents=request.param)


@pytest.fixture
async def store(host: str) -> AsyncIterator[PineconeVectorStore]:
    async with connected(host) as store:
        await store.create(INDEX, MARKER)
        yield store


def connected(host: str, key: str | None = KEY, timeout: float = 10) -> PineconeVectorStore:
    return PineconeVectorStore(f"pinecone://{host}", key=key, timeout=timeout, settle=0.02)


def upserts(server: PineconeServer) -> int:
    return sum(request.endswith("/upsert") for request in server.requests)


@pytest.mark.parametrize("lsn", [True, False])
async def test_a_write_returns_when_it_shows(
    server: PineconeServer, store: PineconeVectorStore, lsn: bool
) -> None:
    server.faults.delay, server.faults.lsn = 0.3, lsn
    await store.upsert(INDEX, records_of([EAST, NORTH]))
    assert await texts_found(store, Query(vector=NORTH, k=1)) == ["text 1"]

    await store.upsert(INDEX, records_of([EAST, NORTH], texts=["new", "newer"]))

    assert await texts_found(store, Query(vector=NORTH, k=1)) == ["newer"]
    fetched = await store.fetch(INDEX, record_ids(2))
    assert {row["text"] for row in rows_by_id(fetched).values()} == {"new", "newer"}


async def test_a_write_that_does_not_show_in_time_fails(
    server: PineconeServer, host: str, store: PineconeVectorStore
) -> None:
    assert await store.marker(INDEX) == MARKER
    server.faults.delay = 60
    async with connected(host, timeout=0.5) as hurried:
        with pytest.raises(Unavailable):
            await hurried.upsert(INDEX, records_of([EAST]))


async def test_two_ledgers_that_create_at_once_agree_though_writes_show_late(
    server: PineconeServer, host: str
) -> None:
    server.faults.delay = 0.2
    mine, theirs = replace(MARKER, ledger="mine"), replace(MARKER, ledger="theirs")
    async with connected(host) as store, connected(host) as second:
        got = await asyncio.gather(store.create("race", mine), second.create("race", theirs))

        assert got[0] == got[1] == await store.marker("race")


async def test_a_new_incarnation_leaves_foreign_records_alone(
    server: PineconeServer, host: str, store: PineconeVectorStore
) -> None:
    await store.create("default", MARKER)
    await store.upsert("default", records_of([NORTH]))
    foreign = record_ids(1, "foreign")[0]
    await write_foreign(server, host, foreign)

    listed = [one async for page in store.ids("default") for one in page]
    assert listed == record_ids(1)
    assert await texts_found(store, Query(vector=EAST, k=9), "default") == ["text 0"]
    assert len(await store.fetch("default", [foreign])) == 0

    await store.create("default", replace(MARKER, incarnation="born-2"))

    assert list(server.index("ours").seen("")) == [foreign]


async def write_foreign(server: PineconeServer, host: str, record: str) -> None:
    async with AsyncIndex(host=f"http://{host}", api_key=KEY) as index:
        if server.index("ours").kind == "vectors":
            given = {"id": record, "values": EAST.tolist(), "metadata": {"source_text": "theirs"}}
            await index.upsert(vectors=[given])
        else:
            document = {"_id": record, "embedding": EAST.tolist(), "source_text": "theirs"}
            await index.documents.upsert(namespace="__default__", documents=[document])


async def test_clients_of_the_v0_api_find_their_names(
    server: PineconeServer, store: PineconeVectorStore
) -> None:
    metadata = {"lang": "de", "year": 2024, "tags": ["a", "b"], "draft": False}
    await store.upsert(INDEX, records_of([EAST], metadata=[metadata]))

    (record,) = server.index("ours").seen(INDEX).values()
    held = record.metadata
    assert {key: held[key] for key in metadata} == metadata
    assert (held["source_text"], held["source_document"]) == ("text 0", "folder/0.txt")
    exact = server.index("ours").kind == "documents"
    assert ("vf_metadata" in held) == exact


async def test_metadata_that_pinecone_cannot_keep_comes_back_exactly(
    store: PineconeVectorStore,
) -> None:
    metadata: dict[str, object] = {
        "one": 1.0,
        "huge": 2**60 + 1,
        "$dollar": "x",
        "_under": "x",
        "vf_terms": "x",
        "source_text": "of the user",
        "embedding": "x",
        "empty": [],
        "null": None,
        "": "nameless",
        "long": "x" * 500,
    }
    records = records_of([EAST], metadata=[metadata])
    await store.upsert(INDEX, records)

    fetched = await store.fetch(INDEX, record_ids(1))
    assert fetched["metadata"].to_pylist() == records["metadata"].to_pylist()
    found = await store.search(INDEX, Query(vector=EAST, k=1, filter={"long": "x" * 500}))
    assert found["metadata"].to_pylist() == records["metadata"].to_pylist()
    assert found["text"].to_pylist() == ["text 0"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, Unavailable),
        (401, KeyRefused),
        (402, KeyRefused),
        (403, KeyRefused),
        (408, Unavailable),
        (409, Unavailable),
        (429, Throttled),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
async def test_an_error_of_pinecone_is_raised_at_the_first_answer(
    server: PineconeServer,
    store: PineconeVectorStore,
    status: int,
    expected: type[VectorFlowError],
) -> None:
    before = upserts(server)
    server.faults.answers.append(Fault(path="/upsert", status=status, times=9, retry_after=7))

    with pytest.raises(expected) as raised:
        await store.upsert(INDEX, records_of([EAST]))

    assert upserts(server) == before + 1
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after == 7


async def test_a_write_whose_answer_got_lost_can_be_done_again(
    server: PineconeServer, store: PineconeVectorStore
) -> None:
    server.faults.answers.append(Fault(path="/upsert", status=0, late=True))
    with pytest.raises(Unavailable):
        await store.upsert(INDEX, records_of([EAST]))

    await store.upsert(INDEX, records_of([EAST]))

    assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 0"]


async def test_records_that_pinecone_does_not_count_are_not_taken_for_written(
    server: PineconeServer, store: PineconeVectorStore
) -> None:
    server.faults.lost = {record_ids(3)[1]}

    with pytest.raises(Unavailable):
        await store.upsert(INDEX, records_of([EAST, NORTH, UP]))


async def test_a_record_that_pinecone_refuses_is_named_and_others_are_written(
    server: PineconeServer, store: PineconeVectorStore
) -> None:
    vectors = np.random.default_rng(1).standard_normal((1_200, 4), dtype=np.float32)
    server.faults.refused = {record_ids(1_200)[777]}

    with pytest.raises(BadChunk) as refused:
        await store.upsert(INDEX, records_of(vectors))

    assert refused.value.position == 777
    written = server.index("ours").seen(INDEX)
    assert set(record_ids(1_200)[:777]) <= set(written)
    assert set(record_ids(1_200)[1_000:]) <= set(written)


async def test_a_record_of_more_than_40_kb_is_named_and_its_neighbours_are_written(
    store: PineconeVectorStore,
) -> None:
    texts = ["fine", "é" * 30_000, "fine too"]

    with pytest.raises(BadChunk, match="smaller chunks") as refused:
        await store.upsert(INDEX, records_of([EAST, NORTH, UP], texts=texts))

    assert refused.value.position == 1
    rows = rows_by_id(await store.fetch(INDEX, record_ids(3)))
    assert {row["text"] for row in rows.values()} == {"fine", "fine too"}


async def test_a_request_that_is_too_large_is_halved(
    server: PineconeServer, store: PineconeVectorStore
) -> None:
    server.faults.max_body = 5_000

    await store.upsert(INDEX, records_of(np.ones((100, 4), dtype=np.float32)))

    assert len(await store.fetch(INDEX, record_ids(100))) == 100


@pytest.mark.parametrize("documents", [False, True])
async def test_large_vectors_are_packed_to_what_a_request_may_hold(
    server: PineconeServer, documents: bool
) -> None:
    host = await server.add_index("large", dimension=1536, documents=documents)
    vectors = np.random.default_rng(2).standard_normal((300, 1536), dtype=np.float32)
    async with connected(host) as store:
        await store.create(INDEX, replace(MARKER, dimensions=1536))
        before = upserts(server)

        await store.upsert(INDEX, records_of(vectors))

        assert upserts(server) - before == 3
        fetched = rows_by_id(await store.fetch(INDEX, record_ids(300)))
        assert all(
            np.array_equal(np.float32(fetched[record]["vector"]), vectors[row])
            for row, record in enumerate(record_ids(300))
        )


async def test_an_index_of_dot_products_ranks_by_cosine(server: PineconeServer) -> None:
    host = await server.add_index("dot", metric="dotproduct")
    async with connected(host) as store:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST + NORTH, EAST * 2, EAST * 0, 9 * UP + 9 * EAST]))

        found = await store.search(INDEX, Query(vector=EAST * 3, k=2))

        assert found["text"].to_pylist()[0] == "text 1"
        assert np.allclose(np.asarray(found["score"]), [1, 0.5**0.5], atol=1e-6)


async def test_an_index_of_distances_is_refused(server: PineconeServer) -> None:
    host = await server.add_index("far", metric="euclidean")
    async with connected(host) as store:
        with pytest.raises(IndexRefused, match="cosine or dotproduct"):
            await store.create(INDEX, MARKER)
        with pytest.raises(IndexRefused):
            await store.dimensions(INDEX)


async def test_the_dimensions_of_an_index_are_told(host: str) -> None:
    async with connected(host) as store:
        assert isinstance(store, Remote)
        assert await store.dimensions(INDEX) == 4
        with pytest.raises(DimensionMismatch):
            await store.create(INDEX, replace(MARKER, dimensions=3))


async def test_an_index_that_is_gone_holds_nothing_and_is_not_made_again(
    server: PineconeServer, host: str, store: PineconeVectorStore
) -> None:
    await store.upsert(INDEX, records_of([EAST]))
    server.remove_index("ours")

    async with connected(host) as later:
        assert await later.dimensions(INDEX) is None
        with pytest.raises(NotFound, match="make it in Pinecone"):
            await later.create(INDEX, MARKER)
    assert await store.marker(INDEX) is None
    assert len(await store.search(INDEX, Query(vector=EAST, k=1))) == 0
    with pytest.raises(IndexLost):
        await store.upsert(INDEX, records_of([EAST]))


async def test_a_key_that_may_not_list_indexes_is_enough_for_vectors(
    server: PineconeServer,
) -> None:
    host = await server.add_index("ours")
    server.faults.answers.append(Fault(path="/indexes", status=403, times=9))
    async with connected(host) as store:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))


@pytest.mark.parametrize("key", [None, "", "wrong", " spaced ", "other-key"])
async def test_a_key_that_does_not_fit_is_refused_and_not_shown(host: str, key: str | None) -> None:
    async with connected(host, key) as store:
        with pytest.raises(KeyRefused) as refused:
            await store.marker(INDEX)

    assert not key or key.strip() not in str(refused.value)


async def test_equal_names_in_two_projects_are_two_stores(server: PineconeServer) -> None:
    await server.add_index("same")
    await server.add_index("same", project="other")

    mine = await find_host(server.url, KEY, "same", 5)
    theirs = await find_host(server.url, "other-key", "same", 5)

    locator = PineconeVectorStore.locator
    assert locator(f"pinecone://{mine}") != locator(f"pinecone://{theirs}")


async def test_a_host_is_found_by_the_name_of_its_index(server: PineconeServer) -> None:
    host = await server.add_index("ours")
    await server.add_index("far", metric="euclidean")

    assert await find_host(server.url, KEY, "ours", 5) == host
    with pytest.raises(NotFound, match="'absent'"):
        await find_host(server.url, KEY, "absent", 5)
    with pytest.raises(KeyRefused):
        await find_host(server.url, "wrong", "ours", 5)
    with pytest.raises(IndexRefused):
        await find_host(server.url, KEY, "far", 5)
    with pytest.raises(Unavailable):
        await find_host("http://127.0.0.1:9", KEY, "ours", 5)


@pytest.mark.parametrize(
    "url",
    [
        "pinecone://evil.example",
        "pinecone://evilpinecone.io",
        "pinecone://docs.pinecone.io.evil.example",
        "pinecone://docs.pinecone.io:8080",
        "pinecone://169.254.169.254",
        "pinecone://10.0.0.1:80",
        "pinecone://127.1:80",
    ],
)
def test_other_hosts_than_those_of_pinecone_are_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        PineconeVectorStore(url, key=KEY)


@pytest.mark.parametrize(
    "url",
    [
        "pinecone://",
        "pinecone://user:secret@docs.pinecone.io",
        "pinecone://docs.pinecone.io/path",
        "pinecone://docs.pinecone.io?x=y",
        "https://docs.pinecone.io",
    ],
)
def test_what_is_not_a_host_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PineconeVectorStore(url, key=KEY)

    assert "secret" not in str(refused.value)


def test_the_locator_is_the_host_in_lower_case() -> None:
    locator = PineconeVectorStore.locator
    assert locator("pinecone://Docs-a1.svc.x.Pinecone.io:443/") == (
        "pinecone://docs-a1.svc.x.pinecone.io"
    )
    PineconeVectorStore("pinecone://proxy.example", key=KEY, allow=["proxy.example"])


async def test_names_of_our_own_namespaces_are_refused(store: PineconeVectorStore) -> None:
    with pytest.raises(InvalidInput):
        await store.create("vectorflow_markers", MARKER)
