"""What is attached to a document becomes documents that come, change and go with it."""

from dataclasses import replace
from functools import partial

import pytest

from tests.integration.ledger.mails import hashes, send, served, states
from vectorflow.domain.attachments import MAX_DEPTH
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk, BrokenFile, Unavailable
from vectorflow.ledger import exports, reads, submission
from vectorflow.ledger.uploads import take_uploads
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import (
    PIPELINE,
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    document,
    part_of,
    serving_now,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


@pytest.fixture
def work(place: Workplace) -> Work:
    return place.worker("here")


@pytest.fixture
def worker(work: Work) -> PretendWorker:
    return PretendWorker(work)


async def test_attachments_are_documents_of_the_job_of_their_document(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await send(worker, place, "hello", {"a.txt": "one", "b.txt": "two"})

    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_done) == (JobState.COMPLETED, 3, 3)
    assert (view.documents_new, view.documents_changed, view.records_new) == (3, 0, 9)
    expected = {"mail": "hello", "mail//a.txt": "one", "mail//b.txt": "two"}
    assert served(place) == hashes(expected)
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_attachment_says_what_it_is_attached_to_and_where_it_lies(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"a b.txt": "one"}}
    place.submit({"mail": "hello"})
    await worker.run(EXTRACT)

    lease = next(one for one in await claim(worker.work) if one.versions[0].external_id != "mail")

    (version,) = lease.versions
    assert version.metadata == {"team": "blue", "attached_to": "mail"}
    found = rows(place.database, "SELECT uri FROM versions ORDER BY id")
    assert found == [("file:///mail",), ("file:///mail#a%20b.txt",)]


async def test_a_job_does_not_end_before_its_attachments(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"mail": "hello"})
    lease = await claim_one(worker.work)
    part = part_of(lease.versions[0].id, attached={"a": "one"})
    await worker.work.finish([Finished(lease=lease, parts=(part,))])
    await worker.work.finish([Finished(lease=await claim_one(worker.work, EMBED))])
    view = place.job(job)
    assert (view.state, view.docs_done, view.docs_total) == (JobState.RUNNING, 1, 2)

    await worker.run()

    assert place.job(job).state is JobState.COMPLETED


async def test_attachments_found_while_documents_are_still_listed_count_too(
    place: Workplace, worker: PretendWorker
) -> None:
    new = place.new_job()
    database = place.database
    job = database.write_now(partial(submission.start_job, new=new)).job
    mails = [document("mail", "hello")]
    database.write_now(partial(submission.add_documents, job=job, accepted=mails))
    worker.attached = {"mail": {"a": "one"}}
    await worker.run()
    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_done) == (JobState.RUNNING, None, 2)

    database.write_now(partial(submission.end_listing, job=job))

    assert place.job(job).docs_total == 2
    assert place.job(job).state is JobState.COMPLETED


