"""A rolling upgrade: processes of the release before run, die and start on a newer ledger."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.cli_process import vectorflow
from tests.acceptance.kill_site import Process, Site, wait_for
from tests.migrations.next_release import REVISION, upgrade_by_next_release
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LEASE = ["--lease", "3"]
"""Seconds; the settings allow no less than 30."""


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    site = Site(root=tmp_path / "site", options={"chunking.size": 16})
    site.data.mkdir(parents=True)
    if request.param != "sqlite":
        site.options["database.url"] = request.getfixturevalue(f"{request.param}_database")
    site.write(corpus.made_texts(60, words=40))
    database = Database(site.settings.database_url)
    schema.upgrade(database)
    database.close()
    return site


@pytest.fixture
def workers() -> Iterator[list[Process]]:
    workers: list[Process] = []
    yield workers
    for worker in workers:
        worker.end()


def start(site: Site, workers: list[Process]) -> Process:
    worker = site.start("worker", flags=LEASE)
    workers.append(worker)
    worker.wait_until_it_says("worker_started")
    return worker


def finish(site: Site, *workers: Process) -> None:
    wait_for(lambda: not site.is_busy(), "the end of all jobs", *workers)


def test_processes_of_the_release_before_run_die_and_start_on_a_newer_ledger(
    site: Site, workers: list[Process]
) -> None:
    running = start(site, workers)
    site.run_killed("commit:end_listing", flags=LEASE)

    upgrade_by_next_release(site.settings.database_url, site.root)

    finish(site, running)
    site.write({"a new one.md": corpus.made_text("new", 300)})
    site.run_killed("commit:end_listing", flags=LEASE)
    running.send(signal.SIGKILL)
    running.wait()
    again = start(site, workers)
    finish(site, again)
    again.send(signal.SIGTERM)
    assert again.wait() == 0, again.said()
    site.check()
    place = "--data-dir", str(site.data), "--database", site.settings.database_url
    for command in ("check", "upgrade"):
        ran = vectorflow(site.root, "db", command, *place)
        assert ran.code == 0, ran.err
        assert f"schema {REVISION}, up to date; this release, of schema" in ran.out
    doctor = " ".join(vectorflow(site.root, "doctor", *place).out.split())
    assert "of this release, which may use it" in doctor
