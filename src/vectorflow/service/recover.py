"""The recurring duties: what keeps jobs from hanging and disks from filling."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from vectorflow.errors import VectorFlowError
from vectorflow.ledger import (
    clock_steps,
    duties,
    losses,
    outages,
    standstill,
    submission,
    transitions,
)
from vectorflow.ledger.database import Database
from vectorflow.ledger.retention import Retention
from vectorflow.ledger.slices import slices
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.queue import WakeUp
from vectorflow.service.duties import SWEEP
from vectorflow.service.retention import forget

log = logging.getLogger(__name__)

REAP_SECONDS = 3.0
"""The longest that a lease which has run out is overlooked."""

UNEXPECTED = "unexpected"
"""Code of errors that are none of ours."""

BLOB_KINDS = ("uploads/", "attached/", "manifests/", "vectors/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Recurring work, idempotent, run by one process at a time."""

    name: str
    every: float
    """Seconds."""
    run: Callable[[], Awaitable[str]]
    """Does it, and says what it did."""
    heavy: bool = False
    """It may take hundreds of megabytes and a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long leases last, in seconds."""

    seconds: float
    zombie_seconds: float
    """The longest a worker that lost its lease may still write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How long things are kept, in seconds."""

    orphan_seconds: float
    """Of blobs to which nothing refers; longer than any intake takes."""
    vectors_seconds: float
    """Of delivered vectors, from the end of their job."""
    rows: Retention


def standard_duties(
    database: Database,
    blobs: BlobStore,
    optimize: Callable[[str, str], Awaitable[None]],
    *,
    is_dead: Callable[[str], bool] | None,
    leases: LeaseTimes,
    kept: Kept,
) -> list[Duty]:
    """All duties of a worker that reaches the ledger.

    `optimize` takes locator and name of an index and does nothing for stores without upkeep.
    `is_dead` tells whether a lister of this machine has ended; None where listers may be elsewhere.
    """
    return [
        Duty(
            name="reap",
            every=min(leases.seconds / 3, REAP_SECONDS),
            run=partial(_reap, database, leases),
        ),
        Duty(name="listings", every=10.0, run=partial(_listings, database, is_dead)),
        Duty(
            name="garbage",
            every=600.0,
            run=partial(_collect, database, blobs, kept),
        ),
        Duty(name="forget", every=3600.0, run=partial(forget, database, kept.rows)),
        Duty(
            name="optimize",
            every=300.0,
            run=partial(_optimize, database, optimize),
            heavy=True,
        ),
    ]


def sweep_duty(
    database: Database, wake: Callable[[Collection[WakeUp]], None], *, seconds: float
) -> Duty:
    """Wake workers again for what waits longer than `seconds`: the first message may be lost."""

    async def sweep() -> str:
        found = await database.read(partial(duties.overlooked, seconds=seconds))
        wake(found)
        return f"{len(found)} kinds of work overlooked"

    return Duty(name=SWEEP, every=max(seconds / 3, 1.0), run=sweep)


async def run_due(database: Database, duty: Duty, *, patience: float = 0.0) -> None:
    """Run a duty if it is due and not taken by another process.

    A heavy one is left to others for so many seconds after it is due. What it raises is noted, and
    raised.
    """
    patience = patience if duty.heavy else 0.0
    runs = await database.read(duties.next_runs)
    if patience and duty.name not in runs:  # where there are no others it must come to be overdue
        await database.write(partial(duties.expect_duty, name=duty.name, every=duty.every))
        return
    if runs.get(duty.name, 0.0) + patience > 0:
        return
    claim = partial(duties.claim_duty, name=duty.name, every=duty.every)
    if not await database.write(claim):
        return
    try:
        result = await duty.run()
    except Exception as error:
        code = error.code if isinstance(error, VectorFlowError) else UNEXPECTED
        failed = partial(duties.note_failed_duty, name=duty.name, code=code, every=duty.every)
        with suppress(VectorFlowError):  # the ledger may be what failed
            await database.write(failed)
        raise
    await database.write(partial(duties.note_duty, name=duty.name, result=result))


async def _reap(database: Database, leases: LeaseTimes) -> str:
    zombie_seconds = leases.zombie_seconds
    await database.write(standstill.end_standing_transactions)
    follow = partial(clock_steps.follow, lease_seconds=leases.seconds)
    if back := await database.write(partial(follow, zombie_seconds=zombie_seconds)):
        log.warning("clock_set_back", extra={"seconds": round(back)})
    lost = await database.write(partial(losses.reap, zombie_seconds=zombie_seconds))
    await database.write(partial(transitions.give_way, zombie_seconds=zombie_seconds))
    await database.write(transitions.set_rest_aside)
    await database.write(outages.forget)
    return f"{lost} lost batches handed out again"


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
    for some in slices(orphans):
        await blobs.delete(some)
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
