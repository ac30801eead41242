"""Tenants share what is claimed by weight, and lanes go side by side."""

from collections.abc import Sequence
from functools import partial

import pytest
from sqlalchemy import Connection

from vectorflow.domain.jobs import BatchKind, Lane
from vectorflow.errors import TooMuchAtOnce, Unavailable
from vectorflow.ledger import claims, shares, submission
from vectorflow.ledger.claims import Wanted
from vectorflow.ledger.database import Database
from vectorflow.ports.work import Lease, Work
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import (
    CAPABILITIES,
    PretendWorker,
    Workplace,
    claim,
    document,
    names_of,
)

EXTRACT, EMBED = BatchKind.EXTRACT, BatchKind.EMBED
INTERACTIVE, BULK = Lane.INTERACTIVE, Lane.BULK


def flood(
    place: Workplace, tenant: str, count: int, *, start: int = 0, lane: Lane = BULK
) -> list[int]:
    """Send so many documents in a job of its own each; they are called after their tenant."""
    return [
        place.submit({f"{tenant}{number}": "text"}, tenant=tenant, lane=lane)
        for number in range(start, start + count)
    ]


def weigh(place: Workplace, tenant: str, weight: float) -> None:
    place.database.write_now(partial(shares.weigh, tenant=tenant, weight=weight))


async def owners(work: Work, count: int, kind: BatchKind = EXTRACT) -> str:
    """Claim one batch after the other and give whose they are."""
    found = [await claim(work, kind, limit=1) for _ in range(count)]
    return "".join(name[0] for leases in found for name in names_of(leases))


def turns(place: Workplace, query: str = "1 = 1") -> list[tuple[object, ...]]:
    found = f"SELECT lane, virtual_time FROM batches WHERE {query} ORDER BY id"  # noqa: S608 - ours
    return rows(place.database, found)


async def test_a_flood_delays_another_tenant_by_one_batch(place: Workplace) -> None:
    work = place.worker("here")
    flood(place, "a", 30)
    await owners(work, 7)

    flood(place, "b", 4)

    assert "b" in await owners(work, 2)
    assert sorted(await owners(work, 6)) == list("aaabbb")


async def test_the_shares_hold_for_every_kind_of_batch(place: Workplace) -> None:
    worker = PretendWorker(place.worker("here"))
    flood(place, "a", 20)
    flood(place, "b", 4)
    await worker.run(EXTRACT)

    assert sorted(await owners(worker.work, 8, EMBED)) == list("aaaabbbb")


async def test_tenants_share_by_weight(place: Workplace) -> None:
    work = place.worker("here")
    weigh(place, "a", 2)
    weigh(place, "a", 3)
    for number in range(12):  # in turns, as age decides where nothing else does
        flood(place, "b", 1, start=number)
        flood(place, "a", 1, start=number)

    assert (await owners(work, 12)).count("a") == pytest.approx(9, abs=1)


async def test_who_was_idle_has_saved_nothing_up(place: Workplace) -> None:
    work = place.worker("here")
    flood(place, "a", 30)
    await owners(work, 15)

    flood(place, "b", 10)

    assert (await owners(work, 10)).count("b") == pytest.approx(5, abs=1)


async def test_what_was_cancelled_is_not_held_against_its_tenant(place: Workplace) -> None:
    work = place.worker("here")
    jobs = flood(place, "a", 20)
    for job in jobs[1:]:
        place.cancel(job, "a")
    flood(place, "b", 20)

    flood(place, "a", 5, start=20)

    assert (await owners(work, 10)).count("a") == pytest.approx(5, abs=1)


async def test_what_still_waits_counts_after_the_last_was_cancelled(place: Workplace) -> None:
    work = place.worker("here")
    jobs = flood(place, "a", 10)
    place.cancel(jobs[-1], "a")
    flood(place, "a", 5, start=10)
    flood(place, "b", 15)

    assert (await owners(work, 20)).count("a") == pytest.approx(10, abs=1)


async def test_what_was_paused_comes_back_in_line_not_as_a_burst(place: Workplace) -> None:
    work = place.worker("here")
    jobs = flood(place, "a", 10)
    for job in jobs:
        place.pause(job, "a")
    flood(place, "b", 30)
    await owners(work, 15)

    for job in jobs:
        place.resume(job, "a")

    assert (await owners(work, 10)).count("a") == pytest.approx(5, abs=1)
    assert broken_laws(place.database) == {}


async def test_a_batch_that_comes_back_keeps_its_place(place: Workplace) -> None:
    work = place.worker("here")
    flood(place, "a", 3)
    first = await claim_one_of(work)
    before = turns(place)

    await work.release(first, Unavailable("a moment"))
    place.pass_time()

    assert turns(place) == before
    assert names_of([await claim_one_of(work)]) == ["a0"]


