"""All of the ledger at a glance, for those who watch it: nothing of one tenant, job or address.

As the backlog, each figure counts to `COUNTED_TO` and no further.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select, union_all

from vectorflow.domain.jobs import JobState, VersionState
from vectorflow.domain.metrics import OPEN_JOBS
from vectorflow.domain.outages import SystemKind
from vectorflow.ledger import reads
from vectorflow.ledger.backlog import COUNTED_TO, Backlog, backlog
from vectorflow.ledger.outages import waited_for
from vectorflow.ledger.tables import buckets, documents, jobs, versions

_WITH_FAILURES = [state for state in JobState if state is not JobState.COMPLETED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How the ledger stands."""

    now: float
    """By the clock of the database."""
    backlog: Backlog
    open_jobs: Mapping[JobState, int]
    dead_letters: int
    """Failures that no later version has replaced."""
    away: Mapping[SystemKind, int]
    """Systems that are away and waited for, by what they are."""
    duties: Sequence[reads.DutyView]


def overview(connection: Connection) -> Overview:
    """Read how the ledger stands, over all tenants."""
    return Overview(
        now=reads.now(connection),
        backlog=backlog(connection),
        open_jobs={state: _count_jobs(connection, state) for state in OPEN_JOBS},
        dead_letters=_count_dead_letters(connection),
        away=_count_away(connection),
        duties=reads.duty_list(connection),
    )


def _count_jobs(connection: Connection, state: JobState) -> int:
    some = select(jobs.c.id).where(jobs.c.state == state).limit(COUNTED_TO).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def _count_dead_letters(connection: Connection) -> int:
    """Count in jobs with failures: of each state in as many as anything is counted to."""
    failing = union_all(*map(_newest_failing, _WITH_FAILURES)).subquery()
    some = (
        select(versions.c.id)
        .join(failing, failing.c.id == versions.c.job_id)
        .join(documents, documents.c.id == versions.c.document_id)
        .where(
            versions.c.state == VersionState.FAILED,
            versions.c.number == documents.c.last_version,
        )
        .limit(COUNTED_TO)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def _newest_failing(state: JobState) -> Select[tuple[int]]:
    """Select the newest, as somebody may have looked after the others already."""
    failing = select(jobs.c.id).where(jobs.c.state == state, jobs.c.docs_failed > 0)
    some = failing.order_by(jobs.c.id.desc()).limit(COUNTED_TO).subquery()
    return select(some.c.id)


def _count_away(connection: Connection) -> dict[SystemKind, int]:
    kinds = select(buckets.c.kind, func.count()).where(waited_for())
    rows = connection.execute(kinds.group_by(buckets.c.kind))
    return {SystemKind(row[0]): row[1] for row in rows}
