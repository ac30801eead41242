"""The clock of the database was set back: what was to happen soon must not wait for it twice.

Set forward, it only makes leases run out early, and who held them is fenced.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, case, or_, select, update

from vectorflow.domain.jobs import BatchKind, BatchState
from vectorflow.ledger import reads
from vectorflow.ledger.duties import STEP_SECONDS, claim_duty
from vectorflow.ledger.locking import locked_slices
from vectorflow.ledger.submission import LISTING_SECONDS
from vectorflow.ledger.tables import batches, buckets, duties, jobs

LOOK = "clock"
"""The duty whose last run is when the clock was last looked at."""

WAITING = (BatchState.READY, BatchState.PAUSED)

BUCKET_TIMES = (
    buckets.c.paused_until,
    buckets.c.failed_at,
    buckets.c.away_since,
    buckets.c.answered_at,
)


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
    until = Limits(now, retire=now + zombie_seconds, lease=now + lease_seconds)
    _bring_batches_forward(connection, until)
    _shorten_listings(connection, now + LISTING_SECONDS)
    _let_try(connection, now)
    return back


class Limits(NamedTuple):
    """When at the latest something happens from now on."""

    due: float
    retire: float
    lease: float

    def of(self, batch: Row[Any]) -> tuple[str, float] | None:
        """Name what of a batch comes later than it may, and when it may."""
        if batch.state == BatchState.LEASED:
            return ("lease_until", self.lease) if batch.lease_until > self.lease else None
        limit = self.retire if batch.kind == BatchKind.RETIRE else self.due
        return ("run_at", limit) if batch.state in WAITING and batch.run_at > limit else None


def _bring_batches_forward(connection: Connection, until: Limits) -> None:
    """All kinds in one order of id, as others lock batches of all kinds too."""
    waits = batches.c.state.in_(WAITING) & (batches.c.run_at > until.due)
    held = (batches.c.state == BatchState.LEASED) & (batches.c.lease_until > until.lease)
    for rows in locked_slices(connection, batches, waits | held):
        late: defaultdict[tuple[str, float], list[int]] = defaultdict(list)
        for row in rows:
            if limit := until.of(row):
                late[limit].append(row.id)
        for (name, until_then), ids in late.items():
            sooner = update(batches).where(batches.c.id.in_(ids))
            connection.execute(sooner.values({name: until_then}))


def _shorten_listings(connection: Connection, until: float) -> None:
    late = jobs.c.docs_total.is_(None) & (jobs.c.listing_until > until)
    for rows in locked_slices(connection, jobs, late, key_share=True):
        shorter = update(jobs).where(jobs.c.id.in_([row.id for row in rows]))
        connection.execute(shorter.values(listing_until=until))


def _let_try(connection: Connection, now: float) -> None:
    """Let somebody see whether what was away is back, and count anew if it is not.

    A failure that lies ahead would be taken for one that is known of already.
    """
    for rows in locked_slices(connection, buckets, or_(*(time > now for time in BUCKET_TIMES))):
        sooner = update(buckets).where(buckets.c.id.in_([row.id for row in rows]))
        no_later = {time.name: case((time > now, now), else_=time) for time in BUCKET_TIMES}
        connection.execute(sooner.values(no_later))
