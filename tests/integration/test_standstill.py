"""A process that stands still in a transaction of PostgreSQL lets go of its rows."""

import time

import psycopg
import pytest

from vectorflow.ledger import schema, standstill
from vectorflow.ledger.database import Database
from vectorflow.ledger.dialects import APPLICATION

SHORT = 0.2
"""Seconds."""


@pytest.fixture
def database(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(standstill, "IDLE_SECONDS", SHORT)
    return Database(postgres_database)


@pytest.mark.parametrize("name", [APPLICATION, "somebody else"])
def test_only_our_own_transactions_that_stand_still_are_ended(
    database: Database, postgres_database: str, name: str
) -> None:
    schema.upgrade(database)
    standing = psycopg.connect(postgres_database, application_name=name)
    # An executemany: after it the server's own timeout would wait for ever.
    rows = [("one", 1.0), ("two", 2.0)]
    standing.cursor().executemany("INSERT INTO duties (name, next_run_at) VALUES (%s, %s)", rows)
    time.sleep(SHORT * 2)

    ended = database.write_now(standstill.end_standing_transactions)

    assert ended == (name == APPLICATION)
    standing.close()
    database.close()


def test_sqlite_has_none() -> None:
    database = Database("sqlite://")

    assert database.write_now(standstill.end_standing_transactions) == 0
    database.close()
