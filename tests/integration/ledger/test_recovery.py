"""Leases that were lost, workers that died, stores that forgot."""

from functools import partial

import pytest

from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.domain.credentials import Credentials
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import BadChunk, IndexLost, InvalidSetting, LeaseLost, Unavailable
from vectorflow.ledger import indexes, losses
from vectorflow.ledger.new_versions import GROUP_BYTES
from vectorflow.ledger.secrets import Sealed
from vectorflow.ledger.work import LedgerWork
from vectorflow.ports.work import Finished, Usage, Work
from vectorflow.testing.ledgers import broken_laws, dump, rows
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


@pytest.fixture
def other(place: Workplace) -> Work:
    return place.worker("there")


@pytest.fixture
def worker(work: Work) -> PretendWorker:
    return PretendWorker(work)


async def zombie_writes(work: Work, stale: Finished) -> None:
    """Try everything with a lease that is lost."""
    assert list(await work.finish([stale])) == [False]
    await work.release(stale.lease, None)
    await work.release(stale.lease, Unavailable("down"))
    await work.release(stale.lease, BadChunk("bad", position=0))
    version = stale.lease.versions[0].id
    with pytest.raises(LeaseLost):
        await work.checkpoint(stale.lease, parts=[part_of(version)])
    with pytest.raises(LeaseLost):
        await work.checkpoint(stale.lease, vectors="vectors/zombie")
    assert list(await work.renew([stale.lease])) == []


async def test_work_whose_credentials_this_process_cannot_open_is_left_to_others(
    place: Workplace, other: Work
) -> None:
    def faulty(_sealed: Sealed, _pipeline: Pipeline) -> Credentials:
        raise InvalidSetting("others may read secret.key")

    place.submit({"a": "one"})
    work = LedgerWork(
        place.database,
        MemoryBlobStore(),
        owner="faulty",
        lease_seconds=30.0,
        store_seconds=30.0,
        open_credentials=faulty,
    )

    with pytest.raises(InvalidSetting):
        await claim(work, EXTRACT)

    assert (await claim_one(other, EXTRACT)).attempt == 1


