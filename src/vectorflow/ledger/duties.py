"""Recurring duties: claimed by compare-and-set on their next run, so that one process runs each."""

from sqlalchemy import Connection, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from vectorflow.domain.jobs import OPEN_BATCHES, BatchKind, BatchState, VersionState
from vectorflow.domain.pipelines import WEBHOOK_SCHEME
from vectorflow.ledger import clock
from vectorflow.ledger.tables import batches, duties, indexes, jobs, parts, versions
from vectorflow.ports.queue import ALL, WakeUp

RESULT, CODE = 256, 64
"""Characters that are kept."""

AGAIN_SECONDS = 60.0
"""The longest until a duty that failed is tried again."""

STEP_SECONDS = 5.0
"""By less the database's clock may be set back, and it is waited for."""


def next_runs(connection: Connection) -> dict[str, float]:
    """Seconds until the next run of each duty that ever ran; below 0 it is overdue.

    So is one that ran in what is now the future: the clock was set back.
    """
    ran = duties.c.last_run_at - clock.now()
    rows = connection.execute(select(duties.c.name, duties.c.next_run_at - clock.now(), ran))
    return {row[0]: row[1] if (row[2] or 0.0) < STEP_SECONDS else -row[2] for row in rows}


def claim_duty(connection: Connection, name: str, *, every: float) -> bool:
    """Take a duty if it is due; its next run is `every` seconds from now."""
    taken = connection.execute(
        update(duties)
        .where(
            duties.c.name == name,
            or_(
                duties.c.next_run_at <= clock.now(),
                duties.c.last_run_at >= clock.now() + STEP_SECONDS,
            ),
        )
        .values(next_run_at=clock.now() + every, last_run_at=clock.now(), every=every)
    )
    if taken.rowcount:
        return True
    known = connection.execute(select(duties.c.name).where(duties.c.name == name)).first()
    return known is None and _first_run(connection, name, every=every)


def expect_duty(connection: Connection, name: str, *, every: float) -> None:
    """Note that a duty which never ran is due from now on."""
    _insert(connection, name=name, next_run_at=clock.now(), every=every)


def note_duty(connection: Connection, name: str, result: str) -> None:
    """Keep what a duty did, for people to see."""
    ended = {"ended_at": clock.now(), "last_result": result[:RESULT], "error": None}
    connection.execute(update(duties).where(duties.c.name == name).values(ended))


def note_failed_duty(connection: Connection, name: str, code: str, *, every: float) -> None:
    """Keep why a duty failed, and let it be tried again soon."""
    again = clock.now() + min(every, AGAIN_SECONDS)
    ended = {"ended_at": clock.now(), "error": code[:CODE], "next_run_at": again}
    connection.execute(update(duties).where(duties.c.name == name).values(ended))


def referenced_blobs(connection: Connection, *, vectors_seconds: float = 0.0) -> set[str]:
    """Keys that the ledger still needs: of open and live versions, retirements and batches.

    Vectors that were delivered, not stored, are kept for download until their job has ended
    `vectors_seconds` ago.
    """
    open_batches = select(batches.c.version_id).where(
        batches.c.state.in_(OPEN_BATCHES),
        batches.c.version_id.is_not(None),
    )
    needed = (
        versions.c.state.in_([VersionState.WAITING, VersionState.INDEXING, VersionState.LIVE])
        | versions.c.batch_id.is_not(None)
        | versions.c.id.in_(open_batches)
    )
    manifests = select(parts.c.blob).join(versions, versions.c.id == parts.c.version_id)
    keys = set(connection.execute(manifests.where(needed).distinct()).scalars())
    opened = versions.c.state.in_(
        [VersionState.WAITING, VersionState.INDEXING, VersionState.FAILED]
    )
    uploads = select(versions.c.blob).where(opened, versions.c.blob.is_not(None)).distinct()
    keys |= {key for key in connection.execute(uploads).scalars() if key is not None}
    files = select(batches.c.vectors).where(batches.c.state.in_(OPEN_BATCHES))
    delivered = (
        select(batches.c.vectors)
        .join(jobs, jobs.c.id == batches.c.job_id)
        .join(indexes, indexes.c.id == batches.c.index_id)
        .where(
            batches.c.kind == BatchKind.EMBED,
            indexes.c.locator.startswith(WEBHOOK_SCHEME),
            or_(jobs.c.ended_at.is_(None), jobs.c.ended_at > clock.now() - vectors_seconds),
        )
    )
    for statement in (files, delivered):
        for vectors in connection.execute(statement).scalars():
            keys.update(vectors)
    return keys


def overlooked(connection: Connection, *, seconds: float) -> list[WakeUp]:
    """What somebody should have claimed so many seconds ago."""
    return [wakeup for wakeup in ALL if _is_overlooked(connection, wakeup, seconds)]


def _is_overlooked(connection: Connection, wakeup: WakeUp, seconds: float) -> bool:
    oldest = (
        select(batches.c.id)
        .where(
            batches.c.state == BatchState.READY,
            batches.c.kind == wakeup.kind,
            batches.c.lane == wakeup.lane,
            batches.c.run_at <= clock.now() - seconds,
        )
        .limit(1)
    )
    return connection.execute(oldest).first() is not None


def written_indexes(connection: Connection) -> list[tuple[str, str]]:
    """Locator and name of every index that holds records."""
    rows = connection.execute(
        select(indexes.c.locator, indexes.c.name).where(indexes.c.written.is_(True))
    )
    return [(row.locator, row.name) for row in rows]


def _first_run(connection: Connection, name: str, *, every: float) -> bool:
    now = clock.now()
    return _insert(connection, name=name, next_run_at=now + every, last_run_at=now, every=every)


def _insert(connection: Connection, **row: object) -> bool:
    """Insert the row of a duty; False for the later of two processes that try."""
    try:
        with connection.begin_nested():
            connection.execute(insert(duties).values(**row))
    except IntegrityError:
        return False
    return True
