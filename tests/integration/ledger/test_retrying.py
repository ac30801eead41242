"""Dead letters that are tried again, or given up for good."""

from dataclasses import replace
from functools import partial

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk, BinaryContent, Conflict, NotFound, Unavailable
from vectorflow.ledger import duties, reads, retrying
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.ledgers import broken_laws, dump, rows
from vectorflow.testing.workplace import (
    PIPELINE,
    TENANT,
    PretendWorker,
    Workplace,
    claim_one,
    names_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("here"))


async def failing(place: Workplace, worker: PretendWorker, good: str, *bad: str) -> int:
    """Make a job that ends partial: `bad` documents fail."""
    job = place.submit(dict.fromkeys((good, *bad), "text"))
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    failures = {
        version.id: BadChunk("no", position=0)
        for version in lease.versions
        if version.external_id in bad
    }
    await worker.work.finish([Finished(lease=lease, failures=failures)])
    await worker.run()
    assert place.job(job).state is JobState.PARTIAL
    return job


def jobs_to_retry(place: Workplace, cause: str | None = None) -> list[int]:
    return place.database.read_now(partial(retrying.retriable_jobs, tenant=TENANT, cause=cause))


def discard(place: Workplace, job: int | None = None, cause: str | None = None) -> int:
    given = partial(retrying.discard, tenant=TENANT, job=job, cause=cause)
    return place.database.write_now(given)


def embedded(leases: list[Lease]) -> list[str]:
    return sorted(names_of([lease for lease in leases if lease.kind is EMBED]))


async def test_retry_of_a_partial_job_makes_it_completed(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad", "worse")

    assert place.retry(job) == 2

    view = place.job(job)
    assert (view.state, view.ended_at) == (JobState.RUNNING, None)
    assert (view.docs_total, view.docs_done, view.docs_failed) == (3, 1, 0)
    assert broken_laws(place.database) == {}
    assert embedded(await worker.run()) == ["bad", "worse"]
    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_done) == (JobState.COMPLETED, 3, 3)
    assert place.failures(job) == []
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_fails_again_is_a_failure_again_and_counted_once(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad")
    place.retry(job)

    await worker.work.release(await claim_one(worker.work), BinaryContent("no"))

    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_failed) == (JobState.PARTIAL, 2, 1)
    (letter,) = place.failures(job)
    assert (letter.code, letter.attempted_version) == ("binary_content", 2)
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_canary_is_a_few_of_the_oldest(place: Workplace, worker: PretendWorker) -> None:
    job = await failing(place, worker, "good", "a", "b", "c")

    assert place.retry(job, most=1) == 1
    await worker.run()

    view = place.job(job)
    assert (view.state, view.docs_done, view.docs_failed) == (JobState.PARTIAL, 2, 2)
    assert place.retry(job) == 2
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED


