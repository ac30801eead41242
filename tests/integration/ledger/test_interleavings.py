"""Two transactions on a server, of which one is stopped before any of its statements.

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
from sqlalchemy import Connection, event, select
from sqlalchemy.engine import ExceptionContext

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.retries import SUSPECT_AFTER, Pause, Retry, Split, Wait
from vectorflow.errors import (
    BadChunk,
    Conflict,
    IndexRefused,
    KeyRefused,
    LeaseLost,
    TooMuchAtOnce,
    Unavailable,
)
from vectorflow.ledger import (
    claims,
    duties,
    finishing,
    indexes,
    losses,
    releases,
    retention,
    retrying,
    submission,
    transitions,
)
from vectorflow.ledger.claims import Wanted
from vectorflow.ledger.database import Database
from vectorflow.ledger.new_versions import GROUP_BYTES
from vectorflow.ledger.retention import Retention
from vectorflow.ledger.submission import NewJob
from vectorflow.ledger.tables import batches, identity, metadata
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

LEFT = "SELECT id FROM batches WHERE state IN ('ready', 'paused', 'leased')"

FILLED = [table.name for table in metadata.sorted_tables if table is not identity]

FORGET = [f"DROP TABLE IF EXISTS kept_{name}" for name in FILLED]
KEEP = [f"CREATE TABLE kept_{name} AS SELECT * FROM {name}" for name in FILLED]  # noqa: S608
PUT_BACK = [
    *[f"DELETE FROM {name}" for name in FILLED],  # noqa: S608 - our names
    *[f"INSERT INTO {name} SELECT * FROM kept_{name}" for name in FILLED],  # noqa: S608
]

WAITS = {
    "postgresql": """SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'""",
    "mariadb": """SELECT variable_value FROM information_schema.global_status
        WHERE variable_name = 'innodb_row_lock_current_waits' AND variable_value > 0""",
}
"""Rows that somebody waits for."""

LOCK_ORDER = ["batches", "versions", "documents", "jobs", "buckets", "shares"]

ORDERS = {table: f"{table}.id" for table in LOCK_ORDER} | {
    "shares": "shares.tenant, shares.lane, shares.kind"
}

LOCKING = re.compile(
    r"FROM (batches|versions|documents|jobs|buckets|shares)\b.*?(?:ORDER BY ([\w., ]+?)\s*)?"
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
        error = context.original_exception
        if getattr(error, "sqlstate", None) == "40P01" or error.args[:1] == (1213,):
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
        return bool(rows(self.database, WAITS[self.database.engine.dialect.name]))


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
            wanted=Wanted(kinds or KINDS, CAPABILITIES, limit),
            lease_seconds=30.0,
        )
        return [one.lease for one in claimed]

    return claim


def finish(*results: Finished) -> Transaction:
    return partial(finishing.finish, results=results, zombie_seconds=60.0)


def reap(connection: Connection) -> int:
    return losses.reap(connection, zombie_seconds=60.0)


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


def two_tenants_make_an_index(place: Workplace) -> Scene:
    """What is made here is not what `place` has made."""
    pipeline = replace(PIPELINE, index="contested")

    def check(*answers: object) -> None:
        assert sum(isinstance(answer, indexes.IndexRow) for answer in answers) == 1
        assert len(rows(place.database, "SELECT id FROM indexes WHERE name = 'contested'")) == 1

    one, two = (partial(indexes.open_index, tenant=name, pipeline=pipeline) for name in "ab")
    return Scene(one, two, check, refusals=(IndexRefused,))


def two_first_batches_of_a_tenant(place: Workplace) -> Scene:
    def check(*_: object) -> None:
        turns = rows(place.database, "SELECT virtual_time FROM batches WHERE state = 'ready'")
        assert len(set(turns)) == len(turns) >= 2

    return Scene(submit(place, "a"), submit(place, "b"), check)


def two_more_batches_of_a_tenant(place: Workplace) -> Scene:
    place.submit({"first": "text"})
    return two_first_batches_of_a_tenant(place)


def claim_and_reap(place: Workplace) -> Scene:
    place.submit({"a": "one"})
    place.submit({"b": "one"})
    leases(place, limit=1)
    place.pass_time()
    return Scene(claim_now(2), reap)


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

    return Scene(finish(Finished(lease=lease)), reap, check)


