"""No transaction of the ledger is open while something outside of it is waited for.

Whoever answers late would keep rows locked, or the one writer of SQLite. Each call waits here until
all transactions that were open when it began have ended, which one that waits for the call cannot.
"""

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

import vectorflow as vf
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.adapters.embedders.hash import HashEmbedder
from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore
from vectorflow.domain.jobs import JobState
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.settings import load

CALLS = [
    (HashEmbedder, "embed"),
    (LanceDbVectorStore, "marker"),
    (LanceDbVectorStore, "create"),
    (LanceDbVectorStore, "upsert"),
    (LanceDbVectorStore, "delete"),
    (LanceDbVectorStore, "search"),
    (FileBlobStore, "put"),
]

OLDER = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND pid != pg_backend_pid() AND xact_start < %s"""


class Outside:
    """Stands before whatever is called, with an eye on the ledger."""

    def __init__(self, url: str, patience: float = 20.0) -> None:
        self.url = url
        self.patience = patience
        self.called = Counter[str]()
        self.held: list[str] = []
        """Calls during which a transaction stayed open."""

    def watch(self, owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        original: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def watched(*given: object, **named: object) -> object:
            await self.wait_for_the_ledger(f"{owner.__name__}.{name}")
            return await original(*given, **named)

        monkeypatch.setattr(owner, name, watched)

    async def wait_for_the_ledger(self, call: str) -> None:
        self.called[call] += 1
        ended = self._sqlite_ended if self.url.startswith("sqlite") else self._postgres_ended
        if not await asyncio.to_thread(ended):
            self.held.append(call)

    def _sqlite_ended(self) -> bool:
        path = self.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=self.patience)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.rollback()
        return True

    def _postgres_ended(self) -> bool:
        with psycopg.connect(self.url, autocommit=True) as connection:
            began = connection.execute("SELECT clock_timestamp()").fetchone()
            for _ in range(int(self.patience / 0.02)):
                if connection.execute(OLDER, began).fetchone() == (0,):
                    return True
                threading.Event().wait(0.02)
        return False


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_database")
    database = Database(url)
    schema.upgrade(database)
    database.close()
    return url


def test_nothing_outside_is_called_while_a_transaction_is_open(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(url)
    for owner, name in CALLS:
        outside.watch(owner, name, monkeypatch)
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.md", "b.md"):
        (folder / name).write_text(f"# {name}\n\nThe lamp burns.\n\nThe bell rings.\n", "utf-8")
    given = {"data_dir": tmp_path / "data", "embedder": "hash:8", "database.url": url}

    with vf.open(load(given, environ={})) as flow:
        assert flow.embed(folder).status is JobState.COMPLETED
        (folder / "a.md").write_text("# a.md\n\nThe fog lifts.\n", "utf-8")
        (folder / "b.md").unlink()
        assert flow.embed(folder).status is JobState.COMPLETED
        assert flow.search("fog")

    assert outside.held == []
    assert outside.called.keys() == {f"{owner.__name__}.{name}" for owner, name in CALLS}


def test_a_transaction_that_waits_for_the_outside_would_be_seen(url: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)
    database = Database(url)
    schema.upgrade(database)
    outside = Outside(url, patience=0.1)

    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO duties (name, next_run_at) VALUES ('a', 1)"))
        asyncio.run(outside.wait_for_the_ledger("embed"))

    database.write_now(write)

    assert outside.held == ["embed"]
    database.close()