@pytest.mark.parametrize("kind", [EXTRACT, EMBED, RETIRE])
@pytest.mark.parametrize("then", ["ready", "leased", "done"])
async def test_a_stale_lease_changes_no_byte(
    place: Workplace, worker: PretendWorker, other: Work, kind: BatchKind, then: str
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    place.submit({"a": "two"})
    await worker.run(*{EXTRACT: [], EMBED: [EXTRACT], RETIRE: [EXTRACT, EMBED]}[kind] or [RETIRE])
    stale = await claim_one(worker.work, kind)
    place.pass_time()
    assert place.reap() == 1
    if then != "ready":
        again = await claim_one(other, kind)
        if then == "done":
            assert list(await other.finish([worker.result(again)])) == [True]
    before = dump(place.database)

    await zombie_writes(worker.work, worker.result(stale))

    assert dump(place.database) == before
    assert broken_laws(place.database) == {}


async def test_reaping_counts_what_was_lost_and_marks_its_versions(
    place: Workplace, work: Work, other: Work
) -> None:
    place.submit({"a": "one", "b": "two"})
    kept = place.submit({"c": "three"})
    lost, safe = await claim(work)
    place.pass_time()
    await other.renew([safe])

    assert place.reap() == 1
    assert place.reap() == 0

    marked = "SELECT d.external_id FROM versions v JOIN documents d ON d.id = v.document_id "
    assert rows(place.database, marked + "WHERE v.lost ORDER BY 1") == [("a",), ("b",)]
    batch = "SELECT state, attempt, lost, lease_epoch FROM batches ORDER BY id"
    assert rows(place.database, batch) == [("ready", 0, 1, 1), ("leased", 1, 0, 1)]
    outcomes = "SELECT batch_id, epoch, outcome, owner FROM attempts"
    assert rows(place.database, outcomes) == [(lost.batch, 1, "lost", "here")]
    assert place.job(kept).state is JobState.RUNNING
    assert broken_laws(place.database) == {}


async def test_reaping_a_part_marks_its_version(place: Workplace, work: Work) -> None:
    place.submit({"long": "text"})
    lease = await claim_one(work)
    await work.checkpoint(lease, parts=[part_of(lease.versions[0].id, last=False)])
    await work.renew([lease])
    await claim_one(work, EMBED)
    place.pass_time()
    await work.renew([lease])

    assert place.reap() == 1
    assert rows(place.database, "SELECT count(*) FROM versions WHERE lost") == [(1,)]


async def test_what_a_zombie_may_still_write_is_retired_once_more(
    place: Workplace, worker: PretendWorker, other: Work
) -> None:
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await claim_one(worker.work)
    place.pass_time()
    place.reap()
    await PretendWorker(other).run()
    job = place.submit({"a": "two"})
    await worker.run(EXTRACT, EMBED)

    first = await worker.run(RETIRE)
    assert len(first) == 1
    assert place.job(job).state is JobState.RUNNING
    due = rows(place.database, "SELECT run_at - ended_at FROM batches, jobs WHERE 1 = 0")
    assert due == []
    delay = """SELECT max(b.run_at) - max(v.ended_at) FROM batches b, versions v
        WHERE b.kind = 'retire' AND b.state = 'ready'"""
    ((seconds,),) = rows(place.database, delay)
    assert seconds == pytest.approx(60.0, abs=1.0)  # a lease and a store call

    place.pass_time()
    second = await worker.run(RETIRE)
    assert [version.parts for version in second[0].versions] == [
        version.parts for version in first[0].versions
    ]
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_version_whose_leases_were_kept_is_retired_once(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})

    leases = await worker.run()

    assert [lease.kind for lease in leases].count(RETIRE) == 1
    assert place.job(job).state is JobState.COMPLETED


async def test_a_zombie_of_a_version_that_lost_nothing_is_retired_too(
    place: Workplace, worker: PretendWorker, other: Work
) -> None:
    """The next version keeps all its records, and yet a lost worker might write others."""
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await claim_one(worker.work)
    place.pass_time()
    place.reap()
    await PretendWorker(other).run()
    place.submit({"a": "two"})
    worker.new_rows = 0

    leases = await worker.run()

    assert [lease.kind for lease in leases] == [EXTRACT, RETIRE]
    place.pass_time()
    assert [lease.kind for lease in await worker.run()] == [RETIRE]


async def test_what_a_worker_may_have_stored_that_woke_up_long_after_is_deleted(
    place: Workplace, work: Work, worker: PretendWorker, other: Work
) -> None:
    """How long it slept has no bound: all that was to be retired then is retired already."""
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    stale = await claim_one(work)
    place.pass_time()
    place.reap()
    job = place.submit({"a": "two"})
    for _ in range(2):
        await PretendWorker(other).run()
        place.pass_time()
    assert broken_laws(place.database, all_done=True) == {}
    gone = stale.versions[0].id

    assert list(await work.finish([Finished(lease=stale)])) == [False]

    assert list(await claim(other)) == []  # its last call to the store may still be under way
    place.pass_time()
    lease = await claim_one(other, RETIRE)
    assert [version.id for version in lease.versions] == [gone]
    await other.finish([Finished(lease=lease)])
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_extract_batch_that_was_lost_repeats_only_what_is_missing(
    place: Workplace, worker: PretendWorker, other: Work
) -> None:
    job = place.submit({"a": "one", "b": "two"})
    lost = await claim_one(worker.work)
    await worker.work.checkpoint(lost, parts=[part_of(lost.versions[0].id)])
    place.pass_time()
    place.reap()

    again = await PretendWorker(other).run()

    assert [
        [v.external_id for v in lease.versions] for lease in again if lease.kind is EXTRACT
    ] == [["b"]]
    assert place.job(job).state is JobState.COMPLETED
    assert rows(place.database, "SELECT count(*) FROM parts") == [(2,)]
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_a_dead_worker_held_is_ready_at_once_and_not_suspected(
    place: Workplace, work: Work
) -> None:
    place.submit({"a": "one"})
    place.submit({"b": "two"})
    dead = place.worker("machine_1/7")
    (lease,) = await claim(dead, limit=1)
    await claim(place.worker("machine-1/7"))

    taken = place.database.write_now(
        partial(losses.take_over, owner_prefix="machine_1/", zombie_seconds=60.0)
    )

    assert taken == 1
    again = await claim_one(work)
    assert (again.batch, again.epoch, again.attempt) == (lease.batch, 2, 1)
    assert rows(place.database, "SELECT count(*) FROM versions WHERE lost") == [(0,)]
    assert broken_laws(place.database) == {}


