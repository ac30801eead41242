"""The thread that renews leases."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, cast

import pytest
from sqlalchemy import Connection

from vectorflow.domain.jobs import BatchKind
from vectorflow.ledger.database import Database
from vectorflow.ledger.dialects import WRITERS
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
    lease = replace(await claim_one(work, BatchKind.EXTRACT), seconds=3.0)
    faulty = FaultyOnce(work)
    keeper = LeaseKeeper(cast("Work", faulty))
    keeper.keep(lease, lambda: None)

    keeper.start()
    try:
        assert await asyncio.to_thread(faulty.renewed.wait, 30)
    finally:
        await asyncio.to_thread(keeper.stop)

    assert faulty.asked > 1


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    database = Database(request.getfixturevalue(f"{request.param}_ledger"))
    yield database
    database.close()


async def test_a_renewal_does_not_stand_in_line_behind_other_writes(
    server: Database, place_of: Callable[[Database], Workplace]
) -> None:
    place, free = place_of(server), threading.Event()
    place.submit({"a": "one"})
    work = place.worker("here")
    lease = await claim_one(work, BatchKind.EXTRACT)

    def stand(_: Connection) -> None:
        assert free.wait(30)

    line = [asyncio.create_task(server.write(stand)) for _ in range(WRITERS + 1)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            assert list(await work.renew([lease])) == [lease]
    finally:
        free.set()
        await asyncio.gather(*line)
