"""The recurring duties: what keeps jobs from hanging and disks from filling."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from vectorflow.errors import VectorFlowError
from vectorflow.ledger import claims, duties, standstill, submission
from vectorflow.ledger.database import Database
from vectorflow.ports.blob_store import BlobStore

log = logging.getLogger(__name__)

REAP_SECONDS = 3.0
"""The longest that a lease which has run out is overlooked."""

BLOB_KINDS = ("uploads/", "manifests/", "vectors/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Recurring work, idempotent, run by one process at a time."""

    name: str
    every: float
    """Seconds."""
    run: Callable[[], Awaitable[str]]
    """Does it, and says what it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How long blobs are kept, in seconds."""

    orphan_seconds: float
    """To which nothing refers; longer than any intake takes."""
    vectors_seconds: float
    """Of delivered vectors, from the end of their job."""


def standard_duties(
    database: Database,
    blobs: BlobStore,
    optimize: Callable[[str, str], Awaitable[None]],
    *,
    is_dead: Callable[[str], bool] | None,
    lease_seconds: float,
    kept: Kept,
) -> list[Duty]:
    """All duties of a worker that reaches the ledger.

    `optimize` takes locator and name of an index and does nothing for stores without upkeep.
    `is_dead` tells whether a lister of this machine has ended; None where listers may be elsewhere.
    """
    return [
        Duty(name="reap", every=min(lease_seconds / 3, REAP_SECONDS), run=partial(_reap, database)),
        Duty(name="listings", every=10.0, run=partial(_listings, database, is_dead)),
        Duty(
            name="garbage",
            every=600.0,
            run=partial(_collect, database, blobs, kept),
        ),
        Duty(name="optimize", every=300.0, run=partial(_optimize, database, optimize)),
    ]


async def run_due(database: Database, duty: Duty) -> None:
    """Run a duty if it is due and not taken by another process."""
    if duty.name in await database.read(duties.waiting_duties):
        return
    claim = partial(duties.claim_duty, name=duty.name, every=duty.every)
    if await database.write(claim):
        result = await duty.run()
        await database.write(partial(duties.note_duty, name=duty.name, result=result))


async def _reap(database: Database) -> str:
    await database.write(standstill.end_standing_transactions)
    return f"{await database.write(claims.reap)} lost batches handed out again"


async def _listings(database: Database, is_dead: Callable[[str], bool] | None) -> str:
    ended = await database.write(partial(submission.end_dead_listings, is_dead=is_dead))
    return f"{ended} dead listings ended"


async def _collect(database: Database, blobs: BlobStore, kept: Kept) -> str:
    """Delete blobs that nothing refers to; young ones may belong to an intake under way.

    Candidates are listed before the ledger is asked, so that what is committed between counts.
    """
    candidates = [key async for key in _old_blobs(blobs, kept.orphan_seconds)]
    needed = await database.read(
        partial(duties.referenced_blobs, vectors_seconds=kept.vectors_seconds)
    )
    orphans = [key for key in candidates if key not in needed]
    await blobs.delete(orphans)
    return f"{len(orphans)} of {len(candidates)} blobs deleted"


async def _old_blobs(blobs: BlobStore, orphan_seconds: float) -> AsyncIterator[str]:
    for kind in BLOB_KINDS:
        async for blob in blobs.list(kind):
            if blob.age > orphan_seconds:
                yield blob.key


async def _optimize(database: Database, optimize: Callable[[str, str], Awaitable[None]]) -> str:
    """Look after every index; one whose store is away keeps no other waiting."""
    found = await database.read(duties.written_indexes)
    failed = 0
    for locator, name in found:
        try:
            await optimize(locator, name)
        except VectorFlowError as error:
            log.warning("index_not_optimized", extra={"index": name, "error": error.code})
            failed += 1
    return f"{len(found) - failed} of {len(found)} indexes looked after"
