"""The backlog: what waits, what runs and what is blocked; for people, and for what starts workers.

Each figure counts to `COUNTED_TO` and no further, by the index that claims read: in a ledger of a
million batches it costs what it costs in one of some ten thousand.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, literal, select, union_all

from vectorflow.domain.jobs import LANES, BatchKind, BatchState, JobState, Lane, VersionState
from vectorflow.ledger import clock
from vectorflow.ledger.tables import batches, jobs, versions

COUNTED_TO = 10_000
"""A figure that is as large means this or more."""

STATES = BatchState.READY, BatchState.LEASED, BatchState.PAUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Batches that wait or run."""

    ready: int = 0
    """A worker could take them now."""
    leased: int = 0
    """Workers hold them."""
    delayed: int = 0
    """They are ready later: they are tried again, or wait until a lost worker is surely done."""
    paused: int = 0
    """They wait for their jobs, which are paused."""
    oldest_seconds: float | None = None
    """For how long the one that is ready longest waits; of those that are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """All that is to be done."""

    lines: Mapping[tuple[Lane, BatchKind], Waiting]
    waiting_versions: int
    """Versions of documents for which an older one has to end first."""
    paused_jobs: Mapping[str, int]
    """Jobs that are paused, by reason."""

    @property
    def total(self) -> Waiting:
        """All lines together."""
        lines = self.lines.values()
        waits = [line.oldest_seconds for line in lines if line.oldest_seconds is not None]
        return Waiting(
            ready=sum(line.ready for line in lines),
            leased=sum(line.leased for line in lines),
            delayed=sum(line.delayed for line in lines),
            paused=sum(line.paused for line in lines),
            oldest_seconds=max(waits, default=None),
        )


def backlog(connection: Connection) -> Backlog:
    """Read the backlog of all tenants."""
    parts = [_count(lane, kind, state) for lane in LANES for kind in BatchKind for state in STATES]
    rows = connection.execute(union_all(*parts))
    counts = {(row.lane, row.kind, row.state): row for row in rows}
    return Backlog(
        lines={
            (lane, kind): _waiting(*(counts[lane, kind, state] for state in STATES))
            for lane in LANES
            for kind in BatchKind
        },
        waiting_versions=_waiting_versions(connection),
        paused_jobs=_paused_jobs(connection),
    )


def _waiting(ready: Row[Any], leased: Row[Any], paused: Row[Any]) -> Waiting:
    due = int(ready.due or 0)
    return Waiting(
        ready=due,
        leased=leased.counted,
        delayed=ready.counted - due,
        paused=paused.counted,
        oldest_seconds=None if ready.oldest is None else max(0.0, round(ready.oldest, 3)),
    )


def _count(lane: Lane, kind: BatchKind, state: BatchState) -> Select[*tuple[Any, ...]]:
    """Count in the order of claims, so that it is their index which is read."""
    some = (
        select(batches.c.run_at)
        .where(batches.c.state == state, batches.c.kind == kind, batches.c.lane == lane)
        .order_by(batches.c.virtual_time)
        .limit(COUNTED_TO)
        .subquery()
    )
    due = some.c.run_at <= clock.now()
    return select(
        literal(int(lane)).label("lane"),
        literal(kind.value).label("kind"),
        literal(state.value).label("state"),
        func.count().label("counted"),
        func.sum(case((due, 1), else_=0)).label("due"),
        (clock.now() - func.min(case((due, some.c.run_at)))).label("oldest"),
    ).select_from(some)


def _waiting_versions(connection: Connection) -> int:
    """Count in open jobs, and look at no more of these than anything is counted to."""
    opened = (
        select(jobs.c.id)
        .where(jobs.c.state.in_([JobState.RUNNING, JobState.PAUSED]))
        .limit(COUNTED_TO)
        .subquery()
    )
    some = (
        select(versions.c.id)
        .join(opened, opened.c.id == versions.c.job_id)
        .where(versions.c.state == VersionState.WAITING)
        .limit(COUNTED_TO)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def _paused_jobs(connection: Connection) -> dict[str, int]:
    paused = select(jobs.c.paused).where(jobs.c.state == JobState.PAUSED).limit(COUNTED_TO)
    return dict(Counter(why["reason"] for why in connection.execute(paused).scalars() if why))
