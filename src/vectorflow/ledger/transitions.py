"""Jobs that people pause, resume and cancel, each in one transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, delete, select, update

from vectorflow.domain.access import command_for
from vectorflow.domain.jobs import (
    LANES,
    OPEN_BATCHES,
    BatchKind,
    BatchState,
    JobState,
    Outcome,
    VersionState,
)
from vectorflow.errors import Conflict, NotFound, VectorFlowError
from vectorflow.ledger import clock, ready, shares
from vectorflow.ledger.database import Overtaken
from vectorflow.ledger.finishing import end_batches, record_attempts
from vectorflow.ledger.locking import free_ids, locked_rows, locked_slices
from vectorflow.ledger.outcomes import Outcomes
from vectorflow.ledger.secrets import keep_credentials
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, credentials, documents, jobs, versions
from vectorflow.ledger.tally import Tally

OPERATOR = "operator"
"""The reason of a job that a person paused; others are codes of errors."""

GAVE_WAY_AT_ONCE = 500

SET_ASIDE_AT_ONCE = 100
"""Jobs of which the rest is set aside."""

_READY = (batches.c.state == BatchState.READY) & (batches.c.kind != BatchKind.RETIRE)
"""What is set aside when a job is paused; what deletes goes on."""


def because_of(error: VectorFlowError, *, tenant: str, job: int, stage: str) -> dict[str, object]:
    """Say why a job waits, and what to do before it is resumed."""
    then = command_for(tenant, f"jobs resume {job}")
    fix = f"{error.fix}; then {then}" if error.fix else then
    return {"reason": error.code, "stage": stage, "message": error.message, "fix": fix}


def by_operator(*, tenant: str, job: int) -> dict[str, object]:
    """Say the same of a job that a person paused."""
    fix = f"{command_for(tenant, f'jobs resume {job}')} goes on with it"
    return {"reason": OPERATOR, "stage": "", "message": "somebody paused it", "fix": fix}


def pause(connection: Connection, *, tenant: str, job: int) -> None:
    """Let a job wait: what is leased ends, and nothing more of it is claimed.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: It does not run.
    """
    _known(connection, tenant, job)
    set_aside(connection, job)
    state = mark_paused(connection, job, by_operator(tenant=tenant, job=job))
    if state is not JobState.RUNNING:
        raise _refused(job, state, "paused", "only a running job can be paused")


def resume(connection: Connection, *, tenant: str, job: int, sealed: str | None = None) -> None:
    """Let a paused job go on; `sealed` are credentials in the place of those it has kept.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: It is not paused.
    """
    _known(connection, tenant, job)
    waiting = (batches.c.job_id == job) & (batches.c.state == BatchState.PAUSED)
    _move(connection, waiting, BatchState.READY)
    row = lock_job(connection, job)
    if row.state != JobState.PAUSED:
        raise _refused(job, JobState(row.state), "resumed", "only a paused job can be resumed")
    # Set aside by a late failure or a pause since we looked: nobody but us would let it go.
    late = select(batches.c.id).where(waiting, batches.c.bucket_id.is_(None)).limit(1)
    if connection.execute(late).first() is not None:
        raise Overtaken
    connection.execute(
        update(jobs).where(jobs.c.id == job).values(state=JobState.RUNNING, paused=None)
    )
    _hurry_clean_up(connection, job)
    if sealed is not None:
        keep_credentials(connection, tenant=tenant, job=job, sealed=sealed)


def cancel(connection: Connection, *, tenant: str, job: int, zombie_seconds: float) -> int:
    """End a job: what is live stays served, the rest of it is given up; gives how many versions.

    What was already stored of it is deleted by batches of the same job, and its credentials are
    kept until then. What is attached to a document that it deleted is deleted all the same.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: It has ended, or all of its documents have.
    """
    _known(connection, tenant, job)
    held = _lock_work(connection, batches.c.job_id == job)
    rows = _lock_open(connection, versions.c.job_id == job)
    waits = (versions.c.job_id == job) & (versions.c.state == VersionState.WAITING)
    waiting = connection.execute(select(versions).where(waits)).all()
    rows = _note_writers(connection, rows, held)
    _end(connection, held)
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    owed = outcomes.cancel(rows, waiting)
    tally.spare(job)
    outcomes.write()
    _mark_cancelled(connection, job, handed_over=owed)
    return len(rows) + len(waiting) - owed


def give_way(connection: Connection, *, zombie_seconds: float) -> int:
    """End open versions of paused jobs for which a newer version waits, which begins then.

    Who sends a document again, say with a better key, must not wait for the one that failed.
    """
    blocking = (
        select(versions.c.id, versions.c.batch_id)
        .join(jobs, jobs.c.id == versions.c.job_id)
        .join(documents, documents.c.id == versions.c.document_id)
        .where(
            jobs.c.state == JobState.PAUSED,
            versions.c.state == VersionState.INDEXING,
            documents.c.open_version == versions.c.id,
            documents.c.next_version.is_not(None),
        )
        .limit(GAVE_WAY_AT_ONCE)
    )
    found = connection.execute(blocking).all()
    if not found:
        return 0
    ids, groups = [row.id for row in found], {row.batch_id for row in found} - {None}
    held = _lock_work(connection, batches.c.id.in_(groups) | batches.c.version_id.in_(ids))
    rows = _note_writers(connection, _lock_open(connection, versions.c.id.in_(ids)), held)
    outcomes = Outcomes(connection, Tally(), zombie_seconds=zombie_seconds)
    outcomes.supersede(rows)
    outcomes.flush()
    _end_empty(connection, held, {row.id for row in rows})
    outcomes.write()
    return len(rows)


def ready_of(job: int | ScalarSelect[Any]) -> ColumnElement[bool]:
    """Which batches are set aside when a job is paused."""
    return (batches.c.job_id == job) & _READY


def set_aside(connection: Connection, job: int) -> None:
    """Put the ready batches of a job where a claim does not read them."""
    _move(connection, ready_of(job), BatchState.PAUSED)


def set_rest_aside(connection: Connection) -> int:
    """Set aside what became ready of jobs after they were paused; gives of how many jobs.

    It was leased then, was listed since, or waited for a system. Claims pass over it, and each of
    them would read past it.
    """
    rest = select(batches.c.id).where(batches.c.job_id == jobs.c.id, _READY).exists()
    paused = jobs.c.state == JobState.PAUSED
    some = select(jobs.c.id).where(paused, rest).limit(SET_ASIDE_AT_ONCE)
    ids = connection.execute(some).scalars().all()
    if not ids:
        return 0
    _move(connection, batches.c.job_id.in_(ids) & _READY, BatchState.PAUSED)
    still = locked_slices(connection, jobs, jobs.c.id.in_(ids) & paused, key_share=True)
    if sum(map(len, still)) < len(ids):
        raise Overtaken
    return len(ids)


def _move(connection: Connection, which: ColumnElement[bool], state: BatchState) -> None:
    """Put batches into a state, locked in order of id; they keep the time at which they are due."""
    values: dict[str, object] = {"state": state, "bucket_id": None}
    if state is BatchState.READY:  # in line anew: what waited for a person has saved nothing up
        values["virtual_time"] = shares.NOT_YET.virtual_time
    for some in slices(locked_rows(connection, batches, which)):
        ids = [row.id for row in some]
        connection.execute(update(batches).where(batches.c.id.in_(ids)).values(values))
        if state is BatchState.READY:
            shares.note(connection, map(shares.unplaced, some))


def mark_paused(connection: Connection, job: int, reason: dict[str, object]) -> JobState:
    """Pause a job that runs; gives the state that it was in."""
    row = lock_job(connection, job)
    if row.state == JobState.RUNNING:
        connection.execute(
            update(jobs).where(jobs.c.id == job).values(state=JobState.PAUSED, paused=reason)
        )
    return JobState(row.state)


def lock_job(connection: Connection, job: int) -> Row[Any]:
    """Lock the row of a job, the last thing that a transaction locks."""
    return connection.execute(
        select(jobs).where(jobs.c.id == job).order_by(jobs.c.id).with_for_update(key_share=True)
    ).one()


def _hurry_clean_up(connection: Connection, job: int) -> None:
    """Let what deletes and failed be tried now, as what it failed of may be mended.

    What was not tried yet waits for workers that may still write. Out of the order of locks, so
    none is waited for: whoever holds one tries it.
    """
    failed = (
        (batches.c.job_id == job)
        & (batches.c.state == BatchState.READY)
        & (batches.c.kind == BatchKind.RETIRE)
        & batches.c.last_error.is_not(None)
    )
    ids = connection.execute(select(batches.c.id).where(failed)).scalars().all()
    for some in slices(ids):
        free = free_ids(connection, batches, failed, some)
        connection.execute(update(batches).where(batches.c.id.in_(free)).values(run_at=clock.now()))
    for lane in LANES if ids else ():
        ready.note(connection, lane, BatchKind.RETIRE)


def _known(connection: Connection, tenant: str, job: int) -> None:
    known = select(jobs.c.id).where(jobs.c.id == job, jobs.c.tenant == tenant)
    if connection.execute(known).first() is None:
        message = f"there is no job {job}"
        raise NotFound(message, fix=f"{command_for(tenant, 'jobs list')} shows the jobs there are")


def _refused(job: int, state: JobState, what: str, fix: str) -> Conflict:
    return Conflict(f"job {job} is {state.value} and cannot be {what}", fix=fix)


def _lock_work(connection: Connection, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Lock open batches, but for those that delete."""
    work = batches.c.state.in_(OPEN_BATCHES) & (batches.c.kind != BatchKind.RETIRE)
    return locked_rows(connection, batches, which & work)


