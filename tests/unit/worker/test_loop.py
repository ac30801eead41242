import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import pytest

from tests.scraped import risen
from vectorflow.adapters.metrics.prometheus import PrometheusMetrics, written
from vectorflow.domain.documents import BlobRange
from vectorflow.domain.jobs import LANES, BatchKind, Lane
from vectorflow.domain.manifests import Part
from vectorflow.errors import (
    BadChunk,
    Forbidden,
    LeaseLost,
    Throttled,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ports.work import Finished, Lease, LeasedIndex, LeasedJob, LeasedVersion, Work
from vectorflow.testing.work_outages import away
from vectorflow.testing.workplace import PIPELINE
from vectorflow.worker.loop import Worker, WorkerOptions
from vectorflow.worker.targets import Workshop

LEASE = Lease(
    batch=1,
    epoch=1,
    kind=BatchKind.RETIRE,
    seconds=30.0,
    attempt=1,
    job=LeasedJob(id=1, tenant="default", document_id=""),
    pipeline=replace(PIPELINE, store="webhook://example.org"),
    index=LeasedIndex(id=1, ledger="ledger", incarnation="incarnation", written=False),
    versions=(
        LeasedVersion(
            id=1,
            document=1,
            external_id="a",
            number=1,
            extractor="text",
            source=None,
            metadata={},
            parts=(Part(number=0, blob="manifests/a", row_start=0, rows=1, resume_at=1),),
            base=(),
        ),
    ),
    vectors=(),
)


class OneBatch(Work):
    """Hands out one batch that needs nobody, and notes its end."""

    def __init__(self) -> None:
        self.waiting = [LEASE]
        self.ended = asyncio.Event()

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        claimed, self.waiting = self.waiting, []
        return claimed

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        self.ended.set()
        return [True for _ in results]

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        return leases

    async def checkpoint(self, *args: object, **more: object) -> None:
        raise NotImplementedError

    async def release(self, *args: object) -> None:
        raise NotImplementedError

    def blobs(self, lease: Lease) -> object:
        raise NotImplementedError


def make_worker(work: Work) -> Worker:
    options = WorkerOptions(byte_budget=1 << 20, batches=4, poll_seconds=0.01, shutdown_grace=1.0)
    return Worker(work, cast("Workshop", None), {}, options)


async def test_batches_go_on_beside_a_long_document_and_what_is_no_batch() -> None:
    work, stop = OneBatch(), asyncio.Event()
    worker = make_worker(work)
    long_document = worker._budgets[Lane.BULK].hold(1 << 18)  # noqa: SLF001

    async with asyncio.timeout(5), long_document, worker.beside():
        running = asyncio.create_task(worker.run(stop))
        await work.ended.wait()

    stop.set()
    await running


async def test_what_is_no_batch_waits_until_half_of_the_budget_is_free() -> None:
    worker = make_worker(OneBatch())
    entered = asyncio.Event()

    async def look_after_an_index() -> None:
        async with worker.beside():
            entered.set()

    async with worker._budgets[Lane.BULK].hold((1 << 19) + 1):  # noqa: SLF001
        upkeep = asyncio.create_task(look_after_an_index())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not entered.is_set()

    await asyncio.wait_for(upkeep, 5)


class Counting(OneBatch):
    """Never has anything, and notes how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = []
        self.asked = asyncio.Semaphore(0)

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        if BatchKind.EXTRACT in kinds:
            self.asked.release()
        return await super().claim(kinds, capabilities, limit, lanes)


async def test_who_is_woken_looks_for_work_before_the_next_poll() -> None:
    work, stop = Counting(), asyncio.Event()
    options = WorkerOptions(byte_budget=1 << 20, batches=4, poll_seconds=3600, shutdown_grace=1.0)
    worker = Worker(work, cast("Workshop", None), {}, options)
    running = asyncio.create_task(worker.run(stop))

    async with asyncio.timeout(5):
        await work.asked.acquire()
        for _ in range(3):
            worker.wake()
            await work.asked.acquire()
    assert work.asked.locked()

    stop.set()
    await running


async def test_the_pace_of_polling_can_be_changed_and_changed_back() -> None:
    for usual, other in ((3600, 0.001), (0.001, 3600)):
        work, stop = Counting(), asyncio.Event()
        options = WorkerOptions(
            byte_budget=1 << 20, batches=4, poll_seconds=usual, shutdown_grace=1.0
        )
        worker = Worker(work, cast("Workshop", None), {}, options)
        worker.poll_every(other)
        running = asyncio.create_task(worker.run(stop))

        async with asyncio.timeout(5):
            await work.asked.acquire()
            if other > usual:
                worker.poll_every(None)
            for _ in range(5):
                await work.asked.acquire()

        stop.set()
        await running


class OneThatIsAlone(OneBatch):
    """Hands out a batch over which others died, and counts how often it is asked for more."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = [replace(LEASE, alone=True)]
        self.asked = 0
        self.may_end = asyncio.Event()

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        self.asked += 1
        return await super().claim(kinds, capabilities, limit, lanes)

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        await self.may_end.wait()
        return await super().finish(results)


async def test_beside_a_batch_over_which_others_died_nothing_is_claimed() -> None:
    work, stop = OneThatIsAlone(), asyncio.Event()
    worker = make_worker(work)
    running = asyncio.create_task(worker.run(stop))
    while work.waiting:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0)
    for _ in range(50):
        worker.wake()
        await asyncio.sleep(0)
    assert work.asked == 1

    work.may_end.set()

    while work.asked == 1:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0)
    assert work.ended.is_set()
    stop.set()
    await running


