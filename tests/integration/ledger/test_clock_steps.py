"""The clock of the database is set by an hour: nothing is lost, and nothing waits for an hour."""

from functools import partial

from tests.clocks import set_clock
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.ledger import clock_steps, duties, reads
from vectorflow.ledger.database import Database
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.work_outages import away
from vectorflow.testing.workplace import PretendWorker, Workplace, claim, claim_one

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

HOUR = 3600.0


def follow(place: Workplace) -> float:
    look = partial(clock_steps.follow, lease_seconds=30.0, zombie_seconds=60.0)
    return place.database.write_now(look)


async def embed_all(place: Workplace, *jobs: int) -> None:
    """Have everything end, and all laws hold."""
    await PretendWorker(place.worker("there")).run()
    for job in jobs:
        assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_work_from_before_the_clock_was_set_back_is_done_at_once(place: Workplace) -> None:
    follow(place)
    before = place.submit({"a": "one", "b": "two"})
    set_clock(place.database, -HOUR)
    after = place.submit({"c": "three"})
    assert await claim(place.worker("here"), EMBED, RETIRE) == []

    assert HOUR - 60 < follow(place) < HOUR + 60

    await embed_all(place, before, after)
    assert follow(place) == 0


async def test_a_clock_that_goes_on_or_is_set_forward_is_no_step(place: Workplace) -> None:
    assert [follow(place), follow(place)] == [0, 0]
    set_clock(place.database, HOUR)
    assert follow(place) == 0
    set_clock(place.database, -2.0)  # waited for
    assert follow(place) == 0


async def test_what_a_dead_worker_held_is_given_out_when_its_lease_would_have_ended(
    place: Workplace,
) -> None:
    follow(place)
    job = place.submit({"a": "one"})
    await claim_one(place.worker("dead"))
    set_clock(place.database, -HOUR)

    follow(place)

    assert 0 < seconds_until(place, "lease_until") <= 30
    place.pass_time()
    assert place.reap() == 1
    await embed_all(place, job)


async def test_a_worker_that_lives_keeps_its_lease_when_the_clock_is_set_back(
    place: Workplace,
) -> None:
    follow(place)
    job = place.submit({"a": "one"})
    worker = PretendWorker(place.worker("here"))
    lease = await claim_one(worker.work)
    set_clock(place.database, -HOUR)
    follow(place)

    assert len(await worker.work.renew([lease])) == 1
    assert place.reap() == 0
    assert list(await worker.work.finish([worker.result(lease)])) == [True]
    await embed_all(place, job)


async def test_who_held_a_lease_is_fenced_when_the_clock_is_set_forward(place: Workplace) -> None:
    job = place.submit({"a": "one"})
    worker = PretendWorker(place.worker("here"))
    lease = await claim_one(worker.work)
    set_clock(place.database, HOUR)
    assert place.reap() == 1
    again = await claim_one(place.worker("there"))

    assert list(await worker.work.renew([lease])) == []
    assert list(await worker.work.finish([worker.result(lease)])) == [False]

    assert list(await worker.work.finish([worker.result(again)])) == [True]
    place.pass_time()  # until nobody may still write
    await embed_all(place, job)


async def test_a_clean_up_that_waits_for_a_lost_worker_is_not_hurried(place: Workplace) -> None:
    follow(place)
    worker = PretendWorker(place.worker("here"))
    first = place.submit({"a": "one"})
    await claim(place.worker("dead"))
    place.pass_time()
    assert place.reap() == 1
    await worker.run()
    second = place.submit({"a": "two"})
    await worker.run()
    set_clock(place.database, -HOUR)

    follow(place)

    assert 30 < seconds_until(place, "run_at") <= 60
    place.pass_time()
    await embed_all(place, first, second)


async def test_a_store_that_was_away_is_tried_again_at_once(place: Workplace) -> None:
    follow(place)
    worker = PretendWorker(place.worker("here"))
    job = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await worker.work.release(await claim_one(worker.work), away())
    set_clock(place.database, -HOUR)
    assert await claim(worker.work) == []

    follow(place)

    await embed_all(place, job)


async def test_a_store_that_is_still_away_is_left_alone_again_when_the_clock_was_set_back(
    place: Workplace,
) -> None:
    follow(place)
    worker = PretendWorker(place.worker("here"))
    job = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await worker.work.release(await claim_one(worker.work), away())
    set_clock(place.database, -HOUR)
    follow(place)

    await worker.work.release(await claim_one(worker.work), away())

    assert await claim(worker.work) == []
    times = "SELECT failures, away_since, failed_at, paused_until FROM buckets"
    ((failures, *found),) = rows(place.database, times)
    now = place.database.read_now(reads.now)
    since, failed, until = (float(str(time)) - now for time in found)
    assert failures == 2
    assert since <= failed <= 0 < until <= 30
    place.pass_time()
    await embed_all(place, job)


def seconds_until(place: Workplace, column: str) -> float:
    """Until a time of the only batch that is open."""
    open_batches = f"SELECT {column} FROM batches WHERE state IN ('ready', 'leased')"  # noqa: S608
    ((found,),) = rows(place.database, open_batches)
    return float(str(found)) - place.database.read_now(reads.now)


def test_duties_are_due_when_the_clock_was_set_back(ledger: Database) -> None:
    def due() -> float:
        return ledger.read_now(duties.next_runs)["reap"]

    claim_duty = partial(duties.claim_duty, name="reap", every=3.0)
    assert ledger.write_now(claim_duty)
    assert due() > 0
    set_clock(ledger, -HOUR)

    assert due() < 0
    assert ledger.write_now(claim_duty)
    assert not ledger.write_now(claim_duty)
    assert 0 < due() <= 3
