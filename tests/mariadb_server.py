"""A MariaDB for tests: a private one that starts in half a second and forgets all."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
from pymysql.cursors import Cursor

from tests.brokers import wait_until

DAEMON = shutil.which("mariadbd") or "/usr/sbin/mariadbd"

OPTIONS = (
    "--no-defaults",
    "--skip-grant-tables",  # whoever reaches the socket may do all, so nothing has to be installed
    "--skip-networking",
    "--skip-log-bin",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-fast-shutdown=2",
    # No test cuts the power.
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-method=nosync",
    "--debug-no-sync",
    "--sync-frm=0",
    "--innodb-stats-persistent=0",
)


@contextmanager
def mariadb_server() -> Iterator[str]:
    """Start a MariaDB; gives its URL, without a database."""
    # Not pytest's own folder: a socket's path may have about 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="vectorflow-mariadb-"))
    (folder / "data").mkdir()
    place, said = folder / "sock", folder / "said.log"
    places = [f"--datadir={folder / 'data'}", f"--socket={place}"]
    user = ["--user=root"] if os.geteuid() == 0 else []
    with said.open("wb") as log:
        process = subprocess.Popen([DAEMON, *OPTIONS, *places, *user], stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _answers(place), "MariaDB to answer")
        assert process.poll() is None, said.read_text()
        yield f"mariadb://root@localhost/?unix_socket={place}"
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as line:
        return line.connect_ex(str(place)) == 0 and line.recv(1) != b""


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """Make an empty database; gives its URL."""
    name = f"vectorflow_test_{uuid.uuid4().hex}"
    run(url, f"CREATE DATABASE {name}")
    yield urlsplit(url)._replace(path=f"/{name}").geturl()
    run(url, f"DROP DATABASE {name}")


def empty(url: str, tables: Iterable[str]) -> None:
    """Take the rows out of tables that had any, after whoever is still connected is gone."""
    with _connected(url) as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist"
            " WHERE db = database() AND id != connection_id()"
        )
        for (number,) in cursor.fetchall():
            with suppress(pymysql.OperationalError):  # it is gone
                cursor.execute(f"KILL {number}")
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = database() AND auto_increment > 1"
        )
        used = {str(name) for (name,) in cursor.fetchall()}
        for table in tables:
            if table in used or cursor.execute(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608
                cursor.execute(f"TRUNCATE {table}")


def run(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement by itself; gives its rows."""
    with _connected(url) as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def _connected(url: str) -> Iterator[Cursor]:
    place = urlsplit(url)
    given: dict[str, Any] = {"host": place.hostname, "user": place.username}
    if place.query:
        given["unix_socket"] = place.query.partition("=")[2]
    if place.password:
        given["password"] = place.password
    if place.port:
        given["port"] = place.port
    connection = pymysql.connect(**given, database=place.path[1:] or None, autocommit=True)
    with connection, connection.cursor() as cursor:
        yield cursor
