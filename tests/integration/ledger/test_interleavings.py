"""Two transactions on PostgreSQL, of which one is stopped before any of its statements.

SQLite has one writer at a time, so there is nothing to interleave.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk, Conflict
from vectorflow.ledger import claims, duties, finishing, indexes, submission
from vectorflow.ledger.database import Database
from vectorflow.ledger.submission import NewJob
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import (
    CAPABILITIES,
    KINDS,
    PIPELINE,
    TENANT,
    PretendWorker,
    Workplace,
    claim,
    document,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

BEFORE_COMMIT = 0

LOCK_ORDER = ["batches", "versions", "documents", "jobs"]

LOCKING = re.compile(
    r"FROM (batches|versions|documents|jobs)\b.*?(?:ORDER BY (\S+(?: DESC)?)\s*)?"
    r"FOR (?:NO KEY )?UPDATE$",
    re.DOTALL,
)
"""Those that wait; whoever skips what is locked may look in any order."""

Transaction = Callable[[Connection], object]


class Stage:
    """Stops one thread's transaction, and sees deadlocks."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.database = place.database
        self.deadlocks = 0
        self.locks: list[tuple[str, str, str | None]] = []
        """Of each locking statement: its words, its table, its order."""
        self.stop_at = BEFORE_COMMIT
        self.stopped = False
        self._actor = threading.local()
        self.reached = threading.Event()
        self.go_on = threading.Event()
        event.listen(self.database.engine, "before_cursor_execute", self._before_statement)
        event.listen(self.database.engine, "commit", self._before_commit)
        event.listen(self.database.engine, "handle_error", self._on_error)

    def _before_statement(
        self, _connection: Connection, _cursor: object, statement: str, *_: object
    ) -> None:
        if lock := LOCKING.search(statement):
            self.locks.append((statement, lock[1], lock[2]))
        steps: int = getattr(self._actor, "steps", 0)
        if steps:
            self._actor.steps = steps + 1
            if steps == self.stop_at:
                self._wait()

    def _before_commit(self, _connection: Connection) -> None:
        if getattr(self._actor, "steps", 0) and self.stop_at == BEFORE_COMMIT:
            self._wait()

    def _wait(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(20)

    def _on_error(self, context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == "40P01":
            self.deadlocks += 1

    def run(self, first: Transaction, second: Transaction, stop_at: int) -> "list[Future[object]]":
        """Stop the first before its n-th statement, run the second until it ends or waits."""
        self.stop_at = stop_at
        self.reached.clear()
        self.go_on.clear()
        with ThreadPoolExecutor(2) as threads:
            one = threads.submit(self._act, first)
            one.add_done_callback(lambda _: self.reached.set())
            assert self.reached.wait(20)
            self.stopped = not one.done()
            two = threads.submit(self.database.write_now, second)
            while not two.done() and not self._waits_for_lock():
                threading.Event().wait(0.002)
            self.go_on.set()
        return [one, two]

    def _act(self, transaction: Transaction) -> object:
        self._actor.steps = 1
        return self.database.write_now(transaction)

    def _waits_for_lock(self) -> bool:
        query = """SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'"""
        return bool(rows(self.database, query))


@dataclass(frozen=True, slots=True)
class Scene:
    """Two transactions to interleave, and what must be true of their answers."""

    first: Transaction
    second: Transaction
    check: Callable[[Any, Any], None] = lambda _one, _two: None
    refusals: tuple[type[Exception], ...] = ()
    """Errors that one of them may end with."""


def claim_now(limit: int, *kinds: BatchKind) -> Callable[[Connection], list[Lease]]:
    def claim(connection: Connection) -> list[Lease]:
        claimed = claims.claim(
            connection,
            owner="here",
            kinds=kinds or KINDS,
            capabilities=CAPABILITIES,
            limit=limit,
            lease_seconds=30.0,
        )
        return [one.lease for one in claimed]

    return claim


def finish(*results: Finished) -> Transaction:
    return partial(finishing.finish, results=results, zombie_seconds=60.0)


def submit(place: Workplace, *names: str, text: str = "text") -> Transaction:
    items = [document(name, text) for name in names]
    return partial(submission.accept, new=place.new_job(), accepted=items, total=len(items))


def reset(lease: Lease) -> Transaction:
    return partial(indexes.reset_index, index=lease.index.id, incarnation=lease.index.incarnation)


def delete(place: Workplace, *names: str) -> Transaction:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job

    def transaction(connection: Connection) -> int:
        submission.delete_documents(connection, job, names, zombie_seconds=60.0)
        submission.end_listing(connection, job)
        return job

    return transaction


def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("setup"))


def live(place: Workplace, *names: str, text: str = "one") -> int:
    """Bring documents to life, each in a batch of its own."""
    job = 0
    for name in names:
        job = place.submit({name: text})
    asyncio.run(worker(place).run())
    return job


def leases(place: Workplace, *kinds: BatchKind, limit: int = 100) -> Sequence[Lease]:
    return asyncio.run(_claimed(place, *kinds, limit=limit))


async def _claimed(place: Workplace, *kinds: BatchKind, limit: int) -> Sequence[Lease]:
    return await claim(place.worker("here"), *kinds, limit=limit)


def extracted(place: Workplace, *names: str, text: str = "two") -> int:
    """Submit documents in batches of their own, and extract them."""
    job = 0
    for name in names:
        job = place.submit({name: text})
    asyncio.run(worker(place).run(EXTRACT))
    return job


def long_document(place: Workplace, parts: int = 2) -> Sequence[Lease]:
    """Give leases of the embed batches of all parts of one document."""
    place.submit({"long": "text"})
    (lease,) = leases(place)
    version = lease.versions[0].id
    made = tuple(part_of(version, number, last=number == parts - 1) for number in range(parts))
    place.database.write_now(finish(Finished(lease=lease, parts=made)))
    return leases(place, EMBED)


def bad(lease: Lease) -> Finished:
    failures = {version.id: BadChunk("no", position=0) for version in lease.versions}
    return Finished(lease=lease, failures=failures)


def two_claims(place: Workplace) -> Scene:
    for number in range(3):
        place.submit({f"d{number}": "text"})

    def check(one: list[Lease], two: list[Lease]) -> None:
        assert not {lease.batch for lease in one} & {lease.batch for lease in two}
        assert max(len(one), len(two)) == 2

    return Scene(claim_now(2), claim_now(2), check)


def claim_and_reap(place: Workplace) -> Scene:
    place.submit({"a": "one"})
    place.submit({"b": "one"})
    leases(place, limit=1)
    place.pass_time()
    return Scene(claim_now(2), claims.reap)


def the_last_two_batches(place: Workplace) -> Scene:
    new = place.new_job()

    def accept(connection: Connection) -> int:
        job = submission.start_job(connection, new).job
        for name in ("a", "b"):
            submission.add_documents(connection, job, [document(name, "text")])
        submission.end_listing(connection, job)
        return job

    job = place.database.write_now(accept)
    asyncio.run(worker(place).run(EXTRACT))
    one, two = leases(place)

    def check(_one: object, _two: object) -> None:
        assert place.job(job).state is JobState.COMPLETED

    return Scene(finish(Finished(lease=one)), finish(Finished(lease=two)), check)


def the_last_two_parts(place: Workplace) -> Scene:
    one, two = long_document(place)

    def check(_one: object, _two: object) -> None:
        assert rows(place.database, "SELECT state FROM versions") == [("live",)]

    return Scene(finish(Finished(lease=one)), finish(Finished(lease=two)), check)


def finish_and_reap(place: Workplace) -> Scene:
    extracted(place, "a")
    (lease,) = leases(place)
    place.pass_time()

    def check(one: object, two: object) -> None:
        assert (one, two) in (([True], 0), ([False], 1))

    return Scene(finish(Finished(lease=lease)), claims.reap, check)


def finish_and_take_over(place: Workplace) -> Scene:
    extracted(place, "a")
    (lease,) = leases(place)
    take_over = partial(claims.take_over, owner_prefix="here")
    return Scene(finish(Finished(lease=lease)), take_over)


def reap_and_renew(place: Workplace) -> Scene:
    extracted(place, "a", "b")
    held = leases(place)
    place.pass_time()
    renew = partial(claims.renew, leases=held, lease_seconds=30.0)

    def check(reaped: int, renewed: list[Lease]) -> None:
        assert reaped + len(renewed) == len(held) == 2

    return Scene(claims.reap, renew, check)


def reap_and_finish_of_parts(place: Workplace) -> Scene:
    held = long_document(place, 4)
    place.pass_time()
    place.database.write_now(partial(claims.renew, leases=held[:2], lease_seconds=30.0))
    return Scene(finish(*(Finished(lease=lease) for lease in held[:2])), claims.reap)


def flip_and_submit(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a", "b")
    held = leases(place)
    results = [Finished(lease=lease) for lease in held]
    return Scene(finish(*results), submit(place, "b", "a", "c", text="three"))


def flip_and_the_same_submit(place: Workplace) -> Scene:
    extracted(place, "a", text="one")
    (lease,) = leases(place)
    return Scene(finish(Finished(lease=lease)), submit(place, "a", text="one"))


def flip_and_supersede(place: Workplace) -> Scene:
    extracted(place, "a")
    place.submit({"a": "three"})
    (lease,) = leases(place)
    return Scene(finish(Finished(lease=lease)), submit(place, "a", text="four"))


def flip_and_delete(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a")
    (lease,) = leases(place)
    return Scene(finish(Finished(lease=lease)), delete(place, "b", "a"))


def failure_and_submit(place: Workplace) -> Scene:
    live(place, "a")
    extracted(place, "a")
    (lease,) = leases(place)
    return Scene(finish(bad(lease)), submit(place, "a", text="three"))


def two_flips(place: Workplace) -> Scene:
    """Of two documents, in two jobs each, the younger job first."""
    for text in ("one", "two"):
        for name in ("a", "b"):
            place.submit({name: text})
    asyncio.run(worker(place).run(EXTRACT))
    one, two = leases(place, EMBED)
    return Scene(finish(Finished(lease=one)), finish(Finished(lease=two)))


def retire_and_flip(place: Workplace) -> Scene:
    live(place, "a")
    extracted(place, "a")
    asyncio.run(worker(place).run(EMBED))
    (retire,) = leases(place, RETIRE)
    extracted(place, "a", text="three")
    (embed,) = leases(place, EMBED)
    return Scene(finish(Finished(lease=retire)), finish(Finished(lease=embed)))


def retire_claim_and_flip(place: Workplace) -> Scene:
    live(place, "a")
    extracted(place, "a")
    asyncio.run(worker(place).run(EMBED))
    extracted(place, "a", text="three")
    (embed,) = leases(place, EMBED)
    return Scene(claim_now(5, RETIRE), finish(Finished(lease=embed)))


def failure_and_the_next_part(place: Workplace) -> Scene:
    place.submit({"long": "text"})
    (extract,) = leases(place)
    version = extract.versions[0].id
    commit = partial(finishing.commit_parts, lease=extract, zombie_seconds=60.0)
    place.database.write_now(partial(commit, new_parts=[part_of(version, 0, last=False)]))
    (embed,) = leases(place, EMBED)
    return Scene(finish(bad(embed)), partial(commit, new_parts=[part_of(version, 1)]))


def failure_and_another_part(place: Workplace) -> Scene:
    one, two = long_document(place)
    return Scene(finish(bad(one)), finish(Finished(lease=two)))


def two_failures_of_one_document(place: Workplace) -> Scene:
    one, two = long_document(place)

    def check(_one: object, _two: object) -> None:
        assert rows(place.database, "SELECT docs_failed FROM jobs") == [(1,)]

    return Scene(finish(bad(one)), finish(bad(two)), check)


def failure_and_renewal(place: Workplace) -> Scene:
    one, two = long_document(place)
    return Scene(finish(bad(one)), partial(claims.renew, leases=[two], lease_seconds=30.0))


def two_submits(place: Workplace) -> Scene:
    return Scene(submit(place, "a", "b", "c"), submit(place, "c", "b", "a", text="other"))


def two_submits_of_many(place: Workplace) -> Scene:
    live(place, "m", "x", "b")
    return Scene(
        submit(place, "z", "b", "k", "m", text="three"),
        submit(place, "m", "k", "a", "x", "z", "b", text="four"),
    )


def submit_and_delete(place: Workplace) -> Scene:
    live(place, "a", "b")
    return Scene(submit(place, "b", "a", text="three"), delete(place, "a", "b"))


def two_deletes(place: Workplace) -> Scene:
    live(place, "a", "b")
    return Scene(delete(place, "a", "b"), delete(place, "b", "a"))


def superseding_across_jobs(place: Workplace) -> Scene:
    """A submit that ends a waiting version of an older job, and a finish that ends both jobs."""
    place.submit({"a": "one"})
    place.submit({"b": "one"})
    place.submit({"a": "two"})
    held = leases(place)
    results = [worker(place).result(lease) for lease in held]
    return Scene(finish(*results), submit(place, "a", "b", text="three"))


def submits_that_supersede_each_other(place: Workplace) -> Scene:
    for text in ("one", "two"):
        place.submit({"a": text, "b": text})
    return Scene(submit(place, "a", "b", text="three"), submit(place, "b", "a", text="four"))


def two_new_indexes(place: Workplace) -> Scene:
    fresh = replace(PIPELINE, index="fresh")
    opened = partial(indexes.open_index, tenant=TENANT, pipeline=fresh)

    def check(one: object, two: object) -> None:
        assert one == two

    del place
    return Scene(opened, opened, check)


def two_new_pipelines(place: Workplace) -> Scene:
    fresh = replace(PIPELINE, embedder="hash:8 again")
    new = place.new_job(pipeline=fresh)

    def accept(name: str) -> Transaction:
        return partial(submission.accept, new=new, accepted=[document(name, "x")], total=1)

    def check(_one: object, _two: object) -> None:
        assert rows(place.database, "SELECT count(*) FROM pipelines") == [(1,)]

    return Scene(accept("a"), accept("b"), check)


def one_key_twice(place: Workplace) -> Scene:
    new: NewJob = place.new_job(key="k")
    accept = partial(submission.accept, new=new, accepted=[document("a", "x")], total=1)

    def check(one: object, two: object) -> None:
        assert one == two

    return Scene(accept, accept, check)


def the_end_of_a_listing_and_of_its_last_document(place: Workplace) -> Scene:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job
    add = partial(submission.add_documents, job=job, accepted=[document("a", "x")])
    place.database.write_now(add)
    asyncio.run(worker(place).run(EXTRACT))
    (lease,) = leases(place)

    def check(_one: object, _two: object) -> None:
        assert place.job(job).state is JobState.COMPLETED

    return Scene(finish(Finished(lease=lease)), partial(submission.end_listing, job=job), check)


def a_listing_taken_for_dead_while_it_adds(place: Workplace) -> Scene:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job
    execute(place.database, "UPDATE jobs SET listing_until = 1")

    def add(connection: Connection) -> None:
        submission.add_documents(connection, job, [document("a", "x")])
        submission.end_listing(connection, job)

    ended = partial(submission.end_dead_listings, is_dead=None)
    return Scene(add, ended, refusals=(Conflict,))


def two_first_runs_of_a_duty(place: Workplace) -> Scene:
    del place
    run = partial(duties.claim_duty, name="reap", every=60.0)

    def check(one: object, two: object) -> None:
        assert {one, two} == {True, False}

    return Scene(run, run, check)


def two_resets(place: Workplace) -> Scene:
    live(place, "a")
    extracted(place, "a", "b")
    (lease, _) = leases(place)

    def check(one: object, two: object) -> None:
        assert {one, two} == {True, False}

    return Scene(reset(lease), reset(lease), check)


def reset_and_the_end_of_extraction(place: Workplace) -> Scene:
    live(place, "a")
    place.submit({"a": "two"})
    place.submit({"long": "text"})
    one, two = leases(place)
    version = two.versions[0].id
    parts = tuple(part_of(version, number, last=number == 2) for number in range(3))
    results = [worker(place).result(one), Finished(lease=two, parts=parts)]
    return Scene(finish(*results), reset(one))


def reset_and_flip(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "b", "a")
    held = leases(place)
    return Scene(finish(*(Finished(lease=lease) for lease in held)), reset(held[0]))


def reset_and_submit(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a")
    (lease,) = leases(place)
    return Scene(submit(place, "b", "a", "c", text="three"), reset(lease))


def reset_and_delete(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a")
    (lease,) = leases(place)
    return Scene(delete(place, "b", "a"), reset(lease))


def reset_and_retire(place: Workplace) -> Scene:
    live(place, "a")
    extracted(place, "a")
    asyncio.run(worker(place).run(EMBED))
    (retire,) = leases(place)
    return Scene(finish(Finished(lease=retire)), reset(retire))


def reset_and_claim(place: Workplace) -> Scene:
    extracted(place, "a", "b")
    (lease,) = leases(place, limit=1)
    return Scene(claim_now(5), reset(lease))


SCENES = [
    two_claims,
    claim_and_reap,
    the_last_two_batches,
    the_last_two_parts,
    finish_and_reap,
    finish_and_take_over,
    reap_and_renew,
    reap_and_finish_of_parts,
    flip_and_submit,
    flip_and_the_same_submit,
    flip_and_supersede,
    flip_and_delete,
    failure_and_submit,
    two_flips,
    retire_and_flip,
    retire_claim_and_flip,
    failure_and_the_next_part,
    failure_and_another_part,
    two_failures_of_one_document,
    failure_and_renewal,
    two_submits,
    two_submits_of_many,
    submit_and_delete,
    two_deletes,
    superseding_across_jobs,
    submits_that_supersede_each_other,
    two_new_indexes,
    two_new_pipelines,
    one_key_twice,
    the_end_of_a_listing_and_of_its_last_document,
    a_listing_taken_for_dead_while_it_adds,
    two_first_runs_of_a_duty,
    two_resets,
    reset_and_the_end_of_extraction,
    reset_and_flip,
    reset_and_submit,
    reset_and_delete,
    reset_and_retire,
    reset_and_claim,
]


@pytest.fixture(params=["postgres"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_ledger")
    return url


@pytest.fixture
def stage(place: Workplace) -> Iterator[Stage]:
    return Stage(place)


def play(stage: Stage, make: Callable[[Workplace], Scene], stop_at: int, *, swapped: bool) -> bool:
    """Play a scene and check everything; False if the first had fewer statements."""
    _empty(stage.database)
    scene = make(stage.place)
    # Or the first write into an index would make the second wait, and hide everything after that.
    execute(stage.database, "UPDATE indexes SET written = true")
    acts = (scene.second, scene.first) if swapped else (scene.first, scene.second)
    futures = stage.run(*acts, stop_at)
    one, two = reversed(futures) if swapped else futures
    if not any(isinstance(future.exception(), scene.refusals) for future in futures):
        scene.check(one.result(), two.result())
    assert broken_laws(stage.database) == {}
    _finish_everything(stage.place)
    assert broken_laws(stage.database, all_done=True) == {}
    assert stage.deadlocks == 0
    return stage.stopped


def _finish_everything(place: Workplace) -> None:
    for _ in range(4):
        asyncio.run(worker(place).run())
        place.pass_time()
        place.reap()


def _empty(database: Database) -> None:
    tables = "indexes, pipelines, documents, versions, parts, jobs, batches, attempts, duties"
    execute(database, f"TRUNCATE {tables} RESTART IDENTITY")


def execute(database: Database, statement: str) -> None:
    database.write_now(lambda connection: connection.exec_driver_sql(statement))


@pytest.mark.parametrize("make", [make for make in SCENES if "reset" not in make.__name__])
def test_rows_are_locked_in_one_order(stage: Stage, make: Callable[[Workplace], Scene]) -> None:
    """Within a table by id, and table after table: who holds one row never waits for an earlier.

    A reset looks at batches twice, and leaves the rare deadlock to the database.
    """
    scene = make(stage.place)
    for transaction in (scene.first, scene.second):
        stage.locks.clear()
        with suppress(*scene.refusals):
            stage.database.write_now(transaction)
        tables = [LOCK_ORDER.index(lock[1]) for lock in stage.locks]
        assert tables == sorted(tables)
        assert [lock[0] for lock in stage.locks if lock[2] != f"{lock[1]}.id"] == []


@pytest.mark.parametrize("swapped", [False, True], ids=["as written", "swapped"])
@pytest.mark.parametrize("make", SCENES)
def test_a_transaction_that_is_not_committed_yet_is_waited_for_or_passed(
    stage: Stage, make: Callable[[Workplace], Scene], swapped: bool
) -> None:
    assert play(stage, make, BEFORE_COMMIT, swapped=swapped)


@pytest.mark.slow
@pytest.mark.parametrize("swapped", [False, True], ids=["as written", "swapped"])
@pytest.mark.parametrize("make", SCENES)
def test_a_transaction_may_be_overtaken_before_any_of_its_statements(
    stage: Stage, make: Callable[[Workplace], Scene], swapped: bool
) -> None:
    stopped = [play(stage, make, 1, swapped=swapped)]
    while stopped[-1]:
        stopped.append(play(stage, make, len(stopped) + 1, swapped=swapped))

    assert len(stopped) > 2
