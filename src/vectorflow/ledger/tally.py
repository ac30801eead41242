"""Job counters: changes are summed up inside a transaction and written last, in order of job id."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection, select, update

from vectorflow.domain.jobs import JobState, ended_state
from vectorflow.ledger import clock
from vectorflow.ledger.tables import jobs

COUNTERS = (
    "docs_done",
    "docs_failed",
    "cleanup_open",
    "records_new",
    "records_old",
    "chunks_embedded",
    "embedding_calls",
    "tokens",
)


class Tally:
    """What one transaction adds to the counters of its jobs."""

    def __init__(self) -> None:
        self._changes: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def add(self, job: int, **changes: int) -> None:
        """Add to counters of a job; a job with no change is still checked for its end."""
        self._changes[job].update(changes)

    def write(self, connection: Connection) -> None:
        """Write all counters, then end the jobs that have nothing left to do."""
        for job in sorted(self._changes):
            change = self._changes[job]
            values = {name: jobs.c[name] + change[name] for name in COUNTERS if change[name]}
            if values:
                connection.execute(update(jobs).where(jobs.c.id == job).values(**values))
        close_jobs(connection, sorted(self._changes))


def close_jobs(connection: Connection, ids: Iterable[int]) -> None:
    """End every job whose documents all have an outcome and whose clean-up is done.

    The rows are locked first: two transactions that each end half of a job must not both miss
    that the other half is done.
    """
    rows = connection.execute(
        select(jobs)
        .where(
            jobs.c.id.in_(list(ids)),
            jobs.c.state.in_([JobState.RUNNING, JobState.PAUSED]),
        )
        .order_by(jobs.c.id)
        .with_for_update(key_share=True)
    ).all()
    for row in rows:
        accounted = row.docs_done + row.docs_failed == row.docs_total
        if accounted and row.cleanup_open == 0:
            state = ended_state(total=row.docs_total, failed=row.docs_failed)
            connection.execute(
                update(jobs)
                .where(jobs.c.id == row.id)
                .values(
                    state=state if row.error is None else _at_least_partial(state),
                    ended_at=clock.now(),
                )
            )


def _at_least_partial(state: JobState) -> JobState:
    """A job whose listing broke off is not complete, whatever became of its documents."""
    return JobState.PARTIAL if state is JobState.COMPLETED else state