async def test_only_failures_of_one_cause_are_tried_again(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad")
    before = dump(place.database)

    with pytest.raises(Conflict, match=f"no failure of job {job} with the code unavailable"):
        place.retry(job, cause="unavailable")
    assert dump(place.database) == before

    assert jobs_to_retry(place, "unavailable") == []
    assert jobs_to_retry(place, "bad_chunk") == [job]
    assert place.retry(job, cause="bad_chunk") == 1


async def test_what_a_later_version_has_replaced_is_left_alone(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad", "worse")
    place.submit({"bad": "better"})
    await worker.run()

    assert place.retry(job) == 1

    assert embedded(await worker.run()) == ["worse"]
    assert place.job(job).state is JobState.PARTIAL
    with pytest.raises(Conflict, match="can be tried again"):
        place.retry(job)
    assert jobs_to_retry(place) == []


async def test_what_was_never_read_has_to_be_sent_again(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"good": "text"}, failures={"unread": BinaryContent("no")})
    await worker.run()

    assert jobs_to_retry(place) == []
    with pytest.raises(Conflict, match="can be tried again"):
        place.retry(job)


async def test_a_retried_document_replaces_what_is_live_as_any_other_version(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    failures = {lease.versions[0].id: BadChunk("no", position=0)}
    await worker.work.finish([Finished(lease=lease, failures=failures)])
    await worker.run()

    place.retry(job)
    again = await claim_one(worker.work)

    (version,) = again.versions
    assert (version.number, version.base) == (3, lease.versions[0].base)
    assert version.source == lease.versions[0].source
    await worker.work.finish([worker.result(again)])
    await worker.run()
    assert rows(place.database, "SELECT number FROM versions WHERE state = 'live'") == [(3,)]
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_job_that_is_paused_completed_or_cancelled_is_not_retried(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad")
    place.retry(job)
    place.pause(job)
    with pytest.raises(Conflict, match=f"is paused and cannot be retried; .*jobs resume {job}"):
        place.retry(job)
    place.cancel(job)
    with pytest.raises(Conflict, match="is cancelled and cannot be retried; send"):
        place.retry(job)
    completed = place.submit({"c": "text"})
    await worker.run()
    with pytest.raises(Conflict, match="is completed and cannot be retried"):
        place.retry(completed)
    with pytest.raises(NotFound, match="no job 999"):
        place.retry(999)


async def test_vectors_whose_webhook_was_erased_are_not_sent_again(
    place: Workplace, worker: PretendWorker
) -> None:
    hook = replace(PIPELINE, store="webhook://example.com")
    job = place.submit({"a": "one"}, pipeline=hook)
    await worker.work.release(await claim_one(worker.work), BinaryContent("no"))
    assert place.job(job).state is JobState.FAILED

    with pytest.raises(Conflict, match=f"webhook was erased .*/v1/jobs/{job}:retry"):
        place.retry(job)
    assert jobs_to_retry(place) == []


async def test_what_was_checked_by_an_erased_hook_is_not_passed_on_unchecked(
    place: Workplace, worker: PretendWorker
) -> None:
    checked = replace(PIPELINE, recipe=replace(PIPELINE.recipe, validation="0" * 32))
    job = place.submit({"a": "one"}, pipeline=checked)
    await worker.work.release(await claim_one(worker.work), BinaryContent("no"))

    with pytest.raises(Conflict, match="validation hook was erased"):
        place.retry(job)


@pytest.mark.parametrize("store", ["webhook://example.com", PIPELINE.store])
async def test_a_retry_keeps_new_credentials_until_its_end(
    place: Workplace, worker: PretendWorker, store: str
) -> None:
    job = place.submit({"a": "one", "b": "two"}, pipeline=replace(PIPELINE, store=store))
    await worker.work.release(await claim_one(worker.work), BinaryContent("no"))

    def retry(sealed: str) -> None:
        again = partial(retrying.retry, tenant=TENANT, job=job, most=1, sealed=sealed)
        place.database.write_now(again)

    retry("first")
    retry("second")  # of a job that runs
    with pytest.raises(Conflict):
        retry("of no use")

    kept = "SELECT job_id, tenant, sealed FROM credentials"
    assert rows(place.database, kept) == [(job, TENANT, "second")]
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED
    assert rows(place.database, kept) == []
    assert broken_laws(place.database, all_done=True) == {}


async def test_discarded_failures_are_listed_no_more_and_count_all_the_same(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad", "worse")
    other = await failing(place, worker, "fine", "poor")
    needed = place.database.read_now(duties.referenced_blobs)

    assert discard(place, job, "unavailable") == 0
    assert discard(place, job) == 2
    assert discard(place, job) == 0

    assert place.failures(job) == []
    listed = place.database.read_now(partial(reads.failures, tenant=TENANT))
    assert [failure.external_id for failure in listed] == ["poor"]
    assert (place.job(job).state, place.job(job).docs_failed) == (JobState.PARTIAL, 2)
    assert jobs_to_retry(place) == [other]
    with pytest.raises(Conflict, match="can be tried again"):
        place.retry(job)
    assert broken_laws(place.database, all_done=True) == {}
    assert discard(place) == 1
    assert place.database.read_now(duties.referenced_blobs) < needed


async def test_a_discarded_document_can_be_sent_again(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad")
    discard(place, job)

    again = place.submit({"bad": "text"})
    await worker.run()

    assert place.job(again).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_failures_of_other_tenants_are_out_of_reach(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failing(place, worker, "good", "bad")

    with pytest.raises(NotFound):
        place.database.write_now(partial(retrying.retry, tenant="other", job=job))
    assert place.database.write_now(partial(retrying.discard, tenant="other")) == 0
    assert place.database.read_now(partial(retrying.retriable_jobs, tenant="other")) == []


async def test_a_document_that_failed_too_often_is_retried_with_new_tries(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    while place.job(job).state is JobState.RUNNING:
        await worker.work.release(await claim_one(worker.work), Unavailable("down"))
        place.pass_time()

    place.retry(job)

    assert (await claim_one(worker.work)).attempt == 1
