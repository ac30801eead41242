"""Two transactions on a server, of which one is stopped before any of its statements.

SQLite has one writer at a time, so there is nothing to interleave.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, takewhile
from zlib import crc32

import pytest

from tests.integration.ledger.interleavings import (
    attachments,
    failures,
    intake,
    jobs,
    leases,
    outages,
    resets,
    retention,
    versions,
)
from tests.integration.ledger.interleavings.stage import (
    BEFORE_COMMIT,
    FORGET,
    LOCK_ORDER,
    ORDERS,
    Scene,
    Stage,
    execute,
    play,
    set_up,
)
from vectorflow.testing.workplace import Workplace

ROOMS = [leases, versions, intake, resets, attachments, jobs, failures, retention, outages]
SCENES = [scene for room in ROOMS for scene in room.SCENES]

EVERY_STOP = "VECTORFLOW_TEST_EVERY_STOP"
"""Set it to stop before each statement on MariaDB too."""

APART = {"postgresql": 1, "mariadb": 1 if EVERY_STOP in os.environ else 3}
"""The statements are the same; MariaDB is stopped before every third, another one in each scene."""


@pytest.fixture(params=["postgres", pytest.param("mariadb", marks=pytest.mark.slow)])
def ledger_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_ledger")
    return url


@pytest.fixture
def stage(place: Workplace) -> Iterator[Stage]:
    yield Stage(place)
    execute(place.database, *FORGET)


@pytest.mark.parametrize("make", [make for make in SCENES if "reset" not in make.__name__])
def test_rows_are_locked_in_one_order(stage: Stage, make: Callable[[Workplace], Scene]) -> None:
    """Within a table by id, and table after table: who holds one row never waits for an earlier.

    A reset looks at batches twice, and leaves the rare deadlock to the database.
    """
    scene = make(stage.place)
    for transaction in (scene.first, scene.second):
        stage.locks.clear()
        with suppress(*scene.refusals):
            stage.database.write_now(transaction)
        tables = [LOCK_ORDER.index(lock[1]) for lock in stage.locks]
        assert tables == sorted(tables)
        assert [lock[0] for lock in stage.locks if lock[2] != ORDERS[lock[1]]] == []
        assert tables.count(LOCK_ORDER.index("buckets")) <= 1  # or one could come before the last


@pytest.mark.parametrize("ledger_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("swapped", [False, True], ids=["as written", "swapped"])
@pytest.mark.parametrize("make", SCENES)
def test_a_transaction_that_is_not_committed_yet_is_waited_for_or_passed(
    stage: Stage, make: Callable[[Workplace], Scene], swapped: bool
) -> None:
    assert play(stage, set_up(stage, make), BEFORE_COMMIT, swapped=swapped)


@pytest.mark.slow
@pytest.mark.parametrize("swapped", [False, True], ids=["as written", "swapped"])
@pytest.mark.parametrize("make", SCENES)
def test_a_transaction_may_be_overtaken_before_any_of_its_statements(
    stage: Stage, make: Callable[[Workplace], Scene], swapped: bool
) -> None:
    scene = set_up(stage, make)
    apart = APART[stage.database.engine.dialect.name]
    first = 1 + crc32(make.__name__.encode()) % apart

    assert play(stage, scene, BEFORE_COMMIT, swapped=swapped)
    stops = [*takewhile(lambda at: play(stage, scene, at, swapped=swapped), count(first, apart))]

    assert len(stops) >= 2 // apart
