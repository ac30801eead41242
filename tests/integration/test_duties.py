"""The recurring duties of a process: what one of them meets is no end of the others."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from vectorflow import asgi, settings
from vectorflow.errors import Unavailable
from vectorflow.ledger import duties, indexes, keys, reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.retention import Retention
from vectorflow.service.recover import Duty, Kept, LeaseTimes, run_due, standard_duties
from vectorflow.wiring import Parts
from vectorflow.wiring.api import DUTY_PATIENCE
from vectorflow.wiring.retention import how_long_kept

LEASES = LeaseTimes(seconds=30.0, zombie_seconds=60.0)

LONG = Retention(versions=1e9, attempts=1e9, jobs=1e9, failures=1e9, keys=1e9)

KEPT = Kept(orphan_seconds=3600.0, vectors_seconds=0.0, rows=LONG)


def given(folder: Path) -> settings.Settings:
    chosen = {"store": "memory://duties", "embedder": "hash:8", "api.key": "the-key"}
    return settings.load(chosen, environ={}, directory=folder)


async def written(parts: Parts, *names: str) -> None:
    """Make indexes that hold records."""
    for name in names:
        open_index = partial(indexes.open_index, tenant="a", pipeline=parts.pipeline(name))
        await parts.database.write(open_index)
    await parts.database.write(
        lambda connection: connection.exec_driver_sql("UPDATE indexes SET written = 1")
    )


class Broken(Parts):
    """Its optimizing has a fault that nobody foresaw."""

    def __init__(self, given: settings.Settings) -> None:
        super().__init__(given)
        self.broke = asyncio.Event()

    async def optimize(self, locator: str, index: str) -> None:
        self.broke.set()
        raise ZeroDivisionError(locator, index)


async def test_a_fault_in_one_duty_does_not_end_the_others(tmp_path: Path) -> None:
    async with Broken(given(tmp_path)) as parts:
        await written(parts, "docs")

        async with parts.duties(), asyncio.timeout(10):
            await _reaps_after_that(parts)


class Slow(Broken):
    """Its optimizing takes for ever."""

    async def optimize(self, locator: str, index: str) -> None:
        self.broke.set()
        await asyncio.Event().wait()


async def test_a_duty_that_takes_long_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with Slow(given(tmp_path)) as parts:
        await written(parts, "docs")

        async with parts.duties(), asyncio.timeout(10):
            await _reaps_after_that(parts)


async def _reaps_after_that(parts: Broken) -> None:
    await parts.broke.wait()
    await parts.database.write(_make_reaping_due)
    while await parts.database.read(_is_reaping_due):  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0.05)


def _make_reaping_due(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE duties SET next_run_at = 1 WHERE name = 'reap'")


def _is_reaping_due(connection: Connection) -> bool:
    return duties.next_runs(connection)["reap"] <= 0


async def test_an_index_whose_store_is_away_keeps_no_other_from_being_looked_after(
    tmp_path: Path,
) -> None:
    looked_after: list[str] = []

    async def optimize(_locator: str, index: str) -> None:
        if index == "away":
            raise Unavailable("the store does not answer")
        looked_after.append(index)

    async with Parts(given(tmp_path)) as parts:
        await written(parts, "away", "here")
        all_duties = standard_duties(
            parts.database, parts.blobs, optimize, is_dead=None, leases=LEASES, kept=KEPT
        )

        for duty in all_duties:
            await run_due(parts.database, duty)

        assert looked_after == ["here"]
        assert (await done(parts.database))["optimize"] == "1 of 2 indexes looked after"


async def done(database: Database) -> dict[str, str | None]:
    return {view.name: view.last_result for view in await database.read(reads.duty_list)}


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Unavailable("the store does not answer"), "unavailable"), (KeyError("text"), "unexpected")],
)
async def test_a_duty_that_fails_says_so_and_is_tried_again_soon(
    tmp_path: Path, fault: Exception, code: str
) -> None:
    faults = [fault]

    async def run() -> str:
        if faults:
            raise faults.pop()
        return "done at last"

    duty = Duty(name="faulty", every=3600.0, run=run)
    async with Parts(given(tmp_path)) as parts:
        with pytest.raises(type(fault)):
            await run_due(parts.database, duty)

        (view,) = await parts.database.read(reads.duty_list)
        assert (view.error, view.last_result, view.running) == (code, None, False)
        assert view.last_run_at is not None
        assert 59 < view.next_run_at - view.last_run_at < 3000

        await parts.database.write(
            lambda connection: connection.exec_driver_sql("UPDATE duties SET next_run_at = 1")
        )
        await run_due(parts.database, duty)
        (view,) = await parts.database.read(reads.duty_list)
        assert (view.error, view.last_result) == (None, "done at last")


async def test_what_is_over_is_forgotten_by_a_duty_as_the_settings_say(tmp_path: Path) -> None:
    async with Parts(given(tmp_path)) as parts:
        all_duties = standard_duties(
            parts.database,
            parts.blobs,
            parts.optimize,
            is_dead=None,
            leases=LEASES,
            kept=how_long_kept(parts.settings),
        )
        await parts.database.write(partial(_add_key, ended_days_ago=89))
        await parts.database.write(partial(_add_key, ended_days_ago=91))
        await parts.database.write(partial(_add_key, ended_days_ago=0))

        for duty in all_duties:
            await run_due(parts.database, duty)

        assert (await done(parts.database))["forget"] == "let go of keys 1"
        listed = await parts.database.read(partial(keys.key_list, tenant="default"))
        assert [view.name for view in listed] == ["ended 89", "ended 0"]


def _add_key(connection: Connection, *, ended_days_ago: int) -> None:
    keys.issue_key(
        connection,
        tenant="default",
        name=f"ended {ended_days_ago}",
        expires_in=-86_400.0 * ended_days_ago,
    )


def upkeep(parts: Parts) -> tuple[Duty, list[str]]:
    """Give the heavy duty of looking after indexes, and the names of those that it has seen to."""
    looked_after: list[str] = []

    async def optimize(_locator: str, index: str) -> None:
        looked_after.append(index)

    *_, duty = standard_duties(
        parts.database, parts.blobs, optimize, is_dead=None, leases=LEASES, kept=KEPT
    )
    return duty, looked_after


async def test_who_must_stay_small_leaves_an_overdue_index_to_others_for_a_while(
    tmp_path: Path,
) -> None:
    async with Parts(given(tmp_path)) as parts:
        await written(parts, "here")
        duty, looked_after = upkeep(parts)
        await parts.database.write(partial(_make_due, name="optimize", seconds=590))

        await run_due(parts.database, duty, patience=600.0)
        assert looked_after == []

        await parts.database.write(partial(_make_due, name="optimize", seconds=610))
        await run_due(parts.database, duty, patience=600.0)
        assert looked_after == ["here"]


async def test_who_must_stay_small_looks_after_an_index_where_nobody_else_does(
    tmp_path: Path,
) -> None:
    async with Parts(given(tmp_path)) as parts:
        await written(parts, "here")
        duty, looked_after = upkeep(parts)
        for _ in range(2):
            await run_due(parts.database, duty, patience=600.0)
        assert looked_after == []
        (view,) = await parts.database.read(reads.duty_list)
        assert (view.name, view.last_run_at, view.running) == ("optimize", None, False)

        await parts.database.write(
            lambda connection: connection.exec_driver_sql(
                "UPDATE duties SET next_run_at = next_run_at - 601"
            )
        )
        await run_due(parts.database, duty, patience=600.0)

        assert looked_after == ["here"]


async def test_servers_of_others_leave_heavy_duties_to_workers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    @asynccontextmanager
    async def duties_for(_: Parts, *, patience: float = 0.0) -> AsyncGenerator[None]:
        asked.append(patience)
        yield

    monkeypatch.setattr(Parts, "duties", duties_for)
    monkeypatch.setattr(asgi, "configure", lambda *_, **__: None)
    monkeypatch.setattr(asgi, "load", lambda: given(tmp_path))
    async with AsyncExitStack() as stack:
        await asgi._opened(stack)  # noqa: SLF001 - all that a server starts

    assert asked == [DUTY_PATIENCE]


def _make_due(connection: Connection, *, name: str, seconds: int) -> None:
    """Let a duty be overdue by so many seconds."""
    duties.claim_duty(connection, name, every=-float(seconds))
