"""What every implementation of the port `work` must do. Subclass the suite and give a workplace."""

from dataclasses import replace

import pytest

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.retries import MAX_ATTEMPTS
from vectorflow.errors import BadChunk, BinaryContent, LeaseLost, Throttled, Unavailable
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.work_failures import FailureLaws
from vectorflow.testing.work_outages import OutageLaws
from vectorflow.testing.work_versions import VersionLaws
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


class WorkSuite(VersionLaws, FailureLaws, OutageLaws):
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
