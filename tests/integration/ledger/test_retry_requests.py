"""Retries with an idempotency key: sent again, at once or after a crash, they do no more."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from vectorflow.domain.jobs import BatchKind
from vectorflow.errors import BinaryContent, Conflict
from vectorflow.ledger import retry_requests
from vectorflow.ledger.retry_requests import RetryRequest, SoFar
from vectorflow.ports.work import Finished
from vectorflow.service.failures import Failures, Retried, retry_failures
from vectorflow.testing.ledgers import broken_laws, dump, rows
from vectorflow.testing.workplace import TENANT, PretendWorker, Workplace, claim

REQUEST = RetryRequest(tenant=TENANT, key="once", request_hash="of-this-body")
OTHER_BODY = RetryRequest(tenant=TENANT, key="once", request_hash="of-another-body")


@pytest.fixture
def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("here"))


async def failed(place: Workplace, worker: PretendWorker, *names: str) -> int:
    """Make a job of which each document fails."""
    job = place.submit(dict.fromkeys(names, "text"))
    await fail_all(worker)
    assert len(place.failures(job)) == len(names)
    return job


async def fail_all(worker: PretendWorker) -> None:
    while leases := await claim(worker.work, BatchKind.EXTRACT):
        for lease in leases:
            failures = {version.id: BinaryContent("no") for version in lease.versions}
            await worker.work.finish([Finished(lease=lease, failures=failures)])


def retry(place: Workplace, job: int, most: int | None = None) -> SoFar:
    again = partial(retry_requests.retry, request=REQUEST, job=job, most=most)
    return place.database.write_now(again)


async def retry_all(place: Workplace, canary: int | None = None) -> Retried:
    failures = Failures(tenant=TENANT, canary=canary)
    return await retry_failures(place.database, failures, request=REQUEST)


def tried_again(place: Workplace) -> int:
    query = "SELECT count(*) FROM versions WHERE state = 'retried'"
    return int(str(rows(place.database, query)[0][0]))


async def test_a_canary_that_is_asked_for_again_stays_one(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failed(place, worker, "a", "b", "c")

    told = [retry(place, job, most=1) for _ in range(3)]

    assert told == [SoFar(documents=1, jobs=(job,), ended=False)] * 3
    assert tried_again(place) == 1


async def test_what_failed_again_is_not_tried_once_more_by_the_same_request(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failed(place, worker, "a")
    first = retry(place, job)
    await fail_all(worker)

    assert retry(place, job) == first

    assert tried_again(place) == 1
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_key_that_came_with_another_request_is_refused(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failed(place, worker, "a", "b")
    retry(place, job, most=1)
    before = dump(place.database)

    with pytest.raises(Conflict, match="used for another request"):
        place.database.write_now(partial(retry_requests.retry, request=OTHER_BODY, job=job))

    assert dump(place.database) == before


async def test_a_request_that_can_do_nothing_leaves_nothing(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "text"})
    await worker.run()

    with pytest.raises(Conflict, match="cannot be retried"):
        retry(place, job)

    assert rows(place.database, "SELECT * FROM retry_requests") == []


async def test_the_same_request_at_once_does_it_once(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failed(place, worker, "a", "b", "c")
    together = threading.Barrier(4)

    def ask() -> SoFar:
        together.wait()
        return retry(place, job, most=1)

    with ThreadPoolExecutor(4) as threads:
        told = [asked.result() for asked in [threads.submit(ask) for _ in range(4)]]

    assert told == [SoFar(documents=1, jobs=(job,), ended=False)] * 4
    assert tried_again(place) == 1


@pytest.mark.parametrize("canary", [None, 3])
async def test_a_request_that_was_cut_off_goes_on_with_the_jobs_that_are_left(
    place: Workplace, worker: PretendWorker, canary: int | None
) -> None:
    made = [await failed(place, worker, f"{one}1", f"{one}2") for one in "abc"]
    place.database.write_now(partial(retry_requests.begin, request=REQUEST))
    retry(place, made[0], most=canary)
    await fail_all(worker)

    told = [await retry_all(place, canary) for _ in range(2)]

    expected: tuple[int, Sequence[int]] = (6, made) if canary is None else (3, made[:2])
    assert [(one.documents, list(one.jobs)) for one in told] == [expected] * 2
    assert tried_again(place) == expected[0]


async def test_a_request_that_has_ended_leaves_later_failures_alone(
    place: Workplace, worker: PretendWorker
) -> None:
    first = await failed(place, worker, "a")
    told = await retry_all(place)
    await failed(place, worker, "b")

    assert await retry_all(place) == told == Retried(documents=1, jobs=(first,))

    assert tried_again(place) == 1


async def test_a_request_that_has_ended_meanwhile_takes_no_more_jobs(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failed(place, worker, "a")
    for step in (retry_requests.begin, retry_requests.end):
        place.database.write_now(partial(step, request=REQUEST))

    assert retry(place, job) == SoFar(documents=0, jobs=(), ended=True)

    assert tried_again(place) == 0