async def test_an_unchanged_attachment_costs_nothing(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one", "b": "two"})

    job = await send(worker, place, "hello again", {"a": "one", "b": "three"})

    view = place.job(job)
    assert (view.documents_new, view.documents_changed, view.documents_gone) == (0, 2, 0)
    assert states(place, "mail//a") == ["live"]
    assert states(place, "mail//b") == ["retired", "live"]
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_attachment_that_is_not_there_any_more_is_deleted(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one", "b": "two"})

    job = await send(worker, place, "hello again", {"b": "two"})

    view = place.job(job)
    assert (view.docs_total, view.documents_changed, view.documents_gone) == (2, 1, 1)
    assert served(place) == hashes({"mail": "hello again", "mail//b": "two"})
    assert view.records_old == 6  # of the mail and of what is gone
    assert broken_laws(place.database, all_done=True) == {}


async def test_the_last_attachment_may_go_too_and_come_again(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    await send(worker, place, "hello again", {})
    assert served(place) == hashes({"mail": "hello again"})

    await send(worker, place, "once more", {"a": "one"})

    assert served(place) == hashes({"mail": "once more", "mail//a": "one"})
    assert states(place, "mail//a") == ["retired", "retired", "live"]
    assert broken_laws(place.database, all_done=True) == {}


async def test_with_a_document_all_that_is_inside_of_it_is_deleted(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"in.eml": "mail"}, "mail//in.eml": {"a": "one"}}
    place.submit({"mail": "hello", "other": "text"})
    await worker.run()
    assert "mail//in.eml//a" in served(place)

    job = place.delete("mail")
    await worker.run()

    assert served(place) == hashes({"other": "text"})
    assert place.job(job).documents_gone == 3
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_an_attachment_loses_is_lost_inside_of_it_too(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"in.eml": "mail"}, "mail//in.eml": {"a": "one"}}
    place.submit({"mail": "hello"})
    await worker.run()

    job = await send(worker, place, "hello again", {})

    assert served(place) == hashes({"mail": "hello again"})
    assert place.job(job).documents_gone == 2
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_document_deleted_while_it_is_extracted_takes_what_is_found_meanwhile(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"mail": "hello"})
    lease = await claim_one(worker.work)
    job = place.delete("mail")
    part = part_of(lease.versions[0].id, attached={"a": "one"})
    await worker.work.finish([Finished(lease=lease, parts=(part,))])

    await worker.run()

    assert served(place) == {}
    assert place.job(job).documents_gone == 2
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_mail_sent_again_while_its_attachments_are_indexed(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"a": "one", "gone": "x"}}
    first = place.submit({"mail": "hello"})
    await worker.run(EXTRACT)
    held = await claim(worker.work, EMBED)  # the mail and both attachments
    second = place.submit({"mail": "again"})
    by_name = {version.external_id: lease for lease in held for version in lease.versions}
    await worker.work.finish([Finished(lease=by_name["mail"])])
    worker.attached = {"mail": {"a": "two"}}
    await worker.run()
    assert states(place, "mail//a") == ["indexing", "waiting"]
    assert states(place, "mail//gone") == ["indexing", "waiting"]

    rest = {lease.batch: lease for lease in held}.keys() - {by_name["mail"].batch}
    await worker.work.finish([Finished(lease=lease) for lease in held if lease.batch in rest])
    await worker.run()

    assert served(place) == hashes({"mail": "again", "mail//a": "two"})
    assert place.job(first).state is place.job(second).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_mail_that_cannot_be_read_keeps_what_was_attached_to_it(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    place.submit({"mail": "broken"})
    lease = await claim_one(worker.work)

    failures = {lease.versions[0].id: BrokenFile("cut short")}
    await worker.work.finish([Finished(lease=lease, failures=failures)])

    assert served(place) == hashes({"mail": "hello", "mail//a": "one"})


async def test_a_mail_that_failed_after_its_attachments_were_found_is_still_in_its_scope(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"a": "one"}}
    place.submit({"mail": "hello"})
    await worker.run(EXTRACT)
    for lease in await claim(worker.work, EMBED):
        names = {version.id: version.external_id for version in lease.versions}
        failures = {
            key: BadChunk("no", position=0) for key, name in names.items() if name == "mail"
        }
        await worker.work.finish([Finished(lease=lease, failures=failures)])
    assert served(place) == hashes({"mail//a": "one"})
    in_scope = partial(submission.in_scope, index=place.index(), scope="")
    assert place.database.read_now(in_scope) == ["mail"]

    place.delete("mail")
    await worker.run()

    assert served(place) == {}
    assert place.database.read_now(in_scope) == []
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_a_deleted_mail_brought_when_it_came_back_and_failed_is_deleted_again(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    place.delete("mail")
    await worker.run()
    place.submit({"mail": "hello"})
    await worker.run(EXTRACT)
    held = await claim(worker.work, EMBED)
    place.delete("mail")

    for lease in held:
        names = {version.id: version.external_id for version in lease.versions}
        failures = {
            key: BadChunk("no", position=0) for key, name in names.items() if name == "mail"
        }
        await worker.work.finish([Finished(lease=lease, failures=failures)])
    await worker.run()

    assert served(place) == {}
    assert broken_laws(place.database, all_done=True) == {}


async def test_what_nobody_reads_is_a_dead_letter_and_no_fault_of_the_mail(
    place: Workplace, worker: PretendWorker
) -> None:
    job = await send(worker, place, "hello", {"logo": "?", "a": "one"})

    view = place.job(job)
    assert (view.state, view.docs_done, view.docs_failed) == (JobState.PARTIAL, 2, 1)
    (letter,) = place.failures(job)
    assert (letter.external_id, letter.code) == ("mail//logo", "unsupported_format")
    assert (letter.message, letter.fix) == ("it is a riddle", "solve it")
    assert serving_now(place, "mail")["mail"].equals(document("mail", "hello"))
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_dead_letter_goes_with_its_mail(place: Workplace, worker: PretendWorker) -> None:
    await send(worker, place, "hello", {"logo": "?"})

    place.delete("mail")
    await worker.run()

    left = place.database.read_now(partial(reads.failures, tenant="default"))
    assert left == []


async def test_nesting_is_bounded(place: Workplace, worker: PretendWorker) -> None:
    names = ["mail"]
    for _ in range(MAX_DEPTH + 1):
        names.append(f"{names[-1]}//m")
    worker.attached = {name: {"m": name} for name in names}

    job = place.submit({"mail": "hello"})
    await worker.run()

    assert sorted(served(place)) == names[:-1]
    (letter,) = place.failures(job)
    assert (letter.external_id, letter.code) == (names[-1], "limit_exceeded")
    assert serving_now(place, "mail")["mail"].equals(document("mail", "hello"))


async def test_two_of_one_name_and_one_that_a_document_has_are_kept_apart(
    place: Workplace, worker: PretendWorker
) -> None:
    place.submit({"mail//a": "of somebody else"})
    await worker.run()

    worker.attached = {"mail": {"a": "one", "./a": "two"}}
    place.submit({"mail": "hello"})
    await worker.run()

    expected = {"mail": "hello", "mail//a": "of somebody else"}
    expected |= {"mail//a (2)": "one", "mail//a (3)": "two"}
    assert served(place) == hashes(expected)
    in_scope = partial(submission.in_scope, index=place.index(), scope="")
    assert sorted(place.database.read_now(in_scope)) == ["mail", "mail//a"]
    place.delete("mail")
    await worker.run()
    assert served(place) == hashes({"mail//a": "of somebody else"})


async def test_who_sends_a_document_under_the_id_of_an_attachment_owns_it(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})
    place.submit({"mail//a": "mine"})
    await worker.run()

    await send(worker, place, "hello again", {"a": "one"})
    place.delete("mail")
    await worker.run()

    assert served(place) == hashes({"mail//a": "mine"})
    assert broken_laws(place.database, all_done=True) == {}


