"""Job counters: changes are summed up inside a transaction and written last, in order of job id."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from vectorflow.domain.jobs import JobState, ended_state
from vectorflow.ledger import clock
from vectorflow.ledger.tables import credentials, jobs

COUNTERS = (
    "docs_done", "docs_failed", "cleanup_open", "documents_new", "documents_changed",
    "documents_unchanged", "documents_gone", "records_new", "records_old",
    "chunks_embedded", "embedding_calls", "tokens",
)  # fmt: skip
"""Of a job; all begin at 0."""


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
        self._write_counts(connection, rows)
        _end_jobs(connection, rows, [self._counts(row) for row in rows])

    def _write_counts(self, connection: Connection, rows: Sequence[Row[Any]]) -> None:
        """Write the counters that change, all of them for all of these jobs in one statement."""
        names = sorted(
            {name for row in rows for name, change in self._changes[row.id].items() if change}
        )
        if not names:
            return
        values = [{"key": row.id, **self._counts(row)} for row in rows]
        connection.execute(
            update(jobs)
            .where(jobs.c.id == bindparam("key"))
            .values({name: bindparam(f"new_{name}") for name in names}),
            [{"key": one["key"]} | {f"new_{name}": one[name] for name in names} for one in values],
        )

    def _counts(self, row: Row[Any]) -> dict[str, int]:
        """The counters of a job as they are from now on."""
        changes = self._changes[row.id]
        return {name: getattr(row, name) + changes[name] for name in COUNTERS}


def _end_jobs(
    connection: Connection, rows: Sequence[Row[Any]], counts: Sequence[Mapping[str, int]]
) -> None:
    """End the jobs whose documents all have an outcome and whose clean-up is done."""
    ending: defaultdict[JobState, list[int]] = defaultdict(list)
    for row, now in zip(rows, counts, strict=True):
        if (state := _end_of(row, now)) is not None:
            ending[state].append(row.id)
    for state, ids in ending.items():
        connection.execute(
            update(jobs).where(jobs.c.id.in_(ids)).values(state=state, ended_at=clock.now())
        )
        connection.execute(delete(credentials).where(credentials.c.job_id.in_(ids)))


def _end_of(row: Row[Any], counts: Mapping[str, int]) -> JobState | None:
    """The state in which a job ends now; None while it does not, or if it has ended before."""
    outcomes = counts["docs_done"] + counts["docs_failed"]
    if JobState(row.state).ended or outcomes != row.docs_total or counts["cleanup_open"]:
        return None
    served = row.docs_total + row.documents_unchanged
    state = ended_state(total=served, failed=counts["docs_failed"])
    return state if row.error is None else _at_least_partial(state)


def _at_least_partial(state: JobState) -> JobState:
    """A job whose listing broke off is not complete, whatever became of its documents."""
    return JobState.PARTIAL if state is JobState.COMPLETED else state
