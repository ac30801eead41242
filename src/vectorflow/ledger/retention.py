"""Rows that nobody needs any more: looked for by reads, deleted by short writes.

What ended stays ended, so that what a read found may be deleted by a later write; only a job may
come back, by a retry, and is looked at again. Of each table the newest row is kept: SQLite would
give its id to another one, and ids are never used twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)

from vectorflow.domain.jobs import OPEN_BATCHES, JobState, VersionState
from vectorflow.domain.pipelines import WEBHOOK_SCHEME
from vectorflow.ledger import clock
from vectorflow.ledger.retrying import discard_versions
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import (
    api_keys,
    attempts,
    batches,
    documents,
    indexes,
    jobs,
    parts,
    retry_requests,
    versions,
)

ROWS_AT_ONCE = 1000
"""Of all tables together, in one transaction; more only where one version has more parts."""

_REPLACED = [
    VersionState.RETIRED,
    VersionState.SUPERSEDED,
    VersionState.CANCELLED,
    VersionState.RETRIED,
    VersionState.DISCARDED,
]

_OF_VERSION = parts.c.version_id == versions.c.id

_ENDED_JOBS = [state for state in JobState if state.ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long rows are kept that are over, in seconds."""

    versions: float
    """From the end of a version that is not served."""
    attempts: float
    """Of batches and their tries, from the end of their job."""
    jobs: float
    """From the end of a job of which no version is left."""
    failures: float
    """From a failure until it is discarded, with the upload that a retry would read."""
    keys: float
    """From the end of a key."""


