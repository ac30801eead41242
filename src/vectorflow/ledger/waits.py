"""What is away and what fails, for people who wonder why their job does not get on."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from vectorflow.domain.jobs import OPEN_BATCHES, BatchKind, BatchState
from vectorflow.domain.outages import System, SystemKind
from vectorflow.ledger.backlog import COUNTED_TO
from vectorflow.ledger.outages import SHUT, BucketState, waited_for
from vectorflow.ledger.tables import batches, buckets, jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A store, provider or webhook that does not answer."""

    system: str
    message: str
    since: float
    next_try_at: float | None
    """None while a try is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingCleanup:
    """What deletes and failed when it was tried last; old records stay until it goes well."""

    batches: int
    """Counted to `COUNTED_TO`."""
    message: str
    """Of one of them."""
    fix: str


def failing_cleanup(connection: Connection) -> FailingCleanup | None:
    """Read what of the clean-up fails; what waits for a system that is away is not in it."""
    errors = connection.execute(
        select(batches.c.last_error)
        .where(
            batches.c.state == BatchState.READY,
            batches.c.kind == BatchKind.RETIRE,
            batches.c.last_error.is_not(None),
        )
        .limit(COUNTED_TO)
    ).scalars()
    found = errors.all()
    if not found:
        return None
    return FailingCleanup(batches=len(found), message=found[0]["message"], fix=found[0]["fix"])


def waits(connection: Connection) -> list[Waiting]:
    """Read all that is away and waited for."""
    rows = connection.execute(select(buckets).where(waited_for()).order_by(buckets.c.id))
    return [_waiting(row) for row in rows]


def waits_of(connection: Connection, ids: Collection[int]) -> dict[int, Waiting]:
    """Read what these jobs wait for; of several systems the one that went away first."""
    shut = connection.execute(
        select(buckets).where(buckets.c.state.in_(SHUT)).order_by(buckets.c.away_since.desc())
    ).all()
    found: dict[int, Waiting] = {}
    for row in shut:
        own = select(batches.c.id).where(
            batches.c.job_id == jobs.c.id,
            batches.c.state.in_(OPEN_BATCHES),
            batches.c.bucket_id == row.id,
        )
        held = select(jobs.c.id).where(jobs.c.id.in_(ids), own.correlate(jobs).exists())
        found |= dict.fromkeys(connection.execute(held).scalars(), _waiting(row))
    return found


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(
        system=str(System(SystemKind(row.kind), row.name)),
        message=row.error["message"],
        since=row.away_since,
        next_try_at=None if row.state == BucketState.PROBING else row.paused_until,
    )
