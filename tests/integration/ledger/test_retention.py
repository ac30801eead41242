"""What is over is let go of, and nothing that anybody still needs."""

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection, insert, select

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk, BinaryContent, Conflict, NotFound
from vectorflow.ledger import clock, keys, retention, retry_requests, submission
from vectorflow.ledger.database import Database
from vectorflow.ledger.retention import ROWS_AT_ONCE, Retention
from vectorflow.ledger.retry_requests import RetryRequest
from vectorflow.ledger.tables import attempts, batches
from vectorflow.ports.work import Finished
from vectorflow.service import retention as duty
from vectorflow.service.retention import forget
from vectorflow.testing.ledgers import broken_laws, dump, rows
from vectorflow.testing.workplace import (
    PIPELINE,
    TENANT,
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    document,
    serving_now,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

LONG = Retention(versions=3600, attempts=3600, jobs=3600, failures=3600, keys=3600)

NOT_AT_ALL = Retention(versions=-1, attempts=-1, jobs=-1, failures=-1, keys=-1)
"""What ended within the next second is old."""


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duty, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("here"))


def numbers(place: Workplace) -> list[tuple[object, ...]]:
    """Document, number and state of all versions."""
    return rows(
        place.database,
        """SELECT d.external_id, v.number, v.state FROM versions v
        JOIN documents d ON d.id = v.document_id ORDER BY v.id""",
    )


def count(place: Workplace, table: str) -> int:
    [(found,)] = rows(place.database, f"SELECT count(*) FROM {table}")  # noqa: S608 - our names
    return int(str(found))


async def failed(place: Workplace, worker: PretendWorker, *names: str) -> int:
    """Give a job whose documents all failed."""
    job = place.submit(dict.fromkeys(names, "text"))
    await worker.work.release(await claim_one(worker.work), BinaryContent("no"))
    while leases := await claim(worker.work):
        for lease in leases:
            await worker.work.release(lease, BinaryContent("no"))
    return job


async def test_of_a_document_the_live_version_and_the_newest_are_kept(
    place: Workplace, worker: PretendWorker
) -> None:
    for text in ("one", "two", "three"):
        place.submit({"a": text, "b": "same"})
        await worker.run()
    await failed(place, worker, "b")
    served = serving_now(place, "a", "b")

    told = await forget(place.database, NOT_AT_ALL)

    assert numbers(place) == [("a", 3, "live"), ("b", 3, "live"), ("b", 4, "discarded")]
    assert serving_now(place, "a", "b") == served
    assert count(place, "parts") == 2
    assert broken_laws(place.database, all_done=True) == {}
    assert told == "let go of failures 1, batches 8, versions 4, jobs 2"


async def test_what_is_young_stays_to_the_last_row(place: Workplace, worker: PretendWorker) -> None:
    for text in ("one", "two"):
        place.submit({"a": text})
        await worker.run()
    await failed(place, worker, "b")
    before = dump(place.database)

    assert await forget(place.database, LONG) == "let go of nothing"

    assert dump(place.database) == before


async def test_forgetting_twice_finds_nothing_more(place: Workplace, worker: PretendWorker) -> None:
    for text in ("one", "two"):
        place.submit({"a": text})
        await worker.run()
    await forget(place.database, NOT_AT_ALL)
    before = dump(place.database)

    assert await forget(place.database, NOT_AT_ALL) == "let go of nothing"

    assert dump(place.database) == before