def finish_and_take_over(place: Workplace) -> Scene:
    extracted(place, "a")
    (lease,) = leases(place)
    take_over = partial(losses.take_over, owner_prefix="here", zombie_seconds=60.0)
    return Scene(finish(Finished(lease=lease)), take_over)


def reap_and_renew(place: Workplace) -> Scene:
    extracted(place, "a", "b")
    held = leases(place)
    place.pass_time()
    renew = partial(claims.renew, leases=held, lease_seconds=30.0)

    def check(reaped: int, renewed: list[Lease]) -> None:
        assert reaped + len(renewed) == len(held) == 2

    return Scene(reap, renew, check)


def reap_and_finish_of_parts(place: Workplace) -> Scene:
    held = long_document(place, 4)
    place.pass_time()
    place.database.write_now(partial(claims.renew, leases=held[:2], lease_seconds=30.0))
    return Scene(finish(*(Finished(lease=lease) for lease in held[:2])), reap)


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


def steer(transition: Callable[..., object], job: int, **given: object) -> Transaction:
    return partial(transition, tenant=TENANT, job=job, **given)


def cancel(job: int) -> Transaction:
    return steer(transitions.cancel, job, zombie_seconds=60.0)


def refuse_key(lease: Lease) -> Transaction:
    return partial(
        releases.release,
        lease=lease,
        error=KeyRefused("the key is not good"),
        decision=Pause(),
        zombie_seconds=60.0,
    )


def one_failed(place: Workplace) -> tuple[int, Lease]:
    """Give a job of which one document failed, and the lease of the other."""
    new, first = place.new_job(), document("a", "text")
    assert first.source is not None
    long = replace(first, source=replace(first.source, length=GROUP_BYTES + 1))  # travels alone
    items = [long, document("b", "text")]
    accept = partial(submission.accept, new=new, accepted=items, total=2)
    job = place.database.write_now(accept)
    one, two = leases(place)
    place.database.write_now(finish(bad(one)))
    return job, two


def cancel_and_finish(place: Workplace) -> Scene:
    live(place, "a")
    job = extracted(place, "a")
    (lease,) = leases(place)

    def check(_cancelled: object, finished: object) -> None:
        assert finished == [False]

    return Scene(cancel(job), finish(Finished(lease=lease)), check, refusals=(Conflict,))


def cancel_and_the_end_of_extraction(place: Workplace) -> Scene:
    job = place.submit({"long": "text"})
    (lease,) = leases(place)
    version = lease.versions[0].id
    parts = tuple(part_of(version, number, last=number == 2) for number in range(3))
    return Scene(cancel(job), finish(Finished(lease=lease, parts=parts)))


def cancel_and_the_flip_of_what_it_waits_for(place: Workplace) -> Scene:
    extracted(place, "a", "b")
    new = place.new_job()
    items = [document("b", "three"), document("a", "three")]
    accept = partial(submission.accept, new=new, accepted=items, total=2)
    job = place.database.write_now(accept)
    results = [Finished(lease=lease) for lease in leases(place)]
    return Scene(cancel(job), finish(*results))


def cancel_and_submit(place: Workplace) -> Scene:
    live(place, "a", "b")
    job = extracted(place, "b", "a")
    return Scene(cancel(job), submit(place, "a", "b", "c", text="three"))


def cancel_and_claim(place: Workplace) -> Scene:
    job = extracted(place, "a")
    place.submit({"b": "one"})
    return Scene(cancel(job), claim_now(5))


def cancel_and_the_listing(place: Workplace) -> Scene:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job
    add = partial(submission.add_documents, job=job, accepted=[document("a", "x")])
    return Scene(cancel(job), add, refusals=(Conflict,))


def pause_and_claim(place: Workplace) -> Scene:
    job = place.submit({"a": "one"})
    place.submit({"b": "one"})
    return Scene(steer(transitions.pause, job), claim_now(5))


def resume_and_claim(place: Workplace) -> Scene:
    """One batch was set aside, one came back after that."""
    held = long_document(place)
    job = held[0].job.id
    asyncio.run(place.worker("here").release(held[0], None))
    place.pause(job)
    asyncio.run(place.worker("here").release(held[1], None))
    return Scene(steer(transitions.resume, job), claim_now(5))


