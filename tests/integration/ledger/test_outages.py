"""Systems that are away: what is set aside, what people see, and when somebody has to look."""

from dataclasses import replace

import pytest

from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.outages import Patience, SystemKind
from vectorflow.errors import BadChunk, CallRefused, Throttled
from vectorflow.ledger import gate, outages
from vectorflow.ledger.waits import FailingCleanup, failing_cleanup, waits
from vectorflow.ledger.work import LedgerWork
from vectorflow.ports.work import Work
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.work_outages import away
from vectorflow.testing.workplace import PIPELINE, PretendWorker, Workplace, claim, claim_one

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def work(place: Workplace) -> Work:
    return place.worker("here")


async def extracted(place: Workplace, work: Work, count: int) -> list[int]:
    """Make jobs of one document each, which are to be embedded."""
    jobs = [place.submit({f"d{number}": "text"}) for number in range(count)]
    await PretendWorker(work).run(EXTRACT)
    return jobs


def states(place: Workplace) -> dict[str, int]:
    """Count batches to embed by state."""
    query = "SELECT state, count(*) FROM batches WHERE kind = 'embed' GROUP BY state"
    return {str(state): int(str(count)) for state, count in rows(place.database, query)}


def bucket_states(place: Workplace) -> list[object]:
    return [state for (state,) in rows(place.database, "SELECT state FROM buckets")]


