"""The clock of the database was set back: what was to happen soon must not wait for it twice.

Set forward, it only makes leases run out early, and who held them is fenced.
"""

from sqlalchemy import Connection, select, update

from vectorflow.domain.jobs import BatchKind, BatchState
from vectorflow.ledger import reads
from vectorflow.ledger.duties import STEP_SECONDS, claim_duty
from vectorflow.ledger.slices import slices
from vectorflow.ledger.submission import LISTING_SECONDS
from vectorflow.ledger.tables import batches, buckets, duties, jobs

LOOK = "clock"
"""The duty whose last run is when the clock was last looked at."""


def follow(connection: Connection, *, lease_seconds: float, zombie_seconds: float) -> float:
    """Give the seconds by which the clock was set back since the last look; mostly 0.

    What lies ahead is then due now, but for what has to be waited for: a lease is left what it has
    from its beginning, and a clean-up the time in which a worker may still write that lost its own.
    """
    seen = select(duties.c.last_run_at).where(duties.c.name == LOOK).with_for_update()
    before, now = connection.execute(seen).scalar_one_or_none(), reads.now(connection)
    if before is None:
        claim_duty(connection, LOOK, every=0.0)
        return 0.0
    back = float(before) - now
    result = f"set back by {back:.0f} s" if back > STEP_SECONDS else "goes on"
    looked = {"last_run_at": now, "ended_at": now, "next_run_at": now, "last_result": result}
    connection.execute(update(duties).where(duties.c.name == LOOK).values(looked))
    if back <= STEP_SECONDS:
        return 0.0
    _let_be_due(connection, now, zombie_seconds)
    _shorten(connection, now, lease_seconds)
    _let_try(connection, now)
    return back


def _let_be_due(connection: Connection, now: float, zombie_seconds: float) -> None:
    waits = batches.c.state.in_([BatchState.READY, BatchState.PAUSED])
    for kinds, until in (
        (batches.c.kind != BatchKind.RETIRE, now),
        (batches.c.kind == BatchKind.RETIRE, now + zombie_seconds),
    ):
        ahead = select(batches.c.id).where(waits, kinds, batches.c.run_at > until)
        locked = connection.execute(ahead.order_by(batches.c.id).with_for_update())
        for ids in slices(list(locked.scalars())):
            due = update(batches).where(batches.c.id.in_(ids))
            connection.execute(due.values(run_at=until))


def _shorten(connection: Connection, now: float, lease_seconds: float) -> None:
    """Leases of batches, and then of listings."""
    until = now + lease_seconds
    held = batches.c.state == BatchState.LEASED, batches.c.lease_until > until
    found = select(batches.c.id).where(*held).order_by(batches.c.id).with_for_update()
    for ids in slices(list(connection.execute(found).scalars())):
        shorter = update(batches).where(batches.c.id.in_(ids))
        connection.execute(shorter.values(lease_until=until))
    until = now + LISTING_SECONDS
    listed = select(jobs.c.id).where(jobs.c.docs_total.is_(None), jobs.c.listing_until > until)
    locked = connection.execute(listed.order_by(jobs.c.id).with_for_update(key_share=True))
    for ids in slices(list(locked.scalars())):
        shorter = update(jobs).where(jobs.c.id.in_(ids))
        connection.execute(shorter.values(listing_until=until))


def _let_try(connection: Connection, now: float) -> None:
    """Let somebody see whether what was away is back."""
    paused = select(buckets.c.id).where(buckets.c.paused_until > now).order_by(buckets.c.id)
    for ids in slices(list(connection.execute(paused.with_for_update()).scalars())):
        connection.execute(update(buckets).where(buckets.c.id.in_(ids)).values(paused_until=now))
