"""Workers that share the ledger of a server are killed and stood still; their leases run out."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Process, Site, wait_for
from vectorflow.domain.jobs import JobState, Outcome
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LEASE = ["--lease", "3"]
"""Seconds; the settings allow no less than 30."""

LEASE_AND_A_STORE_CALL = 5.0


class Fleet:
    """Workers of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.workers: list[Process] = []

    def start(self, *flags: str, seam: str = "none") -> Process:
        worker = self._site.start("worker", seam=seam, flags=[*LEASE, *flags])
        self.workers.append(worker)
        return worker

    def submit(self) -> None:
        """Have documents accepted by a process that dies at once."""
        self._site.run_killed("commit:end_listing", flags=LEASE)

    def finish(self) -> None:
        """Wait for the end of all jobs."""
        wait_for(lambda: not self._site.is_busy(), "the end of all jobs", *self.workers)

    def stop(self) -> list[int]:
        """Stop all workers in good order."""
        for worker in self.workers:
            worker.wait_until_it_says("worker_started")
            worker.send(signal.SIGTERM)
        return [worker.wait() for worker in self.workers]


@pytest.fixture
def kind() -> str:
    """Of server; some tests ask for each."""
    return "postgres"


@pytest.fixture
def site(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> Site:
    url: str = request.getfixturevalue(f"{kind}_database")
    site = Site(root=tmp_path, options={"chunking.size": 16, "database.url": url})
    site.write(corpus.made_texts(130))
    site.write({"1/book.md": corpus.made_book(60)})
    database = Database(url)
    schema.upgrade(database)
    database.close()
    return site


@pytest.fixture
def fleet(site: Site) -> Iterator[Fleet]:
    fleet = Fleet(site)
    yield fleet
    for worker in fleet.workers:
        worker.end()


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_workers_killed_at_random_moments_lose_and_double_nothing(site: Site, fleet: Fleet) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    for _ in range(2):
        fleet.start()

    for step in range(5):
        site.write({f"2/step-{step}.md": corpus.made_book(10 + step)})
        site.write({"1/book.md": site.texts["1/book.md"].replace("Willow", f"Poplar{step}")})
        fleet.submit()
        for place in range(2):
            time.sleep(chance.uniform(0, 0.5))
            killed = fleet.workers.pop(place)
            killed.send(signal.SIGKILL)
            killed.wait()
            fleet.start()
    fleet.finish()

    assert fleet.stop() == [0, 0]
    site.check()
    assert site.outcomes().keys() <= {Outcome.OK, Outcome.LOST}


@pytest.mark.parametrize("seam", ["commit:claim", "embedded", "upsert", "upserted"])
def test_a_worker_that_stood_still_changes_nothing(site: Site, fleet: Fleet, seam: str) -> None:
    frozen = fleet.start("--signal", "SIGSTOP", seam=seam)
    fleet.submit()
    wait_for(frozen.is_stopped, "the worker to stand still", frozen)
    fleet.start()
    fleet.finish()

    frozen.send(signal.SIGCONT)

    assert fleet.stop() == [0, 0]
    site.check()
    assert site.outcomes()[Outcome.LOST] > 0


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
@pytest.mark.parametrize("seam", ["transaction:claim", "transaction:finish.extract"])
def test_a_worker_that_stands_still_in_a_transaction_loses_its_locks(
    site: Site, fleet: Fleet, seam: str
) -> None:
    frozen = fleet.start("--signal", "SIGSTOP", seam=seam)
    fleet.submit()
    wait_for(frozen.is_stopped, "the worker to stand still", frozen)
    fleet.start()
    fleet.finish()

    frozen.send(signal.SIGCONT)

    assert fleet.stop() == [0, 0]
    site.check()


@pytest.mark.parametrize("too_late", [False, True])
def test_what_a_late_worker_writes_of_a_replaced_version_is_deleted(
    site: Site, fleet: Fleet, *, too_late: bool
) -> None:
    frozen = fleet.start("--signal", "SIGSTOP", seam="upsert")
    fleet.submit()
    wait_for(frozen.is_stopped, "the worker to stand still", frozen)
    fleet.start()
    fleet.finish()
    site.write({name: corpus.made_text(name, 50) for name in sorted(site.texts)})
    fleet.submit()
    if too_late:
        fleet.finish()
        time.sleep(LEASE_AND_A_STORE_CALL)

    frozen.send(signal.SIGCONT)

    frozen.wait_until_it_says("lease_lost")
    frozen.send(signal.SIGTERM)
    assert frozen.wait() == 0
    fleet.finish()
    assert fleet.stop() == [0, 0]
    site.check()


def test_two_commands_that_meet_in_a_new_ledger_both_end(site: Site) -> None:
    processes = [site.start("embed", str(site.docs), flags=LEASE) for _ in range(2)]

    assert [process.wait() for process in processes] == [0, 0]
    site.check()
    assert site.embed().status is JobState.COMPLETED
