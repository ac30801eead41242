"""Systems that are away: noted when a batch fails, forgotten when one goes well.

A bucket is `open` but for what is away. It is `paused` until some time, then `probing` while one
batch goes to see, and `opening` while the batches that waited for it are made ready again.
"""

import random
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from itertools import product
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from vectorflow.domain.jobs import LANES, OPEN_BATCHES, BatchKind, BatchState, Outcome
from vectorflow.domain.outages import Patience, System, SystemKind, pause_after, systems_of
from vectorflow.domain.pipelines import Pipeline
from vectorflow.domain.retries import Decision, Pause, Wait
from vectorflow.errors import Transient, Unavailable, VectorFlowError
from vectorflow.ledger import clock, ready
from vectorflow.ledger.database import Overtaken
from vectorflow.ledger.locking import locked_rows
from vectorflow.ledger.new_batches import inserted_id
from vectorflow.ledger.specs import specs
from vectorflow.ledger.tables import attempts, batches, buckets
from vectorflow.ports.work import Finished

FORGET_AFTER = 24 * 3600.0
"""Seconds after which a system that answers again is none that was away."""

UNASKED = 600.0
"""Seconds in which nobody went to see a system that is away, though it was time: nobody needs it
any more if nothing waits for it."""

_chance = random.Random()  # noqa: S311 - jitter, not a secret


class BucketState(StrEnum):
    """See the docstring of the module."""

    OPEN = "open"
    PAUSED = "paused"
    PROBING = "probing"
    OPENING = "opening"


SHUT = (BucketState.PAUSED, BucketState.PROBING)

_SHUT = select(buckets).where(buckets.c.state.in_(SHUT))


def not_open() -> ColumnElement[bool]:
    """Which buckets a claim has to look at: none, nearly always."""
    return buckets.c.state != BucketState.OPEN


def waited_for() -> ColumnElement[bool]:
    """Which buckets are of systems that are away, as far as anybody goes to see.

    That is, where a batch waits: of what only a job needed that was cancelled, nobody finds out.
    """
    waits = select(batches.c.id).where(
        batches.c.bucket_id == buckets.c.id, batches.c.state.in_(OPEN_BATCHES)
    )
    return buckets.c.state.in_(SHUT) & waits.correlate(buckets).exists()


def judge(
    connection: Connection, batch: int, error: VectorFlowError, decision: Wait, patience: Patience
) -> tuple[VectorFlowError, Decision]:
    """Decide by what is known of the system that an error came from; nothing is locked yet.

    It is the batch that fails where the system is none that it needs, or served others since the
    batch failed last. After a whole outage somebody has to look.
    """
    row = connection.execute(select(batches).where(batches.c.id == batch)).one()
    system = _system_of(connection, row, error)
    if system is None:
        return error, decision.otherwise
    statement = select(buckets, (clock.now() - buckets.c.away_since).label("away"))
    known = connection.execute(statement.where(_is(system))).one_or_none()
    if known is None:
        return error, decision
    if known.state not in SHUT:
        served = _served_others(connection, row, known)
        return error, decision.otherwise if served else decision
    if known.away <= patience.outage:
        return error, decision
    message = f"{system} has been away for {known.away / 3600:.3g} hours: {error.message}"
    fix = error.fix or "bring it back, or see why it takes none of this"
    outage = Unavailable(message, fix=fix)
    outage.system = system.kind
    return outage, Pause(f"{system.kind}_unavailable")


def failed(
    connection: Connection, row: Row[Any], error: VectorFlowError, patience: Patience
) -> int:
    """Note that the system an error came from is away; gives the bucket to wait for."""
    system = _system_of(connection, row, error)
    if system is None:
        raise Overtaken
    wanted = _is(system) | buckets.c.id.in_(_probed([row]))
    locked = {(one.kind, one.name): one for one in locked_rows(connection, buckets, wanted)}
    known = locked.get((system.kind, system.name))
    if known is None:
        return _insert(connection, system, error, patience)
    if known.state not in SHUT:
        _pause(connection, known, error, patience, failures=1)
    elif row.leased_at >= known.failed_at:  # it went when the failure before was known
        _pause(connection, known, error, patience, failures=known.failures + 1)
    return int(known.id)


def finished(
    connection: Connection,
    results: Sequence[tuple[Row[Any], Finished]],
    ended: Collection[Row[Any]],
) -> None:
    """Open the buckets of systems without which these batches could not have gone well.

    Where one ended that went to see, and did not tell, let others go. All are locked in one order.
    """
    opening = _answered(connection, results)
    wanted = opening | _probed(ended)
    if not wanted:
        return
    locked_rows(connection, buckets, buckets.c.id.in_(wanted))
    if opening:
        connection.execute(
            update(buckets)
            .where(buckets.c.id.in_(opening), buckets.c.state.in_(SHUT))
            .values(state=BucketState.OPENING, failures=0, answered_at=clock.now())
        )
        for lane, kind in product(LANES, BatchKind):
            ready.note(connection, lane, kind)
    another_may_go(connection, ended)


