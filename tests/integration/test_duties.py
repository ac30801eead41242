"""The recurring duties of a process: what one of them meets is no end of the others."""

import asyncio
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from vectorflow import settings
from vectorflow.errors import Unavailable
from vectorflow.ledger import duties, indexes, reads
from vectorflow.ledger.database import Database
from vectorflow.service.recover import Kept, run_due, standard_duties
from vectorflow.wiring import Parts


def given(folder: Path) -> settings.Settings:
    chosen = {"store": "memory://duties", "embedder": "hash:8"}
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
    return "reap" not in duties.waiting_duties(connection)


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
        kept = Kept(orphan_seconds=3600.0, vectors_seconds=0.0)
        all_duties = standard_duties(
            parts.database, parts.blobs, optimize, is_dead=None, lease_seconds=30.0, kept=kept
        )

        for duty in all_duties:
            await run_due(parts.database, duty)

        assert looked_after == ["here"]
        assert (await done(parts.database))["optimize"] == "1 of 2 indexes looked after"


async def done(database: Database) -> dict[str, str | None]:
    return {view.name: view.last_result for view in await database.read(reads.duty_list)}
