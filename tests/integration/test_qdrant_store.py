import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_client.models import (
    Distance,
    FieldCondition,
    Filter,
    MatchValue,
    PayloadSchemaType,
    PointStruct,
    VectorParams,
)

from vectorflow.adapters.vector_stores.qdrant import QdrantVectorStore
from vectorflow.errors import (
    BadChunk,
    CallRefused,
    DimensionMismatch,
    IndexLost,
    IndexRefused,
    InvalidInput,
    KeyRefused,
    OutOfSpace,
    Throttled,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ports.vector_store import Query, Remote
from vectorflow.testing.qdrant_server import QdrantServer
from vectorflow.testing.records import (
    BACK,
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

KEY = "sesame-opens-this-one"
FOREIGN = {"who": "somebody else"}
REBORN = replace(MARKER, incarnation="born-2")


@pytest.fixture
async def server() -> AsyncIterator[QdrantServer]:
    async with QdrantServer() as server:
        yield server


@pytest.fixture
async def store(server: QdrantServer) -> AsyncIterator[QdrantVectorStore]:
    async with QdrantVectorStore(server.url) as store:
        yield store


@pytest.fixture
async def client(server: QdrantServer) -> AsyncIterator[AsyncQdrantClient]:
    """Qdrant's own client."""
    client = AsyncQdrantClient(url=server.http_url, check_compatibility=False)  # that is a thread
    yield client
    await client.close()


async def make_foreign(
    client: AsyncQdrantClient, *, size: int = 4, distance: Distance = Distance.COSINE
) -> str:
    """Make a collection as a user of the v0 API does, with a point of the user's in it."""
    params = VectorParams(size=size, distance=distance)
    await client.create_collection(INDEX, vectors_config=params)
    point = str(uuid4())
    vector = [1.0] + [0.0] * (size - 1)
    await client.upsert(INDEX, [PointStruct(id=point, vector=vector, payload=FOREIGN)])
    return point


@pytest.mark.parametrize(
    ("address", "locator"),
    [
        ("qdrant://DB.Example", "qdrant://db.example:6333"),
        ("qdrant://db.example:6333?tls=true", "qdrant://db.example:6333"),
        ("qdrant://db.example:80/?tls=false", "qdrant://db.example:80?tls=false"),
        ("qdrant://localhost?tls=false", "qdrant://localhost:6333"),
        ("qdrant://127.0.0.1?tls=true", "qdrant://127.0.0.1:6333?tls=true"),
        ("qdrant://[::1]:6335", "qdrant://[::1]:6335"),
    ],
)
def test_the_locator_is_canonical(address: str, locator: str) -> None:
    assert QdrantVectorStore.locator(address) == locator
    assert QdrantVectorStore.locator(locator) == locator


@pytest.mark.parametrize(
    "address",
    [
        "qdrant://secret@db.example",
        "qdrant://:secret@db.example",
        "qdrant://db.example?api_key=secret",
        "qdrant://db.example?secret",
        "qdrant://db.example?tls=secret",
        "qdrant://db.example:secret",
        "qdrant://db.example/secret",
        "qdrant://db.example#secret",
        "qdrant://sec ret",
        "qdrant://",
        "http://secret@db.example",
    ],
)
def test_another_address_is_refused_without_quoting_it(address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        QdrantVectorStore(address)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_key_that_could_break_a_header_is_refused_without_quoting_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        QdrantVectorStore("qdrant://localhost", key="secret\r\nX-Other: 1")

    assert "secret" not in str(refused.value)


async def test_the_clients_of_qdrant_read_texts_documents_and_metadata(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    await store.create(INDEX, MARKER)
    metadata = {"lang": "de", "tags": ["a", {"b": 1}], "source_text": "mine", "vf_terms": "mine"}
    await store.upsert(INDEX, records_of([EAST, NORTH], metadata=[metadata, {}]))

    wanted = Filter(must=[FieldCondition(key="lang", match=MatchValue(value="de"))])
    found = await client.query_points(INDEX, query=EAST.tolist(), query_filter=wanted)

    (point,) = found.points
    assert point.id == record_ids(1)[0]
    assert point.score == pytest.approx(1.0)
    payload = point.payload or {}
    assert payload["source_text"] == "text 0"
    assert payload["source_document"] == "folder/0.txt"
    assert (payload["lang"], payload["tags"]) == ("de", ["a", {"b": 1}])
    assert payload["vf_terms"] != "mine"
    (row,) = rows_by_id(await store.fetch(INDEX, record_ids(1))).values()
    assert row["metadata"] == metadata


async def test_the_test_server_speaks_to_the_client_of_qdrant(
    server: QdrantServer, client: AsyncQdrantClient
) -> None:
    point = await make_foreign(client)
    await client.create_payload_index(INDEX, "who", PayloadSchemaType.KEYWORD)
    more = [PointStruct(id=one, vector=[0.0, 1.0, 0.0, 0.0], payload={"n": one}) for one in (7, 8)]
    await client.upsert(INDEX, more, wait=True)
    await client.update_collection(INDEX, metadata={"kept": 1, "gone": None})

    assert (await client.info()).version == server.version
    assert await client.collection_exists(INDEX)
    info = await client.get_collection(INDEX)
    assert info.config.metadata == {"kept": 1}
    assert list(info.payload_schema) == ["who"]
    assert (await client.count(INDEX)).count == 3
    first, after = await client.scroll(INDEX, limit=2, with_vectors=True)
    rest, end = await client.scroll(INDEX, limit=2, offset=after)
    assert {one.id for one in [*first, *rest]} == {point, 7, 8}
    assert end is None
    (got,) = await client.retrieve(INDEX, [point], with_vectors=True)
    assert (got.payload, got.vector) == (FOREIGN, [1.0, 0.0, 0.0, 0.0])
    await client.delete(INDEX, points_selector=[7])
    assert (await client.count(INDEX)).count == 2
    for bad, status in (([0.0] * 3, 400), ([0.0] * 5, 400)):
        with pytest.raises(UnexpectedResponse) as refused:
            await client.upsert(INDEX, [PointStruct(id=9, vector=bad)])
        assert refused.value.status_code == status
    with pytest.raises(UnexpectedResponse, match="409"):
        await client.create_collection(INDEX, VectorParams(size=4, distance=Distance.DOT))
    with pytest.raises(UnexpectedResponse, match="404"):
        await client.count("missing")


async def test_a_write_that_nobody_waits_for_comes_later(client: AsyncQdrantClient) -> None:
    await make_foreign(client)

    point = PointStruct(id=1, vector=[0.0, 1.0, 0.0, 0.0])
    done = await client.upsert(INDEX, [point], wait=False)

    assert done.status == "acknowledged"
    assert (await client.count(INDEX)).count == 1
    await asyncio.sleep(0.5)
    assert (await client.count(INDEX)).count == 2


@pytest.mark.parametrize("distance", [Distance.COSINE, Distance.DOT, Distance.EUCLID])
async def test_a_collection_of_the_user_is_used_and_its_points_are_left_alone(
    store: QdrantVectorStore, client: AsyncQdrantClient, distance: Distance
) -> None:
    foreign = await make_foreign(client, distance=distance)
    assert await store.marker(INDEX) is None
    with pytest.raises(IndexLost):
        await store.upsert(INDEX, records_of([EAST]))

    assert await store.create(INDEX, MARKER) == MARKER
    await store.upsert(INDEX, records_of([EAST * 9, EAST + NORTH, UP, BACK * 0]))

    found = await store.search(INDEX, Query(vector=EAST * 3, k=9))
    assert [row["text"] for row in found.to_pylist()] == ["text 0", "text 1", "text 2"]
    assert np.allclose(np.asarray(found["score"]), [1.0, 0.5**0.5, 0.0], atol=1e-5)
    assert len(await store.fetch(INDEX, [foreign])) == 0
    listed = [one async for page in store.ids(INDEX) for one in page]
    assert sorted(listed) == sorted(record_ids(4))
    assert await store.create(INDEX, REBORN) == REBORN
    assert (await client.count(INDEX)).count == 1
    (left,) = await client.retrieve(INDEX, [foreign])
    assert left.payload == FOREIGN


async def test_a_collection_of_the_user_is_never_made_anew(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    params = VectorParams(size=4, distance=Distance.COSINE)
    await client.create_collection(INDEX, vectors_config=params)
    await store.create(INDEX, MARKER)

    with pytest.raises(DimensionMismatch):
        await store.create(INDEX, replace(REBORN, dimensions=2))

    assert await store.marker(INDEX) == MARKER


async def test_points_of_others_in_our_collection_survive(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    await store.create(INDEX, MARKER)
    await store.upsert(INDEX, records_of([EAST]))
    await client.upsert(INDEX, [PointStruct(id=1, vector=[0.0, 1.0, 0.0, 0.0], payload=FOREIGN)])

    with pytest.raises(DimensionMismatch):
        await store.create(INDEX, replace(REBORN, dimensions=2))
    assert await store.create(INDEX, REBORN) == REBORN

    assert await texts_found(store, Query(vector=NORTH, k=9)) == []
    assert [point.id for point in (await client.scroll(INDEX))[0]] == [1]


async def test_a_collection_with_another_length_is_refused(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    await make_foreign(client, size=8)

    with pytest.raises(DimensionMismatch, match="holds 8-dimensional vectors, got 4"):
        await store.create(INDEX, MARKER)

    assert await store.marker(INDEX) is None


async def test_a_collection_that_cannot_hold_records_is_refused(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    params = VectorParams(size=4, distance=Distance.COSINE)
    await client.create_collection("named", vectors_config={"image": params})
    params = VectorParams(size=4, distance=Distance.MANHATTAN)
    await client.create_collection("manhattan", vectors_config=params)

    with pytest.raises(IndexRefused, match="has named vectors"):
        await store.create("named", MARKER)
    with pytest.raises(IndexRefused, match="has named vectors"):
        await store.dimensions("named")
    with pytest.raises(IndexRefused, match="ranks by the distance Manhattan"):
        await store.create("manhattan", MARKER)


async def test_the_dimensions_tell_whether_an_index_is_there(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    assert isinstance(store, Remote)
    assert await store.dimensions(INDEX) is None

    await make_foreign(client, size=8)

    assert await store.dimensions(INDEX) == 8


async def test_two_ledgers_that_want_one_collection_of_the_user_end_with_one_marker(
    server: QdrantServer, client: AsyncQdrantClient
) -> None:
    await make_foreign(client)
    wanted = [replace(MARKER, ledger=f"ledger-{number}") for number in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(QdrantVectorStore(server.url)) for _ in wanted]

        got = await asyncio.gather(
            *(store.create(INDEX, marker) for store, marker in zip(stores, wanted, strict=True))
        )

        assert len(set(got)) == 1
        assert await stores[0].marker(INDEX) == got[0]
    collections = (await client.get_collections()).collections
    assert [collection.name for collection in collections] == [INDEX]


async def test_workers_that_make_an_index_anew_at_once_lose_nothing(server: QdrantServer) -> None:
    async def work(number: int) -> None:
        async with QdrantVectorStore(server.url) as store:
            assert await store.create(INDEX, reborn) == reborn
            ids = record_ids(5, f"worker {number}")
            vectors = np.ones((5, reborn.dimensions), dtype=np.float32)
            await store.upsert(INDEX, records_of(vectors, ids=ids))
            assert len(await store.fetch(INDEX, ids)) == 5

    async with QdrantVectorStore(server.url) as store:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
        for dimensions in (4, 3):
            reborn = replace(MARKER, incarnation=f"{dimensions}", dimensions=dimensions)
            await asyncio.gather(*(work(number) for number in range(4)))
            listed = [one async for page in store.ids(INDEX) for one in page]
            assert len(listed) == 20


async def test_who_died_in_its_turn_is_not_waited_for(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    await make_foreign(client)
    params = VectorParams(size=1, distance=Distance.DOT)
    left = f"vectorflow_turn_{INDEX}"
    await client.create_collection(left, vectors_config=params, metadata={"until": 1.5})

    assert await store.create(INDEX, MARKER) == MARKER

    assert not await client.collection_exists(left)


async def test_a_turn_that_is_not_over_is_waited_for(
    store: QdrantVectorStore, server: QdrantServer, client: AsyncQdrantClient
) -> None:
    await make_foreign(client)
    params = VectorParams(size=1, distance=Distance.DOT)
    turn = f"vectorflow_turn_{INDEX}"
    await client.create_collection(turn, vectors_config=params, metadata={"until": 1e12})

    async with QdrantVectorStore(server.url, timeout=1.0) as hasty:
        with pytest.raises(Unavailable):
            await hasty.create(INDEX, MARKER)
    assert await store.marker(INDEX) is None
    await client.delete_collection(turn)
    assert await store.create(INDEX, MARKER) == MARKER


async def test_names_of_our_own_collections_are_no_indexes(store: QdrantVectorStore) -> None:
    with pytest.raises(InvalidInput, match="kept for VectorFlow"):
        await store.create("vectorflow_turn_docs", MARKER)


async def test_an_index_that_was_removed_and_made_anew_by_hand_is_lost(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    await store.create(INDEX, MARKER)
    await client.delete_collection(INDEX)
    await make_foreign(client)

    assert await store.marker(INDEX) is None
    with pytest.raises(IndexLost):
        await store.upsert(INDEX, records_of([EAST]))


async def test_indexes_of_the_payload_are_made_up_for(
    store: QdrantVectorStore, server: QdrantServer, client: AsyncQdrantClient
) -> None:
    server.fail(500, method="PUT", path="/index")
    with pytest.raises(Unavailable):
        await store.create(INDEX, MARKER)

    assert await store.create(INDEX, MARKER) == MARKER

    schema = (await client.get_collection(INDEX)).payload_schema
    assert sorted(schema) == ["source_document", "vf_terms"]


async def test_a_write_that_is_too_large_is_halved() -> None:
    texts = [letter * 1_000 for letter in "abcdefghij"]
    async with QdrantServer(max_body=3_000) as server, QdrantVectorStore(server.url) as store:
        await store.create(INDEX, MARKER)

        await store.upsert(INDEX, records_of([EAST] * 10, texts=texts))

        rows = rows_by_id(await store.fetch(INDEX, record_ids(10)))
        assert sorted(str(row["text"]) for row in rows.values()) == texts
        assert any(seen.size > 3_000 for seen in server.seen)


async def test_a_record_that_is_too_large_alone_is_named() -> None:
    async with QdrantServer(max_body=300_000) as server, QdrantVectorStore(server.url) as store:
        await store.create(INDEX, MARKER)

        texts = ["a", "b", "c" * 3_000_000, "d"]
        with pytest.raises(BadChunk) as refused:
            await store.upsert(INDEX, records_of([EAST] * 4, texts=texts))

        assert refused.value.position == 2


async def test_a_write_of_many_bytes_is_cut_before_it_is_sent(
    store: QdrantVectorStore, server: QdrantServer
) -> None:
    vectors = np.random.default_rng(1).standard_normal((1_000, 1_536), dtype=np.float32)
    await store.create(INDEX, replace(MARKER, dimensions=1_536))

    await store.upsert(INDEX, records_of(vectors))

    sizes = [seen.size for seen in server.seen if seen.path.endswith("/points")]
    assert 2 < len(sizes) < 6
    assert max(sizes) < 16_000_000
    fetched = rows_by_id(await store.fetch(INDEX, record_ids(1_000)))
    assert len(fetched) == 1_000
    assert fetched[record_ids(1)[0]]["vector"] == vectors[0].tolist()


async def test_unit_vectors_are_stored_once(
    store: QdrantVectorStore, client: AsyncQdrantClient
) -> None:
    vectors = np.random.default_rng(2).standard_normal((50, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    await store.create(INDEX, replace(MARKER, dimensions=384))
    await store.upsert(INDEX, records_of(vectors))

    points, _ = await client.scroll(INDEX, limit=50)
    assert not any("vf_vector" in (point.payload or {}) for point in points)
    fetched = rows_by_id(await store.fetch(INDEX, record_ids(50)))
    assert [fetched[one]["vector"] for one in record_ids(50)] == vectors.tolist()


async def test_metadata_that_only_python_calls_json_is_kept(store: QdrantVectorStore) -> None:
    await store.create(INDEX, MARKER)
    metadata = {"huge": 2**80, "endless": float("inf"), "long": "x" * 5_000}

    await store.upsert(INDEX, records_of([EAST, NORTH], metadata=[metadata, {"huge": 2**80 + 1}]))

    (row,) = rows_by_id(await store.fetch(INDEX, record_ids(1))).values()
    assert row["metadata"] == metadata
    for key in ("huge", "long"):
        query = Query(vector=EAST, k=9, filter={key: metadata[key]})
        assert await texts_found(store, query) == ["text 0"]


async def test_the_key_is_sent_and_never_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with QdrantServer(key=KEY) as server:
        async with QdrantVectorStore(server.url, key=KEY) as store:
            await store.create(INDEX, MARKER)
            assert {seen.key for seen in server.seen} == {KEY}
            server.fail(500)
            with pytest.raises(Unavailable) as failed:
                await store.marker(INDEX)
        told = [repr(store), repr(vars(failed.value)), str(failed.value), store.locator(server.url)]
    async with store:
        with pytest.raises(Unavailable) as away:
            await store.marker(INDEX)
    told += [str(away.value), repr(away.value.__cause__), caplog.text]
    assert not any(KEY in text for text in told)


@pytest.mark.parametrize("key", [None, "another"])
async def test_a_wrong_key_says_what_to_check(key: str | None) -> None:
    async with QdrantServer(key=KEY) as server, QdrantVectorStore(server.url, key=key) as store:
        with pytest.raises(KeyRefused, match="QDRANT_KEY"):
            await store.marker(INDEX)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, CallRefused),
        (400, CallRefused),
        (403, KeyRefused),
        (408, Unavailable),
        (422, CallRefused),
        (429, Throttled),
        (500, Unavailable),
        (503, Unavailable),
        (507, OutOfSpace),
    ],
)
async def test_each_status_becomes_an_error_without_the_answers_body(
    store: QdrantVectorStore, server: QdrantServer, status: int, error: type[VectorFlowError]
) -> None:
    await store.create(INDEX, MARKER)
    server.fail(status, method="PUT", headers={"Location": "/healthz", "Retry-After": "7"})

    with pytest.raises(error) as raised:
        await store.upsert(INDEX, records_of([EAST]))

    assert type(raised.value) is error
    assert "fault" not in str(raised.value)
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after == 7.0
    await store.upsert(INDEX, records_of([EAST]))


async def test_a_collection_that_vanishes_during_a_write_is_lost(
    store: QdrantVectorStore, server: QdrantServer, client: AsyncQdrantClient
) -> None:
    await store.create(INDEX, replace(MARKER, dimensions=1_536))
    vectors = np.ones((1_000, 1_536), dtype=np.float32)  # several requests
    writing = asyncio.create_task(store.upsert(INDEX, records_of(vectors)))
    while not any(seen.path.endswith("/points") for seen in server.seen):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await client.delete_collection(INDEX)

    with pytest.raises(IndexLost):
        await writing


async def test_a_server_that_goes_away_and_comes_back_is_found_again(tmp_path: Path) -> None:
    async with QdrantServer(path=tmp_path) as first:
        store = QdrantVectorStore(first.url)
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
    with pytest.raises(Unavailable):
        await store.marker(INDEX)

    async with QdrantServer(path=tmp_path, port=first.port), store:
        assert await store.marker(INDEX) == MARKER
        assert await texts_found(store, Query(vector=EAST, k=1)) == ["text 0"]


async def test_a_server_that_hangs_is_unavailable_in_time() -> None:
    is_over = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other side has gone
        writer.close()
        is_over.set()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with QdrantVectorStore(f"qdrant://127.0.0.1:{port}", timeout=0.2) as store:
            with pytest.raises(Unavailable):
                await store.marker(INDEX)
        await is_over.wait()


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"result":'])
async def test_something_else_that_answers_is_no_qdrant(body: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with QdrantVectorStore(f"qdrant://127.0.0.1:{port}") as store:
            with pytest.raises(Unavailable, match="something else than Qdrant"):
                await store.marker(INDEX)


async def test_an_answer_without_end_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, store: QdrantVectorStore
) -> None:
    await store.create(INDEX, MARKER)
    texts = [f"{number:<2000}" for number in range(40)]
    await store.upsert(INDEX, records_of([EAST] * 40, texts=texts))
    monkeypatch.setattr("vectorflow.adapters._qdrant_http.MAX_ANSWER", 20_000)

    assert len(await store.fetch(INDEX, record_ids(40))) == 40  # in smaller and smaller parts
    with pytest.raises(CallRefused, match="larger than"):
        await store.search(INDEX, Query(vector=EAST, k=40))


async def test_an_old_server_is_refused_with_the_version_that_is_needed() -> None:
    async with (
        QdrantServer(version="1.15.5") as server,
        QdrantVectorStore(server.url) as store,
    ):
        with pytest.raises(CallRefused, match=r"this Qdrant is 1\.15.*upgrade it to 1\.16"):
            await store.create(INDEX, MARKER)
        assert await store.dimensions(INDEX) is None


async def test_the_test_server_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vectorflow.testing.qdrant_server", "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--key", KEY, "--path", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with QdrantVectorStore(url, key=KEY) as store:
            assert await store.create(INDEX, MARKER) == MARKER
    finally:
        process.terminate()
        await process.wait()
