"""Which version of a document is live: flips, failures, submits and deletions."""

import asyncio
from functools import partial

from sqlalchemy import Connection

from tests.integration.ledger.interleavings.acts import (
    EMBED,
    EXTRACT,
    RETIRE,
    bad,
    claim_now,
    delete,
    extracted,
    finish,
    leases,
    live,
    long_document,
    submit,
    worker,
)
from tests.integration.ledger.interleavings.stage import Scene
from vectorflow.domain.jobs import JobState
from vectorflow.ledger import finishing, submission
from vectorflow.ports.work import Finished
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import Workplace, document, part_of


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


SCENES = [
    the_last_two_batches,
    the_last_two_parts,
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
    two_submits,
    two_submits_of_many,
    submit_and_delete,
    two_deletes,
    superseding_across_jobs,
    submits_that_supersede_each_other,
]
