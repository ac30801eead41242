"""Laws of the port `work`: jobs that are paused or cancelled, and workers that die."""

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.retries import MAX_ATTEMPTS, SUSPECT_AFTER
from vectorflow.errors import (
    BinaryContent,
    CallRefused,
    KeyRefused,
    Permanent,
    TooMuchAtOnce,
    Unavailable,
)
from vectorflow.ports.work import Finished, Work
from vectorflow.testing.workplace import PretendWorker, Workplace, claim, claim_one, names_of

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

GIVE_OTHERS_UP = (
    Permanent("no"), CallRefused("no"), BinaryContent("no"), TooMuchAtOnce("too much"),
    KeyRefused("no"), *[Unavailable("down")] * (MAX_ATTEMPTS + 1),
)  # fmt: skip
"""Errors after which other batches are given up or cut up, or their job waits for somebody."""


class FailureLaws:
    """Part of the suite of the port; see `vectorflow.testing.work`."""

    async def test_what_an_operator_can_mend_pauses_the_job_and_fails_no_document(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        job = place.submit({"a": "one"})
        await PretendWorker(work).run(EXTRACT)
        place.submit({"b": "two"})

        error = KeyRefused("the key is not good", fix="use another")
        await work.release(await claim_one(work, EMBED), error)

        view = place.job(job)
        assert (view.state, view.docs_failed) == (JobState.PAUSED, 0)
        assert view.paused is not None
        assert (view.paused["reason"], view.paused["stage"]) == ("key_refused", "embed")
        assert view.paused["message"] == "the key is not good"
        assert str(view.paused["fix"]).startswith("use another; then ")
        place.pass_time()
        assert names_of(await claim(other)) == ["b"]
        place.resume(job)
        assert (await claim_one(other, EMBED)).attempt == 1

    async def test_what_is_leased_of_a_paused_job_ends_well_and_nothing_more_begins(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        job = place.submit({"a": "one"})
        lease = await claim_one(work)

        place.pause(job)

        assert list(await work.renew([lease])) == [lease]
        assert list(await work.finish([PretendWorker(work).result(lease)])) == [True]
        assert list(await claim(other, EMBED)) == []
        place.resume(job)
        await PretendWorker(other).run()
        assert place.job(job).state is JobState.COMPLETED

    async def test_a_worker_learns_at_its_next_renewal_that_its_job_was_cancelled(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"a": "one"})
        lease = await claim_one(work)

        place.cancel(job)

        assert list(await work.renew([lease])) == []
        assert list(await work.finish([PretendWorker(work).result(lease)])) == [False]
        assert list(await claim(work)) == []
        assert place.job(job).state is JobState.CANCELLED

    async def test_what_is_too_much_at_once_is_tried_document_by_document(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"a": "one", "b": "two"})
        await PretendWorker(work).run(EXTRACT)
        lease = await claim_one(work)
        await work.checkpoint(lease, vectors="vectors/1")

        await work.release(lease, TooMuchAtOnce("too much"))

        first, second = await claim(work)
        assert sorted(names_of([first, second])) == ["a", "b"]
        assert first.vectors == second.vectors == ("vectors/1",)
        assert not first.alone
        await work.release(first, TooMuchAtOnce("too much"))
        await work.finish([Finished(lease=second)])
        await PretendWorker(work).run()
        view = place.job(job)
        assert (view.state, view.docs_done, view.docs_failed) == (JobState.PARTIAL, 1, 1)

    async def test_what_deletes_is_never_given_up(self, place: Workplace, work: Work) -> None:
        place.submit({"a": "one"})
        await PretendWorker(work).run()
        job = place.delete("a")
        first = lease = await claim_one(work, RETIRE)
        for error in GIVE_OTHERS_UP:
            await work.release(lease, error)

            view = place.job(job)
            assert (view.state.ended, view.cleanup_open) == (False, 1)
            place.pass_time()
            lease = await claim_one(work)
            assert (lease.batch, lease.versions) == (first.batch, first.versions)

        await work.finish([Finished(lease=lease)])

        view = place.job(job)
        assert (view.state, view.docs_failed) == (JobState.COMPLETED, 0)

    async def test_documents_over_which_workers_died_run_alone(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one", "b": "two"})
        for _ in range(SUSPECT_AFTER):
            assert not (await claim_one(work)).alone
            place.pass_time()
            place.reap()
        place.submit({"c": "three"})
        place.pass_time()

        leases = [await claim(work, EXTRACT) for _ in range(3)]

        assert sorted(names_of([lease for some in leases for lease in some])) == ["a", "b", "c"]
        assert [len(some) for some in leases] == [1, 1, 1]
        assert sorted(lease.alone for some in leases for lease in some) == [False, True, True]

    async def test_a_document_over_which_workers_die_alone_is_a_dead_letter(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"poison": "one", "good": "two"})
        tries = 0
        while place.job(job).docs_failed == 0:
            for lease in await claim(work):
                if "poison" not in names_of([lease]):
                    await work.finish([PretendWorker(work).result(lease)])
            place.pass_time()
            place.reap()
            tries += 1
            assert tries < 20
        await PretendWorker(work).run()

        view = place.job(job)
        assert (view.state, view.docs_done, view.docs_failed) == (JobState.PARTIAL, 1, 1)
        (letter,) = place.failures(job)
        assert (letter.external_id, letter.code) == ("poison", "workers_died")
        assert letter.fix