Rows = Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of rows that are over some time after their job."""

    name: str
    find: Callable[[Connection, Sequence[int], Retention], list[int]]
    """Ids among what these jobs made, as many as one transaction may take; a read."""
    end: Callable[[Connection, Sequence[int]], int]
    """Takes them; gives how many there still were."""

    def finding(self, of: Sequence[int], kept: Retention) -> Callable[[Connection], list[int]]:
        """Give the read that looks through these jobs."""
        return lambda connection: self.find(connection, of, kept)

    def ending(self, ids: Sequence[int]) -> Callable[[Connection], int]:
        """Give the write that takes what was found."""
        return lambda connection: self.end(connection, ids)


class Stretch(NamedTuple):
    """Some jobs, next to each other."""

    last: int
    """The highest id."""
    ended: list[int]
    """Those that ended so long ago that a rule may be for them."""


def next_jobs(connection: Connection, *, after: int, kept: Retention) -> Stretch | None:
    """Look at the next jobs by id; None after the last."""
    shortest = min(kept.versions, kept.attempts, kept.jobs, kept.failures)
    due = and_(*_ended(shortest)).label("due")
    statement = select(jobs.c.id, due).where(jobs.c.id > after).order_by(jobs.c.id)
    rows = connection.execute(statement.limit(ROWS_AT_ONCE)).all()
    return Stretch(rows[-1].id, [row.id for row in rows if row.due]) if rows else None


def delete_keys(connection: Connection, *, kept: Retention) -> int:
    """Delete API keys that were revoked or expired long ago."""
    before = clock.now() - kept.keys
    over = or_(api_keys.c.revoked_at < before, api_keys.c.expires_at < before)
    found = connection.execute(_but_newest(select(api_keys.c.id).where(over), api_keys))
    ids = list(found.scalars())[:ROWS_AT_ONCE]
    connection.execute(delete(api_keys).where(api_keys.c.id.in_(ids)))
    return len(ids)


def delete_retry_requests(connection: Connection, *, kept: Retention) -> int:
    """Delete what is known of retries that came as long ago as jobs are remembered."""
    old = (
        select(retry_requests.c.tenant, retry_requests.c.idempotency_key)
        .where(retry_requests.c.created_at < clock.now() - kept.jobs)
        .limit(ROWS_AT_ONCE)
    )
    found = connection.execute(old).all()
    for row in found:
        connection.execute(
            delete(retry_requests).where(
                retry_requests.c.tenant == row.tenant,
                retry_requests.c.idempotency_key == row.idempotency_key,
            )
        )
    return len(found)


def _old_failures(connection: Connection, of: Sequence[int], kept: Retention) -> list[int]:
    """Find dead letters that nobody tried again for long."""
    statement = select(versions.c.id, literal(0)).where(
        versions.c.job_id.in_(of),
        versions.c.state == VersionState.FAILED,
        versions.c.ended_at < clock.now() - kept.failures,
    )
    return _some(connection, statement, versions)


def _old_batches(connection: Connection, of: Sequence[int], kept: Retention) -> list[int]:
    """Find batches that are over, of jobs that are."""
    tries = _count(attempts, attempts.c.batch_id == batches.c.id)
    statement = (
        select(batches.c.id, tries)
        .join(jobs, jobs.c.id == batches.c.job_id)
        .where(
            batches.c.job_id.in_(of),
            batches.c.state.not_in(OPEN_BATCHES),
            jobs.c.id.in_(of),  # said twice, or PostgreSQL reads all jobs
            *_ended(kept.attempts),
        )
    )
    return _some(connection, _but_newest(statement, batches), batches)


def _delete_batches(connection: Connection, ids: Sequence[int]) -> int:
    connection.execute(delete(attempts).where(attempts.c.batch_id.in_(ids)))
    return connection.execute(delete(batches).where(batches.c.id.in_(ids))).rowcount


def _old_versions(connection: Connection, of: Sequence[int], kept: Retention) -> list[int]:
    """Find versions that are served no more, nor being deleted from a store.

    The newest of a document stays: it says what the document is now, and what a retry is about. So
    does the last that has taken the attachments of a document and never went live.
    """
    live, newer, inside = versions.alias("live"), versions.alias("newer"), documents.alias("inside")
    took_later = select(newer.c.id).where(
        newer.c.document_id == versions.c.document_id,
        newer.c.number > versions.c.number,
        newer.c.parts_total.is_not(None),
        newer.c.blob.is_not(None),
    )
    at_work = select(batches.c.id).where(
        batches.c.version_id == versions.c.id, batches.c.state.in_(OPEN_BATCHES)
    )
    statement = (
        select(versions.c.id, _count(parts, _OF_VERSION))
        .join(documents, documents.c.id == versions.c.document_id)
        .join(live, live.c.id == documents.c.live_version, isouter=True)
        .where(
            versions.c.job_id.in_(of),
            versions.c.state.in_(_REPLACED),
            or_(
                live.c.number.is_(None),
                versions.c.number < live.c.number,
                versions.c.parts_total.is_(None),
                ~select(inside.c.id).where(inside.c.parent_id == documents.c.id).exists(),
                took_later.exists(),
            ),
            versions.c.ended_at < clock.now() - kept.versions,
            versions.c.batch_id.is_(None),
            versions.c.number < documents.c.last_version,
            ~at_work.exists(),
        )
    )
    return _some(connection, _but_newest(statement, versions), versions)


def _delete_versions(connection: Connection, ids: Sequence[int]) -> int:
    """Delete versions with their manifests, and note in their jobs how many they have lost."""
    counts = _counts_by_job(connection, ids)
    connection.execute(delete(parts).where(parts.c.version_id.in_(ids)))
    gone = connection.execute(delete(versions).where(versions.c.id.in_(ids))).rowcount
    _note_gone(connection, counts)
    return gone


def _counts_by_job(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Count versions by job; those that were retried count in none."""
    counted = versions.c.id.in_(ids) & (versions.c.state != VersionState.RETRIED)
    by_job = select(versions.c.job_id, func.count()).where(counted).group_by(versions.c.job_id)
    return {row[0]: row[1] for row in connection.execute(by_job)}


def _note_gone(connection: Connection, counts: dict[int, int]) -> None:
    if not counts:
        return
    in_order = select(jobs.c.id).where(jobs.c.id.in_(counts)).order_by(jobs.c.id)
    connection.execute(in_order.with_for_update(key_share=True))
    connection.execute(
        update(jobs)
        .where(jobs.c.id == bindparam("key"))
        .values(versions_gone=func.coalesce(jobs.c.versions_gone, 0) + bindparam("gone")),
        [{"key": key, "gone": count} for key, count in counts.items()],
    )


