"""The doorway to the database: what it retries, and what it says of errors."""

import socket
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest
from sqlalchemy import Connection, insert, select, text, update

from vectorflow.errors import (
    InvalidInput,
    InvalidSetting,
    MissingExtra,
    OutOfSpace,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ledger import clock, dialects, schema
from vectorflow.ledger import database as doorway
from vectorflow.ledger.database import TRIES, Database
from vectorflow.ledger.dialects import IDLE_SECONDS
from vectorflow.ledger.mariadb import demand_mariadb
from vectorflow.ledger.tables import documents, duties, pipelines, secrets
from vectorflow.testing.ledgers import rows

PASSWORD = "canary-of-the-database"  # noqa: S105 - opens nothing


def fail_with(code: str | int) -> str:
    if isinstance(code, int):
        return f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'made up'"
    return f"DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '{code}'; END $$"


@pytest.fixture
def postgres(postgres_ledger: str) -> Iterator[Database]:
    database = Database(postgres_ledger)
    yield database
    database.close()


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    database = Database(request.getfixturevalue(f"{request.param}_ledger"))
    yield database
    database.close()


@pytest.mark.parametrize(
    ("server", "code"),
    [
        *[("postgres", state) for state in ("40P01", "40001", "23505", "57P01", "53300")],
        *[("mariadb", number) for number in (1213, 1205, 1062, 1020, 1927, 1040)],
    ],
    indirect=["server"],
)
def test_a_transaction_that_the_database_aborts_runs_again(
    server: Database, code: str | int
) -> None:
    tries: list[int] = []

    def transaction(connection: Connection) -> str:
        tries.append(1)
        connection.execute(text("INSERT INTO duties (name, next_run_at) VALUES ('a', 1)"))
        if len(tries) < 3:
            connection.execute(text(fail_with(code)))
        return "done"

    assert server.write_now(transaction) == "done"
    assert len(tries) == 3
    assert rows(server, "SELECT count(*) FROM duties") == [(1,)]


def test_a_transaction_that_is_always_aborted_is_given_up(
    server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorway.time, "sleep", lambda _: None)
    tries: list[int] = []

    def transaction(connection: Connection) -> None:
        tries.append(1)
        postgres = connection.dialect.name == "postgresql"
        connection.execute(text(fail_with("40P01" if postgres else 1213)))

    with pytest.raises(Unavailable, match="ended the transaction"):
        server.write_now(transaction)
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


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "mysql"])
def test_a_server_that_does_not_answer_is_unavailable(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorway.time, "sleep", lambda _: None)
    nowhere = Database(f"{kind}://someone:password@127.0.0.1:1/none")

    with pytest.raises(Unavailable, match="does not answer") as caught:
        nowhere.read_now(lambda connection: connection.execute(text("SELECT 1")))
    assert "password" not in str(caught.value)


def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'folder.db'}")

    with pytest.raises(Unavailable, match="cannot be written"):
        database.write_now(lambda connection: connection.execute(text("SELECT 1")))


