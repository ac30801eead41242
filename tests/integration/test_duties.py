"""The recurring duties of a process: what one of them meets is no end of the others."""

import asyncio
import os
from functools import partial
from pathlib import Path

from vectorflow import settings
from vectorflow.errors import Unavailable
from vectorflow.ledger import indexes, reads
from vectorflow.ledger.database import Database
from vectorflow.service.recover import Kept, run_due, standard_duties
from vectorflow.wiring import Parts

LONG_AGO = 1_000_000_000.0


def opened(folder: Path) -> Parts:
    given = {"store": "memory://duties", "embedder": "hash:8"}
    return Parts(settings.load(given, environ={}, directory=folder))


async def test_a_file_that_somebody_put_beside_blobs_does_not_end_the_duties(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as parts:
        stray = parts.settings.data_dir / "blobs" / "uploads" / "00" / ".DS_Store"
        stray.parent.mkdir(parents=True)
        stray.touch()
        os.utime(stray, (LONG_AGO, LONG_AGO))

        async with parts.duties(), asyncio.timeout(10):
            while "optimize" not in await done(parts.database):  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.05)


async def test_an_index_whose_store_is_away_keeps_no_other_from_being_looked_after(
    tmp_path: Path,
) -> None:
    looked_after: list[str] = []

    async def optimize(_locator: str, index: str) -> None:
        if index == "away":
            raise Unavailable("the store does not answer")
        looked_after.append(index)

    async with opened(tmp_path) as parts:
        for name in ("away", "here"):
            open_index = partial(indexes.open_index, tenant="a", pipeline=parts.pipeline(name))
            await parts.database.write(open_index)
        await parts.database.write(
            lambda connection: connection.exec_driver_sql("UPDATE indexes SET written = 1")
        )
        kept = Kept(orphan_seconds=3600.0, vectors_seconds=0.0)
        all_duties = standard_duties(
            parts.database, parts.blobs, optimize, is_dead=None, lease_seconds=30.0, kept=kept
        )

        await run_due(parts.database, all_duties)

        assert looked_after == ["here"]
        assert (await done(parts.database))["optimize"] == "1 of 2 indexes looked after"


async def done(database: Database) -> dict[str, str | None]:
    return {view.name: view.last_result for view in await database.read(reads.duty_list)}
