"""The doorway to the database: what it retries, and what it says of errors."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from vectorflow.errors import InvalidSetting, Unavailable, VectorFlowError
from vectorflow.ledger import database as doorway
from vectorflow.ledger.database import TRIES, Database
from vectorflow.testing.ledgers import rows


def fail_with(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '{state}'; END $$"


@pytest.fixture
def postgres(postgres_ledger: str) -> Iterator[Database]:
    database = Database(postgres_ledger)
    yield database
    database.close()


@pytest.mark.parametrize("state", ["40P01", "40001", "23505", "57P01", "53300"])
def test_a_transaction_that_the_database_aborts_runs_again(postgres: Database, state: str) -> None:
    tries: list[int] = []

    def transaction(connection: Connection) -> str:
        tries.append(1)
        connection.execute(text("INSERT INTO duties (name, next_run_at) VALUES ('a', 1)"))
        if len(tries) < 3:
            connection.execute(text(fail_with(state)))
        return "done"

    assert postgres.write_now(transaction) == "done"
    assert len(tries) == 3
    assert rows(postgres, "SELECT count(*) FROM duties") == [(1,)]


def test_a_transaction_that_is_always_aborted_is_given_up(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorway.time, "sleep", lambda _: None)
    tries: list[int] = []

    def transaction(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text(fail_with("40P01")))

    with pytest.raises(Unavailable, match="ended the transaction"):
        postgres.write_now(transaction)
    assert len(tries) == TRIES


def test_an_error_of_ours_undoes_the_transaction(ledger: Database) -> None:
    def transaction(connection: Connection) -> None:
        connection.execute(text("INSERT INTO duties (name, next_run_at) VALUES ('a', 1)"))
        raise VectorFlowError("no")

    with pytest.raises(VectorFlowError, match="no"):
        ledger.write_now(transaction)
    assert rows(ledger, "SELECT * FROM duties") == []


def test_a_refused_statement_is_reported_without_its_values(ledger: Database) -> None:
    def transaction(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO duties (name, last_result) VALUES (:name, 'x')"),
            {"name": "a secret"},
        )

    with pytest.raises(VectorFlowError, match="refused a statement") as caught:
        ledger.write_now(transaction)
    assert "secret" not in str(caught.value)
    assert "secret" not in "".join(traceback.format_exception_only(caught.value))


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway.time, "sleep", lambda _: None)
    nowhere = Database("postgresql://someone:password@127.0.0.1:1/none")

    with pytest.raises(Unavailable, match="does not answer") as caught:
        nowhere.read_now(lambda connection: connection.execute(text("SELECT 1")))
    assert "password" not in str(caught.value)


def test_a_file_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'folder.db'}")

    with pytest.raises(InvalidSetting, match="cannot be written"):
        database.write_now(lambda connection: connection.execute(text("SELECT 1")))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "cannot be read; write sqlite:///PATH or postgresql://HOST/NAME"),
        ("mysql://host/name", "type 'mysql' are not supported"),
        ("oracle://host/name", "use sqlite:///PATH or postgresql://HOST/NAME"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_once(url: str, sentence: str) -> None:
    with pytest.raises(InvalidSetting, match=sentence):
        Database(url)


async def test_reads_go_on_while_somebody_writes(ledger: Database) -> None:
    def transaction(connection: Connection) -> int:
        connection.execute(text("INSERT INTO duties (name, next_run_at) VALUES ('a', 1)"))
        return len(rows(ledger, "SELECT * FROM duties"))

    assert await ledger.write(transaction) == 0
    assert len(rows(ledger, "SELECT * FROM duties")) == 1


def test_what_is_committed_is_on_the_disk(sqlite_ledger: str) -> None:
    database = Database(sqlite_ledger)
    settings = {name: rows(database, f"PRAGMA {name}") for name in ("synchronous", "journal_mode")}

    assert settings == {"synchronous": [(2,)], "journal_mode": [("wal",)]}
    database.close()
