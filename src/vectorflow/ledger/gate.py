"""What a claim passes over while systems are away, and how batches come back after that.

Batches that a claim comes across are set aside, each once for an outage, so that no later claim
reads them. A claim holds locks here and waits for none: buckets that others hold are left alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from vectorflow.domain.jobs import BatchKind, BatchState, JobState
from vectorflow.domain.outages import SystemKind
from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger import clock, shares
from vectorflow.ledger.locking import free_ids, one_free
from vectorflow.ledger.outages import SHUT, BucketState, needs, not_open
from vectorflow.ledger.tables import batches, buckets, jobs

_AWAY = select(buckets.c.id).where(not_open()).limit(1)
_KEPT = (batches.c.kind != BatchKind.RETIRE) & batches.c.job_id.in_(
    select(jobs.c.id).where(jobs.c.state == JobState.PAUSED)
)
"""What no claim is given, as its job is paused."""

MOVED_AT_ONCE = 1000
"""Batches set aside or made ready by one claim, for each system; the next claims go on."""


class Gate:
    """Decides for one claim which batches must wait for a system that is away."""

    def __init__(
        self, connection: Connection, kinds: Sequence[BatchKind], *, probe_seconds: float
    ) -> None:
        """Look at what is away, and let out what need not wait any more."""
        self._connection = connection
        self._probe_seconds = probe_seconds
        self._shut: dict[tuple[str, str], Row[Any]] = {}
        self._due: set[int] = set()
        """Buckets whose pause is over, so that one batch may go and see."""
        self._probes: set[int] = set()
        self._moved: defaultdict[int, int] = defaultdict(int)
        self._mine: set[int] = set()
        """Buckets that this claim has locked; of the others nothing is changed."""
        if connection.execute(_AWAY).first() is not None:
            self._open(kinds)

    def passing(
        self, rows: Sequence[Row[Any]], specs: Mapping[int, Pipeline]
    ) -> list[Row[Any]] | None:
        """Leave out what must wait; None where some was set aside, and more may be ready."""
        if not self._shut:
            return list(rows)
        free: set[int] = set()
        held: defaultdict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: (row.lease_epoch, row.id)):
            barring = self._barring(row, specs[row.pipeline_id])
            if not barring or row.id in self._probes or self._probe(row, barring):
                free.add(row.id)
            else:
                held[barring[0].kind, barring[0].name].append(row)
        moved = [self._set_aside(self._shut[name], some) for name, some in held.items()]
        if any(moved):
            return None
        return [row for row in rows if row.id in free]

    def _open(self, kinds: Sequence[BatchKind]) -> None:
        away = self._connection.execute(select(buckets).where(not_open())).all()
        locked = self._connection.execute(
            select(buckets, (buckets.c.paused_until <= clock.now()).label("due"))
            .where(not_open())
            .order_by(buckets.c.id)
            .with_for_update(skip_locked=True)
        ).all()
        self._mine = {row.id for row in locked}
        kept = [row for row in away if row.id not in self._mine]
        for row in (*kept, *locked):
            if row.state in SHUT:
                self._shut[row.kind, row.name] = row
        for row in locked:
            if row.state == BucketState.OPENING:
                self._let_out(row.id)
            elif row.state in SHUT and row.due:
                self._due.add(row.id)
                self._let_one_out(row.id, kinds)
        shares.settle(self._connection)  # before these are claimed; a claim waits for nothing later

    def _barring(self, row: Row[Any], pipeline: Pipeline) -> list[Row[Any]]:
        names = [(one.kind.value, one.name) for one in needs(row, pipeline)]
        return [self._shut[name] for name in names if name in self._shut]

    def _probe(self, row: Row[Any], barring: Iterable[Row[Any]]) -> bool:
        """Let this batch see whether the systems are back, if it is time for all of them."""
        ids = {bucket.id for bucket in barring}
        if not ids <= self._due:
            return False
        self._due -= ids
        self._probes.add(row.id)
        self._connection.execute(
            update(batches).where(batches.c.id == row.id).values(bucket_id=min(ids))
        )
        self._connection.execute(
            update(buckets)
            .where(buckets.c.id.in_(ids))
            .values(state=BucketState.PROBING, paused_until=clock.now() + self._probe_seconds)
        )
        return True

    def _set_aside(self, bucket: Row[Any], held: Sequence[Row[Any]]) -> int:
        """Set batches aside, and more like them; gives how many, 0 if it must not be more."""
        if bucket.id not in self._mine or self._moved[bucket.id] >= MOVED_AT_ONCE:
            return 0
        ids = {row.id for row in held} | set(self._alike(bucket, held))
        self._connection.execute(
            update(batches)
            .where(batches.c.id.in_(ids))
            .values(state=BatchState.PAUSED, bucket_id=bucket.id)
        )
        self._moved[bucket.id] += len(ids)
        return len(ids)

    def _alike(self, bucket: Row[Any], held: Sequence[Row[Any]]) -> list[int]:
        """Lock what comes after these in line and needs the same system, for all that they tell.

        Not far after them: there may be a long line of what needs others.
        """
        same = attrgetter("job_id" if bucket.kind == SystemKind.WEBHOOK else "pipeline_id")
        known = {same(row) for row in held}
        ready = batches.c.state == BatchState.READY
        ids: set[int] = set()
        for line in {(row.lane, row.kind) for row in held}:
            start = min(row.virtual_time for row in held if (row.lane, row.kind) == line)
            after = (
                select(batches.c.id, batches.c.job_id, batches.c.pipeline_id)
                .where(ready, batches.c.kind == line[1], batches.c.lane == line[0])
                .where(batches.c.virtual_time >= start)
                .order_by(batches.c.virtual_time, batches.c.run_at, batches.c.id)
                .limit(MOVED_AT_ONCE)
            )
            found = self._connection.execute(after)
            ids.update(row.id for row in found if same(row) in known)
        return free_ids(self._connection, batches, ready, ids - self._probes)

    def _let_one_out(self, bucket: int, kinds: Sequence[BatchKind]) -> None:
        """Make the batch ready that was tried the least: it is no suspect of any kind."""
        which = _waiting(bucket) & batches.c.kind.in_(kinds) & ~_KEPT
        one = one_free(self._connection, batches, which, batches.c.lease_epoch, batches.c.id)
        if one is None:
            self._leave_to_jobs(bucket)
        else:
            self._connection.execute(
                update(batches).where(batches.c.id == one).values(state=BatchState.READY)
            )

    def _leave_to_jobs(self, bucket: int) -> None:
        """Let go of what waits for a paused job as well, or each claim would read past it.

        It is ready then, as all that comes back to such a job, and is soon set aside for it alone.
        """
        waiting = _waiting(bucket)
        kept = select(batches.c.id).where(waiting, _KEPT).limit(MOVED_AT_ONCE)
        found = self._connection.execute(kept).scalars().all()
        ids = free_ids(self._connection, batches, waiting, found)
        self._connection.execute(
            update(batches)
            .where(batches.c.id.in_(ids))
            .values(state=BatchState.READY, bucket_id=None)
        )

    def _let_out(self, bucket: int) -> None:
        """Make ready what waited for a system that is back."""
        found = self._connection.execute(
            select(batches)
            .where(_waiting(bucket))
            .limit(MOVED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        anew = {"bucket_id": None, "virtual_time": shares.NOT_YET.virtual_time}
        self._connection.execute(
            update(batches)
            .where(batches.c.id.in_([row.id for row in found]))
            .values(state=BatchState.READY, **anew)
        )
        shares.note(self._connection, map(shares.unplaced, found))
        if self._connection.execute(select(batches.c.id).where(_waiting(bucket)).limit(1)).first():
            return
        self._connection.execute(
            update(buckets).where(buckets.c.id == bucket).values(state=BucketState.OPEN)
        )


def _waiting(bucket: int) -> ColumnElement[bool]:
    return (batches.c.bucket_id == bucket) & (batches.c.state == BatchState.PAUSED)
