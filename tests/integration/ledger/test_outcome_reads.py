"""What people are shown of the documents of a job, and of failures by cause."""

from collections.abc import Sequence
from functools import partial

import pytest

from vectorflow.domain.jobs import JobState, VersionState
from vectorflow.errors import BadChunk, BinaryContent, BrokenFile, VectorFlowError
from vectorflow.ledger import outcome_reads, reads, retrying
from vectorflow.ledger.outcome_reads import CauseView, DocumentView
from vectorflow.testing.workplace import TENANT, PretendWorker, Workplace, claim_one


@pytest.fixture
def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("here"))


def documents(
    place: Workplace, job: int, *, limit: int = 100, after: int = 0, state: str | None = None
) -> list[DocumentView]:
    chosen = None if state is None else VersionState(state)
    read = partial(outcome_reads.job_documents, job=job, limit=limit, after=after, state=chosen)
    return place.database.read_now(read)


def causes(place: Workplace, *, job: int | None = None, limit: int = 100) -> list[CauseView]:
    return place.database.read_now(
        partial(outcome_reads.causes, tenant=TENANT, job=job, limit=limit)
    )


def facts(found: Sequence[CauseView]) -> list[tuple[str, int, int, str]]:
    return [(one.code, one.documents, one.jobs, one.newest.external_id) for one in found]


def failing(place: Workplace, **bad: VectorFlowError) -> int:
    """Make a job of documents that could not be read."""
    return place.submit({}, failures=bad)


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_together_are_all_documents_in_the_order_in_which_they_came(
    place: Workplace, worker: PretendWorker, limit: int
) -> None:
    names = [f"d{number}" for number in range(6)]
    job = place.submit(dict.fromkeys(names, "text"), failures={"bad": BinaryContent("no")})
    place.submit({"of-another": "text"})
    await worker.run()

    pages, after = list[list[DocumentView]](), 0
    while page := documents(place, job, limit=limit, after=after):
        pages.append(page)
        after = page[-1].id
    found = [one for page in pages for one in page]

    assert [one.external_id for one in found] == [*names, "bad"]
    assert all(len(page) <= limit for page in pages)
    assert [(one.state, one.served_version) for one in found] == [("live", 1)] * 6 + [
        ("failed", None)
    ]
    assert [one.external_id for one in documents(place, job, state="failed")] == ["bad"]
    assert found[-1].failure is not None
    assert found[-1].failure["code"] == "binary_content"


async def test_a_document_that_is_tried_again_is_shown_once(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    await worker.work.release(await claim_one(worker.work), BinaryContent("no"))
    place.retry(job)

    [again] = documents(place, job)

    assert (again.state, again.attempted_version, again.failure) == ("indexing", 2, None)


async def test_failures_are_counted_by_what_would_mend_them(place: Workplace) -> None:
    first = failing(place, a=BinaryContent("1"), b=BinaryContent("2"), c=BrokenFile("3"))
    second = failing(place, d=BinaryContent("4"), e=BinaryContent("5", fix="other"))
    failing(place, f=BrokenFile("6"))

    assert facts(causes(place)) == [
        ("binary_content", 3, 2, "d"),
        ("broken_file", 2, 2, "f"),
        ("binary_content", 1, 1, "e"),
    ]
    assert [one.fix for one in causes(place)] == [BinaryContent.fix, BrokenFile.fix, "other"]
    assert facts(causes(place, job=first)) == [
        ("binary_content", 2, 1, "b"),
        ("broken_file", 1, 1, "c"),
    ]
    assert facts(causes(place, limit=1)) == [("binary_content", 3, 2, "d")]
    assert causes(place, job=second)[0].newest.job == second
    assert place.database.read_now(partial(outcome_reads.causes, tenant="x", limit=9)) == []


async def test_what_a_later_version_has_replaced_counts_only_in_its_job(
    place: Workplace, worker: PretendWorker
) -> None:
    job = failing(place, a=BrokenFile("no"), b=BrokenFile("no"))
    place.submit({"a": "mended"})
    await worker.run()

    assert facts(causes(place)) == [("broken_file", 1, 1, "b")]
    assert facts(causes(place, job=job)) == [("broken_file", 2, 1, "b")]
    [replaced, _] = documents(place, job, state="failed")
    assert (replaced.external_id, replaced.served_version) == ("a", 2)


async def test_causes_count_what_the_list_of_failures_lists(place: Workplace) -> None:
    failing(place, a=BrokenFile("1"), b=BadChunk("2", position=3))
    job = failing(place, c=BrokenFile("3"))
    place.database.write_now(partial(retrying.discard, tenant=TENANT, job=job))

    listed = place.database.read_now(partial(reads.failures, tenant=TENANT))

    assert sum(one.documents for one in causes(place)) == len(listed) == 2
    assert {one.newest.external_id for one in causes(place)} == {"a", "b"}


async def test_jobs_are_read_a_page_at_a_time(place: Workplace, worker: PretendWorker) -> None:
    done = place.submit({"a": "one"})
    await worker.run()
    waiting = [place.submit({name: "text"}) for name in "bcd"]
    place.pause(waiting[1])

    def page(**asked: object) -> list[int]:
        read = partial(reads.job_page, tenant=TENANT, limit=2, **asked)  # type: ignore[arg-type]
        return [view.id for view in place.database.read_now(read)]

    assert page() == waiting[:0:-1]
    assert page(before=waiting[1]) == [waiting[0], done]
    assert page(before=done) == []
    assert page(state=JobState.RUNNING) == [waiting[2], waiting[0]]
    assert page(state=JobState.RUNNING, started=True) == []
    assert page(state=JobState.PAUSED, started=False) == [waiting[1]]
    assert page(started=True) == [done]
