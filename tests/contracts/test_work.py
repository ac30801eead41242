import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.served import http_place
from vectorflow.domain.jobs import LANES, BatchKind, Lane
from vectorflow.errors import LeaseLost, Permanent, Unavailable, VectorFlowError
from vectorflow.ledger.database import Database
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.work import Finished, Lease, NewPart, Work
from vectorflow.testing.work import WorkSuite
from vectorflow.testing.workplace import CAPABILITIES, Workplace, attached_file


class TestLedgerWork(WorkSuite):
    @pytest.fixture
    def place(self, place: Workplace) -> Workplace:
        return place


class TestHttpWork(WorkSuite):
    @pytest.fixture(params=["sqlite", "postgres"])  # a third says nothing more of HTTP
    def ledger_url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue(f"{request.param}_ledger")
        return url

    @pytest.fixture
    async def place(self, place: Workplace, tmp_path: Path) -> AsyncIterator[Workplace]:
        async with http_place(place, tmp_path) as over_http:
            yield over_http


class Broken(Work):
    """Passes everything on; each of its kin breaks one law."""

    def __init__(self, work: Work) -> None:
        self.work = work

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        leases = await self.work.claim(kinds, capabilities, limit, lanes)
        LATEST.update({lease.batch: lease for lease in leases})
        return leases

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        return await self.work.renew(leases)

    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        await self.work.checkpoint(lease, parts=parts, vectors=vectors)

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        return await self.work.finish(results)

    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        await self.work.release(lease, error)

    def blobs(self, lease: Lease) -> BlobStore:
        return self.work.blobs(lease)


LATEST: dict[int, Lease] = {}
"""Leases last given out, by batch, for doubles that do not mind whose they are."""


class ClaimsTooMuch(Broken):
    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        return await super().claim(kinds, capabilities, limit + 10, lanes)


class ClaimsBackwards(Broken):
    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        return list(reversed(await super().claim(kinds, capabilities, limit, lanes)))


class ClaimsAllKinds(Broken):
    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        del kinds
        return await super().claim(list(BatchKind), capabilities, limit, lanes)


class ClaimsWhatItCannotDo(Broken):
    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        able = dict(capabilities) | CAPABILITIES | {"chunkers/default": 2}
        return [
            *await super().claim(kinds, able, limit, lanes),
            *await super().claim(kinds, CAPABILITIES, limit),
        ][:limit]


class RenewsNothing(Broken):
    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        return leases


class RenewsForTheZombie(Broken):
    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        await super().renew([LATEST[lease.batch] for lease in leases])
        return leases


class FinishesForTheZombie(Broken):
    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        return await super().finish(
            [replace(result, lease=LATEST[result.lease.batch]) for result in results]
        )


class AcceptsAll(Broken):
    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        await super().finish(results)
        return [True] * len(results)


class FinishesOnlyTheFirst(Broken):
    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        return [*await super().finish(results[:1]), *[True] * (len(results) - 1)]


class ForgetsFailures(Broken):
    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        return await super().finish([replace(result, failures={}) for result in results])


class ReleasesForTheZombie(Broken):
    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        await super().release(LATEST[lease.batch], error)


class ForgetsErrors(Broken):
    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        del error
        await super().release(lease, None)


class CountsEveryTry(Broken):
    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        await super().release(lease, Unavailable("down", retry_after=0.0) if error else None)


class ShutsDownAsIfItFailed(Broken):
    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        await super().release(lease, error or Unavailable("down"))


class GivesUpWhatDeletes(Broken):
    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        if lease.kind is BatchKind.RETIRE and isinstance(error, Permanent):
            await super().finish([Finished(lease=lease)])
        else:
            await super().release(lease, error)


class ForgetsCheckpoints(Broken):
    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        del lease, parts, vectors


class ForgetsAttachments(Broken):
    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        bare = [replace(part, attached=()) for part in parts]
        await super().checkpoint(lease, parts=bare, vectors=vectors)

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        return await super().finish(
            [
                replace(one, parts=tuple(replace(part, attached=()) for part in one.parts))
                for one in results
            ]
        )


class AttachesTooMuch(Broken):
    """Keeps what was attached before."""

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        return await super().finish(
            [
                replace(
                    one,
                    parts=tuple(
                        replace(part, attached=(*part.attached, attached_file("a", "one")))
                        for part in one.parts
                    ),
                )
                for one in results
            ]
        )


class SaysOfNoneThatItIsAlone(Broken):
    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        leases = await super().claim(kinds, capabilities, limit, lanes)
        return [replace(lease, alone=False) for lease in leases]


class SwallowsTheLoss(Broken):
    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        with suppress(LeaseLost):
            await super().checkpoint(lease, parts=parts, vectors=vectors)


