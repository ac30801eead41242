"""A ledger that cannot be used is refused at the start: one sentence, what to do, no password."""

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests import mariadb_server
from tests.acceptance.cli_process import Ran, vectorflow, write_corpus
from tests.acceptance.disks import fill, small_disk
from tests.mariadb_server import FORGETFUL, MariaDb, as_account, run
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PASSWORD = "canary-of-the-database"  # noqa: S105 - opens nothing

API, WORKER, UP = ("api", "--port", "0"), ("worker",), ("up", "--port", "0")
EMBED, CHECK, UPGRADE = ("embed", "docs"), ("db", "check"), ("db", "upgrade")
Commands = Sequence[tuple[str, ...]]


def refused(ran: Ran, *says: str) -> None:
    """Demand one sentence that says so and what to do, and nothing else that looks like a fault."""
    errors = [line for line in ran.err.splitlines() if line.startswith("error")]
    fixes = [line for line in ran.err.splitlines() if line.startswith("fix")]
    assert (ran.code, len(errors), len(fixes)) == (1, 1, 1), ran.err
    said = " ".join(ran.err.split())
    assert all(one in said for one in says), ran.err
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err
    assert PASSWORD not in ran.err + ran.out


def refused_by_all(folder: Path, commands: Commands, options: tuple[str, ...], *says: str) -> None:
    write_corpus(folder / "docs", 1)
    for command in commands:
        refused(vectorflow(folder, *command, *options, seconds=60), *says)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The file of a ledger in the data directory `d`."""
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "ledger.db"
    database = Database(f"sqlite:///{path}")
    schema.upgrade(database)
    database.close()
    return path


def set_revision(path: Path, revision: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.execute("UPDATE identity SET oldest = ?", (revision,))
    connection.close()


def test_a_newer_ledger(tmp_path: Path, ledger: Path) -> None:
    set_revision(ledger, "9999")
    before = ledger.read_bytes()

    says = "schema 9999, newer than this release", "install the newer VectorFlow"
    everybody = (API, WORKER, UP, EMBED, CHECK, UPGRADE)
    refused_by_all(tmp_path, everybody, ("--data-dir", "d"), *says)

    assert ledger.read_bytes() == before
    doctor = vectorflow(tmp_path, "doctor", "--data-dir", "d")
    assert doctor.code == 1
    assert "install the newer VectorFlow" in doctor.out


def test_a_file_that_is_no_ledger(tmp_path: Path, ledger: Path) -> None:
    ledger.write_bytes(b"This is a text. " * 512)

    says = "the file of the ledger is no SQLite database", "restore it from a backup"
    refused_by_all(tmp_path, (WORKER, CHECK), ("--data-dir", "d"), *says)


def test_a_database_of_something_else(tmp_path: Path, ledger: Path) -> None:
    ledger.unlink()
    connection = sqlite3.connect(ledger)
    connection.execute("CREATE TABLE jobs (title TEXT)")
    connection.close()

    says = "no ledger: it has a table 'jobs'", "a database of its own"
    refused_by_all(tmp_path, (EMBED, UPGRADE), ("--data-dir", "d"), *says)


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am a file.")

    says = "file/d cannot be used: Not a directory", "check --data-dir"
    refused_by_all(tmp_path, (API, EMBED, UPGRADE), ("--data-dir", "file/d"), *says)


def test_a_data_directory_of_somebody_else(tmp_path: Path, ledger: Path) -> None:
    """Started where anybody may look, as the current directory may hold settings."""
    tmp_path.chmod(0o700 if os.geteuid() == 0 else 0)
    stranger = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []

    checked, doctor = (
        vectorflow(Path("/"), *command, "--data-dir", str(ledger.parent), before=stranger)
        for command in (CHECK, ("doctor",))
    )

    tmp_path.chmod(0o700)
    refused(checked, "d cannot be used: Permission denied", "check --data-dir, and the rights")
    assert doctor.code == 1
    assert "Permission denied" in doctor.out
    assert "unexpected" not in doctor.err


@contextmanager
def read_only(disk: Path) -> Generator[None]:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)  # noqa: S607

    remount("ro")
    try:
        yield
    finally:
        remount("rw")


def test_a_disk_that_is_read_only(tmp_path: Path, ledger: Path) -> None:
    with small_disk(tmp_path) as disk:
        shutil.copy(ledger, disk)
        with read_only(disk):
            old, new = ("--data-dir", str(disk)), ("--data-dir", str(disk / "new"))
            refused_by_all(tmp_path, (UP, CHECK), old, "the ledger cannot be written", "rights")
            refused_by_all(tmp_path, (EMBED,), new, "Read-only file system")


def test_a_disk_that_is_full(tmp_path: Path, ledger: Path) -> None:
    with small_disk(tmp_path) as disk:
        shutil.copy(ledger, disk)
        fill(disk, free=0)
        refused_by_all(
            tmp_path, (API, WORKER), ("--data-dir", str(disk)), "is full", "free some space"
        )


NOWHERE = {
    "sqlite://ledger.db": ("names a host", "three slashes"),
    f"postgresql://me:{PASSWORD}@127.0.0.1:port/x": ("cannot be read", "postgresql://HOST/NAME"),
    f"oracle://me:{PASSWORD}@127.0.0.1/x": ("not supported", "postgresql://HOST/NAME"),
    f"postgresql://me:{PASSWORD}@127.0.0.1:1/x": ("does not answer", "check that it runs"),
    f"postgresql://me:{PASSWORD}@no-host.invalid/x": ("does not answer", "check that it runs"),
    f"postgresql://me:{PASSWORD}@127.0.0.1:1/x?nonsense=1": ("a parameter", "leave it out"),
    f"mariadb://me:{PASSWORD}@127.0.0.1:1/x": ("does not answer", "check that it runs"),
    f"mariadb://me:{PASSWORD}@no-host.invalid/x": ("does not answer", "check that it runs"),
    f"mariadb://me:{PASSWORD}@127.0.0.1:1/x?nonsense=1": ("a parameter", "leave it out"),
    f"mariadb://me:{PASSWORD}@127.0.0.1:1/x?connect_timeout=soon": ("a parameter", "PyMySQL"),
    f"mariadb://me:{PASSWORD}@127.0.0.1:1/x?ssl_ca=/none": ("a parameter", "leave it out"),
}


@pytest.mark.parametrize("url", NOWHERE)
def test_an_address_that_leads_nowhere(tmp_path: Path, url: str) -> None:
    refused_by_all(tmp_path, (WORKER,), ("--database", url), *NOWHERE[url])


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_that_never_says_a_word(tmp_path: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{kind}://me:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/x"
        refused_by_all(tmp_path, (WORKER,), ("--database", url), "not answer in time", "runs")


Execute = Callable[[str], None]


@pytest.fixture(params=["postgres", "mariadb"])
def server_database(request: pytest.FixtureRequest) -> str:
    """Address of an empty database in a server."""
    url: str = request.getfixturevalue(f"{request.param}_database")
    return url


@pytest.fixture
def execute(request: pytest.FixtureRequest) -> Execute:
    either = "server_database" in request.fixturenames
    url: str = request.getfixturevalue("server_database" if either else "postgres_database")

    def run(statement: str) -> None:
        if url.startswith("mariadb"):
            mariadb_server.run(url, statement)
            return
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    return run


def made(url: str) -> None:
    database = Database(url)
    schema.upgrade(database)
    database.close()


def test_an_empty_and_an_older_database_say_how_to_upgrade(
    tmp_path: Path, server_database: str, execute: Execute
) -> None:
    options = ("--database", server_database)
    refused_by_all(tmp_path, (API,), options, "no ledger yet", "run `vectorflow db upgrade`")

    made(server_database)
    execute("UPDATE alembic_version SET version_num = '0001'")

    refused_by_all(
        tmp_path, (WORKER, CHECK), options, "has schema 0001", "run `vectorflow db upgrade`"
    )
    execute("UPDATE alembic_version SET version_num = '9999'")
    execute("UPDATE identity SET oldest = '9999'")
    refused_by_all(
        tmp_path, (WORKER, UPGRADE), options, "newer than this release", "the newer VectorFlow"
    )


def test_a_server_with_tables_of_something_else(
    tmp_path: Path, server_database: str, execute: Execute
) -> None:
    execute("CREATE TABLE jobs (title TEXT)")

    says = "no ledger: it has a table 'jobs'", "a database of its own"
    refused_by_all(tmp_path, (UPGRADE,), ("--database", server_database), *says)


def test_a_database_that_is_read_only(
    tmp_path: Path, postgres_database: str, execute: Execute
) -> None:
    made(postgres_database)
    name = urlsplit(postgres_database).path[1:]
    execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')

    says = "cannot be written: the database is read-only", "name the server that takes writes"
    refused_by_all(tmp_path, (API, WORKER, EMBED), ("--database", postgres_database), *says)


def test_a_database_that_is_not_there_or_refuses_the_account(
    tmp_path: Path, postgres_database: str, execute: Execute
) -> None:
    made(postgres_database)
    place = urlsplit(postgres_database)
    account = f"vectorflow_poor_{os.getpid()}"
    poor = place._replace(netloc=f"{account}:{PASSWORD}@{place.netloc.rpartition('@')[2]}").geturl()
    nowhere = "--database", place._replace(path="/nowhere").geturl()

    refused_by_all(tmp_path, (WORKER,), nowhere, "no database of this name", "create it")
    refused_by_all(tmp_path, (WORKER,), ("--database", poor), "refuses this account", "password")
    execute(f"CREATE ROLE {account} LOGIN PASSWORD '{PASSWORD}'")
    try:
        refused_by_all(
            tmp_path, (WORKER, UPGRADE), ("--database", poor), "lacks rights", "db upgrade"
        )
    finally:
        execute(f"DROP ROLE {account}")


@pytest.fixture(scope="module")
def mariadb(mariadb_to_break: None) -> Iterator[MariaDb]:  # noqa: ARG001 - it is there
    """A MariaDB that asks for accounts."""
    with MariaDb(FORGETFUL, accounts=True) as server:
        yield server


def account(
    server: MariaDb, name: str, rights: str, database: str, password: str = PASSWORD
) -> None:
    """Make an account with such rights."""
    run(server.url, f"CREATE USER {name}@localhost IDENTIFIED BY '{password}'")
    run(server.url, f"GRANT {rights} ON {database}.* TO {name}@localhost")


def test_an_account_that_mariadb_refuses(tmp_path: Path, mariadb: MariaDb) -> None:
    url = mariadb.make_database("guarded")
    made(url)
    mariadb.make_database("empty")
    account(mariadb, "reader", "SELECT", "guarded")
    account(mariadb, "stranger", "SELECT", "empty")
    nowhere = urlsplit(mariadb.url)._replace(path="/nowhere").geturl()
    poor = urlsplit(as_account(mariadb.url, "stranger", PASSWORD))._replace(path="/empty").geturl()

    for bad, commands, says in (
        (nowhere, (WORKER,), ("no database of this name", "create it")),
        (as_account(url, "nobody", PASSWORD), (WORKER,), ("refuses this account", "password")),
        (as_account(url, "reader", f"{PASSWORD}1"), (WORKER,), ("refuses this account",)),
        (as_account(url, "stranger", PASSWORD), (WORKER, UPGRADE), ("refuses this account",)),
        (as_account(url, "reader", PASSWORD), (WORKER,), ("lacks rights", "db upgrade")),
        (poor, (UPGRADE,), ("lacks rights", "db upgrade")),
    ):
        refused_by_all(tmp_path, commands, ("--database", bad), *says)


def test_a_password_may_have_any_letters(tmp_path: Path, mariadb: MariaDb) -> None:
    password = "p\u00e4ss w\u00f6rd@\u20ac:/%"  # noqa: S105 - of this test
    url = as_account(mariadb.make_database("secret"), "careful", password)
    account(mariadb, "careful", "ALL", "secret", password)

    ran = vectorflow(tmp_path, "db", "upgrade", "--database", url)

    assert ran.code == 0, ran.err


def test_a_mariadb_that_is_read_only(tmp_path: Path, mariadb: MariaDb) -> None:
    url = mariadb.make_database("held")
    account(mariadb, "owner", "ALL", "held")
    owned = as_account(url, "owner", PASSWORD)
    made(owned)
    run(mariadb.url, "SET GLOBAL read_only = ON")
    try:
        says = "the database is read-only", "name the server that takes writes"
        refused_by_all(tmp_path, (API, WORKER, EMBED), ("--database", owned), *says)
    finally:
        run(mariadb.url, "SET GLOBAL read_only = OFF")


def test_a_mariadb_whose_disk_is_full(tmp_path: Path, mariadb_to_break: None) -> None:  # noqa: ARG001
    with small_disk(tmp_path, 128 << 20) as disk, MariaDb(data=disk / "data") as server:
        url = server.make_database("full")
        filler = fill(disk, free=0)
        refused_by_all(tmp_path, (UPGRADE,), ("--database", url), "is full", "free some space")
        filler.unlink()
        assert vectorflow(tmp_path, "db", "upgrade", "--database", url).code == 0