async def test_no_listing_says_that_an_attachment_is_gone(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one"})

    in_scope = partial(submission.in_scope, index=place.index(), scope="")

    assert place.database.read_now(in_scope) == ["mail"]


async def test_a_mail_with_an_attachment_that_could_still_be_embedded_is_not_unchanged(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"in.eml": "mail"}, "mail//in.eml": {"a": "one"}}
    place.submit({"mail": "hello"})
    await worker.run(EXTRACT)
    for lease in await claim(worker.work, EMBED):
        failures = {
            version.id: BadChunk("the provider said no", position=0)
            for version in lease.versions
            if version.external_id.endswith("//a")
        }
        await worker.work.finish([Finished(lease=lease, failures=failures)])
    assert not serving_now(place, "mail")["mail"].equals(document("mail", "hello"))

    worker.new_rows = 0  # all chunks of the mails are there
    worker.by_name = {"mail//in.eml//a": 3}
    job = place.submit({"mail": "hello"})
    await worker.run()

    assert "mail//in.eml//a" in served(place)
    assert place.job(job).state is JobState.COMPLETED
    assert serving_now(place, "mail")["mail"].equals(document("mail", "hello"))
    assert broken_laws(place.database, all_done=True) == {}


async def test_the_same_mail_again_ends_with_the_attachments_that_are_under_way(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"a": "one"}}
    place.submit({"mail": "hello"})
    first = await claim_one(worker.work)
    waits = place.submit({"mail": "hello"})  # before anything is known
    await worker.work.finish([worker.result(first)])
    mail = next(one for one in await claim(worker.work, EMBED))
    inside = await claim_one(worker.work, EXTRACT)  # a worker that is slow
    await worker.work.finish([Finished(lease=mail)])
    assert states(place, "mail") == ["live", "indexing"]  # and not superseded yet
    worker.new_rows = 0
    await worker.run()
    assert place.job(waits).state is JobState.RUNNING

    worker.new_rows = 3
    await worker.work.finish([worker.result(inside)])
    await worker.run()

    assert place.job(waits).state is JobState.COMPLETED
    assert states(place, "mail//a") == ["live", "superseded"]
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_mail_is_not_unchanged_where_its_attachments_are_read_otherwise_now(
    place: Workplace, worker: PretendWorker
) -> None:
    """The mail's own recipe does not know what reads its attachments."""
    await send(worker, place, "hello", {"a": "one", "logo": "?"})
    mail = document("mail", "hello")
    for extractors in ({"text": 2}, {"text": 1, "riddles": 1}):
        recipe = replace(PIPELINE.recipe, extractors=extractors)

        known = serving_now(place, "mail", recipe=recipe)["mail"]

        assert (known.raw_hash, known.recipe_hash) == (mail.raw_hash, mail.recipe_hash)
        assert not known.settled


