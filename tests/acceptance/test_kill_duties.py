"""A process that has taken a recurring duty is killed: another one takes it when it is due."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text

from tests.acceptance import corpus
from tests.acceptance.cli_process import vectorflow
from tests.acceptance.kill_site import Site, wait_for
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.domain.jobs import BatchState, JobState, Outcome, VersionState
from vectorflow.ledger import reads, schema
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import DutyView
from vectorflow.ledger.tables import batches, jobs, versions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LEASE = ["--lease", "5"]
"""Seconds; the settings allow no less than 30."""

ORPHAN = "uploads/nobody-knows-it"
LONG_AGO = 200 * 86_400
"""Seconds; nothing of that is remembered."""

DUE = "UPDATE duties SET next_run_at = 1 WHERE name = :name"

RAN_OUT = (
    "UPDATE batches SET lease_until = 1 WHERE state = 'leased'",
    "UPDATE jobs SET listing_until = 1 WHERE listing_until IS NOT NULL",
)

SELDOM = 60.0
"""Seconds between two runs of a duty that is not due again while a test looks on."""

OLD = tuple(
    f"UPDATE {table} SET created_at = created_at - {LONG_AGO}, ended_at = ended_at - {LONG_AGO}"  # noqa: S608 - our names
    for table in ("versions", "jobs")
)


@pytest.fixture
def site(tmp_path: Path, postgres_database: str) -> Site:
    """Something for each duty: replaced versions, an orphan, a dead lister, lost leases."""
    site = Site(root=tmp_path, options={"chunking.size": 16, "database.url": postgres_database})
    database = Database(postgres_database)
    schema.upgrade(database)
    database.close()
    site.write(corpus.made_texts(60, words=40))
    site.embed()
    names = sorted(site.texts)
    for number in range(2):
        site.write({name: f"{site.texts[name]} Edition {number}." for name in names[:8]})
        site.embed()
    make_orphan(site)
    site.write(corpus.made_texts(40, seed="more", words=40))
    site.run_killed("commit:add_documents", flags=LEASE)
    site.run_killed("commit:claim", flags=LEASE)
    execute(site, *RAN_OUT)
    return site


@pytest.mark.parametrize("seam", ["commit:claim_duty", "transaction:note_duty"])
@pytest.mark.parametrize("duty", ["reap", "listings", "garbage", "forget", "optimize"])
def test_a_duty_whose_process_dies_is_taken_over_and_nothing_is_done_twice(
    site: Site, seam: str, duty: str
) -> None:
    execute(site, *(OLD if duty == "forget" else ()), DUE, name=duty)
    dying = site.start("worker", seam=f"{seam}.{duty}", flags=LEASE)
    assert dying.wait() == -signal.SIGKILL, dying.said()
    left = view(site, duty)
    held = lost_or_held(site)
    assert left.running

    worker = site.start("worker", flags=LEASE)
    try:
        worker.wait_until_it_says("worker_started")
        if left.every is not None and left.every > SELDOM:
            wait_for(lambda: has_reaped(site, left), "another duty", worker)
            assert view(site, duty) == left  # it is not due yet, so nobody else takes it
        execute(site, DUE, name=duty)
        wait_for(lambda: has_ended(site, left), f"the duty {duty}", worker)
        wait_for(lambda: not site.is_busy(), "the end of all jobs", worker)
    finally:
        worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.said()
    assert site.outcomes()[Outcome.LOST] == held
    assert DONE[duty](site)
    assert site.embed().status is JobState.COMPLETED
    if duty == "forget":  # counters that add up without what is forgotten
        place = "--data-dir", str(site.data), "--database", site.settings.database_url
        ran = vectorflow(site.root, "reconcile", *place)
        assert ran.code == 0, ran.out
    else:
        site.check()


def view(site: Site, duty: str) -> DutyView:
    database = Database(site.settings.database_url)
    found = {one.name: one for one in database.read_now(reads.duty_list)}
    database.close()
    return found[duty]


def has_ended(site: Site, left: DutyView) -> bool:
    """Whether a duty was run to its end since."""
    now = view(site, left.name)
    return not now.running and (now.last_run_at or 0) > (left.last_run_at or 0)


def has_reaped(site: Site, left: DutyView) -> bool:
    """Whether the duties were looked at since."""
    now = view(site, "reap")
    return not now.running and (now.last_run_at or 0) > (left.last_run_at or 0)


def lost_or_held(site: Site) -> int:
    """Count leases that were lost, or will be as nobody has them any more."""
    leased = select(func.count()).where(batches.c.state == BatchState.LEASED)
    return site.outcomes()[Outcome.LOST] + int(site.read(leased)[0][0])


def has_no_orphan(site: Site) -> bool:
    return find_orphan(site) is None


def has_no_dead_listing(site: Site) -> bool:
    return not site.read(select(jobs.c.id).where(jobs.c.docs_total.is_(None)))


def has_forgotten_once(site: Site) -> bool:
    """Whether the replaced versions of eight documents are gone, and counted once in their job."""
    old = versions.c.ended_at < time.time() - LONG_AGO / 2
    left = site.read(select(versions.c.id).where(versions.c.state == VersionState.RETIRED, old))
    [first] = site.read(select(jobs.c.versions_gone).order_by(jobs.c.id).limit(1))
    return (left, first.versions_gone) == ([], 8)


DONE: dict[str, Callable[[Site], bool]] = {
    "reap": lambda site: site.outcomes()[Outcome.LOST] > 0,
    "listings": has_no_dead_listing,
    "garbage": has_no_orphan,
    "forget": has_forgotten_once,
    "optimize": lambda _site: True,  # what is in the store is compared in any case
}


def make_orphan(site: Site) -> None:
    store = FileBlobStore(site.data / "blobs")
    asyncio.run(store.put(ORPHAN, [b"left by a request that was cut off"]))
    path = find_orphan(site)
    assert path is not None
    old = time.time() - LONG_AGO
    os.utime(path, (old, old))


def find_orphan(site: Site) -> Path | None:
    return next((site.data / "blobs").rglob(ORPHAN.partition("/")[2]), None)


def execute(site: Site, *statements: str, **values: str) -> None:
    def run(connection: Connection) -> None:
        for statement in statements:
            given = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), given)

    database = Database(site.settings.database_url)
    database.write_now(run)
    database.close()
