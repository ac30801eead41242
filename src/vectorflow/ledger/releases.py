"""Batches that come back unfinished: for a later try, cut up, set aside or given up.

What deletes is never given up: its records would stay for ever, and no failure would say so.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from vectorflow.domain.jobs import BatchKind, BatchState, JobState, Outcome
from vectorflow.domain.outages import USUAL, Patience
from vectorflow.domain.retries import Decision, GiveUp, Pause, Retry, Split, Wait, delay_of_clean_up
from vectorflow.errors import VectorFlowError
from vectorflow.ledger import clock, outages, ready
from vectorflow.ledger.database import Overtaken
from vectorflow.ledger.dead_letters import failure_json
from vectorflow.ledger.finishing import end_batches, lock_versions, record_attempts
from vectorflow.ledger.late_writes import retire_again
from vectorflow.ledger.locking import locked_rows
from vectorflow.ledger.new_batches import cut_up
from vectorflow.ledger.outcomes import Outcomes
from vectorflow.ledger.tables import batches, jobs
from vectorflow.ledger.tally import Tally
from vectorflow.ledger.transitions import because_of, mark_paused, ready_of, set_aside
from vectorflow.ports.work import Lease

REFUNDED = Retry(delay=0.0, refund=True)


def release(
    connection: Connection,
    lease: Lease,
    error: VectorFlowError | None,
    decision: Decision,
    *,
    zombie_seconds: float,
    patience: Patience = USUAL,
) -> None:
    """Hand a batch back for a later try, pause its job, or make its documents dead letters."""
    if isinstance(decision, Wait) and error is not None:
        error, decision = outages.judge(connection, lease.batch, error, decision, patience)
    held = _locked(connection, lease, decision)
    tally = Tally()
    if held is None:
        retire_again(connection, tally, [lease], zombie_seconds=zombie_seconds)
        tally.write(connection)
    elif held.kind == BatchKind.RETIRE and isinstance(decision, Split | GiveUp):
        _hand_back(connection, held, error, _later(held, refund=False))
    elif isinstance(decision, Wait) and error is not None:
        _wait(connection, held, error, patience)
    elif isinstance(decision, Retry) or error is None:
        _hand_back(connection, held, error, decision if isinstance(decision, Retry) else REFUNDED)
    elif isinstance(decision, Pause):
        _pause(connection, held, error, decision, patience)
    else:
        outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
        _end(connection, outcomes, held, error, decision)
        outcomes.write()
    outages.another_may_go(connection, [held] if held else [])


def _locked(connection: Connection, lease: Lease, decision: Decision) -> Row[Any] | None:
    """Lock a batch, and with it those that are set aside when its job is paused, in order of id.

    None where the lease is not the current one.
    """
    wanted = batches.c.id == lease.batch
    if isinstance(decision, Pause):
        job = select(batches.c.job_id).where(batches.c.id == lease.batch).scalar_subquery()
        wanted = or_(wanted, ready_of(job))
    rows = locked_rows(connection, batches, wanted)
    held = {row.id: row for row in rows}.get(lease.batch)
    if held is None or held.state != BatchState.LEASED or held.lease_epoch != lease.epoch:
        return None
    return held


def _hand_back(
    connection: Connection, row: Row[Any], error: VectorFlowError | None, decision: Retry
) -> None:
    outcome = Outcome.ERROR if error else Outcome.RELEASED
    outcome = Outcome.THROTTLED if error and decision.refund else outcome
    _make_ready(connection, row, error, decision)
    record_attempts(connection, [row], outcome, error=error)


def _wait(
    connection: Connection, row: Row[Any], error: VectorFlowError, patience: Patience
) -> None:
    """Set a batch aside until the system that failed it answers again."""
    _make_ready(connection, row, error, REFUNDED)
    record_attempts(connection, [row], Outcome.UNAVAILABLE, error=error)
    bucket = outages.failed(connection, row, error, patience)
    aside = {"state": BatchState.PAUSED, "bucket_id": bucket}
    connection.execute(update(batches).where(batches.c.id == row.id).values(aside))


def _pause(
    connection: Connection,
    row: Row[Any],
    error: VectorFlowError,
    decision: Pause,
    patience: Patience,
) -> None:
    """Hand a batch back and let its job wait, if it has not ended; the try does not count."""
    again = _later(row, refund=True) if row.kind == BatchKind.RETIRE else REFUNDED
    _make_ready(connection, row, error, again)
    record_attempts(connection, [row], Outcome.RELEASED, error=error)
    state = connection.execute(select(jobs.c.state).where(jobs.c.id == row.job_id)).scalar_one()
    if JobState(state).ended:
        return
    set_aside(connection, row.job_id)
    because = because_of(error, tenant=row.tenant, job=row.job_id, stage=row.kind)
    reason = because | {"reason": decision.reason or error.code}
    if mark_paused(connection, row.job_id, reason).ended:
        raise Overtaken
    if decision.reason:
        outages.failed(connection, row, error, patience)


def _later(row: Row[Any], *, refund: bool) -> Retry:
    """Put clean-up off, which is owed whatever becomes of the job; no try of it is the last."""
    return Retry(delay=delay_of_clean_up(row.lease_epoch), refund=refund)


def _make_ready(
    connection: Connection, row: Row[Any], error: VectorFlowError | None, decision: Retry
) -> None:
    letter = failure_json(error, stage=row.kind, attempts=row.attempt) if error else None
    if not decision.delay:
        ready.note(connection, row.lane, row.kind)
    connection.execute(
        update(batches)
        .where(batches.c.id == row.id)
        .values(
            state=BatchState.READY,
            run_at=clock.now() + decision.delay,
            attempt=batches.c.attempt - int(decision.refund),
            lease_until=None,
            last_error=letter,
            bucket_id=None,
        )
    )


def _end(
    connection: Connection,
    outcomes: Outcomes,
    held: Row[Any],
    error: VectorFlowError,
    decision: Decision,
) -> None:
    """End a batch: cut up if that may help, else its documents become dead letters."""
    rows = lock_versions(connection, [held])
    record_attempts(connection, [held], Outcome.ERROR, error=error)
    blamed = [key for key, row in rows.items() if _is_to_blame(held, row)]
    if isinstance(decision, Split) and _may_be_cut(held, blamed):
        cut_up(connection, held, blamed, suspect=False)
        end_batches(connection, [held], BatchState.CANCELLED)
        return
    end_batches(connection, [held], BatchState.DEAD)
    letter = failure_json(error, stage=held.kind, attempts=held.attempt)
    letters: Mapping[int, dict[str, object]] = dict.fromkeys(blamed, letter)
    outcomes.end([rows[key] for key in blamed], letters)


def _may_be_cut(held: Row[Any], ids: list[int]) -> bool:
    return held.version_id is None and len(ids) > 1


def _is_to_blame(batch: Row[Any], row: Row[Any]) -> bool:
    """What was extracted whole before its batch failed is embedded by others."""
    return not (batch.kind == BatchKind.EXTRACT and row.parts_total is not None)
