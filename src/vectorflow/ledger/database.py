"""One async doorway to the database: SQLite embedded, PostgreSQL in production."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from vectorflow.errors import InvalidSetting, OutOfSpace, Unavailable, VectorFlowError

T = TypeVar("T")

BUSY_TIMEOUT = 30.0
"""Seconds a writer of SQLite waits for the others."""

TRIES = 6
"""Of a transaction that the database aborts (deadlock, serialization, restart)."""

APPLICATION = "vectorflow"
"""Name of our sessions in PostgreSQL."""

IDLE_SECONDS = 15
"""PostgreSQL ends a transaction in which nothing happens for so long: a process or machine that was
stopped in the middle of one would keep its rows locked, and nobody could take its leases over."""

_RETRIED_SQLSTATES = (
    "25P03", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08", "53", "23505",
)  # fmt: skip
"""The last is a duplicate key: two made the same row, and the loser finds it on the next try."""


class Database:
    """Runs synchronous transactions in threads: `write` with one writer per process on SQLite."""

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        self.embedded = self.url.get_backend_name() == "sqlite"
        self._writer = self._engine(immediate=True)
        self._reader = self._engine(immediate=False) if self.embedded else self._writer
        writers = 1 if self.embedded else 4
        self._write_threads = ThreadPoolExecutor(writers, thread_name_prefix="ledger-write")
        self._read_threads = ThreadPoolExecutor(4, thread_name_prefix="ledger-read")

    async def write(self, transaction: Callable[[Connection], T]) -> T:
        """Run one writing transaction; it may run again when the database aborts it.

        Raises:
            Unavailable: The database does not answer.
            OutOfSpace: The disk is full.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._write_threads, self.write_now, transaction)

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        """Run one reading transaction on a snapshot."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_threads, self.read_now, transaction)

    def write_now(self, transaction: Callable[[Connection], T]) -> T:
        """`write` for callers that are in a thread already."""
        return self._run(self._writer, transaction)

    def read_now(self, transaction: Callable[[Connection], T]) -> T:
        """`read` for callers that are in a thread already."""
        return self._run(self._reader, transaction)

    @property
    def engine(self) -> Engine:
        """The writing engine, for migrations."""
        return self._writer

    def close(self) -> None:
        """Wait for what runs and close all connections."""
        self._write_threads.shutdown()
        self._read_threads.shutdown()
        self._writer.dispose()
        self._reader.dispose()

    def _run(self, engine: Engine, transaction: Callable[[Connection], T]) -> T:
        for tried in range(1, TRIES + 1):
            try:
                with engine.begin() as connection:
                    return transaction(connection)
            except DBAPIError as error:
                failure = _translated(error)
                if not isinstance(failure, Unavailable) or tried == TRIES:
                    raise failure from error
                time.sleep(random.uniform(0, 0.05 * 2**tried))  # noqa: S311 - jitter, not a secret
        raise AssertionError  # the loop returns or raises

    def _engine(self, *, immediate: bool) -> Engine:
        if not self.embedded:
            named = {"application_name": APPLICATION}
            engine = create_engine(
                self.url,
                connect_args=named,
                pool_pre_ping=True,
                pool_size=8,
                max_overflow=0,
                hide_parameters=True,
            )
            event.listen(engine, "connect", _configure_postgresql)
            return engine
        engine = create_engine(
            self.url,
            connect_args={"timeout": BUSY_TIMEOUT},
            pool_size=8,
            hide_parameters=True,  # texts and credentials are no part of an error
        )
        event.listen(engine, "connect", _configure_sqlite)
        begin = "BEGIN IMMEDIATE" if immediate else "BEGIN"

        def begin_transaction(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        event.listen(engine, "begin", begin_transaction)
        return engine


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        message = "the database URL cannot be read"
        raise InvalidSetting(
            message, fix="write sqlite:///PATH or postgresql://HOST/NAME"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        message = f"databases of type {backend!r} are not supported"
        raise InvalidSetting(message, fix="use sqlite:///PATH or postgresql://HOST/NAME")
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    return parsed


def _configure_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    """WAL, durable commits, and transactions that we begin ourselves."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _configure_postgresql(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Let nobody keep rows locked while it stands still; committed, as a rollback takes it back."""
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    cursor.close()
    connection.commit()


def _translated(error: DBAPIError) -> VectorFlowError:
    """Sort the errors of both databases into ours, without the statement or its values."""
    text = str(error.orig)
    state = getattr(error.orig, "sqlstate", None) or ""
    if "disk is full" in text or state == "53100":
        return OutOfSpace("the disk of the ledger is full")
    if "readonly" in text or "unable to open" in text:
        message = f"the ledger cannot be written: {text}"
        return InvalidSetting(message, fix="check the rights of the data directory")
    if state.startswith(_RETRIED_SQLSTATES) or error.connection_invalidated:
        return Unavailable("the database ended the transaction")
    if isinstance(error, OperationalError):
        return Unavailable("the database does not answer", fix="check that it runs and its URL")
    return VectorFlowError(
        f"the database refused a statement ({type(error.orig).__name__} {state})"
    )
