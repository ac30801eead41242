"""Attachments of mails that are given up: cancelled, failed, or deleted and back again."""

from collections.abc import Mapping

import pytest

from tests.integration.ledger.mails import hashes, send, served, states
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk
from vectorflow.ledger.retention import Retention
from vectorflow.ports.work import Finished, Lease, Work
from vectorflow.service.retention import forget
from vectorflow.testing.ledgers import broken_laws
from vectorflow.testing.workplace import (
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    document,
    serving_now,
)

EXTRACT, EMBED = BatchKind.EXTRACT, BatchKind.EMBED

NOT_AT_ALL = Retention(versions=-1, attempts=-1, jobs=-1, failures=-1, keys=-1)
"""What ended within the next second is old."""


@pytest.fixture
def work(place: Workplace) -> Work:
    return place.worker("here")


@pytest.fixture
def worker(work: Work) -> PretendWorker:
    return PretendWorker(work)


async def deleted_while_indexed(
    worker: PretendWorker, place: Workplace, *others: str
) -> tuple[int, Mapping[str, Lease]]:
    """Give the job that has deleted a mail, and the leases of its attachment and of others."""
    worker.attached = {"mail": {"a": "one"}}
    for name in ("mail", *others):
        place.submit({name: "hello"})
    await worker.run(EXTRACT)
    leases = {one.versions[0].external_id: one for one in await claim(worker.work, EMBED)}
    await worker.work.finish([Finished(lease=leases.pop("mail"))])
    return place.delete("mail", *others), leases


async def test_who_cancels_a_deletion_does_not_keep_the_attachments_of_what_is_deleted(
    place: Workplace, worker: PretendWorker
) -> None:
    job, leases = await deleted_while_indexed(worker, place)
    lease = leases["mail//a"]
    assert place.cancel(job) == 0
    assert broken_laws(place.database) == {}
    assert states(place, "mail//a") == ["indexing", "waiting"]

    await worker.work.finish([Finished(lease=lease)])
    await worker.run()

    assert served(place) == {}
    assert states(place, "mail//a") == ["retired", "live"]
    ended, other = place.job(job), place.job(lease.job.id)
    assert (ended.state, ended.docs_total, ended.docs_done) == (JobState.CANCELLED, 1, 1)
    assert (other.state, other.docs_total, other.docs_done) == (JobState.COMPLETED, 3, 3)
    assert (ended.documents_gone, other.documents_gone) == (1, 1)
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_deletion_left_to_another_job_comes_at_once_when_that_is_cancelled_too(
    place: Workplace, worker: PretendWorker
) -> None:
    job, leases = await deleted_while_indexed(worker, place)
    other = leases["mail//a"].job.id
    place.cancel(job)

    assert place.cancel(other) == 1

    assert states(place, "mail//a") == ["cancelled", "live"]
    assert broken_laws(place.database) == {}
    place.pass_time()
    await worker.run()
    assert served(place) == {}
    assert place.job(other).state is JobState.CANCELLED
    assert broken_laws(place.database, all_done=True) == {}


async def test_cancelling_a_deletion_still_keeps_the_documents_that_it_has_not_deleted(
    place: Workplace, worker: PretendWorker
) -> None:
    job, leases = await deleted_while_indexed(worker, place, "other")

    assert place.cancel(job) == 1

    await worker.work.finish([Finished(lease=lease) for lease in leases.values()])
    await worker.run()
    assert served(place) == hashes({"other": "hello"})
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_is_inside_of_what_a_cancelled_job_deletes_is_left_to_other_jobs(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"in.eml": "one"}, "mail//in.eml": {"a": "one"}}
    first = place.submit({"mail": "one"})
    await worker.run(EXTRACT)
    leases = {one.versions[0].external_id: one for one in await claim(worker.work, EMBED)}
    inside = leases.pop("mail//in.eml//a")
    await worker.work.finish([Finished(lease=lease) for lease in leases.values()])
    worker.attached = {"mail": {"in.eml": "two"}}
    second = place.submit({"mail": "two"})
    await worker.work.finish([worker.result(await claim_one(worker.work, EXTRACT))])
    await worker.work.finish([Finished(lease=await claim_one(worker.work, EMBED))])
    deletion = place.delete("mail")
    place.cancel(deletion)

    place.cancel(second)

    assert states(place, "mail//in.eml") == ["retired", "cancelled", "live"]
    assert states(place, "mail//in.eml//a") == ["indexing", "waiting"]
    assert broken_laws(place.database) == {}
    await worker.work.finish([Finished(lease=inside)])
    await worker.run()
    assert served(place) == {}
    assert place.job(first).documents_gone == 1
    assert broken_laws(place.database, all_done=True) == {}


