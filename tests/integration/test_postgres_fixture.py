from collections.abc import Iterator

import psycopg
import pytest


@pytest.mark.parametrize("_run", [1, 2])
def test_each_test_gets_an_empty_database_with_pgvector_at_hand(
    postgres_database: str, _run: int
) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE points (id int PRIMARY KEY, place vector(2))")
        connection.execute("INSERT INTO points VALUES (1, '[0, 0]'), (2, '[3, 4]')")
        nearest = connection.execute(
            "SELECT id, place <-> '[3, 3]' FROM points ORDER BY 2 LIMIT 1"
        ).fetchone()
    assert nearest == (2, 1.0)


@pytest.fixture
def connections() -> Iterator[list[psycopg.Connection]]:
    connections: list[psycopg.Connection] = []
    yield connections
    for connection in connections:
        connection.close()


def test_a_connection_left_open_does_not_keep_the_database(
    connections: list[psycopg.Connection], postgres_database: str
) -> None:
    connections.append(psycopg.connect(postgres_database))
    tables = connections[0].execute("SELECT count(*) FROM pg_stat_user_tables").fetchone()
    assert tables == (0,)
