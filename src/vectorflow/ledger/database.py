"""One async doorway to the database: SQLite embedded, PostgreSQL or MariaDB in production."""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from vectorflow.errors import InvalidSetting, Unavailable
from vectorflow.ledger import ready, shares
from vectorflow.ledger.dialects import ENGINES, READERS, URGENT, WRITERS
from vectorflow.ledger.faults import fault_of

T = TypeVar("T")

TRIES = 6
"""Of a transaction that the database aborts (deadlock, serialization, restart)."""

_KNOWN = "sqlite:///PATH, postgresql://HOST/NAME or mariadb://HOST/NAME"


class Overtaken(Exception):
    """A transaction has to look anew: what it has not locked changed after it looked."""


class Database:
    """Runs synchronous transactions in threads: `write` with one writer per process on SQLite."""

    def __init__(self, url: str, on_ready: ready.OnReady = ready.nobody_waits) -> None:
        self.url = _checked(url)
        engine_of = ENGINES[self.url.get_backend_name()]
        self._on_ready = on_ready
        self.embedded = self.url.get_backend_name() == "sqlite"
        self._writer = engine_of(self.url, True)
        self._reader = engine_of(self.url, False) if self.embedded else self._writer
        writers = 1 if self.embedded else WRITERS
        self._write_threads = ThreadPoolExecutor(writers, thread_name_prefix="ledger-write")
        self._urgent_threads = (
            self._write_threads
            if self.embedded  # a second writer would only wait for the first, and not in line
            else ThreadPoolExecutor(URGENT, thread_name_prefix="ledger-urgent")
        )
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")

    async def write(self, transaction: Callable[[Connection], T], *, urgent: bool = False) -> T:
        """Run one writing transaction; it may run again when the database aborts it.

        An urgent one does not stand in line behind others of this process.

        Raises:
            Unavailable: The database does not answer.
            OutOfSpace: The disk is full.
        """
        loop = asyncio.get_running_loop()
        threads = self._urgent_threads if urgent else self._write_threads
        return await loop.run_in_executor(threads, self.write_now, transaction)

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
        self._urgent_threads.shutdown()
        self._read_threads.shutdown()
        self._writer.dispose()
        self._reader.dispose()

    def _run(self, engine: Engine, transaction: Callable[[Connection], T]) -> T:
        for tried in range(1, TRIES + 1):
            try:
                with engine.begin() as connection:
                    ready.noted(connection)  # of a transaction that was undone
                    shares.forget(connection)
                    result = transaction(connection)
                    shares.settle(connection)
                    made = ready.noted(connection)
            except Overtaken as error:
                if tried == TRIES:
                    raise Unavailable("others change the same rows all the time") from error
            except DBAPIError as error:
                fault = fault_of(error)
                if not fault.passes or tried == TRIES:
                    raise fault.error from error
            else:
                if made:
                    self._on_ready(made)
                return result
            time.sleep(random.uniform(0, 0.05 * 2**tried))  # noqa: S311 - jitter, not a secret
        raise AssertionError  # the loop returns or raises


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        message = "the database URL cannot be read"
        # The cause may quote a password.
        raise InvalidSetting(message, fix=f"write {_KNOWN}") from None
    backend = parsed.get_backend_name()
    if backend not in ENGINES:
        message = f"databases of type {backend!r} are not supported"
        raise InvalidSetting(message, fix=f"use {_KNOWN}")
    return parsed
