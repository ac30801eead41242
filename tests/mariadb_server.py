"""A MariaDB for tests: a private one that starts in half a second and forgets all."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import pymysql
from pymysql.cursors import Cursor

from tests.brokers import wait_until

DAEMON = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
INSTALLER = "mariadb-install-db"

OPTIONS = (
    "--no-defaults",
    "--skip-networking",
    "--skip-log-bin",
    "--innodb-fast-shutdown=2",
    "--innodb-stats-persistent=0",  # the tables for that are installed, too
)

NO_ACCOUNTS = "--skip-grant-tables"
"""Whoever reaches the socket may do all, so nothing has to be installed."""

# No test cuts the power.
_SMALL = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-method=nosync",
    "--debug-no-sync",
    "--sync-frm=0",
)

FORGETFUL = (*_SMALL, "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0")
"""For a server that nobody kills."""

CRASHING = (*_SMALL, "--innodb-flush-log-at-trx-commit=2", "--innodb-print-all-deadlocks=ON")
"""What was committed stays: only the server crashes, not the machine."""

SYNCED = ("--innodb-flush-log-at-trx-commit=1",)
"""As servers are: what was committed stays."""


class MariaDb:
    """A server on a Unix socket while it is entered, with its data in a new folder.

    With `accounts` it asks for passwords; `root` has none.
    """

    def __init__(
        self,
        options: Sequence[str] = CRASHING,
        data: Path | None = None,
        *,
        accounts: bool = False,
    ) -> None:
        # Not pytest's own folder: a socket's path may have about 100 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="vectorflow-mariadb-"))
        self._data = (data or self.folder / "data").absolute()
        self._options = options if accounts else [*options, NO_ACCOUNTS]
        self._accounts = accounts
        self._socket, self.log = self.folder / "sock", self.folder / "said.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._data.mkdir()
        try:
            self._make_data()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        """Its address, without a database."""
        return f"mariadb://root@localhost/?unix_socket={self._socket}"

    def make_database(self, name: str) -> str:
        """Make an empty database and give its address."""
        run(self.url, f"CREATE DATABASE {name}")
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def restart(self) -> None:
        """Let it crash and start again; it recovers by itself."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Let it crash."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def start(self) -> None:
        """Start it, to recover from its crash by itself."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        self._process = process
        wait_until(lambda: process.poll() is not None or self._answers(), "MariaDB to answer")
        assert process.poll() is None, self.log.read_text()

    def deadlocks(self) -> int:
        """Count the deadlocks that it has told of."""
        return self.log.read_text("utf-8", "replace").count("deadlock detected")

    def _make_data(self) -> None:
        """Make files from which a server recovers that is killed before it has written any page."""
        if self._accounts:
            how = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
            command = [INSTALLER, *how, f"--datadir={self._data}", *_user()]
        else:
            command = [*self._command(), "--bootstrap", "--innodb-fast-shutdown=1"]
        said = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stdout + said.stderr

    def _command(self) -> list[str]:
        places = [f"--datadir={self._data}", f"--socket={self._socket}"]
        return [DAEMON, *OPTIONS, *self._options, *places, *_user()]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as line:
            return line.connect_ex(str(self._socket)) == 0 and line.recv(1) != b""


def _user() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


@contextmanager
def mariadb_server() -> Iterator[str]:
    """Start a MariaDB; gives its URL, without a database."""
    with MariaDb(FORGETFUL) as server:
        yield server.url


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


def as_account(url: str, name: str, password: str) -> str:
    """Give the same address for another account."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    return urlsplit(url)._replace(netloc=f"{name}:{quote(password)}@{host}").geturl()


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
