"""Batches over which workers die, again and again."""

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.retries import LOST_ALONE, SUSPECT_AFTER
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import (
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    names_of,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def work(place: Workplace) -> Work:
    return place.worker("here")


async def die(place: Workplace, work: Work, times: int, *kinds: BatchKind) -> None:
    """Claim and never come back, so many times."""
    for _ in range(times):
        assert await claim(work, *kinds)
        place.pass_time()
        place.reap()
        assert broken_laws(place.database) == {}


async def test_a_batch_that_was_lost_too_often_is_cut_into_single_documents(
    place: Workplace, work: Work
) -> None:
    place.submit({"a": "one", "b": "two", "c": "three"})
    await die(place, work, SUSPECT_AFTER)

    batches = "SELECT state, lost, cut_from FROM batches ORDER BY id"
    assert rows(place.database, batches) == [
        ("cancelled", SUSPECT_AFTER, None),
        *[("ready", 0, 1)] * 3,
    ]


async def test_only_what_is_not_extracted_yet_runs_alone(place: Workplace, work: Work) -> None:
    place.submit({"a": "one", "long": "two", "b": "three"})
    lease = await claim_one(work)
    a, long, _ = (version.id for version in lease.versions)
    await work.checkpoint(lease, parts=[part_of(a)])
    await work.checkpoint(lease, parts=[part_of(long, 0, last=False)])
    place.pass_time()
    place.reap()

    await die(place, work, SUSPECT_AFTER - 1, EXTRACT)

    alone = [await claim_one_of(work, EXTRACT) for _ in range(2)]
    assert sorted(alone) == ["b", "long"]
    assert list(await claim(work, EXTRACT)) == []
    assert broken_laws(place.database) == {}


async def claim_one_of(work: Work, kind: BatchKind) -> str:
    (lease,) = await claim(work, kind)
    (name,) = names_of([lease])
    return name


async def test_the_vectors_of_a_batch_that_is_cut_are_not_paid_for_again(
    place: Workplace, work: Work
) -> None:
    place.submit({"a": "one", "b": "two"})
    await PretendWorker(work).run(EXTRACT)
    lease = await claim_one(work)
    await work.checkpoint(lease, vectors="vectors/1")
    place.pass_time()
    place.reap()
    await die(place, work, SUSPECT_AFTER - 1)

    first, second = await claim_one(work), await claim_one(work)

    assert first.vectors == second.vectors == ("vectors/1",)
    await work.finish([Finished(lease=first), Finished(lease=second)])
    assert broken_laws(place.database, all_done=True) == {}


@pytest.mark.parametrize("kind", [EXTRACT, EMBED])
async def test_a_document_that_came_alone_has_as_many_chances_as_one_that_was_cut_out(
    place: Workplace, work: Work, kind: BatchKind
) -> None:
    job = place.submit({"a": "one"})
    if kind is EMBED:
        await PretendWorker(work).run(EXTRACT)
    await die(place, work, SUSPECT_AFTER + LOST_ALONE - 1)
    assert place.job(job).docs_failed == 0

    await die(place, work, 1)

    assert place.job(job).docs_failed == 1
    (letter,) = place.failures(job)
    assert (letter.code, letter.stage) == ("workers_died", kind)
    assert letter.attempts == SUSPECT_AFTER + LOST_ALONE
    for _ in range(2):  # what a zombie may still store is deleted once more
        place.pass_time()
        await PretendWorker(work).run()
    assert place.job(job).state is JobState.FAILED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_part_over_which_workers_die_fails_its_document_and_leaves_nothing(
    place: Workplace, work: Work
) -> None:
    job = place.submit({"long": "text"})
    lease = await claim_one(work)
    version = lease.versions[0].id
    parts = tuple(part_of(version, number, last=number == 1) for number in range(2))
    await work.finish([Finished(lease=lease, parts=parts)])
    first, _ = await claim(work)
    await work.finish([Finished(lease=first)])
    place.pass_time()
    place.reap()

    await die(place, work, SUSPECT_AFTER + LOST_ALONE - 1)

    assert place.job(job).docs_failed == 1
    place.pass_time()  # what a zombie may still store is deleted once more
    assert [lease.kind for lease in await PretendWorker(work).run()] == [RETIRE, RETIRE]
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_long_document_that_gets_on_is_no_poison_however_often_it_is_lost(
    place: Workplace, work: Work
) -> None:
    job = place.submit({"long": "text"})
    for number in range(2 * (SUSPECT_AFTER + LOST_ALONE)):
        lease = await claim_one(work, EXTRACT)
        assert not lease.alone
        part = part_of(lease.versions[0].id, number, last=False)
        await work.checkpoint(lease, parts=[part])
        place.pass_time()
        place.reap()

    await die(place, work, SUSPECT_AFTER, EXTRACT)

    assert (await claim_one(work, EXTRACT)).alone
    assert place.job(job).docs_failed == 0


async def test_vectors_that_are_kept_are_progress(place: Workplace, work: Work) -> None:
    job = place.submit({"a": "one"})
    await PretendWorker(work).run(EXTRACT)
    for number in range(2 * (SUSPECT_AFTER + LOST_ALONE)):
        lease = await claim_one(work)
        await work.checkpoint(lease, vectors=f"vectors/{number}")
        place.pass_time()
        place.reap()

    assert not (await claim_one(work)).alone
    assert place.job(job).docs_failed == 0


async def test_what_deletes_is_never_given_up(place: Workplace, work: Work) -> None:
    place.submit({"a": "one"})
    await PretendWorker(work).run()
    job = place.delete("a")

    await die(place, work, 2 * (SUSPECT_AFTER + LOST_ALONE))

    assert not (await claim_one(work)).alone
    assert place.job(job).cleanup_open == 1


async def test_a_job_whose_workers_died_can_be_retried(place: Workplace, work: Work) -> None:
    job = place.submit({"a": "one"})
    await die(place, work, SUSPECT_AFTER + LOST_ALONE)
    assert place.job(job).state is JobState.FAILED

    place.retry(job, cause="workers_died")
    await PretendWorker(work).run()

    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}