BREACHES: list[tuple[type[Broken], str]] = [
    (ClaimsTooMuch, "test_batches_are_claimed_in_order_of_age_up_to_the_limit"),
    (ClaimsTooMuch, "test_two_workers_never_hold_the_same_batch"),
    (ClaimsBackwards, "test_batches_are_claimed_in_order_of_age_up_to_the_limit"),
    (ClaimsAllKinds, "test_only_the_kinds_asked_for_are_claimed"),
    (ClaimsWhatItCannotDo, "test_batches_that_need_other_plugins_are_left_to_others"),
    (RenewsNothing, "test_a_renewed_lease_is_kept"),
    (RenewsNothing, "test_a_lost_lease_is_told_and_changes_nothing_any_more"),
    (RenewsNothing, "test_parts_of_a_failed_document_are_lost_at_the_next_renewal"),
    (RenewsForTheZombie, "test_a_lost_lease_is_told_and_changes_nothing_any_more"),
    (FinishesForTheZombie, "test_a_lost_lease_is_told_and_changes_nothing_any_more"),
    (FinishesForTheZombie, "test_each_result_is_accepted_or_stale_by_itself"),
    (AcceptsAll, "test_each_result_is_accepted_or_stale_by_itself"),
    (FinishesOnlyTheFirst, "test_each_result_is_accepted_or_stale_by_itself"),
    (ForgetsFailures, "test_one_bad_document_does_not_harm_its_neighbours"),
    (ReleasesForTheZombie, "test_a_lost_lease_is_told_and_changes_nothing_any_more"),
    (ForgetsErrors, "test_a_failed_try_counts_and_waits"),
    (ForgetsErrors, "test_a_permanent_error_makes_dead_letters_at_once"),
    (ForgetsErrors, "test_an_index_that_its_store_lost_is_started_anew"),
    (CountsEveryTry, "test_being_throttled_costs_no_attempt"),
    (CountsEveryTry, "test_a_failed_try_counts_and_waits"),
    (ShutsDownAsIfItFailed, "test_an_orderly_release_costs_no_attempt_and_no_time"),
    (GivesUpWhatDeletes, "test_what_deletes_is_never_given_up"),
    (ForgetsCheckpoints, "test_what_was_committed_is_where_the_next_try_goes_on"),
    (ForgetsCheckpoints, "test_vector_files_are_there_for_the_next_try"),
    (SwallowsTheLoss, "test_a_lost_lease_is_told_and_changes_nothing_any_more"),
    (SwallowsTheLoss, "test_a_stale_lease_attaches_nothing"),
    (FinishesForTheZombie, "test_a_stale_lease_attaches_nothing"),
    (ForgetsAttachments, "test_what_is_attached_to_a_document_is_a_document_of_the_same_job"),
    (ForgetsAttachments, "test_attachments_come_with_the_last_part_of_a_long_document"),
    (ForgetsErrors, "test_what_an_operator_can_mend_pauses_the_job_and_fails_no_document"),
    (CountsEveryTry, "test_what_an_operator_can_mend_pauses_the_job_and_fails_no_document"),
    (RenewsNothing, "test_a_worker_learns_at_its_next_renewal_that_its_job_was_cancelled"),
    (ForgetsErrors, "test_what_is_too_much_at_once_is_tried_document_by_document"),
    (SaysOfNoneThatItIsAlone, "test_documents_over_which_workers_died_run_alone"),
    (AttachesTooMuch, "test_what_is_not_attached_any_more_is_deleted"),
]


@pytest.mark.parametrize(("broken", "law"), BREACHES)
async def test_the_suite_catches_a_broken_implementation(
    sqlite_place: Workplace, broken: type[Broken], law: str
) -> None:
    await demand_that_it_is_caught(sqlite_place, broken, law)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (ClaimsAllKinds, "test_only_the_kinds_asked_for_are_claimed"),
        (AcceptsAll, "test_each_result_is_accepted_or_stale_by_itself"),
        (ForgetsErrors, "test_a_permanent_error_makes_dead_letters_at_once"),
        (SwallowsTheLoss, "test_a_lost_lease_is_told_and_changes_nothing_any_more"),
    ],
)
async def test_the_suite_catches_a_broken_implementation_over_http(
    sqlite_place: Workplace, tmp_path: Path, broken: type[Broken], law: str
) -> None:
    async with http_place(sqlite_place, tmp_path) as place:
        await demand_that_it_is_caught(place, broken, law)


async def test_over_http_a_lease_of_somebody_else_is_of_no_use(
    sqlite_place: Workplace, tmp_path: Path
) -> None:
    law = WorkSuite().test_a_lost_lease_is_told_and_changes_nothing_any_more
    async with http_place(sqlite_place, tmp_path) as place:
        thief = ReleasesForTheZombie(place.worker("here"))
        await law(place=place, work=thief, other=Broken(place.worker("there")))


@pytest.fixture
def sqlite_place(
    sqlite_ledger: str, place_of: Callable[[Database], Workplace]
) -> Iterator[Workplace]:
    database = Database(sqlite_ledger)
    yield place_of(database)
    database.close()


async def demand_that_it_is_caught(place: Workplace, broken: type[Broken], law: str) -> None:
    asked = inspect.signature(getattr(WorkSuite, law)).parameters
    workers = {"work": "here", "other": "there"}
    given = {key: broken(place.worker(name)) for key, name in workers.items() if key in asked}

    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError)):
        await getattr(WorkSuite(), law)(place=place, **given)