async def test_the_pieces_of_a_batch_keep_its_place(place: Workplace) -> None:
    work = place.worker("here")
    flood(place, "b", 2)
    place.submit({"a1": "one", "a2": "two"}, tenant="a")
    flood(place, "a", 2, start=3)
    leases = await claim(work, limit=3)
    (whole,) = [lease for lease in leases if len(lease.versions) == 2]

    await work.release(whole, TooMuchAtOnce("too much"))

    assert set(turns(place, "state = 'ready' AND cut_from IS NULL")[-2:]) == set(
        turns(place, f"id = {whole.batch}")
    )


async def test_one_that_comes_back_late_gives_nobody_a_start(place: Workplace) -> None:
    work = place.worker("here")
    flood(place, "a", 20)
    first = await claim_one_of(work)
    worker = PretendWorker(work)
    for _ in range(2):
        leases = await claim(work, EXTRACT, limit=5)
        await work.finish([worker.result(lease) for lease in leases])
    await work.release(first, Unavailable("a moment"))

    flood(place, "b", 20)
    place.pass_time()

    assert (await owners(work, 11)).count("a") == pytest.approx(6, abs=1)


async def test_interactive_work_goes_before_bulk_that_came_first(place: Workplace) -> None:
    work = place.worker("here")
    flood(place, "b", 5)
    flood(place, "i", 1, lane=INTERACTIVE)

    (first,) = claim_now(place, 1)

    assert names_of([first]) == ["i0"]
    assert first.lane is INTERACTIVE
    assert [lease.lane for lease in await claim(work)] == [BULK] * 5


@pytest.mark.parametrize("kind", [EXTRACT, EMBED])
async def test_bulk_gets_the_places_that_are_kept_for_it(place: Workplace, kind: BatchKind) -> None:
    flood(place, "b", 6)
    flood(place, "i", 6, lane=INTERACTIVE)
    if kind is EMBED:
        await PretendWorker(place.worker("here")).run(EXTRACT)

    claimed = claim_now(place, 4, bulk=1)

    assert names_of(claimed) == ["i0", "i1", "i2", "b0"]
    assert names_of(claim_now(place, 9, bulk=2)) == ["i3", "i4", "i5", "b1", "b2", "b3", "b4", "b5"]


async def test_places_for_bulk_are_not_lost_where_there_is_none(place: Workplace) -> None:
    flood(place, "i", 6, lane=INTERACTIVE)

    assert len(claim_now(place, 4, bulk=2)) == 4


async def test_a_worker_without_room_for_bulk_is_given_none(place: Workplace) -> None:
    work = place.worker("here")
    flood(place, "b", 2)
    flood(place, "i", 1, lane=INTERACTIVE)

    claimed = await work.claim([EXTRACT], CAPABILITIES, 9, [INTERACTIVE])

    assert names_of(claimed) == ["i0"]


async def test_what_follows_stays_in_the_lane_of_its_job(place: Workplace) -> None:
    worker = PretendWorker(place.worker("here"))
    for text in ("one", "two"):  # the second retires what the first stored
        place.submit({"i": text}, lane=INTERACTIVE)
        await worker.run()

    assert {lane for lane, _ in turns(place)} == {INTERACTIVE}


async def test_kinds_share_a_claim_that_cannot_hold_all(place: Workplace) -> None:
    worker = PretendWorker(place.worker("here"))
    flood(place, "a", 9)
    await worker.run(EXTRACT)
    flood(place, "b", 9)

    claimed = await claim(worker.work, EMBED, EXTRACT, limit=4)

    assert sorted(lease.kind for lease in claimed) == [EMBED, EMBED, EXTRACT, EXTRACT]


def test_a_transaction_that_is_undone_leaves_nothing_to_place(
    place: Workplace, ledger: Database
) -> None:
    new = place.new_job()

    def submit_and_break(connection: Connection) -> None:
        submission.accept(connection, new, [document("a", "text")], 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.write_now(submit_and_break)
    place.submit({"b": "text"})

    assert len(turns(place)) == 1


def test_one_transaction_may_place_batches_of_very_many_jobs(
    place: Workplace, ledger: Database
) -> None:
    """As when a store has lost an index into which each job put one document."""
    job = place.submit({"a": "text"})

    found = ledger.read_now(lambda connection: shares._lanes(connection, range(70_000)))  # noqa: SLF001

    assert found == {job: BULK}


async def claim_one_of(work: Work) -> Lease:
    (lease,) = await claim(work, limit=1)
    return lease


def claim_now(place: Workplace, limit: int, *, bulk: int = 0) -> Sequence[Lease]:
    wanted = Wanted([EMBED, EXTRACT], CAPABILITIES, limit, bulk=bulk)
    claimed = place.database.write_now(
        partial(claims.claim, owner="here", wanted=wanted, lease_seconds=30.0)
    )
    return [one.lease for one in claimed]