def another_may_go(connection: Connection, ended: Iterable[Row[Any]]) -> None:
    """Let other batches see whether systems are back: those that went ended without telling.

    Where there are more than one, their buckets have to be locked before, in order.
    """
    if ids := _probed(ended):
        connection.execute(
            update(buckets)
            .where(buckets.c.id.in_(ids), buckets.c.state == BucketState.PROBING)
            .values(state=BucketState.PAUSED, paused_until=clock.now())
        )


def forget(connection: Connection) -> None:
    """Forget systems that answer again for long, and those away that nobody needs any more.

    Who needs one of these again finds out anew, and its outage begins then.
    """
    answers = (buckets.c.state == BucketState.OPEN) & (
        buckets.c.answered_at < clock.now() - FORGET_AFTER
    )
    unasked = buckets.c.state.in_(SHUT) & (buckets.c.paused_until < clock.now() - UNASKED)
    free = select(buckets.c.id).where(answers | unasked).with_for_update(skip_locked=True)
    for key in connection.execute(free).scalars().all():
        if not _is_needed(connection, key):
            connection.execute(delete(buckets).where(buckets.c.id == key))


def are_ending(connection: Connection) -> bool:
    """Whether a claim would find out, or tell, that a system is back."""
    due = buckets.c.state.in_(SHUT) & (buckets.c.paused_until <= clock.now())
    waits = select(batches.c.id).where(
        batches.c.bucket_id == buckets.c.id, batches.c.state == BatchState.PAUSED
    )
    opening = buckets.c.state == BucketState.OPENING
    found = select(buckets.c.id).where(opening | (due & waits.correlate(buckets).exists()))
    return connection.execute(found.limit(1)).first() is not None


def needs(row: Row[Any], pipeline: Pipeline) -> tuple[System, ...]:
    """List the systems that a batch cannot do without."""
    return systems_of(BatchKind(row.kind), pipeline, row.job_id)


def _system_of(connection: Connection, row: Row[Any], error: VectorFlowError) -> System | None:
    """Find the system by its kind; its name is the ledger's, whatever a worker says."""
    pipeline = specs(connection, {row.pipeline_id})[row.pipeline_id]
    return next((one for one in needs(row, pipeline) if one.kind == error.system), None)


def _answered(connection: Connection, results: Sequence[tuple[Row[Any], Finished]]) -> set[int]:
    """Find the buckets of systems that are taken to be away, and have served these batches."""
    shut = connection.execute(_SHUT).all()
    if not shut:
        return set()
    known = specs(connection, {row.pipeline_id for row, _ in results})
    proven = {
        (system.kind, system.name)
        for row, result in results
        for system in _proven(row, known[row.pipeline_id], result)
    }
    return {row.id for row in shut if (row.kind, row.name) in proven}


def _probed(ended: Iterable[Row[Any]]) -> set[int]:
    """Name the buckets for which these batches went to see."""
    return {row.bucket_id for row in ended if row.bucket_id is not None}


def _proven(row: Row[Any], pipeline: Pipeline, result: Finished) -> Iterable[System]:
    """Leave out systems that were not called, as nothing was left to do there."""
    if all(version.id in result.failures for version in result.lease.versions):
        return ()
    idle = None if result.usage.chunks_embedded else SystemKind.PROVIDER
    return [one for one in needs(row, pipeline) if one.kind != idle]


def _is_needed(connection: Connection, bucket: int) -> bool:
    """Whether a batch waits for a system, or went to see; who finds out now waits for our lock."""
    waits = batches.c.bucket_id == bucket, batches.c.state.in_(OPEN_BATCHES)
    return connection.execute(select(batches.c.id).where(*waits).limit(1)).first() is not None


def _served_others(connection: Connection, row: Row[Any], bucket: Row[Any]) -> bool:
    """Whether a system answered somebody since this batch failed last."""
    if bucket.answered_at is None:
        return False
    failures = select(func.max(attempts.c.ended_at)).where(
        attempts.c.batch_id == row.id,
        attempts.c.outcome.in_([Outcome.ERROR, Outcome.UNAVAILABLE]),
    )
    last = connection.execute(failures).scalar()
    return last is not None and bool(last < bucket.answered_at)


def _is(system: System) -> ColumnElement[bool]:
    return (buckets.c.kind == system.kind) & (buckets.c.name == system.name)


def _pause(
    connection: Connection,
    bucket: Row[Any],
    error: VectorFlowError,
    patience: Patience,
    *,
    failures: int,
) -> None:
    values = _away(error, patience, failures)
    if failures == 1:
        values["away_since"] = clock.now()
    connection.execute(update(buckets).where(buckets.c.id == bucket.id).values(values))


def _insert(
    connection: Connection, system: System, error: VectorFlowError, patience: Patience
) -> int:
    values = _away(error, patience, 1) | {"away_since": clock.now()}
    made = connection.execute(insert(buckets).values(kind=system.kind, name=system.name, **values))
    return inserted_id(made.inserted_primary_key)


def _away(error: VectorFlowError, patience: Patience, failures: int) -> dict[str, object]:
    asked = error.retry_after if isinstance(error, Transient) else None
    pause = pause_after(failures, asked, patience, _chance)
    return {
        "state": BucketState.PAUSED,
        "paused_until": clock.now() + pause,
        "failures": failures,
        "failed_at": clock.now(),
        "error": {"code": error.code, "message": error.message[:300]},
    }