def two_refused_keys(place: Workplace) -> Scene:
    one, two = long_document(place)
    return Scene(refuse_key(one), refuse_key(two))


def refused_key_and_cancel(place: Workplace) -> Scene:
    one, *_ = long_document(place)
    return Scene(refuse_key(one), cancel(one.job.id))


def giving_way_and_finish(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a", "b")
    held = leases(place)
    for lease in held:
        place.pause(lease.job.id)
    place.submit({"b": "three", "a": "three"})
    give_way = partial(transitions.give_way, zombie_seconds=60.0)
    return Scene(give_way, finish(*(Finished(lease=lease) for lease in held)))


def giving_way_and_resume(place: Workplace) -> Scene:
    job = extracted(place, "a")
    place.pause(job)
    place.submit({"a": "three"})
    give_way = partial(transitions.give_way, zombie_seconds=60.0)
    return Scene(give_way, steer(transitions.resume, job), refusals=(Conflict,))


def retry_and_finish(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    return Scene(steer(retrying.retry, job), finish(worker(place).result(lease)))


def retry_and_the_last_failure(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    return Scene(steer(retrying.retry, job), finish(bad(lease)))


def retry_and_submit(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(
        steer(retrying.retry, job), submit(place, "b", "a", text="new"), refusals=(Conflict,)
    )


def two_retries(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(steer(retrying.retry, job), steer(retrying.retry, job), refusals=(Conflict,))


def discard_and_retry(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    discard = steer(retrying.discard, job)
    return Scene(discard, steer(retrying.retry, job), refusals=(Conflict,))


def discard_and_submit(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(steer(retrying.discard, job), submit(place, "b", "a", text="new"))


def cut_up(place: Workplace) -> tuple[int, Lease, Transaction]:
    """Give a job, the lease of its only batch, and what cuts that into single documents."""
    job = place.submit({"a": "one", "b": "one", "c": "one"})
    asyncio.run(worker(place).run(EXTRACT))
    (lease,) = leases(place)
    cut = partial(
        releases.release,
        lease=lease,
        error=TooMuchAtOnce("too much"),
        decision=Split(),
        zombie_seconds=60.0,
    )
    return job, lease, cut


def cutting_up_and_cancel(place: Workplace) -> Scene:
    job, _, cut = cut_up(place)
    return Scene(cut, cancel(job))


def cutting_up_and_pause(place: Workplace) -> Scene:
    job, _, cut = cut_up(place)
    return Scene(cut, steer(transitions.pause, job))


def cutting_up_and_a_newer_version(place: Workplace) -> Scene:
    _, _, cut = cut_up(place)
    return Scene(cut, submit(place, "c", "a", text="two"))


def parts_and_cancel(place: Workplace) -> Scene:
    """A long document is on its way when its job is cancelled."""
    job = place.submit({"long": "text"})
    (lease,) = leases(place)
    new = [part_of(lease.versions[0].id, last=False)]
    commit = partial(finishing.commit_parts, lease=lease, new_parts=new, zombie_seconds=60.0)
    return Scene(commit, cancel(job), refusals=(LeaseLost,))


def vectors_and_reap(place: Workplace) -> Scene:
    """Vectors are kept, or their worker learns that they are not; nothing is said twice."""
    extracted(place, "a")
    (lease,) = leases(place)
    place.pass_time()

    def check(kept: object, reaped: object) -> None:
        statement = select(batches.c.vectors).where(batches.c.kind == EMBED)
        known = place.database.read_now(lambda ledger: ledger.execute(statement).scalar_one())
        assert (kept, known) in (([True], ["vectors/1"]), ([False], []))
        assert reaped == 1 or kept == [True]

    return Scene(partial(finishing.add_vectors, files=[(lease, "vectors/1")]), reap, check)


def forget(connection: Connection) -> int:
    """Let go of all that is over; `RULES` in one transaction, where the duty takes one for each."""
    kept = Retention(versions=-1, attempts=-1, jobs=-1, failures=-1, keys=-1)
    jobs = retention.next_jobs(connection, after=0, kept=kept)
    assert jobs
    return sum(
        rule.end(connection, rule.find(connection, jobs.ended, kept)) for rule in retention.RULES
    )


def forgetting_and_retry(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(forget, steer(retrying.retry, job), refusals=(Conflict,))


def forgetting_and_submit(place: Workplace) -> Scene:
    live(place, "a")
    live(place, "a", text="two")
    live(place, "b")
    return Scene(forget, submit(place, "a", "b", text="three"))


def forgetting_and_flip(place: Workplace) -> Scene:
    live(place, "a")
    live(place, "a", text="two")
    extracted(place, "a", text="three")
    (lease,) = leases(place, EMBED)
    return Scene(forget, finish(Finished(lease=lease)), _both_of_use)


def forgetting_and_a_late_write(place: Workplace) -> Scene:
    """Whoever wrote after all makes work for a job that is just being deleted."""
    extracted(place, "a", text="one")
    (stale,) = leases(place, EMBED)
    place.pass_time()
    place.reap()
    asyncio.run(worker(place).run())
    live(place, "a", text="two")
    place.pass_time()
    asyncio.run(worker(place).run())

    def check(_gone: object, finished: object) -> None:
        assert finished == [False]

    return Scene(forget, finish(Finished(lease=stale)), check)


def two_who_forget(place: Workplace) -> Scene:
    for text in ("one", "two", "three"):
        live(place, "a", "b", text=text)
    return Scene(forget, forget)


def _both_of_use(gone: object, finished: object) -> None:
    assert gone
    assert finished == [True]


def the_last_loss_and_a_finish(place: Workplace) -> Scene:
    place.submit({"a": "one", "b": "one"})
    for _ in range(SUSPECT_AFTER - 1):
        leases(place)
        place.pass_time()
        place.reap()
    (lease,) = leases(place)
    place.pass_time()
    return Scene(reap, finish(worker(place).result(lease)))


def away(lease: Lease) -> Transaction:
    """Find the store of a batch away, for no time at all."""
    error = Unavailable("it does not answer", retry_after=0.0)
    error.system = "store"
    return partial(
        releases.release,
        lease=lease,
        error=error,
        decision=Wait(otherwise=Retry(delay=0.0, refund=False)),
        zombie_seconds=60.0,
    )


def two_find_a_store_away(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, two, _ = leases(place)

    def check(_one: object, _two: object) -> None:
        assert rows(place.database, "SELECT state FROM buckets") == [("paused",)]

    return Scene(away(one), away(two), check)


def outage_and_finish(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, two, three = leases(place)
    place.database.write_now(away(three))
    return Scene(away(one), finish(PretendWorker(place.worker("setup")).result(two)))


def outage_and_claim(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, *_ = leases(place, limit=1)
    return Scene(away(one), claim_now(2))


def two_go_to_see(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, *_ = leases(place, limit=1)
    place.database.write_now(away(one))

    def check(one: list[Lease], two: list[Lease]) -> None:
        assert len(one) + len(two) == 1

    return Scene(claim_now(2), claim_now(2), check)


def opening_and_claim(place: Workplace) -> Scene:
    """One makes ready what waited, as the other finds the next outage."""
    extracted(place, "a", "b", "c")
    one, two, three = leases(place)
    for lease in (one, two):
        place.database.write_now(away(lease))
    done = PretendWorker(place.worker("setup")).result(three)
    place.database.write_now(finish(done))
    return Scene(claim_now(2), claim_now(2))


def opening_and_the_next_outage(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c", "d")
    one, two, three, four = leases(place)
    for lease in (one, two):
        place.database.write_now(away(lease))
    done = PretendWorker(place.worker("setup")).result(three)
    place.database.write_now(finish(done))
    return Scene(claim_now(2), away(four))


def outage_and_pause(place: Workplace) -> Scene:
    job = extracted(place, "a", "b")
    one, two = leases(place)
    place.database.write_now(away(one))
    return Scene(steer(transitions.pause, job), away(two))


def outage_and_cancel(place: Workplace) -> Scene:
    job = extracted(place, "a", "b")
    _, two = leases(place)
    return Scene(cancel(job), away(two))


def mails(place: Workplace, *names: str, text: str, **inside: str) -> Sequence[Lease]:
    """Submit mails and extract them; gives the leases of what comes of it."""
    mailer = worker(place)
    mailer.attached = dict.fromkeys(names, inside)
    for name in names:
        place.submit({name: text})
    extracts = leases(place, EXTRACT)
    place.database.write_now(finish(*map(mailer.result, extracts)))
    return leases(place)


def with_inside(lease: Lease, **inside: str) -> Finished:
    """End the extraction of mails."""
    parts = tuple(part_of(version.id, attached=inside) for version in lease.versions)
    return Finished(lease=lease, parts=parts)


def live_mails(place: Workplace, *names: str, **inside: str) -> None:
    """Bring mails to life, the last one first, so that attachments of it come before others."""
    mailer = worker(place)
    mailer.attached = dict.fromkeys(names, inside)
    for name in reversed(names):
        place.submit({name: "one"})
        asyncio.run(mailer.run())


def attachments_and_the_flip_of_those_before(place: Workplace) -> Scene:
    held = mails(place, "mail", text="one", a="one", b="one")
    embeds = [lease for lease in held if lease.kind is EMBED]
    place.database.write_now(finish(*(Finished(lease=lease) for lease in embeds)))
    rest = [worker(place).result(lease) for lease in held if lease.kind is EXTRACT]
    place.database.write_now(finish(*rest))
    flips = [Finished(lease=lease) for lease in leases(place)]
    place.submit({"mail": "two"})
    (again,) = leases(place)
    return Scene(finish(*flips), finish(with_inside(again, b="two", c="two")))


def attachments_and_delete(place: Workplace) -> Scene:
    live_mails(place, "mail", "other", a="one", b="one")
    place.submit({"mail": "two"})
    (lease,) = leases(place)
    return Scene(finish(with_inside(lease, b="two", c="two")), delete(place, "mail", "other"))


def attachments_and_a_document_of_the_same_id(place: Workplace) -> Scene:
    place.submit({"mail": "one"})
    (lease,) = leases(place)
    return Scene(finish(with_inside(lease, a="one")), submit(place, "mail//a", "mail", "x"))


def attachments_of_two_mails(place: Workplace) -> Scene:
    live_mails(place, "one", "two", a="one", b="one")
    for name in ("one", "two"):
        place.submit({name: "two"})
    one, two = leases(place)
    return Scene(
        finish(with_inside(two, b="two", c="two")), finish(with_inside(one, b="two", c="two"))
    )


def deleting_mails_and_the_flip_of_attachments(place: Workplace) -> Scene:
    live_mails(place, "one", "two", a="one", b="one")
    held = mails(place, "one", "two", text="two", a="two", b="two")
    asyncio.run(place.worker("here").finish([Finished(lease=held[0])]))
    rest = [lease for lease in held[1:] if lease.kind is EXTRACT]
    place.database.write_now(finish(*map(worker(place).result, rest)))
    flips = [lease for lease in (*held[1:], *leases(place)) if lease.kind is EMBED]
    results = [Finished(lease=lease) for lease in flips]
    return Scene(finish(*results), delete(place, "two", "one"))


def a_deletion_that_waited_and_the_flip_of_attachments(place: Workplace) -> Scene:
    live_mails(place, "one", "two", a="one", b="one")
    held = mails(place, "one", "two", text="two", a="two", b="two")
    rest = [lease for lease in held if lease.kind is EXTRACT]
    place.database.write_now(finish(*map(worker(place).result, rest)))
    place.delete("two", "one")
    first = [Finished(lease=lease) for lease in held if lease.kind is EMBED]
    flips = [Finished(lease=lease) for lease in leases(place, EMBED)]
    return Scene(finish(*first), finish(*flips))


def two_ends_of_the_same_extraction(place: Workplace) -> Scene:
    place.submit({"mail": "one"})
    (lost,) = leases(place)
    place.pass_time()
    place.reap()
    (again,) = leases(place)

    def check(one: object, two: object) -> None:
        assert (one, two) == ([False], [True])
        names = rows(place.database, "SELECT external_id FROM documents ORDER BY id")
        assert names == [("mail",), ("mail//a",)]

    return Scene(finish(with_inside(lost, z="one")), finish(with_inside(again, a="one")), check)


def reset_and_attachments(place: Workplace) -> Scene:
    live_mails(place, "mail", a="one", b="one")
    place.submit({"mail": "two"})
    (lease,) = leases(place)
    return Scene(finish(with_inside(lease, b="two", c="two")), reset(lease))


SCENES = [
    two_claims,
    two_tenants_make_an_index,
    two_first_batches_of_a_tenant,
    two_more_batches_of_a_tenant,
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
    attachments_and_the_flip_of_those_before,
    attachments_and_delete,
    attachments_and_a_document_of_the_same_id,
    attachments_of_two_mails,
    deleting_mails_and_the_flip_of_attachments,
    a_deletion_that_waited_and_the_flip_of_attachments,
    two_ends_of_the_same_extraction,
    reset_and_attachments,
    cancel_and_finish,
    cancel_and_the_end_of_extraction,
    cancel_and_the_flip_of_what_it_waits_for,
    cancel_and_submit,
    cancel_and_claim,
    cancel_and_the_listing,
    pause_and_claim,
    resume_and_claim,
    two_refused_keys,
    refused_key_and_cancel,
    giving_way_and_finish,
    giving_way_and_resume,
    retry_and_finish,
    retry_and_the_last_failure,
    retry_and_submit,
    two_retries,
    the_last_loss_and_a_finish,
    discard_and_retry,
    discard_and_submit,
    cutting_up_and_cancel,
    cutting_up_and_pause,
    cutting_up_and_a_newer_version,
    parts_and_cancel,
    vectors_and_reap,
    forgetting_and_retry,
    forgetting_and_submit,
    forgetting_and_flip,
    forgetting_and_a_late_write,
    two_who_forget,
    two_find_a_store_away,
    outage_and_finish,
    outage_and_claim,
    two_go_to_see,
    opening_and_claim,
    opening_and_the_next_outage,
    outage_and_pause,
    outage_and_cancel,
]


@pytest.fixture(params=["postgres", pytest.param("mariadb", marks=pytest.mark.slow)])
def ledger_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_ledger")
    return url


@pytest.fixture
def stage(place: Workplace) -> Iterator[Stage]:
    yield Stage(place)
    execute(place.database, *FORGET)


def set_up(stage: Stage, make: Callable[[Workplace], Scene]) -> Scene:
    """Make a scene, and keep all rows so that it can be played again and again."""
    scene = make(stage.place)
    # Or the first write into an index would make the second wait, and hide everything after that.
    execute(stage.database, "UPDATE indexes SET written = true")
    execute(stage.database, *FORGET, *KEEP)
    return scene


def play(stage: Stage, scene: Scene, stop_at: int, *, swapped: bool) -> bool:
    """Play a scene and check everything; False if the first had fewer statements."""
    execute(stage.database, *PUT_BACK)
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
    for (job,) in rows(place.database, "SELECT id FROM jobs WHERE state = 'paused'"):
        assert isinstance(job, int)
        place.resume(job)
    for _ in range(4):
        asyncio.run(worker(place).run())
        place.pass_time()
        place.reap()
        if not rows(place.database, LEFT):
            return


def execute(database: Database, *statements: str) -> None:
    database.write_now(lambda connection: [*map(connection.exec_driver_sql, statements)])


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
        assert [lock[0] for lock in stage.locks if lock[2] != ORDERS[lock[1]]] == []


@pytest.mark.parametrize("swapped", [False, True], ids=["as written", "swapped"])
@pytest.mark.parametrize("make", SCENES)
def test_a_transaction_that_is_not_committed_yet_is_waited_for_or_passed(
    stage: Stage, make: Callable[[Workplace], Scene], swapped: bool
) -> None:
    assert play(stage, set_up(stage, make), BEFORE_COMMIT, swapped=swapped)


@pytest.mark.slow
@pytest.mark.parametrize("swapped", [False, True], ids=["as written", "swapped"])
@pytest.mark.parametrize("make", SCENES)
def test_a_transaction_may_be_overtaken_before_any_of_its_statements(
    stage: Stage, make: Callable[[Workplace], Scene], swapped: bool
) -> None:
    scene = set_up(stage, make)
    stopped = [play(stage, scene, 1, swapped=swapped)]
    while stopped[-1]:
        stopped.append(play(stage, scene, len(stopped) + 1, swapped=swapped))

    assert len(stopped) > 2
