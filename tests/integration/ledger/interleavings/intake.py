"""What is made once however many ask: indexes, pipelines, jobs of a key, ends of listings."""

import asyncio
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from tests.integration.ledger.interleavings.acts import EXTRACT, finish, leases, worker
from tests.integration.ledger.interleavings.stage import Scene, Transaction, execute
from vectorflow.domain.jobs import JobState
from vectorflow.errors import Conflict, IndexRefused
from vectorflow.ledger import indexes, submission
from vectorflow.ledger.submission import NewJob
from vectorflow.ports.work import Finished
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import PIPELINE, TENANT, Workplace, document


def two_tenants_make_an_index(place: Workplace) -> Scene:
    """What is made here is not what `place` has made."""
    pipeline = replace(PIPELINE, index="contested")

    def check(*answers: object) -> None:
        assert sum(isinstance(answer, indexes.IndexRow) for answer in answers) == 1
        assert len(rows(place.database, "SELECT id FROM indexes WHERE name = 'contested'")) == 1

    one, two = (partial(indexes.open_index, tenant=name, pipeline=pipeline) for name in "ab")
    return Scene(one, two, check, refusals=(IndexRefused,))


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


SCENES = [
    two_tenants_make_an_index,
    two_new_indexes,
    two_new_pipelines,
    one_key_twice,
    the_end_of_a_listing_and_of_its_last_document,
    a_listing_taken_for_dead_while_it_adds,
]