def test_a_file_that_is_something_else_is_told_from_one_that_is_damaged(
    sqlite_ledger: str, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_bytes(b"This is a text. " * 512)
    other, damaged = Database(f"sqlite:///{tmp_path / 'text.db'}"), Database(sqlite_ledger)
    path = Path(str(damaged.url.database))
    path.write_bytes(path.read_bytes()[:4096] + b"\x05" * 8192)

    with pytest.raises(Unavailable, match="no SQLite database"):
        schema.upgrade(other)
    with pytest.raises(Unavailable, match="is damaged"):
        schema.upgrade(damaged)


def test_an_account_without_rights_and_a_name_that_is_not_there_are_told(
    postgres_ledger: str,
) -> None:
    place = urlsplit(postgres_ledger)
    wrong = {
        place._replace(path="/nowhere").geturl(): "no database of this name",
        with_account(postgres_ledger, "vectorflow_nobody"): "refuses this account",
        with_account(postgres_ledger, "vectorflow_poor"): "lacks rights",
    }
    with psycopg.connect(postgres_ledger, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS vectorflow_poor")
        connection.execute(f"CREATE ROLE vectorflow_poor LOGIN PASSWORD '{PASSWORD}'")
    try:
        for url, sentence in wrong.items():
            database = Database(url)
            with pytest.raises(Unavailable, match=sentence) as caught:
                schema.check(database)
            assert PASSWORD not in str(caught.value)
            database.close()
    finally:
        with psycopg.connect(postgres_ledger, autocommit=True) as connection:
            connection.execute("DROP ROLE vectorflow_poor")


def with_account(url: str, user: str) -> str:
    place = urlsplit(url)
    host = place.netloc.rpartition("@")[2]
    return place._replace(netloc=f"{user}:{PASSWORD}@{host}").geturl()


def test_a_database_that_is_read_only_is_told_by_the_check_for_servers(
    postgres: Database,
) -> None:
    def read_only(connection: Connection) -> None:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        schema.demand_ready(connection)

    with pytest.raises(Unavailable, match="the database is read-only"):
        postgres.write_now(read_only)


def test_a_server_that_never_says_a_word_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = Database(f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/x?connect_timeout=2")

        with pytest.raises(Unavailable, match="not answer in time"):
            schema.check(database)


def test_the_line_to_postgresql_is_given_up_when_the_other_end_is_dead(postgres: Database) -> None:
    def given(connection: Connection) -> dict[str, str]:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        return driver.info.get_parameters()

    found = postgres.read_now(given)

    assert {name: int(found[name]) for name in dialects.PATIENCE} == dialects.PATIENCE


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "cannot be read; write sqlite:///PATH, postgresql://HOST/NAME or mariadb://"),
        ("mssql://host/name", "type 'mssql' are not supported"),
        ("oracle://host/name", "use sqlite:///PATH, postgresql://HOST/NAME or mariadb://HOST/NAME"),
        ("sqlite://ledger.db", "write sqlite:///PATH, with three slashes"),
        (f"postgresql://me:{PASSWORD}@host:port/name", "cannot be read"),
        ("sqlite:////proc/none/ledger.db", "folder /proc/none cannot be used"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_once(url: str, sentence: str) -> None:
    with pytest.raises(InvalidSetting, match=sentence) as caught:
        Database(url)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("query", ["nonsense=1", "sslmode=sometimes", "connect_timeout=soon"])
def test_a_parameter_that_postgresql_does_not_take_is_a_wrong_setting(query: str) -> None:
    database = Database(f"postgresql://me:{PASSWORD}@127.0.0.1:1/x?{query}")

    with pytest.raises(InvalidSetting, match="parameter that PostgreSQL does not take"):
        schema.check(database)


@pytest.mark.parametrize(
    "query", ["nonsense=1", "connect_timeout=soon", "read_timeout=-1", "charset=x", "ssl_ca=/none"]
)
def test_a_parameter_that_mariadb_does_not_take_is_a_wrong_setting(query: str) -> None:
    with pytest.raises(InvalidSetting, match="parameter that MariaDB does not take") as caught:
        schema.check(Database(f"mariadb://me:{PASSWORD}@127.0.0.1:1/x?{query}"))

    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


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


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (1021, OutOfSpace, "disk of the ledger is full"),
        (1114, OutOfSpace, "disk of the ledger is full"),
        (1290, Unavailable, "the database is read-only"),
        (1142, Unavailable, "the account lacks rights"),
        (1045, Unavailable, "refuses this account"),
        (1049, Unavailable, "no database of this name"),
        (1406, InvalidInput, "a name is too long for the ledger in MariaDB; shorten"),
        (1364, VectorFlowError, "refused a statement .OperationalError 1364"),
        (2002, Unavailable, "does not answer"),
    ],
)
def test_an_error_of_mariadb_says_what_to_do(
    mariadb_ledger: str, code: int, error: type[VectorFlowError], sentence: str
) -> None:
    database = Database(mariadb_ledger)

    with pytest.raises(error, match=sentence) as caught:
        database.write_now(lambda connection: connection.execute(text(fail_with(code))))

    assert type(caught.value) is error
    database.close()


def test_names_are_told_apart_to_the_last_space(ledger: Database) -> None:
    names = ["a", "A", "a ", "\u00e4", "a\u0308", "\U0001f600"]
    home = {"tenant": "t", "index_id": 1, "scope": "", "last_version": 0}
    made = [home | {"external_id": name} for name in names]
    ledger.write_now(lambda connection: connection.execute(insert(documents), made))
    secret = {"tenant": "t", "sealed": "", "created_at": 0.0}
    kept = [secret | {"name": name} for name in names]
    ledger.write_now(lambda connection: connection.execute(insert(secrets), kept))

    for table, column in ((documents, documents.c.external_id), (secrets, secrets.c.name)):
        statement = select(column).where(column.in_(names)).order_by(table.c.id)
        found = ledger.read_now(lambda connection, query=statement: connection.execute(query).all())
        assert [name for (name,) in found] == names


def test_all_of_an_update_sees_the_row_as_it_was(ledger: Database) -> None:
    def transaction(connection: Connection) -> tuple[object, ...]:
        connection.execute(insert(duties).values(name="a", next_run_at=1.0, last_run_at=2.0))
        swap = {"next_run_at": duties.c.last_run_at, "last_run_at": duties.c.next_run_at}
        connection.execute(update(duties).values(swap))
        return tuple(connection.execute(select(duties.c.next_run_at, duties.c.last_run_at)).one())

    assert ledger.write_now(transaction) == (2.0, 1.0)


def test_json_may_be_deep(ledger: Database) -> None:
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"a": deep}

    def transaction(connection: Connection) -> object:
        connection.execute(insert(pipelines).values(tenant="t", digest="d", spec=deep))
        return connection.execute(select(pipelines.c.spec)).scalar_one()

    assert ledger.write_now(transaction) == deep


