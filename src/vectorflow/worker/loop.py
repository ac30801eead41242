"""The loop: claim batches, run their stages side by side, finish them in groups."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from vectorflow.domain.grouping import Grouped
from vectorflow.domain.jobs import LANES, BatchKind, Lane, Outcome
from vectorflow.domain.outages import SystemKind, called
from vectorflow.domain.retries import FailureClass, class_of
from vectorflow.errors import LeaseLost, OutOfSpace, Transient, Unsealable, VectorFlowError
from vectorflow.ports.metrics import NO_METRICS, Metrics, timed
from vectorflow.ports.work import Finished, Lease, Work
from vectorflow.service.embed import embed_and_store
from vectorflow.service.extract import extract
from vectorflow.service.retire import retire
from vectorflow.worker.budget import ByteBudget
from vectorflow.worker.files import SharedFiles
from vectorflow.worker.renewal import LeaseKeeper
from vectorflow.worker.targets import Targets, Workshop

log = logging.getLogger(__name__)

ROW_BYTES = 2048
"""Memory of a chunk beside its vector: text, hashes, and Python's share."""

VECTOR_COPIES = 2
"""Of a vector at once: as it was answered, and as it is written."""

RAW_FACTOR = 4
"""Memory of extraction per byte of a document, up to that of a part."""

SMALL_BYTES = 64 << 10
"""What a batch of extraction is taken to hold at least."""

EXTRACTS_AT_ONCE = 64
"""Batches of extraction in one claim at most, as the next may be larger than those before."""

EXTRACTING_BYTES = 8 << 20
"""Of documents that are extracted at once; a longer one is extracted beside no other."""

FINISHED_AT_ONCE = 64

INTERACTIVE_PART = 4
"""One of so many parts of the byte budget is for interactive work alone: how long bulk holds its
bytes depends on the size of its documents."""

INTERACTIVE_PLACES = 8
"""One of so many places for batches is kept free of bulk."""

MAX_DOUBLINGS = 5
"""Of the pause between two looks for work, while the ledger cannot be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How much a worker takes on; see the settings of the same names."""

    byte_budget: int
    batches: int
    poll_seconds: float
    shutdown_grace: float