def _lock_open(connection: Connection, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    return locked_rows(connection, versions, which & (versions.c.state == VersionState.INDEXING))


def _note_writers(
    connection: Connection, rows: Sequence[Row[Any]], held: Sequence[Row[Any]]
) -> Sequence[Row[Any]]:
    """Note for versions that a worker holds that it may still write; gives all as they are now."""
    leased = [row for row in held if row.state == BatchState.LEASED]
    groups = {row.id for row in leased}
    single = {row.version_id for row in leased}
    written = [row.id for row in rows if row.batch_id in groups or row.id in single]
    for some in slices(written):
        connection.execute(update(versions).where(versions.c.id.in_(some)).values(lost=True))
    if not written:
        return rows
    found: list[Row[Any]] = []
    for some in slices([row.id for row in rows]):
        found += connection.execute(select(versions).where(versions.c.id.in_(some)))
    return found


def _end(connection: Connection, held: Sequence[Row[Any]]) -> None:
    """Cancel batches; workers that hold them find their leases stale."""
    leased = [row for row in held if row.state == BatchState.LEASED]
    record_attempts(connection, leased, Outcome.RELEASED)
    for some in slices(held):
        end_batches(connection, some, BatchState.CANCELLED)


def _end_empty(connection: Connection, held: Sequence[Row[Any]], ended: set[int]) -> None:
    """Cancel the batches that nobody holds and that have no open version any more."""
    ids = [row.id for row in held]
    left = select(versions.c.batch_id).where(
        versions.c.batch_id.in_(ids), versions.c.state == VersionState.INDEXING
    )
    full = set(connection.execute(left).scalars())
    _end(
        connection,
        [
            row
            for row in held
            if row.state != BatchState.LEASED
            and (row.version_id in ended or (row.version_id is None and row.id not in full))
        ],
    )


def _has_open(connection: Connection, job: int) -> bool:
    """Whether something of a job is open that was not when it was looked for."""
    opened = [VersionState.WAITING, VersionState.INDEXING]
    left = select(versions.c.id).where(versions.c.job_id == job, versions.c.state.in_(opened))
    work = select(batches.c.id).where(
        batches.c.job_id == job,
        batches.c.state.in_(OPEN_BATCHES),
        batches.c.kind != BatchKind.RETIRE,
    )
    return any(connection.execute(one.limit(1)).first() for one in (left, work))


def _mark_cancelled(connection: Connection, job: int, *, handed_over: int) -> None:
    """Cancel a job whose versions are all ended; the tally ends it when its clean-up is done.

    One that has none left is refused, but if the last ones were `handed_over` to other jobs now.
    """
    row = lock_job(connection, job)
    state = JobState(row.state)
    if state.ended:
        fix = f"`vectorflow jobs show {job}` says how it ended"
        raise _refused(job, state, "cancelled", fix)
    if not handed_over and row.docs_done + row.docs_failed == row.docs_total:
        message = f"every document of job {job} has ended, and only clean-up is left of it"
        raise Conflict(message, fix="wait a moment: it ends by itself")
    if _has_open(connection, job):
        raise Overtaken
    values: dict[str, object] = {
        "state": JobState.CANCELLED,
        "paused": None,
        "listing_until": None,
        "docs_total": jobs.c.documents_new + jobs.c.documents_changed + jobs.c.documents_gone,
    }
    if not row.cleanup_open:
        values["ended_at"] = clock.now()
        connection.execute(delete(credentials).where(credentials.c.job_id == job))
    connection.execute(update(jobs).where(jobs.c.id == job).values(values))
