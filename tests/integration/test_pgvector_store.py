import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest

from vectorflow.adapters.vector_stores.pgvector import PgVectorStore
from vectorflow.errors import IndexLost, IndexRefused, InvalidInput, KeyRefused, Unavailable
from vectorflow.ports.vector_store import Query
from vectorflow.testing.records import EAST, INDEX, MARKER, record_ids, records_of, texts_found


@pytest.fixture
def url(postgres_database: str) -> str:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    return postgres_database


@pytest.mark.parametrize(
    ("address", "locator"),
    [
        ("postgresql://me:secret@DB.Example/docs", "postgresql://db.example:5432/docs"),
        ("postgres://db.example:5433/docs?sslmode=disable", "postgresql://db.example:5433/docs"),
        ("postgresql://me@[::1]/docs", "postgresql://[::1]:5432/docs"),
        ("postgresql://me:p%23w@/docs?host=/run/pg", "postgresql:///docs?host=/run/pg&port=5432"),
    ],
)
def test_the_locator_is_canonical_and_without_credentials(address: str, locator: str) -> None:
    assert PgVectorStore.locator(address) == locator
    assert PgVectorStore.locator(locator) == locator


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@db.example",
        "postgresql://me:secret/x@db.example/docs",
        "postgresql://me:secret%zz@db.example/docs",
        "mysql://me:secret@db.example/docs",
    ],
)
def test_a_bad_address_is_refused_without_quoting_its_password(address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PgVectorStore.locator(address)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


async def test_a_database_without_the_extension_says_how_to_get_it(postgres_database: str) -> None:
    async with PgVectorStore(postgres_database) as store:
        with pytest.raises(IndexRefused, match="CREATE EXTENSION vector"):
            await store.create(INDEX, MARKER)


async def test_a_missing_database_is_for_somebody_to_mend(url: str) -> None:
    elsewhere = urlsplit(url)._replace(path="/nosuchdatabase").geturl()
    async with PgVectorStore(elsewhere) as store:
        with pytest.raises(KeyRefused, match="check user, password and database"):
            await store.marker(INDEX)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    async with PgVectorStore("postgresql://me@127.0.0.1:1/docs") as store:
        with pytest.raises(Unavailable):
            await store.marker(INDEX)


async def test_connections_that_the_server_closed_are_replaced(url: str) -> None:
    async with PgVectorStore(url) as store:
        await store.create(INDEX, MARKER)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        with pytest.raises(Unavailable):
            await store.marker(INDEX)

        assert await store.marker(INDEX) == MARKER


async def test_a_call_that_is_held_up_ends_in_time_and_leaves_nothing(url: str) -> None:
    async with PgVectorStore(url) as store, PgVectorStore(url, timeout=0.3) as hasty:
        await store.create(INDEX, MARKER)
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE docs")

            with pytest.raises(Unavailable):
                await hasty.upsert(INDEX, records_of([EAST]))

        assert len(await store.fetch(INDEX, record_ids(1))) == 0
        await hasty.upsert(INDEX, records_of([EAST]))
        assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 0"]


async def test_a_table_that_somebody_else_made_is_refused_and_left_alone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE docs (id uuid)")
        connection.execute("INSERT INTO docs VALUES (%s)", record_ids(1))
        async with PgVectorStore(url) as store:
            with pytest.raises(IndexRefused):
                await store.create(INDEX, MARKER)
            with pytest.raises(IndexLost):
                await store.upsert(INDEX, records_of([EAST]))
            await store.delete(INDEX, record_ids(1))

            assert await store.marker(INDEX) is None
            assert len(await store.search(INDEX, Query(vector=EAST, k=1))) == 0
        assert connection.execute("SELECT count(*) FROM docs").fetchone() == (1,)


async def test_a_table_dropped_behind_our_back_is_a_lost_index(url: str) -> None:
    async with PgVectorStore(url) as store:
        await store.create(INDEX, MARKER)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE docs")

        assert await store.marker(INDEX) is None
        with pytest.raises(IndexLost):
            await store.upsert(INDEX, records_of([EAST]))
        assert await store.create(INDEX, MARKER) == MARKER
        await store.upsert(INDEX, records_of([EAST]))
        assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 0"]


@pytest.mark.parametrize("name", ["vectorflow_indexes", "vectorflow_incoming", "x" * 64])
async def test_names_that_would_collide_or_be_cut_are_refused(url: str, name: str) -> None:
    async with PgVectorStore(url) as store:
        with pytest.raises(InvalidInput):
            await store.create(name, MARKER)


@pytest.mark.parametrize(
    ("dimensions", "statement"),
    [
        (8, "CREATE INDEX ON docs USING hnsw (vector vector_cosine_ops)"),
        (2_500, "CREATE INDEX ON docs USING hnsw ((vector::halfvec(2500)) halfvec_cosine_ops)"),
    ],
)
async def test_an_hnsw_index_is_used_and_finds_as_much(
    url: str, dimensions: int, statement: str
) -> None:
    vectors = np.random.default_rng(1).standard_normal((200, dimensions), dtype=np.float32)
    metadata = [{"even": number % 2 == 0} for number in range(200)]
    query = Query(vector=vectors[0], k=60)
    filtered = replace(query, filter={"even": True})
    # With one session, what the session is told to avoid holds for the store too.
    async with PgVectorStore(
        f"{url}&options=-cenable_seqscan%3Doff%20-cenable_sort%3Doff"
    ) as store:
        await store.create(INDEX, replace(MARKER, dimensions=dimensions))
        await store.upsert(INDEX, records_of(vectors, metadata=metadata))
        exact = [await texts_found(store, one) for one in (query, filtered)]

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

        for wanted, one in zip(exact, (query, filtered), strict=True):
            found = await texts_found(store, one)
            assert len(found) == 60
            assert len(set(found) & set(wanted)) > 50
            assert found[0] == wanted[0]
    assert await scans_of_hnsw(url) > 0


async def scans_of_hnsw(url: str) -> int:
    """Wait for the server to have counted them."""
    statement = (
        "SELECT coalesce(sum(idx_scan), 0)::int FROM pg_stat_user_indexes"
        " JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam"
        " WHERE amname = 'hnsw'"
    )
    scans = 0
    for _ in range(100):
        with psycopg.connect(url) as connection:
            row = connection.execute(statement).fetchone()
        scans = row[0] if row else 0
        if scans:
            break
        await asyncio.sleep(0.05)
    return scans