class Worker:
    """Works on batches until it is asked to stop."""

    def __init__(
        self,
        work: Work,
        workshop: Workshop,
        capabilities: Mapping[str, int],
        options: WorkerOptions,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._work = work
        self._metrics = metrics
        self._workshop = workshop
        self._capabilities = capabilities
        self._options = options
        self._files = SharedFiles(work)
        self._targets = Targets(work, workshop, self._files, metrics)
        interactive = options.byte_budget // INTERACTIVE_PART
        self._budgets = {
            Lane.INTERACTIVE: ByteBudget(interactive),
            Lane.BULK: ByteBudget(options.byte_budget - interactive),
        }
        self._keeper = LeaseKeeper(work)
        self._finish: Grouped[Finished, bool] = Grouped(
            work.finish, weight=lambda _: 1, limit=FINISHED_AT_ONCE
        )
        self._running: dict[asyncio.Task[None], Lease] = {}
        self._lost: set[asyncio.Task[None]] = set()
        """Those whose leases ran out meanwhile."""
        self._wake = asyncio.Event()
        self._pace = options.poll_seconds
        self._failed_claims = 0
        self.out_of_space: OutOfSpace | None = None
        """Set from the first full disk until something ends well again."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then end what can be ended in time and hand back the rest."""
        self._keeper.start()
        try:
            await self._claim_until(stop)
            await self._drain()
        finally:
            await self._hand_back()
            await asyncio.to_thread(self._keeper.stop)

    @property
    def embedded(self) -> int:
        """Chunks embedded so far, those of batches under way too."""
        return self._targets.embedded

    def beside(self) -> AbstractAsyncContextManager[None]:
        """Hold half of the bulk's bytes, for work that is no batch, and wait until they are free.

        Not all of it: a long document that is extracted holds its share for as long as that takes.
        """
        budget = self._budgets[Lane.BULK]
        return budget.hold(budget.total // 2)

    def wake(self) -> None:
        """Look for work now, not at the next poll."""
        self._wake.set()

    def poll_every(self, seconds: float | None) -> None:
        """Look for work at this pace from now on; None is that of the options."""
        self._pace = self._options.poll_seconds if seconds is None else seconds
        self._wake.set()

    async def _claim_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._wake.clear()
            if not await self._claim():
                await self._pause(stop)

    async def _claim(self) -> int:
        """Claim what there is room for, and interactive work where bulk takes up the room.

        Nothing beside a batch that others died over: it may be the end of this process too.
        """
        held = list(self._running.values())
        if _is_apart(held):
            return 0
        room = self._options.batches - len(held)
        bulk = sum(lease.lane is Lane.BULK for lease in held)
        for_bulk = min(room, self._options.batches - self._kept_places - bulk)
        claimed = await self._claim_beside(held, for_bulk, LANES)
        if bulk and not _is_apart(claimed):
            urgent = [one for one in (*held, *claimed) if one.lane is Lane.INTERACTIVE]
            left = room - len(claimed)
            claimed += await self._claim_beside(urgent, left, [Lane.INTERACTIVE])
        return len(claimed)

    @property
    def _kept_places(self) -> int:
        return self._options.batches // INTERACTIVE_PLACES

    async def _claim_beside(
        self, held: Sequence[Lease], room: int, lanes: Sequence[Lane]
    ) -> list[Lease]:
        """Claim batches of these lanes: what frees the store and the budget comes first."""
        claimed = await self._claim_kinds([BatchKind.RETIRE, BatchKind.EMBED], room, lanes)
        embedding = sum(lease.kind is BatchKind.EMBED for lease in held) + len(claimed)
        if _is_apart(claimed) or embedding >= self._options.batches // 2:
            return claimed
        room = min(room - len(claimed), _extract_room(held))
        return claimed + await self._claim_kinds([BatchKind.EXTRACT], room, lanes)

    async def _claim_kinds(
        self, kinds: Sequence[BatchKind], room: int, lanes: Sequence[Lane]
    ) -> list[Lease]:
        if room <= 0:
            return []
        try:
            claimed = list(await self._work.claim(kinds, self._capabilities, room, lanes))
        except Transient as error:
            log.warning("claim_failed", extra={"error": error.code})
            self._note(error)
            self._failed_claims += 1
            return []
        self._failed_claims = 0
        for lease in claimed:  # now: what is under way is handed back if the next claim ends all
            self._start(lease)
        return claimed

    def _start(self, lease: Lease) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(self._handle(lease))
        self._running[task] = lease
        task.add_done_callback(self._ended)

        def lost() -> None:
            loop.call_soon_threadsafe(self._lose, task)

        self._keeper.keep(lease, lost)

    def _lose(self, task: asyncio.Task[None]) -> None:
        if task in self._running:
            self._lost.add(task)
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        lease = self._running.pop(task)
        self._lost.discard(task)
        self._keeper.drop(lease)
        self._wake.set()

    async def _pause(self, stop: asyncio.Event) -> None:
        """Wait for an ended batch, a stop or the next poll."""
        patience = 2 ** min(self._failed_claims, MAX_DOUBLINGS)
        seconds = self._pace * patience * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(stop.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _handle(self, lease: Lease) -> None:
        """Run one batch to its end, whatever that is."""
        try:
            async with self._budgets[lease.lane].hold(_estimated_bytes(lease)):
                result = await self._stage(lease)
                is_ours = await self._finish(result)
                self.out_of_space = None
                self._count(lease, Outcome.OK if is_ours else Outcome.LOST)
        except asyncio.CancelledError:
            is_lost = asyncio.current_task() in self._lost
            self._count(lease, Outcome.LOST if is_lost else Outcome.RELEASED)
            await self._release(lease, None)
            raise
        except LeaseLost:
            log.warning("lease_lost", extra={"batch_id": lease.batch})
            self._count(lease, Outcome.LOST)
            await self._release(lease, None)  # what was written late is looked after
        except VectorFlowError as error:
            await self._release(lease, error)
        except Exception as error:  # the worker's edge: a fault of ours must not stop the loop
            log.exception("batch_failed", extra={"batch_id": lease.batch})
            await self._release(lease, Transient(f"unexpected {type(error).__name__}"))

    def _stage(self, lease: Lease) -> Awaitable[Finished]:
        if not lease.job.unsealed:
            message = f"the credentials of job {lease.job.id} cannot be opened"
            raise Unsealable(message)
        stages: dict[BatchKind, Callable[[Lease], Awaitable[Finished]]] = {
            BatchKind.EXTRACT: self._extract,
            BatchKind.EMBED: self._embed,
            BatchKind.RETIRE: self._retire,
        }
        return stages[lease.kind](lease)

    async def _extract(self, lease: Lease) -> Finished:
        cutters = await self._workshop.cutters(lease)
        if cutters.validate is not None:
            validate = called(SystemKind.VALIDATION, cutters.validate)
            cutters = replace(cutters, validate=validate)
        with timed(self._metrics, "extract"):
            return await extract(lease, self._work, cutters, self._files.write_rows)

    async def _embed(self, lease: Lease) -> Finished:
        if not lease.versions:
            return Finished(lease=lease)
        return await embed_and_store(lease, self._work, await self._targets.of(lease))

    async def _retire(self, lease: Lease) -> Finished:
        if lease.pipeline.delivers:
            return Finished(lease=lease)
        with timed(self._metrics, "retire"):
            return await retire(lease, self._work, await self._targets.deletion(lease))

    async def _release(self, lease: Lease, error: VectorFlowError | None) -> None:
        if error is not None:
            self._note(error)
            self._count(lease, _outcome_of(error))
            log.warning(
                "batch_released",
                extra={"batch_id": lease.batch, "kind": lease.kind, "error": error.code},
            )
        try:
            await self._work.release(lease, error)
        except VectorFlowError as failure:
            self._note(failure)
            log.warning("release_failed", extra={"batch_id": lease.batch, "error": failure.code})

    def _note(self, error: VectorFlowError) -> None:
        if isinstance(error, OutOfSpace):
            self.out_of_space = error

    def _count(self, lease: Lease, outcome: Outcome) -> None:
        self._metrics.count("vectorflow_batches_total", kind=lease.kind, outcome=outcome)

    async def _drain(self) -> None:
        """Let running batches end, for as long as the grace lasts."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._options.shutdown_grace)

    async def _hand_back(self) -> None:
        await asyncio.sleep(0)  # a task that is cancelled before it began releases nothing
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _is_apart(leases: Sequence[Lease]) -> bool:
    return any(lease.alone for lease in leases)


def _extract_room(held: Sequence[Lease]) -> int:
    """Batches to extract that there is room for; how large one is shows when it is ours."""
    sizes = [_raw_bytes(one) for one in held if one.kind is BatchKind.EXTRACT]
    if sum(sizes) >= EXTRACTING_BYTES:
        return 0
    largest = max(sizes, default=EXTRACTING_BYTES // 2)
    fitting = (EXTRACTING_BYTES - sum(sizes)) // max(largest, SMALL_BYTES)
    return min(max(fitting, 1), EXTRACTS_AT_ONCE)


def _estimated_bytes(lease: Lease) -> int:
    """Memory a batch will take, roughly and rather too much than too little."""
    if lease.kind is BatchKind.EXTRACT:
        return min(_raw_bytes(lease), 1 << 22) * RAW_FACTOR
    dimensions = lease.pipeline.recipe.fingerprint.dimensions
    rows = sum(part.rows for version in lease.versions for part in version.parts)
    return rows * (ROW_BYTES + dimensions * 4 * VECTOR_COPIES)


def _outcome_of(error: VectorFlowError) -> Outcome:
    outcomes = {
        FailureClass.THROTTLE: Outcome.THROTTLED,
        FailureClass.OUTAGE: Outcome.UNAVAILABLE,
    }
    return outcomes.get(class_of(error), Outcome.ERROR)


def _raw_bytes(lease: Lease) -> int:
    return sum(version.source.length for version in lease.versions if version.source)
