"""Job counters: changes are summed up inside a transaction and written last, in order of job id."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from vectorflow.domain.jobs import JobState, ended_state
from vectorflow.ledger import clock
from vectorflow.ledger.tables import credentials, jobs


class Tally:
    """What one transaction adds to the counters of its jobs."""

    def __init__(self) -> None:
        self._changes: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def add(self, job: int, **changes: int) -> None:
        """Add to counters of a job; a job with no change is still checked for its end."""
        self._changes[job].update(changes)

    def write(self, connection: Connection) -> None:
        """Write all counters, and end the jobs that have nothing left to do.

        What came with the request of a job that ends is erased.

        All rows are locked before any is written: two transactions that each end half of a job must
        not both miss that the other half is done, nor wait for each other.
        """
        if not self._changes:
            return
        rows = connection.execute(
            select(jobs)
            .where(jobs.c.id.in_(list(self._changes)))
            .order_by(jobs.c.id)
            .with_for_update(key_share=True)
        ).all()
        for row in rows:
            counts = {
                name: getattr(row, name) + change
                for name, change in self._changes[row.id].items()
                if change
            }
            values = counts | _end(row, counts)
            if values:
                connection.execute(update(jobs).where(jobs.c.id == row.id).values(**values))
            if "state" in values:
                connection.execute(delete(credentials).where(credentials.c.job_id == row.id))


def _end(row: Row[Any], counts: Mapping[str, int]) -> dict[str, object]:
    """How a job ends whose documents all have an outcome and whose clean-up is done."""
    if JobState(row.state).ended:
        return {}
    done = counts.get("docs_done", row.docs_done)
    failed = counts.get("docs_failed", row.docs_failed)
    cleanup = counts.get("cleanup_open", row.cleanup_open)
    if done + failed != row.docs_total or cleanup:
        return {}
    served = row.docs_total + row.documents_unchanged
    state = ended_state(total=served, failed=failed)
    if row.error is not None:
        state = _at_least_partial(state)
    return {"state": state, "ended_at": clock.now()}


def _at_least_partial(state: JobState) -> JobState:
    """A job whose listing broke off is not complete, whatever became of its documents."""
    return JobState.PARTIAL if state is JobState.COMPLETED else state