async def test_what_waits_is_set_aside_once_and_comes_back_in_pieces(
    place: Workplace, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MOVED_AT_ONCE", 4)
    await extracted(place, work, 12)
    (first,) = await claim(work, limit=1)
    await work.release(first, away())

    while states(place).get("ready"):
        before = states(place)["ready"]
        assert list(await claim(work)) == []
        assert states(place).get("ready", 0) < before
    place.pass_time()
    probe = await claim_one(work)
    await work.finish([PretendWorker(work).result(probe)])

    assert bucket_states(place) == ["opening"]
    assert broken_laws(place.database) == {}
    assert len(await PretendWorker(work).run()) == 11
    assert bucket_states(place) == ["open"]
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_waits_is_looked_for_close_by_in_the_line(
    place: Workplace, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may be many, and a claim that looks through all of them holds locks meanwhile."""
    monkeypatch.setattr(gate, "MOVED_AT_ONCE", 4)
    elsewhere = replace(PIPELINE, store="memory://other")
    await extracted(place, work, 1)
    near = [place.submit({f"near{number}": "text"}) for number in range(2)]
    for number in range(6):
        place.submit({f"other{number}": "text"}, pipeline=elsewhere)
    far = place.submit({"far": "text"})
    await PretendWorker(work).run(EXTRACT)
    (first,) = await claim(work, limit=1)
    await work.release(first, away())

    (other,) = await claim(work, limit=1)

    assert other.pipeline.store == "memory://other"
    query = "SELECT job_id, state FROM batches WHERE kind = 'embed'"
    found = {job: state for job, state in rows(place.database, query) if job in (*near, far)}
    assert found == dict.fromkeys(near, "paused") | {far: "ready"}


async def test_after_a_whole_outage_jobs_are_paused_and_no_document_fails(place: Workplace) -> None:
    work = LedgerWork(
        place.database,
        MemoryBlobStore(),
        owner="here",
        lease_seconds=30.0,
        store_seconds=30.0,
        patience=Patience(longest_pause=0.0, outage=0.0),
    )
    (job,) = await extracted(place, work, 1)
    await work.release(await claim_one(work), away(wait=0.0))
    await work.release(await claim_one(work), away(wait=0.0))

    view = place.job(job)
    assert (view.state, view.docs_failed) == (JobState.PAUSED, 0)
    assert view.paused is not None
    assert view.paused["reason"] == "store_unavailable"
    assert str(view.paused["message"]).startswith("memory://test has been away for ")
    assert broken_laws(place.database) == {}
    place.resume(job)
    await PretendWorker(work).run()
    assert place.job(job).state is JobState.COMPLETED


async def test_a_probe_that_ends_otherwise_is_followed_by_another_at_once(
    place: Workplace, work: Work
) -> None:
    await extracted(place, work, 4)
    (first,) = await claim(work, limit=1)
    await work.release(first, away())
    place.pass_time()
    for error in (None, Throttled("slow down", retry_after=0.0), BadChunk("no", position=0)):
        await work.release(await claim_one(work), error)

    await PretendWorker(work).run()

    assert bucket_states(place) == ["open"]
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_job_that_was_paused_meanwhile_stays_so_when_the_store_is_back(
    place: Workplace, work: Work
) -> None:
    held, _, _ = await extracted(place, work, 3)
    (first,) = await claim(work, limit=1)
    assert first.job.id == held
    await work.release(first, away())
    assert list(await claim(work)) == []
    place.pause(held)
    place.pass_time()

    await PretendWorker(work).run()
    place.set_rest_aside()

    assert states(place) == {"done": 2, "paused": 1}
    assert broken_laws(place.database) == {}
    place.resume(held)
    await PretendWorker(work).run()
    assert place.job(held).state is JobState.COMPLETED


async def test_what_is_away_and_needed_by_nobody_is_forgotten(place: Workplace, work: Work) -> None:
    webhook = replace(PIPELINE, store="webhook://gone.example")
    job = place.submit({"a": "text"}, pipeline=webhook)
    await PretendWorker(work).run(EXTRACT)
    await work.release(await claim_one(work), away(SystemKind.WEBHOOK))
    place.pass_time()
    place.database.write_now(outages.forget)
    assert bucket_states(place) == ["paused"]  # a batch waits for it
    probe = await claim_one(work)
    place.pass_time()
    place.database.write_now(outages.forget)
    assert bucket_states(place) == ["probing"]
    await work.release(probe, away(SystemKind.WEBHOOK))
    place.cancel(job)
    place.database.write_now(outages.forget)
    assert bucket_states(place) == ["paused"]  # for a while somebody may have one in his hands
    place.pass_time()

    place.database.write_now(outages.forget)

    assert bucket_states(place) == []


async def test_an_outage_counts_from_the_first_failure_of_who_needs_the_system_again(
    place: Workplace, work: Work
) -> None:
    (former,) = await extracted(place, work, 1)
    await work.release(await claim_one(work), away())
    place.cancel(former)
    place.pass_time()
    two_days = "UPDATE buckets SET away_since = away_since - 172800"
    place.database.write_now(lambda connection: connection.exec_driver_sql(two_days))
    place.database.write_now(outages.forget)
    (job,) = await extracted(place, work, 1)

    await work.release(await claim_one(work, EMBED), away())

    assert place.job(job).state is JobState.RUNNING
    assert broken_laws(place.database) == {}


async def test_a_job_says_what_it_waits_for(place: Workplace, work: Work) -> None:
    (job,) = await extracted(place, work, 1)
    other = place.submit({"other": "text"}, pipeline=replace(PIPELINE, store="memory://other"))
    assert place.job(job).waiting is None

    await work.release(await claim_one(work, EMBED), away())

    waiting = place.job(job).waiting
    assert waiting is not None
    assert (waiting.system, waiting.message) == ("memory://test", "it does not answer")
    assert waiting.next_try_at is not None
    assert place.job(other).waiting is None
    place.pass_time()
    probe = await claim_one(work, EMBED)
    trying = place.job(job).waiting
    assert trying is not None
    assert trying.next_try_at is None
    await work.finish([PretendWorker(work).result(probe)])
    assert place.database.read_now(waits) == []


async def test_old_records_that_cannot_be_deleted_are_told_until_they_are(
    place: Workplace, work: Work
) -> None:
    place.submit({"a": "one"})
    await PretendWorker(work).run()
    place.delete("a")
    assert place.database.read_now(failing_cleanup) is None

    await work.release(await claim_one(work, RETIRE), CallRefused("it said no", fix="ask it why"))

    told = FailingCleanup(batches=1, message="it said no", fix="ask it why")
    assert place.database.read_now(failing_cleanup) == told
    tries = "SELECT outcome, error FROM attempts WHERE error IS NOT NULL"
    assert rows(place.database, tries) == [("error", "call_refused")]
    assert broken_laws(place.database) == {}
    place.pass_time()
    await PretendWorker(work).run()
    assert place.database.read_now(failing_cleanup) is None


async def test_a_probe_that_dies_is_followed_by_another(place: Workplace, work: Work) -> None:
    await extracted(place, work, 2)
    (first,) = await claim(work, limit=1)
    await work.release(first, away())
    place.pass_time()
    lost = await claim_one(work)
    place.pass_time()
    place.reap()

    again = await claim_one(work)

    assert bucket_states(place) == ["probing"]
    assert (again.batch, again.epoch) != (lost.batch, lost.epoch)
    await work.finish([PretendWorker(work).result(again)])
    await PretendWorker(work).run()
    assert broken_laws(place.database, all_done=True) == {}
