"""Job counters: changes are summed up inside a transaction and written last, in order of job id."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from vectorflow.domain.jobs import BatchState, JobState, ended_state
from vectorflow.ledger import clock, ready
from vectorflow.ledger.columns import IDS
from vectorflow.ledger.database import Overtaken
from vectorflow.ledger.each import update_each
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, credentials, jobs

COUNTERS = (
    "docs_done", "docs_failed", "cleanup_open", "documents_new", "documents_changed",
    "documents_unchanged", "documents_gone", "records_new", "records_old",
    "chunks_embedded", "embedding_calls", "tokens",
)  # fmt: skip
"""Of a job; all begin at 0."""

ACCEPTED = ("documents_new", "documents_changed", "documents_gone")
"""Those that together are the documents of a job."""


_LOCK = select(jobs).where(jobs.c.id.in_(IDS)).order_by(jobs.c.id).with_for_update(key_share=True)


class Tally:
    """What one transaction adds to the counters of its jobs."""

    def __init__(self) -> None:
        self._changes: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._spared: set[int] = set()

    def add(self, job: int, **changes: int) -> None:
        """Add to counters of a job; a job with no change is still checked for its end."""
        self._changes[job].update(changes)

    def spare(self, job: int) -> None:
        """Lock a job with the others, but do not end it: the caller decides how it ends."""
        self.add(job)
        self._spared.add(job)

    def write(self, connection: Connection) -> None:
        """Write all counters, and end the jobs that have nothing left to do.

        What came with the request of a job that ends is erased.

        All rows are locked before any is written: two transactions that each end half of a job must
        not both miss that the other half is done, nor wait for each other.
        """
        if not self._changes:
            return
        rows = connection.execute(_LOCK, {"ids": list(self._changes)}).all()
        if len(rows) < len(self._changes):  # deleted, since we read a version of it
            raise Overtaken
        self._write_counts(connection, rows)
        checked = [row for row in rows if row.id not in self._spared]
        _end_jobs(connection, checked, [self._counts(row) for row in checked])

    def _write_counts(self, connection: Connection, rows: Sequence[Row[Any]]) -> None:
        """Write the counters that change, all of them for all of these jobs in one statement."""
        changed = {name for row in rows for name, change in self._changes[row.id].items() if change}
        if not changed:
            return
        names = ["id", *sorted(changed), *(["docs_total"] if changed & set(ACCEPTED) else [])]
        counts = [(row, self._counts(row)) for row in rows]
        values = [{"id": row.id, "docs_total": _total(row, now), **now} for row, now in counts]
        update_each(connection, jobs, [{name: one[name] for name in names} for one in values])

    def _counts(self, row: Row[Any]) -> dict[str, int]:
        """The counters of a job as they are from now on."""
        changes = self._changes[row.id]
        return {name: getattr(row, name) + changes[name] for name in COUNTERS}


def _total(row: Row[Any], counts: Mapping[str, int]) -> int | None:
    """Documents of a job; after its listing has ended it still grows by what is found in them."""
    return None if row.docs_total is None else sum(counts[name] for name in ACCEPTED)


def _end_jobs(
    connection: Connection, rows: Sequence[Row[Any]], counts: Sequence[Mapping[str, int]]
) -> None:
    """End the jobs whose documents all have an outcome and whose clean-up is done."""
    ending: defaultdict[JobState, list[int]] = defaultdict(list)
    for row, now in zip(rows, counts, strict=True):
        if (state := _end_of(row, now)) is not None:
            ending[state].append(row.id)
    waiting = [row.id for row in rows if row.state == JobState.PAUSED]
    _let_go(connection, [key for ids in ending.values() for key in ids if key in waiting])
    for state, ids in ending.items():
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(ids))
            .values(state=state, ended_at=clock.now(), paused=None)
        )
        connection.execute(delete(credentials).where(credentials.c.job_id.in_(ids)))


def _let_go(connection: Connection, ids: Sequence[int]) -> None:
    """Let batches be claimed, and found empty, of paused jobs whose documents have all ended.

    Out of the order of locks, so that none is waited for: where others hold some, all is done anew.
    """
    if not ids:
        return
    waiting = batches.c.job_id.in_(ids) & (batches.c.state == BatchState.PAUSED)
    columns = batches.c.id, batches.c.lane, batches.c.kind
    free = select(*columns).where(waiting).with_for_update(skip_locked=True)
    rows = connection.execute(free).all()
    if len(rows) < connection.execute(select(func.count()).where(waiting)).scalar_one():
        raise Overtaken
    for some in slices(rows):
        for row in some:
            ready.note(connection, row.lane, row.kind)
        found = [row.id for row in some]
        connection.execute(
            update(batches).where(batches.c.id.in_(found)).values(state=BatchState.READY)
        )


def _end_of(row: Row[Any], counts: Mapping[str, int]) -> JobState | None:
    """The state in which a job ends now; None while it does not, or if it has ended before.

    One that was cancelled has ended when its clean-up is done.
    """
    if row.state == JobState.CANCELLED and row.ended_at is None:
        return None if counts["cleanup_open"] else JobState.CANCELLED
    outcomes, total = counts["docs_done"] + counts["docs_failed"], _total(row, counts)
    if JobState(row.state).ended or outcomes != total or counts["cleanup_open"]:
        return None
    served = outcomes + counts["documents_unchanged"]
    state = ended_state(total=served, failed=counts["docs_failed"])
    return state if row.error is None else _at_least_partial(state)


def _at_least_partial(state: JobState) -> JobState:
    """A job whose listing broke off is not complete, whatever became of its documents."""
    return JobState.PARTIAL if state is JobState.COMPLETED else state
