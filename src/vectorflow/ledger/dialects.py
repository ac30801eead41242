"""What differs between databases: how they are reached, and how a transaction begins."""

import errno
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from vectorflow.errors import InvalidSetting, MissingExtra, OutOfSpace

READERS, WRITERS, URGENT = 4, 4, 2
"""Threads of a process that speak with a server, each over a connection of its own; the last are
for writes that may not stand in line behind others."""

BUSY_TIMEOUT = 30
"""Seconds a writer waits for the others: on SQLite for all, on MariaDB for one row."""

APPLICATION = "vectorflow"
"""Name of our sessions in PostgreSQL."""

IDLE_SECONDS = 15
"""A server ends a transaction in which nothing happens for so long: a process or machine that was
stopped in the middle of one would keep its rows locked, and nobody could take its leases over."""

BEGIN_POSTGRESQL = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"
"""One message. Nothing is set for the session, and nothing prepared in it: a pooler may give the
next transaction another one."""

PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Seconds, the last in milliseconds, in which PostgreSQL and the line to it have to show a sign of
life; what the URL says counts more."""

PATIENCE_WITH_MARIADB = {"connect_timeout": 10, "read_timeout": 300, "write_timeout": 60}
"""Seconds; the second is for the longest statement, but not for the server's first words."""

IN_TRANSACTION = 1
"""A flag in what MariaDB says of its state with each answer: SERVER_STATUS_IN_TRANS."""

EngineOf = Callable[[URL, bool], Engine]
"""Makes an engine that connects when it is first used; the second says whether it writes."""


def sqlite_engine(url: URL, writes: bool) -> Engine:
    """Embedded: transactions that write begin with the right to, one at a time.

    Raises:
        InvalidSetting: The file cannot be there.
    """
    if url.host:
        message = "the URL of a database in SQLite names a host"
        raise InvalidSetting(message, fix="write sqlite:///PATH, with three slashes")
    if url.database:
        made_folder(Path(url.database).parent)
    engine = create_engine(
        url,
        connect_args={"timeout": float(BUSY_TIMEOUT)},
        pool_size=8,
        hide_parameters=True,  # texts and credentials are no part of an error
    )
    event.listen(engine, "connect", _configure_sqlite)
    _begin_with(engine, "BEGIN IMMEDIATE" if writes else "BEGIN")
    return engine


def postgresql_engine(url: URL, _writes: bool) -> Engine:
    """Version 15 and newer, by psycopg.

    Raises:
        MissingExtra: It is not installed.
    """
    own = {"application_name": APPLICATION, "prepare_threshold": None, **PATIENCE}
    engine = _server_engine(url.set(drivername="postgresql+psycopg"), own, extra="postgres")
    event.listen(engine, "connect", _configure_postgresql)
    _begin_with(engine, BEGIN_POSTGRESQL)
    return engine


def mariadb_engine(url: URL, _writes: bool) -> Engine:
    """Version 10.6 and newer, by PyMySQL.

    Raises:
        MissingExtra: It is not installed.
    """
    registry.register("mariadb.vectorflow", "vectorflow.ledger.mariadb", "LedgerDialect")
    named = url.set(drivername="mariadb+vectorflow")
    engine = _server_engine(named, PATIENCE_WITH_MARIADB, extra="mysql", handed_back=None)
    event.listen(engine, "reset", _end_what_is_open)
    return engine


ENGINES: dict[str, EngineOf] = {
    "sqlite": sqlite_engine,
    "postgresql": postgresql_engine,
    "mariadb": mariadb_engine,
    "mysql": mariadb_engine,
}


def made_folder(path: Path) -> Path:
    """Make a folder where it is missing.

    Raises:
        InvalidSetting: It cannot be there.
        OutOfSpace: The disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise OutOfSpace(f"the disk of {path} is full") from error
        message = f"the folder {path} cannot be used: {error.strerror}"
        raise InvalidSetting(message, fix="check --data-dir, and the rights there") from error
    return path


def _server_engine(
    url: URL,
    own: Mapping[str, object],
    *,
    extra: str,
    handed_back: Literal["rollback"] | None = "rollback",
) -> Engine:
    """Reads and writes are alike; what the URL says counts more than what is our `own`."""
    given = {name: own[name] for name in own.keys() - url.query.keys()}
    try:
        return create_engine(
            url,
            connect_args=given,
            pool_pre_ping=True,
            pool_size=READERS + WRITERS + URGENT,
            max_overflow=0,
            hide_parameters=True,
            pool_reset_on_return=handed_back,
        )
    except ModuleNotFoundError as error:
        raise MissingExtra("database", url.get_backend_name(), extra) from error


def _begin_with(engine: Engine, statement: str) -> None:
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin_transaction)


def _end_what_is_open(connection: DBAPIConnection, *_: object) -> None:
    """Roll back where a transaction is open, as PyMySQL sends that though all has ended."""
    if connection.server_status & IN_TRANSACTION:
        connection.rollback()


def _configure_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    """WAL, durable commits, and transactions that we begin ourselves."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _configure_postgresql(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Transactions that we begin ourselves: all else that lasts would be lost behind a pooler."""
    connection.autocommit = True