async def test_batches_of_what_is_unchanged_are_counted_with_its_attachments(
    place: Workplace, worker: PretendWorker
) -> None:
    await send(worker, place, "hello", {"a": "one", "b": "two"})

    uploaded = [(place.new_job(), document("mail", "hello"))]
    (taken,) = place.database.write_now(partial(take_uploads, uploads=uploaded))

    assert taken.batches == 3


async def test_vectors_of_an_unchanged_upload_are_those_of_its_attachments_too(
    place: Workplace, worker: PretendWorker
) -> None:
    first = await send(worker, place, "hello", {"a": "one"})
    uploaded = [(place.new_job(), document("mail", "hello"))]
    (taken,) = place.database.write_now(partial(take_uploads, uploads=uploaded))

    found = place.database.read_now(partial(exports.live_before_job, job=taken.job))

    of_first = partial(exports.live_of_job, job=first, after=0)
    assert found == place.database.read_now(of_first)
    assert len(found) == 2


async def test_a_lost_index_gets_its_attachments_again(
    place: Workplace, worker: PretendWorker
) -> None:
    from vectorflow.errors import IndexLost  # noqa: PLC0415

    await send(worker, place, "hello", {"a": "one"})
    job = place.submit({"mail": "hello again"})
    await worker.run(EXTRACT)
    await worker.work.release(await claim_one(worker.work, EMBED), IndexLost("gone"))

    await worker.run()

    assert served(place) == hashes({"mail": "hello again", "mail//a": "one"})
    assert place.job(job).state is JobState.COMPLETED
    assert broken_laws(place.database, all_done=True) == {}


async def test_a_zombie_brings_no_attachment(place: Workplace, worker: PretendWorker) -> None:
    job = place.submit({"mail": "hello"})
    lost = await claim_one(worker.work)
    place.pass_time()
    place.reap()
    version = lost.versions[0].id
    zombie = part_of(version, attached={"late": "zombie"})
    assert await worker.work.finish([Finished(lease=lost, parts=(zombie,))]) == [False]
    worker.attached = {"mail": {"a": "one"}}

    await worker.run()

    assert await worker.work.finish([Finished(lease=lost, parts=(zombie,))]) == [False]
    assert served(place) == hashes({"mail": "hello", "mail//a": "one"})
    assert place.job(job).docs_total == 2


async def test_what_was_committed_before_a_crash_is_not_committed_again(
    place: Workplace, worker: PretendWorker
) -> None:
    job = place.submit({"mail": "hello", "other": "text"})
    lost = await claim_one(worker.work)
    mail = next(one.id for one in lost.versions if one.external_id == "mail")
    await worker.work.checkpoint(lost, parts=[part_of(mail, attached={"a": "one"})])
    place.pass_time()
    place.reap()

    await worker.run()

    assert states(place, "mail//a") == ["live"]
    view = place.job(job)
    assert (view.state, view.docs_total, view.docs_done) == (JobState.COMPLETED, 3, 3)


async def test_an_attachment_that_fails_for_good_is_a_dead_letter_of_its_own(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"a": "one"}}
    job = place.submit({"mail": "hello"})
    first = await claim_one(worker.work)
    await worker.work.finish([worker.result(first)])
    broken = await claim_one(worker.work, EXTRACT)

    failures = {broken.versions[0].id: BrokenFile("cut short")}
    await worker.work.finish([Finished(lease=broken, failures=failures)])
    await worker.run()

    assert place.job(job).state is JobState.PARTIAL
    (letter,) = place.failures(job)
    assert (letter.external_id, letter.stage) == ("mail//a", "extract")
    assert serving_now(place, "mail")["mail"].equals(document("mail", "hello"))


async def test_many_attachments_of_many_mails_come_in_one_transaction(
    place: Workplace, worker: PretendWorker
) -> None:
    mails = [f"mail{number}" for number in range(60)]
    worker.attached = {mail: {f"{n}": f"{mail}{n}" for n in range(20)} for mail in mails}
    job = place.submit(dict.fromkeys(mails, "hello"))

    await worker.run()

    view = place.job(job)
    assert (view.state, view.docs_done) == (JobState.COMPLETED, 60 * 21)
    assert broken_laws(place.database, all_done=True) == {}


async def test_an_attachment_given_up_by_its_worker_may_come_again(
    place: Workplace, worker: PretendWorker
) -> None:
    worker.attached = {"mail": {"a": "one"}}
    job = place.submit({"mail": "hello"})
    await worker.work.finish([worker.result(await claim_one(worker.work))])
    lease = await claim_one(worker.work, EXTRACT)
    await worker.work.release(lease, Unavailable("down"))
    place.pass_time()

    await worker.run()

    assert place.job(job).state is JobState.COMPLETED
    assert states(place, "mail//a") == ["live"]
