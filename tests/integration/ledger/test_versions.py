"""What becomes of the versions of a document."""

import pytest
from sqlalchemy import Connection, insert, select, update

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk, BinaryContent, UnreadableSource
from vectorflow.ledger.tables import documents, parts, versions
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import (
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def work(place: Workplace) -> Work:
    return place.worker("here")


@pytest.fixture
def worker(work: Work) -> PretendWorker:
    return PretendWorker(work)


def states(place: Workplace, name: str = "a") -> list[str]:
    """States of the versions of a document, in order."""
    query = f"""SELECT v.state FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE d.external_id = '{name}' ORDER BY v.number"""  # noqa: S608 - our own names
    return [str(state) for (state,) in rows(place.database, query)]


async def test_a_stored_version_goes_live_and_retires_the_one_before(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})
    await worker.run(EXTRACT, EMBED)
    assert states(place) == ["retired", "live"]
    assert place.job(job).state is JobState.RUNNING  # its clean-up is not done

    await worker.run()

    view = place.job(job)
    assert view.state is JobState.COMPLETED
    assert (view.documents_new, view.documents_changed) == (0, 1)
    assert (view.records_new, view.records_old) == (3, 3)
    assert broken_laws(place.database, all_done=True) == {}


async def test_records_that_are_kept_need_no_embed_batch_and_go_live_at_once(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})
    worker.new_rows = 0

    await worker.run(EXTRACT)

    assert list(await claim(worker.work)) == []  # nothing vanished either
    view = place.job(job)
    assert (view.state, view.records_new, view.records_old) == (JobState.COMPLETED, 0, 0)
    assert states(place) == ["retired", "live"]


async def test_records_that_are_kept_are_committed_on_the_way_too(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})
    lease = await claim_one(worker.work)

    await worker.work.checkpoint(lease, parts=[part_of(lease.versions[0].id, new_rows=0)])

    assert place.job(job).state is JobState.COMPLETED
    assert states(place) == ["retired", "live"]