async def test_an_index_is_reset_once_for_two_who_notice(place: Workplace, work: Work) -> None:
    place.submit({"a": "one"})
    lease = await claim_one(work)
    reset = partial(indexes.reset_index, index=lease.index.id, incarnation=lease.index.incarnation)

    assert place.database.write_now(reset)
    before = dump(place.database)
    assert not place.database.write_now(reset)

    assert dump(place.database) == before


async def test_after_a_reset_everything_begins_again(
    place: Workplace, worker: PretendWorker, other: Work
) -> None:
    done = place.submit({"old": "one", "both": "one", "gone": "one"})
    await worker.run()
    place.delete("gone")  # its retire batch is open
    job = place.submit({"both": "two", "long": "text"})
    later = place.submit({"both": "three"})
    extract = await claim_one(worker.work, EXTRACT)
    ids = {version.external_id: version.id for version in extract.versions}
    parts = (
        part_of(ids["both"]),
        part_of(ids["long"], 0, last=False),
        part_of(ids["long"], 1),
    )
    await worker.work.finish([Finished(lease=extract, parts=parts)])
    held, *_ = await claim(worker.work, EMBED)

    await worker.work.release(held, IndexLost("gone"))

    assert list(await worker.work.renew([held])) == []
    (again,) = await claim(other)
    assert sorted(version.external_id for version in again.versions) == ["both", "long"]
    assert {version.base for version in again.versions} == {()}
    assert {version.parts for version in again.versions} == {()}
    assert rows(place.database, "SELECT count(*) FROM documents WHERE live_version > 0") == [(0,)]
    assert broken_laws(place.database) == {}
    await other.finish([PretendWorker(other).result(again)])
    await worker.run()
    assert {place.job(one).state for one in (done, job, later)} == {JobState.COMPLETED}
    assert broken_laws(place.database, all_done=True) == {}


async def test_after_a_reset_a_long_document_travels_alone_again(
    place: Workplace, work: Work
) -> None:
    place.submit({"a": "x", "long": "y" * (GROUP_BYTES + 1), "b": "z", "c": "z"})
    before = await claim(work, EXTRACT)
    index = before[0].index
    reset = partial(indexes.reset_index, index=index.id, incarnation=index.incarnation)

    assert place.database.write_now(reset)

    assert [names_of([lease]) for lease in await claim(work, EXTRACT)] == [
        ["a"],
        ["long"],
        ["b", "c"],
    ]


async def test_usage_is_added_up_in_the_job_and_kept_with_the_try(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    usage = Usage(chunks_embedded=3, embedding_calls=2, tokens=400)

    await worker.work.finish([Finished(lease=lease, usage=usage)])

    view = place.job(job)
    assert (view.chunks_embedded, view.embedding_calls, view.tokens) == (3, 2, 400)
    tried = f"SELECT tokens, outcome FROM attempts WHERE batch_id = {lease.batch}"  # noqa: S608
    assert rows(place.database, tried) == [(400, "ok")]
