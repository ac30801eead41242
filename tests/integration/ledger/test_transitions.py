"""Jobs that are paused, resumed and cancelled."""

from dataclasses import replace
from functools import partial

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk, BinaryContent, Conflict, KeyRefused, NotFound, Unavailable
from vectorflow.ledger import backlog, reads, submission, transitions
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.ledgers import broken_laws, dump, rows
from vectorflow.testing.workplace import (
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    document,
    names_of,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def work(place: Workplace) -> Work:
    return place.worker("here")


@pytest.fixture
def worker(work: Work) -> PretendWorker:
    return PretendWorker(work)


def with_credentials(place: Workplace, *names: str) -> int:
    """Make a job whose request brought a key."""
    new = replace(place.new_job(), sealed="sealed")
    items = [document(name, "text") for name in names]
    accept = partial(submission.accept, new=new, accepted=items, total=len(items))
    return place.database.write_now(accept)


def credentials(place: Workplace) -> int:
    ((count,),) = rows(place.database, "SELECT count(*) FROM credentials")
    assert isinstance(count, int)
    return count


async def test_a_paused_job_waits_and_then_goes_on_where_it_was(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    await worker.run(EXTRACT)

    place.pause(job)

    view = place.job(job)
    assert view.state is JobState.PAUSED
    assert view.paused is not None
    assert view.paused["reason"] == "operator"
    assert f"vectorflow jobs resume {job}" in str(view.paused["fix"])
    assert list(await claim(worker.work)) == []
    assert rows(place.database, "SELECT state FROM batches WHERE kind = 'embed'") == [("paused",)]
    assert broken_laws(place.database) == {}

    place.resume(job)
    assert (place.job(job).state, place.job(job).paused) == (JobState.RUNNING, None)
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_comes_back_to_a_paused_job_waits_as_well(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    lease = await claim_one(worker.work)
    place.pause(job)

    await worker.work.release(lease, Unavailable("down"))
    place.pass_time()

    assert list(await claim(worker.work)) == []
    place.submit({"b": "two"})
    assert names_of(await claim(worker.work)) == ["b"]
    place.resume(job)
    assert names_of(await claim(worker.work)) == ["a"]


async def test_what_becomes_ready_of_a_paused_job_is_set_aside(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job
    add = partial(submission.add_documents, job=job, accepted=[document("a", "one")])
    place.database.write_now(add)
    lease = await claim_one(worker.work)
    place.pause(job)
    add = partial(submission.add_documents, job=job, accepted=[document("b", "one")])
    place.database.write_now(add)
    await worker.work.release(lease, None)
    place.submit({"other": "text"})

    assert place.set_rest_aside() == 1
    assert place.set_rest_aside() == 0

    waiting = place.database.read_now(backlog.backlog).total
    assert (waiting.ready, waiting.paused) == (1, 2)
    assert names_of(await worker.run(EXTRACT)) == ["other"]
    assert broken_laws(place.database) == {}
    place.database.write_now(partial(submission.end_listing, job=job))
    place.resume(job)
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def with_clean_up(place: Workplace, worker: PretendWorker) -> int:
    """Give a job whose documents are done, while old records of one are still to be deleted."""
    place.submit({"a": "one"})
    await worker.run()
    new = place.new_job()
    items = [document("a", "two"), document("b", "two")]
    accept = partial(submission.accept, new=new, accepted=items, total=2)
    job = place.database.write_now(accept)
    await worker.run(EXTRACT)
    await worker.run(EMBED)
    assert place.job(job).cleanup_open == 1
    return job


async def test_clean_up_of_a_paused_job_is_not_set_aside(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await with_clean_up(place, worker)
    place.pause(job)

    assert place.set_rest_aside() == 0

    assert [lease.kind for lease in await worker.run()] == [RETIRE]


async def test_what_deletes_goes_on_while_a_job_is_paused(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await with_clean_up(place, worker)

    place.pause(job)

    assert [lease.kind for lease in await worker.run()] == [RETIRE]
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


@pytest.mark.parametrize("then", ["paused", "resumed", "cancelled"])
async def test_a_job_that_has_ended_is_neither_paused_nor_resumed_nor_cancelled(
    place: Workplace, worker: PretendWorker, then: str
) -> None:
    job = place.submit({"a": "one"})
    await worker.run()
    before = dump(place.database)
    acts = {"paused": place.pause, "resumed": place.resume, "cancelled": place.cancel}

    with pytest.raises(
        Conflict, match=f"job {job} is completed and cannot be {then}; ."
    ) as refused:
        acts[then](job)

    assert refused.value.fix
    assert dump(place.database) == before


def test_a_job_is_paused_and_cancelled_once(place: Workplace) -> None:
    job = place.submit({"a": "one"})
    with pytest.raises(Conflict, match="is running and cannot be resumed"):
        place.resume(job)
    place.pause(job)
    with pytest.raises(Conflict, match="is paused and cannot be paused"):
        place.pause(job)
    place.cancel(job)
    with pytest.raises(Conflict, match="is cancelled and cannot be cancelled"):
        place.cancel(job)


@pytest.mark.parametrize("act", [transitions.pause, transitions.resume])
def test_a_job_of_another_tenant_is_unknown(place: Workplace, act: object) -> None:
    job = place.submit({"a": "one"})

    assert callable(act)
    with pytest.raises(NotFound, match=f"no job {job}"):
        place.database.write_now(partial(act, tenant="other", job=job))
    with pytest.raises(NotFound, match=f"no job {job}"):
        place.database.write_now(
            partial(transitions.cancel, tenant="other", job=job, zombie_seconds=60.0)
        )


async def test_a_job_that_is_paused_for_its_key_keeps_its_credentials(
    place: Workplace, worker: PretendWorker
) -> None:
    job = with_credentials(place, "a")
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)

    await worker.work.release(lease, KeyRefused("the account is out of credit"))

    assert place.job(job).state is JobState.PAUSED
    tries = "SELECT outcome, error FROM attempts ORDER BY batch_id DESC LIMIT 1"
    assert rows(place.database, tries) == [("released", "key_refused")]
    assert credentials(place) == 1
    place.resume(job)
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED
    assert credentials(place) == 0


async def test_a_job_is_resumed_with_other_credentials_than_it_waited_with(
    place: Workplace, worker: PretendWorker
) -> None:
    job, without = with_credentials(place, "a"), place.submit({"b": "text"})
    for one in (job, without):
        place.pause(one)
        resume = partial(transitions.resume, tenant="default", job=one, sealed="better")
        place.database.write_now(resume)
        with pytest.raises(Conflict, match="only a paused job"):
            place.database.write_now(partial(resume, sealed="of no use"))

    kept = rows(place.database, "SELECT job_id, sealed FROM credentials ORDER BY job_id")
    assert kept == [(job, "better"), (without, "better")]
    await worker.run()
    assert credentials(place) == 0


async def test_a_refused_key_sets_aside_what_is_ready_of_its_job_and_no_other(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"long": "text"})
    other = place.submit({"b": "two"})
    leases = await claim(worker.work)
    long = leases[0].versions[0].id
    parts = tuple(part_of(long, number, last=number == 3) for number in range(4))
    await worker.work.finish([Finished(lease=leases[0], parts=parts)])
    first, second = await claim(worker.work, EMBED, limit=2)

    for lease in (first, second):
        await worker.work.release(lease, KeyRefused("no"))

    states = "SELECT state, count(*) FROM batches WHERE kind = 'embed' GROUP BY state"
    assert rows(place.database, states) == [("paused", 4)]
    await worker.work.finish([worker.result(leases[1])])
    await worker.run()
    assert place.job(other).state is JobState.COMPLETED
    assert broken_laws(place.database) == {}


async def test_a_refused_key_of_a_document_that_failed_meanwhile_pauses_nothing(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"long": "text"})
    lease = await claim_one(worker.work)
    version = lease.versions[0].id
    parts = tuple(part_of(version, number, last=number == 1) for number in range(2))
    await worker.work.finish([Finished(lease=lease, parts=parts)])
    first, second = await claim(worker.work)
    failures = {version: BadChunk("no", position=0)}
    await worker.work.finish([Finished(lease=first, failures=failures)])
    await worker.run(RETIRE)
    place.pass_time()
    await worker.run(RETIRE)
    assert place.job(job).state is JobState.FAILED

    await worker.work.release(second, KeyRefused("no"))

    assert place.job(job).state is JobState.FAILED
    await worker.run()
    assert broken_laws(place.database, all_done=True) == {}


async def test_clean_up_that_is_refused_is_tried_again_later_and_says_so(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.delete("a")

    await worker.work.release(await claim_one(worker.work), KeyRefused("no"))

    assert place.job(job).state is JobState.PAUSED
    assert list(await claim(worker.work)) == []
    place.pass_time()
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_clean_up_that_is_refused_each_time_is_tried_less_and_less(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    place.delete("a")
    delays: list[float] = []
    for _ in range(8):
        await worker.work.release(await claim_one(worker.work, RETIRE), KeyRefused("no"))
        ((due,),) = rows(place.database, "SELECT run_at FROM batches WHERE state = 'ready'")
        delays.append(float(str(due)) - place.database.read_now(reads.now))
        place.pass_time()

    assert delays == pytest.approx([60, 120, 240, 480, 960, 1920, 3600, 3600], abs=10)
    await worker.run()
    assert broken_laws(place.database, all_done=True) == {}


async def test_clean_up_that_was_refused_is_tried_at_once_when_its_job_is_resumed(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.delete("a")
    await worker.work.release(await claim_one(worker.work), KeyRefused("no"))
    assert list(await claim(worker.work)) == []

    place.resume(job)

    assert [lease.kind for lease in await worker.run()] == [RETIRE]
    assert place.job(job).state is JobState.COMPLETED


async def test_clean_up_that_waits_for_a_lost_worker_is_not_hurried_by_a_resume(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await claim_one(place.worker("lost"))
    place.pass_time()
    place.reap()
    await worker.run()
    job = place.submit({"a": "two"})
    await worker.run()
    assert place.job(job).cleanup_open == 1

    place.pause(job)
    place.resume(job)

    assert list(await claim(worker.work)) == []


async def test_cancelling_keeps_what_is_live_and_deletes_what_was_stored_of_the_rest(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    (_, first) = await worker.run()
    job = with_credentials(place, "a", "b", "c")
    await worker.run(EXTRACT)

    assert place.cancel(job) == 3

    view = place.job(job)
    assert (view.state, view.docs_done, view.docs_failed) == (JobState.CANCELLED, 0, 0)
    assert view.ended_at is None  # its clean-up may need what came with the request
    assert credentials(place) == 1
    live = "SELECT number FROM versions WHERE state = 'live'"
    assert rows(place.database, live) == [(first.versions[0].number,)]
    assert broken_laws(place.database) == {}
    retired = await worker.run()
    assert [lease.kind for lease in retired] == [RETIRE]
    assert sorted(names_of(retired)) == ["a", "b", "c"]
    assert place.job(job).state is JobState.CANCELLED
    assert place.job(job).ended_at is not None
    assert credentials(place) == 0
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_a_worker_of_a_cancelled_job_may_still_store_is_deleted_later(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)

    place.cancel(job)

    assert list(await worker.work.renew([lease])) == []
    assert [one.kind for one in await worker.run()] == [RETIRE]
    assert place.job(job).cleanup_open == 1
    place.pass_time()
    (late,) = await worker.run()
    assert names_of([late]) == ["a"]
    assert broken_laws(place.database, all_done=True) == {}


async def test_cancelling_wakes_what_waited_for_the_job(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one"})
    second = place.submit({"a": "two"})

    place.cancel(first)
    await worker.run()

    assert place.job(first).state is JobState.CANCELLED
    assert place.job(second).state is JobState.COMPLETED
    assert rows(place.database, "SELECT number FROM versions WHERE state = 'live'") == [(2,)]
    assert broken_laws(place.database, all_done=True) == {}


async def test_cancelling_ends_what_waits_itself_and_harms_nobody(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one", "b": "one"})
    second = place.submit({"a": "two", "c": "two"})

    place.cancel(second)
    assert broken_laws(place.database) == {}
    await worker.run()

    assert place.job(first).state is JobState.COMPLETED
    assert place.job(second).state is JobState.CANCELLED
    assert place.job(second).ended_at is not None
    names = "SELECT d.external_id FROM documents d WHERE d.live_version IS NOT NULL ORDER BY 1"
    assert rows(place.database, names) == [("a",), ("b",)]
    assert broken_laws(place.database, all_done=True) == {}


async def test_cancelling_a_job_of_which_two_versions_of_a_document_are_open(
    place: Workplace, worker: PretendWorker
) -> None:
    new = place.new_job()
    items = [document("a", "one"), document("a", "two")]
    accept = partial(submission.accept, new=new, accepted=items, total=2)
    job = place.database.write_now(accept)

    assert place.cancel(job) == 2

    assert broken_laws(place.database, all_done=True) == {}
    assert list(await claim(worker.work)) == []


def test_a_listing_adds_nothing_to_a_job_that_was_cancelled(place: Workplace) -> None:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job
    add = partial(submission.add_documents, job=job, accepted=[document("a", "x")])
    place.database.write_now(add)

    place.cancel(job)

    before = dump(place.database)
    with pytest.raises(Conflict, match="was cancelled"):
        place.database.write_now(add)
    place.database.write_now(partial(submission.end_listing, job=job))
    assert dump(place.database) == before
    assert place.job(job).state is JobState.CANCELLED


async def test_a_deletion_holds_though_the_document_came_again_and_was_cancelled(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    deletion = place.delete("a")
    again = place.submit({"a": "two"})  # the deletion, which waits, gives way to it

    assert place.cancel(again) == 1

    assert broken_laws(place.database) == {}
    await worker.work.finish([Finished(lease=lease)])
    await worker.run()
    assert rows(place.database, "SELECT id FROM documents WHERE deleted_at IS NULL") == []
    assert place.job(first).state is place.job(deletion).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def indexing_over_a_live_one(place: Workplace, worker: PretendWorker) -> int:
    """Give a job whose version of a document is open, while one before it is live."""
    place.submit({"a": "zero"})
    await worker.run()
    job = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await claim_one(worker.work)
    return job


def live_documents(place: Workplace) -> list[tuple[object, ...]]:
    return rows(place.database, "SELECT id FROM documents WHERE deleted_at IS NULL")


async def test_a_deletion_that_came_back_holds_though_that_job_is_cancelled_too(
    place: Workplace, worker: PretendWorker
) -> None:
    opened = await indexing_over_a_live_one(place, worker)
    deletion = place.delete("a")
    place.cancel(place.submit({"a": "two"}))

    place.cancel(opened)

    place.pass_time()
    await worker.run()
    assert live_documents(place) == []
    assert place.job(deletion).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_deletion_holds_whatever_came_between_it_and_what_is_cancelled(
    place: Workplace, worker: PretendWorker
) -> None:
    opened = await indexing_over_a_live_one(place, worker)
    place.delete("a")
    place.submit({}, failures={"a": BinaryContent("no text")})
    place.submit({"a": "two"})
    place.cancel(place.submit({"a": "three"}))

    place.cancel(opened)

    place.pass_time()
    await worker.run()
    assert live_documents(place) == []
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_deletion_does_not_come_back_where_its_own_job_was_cancelled(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"b": "kept"})
    await worker.run(EXTRACT)
    held = await claim_one(worker.work)
    await indexing_over_a_live_one(place, worker)
    deletion = place.delete("a", "b")
    again = place.submit({"a": "two"})
    place.cancel(deletion)  # that of `b` waits still

    place.cancel(again)

    await worker.work.finish([Finished(lease=held)])
    place.pass_time()
    place.reap()
    await worker.run()
    assert len(live_documents(place)) == 2
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_newer_version_does_not_wait_for_a_paused_job(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await worker.work.release(await claim_one(worker.work), KeyRefused("no"))
    second = place.submit({"a": "one"})
    assert list(await claim(worker.work)) == []

    assert place.give_way() == 1
    assert place.give_way() == 0

    assert broken_laws(place.database) == {}
    await worker.run()
    assert place.job(second).state is JobState.COMPLETED
    assert place.job(first).state is JobState.COMPLETED  # superseded, as if it had waited
    assert broken_laws(place.database, all_done=True) == {}


async def test_only_the_documents_that_came_again_give_way(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one", "b": "one"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    place.pause(first)
    second = place.submit({"a": "two"})

    assert place.give_way() == 1
    await worker.work.finish([Finished(lease=lease)])  # it stored both

    await worker.run()
    assert place.job(second).state is JobState.COMPLETED
    assert place.job(first).cleanup_open > 0  # what was stored late is deleted later
    place.pass_time()
    deleted = await worker.run()
    assert {lease.kind for lease in deleted} == {RETIRE}
    assert set(names_of(deleted)) == {"a"}
    assert place.job(first).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_while_no_newer_version_waits_nothing_gives_way(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    place.submit({"b": "one"})
    place.submit({"b": "two"})
    place.pause(job)

    assert place.give_way() == 0

    place.resume(job)
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED
