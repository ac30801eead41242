"""The ledger behind a pooler in transaction mode: nothing of ours outlasts a transaction."""

import time
from collections.abc import Iterator
from itertools import pairwise

import psycopg
import pytest
from sqlalchemy import Connection, text

from tests.integration.ledger import test_storm
from tests.pooler import Pooler, pooler
from vectorflow.adapters.vector_stores.pgvector import PgVectorStore
from vectorflow.errors import Unavailable
from vectorflow.ledger import schema, standstill
from vectorflow.ledger.database import Database
from vectorflow.ports.vector_store import Query
from vectorflow.testing.ledgers import rows
from vectorflow.testing.records import INDEX, MARKER, NORTH, record_ids, records_of
from vectorflow.testing.work import WorkSuite
from vectorflow.testing.workplace import Workplace


@pytest.fixture
def between(postgres_ledger: str) -> Iterator[Pooler]:
    with pooler(postgres_ledger) as running:
        yield running


@pytest.fixture
def ledger_url(between: Pooler) -> str:
    return between.url


@pytest.mark.slow
class TestLedgerWork(WorkSuite):
    @pytest.fixture
    def place(self, place: Workplace) -> Workplace:
        return place


async def test_a_store_of_records_works_behind_a_pooler(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    with pooler(postgres_database) as running:
        async with PgVectorStore(running.url) as store:
            await store.create(INDEX, MARKER)
            for number in range(8):  # more often than it takes psycopg to prepare a statement
                records = records_of([NORTH], ids=record_ids(1, f"record of {number}"))
                await store.upsert(INDEX, records)
                found = await store.search(INDEX, Query(vector=NORTH, k=100))
                assert len(found) == number + 1
        with psycopg.connect(running.url, autocommit=True, prepare_threshold=None) as connection:
            shown = [connection.execute("SHOW statement_timeout").fetchone() for _ in range(8)]
        assert set(shown) == {("0",)}


@pytest.mark.slow
def test_many_threads_behind_a_pooler_keep_the_ledger_in_order(
    place: Workplace, ledger: Database, between: Pooler
) -> None:
    test_storm.test_whatever_many_threads_do_the_ledger_stays_in_order(place, ledger, seed=7)

    assert between.transactions > test_storm.THREADS * test_storm.STEPS
    assert between.refused == []


def test_the_next_transaction_has_another_session(ledger: Database) -> None:
    process = text("SELECT pg_backend_pid()")
    seen = [ledger.read_now(lambda c: c.execute(process).scalar_one()) for _ in range(4)]

    assert all(one != next_one for one, next_one in pairwise(seen))


def test_sessions_keep_nothing_of_what_was_done_in_them(place: Workplace, between: Pooler) -> None:
    for _ in range(12):  # more often than it takes psycopg to prepare a statement
        place.submit({"a": "one"})
        place.reap()

    kept = """SELECT (SELECT count(*) FROM pg_prepared_statements),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
        (SELECT count(*) FROM pg_settings
            WHERE source = 'session' AND name != 'application_name')"""
    with psycopg.connect(between.url, autocommit=True, prepare_threshold=None) as connection:
        found = [connection.execute(kept).fetchone() for _ in range(8)]
    assert set(found) == {(0, 0, 0)}


def test_a_schema_is_made_through_a_pooler(postgres_database: str) -> None:
    with pooler(postgres_database) as running:
        database = Database(running.url)
        schema.upgrade(database)
        schema.check(database)
        database.close()


def test_what_stands_still_in_a_transaction_is_ended_by_the_server(ledger: Database) -> None:
    def limit(connection: Connection) -> str:
        return str(connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar())

    assert {ledger.write_now(limit) for _ in range(6)} == {"15s"}


def test_what_the_server_does_not_see_stand_still_is_ended_by_a_duty(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standstill, "IDLE_SECONDS", 0.2)
    ended: list[int] = []

    def stand_still(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO duties (name, next_run_at) VALUES (:name, 1)"),
            [{"name": "one"}, {"name": "two"}],
        )
        if not ended:
            time.sleep(0.4)
            ended.append(ledger.write_now(standstill.end_standing_transactions))

    ledger.write_now(stand_still)

    assert ended == [1]
    assert rows(ledger, "SELECT count(*) FROM duties") == [(2,)]


def test_a_parameter_that_a_pooler_does_not_follow_would_be_refused(between: Pooler) -> None:
    database = Database(f"{between.url}&options=-c%20lock_timeout%3D1")

    with pytest.raises(Unavailable):
        database.read_now(lambda connection: connection.execute(text("SELECT 1")))
    assert "options" in between.refused
    database.close()