class Lanes(OneBatch):
    """Has bulk without end, none of which ends, and notes who else it is asked for."""

    def __init__(self, bulk: Lease, interactive: Lease) -> None:
        super().__init__()
        self.bulk, self.interactive = bulk, interactive
        self.held: list[Lease] = []

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        lease = self.bulk if Lane.BULK in lanes else self.interactive
        if lease.kind not in kinds or limit <= 0:
            return []
        made = [replace(lease, batch=len(self.held) + number) for number in range(limit)]
        self.held += made
        return made

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        await asyncio.Event().wait()
        raise AssertionError

    async def release(self, *args: object) -> None: ...


@pytest.mark.parametrize("kind", [BatchKind.RETIRE, BatchKind.EMBED])
async def test_a_worker_full_of_bulk_has_room_for_interactive_work(kind: BatchKind) -> None:
    lease = replace(LEASE, kind=kind, versions=())
    work = Lanes(lease, replace(lease, lane=Lane.INTERACTIVE))

    held = await filled(work, batches=16)

    assert held == {Lane.BULK: 14, Lane.INTERACTIVE: 2}


async def test_a_long_document_of_the_bulk_lane_keeps_no_other_from_being_extracted() -> None:
    work = Lanes(extracting(1 << 30), extracting(1 << 10, Lane.INTERACTIVE))

    held = await filled(work, batches=16)

    assert held == {Lane.BULK: 2, Lane.INTERACTIVE: 14}


class Hangs:
    """Never has what extracts."""

    async def cutters(self, _lease: Lease) -> object:
        return await asyncio.Event().wait()


async def filled(work: Lanes, *, batches: int) -> Counter[Lane]:
    """Let a worker claim until it has all it wants."""
    options = WorkerOptions(
        byte_budget=1 << 20, batches=batches, poll_seconds=3600, shutdown_grace=0.0
    )
    worker, stop = Worker(work, cast("Workshop", Hangs()), {}, options), asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    for _ in range(20):
        worker.wake()
        await asyncio.sleep(0)
    held = Counter(lease.lane for lease in work.held)
    stop.set()
    await running
    return held


def extracting(length: int, lane: Lane = Lane.BULK) -> Lease:
    (version,) = LEASE.versions
    source = BlobRange(blob="uploads/a", start=0, length=length)
    return replace(
        LEASE, kind=BatchKind.EXTRACT, lane=lane, versions=(replace(version, source=source),)
    )