def test_time_goes_on_inside_of_a_transaction(ledger: Database) -> None:
    def transaction(connection: Connection) -> list[float]:
        return [connection.execute(select(clock.now())).scalar_one() for _ in range(100)]

    times = ledger.write_now(transaction)

    assert times == sorted(times)
    assert times[0] < times[-1] < times[0] + 60
    assert abs(times[0] - time.time()) < 60


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("8.4.3", "MySQL 8.4.3, which cannot return the rows that it inserts; use MariaDB 10.6"),
        ("10.5.28-MariaDB-log", "MariaDB 10.5, which cannot skip locked rows; use MariaDB 10.6"),
        ("5.5.5-10.4.34-MariaDB", "MariaDB 10.4, which cannot skip locked rows"),
    ],
)
def test_a_server_that_cannot_hold_a_ledger_is_refused(
    mariadb_ledger: str, monkeypatch: pytest.MonkeyPatch, version: str, sentence: str
) -> None:
    monkeypatch.setattr(pymysql.Connection, "get_server_info", lambda _: version)
    database = Database(mariadb_ledger)

    with pytest.raises(InvalidSetting, match=sentence):
        schema.upgrade(database)
    database.close()


@pytest.mark.parametrize("version", ["10.6.1-MariaDB", "5.5.5-10.11.8-MariaDB", "12.1.2-MariaDB"])
def test_newer_servers_are_taken(version: str) -> None:
    demand_mariadb(version)


def test_a_session_of_mariadb_lets_nobody_stand_still(mariadb_ledger: str) -> None:
    database = Database(mariadb_ledger)
    names = "idle_transaction_timeout", "idle_write_transaction_timeout", "tx_isolation"

    found = rows(database, f"SELECT {', '.join(f'@@{name}' for name in names)}")

    assert found == [(IDLE_SECONDS, IDLE_SECONDS, "READ-COMMITTED")]
    database.close()


def test_mariadb_is_told_to_roll_back_only_what_is_open(mariadb_ledger: str) -> None:
    """Or the pool says so after each commit, once more and in vain where the server is gone."""
    database = Database(mariadb_ledger)

    def told() -> int:
        return int(rows(database, "SHOW SESSION STATUS LIKE 'Com_rollback'")[0][1])

    before = told()
    for number in range(3):
        new = insert(duties).values(name=f"duty {number}", next_run_at=0.0)
        database.write_now(lambda connection, new=new: connection.execute(new))
    after_commits = told()
    left = database.engine.raw_connection()
    left.cursor().execute("INSERT INTO duties (name, next_run_at) VALUES ('left open', 0)")
    left.close()

    assert (after_commits, told()) == (before, before + 1)
    assert len(rows(database, "SELECT name FROM duties")) == 3
    database.close()


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("mariadb://host/name", "pymysql", "mysql"),
        ("postgresql://host/name", "psycopg", "postgres"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtra, match=rf"pip install 'vectorflow-engine\[{extra}\]'"):
        Database(url)
