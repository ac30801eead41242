"""Laws of the port `work`: stores and providers that are away, and work over which they break."""

from dataclasses import replace

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.outages import SystemKind
from vectorflow.domain.retries import MAX_ATTEMPTS
from vectorflow.errors import NotFound, Unavailable, VectorFlowError
from vectorflow.ports.work import Work
from vectorflow.testing.workplace import (
    PIPELINE,
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    names_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

ELSEWHERE = replace(PIPELINE, store="memory://elsewhere", embedder="hash:8")


def away(kind: SystemKind = SystemKind.STORE, *, wait: float | None = 30.0) -> Unavailable:
    """Make the error of a call that was not answered."""
    error = Unavailable("it does not answer", retry_after=wait)
    error.system = kind
    return error


class OutageLaws:
    """Part of the suite of the port; see `vectorflow.testing.work`."""

    async def test_an_outage_costs_no_document_however_long_it_lasts(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"a": "one", "b": "two"})
        await PretendWorker(work).run(EXTRACT)
        for _ in range(2 * MAX_ATTEMPTS):
            lease = await claim_one(work)
            assert lease.attempt == 1
            await work.release(lease, away())
            assert list(await claim(work)) == []
            place.pass_time()

        await PretendWorker(work).run()

        view = place.job(job)
        assert (view.state, view.docs_done, view.docs_failed) == (JobState.COMPLETED, 2, 0)

    async def test_what_needs_a_store_that_is_away_waits_and_the_rest_goes_on(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        place.submit({"gone": "zero"})
        await PretendWorker(work).run()
        place.delete("gone")
        place.submit({"a": "one"})
        place.submit({"b": "two"})
        place.submit({"c": "three"}, pipeline=ELSEWHERE)
        await PretendWorker(work).run(EXTRACT)

        (first,) = await claim(work, EMBED, limit=1)
        await work.release(first, away())
        place.submit({"d": "four"})

        held = await claim(other)
        assert sorted(names_of(held)) == ["c", "d"]
        assert {lease.kind for lease in held} == {EMBED, EXTRACT}
        assert list(await claim(work)) == []

    async def test_one_batch_goes_to_see_whether_the_store_is_back(
        self, place: Workplace, work: Work, other: Work
    ) -> None:
        for name in "abc":
            place.submit({name: name})
        await PretendWorker(work).run(EXTRACT)
        first, *_ = await claim(work, limit=1)
        await work.release(first, away())
        assert list(await claim(work)) == []
        place.pass_time()

        probe = await claim_one(work)

        assert names_of([probe]) != names_of([first])
        assert list(await claim(other)) == []
        await work.finish([PretendWorker(work).result(probe)])
        assert len(await claim(other)) == 2

    async def test_a_store_that_is_still_away_is_left_alone_again(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one"})
        place.submit({"b": "two"})
        await PretendWorker(work).run(EXTRACT)
        (first,) = await claim(work, limit=1)
        await work.release(first, away())
        for _ in range(3):
            place.pass_time()
            probe = await claim_one(work)
            assert list(await claim(work)) == []
            await work.release(probe, away())
            assert list(await claim(work)) == []

    async def test_what_is_under_way_when_a_store_goes_away_costs_nothing_either(
        self, place: Workplace, work: Work
    ) -> None:
        for name in "abc":
            place.submit({name: name})
        await PretendWorker(work).run(EXTRACT)
        leases = await claim(work)
        for lease in leases:
            await work.release(lease, away())

        assert list(await claim(work)) == []
        place.pass_time()
        probe = await claim_one(work)
        assert probe.attempt == 1
        await work.finish([PretendWorker(work).result(probe)])
        assert {lease.attempt for lease in await claim(work)} == {1}

    async def test_a_provider_that_is_away_keeps_nothing_from_being_deleted(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one"})
        await PretendWorker(work).run()
        place.delete("a")
        place.submit({"b": "two"})
        await PretendWorker(work).run(EXTRACT)

        await work.release(await claim_one(work, EMBED), away(SystemKind.PROVIDER))

        assert [lease.kind for lease in await claim(work)] == [RETIRE]

    async def test_a_batch_that_fails_while_others_go_well_becomes_dead_letters(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"poison": "one"})
        await PretendWorker(work).run(EXTRACT)
        tries = 0
        while place.job(job).docs_failed == 0:
            place.submit({f"good {tries}": f"good {tries}"})
            await PretendWorker(work).run(EXTRACT)
            for lease in await claim(work):
                if "poison" in names_of([lease]):
                    await work.release(lease, away(wait=None))
                else:
                    await work.finish([PretendWorker(work).result(lease)])
            place.pass_time()
            tries += 1
            assert tries < 10 * MAX_ATTEMPTS

        place.pass_time()
        await PretendWorker(work).run()
        (letter,) = place.failures(job)
        assert (letter.code, letter.attempts) == ("unavailable", MAX_ATTEMPTS)

    async def test_a_worker_cannot_shut_a_system_that_its_batch_does_not_need(
        self, place: Workplace, work: Work
    ) -> None:
        place.submit({"a": "one"})
        place.submit({"b": "two"})
        (first, _) = await claim(work, EXTRACT)
        await work.release(first, away(SystemKind.STORE, wait=0.0))

        assert (await claim_one(work, EXTRACT)).attempt == 2

    async def test_an_index_that_was_removed_pauses_the_job(
        self, place: Workplace, work: Work
    ) -> None:
        job = place.submit({"a": "one"})
        await PretendWorker(work).run(EXTRACT)
        error: VectorFlowError = NotFound("there is no such index", fix="make it")
        error.system = SystemKind.STORE

        await work.release(await claim_one(work), error)

        view = place.job(job)
        assert (view.state, view.docs_failed) == (JobState.PAUSED, 0)
        assert view.paused is not None
        assert view.paused["reason"] == "not_found"
