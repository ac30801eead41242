"""The thread that renews leases."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, cast

from vectorflow.domain.jobs import BatchKind
from vectorflow.ports.work import Lease, Work
from vectorflow.testing.workplace import Workplace, claim_one
from vectorflow.worker.renewal import LeaseKeeper


class Renews(Protocol):
    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]: ...


class FaultyOnce:
    """Has a fault that nobody foresaw, then renews."""

    def __init__(self, work: Renews) -> None:
        self._work = work
        self.asked = 0
        self.renewed = threading.Event()

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        self.asked += 1
        if self.asked == 1:
            raise ZeroDivisionError
        kept = await self._work.renew(leases)
        self.renewed.set()
        return kept


async def test_a_fault_in_one_renewal_does_not_end_all_renewing(place: Workplace) -> None:
    place.submit({"a": "one"})
    work = place.worker("here")
    lease = replace(await claim_one(work, BatchKind.EXTRACT), seconds=1.0)
    faulty = FaultyOnce(work)
    keeper = LeaseKeeper(cast("Work", faulty))
    keeper.keep(lease, lambda: None)

    keeper.start()
    try:
        assert await asyncio.to_thread(faulty.renewed.wait, 30)
    finally:
        await asyncio.to_thread(keeper.stop)

    assert faulty.asked > 1
