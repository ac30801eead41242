"""Who wakes workers is told of what a transaction made ready, once it is committed."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from sqlalchemy import Connection

from vectorflow.domain.jobs import BatchKind, Lane
from vectorflow.errors import Unavailable
from vectorflow.ledger import duties, ready
from vectorflow.ledger.database import Database
from vectorflow.ports.queue import WakeUp
from vectorflow.testing.workplace import PretendWorker, Workplace, claim, claim_one

EXTRACT, EMBED, RETIRE = (
    WakeUp(Lane.BULK, kind) for kind in (BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE)
)

Told = list[frozenset[WakeUp]]


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def place(
    ledger_url: str, place_of: Callable[[Database], Workplace], told: Told
) -> Iterator[Workplace]:
    database = Database(ledger_url, told.append)
    yield place_of(database)
    database.close()


def news(told: Told) -> set[WakeUp]:
    """What was told since the last look."""
    found = {wakeup for made in told for wakeup in made}
    told.clear()
    return found


async def test_each_step_of_a_document_tells_of_the_next(place: Workplace, told: Told) -> None:
    worker = PretendWorker(place.worker("w"))

    place.submit({"a": "one", "b": "two"})
    assert news(told) == {EXTRACT}
    await worker.run(BatchKind.EXTRACT)
    assert news(told) == {EMBED}
    await worker.run(BatchKind.EMBED)
    assert news(told) == set()

    place.submit({"a": "other"})
    assert news(told) == {EXTRACT}
    place.submit({"a": "third"})
    assert news(told) == set()  # it waits for the second
    await worker.run(BatchKind.EXTRACT)
    await worker.run(BatchKind.EMBED)
    assert news(told) == {EXTRACT, EMBED, RETIRE}


async def test_who_takes_all_that_was_asked_for_leaves_some_to_others(
    place: Workplace, told: Told
) -> None:
    for name in ("a", "b", "c"):
        place.submit({name: name})
    news(told)
    work = place.worker("w")

    await claim(work, BatchKind.EXTRACT, limit=2)
    assert news(told) == {EXTRACT}
    await claim(work, BatchKind.EXTRACT, limit=2)
    assert news(told) == set()


async def test_what_is_handed_back_is_told_of_unless_it_has_to_wait(
    place: Workplace, told: Told
) -> None:
    place.submit({"a": "one"})
    work = place.worker("w")
    lease = await claim_one(work)
    news(told)

    await work.release(lease, None)
    assert news(told) == {EXTRACT}

    lease = await claim_one(work)
    await work.release(lease, Unavailable("down", retry_after=60.0))
    assert news(told) == set()


async def test_what_was_lost_is_told_of(place: Workplace, told: Told) -> None:
    place.submit({"a": "one"})
    await claim_one(place.worker("dead"))
    news(told)

    place.pass_time()
    place.reap()

    assert news(told) == {EXTRACT}


def test_a_transaction_that_was_undone_tells_nothing(place: Workplace, told: Told) -> None:
    def fail(connection: Connection) -> None:
        ready.note(connection, 0, BatchKind.EXTRACT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        place.database.write_now(fail)
    for _ in range(20):  # on the same connection too
        place.database.write_now(lambda _: None)
        place.database.read_now(lambda _: None)

    assert told == []


def test_only_what_waited_too_long_is_overlooked(place: Workplace) -> None:
    place.submit({"a": "one"})
    read = place.database.read_now

    assert read(partial(duties.overlooked, seconds=30.0)) == []
    place.pass_time()
    assert read(partial(duties.overlooked, seconds=30.0)) == [EXTRACT]
    assert read(partial(duties.overlooked, seconds=7200.0)) == []
