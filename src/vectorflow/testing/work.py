"""What every implementation of the port `work` must do. Subclass the suite and give a workplace."""

from dataclasses import replace

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.retries import MAX_ATTEMPTS
from vectorflow.errors import (
    BadChunk,
    BinaryContent,
    IndexLost,
    LeaseLost,
    Throttled,
    Unavailable,
)
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.work_failures import FailureLaws
from vectorflow.testing.work_outages import OutageLaws
from vectorflow.testing.workplace import (
    CAPABILITIES,
    KINDS,
    PIPELINE,
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    names_of,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


class WorkSuite(FailureLaws, OutageLaws):
    """The laws of the port `work`."""

    @pytest.fixture
    def place(self) -> Workplace:
        """Give an empty ledger."""
        raise NotImplementedError

    @pytest.fixture
    def work(self, place: Workplace) -> Work:
        return place.worker("here")

    @pytest.fixture
    def other(self, place: Workplace) -> Work:
        return place.worker("there")

    async def test_where_nothing_is_to_do_nothing_is_claimed(self, work: Work) -> None:
        assert list(await claim(work)) == []

    async def test_a_lease_says_all_that_the_batch_is_about(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one", "b": "two"})

        lease = await claim_one(work)

        assert (lease.kind, lease.epoch, lease.attempt) == (EXTRACT, 1, 1)
        assert lease.seconds > 0
        assert lease.pipeline == PIPELINE
        assert (lease.index.id, lease.index.written) == (place.index(), False)
        assert lease.vectors == ()
        first, second = lease.versions
        assert (first.external_id, second.external_id) == ("a", "b")
        assert (first.number, first.extractor, first.metadata) == (1, "text", {"team": "blue"})
        assert first.source is not None
        assert first.source.length == 3
        assert first.parts == first.base == ()

    async def test_batches_are_claimed_in_order_of_age_up_to_the_limit(
        self, place: Workplace, work: Work
    ) -> None:
        for number in range(5):
            place.submit({f"d{number}": "text"})

        first, second = await claim(work, limit=2), await claim(work, limit=9)

        assert names_of(first) == ["d0", "d1"]
        assert names_of(second) == ["d2", "d3", "d4"]

    async def test_two_workers_never_hold_the_same_batch(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        for number in range(4):
            place.submit({f"d{number}": "text"})

        ours, theirs = await claim(work, limit=3), await claim(other, limit=3)

        assert names_of(ours) == ["d0", "d1", "d2"]
        assert names_of(theirs) == ["d3"]

    async def test_only_the_kinds_asked_for_are_claimed(self, place: Workplace, work: Work) -> None:
        place.submit({"a": "one"})

        assert list(await claim(work, EMBED, RETIRE)) == []
        assert names_of(await claim(work, EXTRACT)) == ["a"]

    async def test_batches_that_need_other_plugins_are_left_to_others(
        self, place: Workplace, work: Work
    ) -> None:
        newer = replace(PIPELINE, recipe=replace(PIPELINE.recipe, chunker_revision=2))
        place.submit({"new": "one"}, pipeline=newer)
        place.submit({"old": "two"})
        upgraded = CAPABILITIES | {"chunkers/default": 2}

        assert list(await work.claim(KINDS, {}, 9)) == []
        assert names_of(await work.claim(KINDS, CAPABILITIES, 1)) == ["old"]
        assert names_of(await work.claim(KINDS, upgraded | {"chunkers/extra": 7}, 9)) == ["new"]

    async def test_a_renewed_lease_is_kept(self, place: Workplace, work: Work) -> None:
        place.submit({"a": "one"})
        lease = await claim_one(work)
        place.pass_time()

        assert list(await work.renew([lease])) == [lease]
        assert place.reap() == 0
        assert list(await work.finish([Finished(lease=lease)])) == [True]

    async def test_a_lease_that_runs_out_is_handed_out_again(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        place.submit({"a": "one"})
        lost = await claim_one(work)
        place.pass_time()

        assert place.reap() == 1
        again = await claim_one(other)

        assert (again.batch, again.epoch) == (lost.batch, lost.epoch + 1)
        assert again.attempt == 1  # a lost lease condemns nothing

    async def test_a_lost_lease_is_told_and_changes_nothing_any_more(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        job = place.submit({"a": "one"})
        lost = await claim_one(work)
        place.pass_time()
        place.reap()
        again = await claim_one(other)
        before = place.job(job)

        assert list(await work.renew([lost])) == []
        assert list(await work.finish([PretendWorker(work).result(lost)])) == [False]
        await work.release(lost, Unavailable("zombie"))
        with pytest.raises(LeaseLost):
            await work.checkpoint(lost, parts=[part_of(lost.versions[0].id)])
        with pytest.raises(LeaseLost):
            await work.checkpoint(lost, vectors="vectors/zombie")

        assert place.job(job) == before
        assert list(await other.renew([again])) == [again]
        assert list(await other.finish([PretendWorker(other).result(again)])) == [True]

    async def test_each_result_is_accepted_or_stale_by_itself(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one"})
        stale = await claim_one(work)
        await work.release(stale, None)
        place.submit({"b": "two"})
        leases = {lease.versions[0].external_id: lease for lease in await claim(work)}
        results = [Finished(lease=lease) for lease in (stale, leases["b"], leases["a"])]

        assert list(await work.finish(results)) == [False, True, True]
        assert list(await work.finish(results)) == [False, False, False]

    async def test_an_orderly_release_costs_no_attempt_and_no_time(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one"})
        lease = await claim_one(work)

        await work.release(lease, None)
        again = await claim_one(work)

        assert (again.batch, again.epoch, again.attempt) == (lease.batch, 2, 1)

    async def test_a_failed_try_counts_and_waits(self, place: Workplace, work: Work) -> None:
        place.submit({"a": "one"})

        await work.release(await claim_one(work), Unavailable("down", retry_after=30.0))

        assert list(await claim(work)) == []
        place.pass_time()
        assert (await claim_one(work)).attempt == 2

    async def test_being_throttled_costs_no_attempt(self, place: Workplace, work: Work) -> None:
        job = place.submit({"a": "one"})
        for _ in range(MAX_ATTEMPTS + 1):
            await work.release(await claim_one(work), Throttled("slow down", retry_after=30.0))
            place.pass_time()

        assert place.job(job).state is JobState.RUNNING
        assert (await claim_one(work)).attempt == 1

    async def test_too_many_failed_tries_make_dead_letters_of_documents_tried_one_by_one(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"a": "one", "b": "two"})
        for attempt in range(1, MAX_ATTEMPTS + 1):
            lease = await claim_one(work)
            assert lease.attempt == attempt
            await work.release(lease, Unavailable("down"))
            place.pass_time()
        assert place.job(job).docs_failed == 0
        for attempt in range(1, MAX_ATTEMPTS + 1):
            singles = await claim(work)
            assert [(len(one.versions), one.attempt) for one in singles] == [(1, attempt)] * 2
            for lease in singles:
                await work.release(lease, Unavailable("down"))
            place.pass_time()

        assert list(await claim(work)) == []
        assert place.job(job).state is JobState.FAILED
        assert place.job(job).docs_failed == 2
        letters = place.failures(job)
        assert {letter.external_id for letter in letters} == {"a", "b"}
        assert {letter.attempts for letter in letters} == {MAX_ATTEMPTS}
        assert {letter.code for letter in letters} == {"unavailable"}

    async def test_a_permanent_error_makes_dead_letters_at_once(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"a": "one"})

        await work.release(await claim_one(work), BinaryContent("bytes"))

        assert place.job(job).state is JobState.FAILED
        (letter,) = place.failures(job)
        assert (letter.code, letter.stage, letter.retryable) == ("binary_content", "extract", False)

    async def test_one_bad_document_does_not_harm_its_neighbours(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"a": "one", "b": "two", "c": "three"})
        await PretendWorker(work).run(EXTRACT)
        lease = await claim_one(work, EMBED)
        bad = lease.versions[1]

        error = BadChunk("refused", position=2)
        await work.finish([Finished(lease=lease, failures={bad.id: error})])

        await PretendWorker(work).run()
        view = place.job(job)
        assert (view.state, view.docs_done, view.docs_failed) == (JobState.PARTIAL, 2, 1)
        (letter,) = place.failures(job)
        assert (letter.external_id, letter.chunk) == ("b", 2)

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
