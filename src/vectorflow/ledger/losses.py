"""Leases that were lost: handed out again, and what to do where workers die over them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from vectorflow.domain.jobs import BatchKind, BatchState, Outcome
from vectorflow.errors import WorkersDied
from vectorflow.ledger import clock, ready
from vectorflow.ledger.dead_letters import failure_json
from vectorflow.ledger.finishing import end_batches, lock_versions, record_attempts
from vectorflow.ledger.locking import locked_rows
from vectorflow.ledger.new_batches import cut_up
from vectorflow.ledger.outcomes import Outcomes
from vectorflow.ledger.suspects import is_condemned, is_suspect
from vectorflow.ledger.tables import BY_ID, batches, versions
from vectorflow.ledger.tally import Tally

REAPED_AT_ONCE = 500


def reap(connection: Connection, *, zombie_seconds: float) -> int:
    """Hand out again what nobody renewed; loss alone condemns nothing."""
    ran_out = batches.c.state == BatchState.LEASED, batches.c.lease_until < clock.now()
    # By time and only then by id: SQLite would read the whole table in order of id.
    oldest = (
        select(batches.c.id).where(*ran_out).order_by(batches.c.lease_until).limit(REAPED_AT_ONCE)
    )
    ids = connection.execute(oldest).scalars().all()
    rows = connection.execute(
        select(batches)
        .with_hint(batches, BY_ID, "mariadb")
        .where(batches.c.id.in_(ids), *ran_out)
        .order_by(batches.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        _take_back(connection, rows)
        _mark_lost(connection, rows)
        _judge(connection, rows, zombie_seconds=zombie_seconds)
    return len(rows)


def take_over(connection: Connection, owner_prefix: str, *, zombie_seconds: float) -> int:
    """Hand out at once what a worker held that is known to be dead, not merely silent."""
    held_by = batches.c.lease_owner.startswith(owner_prefix, autoescape=True)
    rows = locked_rows(connection, batches, (batches.c.state == BatchState.LEASED) & held_by)
    if rows:
        _take_back(connection, rows)
        _judge(connection, rows, zombie_seconds=zombie_seconds)
    return len(rows)


def _take_back(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Make batches ready again."""
    ready.note_rows(connection, rows)
    connection.execute(
        update(batches)
        .where(batches.c.id.in_([row.id for row in rows]))
        .values(
            state=BatchState.READY,
            run_at=clock.now(),
            lease_until=None,
            attempt=batches.c.attempt - 1,
            lost=batches.c.lost + 1,
        )
    )
    record_attempts(connection, rows, Outcome.LOST)


def _mark_lost(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Note for the versions of these batches that somebody may still write; locked in order."""
    single = [row.version_id for row in rows if row.version_id is not None]
    theirs = versions.c.batch_id.in_([row.id for row in rows]) | versions.c.id.in_(single)
    if locked_rows(connection, versions, theirs):
        connection.execute(update(versions).where(theirs).values(lost=True))


def _judge(connection: Connection, rows: Sequence[Row[Any]], *, zombie_seconds: float) -> None:
    """Cut up batches over which workers die, and give up a document that is left alone of one.

    The rows are as they were before this loss was counted.
    """
    suspects = [row for row in rows if is_suspect(row, more=1)]
    if not suspects:
        return
    opened = lock_versions(connection, suspects)
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    letters: dict[int, dict[str, object]] = {}
    for batch in suspects:
        ids = _due(batch, opened)
        if len(ids) > 1:
            cut_up(connection, batch, ids, suspect=True)
            end_batches(connection, [batch], BatchState.CANCELLED)
        elif ids and is_condemned(batch, more=1):
            letters[ids[0]] = _letter(batch)
            end_batches(connection, [batch], BatchState.DEAD)
    outcomes.end([opened[key] for key in letters], letters)
    outcomes.write()


def _due(batch: Row[Any], opened: dict[int, Row[Any]]) -> list[int]:
    """Ids of the versions that a batch is still to work on."""
    if batch.version_id is not None:
        return [batch.version_id] if batch.version_id in opened else []
    own = [row for row in opened.values() if row.batch_id == batch.id]
    extracts = batch.kind == BatchKind.EXTRACT
    return [row.id for row in own if not (extracts and row.parts_total is not None)]


def _letter(batch: Row[Any]) -> dict[str, object]:
    times = batch.lost + 1
    error = WorkersDied(f"workers died {times} times while they worked on this document")
    return failure_json(error, stage=batch.kind, attempts=times)