async def test_a_part_that_is_all_kept_counts_as_stored(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    place.submit({"a": "two"})
    lease = await claim_one(worker.work)
    version = lease.versions[0].id
    parts = (
        part_of(version, 0, new_rows=0, last=False),
        part_of(version, 1, new_rows=1, last=False),
        part_of(version, 2, new_rows=0),
    )
    await worker.work.finish([Finished(lease=lease, parts=parts)])
    embed = await claim_one(worker.work, EMBED)
    assert [part.number for part in embed.versions[0].parts] == [1]

    await worker.work.finish([Finished(lease=embed)])

    assert states(place) == ["retired", "live"]


async def test_what_only_some_documents_need_is_all_that_is_embedded(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one", "b": "one"})
    await worker.run()
    place.submit({"a": "two", "b": "two"})
    worker.by_name = {"a": 0}
    await worker.run(EXTRACT)

    embed = await claim_one(worker.work, EMBED)

    assert [version.external_id for version in embed.versions] == ["b"]


async def test_a_second_version_waits_for_the_first_and_is_woken_by_its_end(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one"})
    second = place.submit({"a": "two"})
    assert states(place) == ["indexing", "waiting"]
    leases = await claim(worker.work)
    assert [version.number for lease in leases for version in lease.versions] == [1]
    await worker.work.finish([worker.result(leases[0])])
    await worker.run(EMBED)

    assert states(place) == ["live", "indexing"]
    assert place.job(first).state is JobState.COMPLETED
    woken = await claim_one(worker.work)
    assert [len(version.base) for version in woken.versions] == [1]
    await worker.work.finish([worker.result(woken)])
    await worker.run()
    assert states(place) == ["retired", "live"]
    assert place.job(second).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_third_version_supersedes_the_one_that_waits(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one"})
    second = place.submit({"a": "two"})
    third = place.submit({"a": "three"})

    assert states(place) == ["indexing", "superseded", "waiting"]
    assert place.job(second).state is JobState.COMPLETED
    await worker.run()
    assert states(place) == ["retired", "superseded", "live"]
    assert {place.job(job).state for job in (first, third)} == {JobState.COMPLETED}
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_waiting_version_equal_to_the_live_one_ends_without_work(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    again = place.submit({"a": "one"})

    await worker.run(EXTRACT, EMBED)

    assert states(place) == ["live", "superseded"]
    assert list(await claim(worker.work)) == []
    assert place.job(again).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_version_that_waits_is_woken_by_the_failure_of_the_open_one(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one"})
    second = place.submit({"a": "two"})
    await worker.work.release(await claim_one(worker.work), BinaryContent("bytes"))

    assert states(place) == ["failed", "indexing"]
    await worker.run()
    assert states(place) == ["failed", "live"]
    assert place.job(first).state is JobState.FAILED
    assert place.job(second).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_failure_keeps_the_version_before_live_and_retires_what_was_stored(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work, EMBED)
    failures = {lease.versions[0].id: BadChunk("refused", position=1)}
    await worker.work.finish([Finished(lease=lease, failures=failures)])

    assert states(place) == ["live", "failed"]
    retire = await claim_one(worker.work)
    assert (retire.kind, [version.number for version in retire.versions]) == (RETIRE, [2])
    assert retire.versions[0].parts == lease.versions[0].parts
    assert [part.blob for part in retire.versions[0].base] != [
        part.blob for part in retire.versions[0].parts
    ]
    assert place.job(job).state is JobState.RUNNING
    await worker.work.finish([Finished(lease=retire)])
    assert place.job(job).state is JobState.FAILED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_document_that_never_stored_anything_leaves_nothing_to_retire(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one"})
    lease = await claim_one(worker.work)
    failures = {lease.versions[0].id: BinaryContent("bytes")}

    await worker.work.finish([Finished(lease=lease, failures=failures)])

    assert list(await claim(worker.work)) == []
    assert place.job(job).state is JobState.FAILED


async def test_a_document_that_could_not_be_read_is_a_dead_letter_from_the_start(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()

    job = place.submit({"b": "two"}, failures={"a": UnreadableSource("denied")})

    assert states(place) == ["live", "failed"]
    await worker.run()
    view = place.job(job)
    assert (view.state, view.docs_failed, view.docs_done) == (JobState.PARTIAL, 1, 1)
    (letter,) = place.failures(job)
    assert (letter.served_version, letter.attempted_version, letter.stage) == (1, 2, "read")
    assert broken_laws(place.database, all_done=True) == {}


async def test_other_parts_of_a_failed_document_end_and_are_retired_twice(
    place: Workplace, worker: PretendWorker
) -> None:
    """At once, and when a worker that does not know yet can write no more."""
    job = place.submit({"long": "text"})
    lease = await claim_one(worker.work)
    version = lease.versions[0].id
    parts = tuple(part_of(version, number, last=number == 2) for number in range(3))
    await worker.work.finish([Finished(lease=lease, parts=parts)])
    bad, late = await claim(worker.work, EMBED, limit=2)
    failures = {version: BadChunk("refused", position=0)}
    await worker.work.finish([Finished(lease=bad, failures=failures)])

    await worker.run(RETIRE)
    assert list(await worker.work.finish([Finished(lease=late)])) == [True]
    (unclaimed,) = await worker.run(EMBED)
    assert unclaimed.versions == ()
    assert place.job(job).state is JobState.RUNNING

    place.pass_time()
    (again,) = await worker.run(RETIRE)
    assert [len(one.parts) for one in again.versions] == [3]
    view = place.job(job)
    assert (view.state, view.docs_failed) == (JobState.FAILED, 1)
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_was_extracted_whole_survives_the_death_of_its_extract_batch(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"a": "one", "b": "two", "long": "text"})
    lease = await claim_one(worker.work)
    a, b, long = (version.id for version in lease.versions)
    parts = [part_of(a), part_of(long, 0, last=False), part_of(long, 1)]
    await worker.work.checkpoint(lease, parts=parts)

    await worker.work.release(lease, BinaryContent("bytes"))
    await worker.run()

    assert states(place, "a") == states(place, "long") == ["live"]
    assert states(place, "b") == ["failed"]
    assert place.job(job).state is JobState.PARTIAL
    assert b not in (a, long)
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_version_planned_against_what_is_no_longer_live_is_planned_again(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    await worker.run()
    job = place.submit({"a": "two"})
    worker.new_rows = 1
    await worker.run(EXTRACT)
    lease = await claim_one(worker.work, EMBED)
    _make_live_by_hand(place, lease.versions[0].document)

    await worker.work.finish([Finished(lease=lease)])

    again = await claim_one(worker.work)
    assert again.kind is EXTRACT
    assert again.versions[0].number == 2
    assert [part.blob for part in again.versions[0].base] == ["manifests/by-hand"]
    assert again.versions[0].parts == ()
    await worker.work.finish([worker.result(again)])
    await worker.run()
    assert place.job(job).state is JobState.COMPLETED
    assert states(place) == ["retired", "live", "retired"]


def _make_live_by_hand(place: Workplace, document: int) -> None:
    """Let another version of a document be the live one."""
    first = (versions.c.document_id == document) & (versions.c.number == 1)
    part = {"blob": "manifests/by-hand", "row_start": 0, "rows": 3, "resume_at": 9}

    def transaction(connection: Connection) -> None:
        row = connection.execute(select(versions).where(first)).mappings().one()
        other = {**row, "id": 999, "number": 3}
        connection.execute(update(versions).where(first).values(state="retired"))
        connection.execute(insert(versions), [other])
        connection.execute(insert(parts), [{"version_id": 999, "number": 0, **part}])
        connection.execute(
            update(documents).where(documents.c.id == document).values(live_version=999)
        )

    place.database.write_now(transaction)


async def test_deleting_a_live_document_serves_nothing_and_retires_all(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one", "b": "two"})
    await worker.run()

    job = place.delete("a")

    assert states(place) == ["retired", "live"]
    retire = await claim_one(worker.work)
    assert [len(version.parts) for version in retire.versions] == [1]
    assert retire.versions[0].base == ()
    await worker.work.finish([Finished(lease=retire)])
    view = place.job(job)
    assert (view.state, view.documents_gone, view.records_old) == (JobState.COMPLETED, 1, 3)
    assert broken_laws(place.database, all_done=True) == {}


async def test_deleting_waits_for_a_version_that_is_being_indexed(
    place: Workplace, worker: PretendWorker
) -> None:
    first = place.submit({"a": "one"})
    job = place.delete("a")
    assert states(place) == ["indexing", "waiting"]

    await worker.run()

    assert states(place) == ["retired", "live"]
    assert {place.job(one).state for one in (first, job)} == {JobState.COMPLETED}
    assert rows(place.database, "SELECT id FROM documents WHERE deleted_at IS NULL") == []
    assert broken_laws(place.database, all_done=True) == {}


async def test_deleting_supersedes_the_version_that_waits(
    place: Workplace, worker: PretendWorker
) -> None:
    jobs = [place.submit({"a": "one"}), place.submit({"a": "two"}), place.delete("a")]
    assert states(place) == ["indexing", "superseded", "waiting"]

    await worker.run()

    assert states(place) == ["retired", "superseded", "live"]
    assert {place.job(job).state for job in jobs} == {JobState.COMPLETED}
    assert broken_laws(place.database, all_done=True) == {}


async def test_deleting_twice_does_nothing_more(place: Workplace, worker: PretendWorker) -> None:
    place.submit({"a": "one"})
    jobs = [place.delete("a"), place.delete("a")]
    await worker.run()
    jobs.append(place.delete("a"))
    await worker.run()

    assert {place.job(job).state for job in jobs} == {JobState.COMPLETED}
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_was_deleted_may_come_back(place: Workplace, worker: PretendWorker) -> None:
    place.submit({"a": "one"})
    await worker.run()
    place.delete("a")
    await worker.run()

    job = place.submit({"a": "one"})
    lease = await claim_one(worker.work)
    assert [(version.number, version.base) for version in lease.versions] == [(3, ())]
    await worker.work.finish([worker.result(lease)])
    await worker.run()

    assert place.job(job).state is JobState.COMPLETED
    assert rows(place.database, "SELECT id FROM documents WHERE deleted_at IS NOT NULL") == []
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_version_that_waits_behind_a_deletion_comes_back_after_it(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"a": "one"})
    place.delete("a")
    job = place.submit({"a": "two"})

    await worker.run()

    assert states(place) == ["retired", "superseded", "live"]
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}
