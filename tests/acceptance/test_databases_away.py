"""The database of running servers goes away, and comes back: 503 meanwhile, and no restart."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.acceptance import invariants
from tests.acceptance.api_server import (
    FORM,
    Server,
    running_server,
    running_worker,
    wait_for_end,
    wait_until,
)
from tests.acceptance.disks import fill, small_disk
from tests.clocks import set_clock
from tests.mariadb_server import MariaDb, as_account, run
from tests.storm.postgres import Postgres
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.settings import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(slots=True, kw_only=True)
class Place:
    """An API and a worker, and what they have accepted."""

    server: Server
    variables: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict[str, str])

    def send(self, name: str) -> httpx.Response:
        files = {"SourceData": (name, self.text(name))}
        with self.server.client() as client:
            return client.post("/embed", data=FORM | {"DocumentID": name}, files=files)

    def text(self, name: str) -> str:
        return f"# {name}\n\nThe answer to the question of {name} is {len(name)}.\n"

    def embed(self, name: str) -> None:
        """Have a document embedded."""
        answer = self.send(name)
        assert answer.status_code == 200, answer.text
        self.texts[name] = self.text(name)
        with self.server.client() as client:
            assert wait_for_end(client, answer.json()["JobID"]) == "COMPLETED"

    def refuses(self, *says: str) -> None:
        """Nothing is accepted, and whoever asks is told why and when to come again."""
        with self.server.client() as client:
            wait_until(lambda: client.get("/readyz").status_code == 503)
            answers = [client.get("/readyz"), self.send("refused.md")]
            assert client.get("/livez").status_code == 200
        for answer in answers:
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
            assert any(one in answer.json()["error"] for one in says), answer.text

    def recovers(self) -> None:
        with self.server.client() as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)

    def check(self) -> None:
        """Exactly what was accepted is there."""
        given = {"embedder": "hash:64", "chunking.size": 64, "data_dir": self.server.data_dir}
        if url := self.variables.get("VECTORFLOW_DATABASE__URL"):
            given["database.url"] = url
        invariants.check(load(given, environ={}), self.texts, index="docs-1")


@contextmanager
def serving(data_dir: Path, **variables: str) -> Generator[Place]:
    """Start both; they have to be there to the end."""
    given = {"INTERNAL_API_KEY": "a-key-of-this-test"} | variables
    with ExitStack() as stack:
        server = stack.enter_context(running_server(data_dir, **given))
        stack.enter_context(running_worker(data_dir, **given))
        place = Place(server=server, variables=given)
        place.embed("first.md")
        yield place
        place.embed("last.md")
    logs = [data_dir.with_name(name).read_text("utf-8") for name in ("api.log", "worker.log")]
    assert [log for log in logs if "Traceback" in log] == []
    assert logs[1].count("worker_started") == 1
    place.check()


@pytest.fixture
def postgres(postgres_to_break: None) -> Iterator[Postgres]:  # noqa: ARG001 - it is there
    with Postgres() as server:
        yield server


@pytest.fixture
def mariadb(mariadb_to_break: None) -> Iterator[MariaDb]:  # noqa: ARG001 - it is there
    with MariaDb(accounts=True) as server:
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    return made(postgres.make_database("ledger"))


def made(url: str) -> str:
    """Make a ledger there."""
    database = Database(url)
    schema.upgrade(database)
    database.close()
    return url


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_database_that_stops_and_starts_again(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    server: Postgres | MariaDb = request.getfixturevalue(kind)
    url = made(server.make_database("ledger"))
    (tmp_path / "d").mkdir()
    with serving(tmp_path / "d", VECTORFLOW_DATABASE__URL=url) as place:
        server.stop()
        place.refuses("does not answer", "ended the transaction")

        server.start()
        place.recovers()


def test_a_database_that_is_read_only_for_a_while(
    tmp_path: Path, postgres: Postgres, database_url: str
) -> None:
    def let_it_be(read_only: str) -> None:
        name = urlsplit(database_url).path[1:]
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            change = f"ALTER DATABASE {name} SET default_transaction_read_only = {read_only}"
            connection.execute(change.encode())
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(end, (name,))

    (tmp_path / "d").mkdir()
    with serving(tmp_path / "d", VECTORFLOW_DATABASE__URL=database_url) as place:
        let_it_be("on")
        place.refuses("the database is read-only")
        with place.server.client() as client:
            assert client.get("/jobs/1/status").json() == {"JobStatus": "COMPLETED"}

        let_it_be("off")
        place.recovers()


def test_a_mariadb_that_is_read_only_for_a_while(tmp_path: Path, mariadb: MariaDb) -> None:
    url = mariadb.make_database("ledger")
    run(mariadb.url, "CREATE USER owner@localhost IDENTIFIED BY 'pw'")
    run(mariadb.url, "GRANT ALL ON ledger.* TO owner@localhost")
    url = made(as_account(url, "owner", "pw"))
    (tmp_path / "d").mkdir()
    with serving(tmp_path / "d", VECTORFLOW_DATABASE__URL=url) as place:
        run(mariadb.url, "SET GLOBAL read_only = ON")
        place.refuses("the database is read-only")

        run(mariadb.url, "SET GLOBAL read_only = OFF")
        place.recovers()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_by_an_hour(tmp_path: Path, hours: int) -> None:
    """What was accepted before it is embedded after it, by workers that start then and later."""
    (tmp_path / "d").mkdir()
    with running_server(tmp_path / "d") as server, server.client() as client:
        files = {"SourceData": ("a.md", "# A\n\nIt was accepted an hour ago, or in an hour.\n")}
        job = client.post("/embed", data=FORM, files=files).json()["JobID"]
        database = Database(f"sqlite:///{tmp_path / 'd' / 'ledger.db'}")
        set_clock(database, hours * 3600.0)
        database.close()
        with running_worker(tmp_path / "d"):
            assert wait_for_end(client, job) == "COMPLETED"
            again = client.post("/embed", data=FORM, files=files).json()["JobID"]
            assert wait_for_end(client, again) == "COMPLETED"


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk, serving(disk) as place:
        filler = fill(disk, free=0)
        place.refuses("is full", "no room")

        filler.unlink()
        place.recovers()