async def test_a_job_goes_with_the_last_of_its_versions(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one", "b": "one"})
    await worker.run()
    second = place.submit({"a": "two"})
    await worker.run()
    await forget(place.database, NOT_AT_ALL)
    assert place.job(first).docs_done == 2

    place.submit({"b": "two"})
    await worker.run()
    await forget(place.database, NOT_AT_ALL)

    with pytest.raises(NotFound):
        place.job(first)
    assert place.job(second).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_of_a_job_that_runs_nothing_is_forgotten(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    place.submit({"a": "two"})
    place.pause(place.submit({"b": "one"}))
    tables = ("versions", "parts", "batches", "attempts")
    before = dump(place.database, tables)

    await forget(place.database, NOT_AT_ALL)

    assert dump(place.database, tables) == before
    await worker.run()
    assert serving_now(place, "a").keys() == {"a"}


async def test_a_version_stays_until_its_records_are_deleted(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    place.submit({"a": "two"})
    await worker.run(EXTRACT, EMBED)

    await forget(place.database, NOT_AT_ALL)

    lease = await claim_one(worker.work, RETIRE)
    assert [part.blob for version in lease.versions for part in version.parts] == ["manifests/v1-0"]
    await forget(place.database, NOT_AT_ALL)
    assert ("a", 1, "retired") in numbers(place)
    await worker.work.finish([Finished(lease=lease)])
    await forget(place.database, NOT_AT_ALL)
    assert numbers(place) == [("a", 2, "live")]


async def test_a_version_that_will_be_retired_again_stays(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await claim(worker.work)
    place.pass_time()
    place.reap()
    await worker.run()
    place.submit({"a": "two"})
    await worker.run()  # the second clean-up waits until no zombie can write any more

    await forget(place.database, NOT_AT_ALL)

    assert ("a", 1, "retired") in numbers(place)
    place.pass_time()
    (lease,) = await worker.run(RETIRE)
    assert [version.number for version in lease.versions] == [1]


async def test_a_failure_can_be_tried_again_until_it_is_forgotten(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failed(place, worker, "a", "b")
    place.submit({"c": "newest"})
    await worker.run()
    await forget(place.database, replace(NOT_AT_ALL, failures=3600))
    assert place.retry(job, most=1) == 1
    await worker.run()

    await forget(place.database, NOT_AT_ALL)

    assert place.failures(job) == []
    with pytest.raises(Conflict, match="can be tried again"):
        place.retry(job)
    view = place.job(job)
    assert (view.docs_total, view.docs_done, view.docs_failed) == (2, 1, 1)
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_job_that_is_tried_again_meanwhile_is_not_deleted(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await failed(place, worker, "a")
    place.submit({"b": "newest"})
    [rule] = [rule for rule in retention.RULES if rule.name == "jobs"]
    place.retry(job)

    assert place.database.write_now(rule.ending([job])) == 0

    await worker.run()
    assert place.job(job).state is JobState.COMPLETED


async def test_no_id_is_ever_given_again(place: Workplace, worker: PretendWorker) -> None:
    """Or who still holds an old lease would be taken for the holder of another one."""
    place.submit({"a": "one"})
    await worker.run()
    last = place.delete("a")
    await worker.run()
    highest = {table: rows(place.database, f"SELECT max(id) FROM {table}") for table in IDS}  # noqa: S608

    await forget(place.database, NOT_AT_ALL)

    assert place.submit({"b": "one"}) > last
    await worker.run()
    for table in IDS:
        [(new,)] = rows(place.database, f"SELECT max(id) FROM {table}")  # noqa: S608 - our names
        [(old,)] = highest[table]
        assert int(str(new)) > int(str(old)), table


IDS = ("documents", "versions", "jobs", "batches")


async def test_a_request_is_known_by_its_key_as_long_as_its_job(
    place: Workplace, worker: PretendWorker
) -> None:
    def send() -> int:
        new, item = place.new_job(key="once"), document("a", "one")
        return place.database.write_now(
            partial(submission.accept, new=new, accepted=[item], total=1)
        )

    first = send()
    await worker.run()
    place.submit({"a": "two"})
    await worker.run()
    assert send() == first

    await forget(place.database, NOT_AT_ALL)

    assert send() != first


async def test_of_a_job_whose_vectors_were_sent_nothing_is_left(
    place: Workplace, worker: PretendWorker
) -> None:
    hook = replace(PIPELINE, store="webhook://example.com")

    def send(text: str) -> int:
        new = replace(place.new_job(pipeline=hook), index=None)
        items = [document("a", text), document("b", text)]
        return place.database.write_now(
            partial(submission.accept, new=new, accepted=items, total=2)
        )

    first, second = send("one"), send("two")
    await worker.run()
    place.submit({"c": "newest"})
    await worker.run()

    await forget(place.database, replace(NOT_AT_ALL, jobs=3600))
    assert {name for name, _, _ in numbers(place)} == {"a", "b", "c"}
    await forget(place.database, NOT_AT_ALL)

    assert numbers(place) == [("c", 1, "live")]
    for job in (first, second):
        with pytest.raises(NotFound):
            place.job(job)
    assert count(place, "parts") == 1
    own = "SELECT id FROM indexes WHERE substr(name, 1, 4) = 'job:'"
    assert rows(place.database, own) == []
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_million_tries_would_be_deleted_a_thousand_at_a_time(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    await worker.run()
    place.database.write_now(partial(_add_batches, job=job, tries=7, batches_more=400))
    [rule] = [rule for rule in retention.RULES if rule.name == "batches"]

    sizes: list[int] = []
    while found := place.database.read_now(rule.finding([job], NOT_AT_ALL)):
        before = count(place, "attempts") + count(place, "batches")
        place.database.write_now(rule.ending(found))
        sizes.append(before - count(place, "attempts") - count(place, "batches"))

    assert len(sizes) == 4
    assert max(sizes) <= ROWS_AT_ONCE
    assert count(place, "batches") == 1  # the newest
    assert broken_laws(place.database, all_done=True) == {}


def _add_batches(connection: Connection, *, job: int, tries: int, batches_more: int) -> None:
    """Let a job have had so many more batches."""
    old = connection.execute(select(batches).where(batches.c.job_id == job)).first()
    assert old is not None
    values = old._asdict() | {"state": "dead", "lease_epoch": tries, "attempt": tries}
    made = connection.execute(
        insert(batches).returning(batches.c.id),
        [{**values, "id": old.id + 1000 + place} for place in range(batches_more)],
    )
    spent = {"chunks_embedded": 0, "embedding_calls": 0, "tokens": 0, "started_at": 0.0}
    fixed = {"tenant": TENANT, "owner": "here", "outcome": "error", **spent}
    connection.execute(
        insert(attempts).values(ended_at=clock.now()),
        [
            {**fixed, "batch_id": batch, "epoch": epoch + 1}
            for batch in made.scalars().all()
            for epoch in range(tries)
        ],
    )


async def test_a_bad_chunk_takes_its_parts_along_when_it_is_forgotten(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work)
    failures = {lease.versions[0].id: BadChunk("no", position=0)}
    await worker.work.finish([Finished(lease=lease, failures=failures)])
    place.submit({"a": "two"})
    await worker.run()

    await forget(place.database, NOT_AT_ALL)

    assert numbers(place) == [("a", 2, "live")]
    assert count(place, "parts") == 1


def test_what_retries_did_is_forgotten_as_jobs_are(ledger: Database) -> None:
    request = RetryRequest(tenant=TENANT, key="once", request_hash="any")
    ledger.write_now(partial(retry_requests.begin, request=request))
    ledger.write_now(partial(retry_requests.end, request=request))

    gone = [
        ledger.write_now(partial(retention.delete_retry_requests, kept=kept))
        for kept in (LONG, NOT_AT_ALL, NOT_AT_ALL)
    ]

    assert gone == [0, 1, 0]
    assert not ledger.write_now(partial(retry_requests.begin, request=request)).ended


def test_keys_that_ended_long_ago_are_listed_no_more(ledger: Database) -> None:
    make = partial(keys.issue_key, tenant=TENANT)
    ledger.write_now(partial(make, name="revoked"))
    ledger.write_now(partial(keys.revoke_keys, tenant=TENANT, which="revoked"))
    ledger.write_now(partial(make, name="expired", expires_in=-10.0))
    ledger.write_now(partial(make, name="ending", expires_in=3600.0))
    good = ledger.write_now(partial(make, name="good"))

    gone = [
        ledger.write_now(partial(retention.delete_keys, kept=kept)) for kept in (LONG, NOT_AT_ALL)
    ]

    assert gone == [0, 2]
    left = ledger.read_now(partial(keys.key_list, tenant=TENANT))
    assert [view.name for view in left] == ["ending", "good"]
    assert ledger.read_now(partial(keys.access_of, key=good.key)) is not None
