"""The backlog: each batch is counted once, in what it waits for."""

from functools import partial

import pytest

from vectorflow.domain.jobs import BatchKind, Lane
from vectorflow.errors import Throttled
from vectorflow.ledger import backlog
from vectorflow.ledger.backlog import Backlog, Waiting
from vectorflow.ledger.database import Database
from vectorflow.testing.workplace import PretendWorker, Workplace, claim

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE
INTERACTIVE, BULK = Lane.INTERACTIVE, Lane.BULK


def backlog_of(place: Workplace) -> Backlog:
    return place.database.read_now(backlog.backlog)


async def test_an_empty_ledger_has_no_backlog(place: Workplace) -> None:
    found = backlog_of(place)

    assert found.total == Waiting()
    assert set(found.lines) == {(lane, kind) for lane in Lane for kind in BatchKind}
    assert (found.waiting_versions, found.paused_jobs) == (0, {})


async def test_batches_are_counted_by_lane_kind_and_what_they_wait_for(place: Workplace) -> None:
    work = place.worker("here")
    for number in range(4):
        place.submit({f"b{number}": "text"})
    late, *_ = await claim(work, limit=2)
    await work.release(late, Throttled("later", retry_after=600.0))
    place.pause(place.submit({"p": "text"}))
    place.submit({"i": "text"}, lane=INTERACTIVE)
    await PretendWorker(work).run()  # all but the late one, the leased one and the paused one
    place.submit({"i": "other"}, lane=INTERACTIVE)
    place.submit({"i": "third"}, lane=INTERACTIVE)

    found = backlog_of(place)

    bulk, interactive = found.lines[BULK, EXTRACT], found.lines[INTERACTIVE, EXTRACT]
    assert (bulk.ready, bulk.leased, bulk.delayed, bulk.paused) == (0, 1, 1, 1)
    assert (interactive.ready, interactive.leased) == (1, 0)
    assert bulk.oldest_seconds is None
    assert interactive.oldest_seconds is not None
    assert found.waiting_versions == 1
    assert found.paused_jobs == {"operator": 1}
    assert (found.total.ready, found.total.leased, found.total.delayed) == (1, 1, 1)


async def test_what_is_done_or_cancelled_is_no_backlog(place: Workplace) -> None:
    place.submit({"a": "text"})
    place.cancel(place.submit({"b": "text"}))
    await PretendWorker(place.worker("here")).run()

    assert backlog_of(place).total == Waiting()


async def test_the_age_is_that_of_the_batch_that_waits_longest(place: Workplace) -> None:
    place.submit({"a": "text"})
    place.pass_time()
    place.submit({"b": "text"})

    oldest = backlog_of(place).total.oldest_seconds

    assert oldest is not None
    assert 3600 <= oldest < 3700


async def test_nothing_is_counted_further_than_is_said(
    place: Workplace, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "COUNTED_TO", 3)
    for number in range(5):
        place.submit({f"d{number}": "text"})

    assert ledger.read_now(partial(backlog.backlog)).total.ready == 3
