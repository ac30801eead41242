import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from vectorflow.domain.duties import Trouble
from vectorflow.errors import Unavailable
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.ledger.overview import Overview, overview
from vectorflow.ledger.reads import DutyView
from vectorflow.service import metrics
from vectorflow.service.metrics import AWAY, LedgerMetrics

NOW = 1_000_000.0

DUTY = DutyView(
    name="garbage",
    every=600.0,
    last_run_at=NOW - 120,
    ended_at=NOW - 90,
    last_result="2 of 7 blobs deleted",
    error=None,
    next_run_at=NOW + 480,
)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    schema.upgrade(database)
    yield database
    database.close()


class Watched:
    """A ledger that counts its reads, may be away, and may take its time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0
        self.error: Unavailable | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.duties: list[DutyView] = []

    async def read(self, transaction: Callable[[Connection], Overview]) -> Overview:
        assert transaction is overview
        self.reads += 1
        await self.free.wait()
        if self.error:
            raise self.error
        found = await self._database.read(transaction)
        return replace(found, duties=self.duties, now=NOW)


@pytest.fixture
def watched(ledger: Database) -> Watched:
    return Watched(ledger)


def metrics_of(watched: Watched, *, sends: bool = True) -> LedgerMetrics:
    return LedgerMetrics(watched, sends=sends)  # type: ignore[arg-type]


async def told(watched: Watched, *, sends: bool = True) -> dict[tuple[str, ...], float]:
    """Figures by name and the values of their labels."""
    samples = await metrics_of(watched, sends=sends).samples()
    return {(one.name, *map(str, one.labels.values())): one.value for one in samples}


async def test_a_ledger_without_work_tells_zeros(watched: Watched) -> None:
    found = await told(watched)

    assert found["vectorflow_ledger_up",] == 1
    assert found["vectorflow_backlog_batches", "bulk", "embed", "paused"] == 0
    assert found["vectorflow_oldest_ready_age_seconds", "interactive", "extract"] == 0
    assert found["vectorflow_outages", "provider"] == 0
    assert {value for key, value in found.items() if key[0] != "vectorflow_ledger_up"} == {0}


async def test_many_who_ask_read_the_ledger_once(watched: Watched) -> None:
    asked = metrics_of(watched)

    answers = await asyncio.gather(*(asked.samples() for _ in range(50)))
    answers.append(await asked.samples())

    assert watched.reads == 1
    assert all(answer == answers[0] for answer in answers)


async def test_after_a_while_it_is_read_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "REMEMBERED_SECONDS", 0.0)
    asked = metrics_of(watched)

    for _ in range(3):
        await asked.samples()

    assert watched.reads == 3


async def test_a_ledger_that_is_away_tells_so_and_nothing_else(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.error = Unavailable("the host db.example.org does not answer")

    assert await told(watched) == {("vectorflow_ledger_up",): 0}
    assert [record.message for record in caplog.records] == ["ledger_not_measured"]
    assert "db.example.org" not in caplog.text


async def test_a_ledger_that_hangs_is_asked_once_however_many_ask(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "READ_SECONDS", 0.001)
    watched.free.clear()
    asked = metrics_of(watched)

    hanging = [await asked.samples() for _ in range(5)]
    watched.free.set()
    monkeypatch.setattr(metrics, "READ_SECONDS", 5.0)
    back = await asked.samples()

    assert hanging == [AWAY] * 5
    assert back[0].value == 1
    assert watched.reads == 1


async def test_a_fault_of_ours_shows_and_is_not_told_again_from_memory(watched: Watched) -> None:
    asked = metrics_of(watched)
    watched.duties = [replace(DUTY, last_run_at="never")]  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        await asked.samples()


async def test_a_duty_in_time_tells_when_it_ran_and_how_long(watched: Watched) -> None:
    watched.duties = [DUTY]

    found = await told(watched)

    assert found["vectorflow_duty_last_run_timestamp_seconds", "garbage"] == NOW - 120
    assert found["vectorflow_duty_last_success_timestamp_seconds", "garbage"] == NOW - 90
    assert found["vectorflow_duty_duration_seconds", "garbage"] == 30
    assert [found["vectorflow_duty_trouble", "garbage", one] for one in Trouble] == [0, 0, 0]


@pytest.mark.parametrize(
    ("duty", "trouble"),
    [
        (replace(DUTY, next_run_at=NOW - 10_000), Trouble.OVERDUE),
        (replace(DUTY, last_run_at=NOW - 9_000, ended_at=NOW - 9_600), Trouble.STUCK),
        (replace(DUTY, error="unavailable"), Trouble.FAILED),
    ],
)
async def test_a_duty_that_is_not_done_tells_why(
    watched: Watched, duty: DutyView, trouble: Trouble
) -> None:
    watched.duties = [duty]

    found = await told(watched)

    told_of = {one: found["vectorflow_duty_trouble", "garbage", one] for one in Trouble}
    assert told_of == {one: one is trouble for one in Trouble}


async def test_a_run_under_way_tells_for_how_long(watched: Watched) -> None:
    watched.duties = [replace(DUTY, last_run_at=NOW - 50)]

    found = await told(watched)

    assert found["vectorflow_duty_duration_seconds", "garbage"] == 50
    assert found["vectorflow_duty_last_success_timestamp_seconds", "garbage"] == NOW - 90


async def test_a_run_that_failed_was_no_success(watched: Watched) -> None:
    watched.duties = [replace(DUTY, error="unavailable")]

    assert ("vectorflow_duty_last_success_timestamp_seconds", "garbage") not in await told(watched)


async def test_a_duty_that_never_ran_tells_no_times(watched: Watched) -> None:
    watched.duties = [replace(DUTY, last_run_at=None, ended_at=None)]

    found = await told(watched)

    assert {key[0] for key in found if "garbage" in key} == {"vectorflow_duty_trouble"}


@pytest.mark.parametrize("sends", [True, False])
async def test_a_sweep_of_a_broker_that_is_no_more_is_not_told_of(
    watched: Watched, sends: bool
) -> None:
    watched.duties = [replace(DUTY, name="sweep", next_run_at=NOW - 10_000), DUTY]

    found = await told(watched, sends=sends)

    duties = {key[1] for key in found if key[0] == "vectorflow_duty_trouble"}
    assert duties == ({"sweep", "garbage"} if sends else {"garbage"})
