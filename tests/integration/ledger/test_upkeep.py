"""Garbage collection, duties, and what a worker may not claim."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import (
    BadChunk,
    CallRefused,
    FingerprintMismatch,
    IndexLost,
    IndexRefused,
)
from vectorflow.ledger import duties, indexes
from vectorflow.ledger.database import Database
from vectorflow.ports.work import Finished
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import (
    PIPELINE,
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    document,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("here"))


def needed(place: Workplace) -> set[str]:
    return place.database.read_now(duties.referenced_blobs)


def upload(text: str) -> str:
    source = document("any", text).source
    assert source is not None
    return source.blob


async def test_an_upload_is_needed_until_its_document_is_live(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    assert needed(place) == {upload("one")}
    await worker.run(EXTRACT)
    assert needed(place) == {upload("one"), "manifests/v1-0"}

    await worker.run()

    assert needed(place) == {"manifests/v1-0"}


def test_an_upload_that_waits_is_needed_and_a_superseded_one_is_not(place: Workplace) -> None:
    place.submit({"a": "one"})
    place.submit({"a": "two"})
    place.submit({"a": "three"})

    assert needed(place) == {upload("one"), upload("three")}


async def test_an_old_manifest_is_needed_until_it_is_retired(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    place.submit({"a": "two"})
    await worker.run(EXTRACT, EMBED)
    assert needed(place) == {"manifests/v1-0", "manifests/v2-0"}
    lease = await claim_one(worker.work, RETIRE)
    assert needed(place) == {"manifests/v1-0", "manifests/v2-0"}

    await worker.work.finish([Finished(lease=lease)])

    assert needed(place) == {"manifests/v2-0"}


async def test_an_old_manifest_with_zombies_is_needed_until_it_is_retired_again(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await claim(worker.work)
    place.pass_time()
    place.reap()
    await worker.run()
    place.submit({"a": "two"})
    await worker.run()
    assert needed(place) == {"manifests/v1-0", "manifests/v2-0"}
    place.pass_time()

    await worker.run()

    assert needed(place) == {"manifests/v2-0"}


async def test_of_a_failed_document_its_upload_stays_and_its_manifest_goes(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    failures = {lease.versions[0].id: BadChunk("no", position=0)}
    await worker.work.finish([Finished(lease=lease, failures=failures)])
    assert needed(place) == {upload("one"), "manifests/v1-0"}

    await worker.run()

    assert needed(place) == {upload("one")}


async def test_a_retire_batch_that_fails_keeps_its_manifest_until_it_goes_well(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})
    await worker.run(EXTRACT, EMBED)

    await worker.work.release(await claim_one(worker.work, RETIRE), CallRefused("no"))

    assert needed(place) == {"manifests/v1-0", "manifests/v2-0"}
    assert place.job(job).state is JobState.RUNNING
    assert list(await claim(worker.work)) == []
    place.pass_time()
    await worker.run()
    assert needed(place) == {"manifests/v2-0"}
    assert place.job(job).state is JobState.COMPLETED


async def test_vector_files_are_needed_until_their_batch_is_done(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    await worker.work.checkpoint(lease, vectors="vectors/1")
    assert "vectors/1" in needed(place)

    await worker.work.finish([Finished(lease=lease)])

    assert "vectors/1" not in needed(place)


async def test_after_a_reset_nothing_old_is_needed(place: Workplace, worker: PretendWorker) -> None:
    place.submit({"a": "one", "b": "one"})
    await worker.run()
    place.submit({"a": "two"})
    place.submit({"c": "three"})
    await worker.run(EXTRACT)
    place.delete("b")
    (lease, *_) = await claim(worker.work, EMBED)
    await worker.work.checkpoint(lease, vectors="vectors/1")

    await worker.work.release(lease, IndexLost("gone"))

    assert needed(place) == {upload("two"), upload("three")}


async def test_every_part_that_is_committed_is_needed(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"long": "text"})
    lease = await claim_one(worker.work)
    version = lease.versions[0].id
    await worker.work.checkpoint(lease, parts=[part_of(version, 0, last=False)])
    await worker.work.checkpoint(lease, parts=[part_of(version, 1, last=False)])

    assert needed(place) == {upload("text"), f"manifests/v{version}-0", f"manifests/v{version}-1"}


def test_a_duty_is_run_once_a_period(ledger: Database) -> None:
    claim_duty = partial(duties.claim_duty, name="reap", every=3600.0)

    assert [ledger.write_now(claim_duty) for _ in range(3)] == [True, False, False]
    assert ledger.write_now(partial(duties.claim_duty, name="other", every=3600.0))

    _make_due(ledger)
    assert [ledger.write_now(claim_duty) for _ in range(3)] == [True, False, False]


def test_of_many_processes_one_runs_a_duty(ledger: Database, ledger_url: str) -> None:
    others = [Database(ledger_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            claims = [
                threads.submit(
                    other.write_now, partial(duties.claim_duty, name="reap", every=3600.0)
                )
                for other in others
            ]
            assert sorted(claim.result() for claim in claims) == [False, False, False, True]
            _make_due(ledger)
    for other in others:
        other.close()


def _make_due(ledger: Database) -> None:
    ledger.write_now(
        lambda connection: connection.exec_driver_sql("UPDATE duties SET next_run_at = 1")
    )


def test_what_a_duty_did_is_kept_for_people_to_see(ledger: Database) -> None:
    ledger.write_now(partial(duties.claim_duty, name="reap", every=3600.0))

    ledger.write_now(partial(duties.note_duty, name="reap", result="x" * 300))

    assert rows(ledger, "SELECT last_result FROM duties") == [("x" * 256,)]


def test_an_index_is_found_again_and_belongs_to_one_model(place: Workplace) -> None:
    first = place.index()
    assert place.index() == first
    other_model = replace(PIPELINE.recipe.fingerprint, model="other")
    pipeline = replace(PIPELINE, recipe=replace(PIPELINE.recipe, fingerprint=other_model))

    with pytest.raises(FingerprintMismatch, match="embedded with hash, asked for other"):
        place.index(pipeline)


def test_an_index_belongs_to_the_tenant_who_was_first(place: Workplace) -> None:
    first = place.index()

    open_for_others = partial(indexes.open_index, tenant="red", pipeline=PIPELINE)
    with pytest.raises(IndexRefused, match="belongs to another tenant; use another index name"):
        place.database.write_now(open_for_others)

    assert place.index() == first
    another = replace(PIPELINE, index="red")
    assert place.database.write_now(partial(indexes.open_index, tenant="red", pipeline=another)).id


async def test_an_index_is_written_from_its_first_embed_batch_on(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    assert place.database.read_now(duties.written_indexes) == []

    await worker.run(EMBED)

    assert place.database.read_now(duties.written_indexes) == [(PIPELINE.store, PIPELINE.index)]
