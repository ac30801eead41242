"""Looking into a ledger, for tests that break things."""

from collections.abc import Sequence
from functools import partial

from vectorflow.ledger import laws
from vectorflow.ledger.database import Database

TABLES = (
    "identity", "pipelines", "indexes", "documents", "versions", "parts", "jobs", "batches",
    "attempts", "buckets", "duties", "api_keys", "credentials", "secrets", "tenants", "shares",
    "retry_requests",
)  # fmt: skip


def broken_laws(
    database: Database, *, all_done: bool = False
) -> dict[str, list[tuple[object, ...]]]:
    """Give the rows that break a law of `vectorflow.ledger.laws`, by law."""
    return database.read_now(partial(laws.broken, all_done=all_done))


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    """Give the rows of a query; names that a database keeps as bytes are text here too."""
    found = database.read_now(lambda connection: connection.exec_driver_sql(query).all())
    return [
        tuple(value.decode() if isinstance(value, bytes) else value for value in row)
        for row in found
    ]


def dump(database: Database, tables: Sequence[str] = TABLES) -> dict[str, list[str]]:
    """Write down whole tables, to compare before and after."""
    return {
        table: sorted(map(repr, rows(database, f"SELECT * FROM {table}")))  # noqa: S608 - our names
        for table in tables
    }