def _old_deliveries(connection: Connection, of: Sequence[int], kept: Retention) -> list[int]:
    """Find documents of jobs whose vectors were sent: no search is served by them.

    Those that failed stay until they are discarded.
    """
    delivered = (
        select(jobs.c.index_id)
        .join(indexes, indexes.c.id == jobs.c.index_id)
        .where(
            jobs.c.id.in_(of),
            indexes.c.locator.startswith(WEBHOOK_SCHEME),
            *_ended(kept.jobs),
        )
    )
    theirs = set(connection.execute(delivered).scalars())
    if not theirs:  # mostly; PostgreSQL would read all documents to find none
        return []
    own = versions.c.document_id == documents.c.id
    newest = select(func.max(versions.c.id)).scalar_subquery()
    holds = or_(versions.c.state == VersionState.FAILED, versions.c.id == newest)
    statement = select(documents.c.id, _count(versions.outerjoin(parts, _OF_VERSION), own)).where(
        documents.c.index_id.in_(theirs),
        ~select(versions.c.id).where(own, holds).exists(),
    )
    return _some(connection, _but_newest(statement, documents), documents)


def _delete_documents(connection: Connection, ids: Sequence[int]) -> int:
    """Delete documents with all of their versions."""
    own = select(versions.c.id).where(versions.c.document_id.in_(ids)).order_by(versions.c.id)
    found = connection.execute(own).scalars().all()
    counts = _counts_by_job(connection, found)
    for some in slices(found):
        connection.execute(delete(parts).where(parts.c.version_id.in_(some)))
        connection.execute(delete(versions).where(versions.c.id.in_(some)))
    gone = connection.execute(delete(documents).where(documents.c.id.in_(ids))).rowcount
    _note_gone(connection, counts)
    return gone


def _old_jobs(connection: Connection, of: Sequence[int], kept: Retention) -> list[int]:
    """Find jobs of which nothing is left, and nothing is being done."""
    statement = select(jobs.c.id, literal(0)).where(
        jobs.c.id.in_(of), *_ended(kept.jobs), *_is_empty()
    )
    return _some(connection, _but_newest(statement, jobs), jobs)


def _delete_jobs(connection: Connection, ids: Sequence[int]) -> int:
    """Delete jobs, and the indexes that were only theirs; locked, as clean-up may begin again."""
    in_order = select(jobs.c.id, jobs.c.index_id).where(jobs.c.id.in_(ids)).order_by(jobs.c.id)
    connection.execute(in_order.with_for_update())
    still = connection.execute(in_order.where(*_ended(0.0), *_is_empty())).all()
    gone = [row.id for row in still]
    connection.execute(delete(jobs).where(jobs.c.id.in_(gone)))
    own = select(indexes.c.id).where(
        indexes.c.id.in_([row.index_id for row in still]),
        indexes.c.locator.startswith(WEBHOOK_SCHEME),
    )
    lone = list(connection.execute(_but_newest(own, indexes)).scalars())
    connection.execute(delete(indexes).where(indexes.c.id.in_(lone)))
    return len(gone)


RULES = (
    Rule("failures", _old_failures, discard_versions),
    Rule("batches", _old_batches, _delete_batches),
    Rule("versions", _old_versions, _delete_versions),
    Rule("deliveries", _old_deliveries, _delete_documents),
    Rule("jobs", _old_jobs, _delete_jobs),
)
"""In this order, as each makes the next one possible."""


def _ended(seconds: float) -> Iterator[ColumnElement[bool]]:
    """Conditions of jobs that ended so many seconds ago."""
    yield jobs.c.state.in_(_ENDED_JOBS)
    yield jobs.c.ended_at < clock.now() - seconds


def _is_empty() -> Iterator[ColumnElement[bool]]:
    yield jobs.c.cleanup_open == 0
    for table in (versions, batches):
        yield ~select(table.c.id).where(table.c.job_id == jobs.c.id).correlate(jobs).exists()


def _count(table: FromClause, which: ColumnElement[bool]) -> Any:  # noqa: ANN401 - SQLAlchemy's
    return select(func.count()).select_from(table).where(which).scalar_subquery()


def _but_newest(statement: Rows, table: FromClause) -> Rows:
    newest = table.alias("newest")
    return statement.where(table.c.id < select(func.max(newest.c.id)).scalar_subquery())


def _some(connection: Connection, statement: Rows, table: FromClause) -> list[int]:
    """Give the first ids that, with the rows that hang on each, fit one transaction."""
    found = connection.execute(statement.order_by(table.c.id).limit(ROWS_AT_ONCE)).all()
    sizes = accumulate(1 + row[1] for row in found)
    fitting = sum(size <= ROWS_AT_ONCE for size in sizes)
    return [row[0] for row in found[: max(fitting, 1)]]
