"""The thread that renews leases: what it is told of one try of a batch is no matter of another."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import cast

from vectorflow.domain.jobs import BatchKind
from vectorflow.ports.work import Lease, LeasedIndex, LeasedJob, Work
from vectorflow.testing.workplace import PIPELINE
from vectorflow.worker.renewal import LeaseKeeper

PATIENCE = 10.0
"""Seconds; nobody waits for so long where all is well."""

Answer = Callable[[Sequence[Lease]], Awaitable[Sequence[Lease]]]


def lease_of(*, batch: int = 1, epoch: int = 1, seconds: float = 1.0) -> Lease:
    return Lease(
        batch=batch,
        epoch=epoch,
        kind=BatchKind.EMBED,
        seconds=seconds,
        attempt=epoch,
        job=LeasedJob(id=1, tenant="default", document_id=""),
        pipeline=PIPELINE,
        index=LeasedIndex(id=1, ledger="ledger", incarnation="incarnation", written=False),
        versions=(),
        vectors=(),
    )


class Ledger:
    """Notes what it is asked to renew."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: SimpleQueue[list[Lease]] = SimpleQueue()

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        self.asked.put(list(leases))
        return await self._answer(leases)

    def keeper(self) -> LeaseKeeper:
        return LeaseKeeper(cast("Work", self))


async def renew_all(leases: Sequence[Lease]) -> Sequence[Lease]:
    return leases


@contextmanager
def renewing(keeper: LeaseKeeper) -> Iterator[None]:
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


def test_an_older_try_that_ends_leaves_the_renewal_of_the_next_one_alone() -> None:
    ledger = Ledger(renew_all)
    keeper, lost = ledger.keeper(), list[int]()
    first, second = lease_of(epoch=1), lease_of(epoch=2)

    keeper.keep(first, partial(lost.append, 1))
    keeper.keep(second, partial(lost.append, 2))
    keeper.drop(first)

    with renewing(keeper):
        assert ledger.asked.get(timeout=PATIENCE) == [second]
    assert lost == [1]


def test_an_older_try_that_is_found_lost_leaves_the_renewal_of_the_next_one_alone() -> None:
    first, second, lost = lease_of(epoch=1), lease_of(epoch=2), list[int]()

    async def renew_the_second(leases: Sequence[Lease]) -> Sequence[Lease]:
        if first in leases:
            keeper.keep(second, partial(lost.append, 2))
        return [lease for lease in leases if lease is second]

    ledger = Ledger(renew_the_second)
    keeper = ledger.keeper()
    keeper.keep(first, partial(lost.append, 1))

    with renewing(keeper):
        assert ledger.asked.get(timeout=PATIENCE) == [first]
        assert ledger.asked.get(timeout=PATIENCE) == [second]
    assert lost == [1]


def test_a_try_that_has_ended_is_not_told_that_its_lease_is_lost() -> None:
    lease, lost = lease_of(), list[int]()

    async def end_and_renew_none(leases: Sequence[Lease]) -> Sequence[Lease]:
        for one in leases:
            keeper.drop(one)
        return []

    ledger = Ledger(end_and_renew_none)
    keeper = ledger.keeper()
    keeper.keep(lease, partial(lost.append, 1))

    with renewing(keeper):
        ledger.asked.get(timeout=PATIENCE)
    assert lost == []


def test_while_the_ledger_hangs_leases_are_given_up_in_time_and_new_ones_are_renewed() -> None:
    first, second, lost = lease_of(seconds=2.0), lease_of(batch=2), threading.Event()

    async def hang_once(leases: Sequence[Lease]) -> Sequence[Lease]:
        if first in leases:
            await asyncio.Event().wait()
        return leases

    def begin_another() -> None:
        keeper.keep(second, lambda: None)
        lost.set()

    ledger = Ledger(hang_once)
    keeper = ledger.keeper()
    ends_at = time.monotonic() + first.seconds
    keeper.keep(first, begin_another)

    with renewing(keeper):
        assert ledger.asked.get(timeout=PATIENCE) == [first]
        assert lost.wait(ends_at - time.monotonic())
        assert ledger.asked.get(timeout=PATIENCE) == [second]
