"""The ledger at a glance: what those who watch are told."""

from functools import partial

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.outages import SystemKind
from vectorflow.errors import BadChunk
from vectorflow.ledger import backlog, duties, overview, reads, retrying
from vectorflow.ledger.overview import Overview
from vectorflow.ledger.waits import waits
from vectorflow.testing.work_outages import away
from vectorflow.testing.workplace import TENANT, PretendWorker, Workplace, claim_one

BAD = BadChunk("refused", position=0)


def look(place: Workplace) -> Overview:
    return place.database.read_now(overview.overview)


async def test_an_empty_ledger_tells_of_nothing(place: Workplace) -> None:
    found = look(place)

    assert found.open_jobs == {JobState.RUNNING: 0, JobState.PAUSED: 0}
    assert (found.dead_letters, found.away, found.duties) == (0, {}, [])
    assert found.backlog.total == backlog.Waiting()


async def test_jobs_are_counted_until_they_end(place: Workplace) -> None:
    place.submit({"done": "text"})
    await PretendWorker(place.worker("here")).run()
    for name in ("a", "b", "c"):
        place.submit({name: "text"})
    place.pause(place.submit({"held": "text"}, tenant="another"), tenant="another")
    place.cancel(place.submit({"gone": "text"}))

    assert look(place).open_jobs == {JobState.RUNNING: 3, JobState.PAUSED: 1}


async def test_dead_letters_of_all_tenants_are_counted_until_somebody_looks_after_them(
    place: Workplace,
) -> None:
    place.submit({}, failures={"a": BAD, "b": BAD})
    place.submit({"good": "text"}, failures={"c": BAD}, tenant="another")
    await PretendWorker(place.worker("here")).run()
    before = look(place).dead_letters

    place.submit({"a": "better"})  # replaces what failed

    assert before == 3
    assert look(place).dead_letters == 2


async def test_what_waits_for_somebody_is_counted_by_tenant(place: Workplace) -> None:
    place.submit({}, failures={"a": BAD, "b": BAD})
    place.submit({}, failures={"c": BAD}, tenant="another")
    place.submit({"a": "better"})
    place.pause(place.submit({"held": "text"}, tenant="another"), tenant="another")

    assert place.database.read_now(reads.failed_by_tenant) == {"another": 1, "default": 1}
    assert place.database.read_now(reads.paused_by_tenant) == {"another": 1}


async def test_a_failure_that_is_tried_again_is_no_dead_letter_meanwhile(place: Workplace) -> None:
    job = place.submit({"a": "text"})
    work = place.worker("here")
    await PretendWorker(work).run(BatchKind.EXTRACT)
    await work.release(await claim_one(work), BAD)
    before = look(place).dead_letters

    place.retry(job)

    assert before == 1
    assert look(place).dead_letters == 0


async def test_systems_that_are_away_are_counted_by_what_they_are(place: Workplace) -> None:
    work = place.worker("here")
    place.submit({"a": "text"})
    await PretendWorker(work).run(BatchKind.EXTRACT)

    await work.release(await claim_one(work), away())

    assert look(place).away == {SystemKind.STORE: 1}


async def test_of_a_system_that_nothing_waits_for_any_more_nobody_is_told(
    place: Workplace,
) -> None:
    work = place.worker("here")
    job = place.submit({"a": "text"})
    await PretendWorker(work).run(BatchKind.EXTRACT)
    await work.release(await claim_one(work), away())
    told = place.database.read_now(waits)

    place.cancel(job)

    assert len(told) == 1
    assert look(place).away == {}
    assert place.database.read_now(waits) == []


async def test_duties_are_told_of_as_the_doctor_tells_of_them(place: Workplace) -> None:
    write = place.database.write_now
    write(lambda connection: duties.claim_duty(connection, "reap", every=3.0))
    write(lambda connection: duties.note_duty(connection, "reap", "well"))

    found = look(place)

    (duty,) = found.duties
    assert (duty.name, duty.last_result, duty.running) == ("reap", "well", False)
    assert 0 <= found.now - (duty.last_run_at or 0.0) < 60


async def test_no_figure_goes_further_than_the_backlog_counts(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "COUNTED_TO", 2)
    for number in range(4):
        place.submit({f"d{number}": "text"}, failures={f"f{number}": BAD})

    found = look(place)

    assert found.open_jobs[JobState.RUNNING] == 2
    assert found.dead_letters == 2


async def test_of_many_jobs_with_failures_it_is_the_newest_that_are_counted(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "COUNTED_TO", 2)
    for number in range(4):
        place.submit({}, failures={f"f{number}": BAD})
    discard = partial(retrying.discard, tenant=TENANT)
    for job in (1, 2):
        place.database.write_now(partial(discard, job=job))
    assert look(place).dead_letters == 2

    place.database.write_now(partial(discard, job=3))

    assert look(place).dead_letters == 1