async def sent_again(
    worker: PretendWorker, place: Workplace, inside: Mapping[str, str]
) -> tuple[int, Lease, Lease]:
    """Send a mail again while its attachment is indexed, up to where only embedding is left.

    Gives the second job, and the leases of the attachment and of the mail.
    """
    worker.attached = {"mail": {"a": "one"}}
    place.submit({"mail": "hello"})
    await worker.run(EXTRACT)
    leases = {one.versions[0].external_id: one for one in await claim(worker.work, EMBED)}
    await worker.work.finish([Finished(lease=leases["mail"])])
    worker.attached = {"mail": inside}
    job = place.submit({"mail": "again"})
    await worker.run(EXTRACT)
    return job, leases["mail//a"], await claim_one(worker.work, EMBED)


async def test_an_attachment_that_a_live_mail_has_lost_goes_though_its_job_is_cancelled(
    place: Workplace, worker: PretendWorker
) -> None:
    job, inside, mail = await sent_again(worker, place, {})
    await worker.work.finish([Finished(lease=mail)])
    assert states(place, "mail//a") == ["indexing", "waiting"]

    assert place.cancel(job) == 0

    await worker.work.finish([Finished(lease=inside)])
    await worker.run()
    assert served(place) == hashes({"mail": "again"})
    assert place.job(job).state is JobState.CANCELLED
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_attachment_stays_where_the_mail_that_has_lost_it_is_cancelled_too(
    place: Workplace, worker: PretendWorker
) -> None:
    job, inside, _ = await sent_again(worker, place, {})

    assert place.cancel(job) == 2

    await worker.work.finish([Finished(lease=inside)])
    place.pass_time()
    await worker.run()
    assert served(place) == hashes({"mail": "hello", "mail//a": "one"})
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_attachment_of_before_does_not_outlive_a_deleted_mail_whose_return_is_cancelled(
    place: Workplace, worker: PretendWorker
) -> None:
    _, leases = await deleted_while_indexed(worker, place)
    worker.attached = {"mail": {"a": "two"}}
    job = place.submit({"mail": "back"})
    await worker.run(EXTRACT)
    assert states(place, "mail//a") == ["indexing", "superseded", "waiting"]

    place.cancel(job)

    assert broken_laws(place.database) == {}
    await worker.work.finish([Finished(lease=leases["mail//a"])])
    place.pass_time()
    await worker.run()
    assert served(place) == {}
    assert place.job(job).state is JobState.CANCELLED
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_came_back_of_a_deleted_mail_goes_when_the_rest_is_cancelled(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    place.delete("mail")
    await worker.run()
    job = place.submit({"mail": "back"})
    await worker.run(EXTRACT)
    leases = {one.versions[0].external_id: one for one in await claim(worker.work, EMBED)}
    await worker.work.finish([Finished(lease=leases["mail//a"])])
    assert served(place) == hashes({"mail//a": "one"})

    assert place.cancel(job) == 1

    place.pass_time()
    await worker.run()
    assert served(place) == {}
    assert place.job(job).state is JobState.CANCELLED
    assert broken_laws(place.database, all_done=True) == {}


async def fail(worker: PretendWorker, name: str) -> None:
    """Let a document fail when it is embedded, and all others be live."""
    for lease in await claim(worker.work, EMBED):
        failures = {
            version.id: BadChunk("no", position=0)
            for version in lease.versions
            if version.external_id == name
        }
        await worker.work.finish([Finished(lease=lease, failures=failures)])
    await worker.run()


async def test_a_mail_that_came_back_and_failed_harms_no_attachment_and_may_be_retried(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    place.delete("mail")
    await worker.run()
    job = place.submit({"mail": "back"})
    await worker.run(EXTRACT)
    await fail(worker, "mail")
    assert served(place).keys() == {"mail", "mail//a"}  # the mail with no record
    assert broken_laws(place.database, all_done=True) == {}

    place.retry(job)
    await worker.run()

    assert served(place) == hashes({"mail": "back", "mail//a": "one"})
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_mail_as_before_is_not_unchanged_where_one_that_failed_has_taken_its_attachments(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one", "b": "two"})
    worker.attached = {"mail": {"b": "three"}}
    place.submit({"mail": "again"})
    await worker.run(EXTRACT)
    await fail(worker, "mail")
    assert served(place) == hashes({"mail": "hello", "mail//b": "three"})
    assert not serving_now(place, "mail")["mail"].equals(document("mail", "hello"))

    await send(worker, place, "hello", {"a": "one", "b": "two"})

    assert served(place) == hashes({"mail": "hello", "mail//a": "one", "mail//b": "two"})
    assert serving_now(place, "mail")["mail"].equals(document("mail", "hello"))
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_mail_as_before_that_waits_for_one_that_fails_takes_its_attachments_back(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    worker.attached = {"mail": {}}
    place.submit({"mail": "again"})
    await worker.run(EXTRACT)
    worker.attached = {"mail": {"a": "one"}}
    job = place.submit({"mail": "hello"})

    await fail(worker, "mail")
    await worker.run()

    assert served(place) == hashes({"mail": "hello", "mail//a": "one"})
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_mail_is_not_unchanged_where_an_attachment_of_it_was_cancelled(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"a": "one"}}
    job = place.submit({"mail": "hello"})
    await worker.run(EXTRACT)
    leases = {one.versions[0].external_id: one for one in await claim(worker.work, EMBED)}
    await worker.work.finish([Finished(lease=leases["mail"])])
    place.cancel(job)
    assert served(place) == hashes({"mail": "hello"})
    assert not serving_now(place, "mail")["mail"].equals(document("mail", "hello"))

    await send(worker, place, "hello", {"a": "one"})
    place.pass_time()
    await worker.run()

    assert served(place) == hashes({"mail": "hello", "mail//a": "one"})
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_mail_that_was_not_read_yet_has_taken_no_attachments(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    place.submit({"mail": "again"})
    lease = await claim_one(worker.work)
    job = place.delete("mail")
    place.cancel(job)

    await worker.work.finish([worker.result(lease)])
    await worker.run()

    assert served(place) == hashes({"mail": "again", "mail//a": "one"})
    assert serving_now(place, "mail")["mail"].equals(document("mail", "again"))


async def test_it_is_not_forgotten_which_version_took_the_attachments_of_a_mail(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    worker.attached = {"mail": {}}
    taken = place.submit({"mail": "again"})
    await worker.run(EXTRACT)
    place.cancel(taken)
    late = place.submit({"mail": "and again"})
    place.cancel(late)
    place.pass_time()
    await worker.run()

    await forget(place.database, NOT_AT_ALL)

    assert not serving_now(place, "mail")["mail"].equals(document("mail", "hello"))
    await send(worker, place, "hello", {"a": "one"})
    assert served(place) == hashes({"mail": "hello", "mail//a": "one"})
    assert broken_laws(place.database, all_done=True) == {}


@pytest.mark.parametrize("inside", [{}, {"a": "two"}])
async def test_an_attachment_that_is_lost_twice_goes_though_the_second_job_is_cancelled(
    place: Workplace, worker: PretendWorker, inside: Mapping[str, str]
) -> None:
    """Or comes back in the second, which is cancelled."""
    _, lease, mail = await sent_again(worker, place, {})
    await worker.work.finish([Finished(lease=mail)])
    worker.attached = {"mail": inside}
    job = place.submit({"mail": "once more"})
    await worker.run(EXTRACT)

    place.cancel(job)

    await worker.work.finish([Finished(lease=lease)])
    place.pass_time()
    await worker.run()
    assert served(place) == hashes({"mail": "again"})
    assert place.job(job).state is JobState.CANCELLED
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_attachment_of_a_deleted_mail_goes_though_somebody_takes_its_id_and_cancels(
    place: Workplace, worker: PretendWorker
) -> None:
    _, leases = await deleted_while_indexed(worker, place)
    job = place.submit({"mail//a": "mine"})

    place.cancel(job)

    await worker.work.finish([Finished(lease=leases["mail//a"])])
    place.pass_time()
    await worker.run()
    assert served(place) == {}
    assert broken_laws(place.database, all_done=True) == {}
