"""Jobs: what they count, and that every one of them ends."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BinaryContent, Conflict, UnreadableSource
from vectorflow.ledger import submission
from vectorflow.ledger.new_batches import GROUP_DOCUMENTS
from vectorflow.ledger.new_versions import GROUP_BYTES
from vectorflow.ports.work import Finished
from vectorflow.testing.ledgers import broken_laws, dump, rows
from vectorflow.testing.workplace import (
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    document,
    serving_now,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("here"))


def start(place: Workplace, lister: str | None = None) -> int:
    new = replace(place.new_job(), lister=lister)
    return place.database.write_now(partial(submission.start_job, new=new)).job


def add(place: Workplace, job: int, *names: str, unchanged: int = 0) -> None:
    items = [document(name, name) for name in names]
    place.database.write_now(
        partial(submission.add_documents, job=job, accepted=items, unchanged=unchanged)
    )


def end(place: Workplace, job: int) -> None:
    place.database.write_now(partial(submission.end_listing, job=job))


def die(place: Workplace, job: int) -> None:
    """Let the time of a listing run out."""
    place.database.write_now(
        lambda connection: connection.exec_driver_sql(
            f"UPDATE jobs SET listing_until = 1 WHERE id = {job}"  # noqa: S608 - a number
        )
    )


def end_dead(place: Workplace, dead: Sequence[str] | None = None) -> int:
    is_dead = None if dead is None else dead.__contains__
    return place.database.write_now(partial(submission.end_dead_listings, is_dead=is_dead))


async def test_a_job_does_not_end_before_its_listing_does(
    place: Workplace, worker: PretendWorker
) -> None:
    job = start(place)
    add(place, job, "a", "b")
    await worker.run()
    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_done) == (JobState.RUNNING, None, 2)
    add(place, job, "c", unchanged=4)
    await worker.run()

    end(place, job)

    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_done) == (JobState.COMPLETED, 3, 3)
    assert (view.documents_new, view.documents_unchanged) == (3, 4)
    assert view.ended_at is not None
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_job_ends_with_its_last_document_when_the_listing_ended_before(
    place: Workplace, worker: PretendWorker
) -> None:
    job = start(place)
    add(place, job, "a", "b")
    end(place, job)
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work, EMBED)
    assert place.job(job).state is JobState.RUNNING

    await worker.work.finish([worker.result(lease)])

    assert place.job(job).state is JobState.COMPLETED


def test_a_job_without_documents_ends_at_once(place: Workplace) -> None:
    job = place.submit({})

    assert place.job(job).state is JobState.COMPLETED
    assert place.job(job).docs_total == 0


def test_a_job_of_nothing_but_unreadable_documents_has_failed(place: Workplace) -> None:
    job = place.submit({}, failures={"a": UnreadableSource("no"), "b": BinaryContent("no")})

    view = place.job(job)
    assert (view.state, view.docs_failed) == (JobState.FAILED, 2)
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_end_never_changes(place: Workplace, worker: PretendWorker) -> None:
    job = place.submit({"a": "one"})
    await worker.run()
    ended = place.job(job)
    place.submit({"a": "two"})
    await worker.run()
    place.delete("a")
    await worker.run()
    end(place, job)

    assert place.job(job) == ended


async def test_one_finish_may_end_many_jobs(place: Workplace, worker: PretendWorker) -> None:
    jobs = [place.submit({f"d{number}": "text"}) for number in range(5)]
    await worker.run(EXTRACT)

    await worker.work.finish([Finished(lease=lease) for lease in await claim(worker.work)])

    assert {place.job(job).state for job in jobs} == {JobState.COMPLETED}


async def test_the_listing_of_a_dead_process_is_ended_and_its_documents_embedded(
    place: Workplace, worker: PretendWorker
) -> None:
    dead, alive = start(place), start(place)
    add(place, dead, "a")
    add(place, alive, "b")
    die(place, dead)

    assert end_dead(place) == 1
    await worker.run()

    view = place.job(dead)
    assert (view.state, view.docs_total) == (JobState.PARTIAL, 1)
    assert view.error is not None
    assert view.error["code"] == "listing_broke_off"
    assert place.job(alive).docs_total is None
    assert end_dead(place) == 0
    assert broken_laws(place.database) == {}


async def test_a_lister_that_can_be_looked_at_is_not_judged_by_the_time(place: Workplace) -> None:
    dead, alive, unknown = start(place, "d"), start(place, "a"), start(place)
    die(place, alive)

    assert end_dead(place, ["d"]) == 1

    assert place.job(dead).docs_total == 0
    assert place.job(alive).docs_total is None
    assert place.job(unknown).docs_total is None


def test_a_listing_that_was_taken_for_dead_adds_nothing_any_more(place: Workplace) -> None:
    job = start(place)
    add(place, job, "a")
    die(place, job)
    end_dead(place)
    before = dump(place.database)

    with pytest.raises(Conflict, match="taken for dead"):
        add(place, job, "b")
    with pytest.raises(Conflict, match="taken for dead"):
        place.database.write_now(
            partial(submission.delete_documents, job=job, gone=["a"], zombie_seconds=1.0)
        )
    assert not place.database.write_now(partial(submission.keep_listing, job=job))

    assert dump(place.database) == before


def test_a_listing_that_is_at_work_is_kept(place: Workplace) -> None:
    job = start(place)
    die(place, job)

    assert place.database.write_now(partial(submission.keep_listing, job=job))

    assert end_dead(place) == 0


def test_one_idempotency_key_makes_one_job(place: Workplace) -> None:
    new = place.new_job(key="k")
    first = place.database.write_now(partial(submission.start_job, new=new))
    second = place.database.write_now(partial(submission.start_job, new=new))

    assert (first.fresh, second.fresh) == (True, False)
    assert first.job == second.job


def test_one_idempotency_key_with_another_request_is_refused(place: Workplace) -> None:
    new = place.new_job(key="k")
    place.database.write_now(partial(submission.start_job, new=new))
    other = replace(new, request_hash="other")

    with pytest.raises(Conflict, match="Idempotency-Key"):
        place.database.write_now(partial(submission.start_job, new=other))


def test_a_repeated_request_adds_no_document(place: Workplace) -> None:
    new = place.new_job(key="k")
    items = [document("a", "one")]
    accept = partial(submission.accept, new=new, accepted=items, total=1)
    job = place.database.write_now(accept)
    before = dump(place.database)

    assert place.database.write_now(accept) == job
    assert dump(place.database) == before


async def test_a_document_that_comes_twice_in_one_request_ends_twice(
    place: Workplace, worker: PretendWorker
) -> None:
    new = place.new_job()
    items = [document("a", "one"), document("b", "x"), document("a", "two"), document("a", "three")]
    job = place.database.write_now(partial(submission.accept, new=new, accepted=items, total=4))
    assert broken_laws(place.database) == {}

    await worker.run()

    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_done) == (JobState.COMPLETED, 4, 4)
    assert (view.documents_new, view.documents_changed) == (2, 2)
    live = "SELECT v.number FROM versions v WHERE v.state = 'live' ORDER BY 1"
    assert rows(place.database, live) == [(1,), (3,)]
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_large_request_is_cut_into_batches(place: Workplace, worker: PretendWorker) -> None:
    count = 2 * GROUP_DOCUMENTS + 1
    job = place.submit({f"{number:03}": "text" for number in range(count)})

    leases = await claim(worker.work)

    assert [len(lease.versions) for lease in leases] == [GROUP_DOCUMENTS, GROUP_DOCUMENTS, 1]
    assert place.job(job).documents_new == count


def test_new_documents_are_made_in_order_whatever_the_order_they_come_in(place: Workplace) -> None:
    """Two who make the same ones would else wait for each other."""
    place.submit({"c": "x", "a": "x", "b": "x"})

    made = rows(place.database, "SELECT external_id FROM documents ORDER BY id")
    assert made == [("a",), ("b",), ("c",)]


def test_a_long_document_travels_alone(place: Workplace) -> None:
    place.submit({"a": "x", "long": "y" * (GROUP_BYTES + 1), "b": "z", "c": "z"})

    held = "SELECT count(*) FROM versions GROUP BY batch_id ORDER BY batch_id"
    assert rows(place.database, held) == [(1,), (1,), (2,)]


def test_more_documents_than_a_statement_takes_are_deleted(place: Workplace) -> None:
    names = [f"{number:05}" for number in range(1100)]
    place.submit(dict.fromkeys(names, "text"))

    job = place.delete(*names)

    assert place.job(job).documents_gone == 1100
    assert rows(place.database, "SELECT count(*) FROM versions WHERE state = 'waiting'") == [
        (1100,)
    ]


def test_what_serves_unchanged_is_known_by_its_hashes(place: Workplace) -> None:
    place.submit({"a": "one"})

    assert serving_now(place, "a", "b") == {}


async def test_only_what_is_live_and_has_nothing_newer_under_way_serves(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one", "b": "one", "gone": "one"})
    await worker.run()
    place.submit({"b": "two"})
    place.delete("gone")

    serving = serving_now(place, "a", "b", "gone", "c")

    assert serving["a"].raw_hash == document("a", "one").raw_hash
    assert "b" not in serving
    assert serving["gone"].raw_hash == ""  # never equal to that of a document
    assert "c" not in serving


async def test_a_scope_holds_what_is_live_or_will_be(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"live": "one", "gone": "one"})
    await worker.run()
    place.delete("gone")
    place.submit({"open": "one"}, failures={"broken": BinaryContent("no")})
    in_scope = partial(submission.in_scope, index=place.index(), scope="")

    assert sorted(place.database.read_now(in_scope)) == ["live", "open"]
    elsewhere = partial(submission.in_scope, index=place.index(), scope="other")
    assert place.database.read_now(elsewhere) == []