class Ends(OneBatch):
    """Hands out a batch that ends in a certain way."""

    def __init__(self, lease: Lease, *, accepts: bool = True) -> None:
        super().__init__()
        self.waiting = [lease]
        self.accepts = accepts

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        self.ended.set()
        return [self.accepts for _ in results]

    async def release(self, *args: object) -> None:
        self.ended.set()


class Fails:
    """Has nothing that extracts."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def cutters(self, _lease: Lease) -> object:
        raise self._error


async def counted(work: Ends, workshop: object) -> dict[str, float]:
    """Let a worker end its batch; gives what metrics tell of it."""
    metrics, stop = PrometheusMetrics(), asyncio.Event()
    options = WorkerOptions(byte_budget=1 << 20, batches=4, poll_seconds=0.01, shutdown_grace=1.0)
    worker = Worker(work, cast("Workshop", workshop), {}, options, metrics)
    running = asyncio.create_task(worker.run(stop))
    async with asyncio.timeout(5):
        await work.ended.wait()
    stop.set()
    await running
    return risen(written([], metrics))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Throttled("slow down"), "throttled"),
        (away(), "unavailable"),
        (Unavailable("busy"), "error"),
        (BadChunk("no", position=0), "error"),
        (ZeroDivisionError(), "error"),
        (LeaseLost("another has it"), "lost"),
    ],
)
async def test_metrics_tell_how_a_batch_failed(error: Exception, outcome: str) -> None:
    found = await counted(Ends(extracting(1)), Fails(error))

    assert found == {f'vectorflow_batches_total{{kind="extract",outcome="{outcome}"}}': 1}


@pytest.mark.parametrize(("accepts", "outcome"), [(True, "ok"), (False, "lost")])
async def test_metrics_tell_whether_an_end_was_taken(accepts: bool, outcome: str) -> None:
    found = await counted(Ends(LEASE, accepts=accepts), None)

    assert found == {f'vectorflow_batches_total{{kind="retire",outcome="{outcome}"}}': 1}


class LetsInOnce(OneBatch):
    """Hands a batch out, and then nothing more to this worker."""

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self.waiting = [lease]
        self.released: list[Lease] = []

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        if not self.waiting:
            raise Forbidden("this work is not for you")
        return await super().claim(kinds, capabilities, limit, lanes)

    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        assert error is None
        self.released.append(lease)


async def test_who_is_let_in_no_more_hands_back_what_it_claimed_just_before() -> None:
    work = LetsInOnce(extracting(1))
    (lease,) = work.waiting
    options = WorkerOptions(byte_budget=1 << 20, batches=4, poll_seconds=3600, shutdown_grace=0.0)
    worker = Worker(work, cast("Workshop", Hangs()), {}, options)

    with pytest.raises(Forbidden):
        await worker.run(asyncio.Event())

    assert work.released == [lease]


@pytest.mark.parametrize(("by_loss", "outcome"), [(False, "released"), (True, "lost")])
async def test_metrics_tell_a_batch_that_was_handed_back_from_one_that_was_lost(
    by_loss: bool, outcome: str
) -> None:
    work, metrics, stop = Ends(extracting(1)), PrometheusMetrics(), asyncio.Event()
    options = WorkerOptions(byte_budget=1 << 20, batches=4, poll_seconds=3600, shutdown_grace=0.0)
    worker = Worker(work, cast("Workshop", Hangs()), {}, options, metrics)
    running = asyncio.create_task(worker.run(stop))
    while not worker._running:  # noqa: ASYNC110, SLF001 - nobody tells us
        await asyncio.sleep(0)
    for _ in range(10):  # until it hangs
        await asyncio.sleep(0)

    if by_loss:
        for kept in list(worker._keeper._kept.values()):  # noqa: SLF001
            kept.lost()
    else:
        stop.set()
    async with asyncio.timeout(5):
        await work.ended.wait()
    stop.set()
    await running

    found = risen(written([], metrics))
    assert found == {f'vectorflow_batches_total{{kind="extract",outcome="{outcome}"}}': 1}
