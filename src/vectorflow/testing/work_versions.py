"""Laws of the port `work`: documents in parts, their versions, and what is attached to them."""

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import BadChunk, IndexLost, LeaseLost
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.workplace import (
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    names_of,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


class VersionLaws:
    """Part of the suite of the port; see `vectorflow.testing.work`."""

    async def test_whole_documents_share_a_batch_and_parts_have_their_own(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one", "b": "two", "long": "three"})
        extract = await claim_one(work)
        a, b, long = (version.id for version in extract.versions)
        await work.checkpoint(extract, parts=[part_of(long, 0, last=False)])
        last = part_of(long, 1)

        await work.finish([Finished(lease=extract, parts=(part_of(a), part_of(b), last))])

        leases = await claim(work, EMBED)
        held = {
            tuple((version.id, part.number) for version in lease.versions for part in version.parts)
            for lease in leases
        }
        assert held == {((a, 0), (b, 0)), ((long, 0),), ((long, 1),)}

    async def test_a_document_is_done_when_all_its_parts_are_stored(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"long": "text"})
        extract = await claim_one(work)
        (long,) = extract.versions
        await work.checkpoint(extract, parts=[part_of(long.id, 0, last=False)])
        first = await claim_one(work, EMBED)  # while the rest is still being read
        await work.finish([Finished(lease=first)])
        await work.finish([Finished(lease=extract, parts=(part_of(long.id, 1),))])
        assert place.job(job).docs_done == 0

        await work.finish([Finished(lease=await claim_one(work, EMBED))])

        view = place.job(job)
        assert (view.state, view.docs_done, view.records_new) == (JobState.COMPLETED, 1, 6)

    async def test_what_was_committed_is_where_the_next_try_goes_on(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        place.submit({"a": "one", "b": "two", "long": "three"})
        lost = await claim_one(work)
        a, b, long = (version.id for version in lost.versions)
        parts = [part_of(a), part_of(long, 0, last=False), part_of(long, 1, last=False)]
        await work.checkpoint(lost, parts=parts)
        place.pass_time()
        place.reap()

        again = await claim_one(other, EXTRACT)

        assert [version.id for version in again.versions] == [b, long]
        assert again.versions[0].parts == ()
        assert again.versions[1].parts == (parts[1].part, parts[2].part)

    async def test_vector_files_are_there_for_the_next_try(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        place.submit({"a": "one"})
        await PretendWorker(work).run(EXTRACT)
        lease = await claim_one(work)
        await work.checkpoint(lease, vectors="vectors/1")
        await work.checkpoint(lease, vectors="vectors/2")
        await work.release(lease, None)

        assert (await claim_one(other)).vectors == ("vectors/1", "vectors/2")

    async def test_a_new_version_is_planned_against_the_live_one_which_is_retired(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one"})
        first = (await PretendWorker(work).run())[-1].versions[0]
        place.submit({"a": "two"})

        extract = await claim_one(work)
        (second,) = extract.versions
        assert (second.number, second.base) == (2, first.parts)
        assert extract.index.written
        kept = part_of(second.id, rows=3, new_rows=1)
        await work.finish([Finished(lease=extract, parts=(kept,))])
        await PretendWorker(work).run(EMBED)

        retire = await claim_one(work, RETIRE)
        assert [version.id for version in retire.versions] == [first.id]
        assert retire.versions[0].parts == first.parts
        assert retire.versions[0].base == (kept.part,)

    async def test_what_is_attached_to_a_document_is_a_document_of_the_same_job(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"mail": "text"})
        extract = await claim_one(work)
        attached = {"../a.txt": "one", "logo": "?"}
        part = part_of(extract.versions[0].id, attached=attached)

        await work.finish([Finished(lease=extract, parts=(part,))])

        (lease,) = await claim(work, EXTRACT)
        (version,) = lease.versions
        assert (version.external_id, version.extractor) == ("mail//a.txt", "text")
        assert version.source == part.attached[0].source
        assert version.metadata == {"team": "blue", "attached_to": "mail"}
        assert lease.job.id == job
        await work.finish([PretendWorker(work).result(lease)])
        await PretendWorker(work).run()
        view = place.job(job)
        assert (view.state, view.docs_total) == (JobState.PARTIAL, 3)
        (letter,) = place.failures(job)
        assert (letter.external_id, letter.code) == ("mail//logo", "unsupported_format")
        assert (letter.message, letter.fix) == ("it is a riddle", "solve it")

    async def test_attachments_come_with_the_last_part_of_a_long_document(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"mail": "text"})
        extract = await claim_one(work)
        mail = extract.versions[0].id
        await work.checkpoint(extract, parts=[part_of(mail, 0, last=False)])
        assert list(await claim(work, EXTRACT)) == []

        await work.checkpoint(extract, parts=[part_of(mail, 1, attached={"a": "one"})])
        assert names_of(await claim(work, EXTRACT)) == ["mail//a"]

        await work.finish([Finished(lease=extract)])
        assert list(await claim(work, EXTRACT)) == []

    async def test_what_is_not_attached_any_more_is_deleted(
        self, place: Workplace, work: Work
    ) -> None:
        worker = PretendWorker(work, attached={"mail": {"a": "one", "b": "two"}})
        place.submit({"mail": "one"})
        await worker.run()
        worker.attached = {"mail": {"b": "two"}}

        job = place.submit({"mail": "two"})
        await worker.run()

        view = place.job(job)
        assert (view.state, view.docs_total, view.documents_gone) == (JobState.COMPLETED, 2, 1)

    async def test_a_stale_lease_attaches_nothing(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        job = place.submit({"mail": "text"})
        lost = await claim_one(work)
        place.pass_time()
        place.reap()
        again = await claim_one(other)
        zombie = part_of(lost.versions[0].id, attached={"late": "zombie"})

        await work.finish([Finished(lease=lost, parts=(zombie,))])
        with pytest.raises(LeaseLost):
            await work.checkpoint(lost, parts=[zombie])

        assert place.job(job).docs_total == 1
        await other.finish([PretendWorker(other).result(again)])
        assert list(await claim(other, EXTRACT)) == []

    async def test_parts_of_a_failed_document_are_lost_at_the_next_renewal(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        place.submit({"long": "text"})
        extract = await claim_one(work)
        (long,) = extract.versions
        parts = tuple(part_of(long.id, number, last=number == 1) for number in range(2))
        await work.finish([Finished(lease=extract, parts=parts)])
        (good, bad) = [*await claim(work, limit=1), *await claim(other, limit=1)]

        await other.finish([Finished(lease=bad, failures={long.id: BadChunk("", position=0)})])

        assert list(await work.renew([good])) == []

    async def test_an_index_that_its_store_lost_is_started_anew(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one"})
        await PretendWorker(work).run()
        job = place.submit({"a": "two", "b": "three"})
        await PretendWorker(work).run(EXTRACT)
        lease = await claim_one(work)

        await work.release(lease, IndexLost("gone"))

        (again,) = await claim(work)
        assert (again.kind, again.index.written) == (EXTRACT, False)
        assert again.index.incarnation != lease.index.incarnation
        assert [(version.external_id, version.base) for version in again.versions] == [
            ("a", ()),
            ("b", ()),
        ]
        await work.finish([PretendWorker(work).result(again)])
        await PretendWorker(work).run()
        assert place.job(job).state is JobState.COMPLETED
