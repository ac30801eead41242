"""Workers that reach only the API are killed, and so is the API; nothing is lost or doubled."""

import fcntl
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Process, Site, wait_for
from vectorflow.domain.jobs import Outcome
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LEASE = ["--lease", "3"]
"""Seconds; the settings allow no less than 30."""

KEY = "canary-key-of-the-workers"
KILLS = 10


class Fleet:
    """An API on a site, and workers elsewhere that know its address and a key."""

    def __init__(self, site: Site, home: Path) -> None:
        self.site = site
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        site.options |= {"api.port": port, "api.key": KEY}
        options = {"server.url": self.url, "server.key": KEY}
        self._elsewhere = Site(root=home, options=options)
        self.api: Process
        self.workers: list[Process] = []
        self._all: list[Process] = []

    def start_api(self, *flags: str, seam: str = "none") -> None:
        self.api = self.site.start("api", seam=seam, flags=[*LEASE, *flags])
        self._all.append(self.api)
        wait_for(self._answers, "the API to answer", self.api)

    def start(self, *flags: str, seam: str = "none") -> Process:
        worker = self._elsewhere.start("worker", seam=seam, flags=flags)
        self.workers.append(worker)
        self._all.append(worker)
        return worker

    def submit(self) -> None:
        """Have documents accepted by a process that dies at once."""
        self.site.run_killed("commit:end_listing", flags=LEASE)

    def finish(self) -> None:
        wait_for(lambda: not self.site.is_busy(), "the end of all jobs", self.api, *self.workers)

    def stop(self) -> list[int]:
        """Stop all in good order."""
        for worker in self.workers:
            worker.wait_until_it_says("worker_started")
            worker.send(signal.SIGTERM)
        statuses = [worker.wait() for worker in self.workers]
        self.api.send(signal.SIGTERM)
        return [*statuses, self.api.wait()]

    def check(self) -> None:
        """Demand what must hold, and that nobody wrote the key down."""
        self.site.check()
        assert [process.said() for process in self._all if KEY in process.said()] == []
        assert not (self._elsewhere.root / "data").exists()

    def kill_all(self) -> None:
        for process in self._all:
            process.end()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "site"
    root.mkdir()
    site = Site(root=root, options={"chunking.size": 16})
    site.write(corpus.made_texts(130))
    site.write({"1/book.md": corpus.made_book(60)})
    return site


@pytest.fixture
def fleet(site: Site, tmp_path: Path) -> Iterator[Fleet]:
    home = tmp_path / "elsewhere"
    home.mkdir()
    fleet = Fleet(site, home)
    site.data.mkdir()
    with (site.data / "worker.lock").open("wb") as seat:
        fcntl.flock(seat, fcntl.LOCK_EX)  # who submits must not work too
        yield fleet
    fleet.kill_all()


def chance_of_this_run() -> random.Random:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    return random.Random(seed)  # noqa: S311 - moments, not secrets


def test_workers_killed_at_ten_random_moments_lose_and_double_nothing(fleet: Fleet) -> None:
    chance, site = chance_of_this_run(), fleet.site
    fleet.start_api()
    for _ in range(2):
        fleet.start()

    for step in range(2):
        site.write({f"2/step-{step}.md": corpus.made_book(10 + step)})
        site.write({"1/book.md": site.texts["1/book.md"].replace("Willow", f"Poplar{step}")})
        fleet.submit()
        for kill in range(KILLS // 2):
            time.sleep(chance.uniform(0, 0.5))
            killed = fleet.workers.pop(kill % 2)
            killed.send(signal.SIGKILL)
            killed.wait()
            fleet.start()
    fleet.finish()

    assert fleet.stop() == [0, 0, 0]
    fleet.check()
    assert site.outcomes().keys() <= {Outcome.OK, Outcome.LOST}


def test_an_api_killed_under_its_workers_costs_nothing(fleet: Fleet) -> None:
    chance = chance_of_this_run()
    fleet.start_api()
    fleet.start()
    fleet.submit()

    for _ in range(3):
        time.sleep(chance.uniform(0, 1.0))
        fleet.api.send(signal.SIGKILL)
        fleet.api.wait()
        fleet.start_api()
    fleet.finish()

    assert fleet.stop() == [0, 0]
    fleet.check()


@pytest.mark.parametrize("seam", ["commit:claim", "commit:finish.embed", "upserting"])
def test_an_api_killed_before_it_answers_is_asked_again(fleet: Fleet, seam: str) -> None:
    fleet.submit()
    fleet.start_api(seam=seam)
    fleet.start()
    assert fleet.api.wait() == -signal.SIGKILL

    fleet.start_api()
    fleet.finish()

    assert fleet.stop() == [0, 0]
    fleet.check()


def test_a_worker_that_stood_still_changes_nothing(fleet: Fleet) -> None:
    fleet.start_api()
    frozen = fleet.start("--signal", "SIGSTOP", seam="embedded")
    fleet.submit()
    wait_for(frozen.is_stopped, "the worker to stand still", frozen)
    fleet.start()
    fleet.finish()

    frozen.send(signal.SIGCONT)

    assert fleet.stop() == [0, 0, 0]
    fleet.check()
    assert fleet.site.outcomes()[Outcome.LOST] > 0


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_with_a_shared_ledger_it_is_the_same(
    fleet: Fleet, kind: str, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(f"{kind}_database")
    fleet.site.options["database.url"] = url
    if kind == "postgres":
        fleet.site.options["store"] = url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
    database = Database(url)
    schema.upgrade(database)
    database.close()
    fleet.start_api()
    fleet.start()
    fleet.submit()
    for _ in range(3):
        time.sleep(0.7)
        killed = fleet.workers.pop()
        killed.send(signal.SIGKILL)
        killed.wait()
        fleet.start()
    fleet.finish()

    assert fleet.stop() == [0, 0]
    fleet.check()
